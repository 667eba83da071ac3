/* core/vdev/vlapic_reg.c: registers, errors, IPIs, by the sections of SDM Vol 3A, Advanced
 * Programmable Interrupt Controller. */
#include "test/unit/vlapic_fixture.h"

/* Local APIC Register Address Map */
static void test_xapic_registers(void **state) {
    (void)state;
    fresh();
    wr(0x20, 0x12345678); /* read-only */
    assert_int_equal(0x05000000, rd(0x20));
    wr(0x30, 0);
    assert_int_equal(0x50014, rd(0x30));
    wr(0x80, 0xffffff5a);
    assert_int_equal(0x5a, rd(0x80));
    wr(0xd0, 0xffffffff);
    assert_int_equal(0xff000000, rd(0xd0));
    wr(0xe0, 0);
    assert_int_equal(0x0fffffff, rd(0xe0));
    wr(0xf0, 0xffffffff);
    assert_int_equal(0x3ff, rd(0xf0));
    wr(0x310, 0xffffffff);
    assert_int_equal(0xff000000, rd(0x310));
    wr(0x320, 0xffffffff);
    assert_int_equal(0x700ff, rd(0x320));
    wr(0x330, 0xffffffff);
    assert_int_equal(0x107ff, rd(0x330));
    wr(0x350, 0xffffffff);
    assert_int_equal(0x1a7ff, rd(0x350));
    wr(0x370, 0xffffffff);
    assert_int_equal(0x100ff, rd(0x370));
    wr(0x3e0, 0xffffffff);
    assert_int_equal(0xb, rd(0x3e0));
    assert_int_equal(0, rd(0xb0)); /* write-only */
    assert_int_equal(0, rd(0xc0));
    assert_int_equal(0, logged_errors());
    assert_int_equal(0, rd(0x84)); /* between registers: undefined, here nothing */
    wr(0x84, 0xff);
    assert_int_equal(0x5a, rd(0x80));
    assert_int_equal(0, logged_errors());
}

/* x2APIC Register Address Space; Reserved Bit Checking */
static void test_x2apic_registers(void **state) {
    static const u32 absent[] = {0x800, 0x801, 0x804, 0x807, 0x809, 0x80c, 0x80e, 0x829,
                                 0x82f, 0x831, 0x83a, 0x83d, 0x840, 0x8ff, 0x7ff};
    static const u32 read_only[] = {0x802, 0x803, 0x80a, 0x80d, 0x810, 0x81f, 0x827, 0x839};
    static const struct {
        u32 msr, writable;
    } checked[] = {{0x808, 0xff},    {0x80b, 0},       {0x80f, 0x3ff},   {0x828, 0},       {0x832, 0x710ff},
                   {0x833, 0x117ff}, {0x834, 0x117ff}, {0x835, 0x1f7ff}, {0x836, 0x1f7ff}, {0x837, 0x110ff},
                   {0x838, ~0u},     {0x83e, 0xb},     {0x83f, 0xff}};

    (void)state;
    fresh_x2apic(0x123);
    assert_int_equal(0x123, rdmsr(0x802));
    assert_int_equal(0x50014, rdmsr(0x803));
    assert_int_equal(0x120008, rdmsr(0x80d)); /* Deriving Logical x2APIC ID */
    for (u32 i = 0; i < ARRAY_SIZE(absent); i++) {
        rdmsr_faults(absent[i]);
        wrmsr_faults(absent[i], 0);
    }
    for (u32 i = 0; i < ARRAY_SIZE(read_only); i++) {
        rdmsr(read_only[i]);
        wrmsr_faults(read_only[i], 0);
    }
    rdmsr_faults(0x80b); /* write-only */
    rdmsr_faults(0x83f);
    for (u32 i = 0; i < ARRAY_SIZE(checked); i++)
        for (u32 bit = 0; bit < 64; bit++) {
            bool ok = bit < 32 && (checked[i].writable >> bit & 1);
            int result = vlapic_msr_write(&l, checked[i].msr, BIT(bit), now, &fx);

            assert_int_equal(ok ? 0 : -E_FAULT, result);
        }
    for (u32 bit = 0; bit < 64; bit++) {
        bool reserved = (0xfff32000u & BIT(bit)) != 0; /* ICR Operation in x2APIC Mode */

        assert_int_equal(reserved ? -E_FAULT : 0, vlapic_msr_write(&l, 0x830, BIT(bit), now, &fx));
    }
    wrmsr(0x830, 0x123456780000c540); /* bit 12 would be ignored */
    assert_true(rdmsr(0x830) == 0x123456780000c540);
    wrmsr(0x830, 0x1000);
    assert_int_equal(0, rdmsr(0x830));
}

/* x2APIC registers do not exist in xAPIC mode. */
static void test_x2apic_needs_mode(void **state) {
    (void)state;
    fresh();
    rdmsr_faults(0x802);
    wrmsr_faults(0x80b, 0);
    rdmsr_faults(MSR_TSC); /* not ours */
}

/* Error Handling */
static void test_errors(void **state) {
    (void)state;
    fresh();
    wr(0x370, 0xe0);
    assert_true(vlapic_post(&l, 15, false)); /* received illegal vector; the LVT announces it */
    assert_int_equal(0, rd(0x280));          /* not before a write */
    assert_true(requested(0xe0));
    vlapic_ack(&l, 0xe0);
    assert_false(vlapic_post(&l, 0, false)); /* disarmed until ESR is written */
    wr(0x300, 0x4003);                       /* send illegal vector */
    assert_false(fx.ipi);
    wr(0x300, 0x4103);
    assert_false(fx.ipi);
    rd(0x2f0);       /* no CMCI entry */
    wr(0x3f0, 0x55); /* SELF IPI is an x2APIC register */
    assert_false(requested(0xe0));
    wr(0x280, 0xffffffff);
    assert_int_equal(0xe0, rd(0x280));
    assert_int_equal(0xe0, rd(0x280)); /* stays until the next write */
    rd(0x400);
    assert_true(requested(0xe0)); /* rearmed */
    assert_int_equal(0x80, logged_errors());
    assert_int_equal(0, logged_errors());
    wr(0x370, 0x05); /* its own vector is illegal: recorded, and no endless loop */
    assert_false(vlapic_post(&l, 1, false));
    assert_int_equal(0x40, logged_errors());
    rd(0);
    assert_int_equal(0xc0, logged_errors());
    wr(0x320, 0x0a); /* "an interrupt generated locally from the local vector table" */
    wr(0x380, 1);
    now += 2;
    vlapic_tick(&l, now);
    assert_int_equal(0x40, logged_errors());

    fresh_x2apic(1);
    wrmsr(0x83f, 0x0f);
    assert_false(fx.ipi);
    wrmsr_faults(0x828, 1);
    wrmsr(0x828, 0);
    assert_int_equal(0x20, rdmsr(0x828));
}

/* Interrupt Command Register (ICR) */
static void test_icr(void **state) {
    (void)state;
    fresh();
    wr(0x310, 0x03000000);
    assert_false(fx.ipi);
    wr(0x300, 0xcc8fd); /* fixed, logical, all but self, both level bits */
    assert_true(fx.ipi);
    assert_int_equal(3, fx.msg.dest);
    assert_true(fx.msg.logical);
    assert_false(fx.msg.x2apic);
    assert_int_equal(0xfd, fx.msg.vector);
    assert_int_equal(APIC_FIXED, fx.msg.delivery);
    assert_false(fx.msg.level); /* IPIs are edge triggered */
    assert_true(fx.msg.assert);
    assert_int_equal(APIC_OTHERS, fx.msg.shorthand);
    assert_int_equal(0xcc8fd, rd(0x300)); /* delivery status idle */
    wr(0x300, 0x4130);
    assert_int_equal(APIC_LOWEST, fx.msg.delivery);
    wr(0x300, 0x4400);
    assert_int_equal(APIC_NMI, fx.msg.delivery);
    wr(0x300, 0xc500); /* INIT */
    assert_true(fx.ipi && fx.msg.assert &&fx.msg.level);
    wr(0x300, 0x0500);
    assert_true(fx.ipi && !fx.msg.level);
    wr(0x300, 0x8500); /* INIT level de-assert */
    assert_false(fx.ipi);
    wr(0x300, 0x4699); /* start-up: any vector */
    assert_true(fx.ipi);
    assert_int_equal(0x99, fx.msg.vector);
    wr(0x300, 0x4605);
    assert_true(fx.ipi);
    assert_int_equal(0, logged_errors());
    wr(0x300, 0x4230); /* SMI */
    assert_false(fx.ipi);
    wr(0x300, 0x4330); /* reserved */
    assert_false(fx.ipi);
    wr(0x300, 0x4730);
    assert_false(fx.ipi);
    /* Valid Combinations for the Local xAPIC's ICR */
    for (u32 shorthand = 1; shorthand <= 3; shorthand++) {
        wr(0x300, 0x4500 | shorthand << 18);
        assert_int_equal(shorthand == APIC_OTHERS, fx.ipi);
        wr(0x300, 0x4600 | shorthand << 18);
        assert_int_equal(shorthand == APIC_OTHERS, fx.ipi);
    }
}

/* ICR Operation in x2APIC Mode; SELF IPI Register */
static void test_x2apic_icr(void **state) {
    (void)state;
    fresh_x2apic(2);
    wrmsr(0x830, 0xabcdef0000004841);
    assert_true(fx.ipi && fx.msg.x2apic && fx.msg.logical);
    assert_int_equal(0xabcdef00, fx.msg.dest);
    wrmsr(0x83f, 0x42);
    assert_true(fx.ipi && !fx.msg.level);
    assert_int_equal(APIC_SELF, fx.msg.shorthand);
    assert_int_equal(APIC_FIXED, fx.msg.delivery);
    assert_int_equal(0x42, fx.msg.vector);
    vlapic_post(&l, 0x42, true); /* EOI by MSR */
    vlapic_ack(&l, 0x42);
    wrmsr(0x80b, 0);
    assert_true(fx.eoi_broadcast);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xapic_registers),
        cmocka_unit_test(test_x2apic_registers),
        cmocka_unit_test(test_x2apic_needs_mode),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_icr),
        cmocka_unit_test(test_x2apic_icr),
    };

    return cmocka_run_group_tests_name("vlapic_reg", tests, NULL, NULL);
}
