/* svm/probe.c and vmx/probe.c: processors that lack one thing each. What is needed is named and refused, and nothing
 * else is; numbers from SDM Vol 3D, Appendix A, and APM Vol 3, CPUID Fn8000_000A. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/x86.h"
#include "svm/svm.h"
#include "vmx/vmx.h"

#define EPT_VPID 0x48c
#define BASIC    0x480

static struct {
    u32 pin[2], proc[2], secondary[2], exit[2], entry[2]; /* must be 1; may be 1 */
    u64 ept, vm_cr, arch, cr4_fixed1;
    u32 svm_edx, leaf_1_ecx;
    struct cpuid_result leaf_7, leaf_7_1;
    bool true_msrs, svm_leaf, locked;
} machine;

static u64 pair(const u32 word[2]) { return (u64)word[1] << 32 | word[0]; }

u64 rdmsr(u32 msr) {
    /* The old capability MSRs speak of controls that must be 1: SDM Vol 3D, Reserved Controls and Default Settings. */
    static const u32 old_pin = 0x16, old_proc = 0x401e172, old_exit = 0x36dff, old_entry = 0x11ff;

    switch (msr) {
    case BASIC: return 4 | (machine.true_msrs ? BIT(55) : 0);
    case 0x481: return pair(machine.pin) | old_pin;
    case 0x482: return pair(machine.proc) | old_proc;
    case 0x483: return pair(machine.exit) | old_exit;
    case 0x484: return pair(machine.entry) | old_entry;
    case 0x48b:
        assert_true(machine.proc[1] & BIT(31)); /* else there is no such MSR */
        return pair(machine.secondary);
    case 0x48d: return pair(machine.pin);
    case 0x48e: return pair(machine.proc);
    case 0x48f: return pair(machine.exit);
    case 0x490: return pair(machine.entry);
    case EPT_VPID: return machine.ept;
    case MSR_VMX_CR0_FIXED1: return ~0u;
    case MSR_VMX_CR4_FIXED1: return machine.cr4_fixed1;
    case MSR_VM_CR: return machine.vm_cr;
    case MSR_ARCH_CAPABILITIES:
        assert_true(machine.leaf_7.edx & BIT(29)); /* else there is no such MSR */
        return machine.arch;
    default: return 0;
    }
}

bool cpuid_has_leaf(u32 leaf) { return leaf != 0x8000000a || machine.svm_leaf; }

struct cpuid_result cpuid(u32 leaf, u32 sub) {
    if (leaf == 7) return sub ? machine.leaf_7_1 : machine.leaf_7;
    if (leaf == 1) return (struct cpuid_result){.ecx = machine.leaf_1_ecx};
    if (leaf == 0x8000000a) return (struct cpuid_result){.eax = 1, .ebx = 16, .edx = machine.svm_edx};
    return (struct cpuid_result){0};
}

int vmx_unlock(char *why, size_t why_size) {
    if (!machine.locked) return 0;
    fmt(why, why_size, "locked|unlock it");
    return -E_UNSUPPORTED;
}

static char why[160];
static struct vendor_caps caps;

static void whole(void) {
    static const u32 any[2] = {0, ~0u};

    memset(&machine, 0, sizeof(machine));
    memcpy(machine.pin, any, sizeof(any));
    memcpy(machine.proc, any, sizeof(any));
    memcpy(machine.secondary, any, sizeof(any));
    memcpy(machine.exit, any, sizeof(any));
    memcpy(machine.entry, any, sizeof(any));
    machine.ept = ~0ull;
    machine.cr4_fixed1 = ~0u;
    machine.svm_edx = machine.leaf_1_ecx = ~0u;
    machine.true_msrs = machine.svm_leaf = true;
}

typedef int probe_fn(struct vendor_caps *caps, char *why, size_t why_size);

static int asked(probe_fn *probe) {
    memset(why, 0, sizeof(why));
    memset(&caps, 0, sizeof(caps));
    return probe(&caps, why, sizeof(why));
}

/* The probe refuses, says what is missing and, behind the bar, what to do about it. */
static void refused(probe_fn *probe, const char *what) {
    const char *bar;

    assert_int_equal(-E_UNSUPPORTED, asked(probe));
    assert_non_null(strstr(why, what));
    bar = strchr(why, '|');
    assert_non_null(bar);
    assert_true(strlen(bar) > 8);
}

/* names[bit]: what is missing without it, NULL where nobody needs it. may: of this word. */
static void each_bit(u32 *may, const char *const names[32]) {
    for (u32 bit = 0; bit < 32; bit++) {
        *may = ~(u32)BIT(bit);
        if (names[bit])
            refused(vmx_probe, names[bit]);
        else
            assert_int_equal(0, asked(vmx_probe));
    }
    *may = ~0u;
}

static void test_vmx_controls(void **state) {
    static const char *const pin
        [32] = {[0] = "external-interrupt", [3] = "nmi exiting", [5] = "virtual nmis"},
     *const proc[32] = {[3] = "tsc offsetting", [7] = "hlt",
                        [10] = "mwait",         [11] = "rdpmc",
                        [19] = "cr8-load",      [20] = "cr8-store",
                        [25] = "i/o bitmaps",   [28] = "msr bitmaps",
                        [29] = "monitor",       [31] = "secondary controls"},
     *const secondary[32] = {[1] = "ept", [7] = "unrestricted"},
     *const exit[32] =
         {[2] = "debug", [9] = "64-bit host", [15] = "acknowledge", [20] = "saving of efer", [21] = "loading of efer"},
     *const entry[32] = {[2] = "debug", [15] = "loading of efer"};

    (void)state;
    whole();
    assert_int_equal(0, asked(vmx_probe));
    each_bit(&machine.pin[1], pin);
    each_bit(&machine.proc[1], proc);
    each_bit(&machine.secondary[1], secondary);
    each_bit(&machine.exit[1], exit);
    each_bit(&machine.entry[1], entry);
}

/* What a processor insists on, although core handles no such exit. */
static void test_vmx_unwanted(void **state) {
    static const char *const names[32] = {
        [9] = "invlpg", [12] = "rdtsc", [15] = "cr3-load", [16] = "cr3-store", [23] = "debug-register", [30] = "pause"};

    (void)state;
    whole();
    for (u32 bit = 0; bit < 32; bit++) {
        machine.proc[0] = (u32)BIT(bit);
        if (names[bit])
            refused(vmx_probe, names[bit]);
        else
            assert_int_equal(0, asked(vmx_probe));
    }
    /* Without the newer capability MSRs three of them must be 1. */
    machine.proc[0] = 0;
    machine.true_msrs = false;
    refused(vmx_probe, "cr3-load");
}

static void test_vmx_ept(void **state) {
    (void)state;
    whole();
    for (u32 bit = 0; bit < 64; bit++) {
        static const char *const names[64] = {[6] = "four-level", [14] = "write-back", [16] = "2 MiB", [20] = "invept"};

        machine.ept = ~BIT(bit);
        if (names[bit])
            refused(vmx_probe, names[bit]);
        else
            assert_int_equal(0, asked(vmx_probe));
    }
    machine.ept = ~(BIT(25) | BIT(26)); /* neither kind of INVEPT */
    refused(vmx_probe, "invept");
    /* Nor of INVVPID: it does without VPIDs. And without larger pages. */
    machine.ept = ~(BIT(17) | BIT(41) | BIT(42));
    assert_int_equal(0, asked(vmx_probe));
    assert_false(vmx.vpid);
    assert_int_equal(2, caps.max_leaf);
    assert_non_null(strstr(caps.summary, "lacks 1G pages, vpid"));
}

static void test_vmx_absent(void **state) {
    (void)state;
    whole();
    machine.leaf_1_ecx = ~(u32)BIT(5);
    refused(vmx_probe, "no VMX");
    whole();
    machine.locked = true;
    refused(vmx_probe, "locked");
}

/* Instructions that the processor has and would refuse a guest. */
static void test_vmx_no_instruction(void **state) {
    (void)state;
    whole();
    assert_int_equal(0, asked(vmx_probe));
    assert_false(caps.no_rdtscp || caps.no_invpcid);
    machine.secondary[1] = ~(u32)BIT(3);
    assert_int_equal(0, asked(vmx_probe));
    assert_true(caps.no_rdtscp && !caps.no_invpcid);
    machine.secondary[1] = ~(u32)BIT(12);
    assert_int_equal(0, asked(vmx_probe));
    assert_true(!caps.no_rdtscp && caps.no_invpcid);
}

/* Optional halves: one without the other is switched off. */
static void test_vmx_halves(void **state) {
    (void)state;
    whole();
    machine.entry[1] = ~(u32)BIT(14); /* load PAT */
    assert_int_equal(0, asked(vmx_probe));
    assert_false(vmx.pat);
    assert_false(vmx.exit & (BIT(18) | BIT(19)));
    whole();
    machine.proc[1] = ~(u32)BIT(21); /* TPR shadow; virtual-interrupt delivery needs it */
    assert_int_equal(0, asked(vmx_probe));
    assert_false(vmx.secondary & BIT(9));
    whole();
    machine.secondary[1] = ~(u32)BIT(9);
    assert_int_equal(0, asked(vmx_probe));
    assert_false(vmx.proc & BIT(21));
}

static void test_svm(void **state) {
    (void)state;
    whole();
    for (u32 bit = 0; bit < 32; bit++) {
        machine.svm_edx = ~(u32)BIT(bit);
        if (bit == 0)
            refused(svm_probe, "NPT");
        else
            assert_int_equal(0, asked(svm_probe));
    }
    machine.vm_cr = VM_CR_SVMDIS;
    refused(svm_probe, "locked off");
    whole();
    machine.svm_leaf = false;
    refused(svm_probe, "8000000AH");
    /* What can be done without. */
    whole();
    machine.svm_edx = (u32)BIT(0);
    assert_int_equal(0, asked(svm_probe));
    assert_false(caps.next_rip);
    assert_non_null(strstr(caps.summary, "no next rip"));
    assert_non_null(strstr(caps.summary, "no flush by asid"));
}

/* SDM Vol 3D, VMX-Fixed Bits in CR4: what is 0 there can be 1 in no guest. Else the bit is the guest's own. */
static void test_vmx_la57(void **state) {
    (void)state;
    whole();
    assert_int_equal(0, asked(vmx_probe));
    assert_true(caps.la57);
    machine.cr4_fixed1 = ~(u32)CR4_LA57;
    assert_int_equal(0, asked(vmx_probe));
    assert_false(caps.la57);
}

/* Only bit 6 of IA32_ARCH_CAPABILITIES says that page sizes may change. SDM Vol 4. */
static void test_vmx_multihit(void **state) {
    (void)state;
    whole();
    assert_int_equal(0, asked(vmx_probe));
    assert_true(caps.multihit);
    machine.leaf_7.edx = (u32)BIT(29);
    for (u32 bit = 0; bit < 64; bit++) {
        machine.arch = BIT(bit);
        assert_int_equal(0, asked(vmx_probe));
        assert_int_equal(bit != 6, caps.multihit);
    }
    assert_int_equal(0, asked(svm_probe));
    assert_false(caps.multihit);
}

/* CR4 is intercepted where it has a bit that no guest is shown. APM Vol 3, CPUID Fn0000_0007: PKU, CET_SS, PKS in ECX,
 * IBT in EDX. */
static void test_svm_cr4(void **state) {
    const u32 ecx = (u32)(BIT(3) | BIT(7) | BIT(31)), edx = (u32)BIT(20), sub_eax = (u32)(BIT(6) | BIT(17) | BIT(26));

    (void)state;
    whole();
    for (u32 bit = 0; bit < 32; bit++) {
        const u32 one = (u32)BIT(bit);

        machine.leaf_7 = (struct cpuid_result){.ecx = one};
        assert_int_equal(0, asked(svm_probe));
        assert_true(caps.la57);
        assert_int_equal((ecx & one) != 0, svm_cr4_exits);
        machine.leaf_7 = (struct cpuid_result){.edx = one};
        assert_int_equal(0, asked(svm_probe));
        assert_int_equal((edx & one) != 0, svm_cr4_exits);
        machine.leaf_7 = (struct cpuid_result){.eax = 1};
        machine.leaf_7_1 = (struct cpuid_result){.eax = one};
        assert_int_equal(0, asked(svm_probe));
        assert_int_equal((sub_eax & one) != 0, svm_cr4_exits);
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vmx_controls),
        cmocka_unit_test(test_vmx_unwanted),
        cmocka_unit_test(test_vmx_ept),
        cmocka_unit_test(test_vmx_absent),
        cmocka_unit_test(test_vmx_no_instruction),
        cmocka_unit_test(test_vmx_halves),
        cmocka_unit_test(test_svm),
        cmocka_unit_test(test_vmx_la57),
        cmocka_unit_test(test_svm_cr4),
        cmocka_unit_test(test_vmx_multihit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
