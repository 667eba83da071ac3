/* core/policy/cpuid.c and cpuid_answer.c, over two made-up machines that have every feature. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/errors.h"
#include "core/base/x86.h"
#include "core/policy/cpuid.h"

#define EXT  0x80000000u
#define ONES 0xffffffffu

struct machine {
    bool amd;
    u32 max_basic, max_ext;
    u32 xcr0;
    u32 caches;
    u32 phys_bits;
    u32 leaf1_ecx, ext1_ecx;
    bool no_la57; /* by CPUID; and by VMX */
    bool vmx_without;
    bool asked_beyond; /* a leaf that the machine does not have was asked for */
};

static void cpu(void *ctx, u32 leaf, u32 sub, struct cpuid_regs *out) {
    struct machine *m = ctx;
    struct cpuid_regs r = {ONES, ONES, ONES, ONES};

    if (leaf < EXT ? leaf > m->max_basic : leaf > m->max_ext) m->asked_beyond = m->asked_beyond || leaf != EXT;
    switch (leaf) {
    case 0:
        r.eax = m->max_basic;
        memcpy(&r.ebx, m->amd ? "Auth" : "Genu", 4);
        memcpy(&r.edx, m->amd ? "enti" : "ineI", 4);
        memcpy(&r.ecx, m->amd ? "cAMD" : "ntel", 4);
        break;
    case 1: r.ecx = m->leaf1_ecx; break;
    case 7: r.ecx = m->no_la57 ? ~(u32)BIT(16) : ONES; break;
    case 2: r = (struct cpuid_regs){0xff01, 2, 3, 4}; break;
    case 4:
    case EXT + 0x1d:
        r = sub < m->caches ? (struct cpuid_regs){0xffffffe1 + sub, 0x1c0003f, 63, 7} : (struct cpuid_regs){0};
        break;
    case 0xd: /* real layout of AVX and AVX-512, and a PKRU part at the end */
        if (sub == 0)
            r = (struct cpuid_regs){m->xcr0, 2696, 2696, 0};
        else if (sub == 2)
            r = (struct cpuid_regs){256, 576, 0, 9};
        else if (sub == 5)
            r = (struct cpuid_regs){64, 1088, 1, 9};
        else if (sub == 6)
            r = (struct cpuid_regs){512, 1152, 2, 9};
        else if (sub == 7)
            r = (struct cpuid_regs){1024, 1664, 2, 9};
        break;
    case EXT: r.eax = m->max_ext; break;
    case EXT + 1: r.ecx = m->ext1_ecx; break;
    case EXT + 2: memcpy(&r.eax, "Test", 4); break;
    case EXT + 8: r.eax = m->phys_bits | 57 << 8 | 46 << 16; break;
    default: break;
    }
    *out = r;
}

static const struct machine intel = {false, 0x20, EXT + 8, ONES, 4, 46, ONES, ONES, false, false, false};
static const struct machine amd = {true, 0x10, EXT + 0x28, ONES, 3, 52, ONES, ONES, false, false, false};

static struct cpuid_table table;

static bool no_rdtscp, no_invpcid; /* what the vendor says of the next table */

static void build(struct machine m, u32 vcpu, u32 count, u64 tsc_hz) {
    struct cpuid_request rq = {cpu,       &m,         vcpu,          vcpu, count, tsc_hz, policy_xcr0(cpu, &m),
                               no_rdtscp, no_invpcid, !m.vmx_without};

    memset(&table, 0xee, sizeof(table));
    assert_int_equal(0, cpuid_table_build(&table, &rq));
    assert_false(m.asked_beyond);
}

static struct cpuid_regs ask_now(u32 leaf, u32 sub, u64 cr4, u64 xcr0, u64 apic_base) {
    struct cpuid_regs r = {1, 2, 3, 4};

    cpuid_answer(&table, leaf, sub, cr4, xcr0, apic_base, &r);
    return r;
}

static struct cpuid_regs ask(u32 leaf, u32 sub) { return ask_now(leaf, sub, CR4_OSXSAVE, 0xe7, APIC_BASE_ENABLE); }

static void check(u32 leaf, u32 sub, u32 eax, u32 ebx, u32 ecx, u32 edx) {
    struct cpuid_regs r = ask(leaf, sub);

    assert_int_equal(eax, r.eax);
    assert_int_equal(ebx, r.ebx);
    assert_int_equal(ecx, r.ecx);
    assert_int_equal(edx, r.edx);
}

static void test_basic(void **state) {
    (void)state;
    build(intel, 1, 3, 2500000000);
    check(0, 0, 0x16, 0x756e6547, 0x6c65746e, 0x49656e69);
    /* every bit of the machine's 32 that a guest may see, spelled out: VMX, SMX, MONITOR, EIST,
     * TM2, PDCM, DTES64 of ECX and DS, ACPI, TM of EDX are not among them */
    check(1, 0, ONES, 0x0104ff00, 0xfffa3203, 0x178bfbff | BIT(28));
    check(2, 0, 0xff01, 2, 3, 4);
    check(3, 0, 0, 0, 0, 0);
    check(5, 0, 0, 0, 0, 0); /* MONITOR */
    check(6, 0, 4, 0, 0, 0); /* ARAT */
    check(7, 0, 0, 0xfdbf27eb, 0x18415f46, 0x0080451c);
    check(7, 1, 0, 0, 0, 0);
    check(9, 0, 0, 0, 0, 0);
    check(0xa, 0, 0, 0, 0, 0); /* performance counters */
    check(0x14, 0, 0, 0, 0, 0);
    check(0x15, 0, 1, 1, 2500000000, 0);
    check(0x16, 0, 2500, 2500, 0, 0);
    check(0x17, 0, 0, 0, 0, 0);
    check(0x1f, 0, 0, 0, 0, 0);
    check(0x20, 0, 0, 0, 0, 0);
    check(0x7fffffff, 0, 0, 0, 0, 0);
    check(0xc0000000, 0, 0, 0, 0, 0);
    build(intel, 0, 1, 5000000000); /* too fast for a 32-bit crystal */
    check(0x15, 0, 0, 0, 0, 0);
    check(0x16, 0, 5000, 5000, 0, 0);
    check(1, 0, ONES, 0x0001ff00, 0xfffa3203, 0x078bfbff);
}

static void test_state(void **state) {
    (void)state;
    build(amd, 0, 1, 1000000000);
    assert_true(ask(1, 0).ecx & BIT(27));
    assert_false(ask_now(1, 0, 0, 7, APIC_BASE_ENABLE).ecx & BIT(27));
    assert_true(ask(1, 0).edx & BIT(9));
    assert_false(ask_now(1, 0, 0, 7, 0).edx & BIT(9));
    assert_true(ask(EXT + 1, 0).edx & BIT(9));
    assert_false(ask_now(EXT + 1, 0, 0, 7, 0).edx & BIT(9));
    assert_int_equal(ask(EXT + 1, 0).ecx, ask_now(EXT + 1, 0, 0, 7, 0).ecx);
}

static void test_topology(void **state) {
    (void)state;
    build(intel, 2, 5, 1000000000);
    check(0xb, 0, 0, 1, 0x100, 2);
    check(0xb, 1, 3, 5, 0x201, 2);
    check(0xb, 2, 0, 0, 2, 2);
    check(0xb, 0x105, 0, 0, 5, 2);
    for (u32 i = 0; i < 4; i++) check(4, i, (0x3fe1 + i) | 7 << 26, 0x1c0003f, 63, 7); /* 8 core ids, nothing shared */
    check(4, 4, 0, 0, 0, 0);
    check(4, ONES, 0, 0, 0, 0);
    assert_int_equal(8 << 16 | 2 << 24, ask(1, 0).ebx & ~0xffffu);
    build(intel, 300, 1000, 1000000000);
    assert_int_equal(255u << 16 | 44u << 24, ask(1, 0).ebx & ~0xffffu);
    assert_int_equal(63u, ask(4, 0).eax >> 26);
    check(0xb, 1, 10, 1000, 0x201, 300);
}

static void test_xsave(void **state) {
    struct machine m = intel;

    (void)state;
    build(m, 0, 2, 1000000000);
    check(0xd, 0, 0xe7, 2688, 2688, 0);
    check(0xd, 1, 5, 0, 0, 0);
    check(0xd, 2, 256, 576, 0, 0);
    check(0xd, 3, 0, 0, 0, 0);
    check(0xd, 6, 512, 1152, 2, 0);
    check(0xd, 7, 1024, 1664, 2, 0);
    check(0xd, 8, 0, 0, 0, 0);
    check(0xd, 9, 0, 0, 0, 0);
    assert_int_equal(576, ask_now(0xd, 0, 0, 1, 0).ebx);
    assert_int_equal(832, ask_now(0xd, 0, 0, 7, 0).ebx);
    assert_int_equal(2688, ask_now(0xd, 0, 0, 7, 0).ecx);
    /* AVX only: no AVX-512 anywhere. An incomplete AVX-512 counts as none. */
    m.xcr0 = 0xa7;
    assert_int_equal(7, policy_xcr0(cpu, &m));
    build(m, 0, 2, 1000000000);
    check(0xd, 0, 7, 832, 832, 0);
    check(0xd, 3, 0, 0, 0, 0);
    assert_int_equal(0x219c27eb, ask(7, 0).ebx);
    assert_int_equal(0x18410704, ask(7, 0).ecx);
    assert_int_equal(0x4410, ask(7, 0).edx);
    /* SSE only: nothing that needs the upper halves. */
    m.xcr0 = 0xe3;
    assert_int_equal(3, policy_xcr0(cpu, &m));
    build(m, 0, 2, 1000000000);
    check(0xd, 0, 3, 576, 576, 0);
    check(0xd, 2, 0, 0, 0, 0);
    assert_false(ask(1, 0).ecx & (BIT(12) | BIT(28) | BIT(29)));
    assert_false(ask(7, 0).ebx & BIT(5));
    assert_true(ask(1, 0).ecx & BIT(26));
    /* no XSAVE at all */
    m.leaf1_ecx = ~(u32)BIT(26);
    assert_int_equal(0, policy_xcr0(cpu, &m));
    build(m, 0, 2, 1000000000);
    check(0xd, 0, 0, 0, 0, 0);
    assert_false(ask_now(1, 0, 0, 1, 0).ecx & (BIT(26) | BIT(27) | BIT(28)));
    m.max_basic = 5;
    assert_int_equal(0, policy_xcr0(cpu, &m));
    build(m, 0, 2, 1000000000); /* an old machine: leaves that are made here are there all the same */
    check(7, 0, 0, 2, 0, 0);
    check(0xb, 1, 1, 2, 0x201, 0);
}

/* 57-bit linear addresses, if the processor has them and lets a guest have them; their size goes with the bit, whatever
 * the machine says of it. */
static void test_la57(void **state) {
    struct machine m;

    (void)state;
    for (u32 i = 0; i < 8; i++) {
        bool has = !(i & 3);

        m = i & 4 ? amd : intel;
        m.no_la57 = i & 1;
        m.vmx_without = i & 2;
        build(m, 0, 1, 1000000000);
        assert_int_equal(has, ask(7, 0).ecx >> 16 & 1);
        assert_int_equal(has ? 57 : 48, ask(EXT + 8, 0).eax >> 8);
    }
    m = intel;
    m.max_basic = 5;
    build(m, 0, 1, 1000000000);
    assert_int_equal(48, ask(EXT + 8, 0).eax >> 8);
}

static void test_ext_intel(void **state) {
    (void)state;
    build(intel, 0, 2, 1000000000);
    assert_int_equal(EXT + 8, ask(EXT, 0).eax);
    check(EXT + 1, 0, ONES, 0, 0x000109e1, 0x2c500800);
    assert_int_equal(0x74736554, ask(EXT + 2, 0).eax);
    check(EXT + 7, 0, 0, 0, 0, 0x100);
    check(EXT + 8, 0, 46 | 57 << 8, 0, 0, 0);
    check(EXT + 0x1d, 0, 0, 0, 0, 0);
    check(EXT + 0x1e, 0, 0, 0, 0, 0);
}

static void test_ext_amd(void **state) {
    struct machine m = amd;

    (void)state;
    build(m, 3, 4, 1000000000);
    assert_int_equal(EXT + 0x21, ask(EXT, 0).eax);
    check(EXT + 1, 0, ONES, 0, 0x000109e1 | BIT(1) | BIT(22), 0x2dd3fbff);
    check(EXT + 8, 0, 48 | 57 << 8, 5, 3 | 2 << 12, 0);
    check(EXT + 0xa, 0, 0, 0, 0, 0); /* SVM */
    check(EXT + 0x19, 0, ONES, ONES, ONES, ONES);
    check(EXT + 0x1a, 0, 7, 0, 0, 0);
    check(EXT + 0x1b, 0, 0, 0, 0, 0); /* IBS */
    check(EXT + 0x1d, 0, 0x3fe1, 0x1c0003f, 63, 7);
    check(EXT + 0x1d, 3, 0, 0, 0, 0);
    check(EXT + 0x1e, 0, 3, 3, 0, 0);
    check(EXT + 0x1f, 0, 0, 0, 0, 0); /* memory encryption */
    check(EXT + 0x21, 0, 0x44, 0, 0, 0);
    check(EXT + 0x22, 0, 0, 0, 0, 0);
    m.ext1_ecx = ~(u32)BIT(22); /* no topology extensions */
    build(m, 0, 1, 1000000000);
    assert_false(ask(EXT + 1, 0).ecx & (BIT(22) | BIT(1)));
    check(EXT + 0x1d, 0, 0, 0, 0, 0);
    check(EXT + 0x1e, 0, 0, 0, 0, 0);
    m.max_ext = 5; /* no extended leaves: the guest's fixed ones answer */
    build(m, 0, 1, 1000000000);
    assert_int_equal(EXT + 8, ask(EXT, 0).eax);
    check(EXT + 7, 0, 0, 0, 0, 0);
}

static void test_hypervisor(void **state) {
    struct cpuid_regs r;

    (void)state;
    build(amd, 0, 1, 3000123456);
    r = ask(0x40000000, 0);
    assert_int_equal(0x40000010, r.eax);
    assert_memory_equal(&r.ebx, "MullionMulli", 12);
    check(0x40000001, 0, 0, 0, 0, 0);
    check(0x40000010, 0, 3000123, 3000123, 0, 0);
    check(0x40000011, 0, 0, 0, 0, 0);
    r = ask(0x40000100, 0);
    assert_int_equal(0x40000101, r.eax);
    assert_memory_equal(&r.ebx, "KVMKVMKVM\0\0", 12);
    check(0x40000101, 0, BIT(3) | BIT(24), 0, 0, 0);
    check(0x40000102, 0, 0, 0, 0, 0);
    check(0x40000200, 0, 0, 0, 0, 0);
    build(intel, 0, 1, 3000123456); /* leaf 15H tells */
    check(0x40000100, 0, 0, 0, 0, 0);
    check(0x40000101, 0, 0, 0, 0, 0);
    build(intel, 0, 1, 5000000000);
    assert_int_equal(0x40000101, ask(0x40000100, 0).eax);
}

/* Instructions that guests cannot have. */
static void test_refused_instructions(void **state) {
    (void)state;
    build(intel, 0, 1, 1000000000);
    assert_false(table.amd);
    assert_true(ask_now(7, 0, 0, 0, 0).ebx & BIT(10));
    assert_true(ask_now(7, 0, 0, 0, 0).ecx & BIT(22));
    assert_true(ask_now(EXT + 1, 0, 0, 0, 0).edx & BIT(27));
    no_rdtscp = true;
    build(amd, 0, 1, 1000000000);
    assert_true(table.amd);
    assert_true(ask_now(7, 0, 0, 0, 0).ebx & BIT(10));
    assert_false(ask_now(7, 0, 0, 0, 0).ecx & BIT(22));
    assert_false(ask_now(EXT + 1, 0, 0, 0, 0).edx & BIT(27));
    no_rdtscp = false;
    no_invpcid = true;
    build(intel, 0, 1, 1000000000);
    assert_false(ask_now(7, 0, 0, 0, 0).ebx & BIT(10));
    assert_true(ask_now(7, 0, 0, 0, 0).ecx & BIT(22));
    no_invpcid = false;
}

/* Eight caches of either kind fit; the table never runs over. */
static void test_full(void **state) {
    struct machine m = amd;
    struct cpuid_request rq = {cpu, &m, 0, 0, 1, 1000000000, 0xe7, false, false, false};

    (void)state;
    m.caches = 100;
    assert_int_equal(0, cpuid_table_build(&table, &rq));
    check(4, 7, 0x3fe8, 0x1c0003f, 63, 7);
    check(4, 8, 0, 0, 0, 0);
    check(EXT + 0x1d, 7, 0x3fe8, 0x1c0003f, 63, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basic),      cmocka_unit_test(test_state),
        cmocka_unit_test(test_topology),   cmocka_unit_test(test_xsave),
        cmocka_unit_test(test_la57),       cmocka_unit_test(test_ext_intel),
        cmocka_unit_test(test_ext_amd),    cmocka_unit_test(test_refused_instructions),
        cmocka_unit_test(test_hypervisor), cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
