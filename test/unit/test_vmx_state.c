/* vmx/state.c over a VMCS that is an array: how CR4 and rip go in and come out where linear addresses have 57 bits,
 * which no emulator of VMX has. SDM Vol 3C, Guest-State Area; Guest/Host Masks and Read Shadows for CR0 and CR4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/cpu.h"
#include "core/base/panic.h"
#include "core/base/x86.h"
#include "vmx/vmx.h"

struct vmx_info vmx;

static u64 fields[0x8000];
static u32 flushes;
static struct vcpu_hw hw;

bool cpu_vmread(u64 field, u64 *value) {
    *value = fields[field];
    return true;
}
bool cpu_vmwrite(u64 field, u64 value) {
    fields[field] = value;
    return true;
}
u64 read_cr2(void) { return 0; }
u64 read_dr6(void) { return 0; }
void write_dr6(u64 v) { (void)v; }
void vmx_flush_linear(struct vcpu_hw *of) { flushes += of == &hw; }
void vmcs_failed(u32 field, const char *what) {
    (void)field, (void)what;
    abort();
}
void panic(const char *format, ...) {
    (void)format;
    abort();
}

static u64 cr4(void) { return fields[VMCS_GUEST_CR4.field]; }

/* A guest owns the bit: it sets it without an exit, and the processor without LA57 refuses. What nobody has is not
 * seen, and VMXE stays set behind it. */
static void test_la57(void **state) {
    struct vcpu_context c;

    (void)state;
    assert_true(VMX_CR4_GUEST & CR4_LA57);
    assert_false(VMX_CR4_GUEST & (CR4_VMXE | CR4_SMXE | CR4_PKE | CR4_CET));
    vmx_set_reg(&hw, REG_CR4, CR4_PAE | CR4_LA57);
    assert_int_equal(CR4_PAE | CR4_LA57 | CR4_VMXE | CR4_MCE, cr4());
    assert_int_equal(1, flushes);
    assert_int_equal(CR4_PAE | CR4_LA57, vmx_get_reg(&hw, REG_CR4));
    vmx_get_context(&hw, &c);
    assert_int_equal(CR4_PAE | CR4_LA57, c.cr4);
    vmx_set_reg(&hw, REG_CR4, CR4_PAE | CR4_VMXE | CR4_PKE);
    assert_int_equal(CR4_PAE | CR4_VMXE | CR4_MCE, cr4());
    assert_int_equal(CR4_PAE, vmx_get_reg(&hw, REG_CR4));
}

/* Machine checks are the machine's: a guest sees the bit as it wrote it, and cannot clear it. */
static void test_mce(void **state) {
    struct vcpu_context c;

    (void)state;
    assert_false(VMX_CR4_GUEST & CR4_MCE);
    for (u32 i = 0; i < 4; i++) {
        u64 value = CR4_PAE | (i & 1 ? CR4_MCE : 0);

        vmx_set_reg(&hw, REG_CR4, value);
        assert_int_equal(CR4_PAE | CR4_VMXE | CR4_MCE, cr4());
        assert_int_equal(value & CR4_MCE, fields[VMCS_CR4_SHADOW.field]);
        assert_int_equal(value, vmx_get_reg(&hw, REG_CR4));
        vmx_get_context(&hw, &c);
        assert_int_equal(value, c.cr4);
    }
}

/* rip moves in 64 bits, over the end of the canonical half too: entry wants bits 63:N alike, N the processor's width,
 * and the fetch then faults in the guest. SDM Vol 3C, Checks on Guest RIP, RFLAGS, and SSP. */
static void test_skip(void **state) {
    static const u64 from[] = {0x00ffffff00000000 - 2, 0x0100000000000000 - 2, 0x0000800000000000 - 2, 0xfffffffe};

    (void)state;
    fields[VMCS_GUEST_RFLAGS.field] = RFLAGS_FIXED;
    fields[VMCS_GUEST_EFER.field] = EFER_LME | EFER_LMA;
    fields[VMCS_GUEST_RIGHTS(VSEG_CS).field] = RIGHTS_CS_LONG;
    for (u32 i = 0; i < ARRAY_SIZE(from); i++) {
        fields[VMCS_GUEST_RIP.field] = from[i];
        vmx_skip(&hw, 2);
        assert_int_equal(from[i] + 2, fields[VMCS_GUEST_RIP.field]);
    }
    fields[VMCS_GUEST_RIGHTS(VSEG_CS).field] = 0; /* compatibility mode */
    fields[VMCS_GUEST_RIP.field] = 0xfffffffe;
    vmx_skip(&hw, 2);
    assert_int_equal(0, fields[VMCS_GUEST_RIP.field]);
}

/* What is pending would be lost if the entry injected something. SDM Vol 3C, Delivery of Pending Debug Exceptions after
 * VM Entry. */
static void test_pending_debug(void **state) {
    (void)state;
    fields[VMCS_GUEST_RFLAGS.field] = RFLAGS_FIXED | RFLAGS_IF;
    assert_true(vmx_can_inject(&hw, EVENT_INTERRUPT) && vmx_can_inject(&hw, EVENT_NMI));
    fields[VMCS_GUEST_RFLAGS.field] |= RFLAGS_TF;
    vmx_skip(&hw, 2);
    assert_int_equal(BIT(14), fields[VMCS_PENDING_DEBUG.field]);
    assert_false(vmx_can_inject(&hw, EVENT_INTERRUPT) || vmx_can_inject(&hw, EVENT_NMI));
    fields[VMCS_PENDING_DEBUG.field] = 0;
    vmx_set_reg(&hw, REG_BREAKPOINTS, 5);
    assert_int_equal(BIT(12) | 5, fields[VMCS_PENDING_DEBUG.field]);
    assert_false(vmx_can_inject(&hw, EVENT_INTERRUPT) || vmx_can_inject(&hw, EVENT_NMI));
    fields[VMCS_PENDING_DEBUG.field] = 0;
}

int main(void) {
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_la57), cmocka_unit_test(test_mce),
                                              cmocka_unit_test(test_skip), cmocka_unit_test(test_pending_debug)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
