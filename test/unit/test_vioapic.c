/* core/vdev/vioapic.c, by the sections of the Intel 82093AA datasheet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/vdev/vioapic.h"

#define LOW        0x2000u
#define REMOTE_IRR 0x4000u
#define LEVEL      0x8000u
#define MASKED     0x10000u

static struct vioapic io;
static struct apic_msg last;
static u32 sent;

static bool nobody; /* accepts what is sent */

static bool take(void *ctx, const struct apic_msg *msg) {
    (void)ctx;
    last = *msg;
    sent++;
    return !nobody;
}
static u32 ended; /* pins that the host was told of, one bit each */
static void end(void *ctx, u32 number) {
    (void)ctx;
    assert_int_equal(0, ended >> number & 1);
    ended |= 1u << number;
}
static const struct vdev_host host = {.apic_msg = take, .eoi = end};

static void fresh(void) {
    vioapic_reset(&io, 9);
    sent = ended = 0;
}
static u32 rd(u32 reg) {
    vioapic_write(&io, 0x00, reg, &host);
    return vioapic_read(&io, 0x10);
}
static void wr(u32 reg, u32 value) {
    vioapic_write(&io, 0x00, reg, &host);
    vioapic_write(&io, 0x10, value, &host);
}
static void pin(u32 number, bool high) { vioapic_set_line(&io, number, high, &host); }
/* Messages since the last call. */
static u32 messages(void) {
    u32 count = sent;

    sent = 0;
    return count;
}

/* IOREGSEL, IOWIN, IOAPICID, IOAPICVER, IOAPICARB */
static void test_registers(void **state) {
    (void)state;
    fresh();
    vioapic_write(&io, 0x00, 0xffffff10, &host);
    assert_int_equal(0x10, vioapic_read(&io, 0x00));
    assert_int_equal(0x09000000, rd(0));
    assert_int_equal(0x00170020, rd(1));
    assert_int_equal(0x09000000, rd(2));
    wr(0, 0xffffffff);
    assert_int_equal(0x0f000000, rd(0));
    wr(1, 0);
    assert_int_equal(0x00170020, rd(1));
    wr(2, 0);
    assert_int_equal(0x0f000000, rd(2));
    for (u32 reg = 3; reg < 256; reg++)
        if (reg < 0x10 || reg > 0x3f) {
            wr(reg, 0xffffffff);
            assert_int_equal(0, rd(reg));
        }
    for (u32 i = 0; i < VIOAPIC_PINS; i++) {
        assert_int_equal(MASKED, rd(0x10 + 2 * i));
        assert_int_equal(0, rd(0x11 + 2 * i));
    }
    assert_int_equal(0, vioapic_read(&io, 0x40));
    assert_int_equal(0, vioapic_read(&io, 0x20));
    vioapic_write(&io, 0x20, 1, &host);
    assert_int_equal(0, messages());
}

/* I/O Redirection Table Registers: what can be written */
static void test_redirection_bits(void **state) {
    (void)state;
    fresh();
    for (u32 i = 0; i < VIOAPIC_PINS; i++) {
        wr(0x10 + 2 * i, 0xffffffff);
        wr(0x11 + 2 * i, 0xffffffff);
        assert_int_equal(0x1afff, rd(0x10 + 2 * i));
        assert_int_equal(0xff000000, rd(0x11 + 2 * i));
    }
    wr(0x10, MASKED | LEVEL | 0x31);
    io.redirection[0] |= REMOTE_IRR | BIT(12); /* read-only bits survive a write */
    wr(0x10, MASKED | LEVEL | 0x32);
    assert_int_equal(MASKED | LEVEL | REMOTE_IRR | BIT(12) | 0x32, rd(0x10));
    wr(0x11, 0);
    assert_int_equal(MASKED | LEVEL | REMOTE_IRR | BIT(12) | 0x32, rd(0x10));
    wr(0x10, MASKED | 0x32); /* edge: remote IRR means nothing */
    assert_int_equal(MASKED | BIT(12) | 0x32, rd(0x10));
}

/* Trigger Mode: edge */
static void test_edge(void **state) {
    (void)state;
    fresh();
    wr(0x10 + 2 * 4, 0x0934); /* lowest priority, logical */
    wr(0x11 + 2 * 4, 0x0f000000);
    pin(4, true);
    assert_int_equal(1, messages());
    assert_int_equal(0x34, last.vector);
    assert_int_equal(0x0f, last.dest);
    assert_true(last.logical && last.assert && !last.level && !last.x2apic);
    assert_int_equal(APIC_LOWEST, last.delivery);
    assert_int_equal(APIC_DEST, last.shorthand);
    pin(4, true); /* no edge */
    pin(4, false);
    assert_int_equal(0, messages());
    pin(4, true);
    assert_int_equal(1, messages());
    assert_int_equal(0, rd(0x18) & REMOTE_IRR);
    pin(4, false);
    wr(0x18, MASKED | 0x34);
    pin(4, true); /* lost */
    wr(0x18, 0x34);
    assert_int_equal(0, messages());
    pin(24, true); /* no such pin */
    pin(~0u, true);
    assert_int_equal(0, messages());
}

/* Trigger Mode: level; Remote IRR */
static void test_level(void **state) {
    (void)state;
    fresh();
    wr(0x10 + 2 * 9, LEVEL | 0x51);
    pin(9, true);
    assert_int_equal(1, messages());
    assert_true(last.level);
    assert_int_equal(LEVEL | REMOTE_IRR | 0x51, rd(0x22));
    pin(9, false); /* sharing devices: no second message until EOI */
    pin(9, true);
    assert_int_equal(0, messages());
    vioapic_eoi(&io, 0x52, &host); /* another vector */
    assert_int_equal(0, messages());
    vioapic_eoi(&io, 0x51, &host); /* still asserted: again */
    assert_int_equal(1, messages());
    pin(9, false);
    vioapic_eoi(&io, 0x51, &host);
    assert_int_equal(0, messages());
    assert_int_equal(LEVEL | 0x51, rd(0x22));
    pin(9, true);
    assert_int_equal(1, messages());
    vioapic_write(&io, 0x40, 0x51, &host); /* the EOI register does the same */
    assert_int_equal(1, messages());
}

static void test_level_mask(void **state) {
    (void)state;
    fresh();
    wr(0x10, MASKED | LEVEL | 0x41);
    pin(0, true);
    assert_int_equal(0, messages());
    wr(0x10, LEVEL | 0x41); /* unmasked while asserted */
    assert_int_equal(1, messages());
    wr(0x10, MASKED | LEVEL | 0x41);
    vioapic_eoi(&io, 0x41, &host); /* ends while masked, and stays quiet */
    assert_int_equal(0, messages());
    assert_int_equal(MASKED | LEVEL | 0x41, rd(0x10));
    wr(0x10, LEVEL | 0x41);
    assert_int_equal(1, messages());
    wr(0x10, MASKED | 0x41); /* the way systems clear a stuck remote IRR */
    wr(0x10, MASKED | LEVEL | 0x41);
    wr(0x10, LEVEL | 0x41);
    assert_int_equal(1, messages());
}

/* Remote IRR: what no local APIC has accepted is not in service, and is sent again. */
static void test_accepted_by_nobody(void **state) {
    (void)state;
    fresh();
    nobody = true;
    wr(0x10 + 2 * 9, LEVEL | 0x51);
    pin(9, true);
    assert_int_equal(1, messages());
    assert_int_equal(LEVEL | 0x51, rd(0x22));
    wr(0x23, 0x03000000); /* somebody else, who is no better */
    assert_int_equal(1, messages());
    pin(9, false);
    pin(9, true);
    assert_int_equal(1, messages());
    nobody = false;
    wr(0x23, 0);
    assert_int_equal(1, messages());
    assert_int_equal(LEVEL | REMOTE_IRR | 0x51, rd(0x22));
    wr(0x23, 0x01000000); /* in service: once is enough */
    assert_int_equal(0, messages());
}

/* EOI reaches every pin with that vector, and only those that wait for one. */
static void test_shared_vector(void **state) {
    (void)state;
    fresh();
    wr(0x10, LEVEL | 0x41);
    wr(0x12, LEVEL | 0x41);
    wr(0x14, 0x41);
    pin(0, true);
    pin(1, true);
    pin(2, true);
    assert_int_equal(3, messages());
    vioapic_eoi(&io, 0x41, &host);
    assert_int_equal(2, messages());
}

/* Interrupt Input Pin Polarity */
static void test_polarity(void **state) {
    (void)state;
    fresh();
    wr(0x10, MASKED | LOW | 0x41);
    assert_int_equal(1, io.line & 1); /* an input at low is asserted now */
    wr(0x10, LOW | 0x41);
    assert_int_equal(0, messages()); /* but it has not moved */
    pin(0, true);
    assert_int_equal(0, messages());
    pin(0, false);
    assert_int_equal(1, messages());
    wr(0x10, LOW | LEVEL | 0x41);
    assert_int_equal(1, messages()); /* as a level it counts */
    pin(0, true);
    vioapic_eoi(&io, 0x41, &host);
    assert_int_equal(0, messages());
    wr(0x10, LEVEL | 0x41);
    assert_int_equal(1, messages());
}

/* Delivery Mode: some are edge triggered whatever the entry says, some cannot be sent. */
static void test_delivery_modes(void **state) {
    static const bool sends[8] = {true, true, false, false, true, true, false, true};

    (void)state;
    for (u32 mode = 0; mode < 8; mode++) {
        fresh();
        wr(0x10, LEVEL | mode << 8 | 0x41);
        pin(0, true);
        assert_int_equal(sends[mode], messages());
        if (!sends[mode]) continue;
        assert_int_equal(mode, last.delivery);
        assert_int_equal(mode < 2, last.level);
        assert_int_equal(mode < 2 ? REMOTE_IRR : 0, rd(0x10) & REMOTE_IRR);
    }
}

/* PCI, Interrupt Pins: level, active low. The machine's line is masked from the interrupt to the guest's EOI, so nobody
 * else can say when it ends: the EOI lets the pin go, without a second interrupt, and the host opens the line. */
static void test_pci_pin(void **state) {
    (void)state;
    fresh();
    io.pci = 1u << 17;
    pin(17, true);
    wr(0x10 + 2 * 17, LEVEL | LOW | 0x61);
    assert_int_equal(0, messages());
    pin(17, false);
    assert_int_equal(1, messages());
    assert_true(last.level);
    vioapic_eoi(&io, 0x62, &host);
    assert_int_equal(0, ended);
    vioapic_eoi(&io, 0x61, &host);
    assert_int_equal(1u << 17, ended);
    assert_int_equal(0, messages());
    assert_int_equal(LEVEL | LOW | 0x61, rd(0x10 + 2 * 17));
    ended = 0;
    vioapic_eoi(&io, 0x61, &host); /* nothing in service */
    assert_int_equal(0, ended);
    pin(17, false); /* the device asks again */
    assert_int_equal(1, messages());
    wr(0x10 + 2 * 17, MASKED | LEVEL | LOW | 0x61); /* masked before the EOI */
    vioapic_write(&io, 0x40, 0x61, &host);
    assert_int_equal(1u << 17, ended);
    pin(17, false); /* waits */
    assert_int_equal(0, messages());
    wr(0x10 + 2 * 17, LEVEL | LOW | 0x61);
    assert_int_equal(1, messages());
    pin(9, false);
    wr(0x10 + 2 * 9, LEVEL | 0x61);
    pin(9, true); /* another pin with the same vector is none of the host's */
    ended = 0;
    vioapic_eoi(&io, 0x61, &host);
    assert_int_equal(1u << 17, ended);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers),  cmocka_unit_test(test_redirection_bits),
        cmocka_unit_test(test_edge),       cmocka_unit_test(test_level),
        cmocka_unit_test(test_level_mask), cmocka_unit_test(test_shared_vector),
        cmocka_unit_test(test_polarity),   cmocka_unit_test(test_delivery_modes),
        cmocka_unit_test(test_pci_pin),    cmocka_unit_test(test_accepted_by_nobody),
    };

    return cmocka_run_group_tests_name("vioapic", tests, NULL, NULL);
}
