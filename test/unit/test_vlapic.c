/* core/vdev/vlapic.c: state, priorities, destinations, by the sections of SDM Vol 3A, Advanced
 * Programmable Interrupt Controller. */
#include "test/unit/vlapic_fixture.h"

/* Local APIC State After Power-Up or Reset */
static void test_power_up(void **state) {
    (void)state;
    vlapic_reset(&l, 0x105, true);
    assert_int_equal(BASE | 0x900, rdmsr(MSR_APIC_BASE));
    assert_int_equal(0x05000000, rd(0x20));
    assert_int_equal(0x50014, rd(0x30));
    assert_int_equal(0, rd(0x80));
    assert_int_equal(0, rd(0xd0));
    assert_int_equal(0xffffffff, rd(0xe0));
    assert_int_equal(0xff, rd(0xf0));
    for (u32 offset = 0x100; offset < 0x290; offset += 16) assert_int_equal(0, rd(offset));
    for (u32 offset = 0x320; offset < 0x380; offset += 16) assert_int_equal(0x10000, rd(offset));
    for (u32 offset = 0x380; offset < 0x3a0; offset += 16) assert_int_equal(0, rd(offset));
    assert_int_equal(0, rd(0x3e0));
    assert_int_equal(0, rd(0x300) | rd(0x310));
    assert_int_equal(-1, vlapic_pending(&l));
    assert_true(vlapic_deadline(&l) == NEVER);
    vlapic_reset(&l, 1, false);
    assert_int_equal(BASE | 0x800, rdmsr(MSR_APIC_BASE));
}

/* Local APIC State After an INIT Reset; x2APIC States: INIT keeps the mode. */
static void test_init(void **state) {
    (void)state;
    fresh();
    wr(0x80, 0x20);
    wr(0xd0, 0xff000000);
    wr(0x320, 0x20040);
    wr(0x380, 100);
    vlapic_post(&l, 0x50, true);
    vlapic_ack(&l, 0x50);
    vlapic_post(&l, 0x60, false);
    l.events = VLAPIC_EVENT_SIPI;
    vlapic_init_signal(&l);
    assert_int_equal(-1, vlapic_pending(&l));
    assert_int_equal(0, rd(0x80) | rd(0xa0) | rd(0xd0) | rd(0x380) | rd(0x390));
    assert_int_equal(0xff, rd(0xf0));
    assert_int_equal(0x10000, rd(0x320));
    assert_int_equal(VLAPIC_EVENT_SIPI, l.events);
    assert_int_equal(0x05000000, rd(0x20));
    wr(0xf0, 0x1ff); /* and it works again */
    assert_true(vlapic_post(&l, 0x60, false));
    assert_int_equal(0x60, vlapic_pending(&l));

    fresh_x2apic(0x21);
    vlapic_init_signal(&l);
    assert_int_equal(BASE | 0xc00, rdmsr(MSR_APIC_BASE));
    assert_int_equal(0x21, rdmsr(0x802));
    assert_int_equal(0x20002, rdmsr(0x80d));
    assert_int_equal(0xff, rdmsr(0x80f));
}

/* Local APIC Status and Location; x2APIC State Transitions */
static void test_apic_base(void **state) {
    (void)state;
    fresh();
    wrmsr_faults(MSR_APIC_BASE, BASE | 0x901); /* reserved: 7:0, 9, above the physical width */
    wrmsr_faults(MSR_APIC_BASE, BASE | 0xb00);
    wrmsr_faults(MSR_APIC_BASE, BASE | 0x900 | BIT(52));
    wrmsr_faults(MSR_APIC_BASE, 0xfed00900); /* relocation is refused */
    wrmsr_faults(MSR_APIC_BASE, BASE | 0x500);
    wr(0x80, 0x33);
    wr(0xd0, 0x01000000);
    wr(0x310, 0x07000000);
    wrmsr(MSR_APIC_BASE, BASE | 0xd00); /* xAPIC to x2APIC: most state stays */
    assert_int_equal(0x33, rdmsr(0x808));
    assert_int_equal(0x20, rdmsr(0x80d));
    assert_int_equal(0, rdmsr(0x830));
    assert_int_equal(0x1ff, rdmsr(0x80f));
    wrmsr(MSR_APIC_BASE, BASE | 0xd00);        /* no change */
    wrmsr_faults(MSR_APIC_BASE, BASE | 0x900); /* not straight back */
    wrmsr_faults(MSR_APIC_BASE, BASE | 0x500);
    assert_int_equal(0xffffffff, rd(0x30)); /* the page is gone */
    wr(0x80, 0);
    assert_int_equal(0x33, rdmsr(0x808));
    wrmsr(MSR_APIC_BASE, BASE | 0x100); /* disabled: state is lost */
    rdmsr_faults(0x802);
    wrmsr_faults(0x808, 0);
    assert_int_equal(0xffffffff, rd(0x30));
    wrmsr_faults(MSR_APIC_BASE, BASE | 0xd00);
    assert_false(vlapic_enabled(&l));
    wrmsr(MSR_APIC_BASE, BASE | 0x800); /* which core booted cannot be written */
    assert_int_equal(BASE | 0x900, rdmsr(MSR_APIC_BASE));
    assert_int_equal(0, rd(0x80));
    assert_int_equal(0xff, rd(0xf0));
    assert_int_equal(0, rd(0xd0));
}

/* A post that raced with the switch-off is not delivered. */
static void test_disabled_holds_nothing(void **state) {
    (void)state;
    fresh();
    vlapic_post(&l, 0x40, false);
    wrmsr(MSR_APIC_BASE, BASE | 0x100);
    assert_int_equal(-1, vlapic_pending(&l));
    assert_false(vlapic_post(&l, 0x41, false));
    l.irr[2] = 1;
    l.irr_banks = 4;
    assert_int_equal(-1, vlapic_pending(&l));
}

/* Interrupt Acceptance for Fixed Interrupts; Task and Processor Priorities */
static void test_priorities(void **state) {
    (void)state;
    fresh();
    assert_true(vlapic_post(&l, 0x41, false));
    assert_false(vlapic_post(&l, 0x41, false)); /* whoever set it has woken the vCPU */
    assert_true(vlapic_post(&l, 0x4f, false));
    assert_true(vlapic_post(&l, 0x31, false));
    assert_int_equal(0x4f, vlapic_pending(&l));
    wr(0x80, 0x4f); /* class 4 is not above 4 */
    assert_int_equal(-1, vlapic_pending(&l));
    assert_int_equal(0x4f, rd(0xa0));
    wr(0x80, 0x3f);
    assert_int_equal(0x4f, vlapic_pending(&l));
    vlapic_ack(&l, 0x4f);
    assert_int_equal(0x40, rd(0xa0));         /* ISRV[7:4], low bits 0 */
    assert_int_equal(-1, vlapic_pending(&l)); /* 0x41 is of the same class */
    assert_int_equal(0x8000, rd(0x120));
    assert_int_equal(2, rd(0x220));
    vlapic_post(&l, 0xfe, false); /* nesting */
    assert_int_equal(0xfe, vlapic_pending(&l));
    vlapic_ack(&l, 0xfe);
    assert_int_equal(0xf0, rd(0xa0));
    wr(0xb0, 0);
    assert_int_equal(0x40, rd(0xa0));
    wr(0xb0, 0);
    assert_int_equal(0x3f, rd(0xa0));
    assert_int_equal(0x41, vlapic_pending(&l));
    wr(0x80, 0);
    vlapic_ack(&l, 0x41);
    wr(0xb0, 0);
    assert_int_equal(0x31, vlapic_pending(&l));
    vlapic_ack(&l, 0x99); /* not requested: nothing enters service */
    assert_int_equal(0, rd(0xa0));
}

static void test_every_vector(void **state) {
    (void)state;
    fresh();
    for (u32 v = 16; v < 256; v++) {
        assert_true(vlapic_post(&l, (u8)v, (v & 1) != 0));
        assert_int_equal(v, vlapic_pending(&l));
    }
    for (u32 v = 255; v >= 16; v--) {
        assert_int_equal(v, vlapic_pending(&l));
        vlapic_ack(&l, (u8)v);
        wr(0xb0, 0);
        assert_int_equal(v & 1, fx.eoi_broadcast);
    }
    assert_int_equal(-1, vlapic_pending(&l));
    assert_int_equal(0, l.irr_banks | l.isr_banks);
}

/* Arbitration Priority Register */
static void test_arbitration_priority(void **state) {
    (void)state;
    fresh();
    assert_int_equal(0, rd(0x90));
    wr(0x80, 0x53);
    assert_int_equal(0x53, rd(0x90));
    vlapic_post(&l, 0x71, false);
    assert_int_equal(0x70, rd(0x90));
    vlapic_ack(&l, 0x71);
    assert_int_equal(0x50, rd(0x90)); /* TPR[7:4] & ISRV[7:4] */
}

/* The summary words stay right through the race that vlapic_ack describes. */
static void test_stale_summary(void **state) {
    (void)state;
    fresh();
    l.irr_banks = 0xff; /* says more than there is */
    assert_int_equal(-1, vlapic_pending(&l));
    vlapic_post(&l, 0x22, false);
    assert_int_equal(0x22, vlapic_pending(&l));
    vlapic_ack(&l, 0x22);
    assert_int_equal(0xfd, l.irr_banks);
}

/* CR8 and TPR: Interaction of Task Priorities between CR8 and APIC */
static void test_cr8(void **state) {
    (void)state;
    fresh();
    wr(0x80, 0x5c);
    assert_int_equal(5, vlapic_cr8(&l));
    vlapic_set_cr8(&l, 0x1a);
    assert_int_equal(0xa0, rd(0x80));
    assert_int_equal(0xa0, vlapic_ppr(&l));
}

/* Signaling Interrupt Servicing Completion; Trigger Mode Register */
static void test_eoi(void **state) {
    (void)state;
    fresh();
    wr(0xb0, 0); /* nothing in service */
    assert_false(fx.eoi_broadcast);
    vlapic_post(&l, 0x61, true);
    assert_int_equal(2, rd(0x1b0));
    vlapic_ack(&l, 0x61);
    wr(0xb0, 0);
    assert_true(fx.eoi_broadcast);
    assert_int_equal(0x61, fx.eoi_vector);
    vlapic_post(&l, 0x61, false); /* the same vector as an edge */
    assert_int_equal(0, rd(0x1b0));
    vlapic_ack(&l, 0x61);
    wr(0xb0, 0);
    assert_false(fx.eoi_broadcast);
    wr(0x80, 0);
    assert_false(fx.ipi);
}

/* Local APIC State After It Has Been Software Disabled; Spurious Interrupt */
static void test_software_disable(void **state) {
    (void)state;
    fresh();
    wr(0x320, 0x40);
    wr(0x370, 0x41);
    vlapic_post(&l, 0x50, false);
    wr(0xf0, 0xff);
    assert_false(vlapic_enabled(&l));
    assert_int_equal(0x10040, rd(0x320));
    assert_int_equal(0x10041, rd(0x370));
    wr(0x320, 0x42); /* attempts to reset the mask are ignored */
    assert_int_equal(0x10042, rd(0x320));
    assert_false(vlapic_post(&l, 0x60, false));
    assert_false(requested(0x60));
    assert_int_equal(0x50, vlapic_pending(&l)); /* what was pending is held */
    wr(0x310, 0);
    wr(0x300, 0x4040); /* IPIs can still be issued */
    assert_true(fx.ipi);
    wr(0xf0, 0x1ff);
    assert_int_equal(0x10042, rd(0x320)); /* masks stay until software clears them */
}

static bool matches(u32 dest, bool logical, bool x2apic) {
    struct apic_msg msg = {.dest = dest, .logical = logical, .x2apic = x2apic};

    return vlapic_match(&l, &msg);
}

/* Determining IPI Destination: Physical, Logical Destination Mode */
static void test_destinations(void **state) {
    (void)state;
    fresh();
    assert_true(matches(5, false, false));
    assert_true(matches(5, false, true));
    assert_false(matches(4, false, false));
    assert_true(matches(0xff, false, false));
    assert_true(matches(0xff, true, false));
    assert_false(matches(0xff, false, true)); /* an id like any other */
    assert_true(matches(0xffffffff, false, true));
    assert_false(matches(1, true, false)); /* no logical id yet */
    wr(0xd0, 0x24000000);                  /* flat */
    assert_true(matches(0x04, true, false));
    assert_true(matches(0x60, true, false));
    assert_false(matches(0x1b, true, false));
    assert_true(matches(0xff, true, true));
    assert_false(matches(0x104, true, true)); /* wider than an xAPIC */
    wr(0xe0, 0x0fffffff);                     /* cluster 2, member 4 */
    assert_true(matches(0x24, true, false));
    assert_true(matches(0x2f, true, false));
    assert_false(matches(0x34, true, false));
    assert_false(matches(0x23, true, false));
    wr(0xe0, 0x5fffffff); /* no such model */
    assert_false(matches(0x24, true, false));
    wrmsr(MSR_APIC_BASE, BASE);
    assert_false(matches(5, false, false));
    assert_false(matches(0xff, false, false));

    /* Logical Destination Mode in x2APIC Mode */
    fresh_x2apic(0x21);
    assert_true(matches(0x20002, true, true));
    assert_true(matches(0x2ffff, true, true));
    assert_false(matches(0x2fffd, true, true));
    assert_false(matches(0x10002, true, true));
    assert_false(matches(0x2, true, false));
    assert_true(matches(0x21, false, true));
    assert_true(matches(0xff, true, false));
    assert_true(matches(0xffffffff, true, true));
    fresh_x2apic(1);
    assert_true(matches(0x2, true, false)); /* eight bits reach cluster 0 */
    /* An id above 255: no eight bits name it, physical or logical, but a broadcast does. */
    fresh_x2apic(0x12345);
    assert_int_equal(0x12345, rdmsr(0x802));
    assert_int_equal(0x12340000 | 1 << 5, rdmsr(0x80d));
    assert_true(matches(0x12345, false, true));
    assert_false(matches(0x45, false, true));
    assert_false(matches(0x45, false, false));
    assert_true(matches(0x12340020, true, true));
    assert_false(matches(0x20, true, false));
    assert_true(matches(0xff, false, false));
    assert_true(matches(0xffffffff, false, true));
    wrmsr(0x830, 0x12346ull << 32 | 0x40c0); /* and it sends to one: the destination has 32 bits */
    assert_true(fx.ipi);
    assert_int_equal(0x12346, fx.msg.dest);
}

/* MultiProcessor Specification 1.4, Virtual Wire Mode */
static void test_virtual_wire(void **state) {
    (void)state;
    fresh();
    vlapic_virtual_wire(&l);
    assert_true(vlapic_accepts_extint(&l));
    assert_int_equal(0x1ff, rd(0xf0));
    assert_int_equal(0x700, rd(0x350));
    assert_int_equal(0x400, rd(0x360));
    vlapic_init_signal(&l);
    assert_false(vlapic_accepts_extint(&l));
    assert_int_equal(0x10000, rd(0x350));
    assert_int_equal(0xff, rd(0xf0));
}

/* Local Vector Table: LINT0 */
static void test_lint0(void **state) {
    (void)state;
    fresh();
    assert_false(vlapic_accepts_extint(&l)); /* masked */
    assert_false(vlapic_set_lint0(&l, true));
    assert_false(vlapic_set_lint0(&l, false));
    wr(0x350, 0x700);
    assert_true(vlapic_accepts_extint(&l));
    assert_true(vlapic_set_lint0(&l, true));
    assert_true(l.lint0_level);
    assert_false(vlapic_set_lint0(&l, true)); /* no edge */
    vlapic_set_lint0(&l, false);
    wr(0x350, 0x31); /* fixed */
    assert_false(vlapic_accepts_extint(&l));
    assert_true(vlapic_set_lint0(&l, true));
    assert_true(requested(0x31));
    vlapic_set_lint0(&l, false);
    wr(0x350, 0x400); /* NMI */
    assert_true(vlapic_set_lint0(&l, true));
    assert_int_equal(VLAPIC_EVENT_NMI, l.events);
    vlapic_set_lint0(&l, false);
    wr(0x350, 0x200); /* SMI */
    assert_false(vlapic_set_lint0(&l, true));
    wrmsr(MSR_APIC_BASE, BASE); /* LINT0 is the INTR pin again */
    assert_true(vlapic_accepts_extint(&l));
}

/* An interrupt whose delivery came to nothing is requested again, and nothing else has changed. */
static void test_unack(void **state) {
    (void)state;
    fresh();
    vlapic_post(&l, 0x41, false);
    vlapic_ack(&l, 0x41);
    vlapic_post(&l, 0x61, false);
    vlapic_post(&l, 0x62, false);
    vlapic_ack(&l, 0x62);
    assert_int_equal(-1, vlapic_pending(&l));
    vlapic_unack(&l, 0x62);
    assert_int_equal(0x62, vlapic_pending(&l));
    assert_int_equal(0x40, vlapic_ppr(&l));
    assert_true(requested(0x61) && requested(0x62) && !requested(0x41));
    vlapic_ack(&l, 0x62);
    wr(0xb0, 0);
    assert_int_equal(0x61, vlapic_pending(&l));
    vlapic_ack(&l, 0x61);
    /* Two in service in one word: the other keeps it in the summary. */
    fresh();
    vlapic_post(&l, 0x41, false);
    vlapic_ack(&l, 0x41);
    vlapic_post(&l, 0x51, false);
    vlapic_ack(&l, 0x51);
    vlapic_unack(&l, 0x51);
    assert_int_equal(0x40, vlapic_ppr(&l));
    assert_int_equal(0x51, vlapic_pending(&l));
}

/* Two errors at once make one interrupt; an illegal vector in LVT error makes none, but is noted.
 */
static void test_error_interrupt(void **state) {
    (void)state;
    fresh();
    wr(0x370, 0x35);
    assert_true(vlapic_post(&l, 3, false));
    assert_false(vlapic_post(&l, 4, false));
    assert_int_equal(0x35, vlapic_pending(&l));
    assert_int_equal(0x40, logged_errors());
    fresh();
    wr(0x370, 0x05);
    logged_errors();
    assert_false(vlapic_post(&l, 3, false));
    assert_int_equal(-1, vlapic_pending(&l));
    assert_int_equal(0x40, logged_errors());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_up),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_apic_base),
        cmocka_unit_test(test_disabled_holds_nothing),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_every_vector),
        cmocka_unit_test(test_arbitration_priority),
        cmocka_unit_test(test_stale_summary),
        cmocka_unit_test(test_cr8),
        cmocka_unit_test(test_eoi),
        cmocka_unit_test(test_software_disable),
        cmocka_unit_test(test_destinations),
        cmocka_unit_test(test_virtual_wire),
        cmocka_unit_test(test_lint0),
        cmocka_unit_test(test_unack),
        cmocka_unit_test(test_error_interrupt),
    };

    return cmocka_run_group_tests_name("vlapic", tests, NULL, NULL);
}
