/* core/vdev/board.c: port routing, interrupt lines to the 8259 pair and the IOAPIC, deadlines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/vdev/board.h"
#include "core/vdev/vclock.h"
#include "test/unit/vpci_fixture.h"

struct fixture {
    struct vboard b;
    struct vdev_host host;
    struct ring tx, rx;
    u8 tx_data[64], rx_data[64];
    u32 messages;
    struct apic_msg last;
    bool intr;
    enum power_request power;
    u32 ended;
};

static bool on_message(void *ctx, const struct apic_msg *msg) {
    struct fixture *f = ctx;
    f->messages++;
    f->last = *msg;
    return true;
}
static void on_intr(void *ctx, bool level) {
    struct fixture *f = ctx;
    f->intr = level;
}
static void on_power(void *ctx, enum power_request request) {
    struct fixture *f = ctx;
    f->power = request;
}

static void on_eoi(void *ctx, u32 pin) {
    struct fixture *f = ctx;
    f->ended |= 1u << pin;
}

static void start(struct fixture *f) {
    *f = (struct fixture){.host = {.apic_msg = on_message, .intr = on_intr, .power = on_power}};
    f->host.ctx = f;
    ring_init(&f->tx, f->tx_data, sizeof(f->tx_data));
    ring_init(&f->rx, f->rx_data, sizeof(f->rx_data));
    struct vboard_config config = {.memory = MIB(512),
                                   .wall_clock = 1709210096u,
                                   .ioapic_id = 3,
                                   .com1_tx = &f->tx,
                                   .com1_rx = &f->rx,
                                   .at_reset = true};
    vboard_init(&f->b, &config, &f->host);
}
static u32 in(struct fixture *f, u16 port, u64 now) { return vboard_in(&f->b, port, 1, now); }
static void out(struct fixture *f, u16 port, u8 value, u64 now) { vboard_out(&f->b, port, 1, value, now); }
static void open_pic(struct fixture *f) {
    static const u8 words[2][4] = {{0x11, 0x20, 0x04, 0x01}, {0x11, 0x28, 0x02, 0x01}};
    for (u16 chip = 0; chip < 2; chip++)
        for (u16 i = 0; i < 4; i++) out(f, (u16)(0x20 + chip * 0x80 + (i ? 1 : 0)), words[chip][i], 0);
}
static void redirect(struct fixture *f, u32 pin, u32 low) {
    vboard_ioapic_write(&f->b, 0x00, 4, 0x10 + 2 * pin, 0);
    vboard_ioapic_write(&f->b, 0x10, 4, low, 0);
}

static void test_ports(void **state) {
    static const u16 ranges[][2] = {{0x20, 0x21},   {0x40, 0x43},   {0x60, 0x61},   {0x64, 0x64},
                                    {0x70, 0x71},   {0x92, 0x92},   {0xa0, 0xa1},   {0x3f8, 0x3ff},
                                    {0x4d0, 0x4d1}, {0x600, 0x605}, {0x608, 0x60b}, {0xcf8, 0xcff}};
    struct fixture f;

    (void)state;
    start(&f);
    for (u32 port = 0; port < 0x10000; port++) {
        bool expected = false;
        for (u32 i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
            expected = expected || (port >= ranges[i][0] && port <= ranges[i][1]);
        if (expected) continue;
        assert_int_equal(0xff, in(&f, (u16)port, 0));
        out(&f, (u16)port, 0, 0);
    }
    assert_int_equal(0xffff, vboard_in(&f.b, 0x80, 2, 0));
    assert_int_equal(0xffffffffu, vboard_in(&f.b, 0xffff, 4, 0));
    assert_int_equal(POWER_NONE, f.power);
    assert_int_equal(0, f.messages);
    assert_true(vboard_deadline(&f.b) == NEVER);
}

/* PCI mechanism 1 and the reset register share their ports. */
static void test_pci_ports(void **state) {
    struct fixture f;

    (void)state;
    start(&f);
    vboard_out(&f.b, 0xcf8, 4, 0x80001234u, 0);
    assert_int_equal(0x80001234u, vboard_in(&f.b, 0xcf8, 4, 0));
    out(&f, 0xcfb, 0x01, 0); /* narrow accesses are not the address register */
    vboard_out(&f.b, 0xcfa, 2, 0xffff, 0);
    assert_int_equal(0x80001234u, vboard_in(&f.b, 0xcf8, 4, 0));
    assert_int_equal(0xff, in(&f, 0xcf8, 0));
    vboard_out(&f.b, 0xcfc, 4, 0, 0);
    assert_int_equal(0xffffffffu, vboard_in(&f.b, 0xcfc, 4, 0));
    assert_int_equal(0xffff, vboard_in(&f.b, 0xcfe, 2, 0));
    assert_int_equal(0xff, vboard_in(&f.b, 0xcff, 1, 0));
    out(&f, 0xcfc, 0, 0);
    assert_int_equal(0xffffffffu, vboard_in(&f.b, 0xcfe, 4, 0)); /* runs out of the window */
    assert_int_equal(0x00, in(&f, RESET_PORT, 0));
    assert_int_equal(POWER_NONE, f.power);
    out(&f, RESET_PORT, RESET_VALUE, 0);
    assert_int_equal(POWER_RESET, f.power);
}

static void test_power(void **state) {
    struct fixture f;

    (void)state;
    start(&f);
    vboard_out(&f.b, VPM_CONTROL_PORT, 2, 0x2001 | VPM_S5_TYPE << 10, 0);
    assert_int_equal(POWER_OFF, f.power);
    start(&f);
    assert_int_equal(0x1c, in(&f, 0x64, 0));
    out(&f, 0x64, 0x60, 0); /* the system flag is the command byte's */
    out(&f, 0x60, 0x30, 0);
    assert_int_equal(0x10, in(&f, 0x64, 0));
    out(&f, 0x64, 0xaa, 0);
    assert_int_equal(0x1d, in(&f, 0x64, 0));
    out(&f, 0x64, 0xfe, 0);
    assert_int_equal(POWER_RESET, f.power);
    start(&f);
    out(&f, 0x92, 0x01, 0);
    assert_int_equal(POWER_RESET, f.power);
}

/* Line 0 reaches input 0 and pin 2; periods that nobody saw are one pulse. */
static void test_timer_line(void **state) {
    struct fixture f;

    (void)state;
    start(&f);
    open_pic(&f);
    redirect(&f, 2, 0x30);
    out(&f, 0x43, 0x34, 0);
    out(&f, 0x40, 0xa9, 0); /* 1193: 1 kHz */
    out(&f, 0x40, 0x04, 0);
    assert_false(f.intr);
    u64 period = vboard_deadline(&f.b);
    assert_int_equal(clock_ns(1194, VPIT_HZ), period);
    vboard_tick(&f.b, period);
    assert_true(f.intr);
    assert_int_equal(1, f.messages);
    assert_int_equal(0x30, f.last.vector);
    assert_int_equal(0x20, vboard_pic_ack(&f.b, period));
    assert_false(f.intr);
    out(&f, 0x20, 0x20, period);
    vboard_tick(&f.b, 100 * period);
    assert_int_equal(2, f.messages);
    assert_int_equal(0x20, vboard_pic_ack(&f.b, 100 * period));
    /* A square wave seen in its low half: the request survives the tick that brought it. */
    start(&f);
    open_pic(&f);
    out(&f, 0x43, 0x36, 0);
    out(&f, 0x40, 0x00, 0);
    out(&f, 0x40, 0x10, 0);
    vboard_tick(&f.b, clock_ns(4096 + 3000, VPIT_HZ));
    assert_true(f.intr);
    assert_int_equal(0x20, vboard_pic_ack(&f.b, 0));
    vboard_tick(&f.b, clock_ns(4096 + 3001, VPIT_HZ));
    assert_false(f.b.lines & 1);
    assert_int_equal(0x00, in(&f, 0x61, clock_ns(4096 + 3001, VPIT_HZ)) & 0x0f);
}

/* 8254: as firmware leaves it, 18.2 times a second. While both controllers mask line 0 nobody waits for it, and what it
 * did meanwhile is there when one of them opens. */
static void test_timer_of_firmware(void **state) {
    const struct vboard_config config = {.memory = MIB(16)};
    const u64 period = 65536 * NS_PER_SECOND / VPIT_HZ;
    struct fixture f;
    u64 due;

    (void)state;
    start(&f);
    assert_int_equal(NEVER, vboard_deadline(&f.b));
    vboard_init(&f.b, &config, &f.host);
    assert_int_equal(NEVER, vboard_deadline(&f.b));
    out(&f, 0x43, 0xe2, 2 * period); /* read-back: status of channel 0 */
    assert_int_equal(0xb4, in(&f, 0x40, 2 * period));
    open_pic(&f); /* opens all inputs, at time 0: not a tick yet */
    assert_false(f.intr);
    due = vboard_deadline(&f.b);
    assert_true(due > 2 * period && due < 3 * period + 2000);
    vboard_tick(&f.b, due);
    assert_true(f.intr);
    assert_int_equal(0x20, vboard_pic_ack(&f.b, due));
    out(&f, 0x20, 0x20, due);
    out(&f, 0x21, 0xff, due);
    assert_int_equal(NEVER, vboard_deadline(&f.b));
    assert_false(f.intr);
    out(&f, 0x21, 0xfe, due + 5 * period); /* five ticks are one request */
    assert_true(f.intr);
    out(&f, 0x21, 0xff, due + 5 * period);
    redirect(&f, 2, 0x31); /* an edge that has passed is none */
    assert_int_equal(0, f.messages);
    due = vboard_deadline(&f.b);
    assert_true(due != NEVER);
    vboard_tick(&f.b, due);
    assert_int_equal(1, f.messages);
}

static void test_rtc_line(void **state) {
    struct fixture f;

    (void)state;
    start(&f);
    open_pic(&f);
    redirect(&f, 8, 0x38);
    vboard_out(&f.b, 0x70, 2, 0x120b, 0); /* index and data in one access */
    assert_int_equal(NS_PER_SECOND, vboard_deadline(&f.b));
    vboard_tick(&f.b, NS_PER_SECOND);
    assert_int_equal(1, f.messages);
    assert_int_equal(0x28, vboard_pic_ack(&f.b, NS_PER_SECOND));
    out(&f, 0x70, 0x0c, NS_PER_SECOND);
    assert_int_equal(0x90, in(&f, 0x71, NS_PER_SECOND) & 0x90);
    assert_int_equal(0, f.b.lines & 0x100);
    out(&f, 0x70, 0x35, 0);
    assert_int_equal((496 * 16) >> 8, in(&f, 0x71, NS_PER_SECOND));
}

/* The SCI is a level on both controllers, from the start. */
static void test_sci_line(void **state) {
    struct fixture f;

    (void)state;
    start(&f);
    open_pic(&f);
    assert_int_equal(0x02, in(&f, 0x4d1, 0));
    redirect(&f, 9, 0x8039);
    vboard_out(&f.b, VPM_EVENT_PORT, 4, 0x00010000, 0);
    assert_int_equal(0x00010000u, vboard_in(&f.b, VPM_EVENT_PORT, 4, 0));
    u64 due = vboard_deadline(&f.b);
    vboard_tick(&f.b, due);
    assert_int_equal(0x80000000u, vboard_in(&f.b, VPM_TIMER_PORT, 4, due));
    assert_int_equal(0x8000, vboard_in(&f.b, VPM_TIMER_PORT + 2, 2, due));
    assert_int_equal(1, f.messages);
    assert_true(f.last.level);
    vboard_eoi(&f.b, 0x39, due); /* still asserted: again */
    assert_int_equal(2, f.messages);
    assert_int_equal(0x29, vboard_pic_ack(&f.b, due));
    vboard_out(&f.b, VPM_EVENT_PORT, 2, 0x0001, due);
    vboard_eoi(&f.b, 0x39, due);
    assert_int_equal(2, f.messages);
    assert_int_equal(0, f.b.lines & 0x200);
}

static void test_com1_line(void **state) {
    struct fixture f;
    u8 byte;

    (void)state;
    start(&f);
    open_pic(&f);
    redirect(&f, 4, 0x34);
    out(&f, 0x3f9, 0x01, 0);
    assert_true(ring_put(&f.rx, 'k'));
    vboard_tick(&f.b, 0);
    assert_int_equal(1, f.messages);
    assert_int_equal(0x24, vboard_pic_ack(&f.b, 0));
    assert_int_equal('k', in(&f, 0x3f8, 0));
    assert_int_equal(0, f.b.lines & 0x10);
    vboard_out(&f.b, 0x3f8, 1, 'o', 0);
    assert_true(ring_get(&f.tx, &byte));
    assert_int_equal('o', byte);
    /* A full ring: the interrupt comes with the tick after it was drained. */
    out(&f, 0x3f9, 0x02, 0);
    (void)in(&f, 0x3fa, 0);
    while (in(&f, 0x3fd, 0) & 0x20) out(&f, 0x3f8, 'x', 0);
    (void)in(&f, 0x3fa, 0);
    assert_int_equal(0, f.b.lines & 0x10);
    while (ring_get(&f.tx, &byte)) assert_int_equal('x', byte);
    vboard_tick(&f.b, 1);
    assert_int_equal(0x10, f.b.lines & 0x10);
}

static void test_ioapic_page(void **state) {
    struct fixture f;

    (void)state;
    start(&f);
    vboard_ioapic_write(&f.b, 0x00, 1, 0x01, 0);
    assert_int_equal(0x01, vboard_ioapic_read(&f.b, 0x00, 4, 0));
    assert_int_equal(0x00170020u, vboard_ioapic_read(&f.b, 0x10, 4, 0));
    assert_int_equal(0x20, vboard_ioapic_read(&f.b, 0x10, 1, 0));
    assert_int_equal(0x17, vboard_ioapic_read(&f.b, 0x12, 2, 0));
    vboard_ioapic_write(&f.b, 0x00, 4, 0x14, 0);
    vboard_ioapic_write(&f.b, 0x10, 1, 0x55, 0); /* too narrow */
    vboard_ioapic_write(&f.b, 0x12, 2, 0x00, 0); /* not aligned */
    assert_int_equal(0x00010000u, vboard_ioapic_read(&f.b, 0x10, 4, 0));
    vboard_ioapic_write(&f.b, 0x00, 4, 0x00, 0);
    assert_int_equal(0x03000000u, vboard_ioapic_read(&f.b, 0x10, 4, 0));
}

/* A bus with functions: both ways to it, and INTA lines on the pins that the DSDT names. */
static void test_pci_functions(void **state) {
    static struct machine m;
    struct fixture f;

    (void)state;
    start_machine(&m, FUNCTIONS);
    start(&f);
    f.host.eoi = on_eoi;
    struct vboard_config config = {.memory = MIB(512),
                                   .com1_tx = &f.tx,
                                   .com1_rx = &f.rx,
                                   .pci = m.fn,
                                   .pci_count = FUNCTIONS,
                                   .pci_host = &m.host};
    vboard_init(&f.b, &config, &f.host);
    assert_int_equal(0x7e0000, f.b.ioapic.pci);
    vboard_out(&f.b, 0xcf8, 4, 0x80001000u, 0);
    assert_int_equal(0x00101b36, vboard_in(&f.b, 0xcfc, 4, 0));
    assert_int_equal(0x0010, vboard_in(&f.b, 0xcfe, 2, 0));
    assert_int_equal(0x1b, in(&f, 0xcfd, 0));
    vboard_out(&f.b, 0xcf8, 4, 0x80001004u, 0);
    out(&f, 0xcfc, 0x06, 0);
    assert_int_equal(0x0006, vboard_in(&f.b, 0xcfc, 2, 0));
    assert_int_equal(0xc2000000, m.placed[NVME][0]);
    assert_int_equal(0x06, vpci_ecam_read(&f.b.pci, cfg(NVME, 4), 1));
    redirect(&f, 18, 0xa052); /* level, low */
    redirect(&f, 19, 0xa053);
    assert_int_equal(0, f.messages);
    vboard_pci_line(&f.b, 18, true);
    assert_int_equal(1, f.messages);
    assert_int_equal(0x52, f.last.vector);
    vboard_eoi(&f.b, 0x52, 0);
    assert_int_equal(1u << 18, f.ended);
    vboard_pci_line(&f.b, 18, true);
    vboard_pci_line(&f.b, 18, false); /* the device took it back */
    vboard_eoi(&f.b, 0x52, 0);
    assert_int_equal(2, f.messages);
    assert_false(f.intr);
}

static void hpet(struct fixture *f, u32 offset, u64 value, u64 now) {
    vboard_hpet(&f->b, offset, 8, true, &value, now);
}

/* IA-PC HPET 1.0a, 2.3.5, LEG_RT_CNF: the 8254 and the RTC lose their lines and get them back. */
static void test_hpet_legacy(void **state) {
    struct fixture f;
    u64 counter;

    (void)state;
    start(&f);
    open_pic(&f);
    redirect(&f, 2, 0x40);
    redirect(&f, 8, 0x48);
    out(&f, 0x43, 0x34, 0); /* the 8254 ticks */
    out(&f, 0x40, 0x00, 0);
    out(&f, 0x40, 0x10, 0);
    hpet(&f, 0x10, 3, 0);
    assert_int_equal(NEVER, vboard_deadline(&f.b)); /* nobody waits for the 8254 */
    vboard_tick(&f.b, 20000000);
    assert_int_equal(0, f.messages);
    assert_false(f.intr);
    hpet(&f, 0x100, 4, 20000000);
    hpet(&f, 0x120, 4, 20000000);
    hpet(&f, 0x108, 2000100, 20000000);
    hpet(&f, 0x128, 2000200, 20000000);
    assert_int_equal(20001000, vboard_deadline(&f.b));
    vboard_tick(&f.b, 20001000);
    assert_int_equal(1, f.messages);
    assert_int_equal(0x40, f.last.vector);
    assert_true(f.intr);
    assert_int_equal(0x20, vboard_pic_ack(&f.b, 20001000));
    vboard_tick(&f.b, 20002000);
    assert_int_equal(2, f.messages);
    assert_int_equal(0x48, f.last.vector);
    vboard_hpet(&f.b, 0xf0, 8, false, &counter, 20002000);
    assert_int_equal(2000200, counter);
    hpet(&f, 0x108, 2000300, 20002000); /* the line is up since the last one: a new edge all the same */
    vboard_tick(&f.b, 20003000);
    assert_int_equal(3, f.messages);
    assert_int_equal(0x40, f.last.vector);
    hpet(&f, 0x10, 1, 20003000);
    f.messages = 0;
    vboard_tick(&f.b, 40000000); /* the 8254 again */
    assert_int_equal(1, f.messages);
    assert_int_equal(0x40, f.last.vector);
}

/* Line 10, level: up at the I/O APIC and the 8259 pair until the status is written. */
static void test_hpet_level(void **state) {
    struct fixture f;

    (void)state;
    start(&f);
    redirect(&f, 10, 0x8050);
    hpet(&f, 0x140, 2 | 4 | 10 << 9, 0);
    hpet(&f, 0x148, 100, 0);
    hpet(&f, 0x10, 1, 0);
    vboard_tick(&f.b, 1000);
    assert_int_equal(1, f.messages);
    vboard_eoi(&f.b, 0x50, 1000);
    assert_int_equal(2, f.messages); /* still up */
    hpet(&f, 0x20, 4, 1000);
    vboard_eoi(&f.b, 0x50, 1000);
    assert_int_equal(2, f.messages);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hpet_legacy),
        cmocka_unit_test(test_hpet_level),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_pci_ports),
        cmocka_unit_test(test_power),
        cmocka_unit_test(test_timer_line),
        cmocka_unit_test(test_timer_of_firmware),
        cmocka_unit_test(test_rtc_line),
        cmocka_unit_test(test_sci_line),
        cmocka_unit_test(test_com1_line),
        cmocka_unit_test(test_ioapic_page),
        cmocka_unit_test(test_pci_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
