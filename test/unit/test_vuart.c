/* core/vdev/vuart.c against the National Semiconductor PC16550D datasheet, and what Linux's 8250
 * driver asks of a 16550A. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/vdev/vuart.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };
#define FCR IIR

struct fixture {
    struct vuart u;
    struct ring tx, rx;
    u8 tx_data[64], rx_data[64];
};

static void setup(struct fixture *f) {
    ring_init(&f->tx, f->tx_data, sizeof(f->tx_data));
    ring_init(&f->rx, f->rx_data, sizeof(f->rx_data));
    vuart_reset(&f->u, &f->tx, &f->rx);
}
static void type(struct fixture *f, u32 count) {
    for (u32 i = 0; i < count; i++) assert_true(ring_put(&f->rx, (u8)('a' + i)));
    vuart_tick(&f->u);
}
static u8 in(struct fixture *f, u32 offset) { return vuart_read(&f->u, offset); }
static void out(struct fixture *f, u32 offset, u8 value) { vuart_write(&f->u, offset, value); }
static void assert_sent(struct fixture *f, const char *text) {
    u8 byte;
    for (; *text; text++) {
        assert_true(ring_get(&f->tx, &byte));
        assert_int_equal(*text, byte);
    }
    assert_false(ring_get(&f->tx, &byte));
}

/* Summary of Registers: divisor latch, scratch, masks. */
static void test_registers(void **state) {
    struct fixture f;

    (void)state;
    setup(&f);
    assert_int_equal(0x60, in(&f, LSR));
    assert_int_equal(0x01, in(&f, IIR));
    assert_int_equal(0xb0, in(&f, MSR));
    out(&f, LCR, 0x83);
    out(&f, DATA, 0x0c);
    out(&f, IER, 0x34);
    assert_int_equal(0x0c, in(&f, DATA));
    assert_int_equal(0x34, in(&f, IER));
    out(&f, LCR, 0x03);
    assert_int_equal(0x03, in(&f, LCR));
    assert_int_equal(0x00, in(&f, IER));
    out(&f, IER, 0xff);
    assert_int_equal(0x0f, in(&f, IER));
    out(&f, MCR, 0xff);
    assert_int_equal(0x1f, in(&f, MCR));
    out(&f, SCR, 0xa5);
    out(&f, LSR, 0xff); /* read only */
    out(&f, MSR, 0xff);
    assert_int_equal(0xa5, in(&f, SCR));
    assert_sent(&f, "");
}

static void test_transmit(void **state) {
    struct fixture f;

    (void)state;
    setup(&f);
    out(&f, DATA, 'h');
    out(&f, DATA, 'i');
    assert_int_equal(0x60, in(&f, LSR));
    assert_sent(&f, "hi");
    /* Interrupt on an empty holding register: on enable, after each byte, until IIR is read. */
    out(&f, IER, 0x02);
    assert_true(vuart_intr(&f.u));
    assert_int_equal(0x02, in(&f, IIR));
    assert_false(vuart_intr(&f.u));
    out(&f, IER, 0x02); /* it was enabled before */
    assert_false(vuart_intr(&f.u));
    out(&f, DATA, 'x');
    assert_true(vuart_intr(&f.u));
    assert_int_equal(0x02, in(&f, IIR));
    assert_int_equal(0x01, in(&f, IIR));
}

/* A full ring holds THRE back; nothing is lost, and the interrupt comes when it drains. */
static void test_back_pressure(void **state) {
    struct fixture f;
    u8 byte;

    (void)state;
    setup(&f);
    out(&f, FCR, 0x01);
    out(&f, IER, 0x02);
    u32 sent = 0;
    while (in(&f, LSR) & 0x20)
        for (u32 i = 0; i < VUART_FIFO; i++) out(&f, DATA, (u8)sent++);
    assert_int_equal(64, sent); /* four FIFOs fit in 64 bytes */
    assert_int_equal(0x00, in(&f, LSR));
    assert_int_equal(0xc1, in(&f, IIR));
    assert_false(vuart_intr(&f.u));
    out(&f, IER, 0x00);
    out(&f, IER, 0x02); /* not empty: nothing to raise */
    assert_false(vuart_intr(&f.u));
    out(&f, DATA, 'x'); /* against THRE: lost */
    for (u32 i = 0; i < 15; i++) assert_true(ring_get(&f.tx, &byte));
    vuart_tick(&f.u);
    assert_int_equal(0x00, in(&f, LSR));
    assert_true(ring_get(&f.tx, &byte));
    assert_int_equal(15, byte);
    vuart_tick(&f.u);
    assert_true(vuart_intr(&f.u));
    assert_int_equal(0x60, in(&f, LSR));
    assert_int_equal(0xc2, in(&f, IIR));
    assert_false(vuart_intr(&f.u));
    for (u32 i = 16; i < 64; i++) {
        assert_true(ring_get(&f.tx, &byte));
        assert_int_equal(i, byte);
    }
    assert_false(ring_get(&f.tx, &byte));
}

/* Leaving loopback with the ring full: the transmitter is not empty, and no interrupt says that it is. */
static void test_full_behind_loopback(void **state) {
    struct fixture f;

    (void)state;
    setup(&f);
    for (u32 i = 0; i < 64; i++) out(&f, DATA, 'x');
    out(&f, IER, 0x02);
    out(&f, MCR, 0x10);
    assert_int_equal(0x20, in(&f, LSR) & 0x20);
    assert_true(vuart_intr(&f.u));
    out(&f, MCR, 0);
    assert_int_equal(0, in(&f, LSR) & 0x20);
    assert_false(vuart_intr(&f.u));
    assert_int_equal(0x01, in(&f, IIR));
}

/* FIFO Control Register, trigger levels; FIFO Interrupt Mode Operation, time-out. */
static void test_receive(void **state) {
    static const u32 levels[4] = {1, 4, 8, 14};
    struct fixture f;

    (void)state;
    for (u32 i = 0; i < 4; i++) {
        setup(&f);
        out(&f, FCR, (u8)(i << 6 | 1));
        out(&f, IER, 0x01);
        assert_false(vuart_intr(&f.u));
        if (levels[i] > 1) {
            type(&f, levels[i] - 1);
            assert_true(vuart_intr(&f.u));
            assert_int_equal(0xcc, in(&f, IIR));
        }
        type(&f, 1);
        assert_int_equal(0xc4, in(&f, IIR));
        assert_int_equal(0x61, in(&f, LSR));
        assert_int_equal('a', in(&f, DATA));
    }
    for (u32 i = 1; i < 13; i++) assert_int_equal('a' + i, in(&f, DATA));
    assert_int_equal('a', in(&f, DATA)); /* the one that reached the level */
    assert_false(vuart_intr(&f.u));
    assert_int_equal(0x60, in(&f, LSR));
    assert_int_equal(0x00, in(&f, DATA));
    /* More than the FIFO holds stays in the ring: no overrun. */
    type(&f, 20);
    assert_int_equal(4, ring_used(&f.rx));
    for (u32 i = 0; i < 20; i++) {
        assert_int_equal(0x61, in(&f, LSR));
        assert_int_equal('a' + i, in(&f, DATA));
    }
    assert_int_equal(0x60, in(&f, LSR));
    /* Clearing the receiver drops what the FIFO holds; so does leaving FIFO mode. */
    type(&f, 3);
    out(&f, FCR, 0x03);
    assert_int_equal(0x60, in(&f, LSR));
    type(&f, 3);
    out(&f, FCR, 0x00);
    assert_int_equal(0x60, in(&f, LSR));
    /* Character mode: one byte at a time. */
    type(&f, 2);
    assert_int_equal(1, ring_used(&f.rx));
    assert_int_equal(0x04, in(&f, IIR));
    assert_int_equal('a', in(&f, DATA));
    assert_int_equal('b', in(&f, DATA));
    assert_int_equal(0x01, in(&f, IIR));
}

/* Modem Control Register bit 4: loopback; Interrupt Identification Register: priorities. */
static void test_loopback(void **state) {
    struct fixture f;

    (void)state;
    setup(&f);
    out(&f, MCR, 0x10);
    assert_int_equal(0x0b, in(&f, MSR)); /* CTS, DSR and DCD fell */
    assert_int_equal(0x00, in(&f, MSR));
    out(&f, MCR, 0x1a);
    assert_int_equal(0x99, in(&f, MSR));
    out(&f, MCR, 0x15);
    assert_int_equal(0x60 | 0x0b, in(&f, MSR));
    out(&f, MCR, 0x11); /* RI: the trailing edge counts */
    assert_int_equal(0x24, in(&f, MSR));
    type(&f, 1); /* the pin is disconnected */
    assert_int_equal(0x60, in(&f, LSR));
    out(&f, DATA, 'L');
    assert_int_equal(0x61, in(&f, LSR));
    out(&f, DATA, 'M'); /* overrun in character mode */
    assert_sent(&f, "");
    out(&f, MCR, 0x13);
    out(&f, IER, 0x0f);
    assert_int_equal(0x06, in(&f, IIR));
    assert_int_equal(0x63, in(&f, LSR));
    assert_int_equal(0x04, in(&f, IIR));
    assert_int_equal('L', in(&f, DATA));
    assert_int_equal(0x02, in(&f, IIR));
    assert_int_equal(0x00, in(&f, IIR));
    assert_true(vuart_intr(&f.u));
    assert_int_equal(0x31, in(&f, MSR));
    assert_false(vuart_intr(&f.u));
    /* A break comes back as a zero character. */
    out(&f, LCR, 0x43);
    assert_int_equal(0x71, in(&f, LSR));
    assert_int_equal(0x00, in(&f, DATA));
    out(&f, LCR, 0x03);
    out(&f, MCR, 0x03);
    assert_int_equal('a', in(&f, DATA)); /* what waited in the ring */
}

/* The steps of autoconfig(), autoconfig_16550a() and the THRE test in Linux's 8250 driver. */
static void test_linux_probe(void **state) {
    struct fixture f;

    (void)state;
    setup(&f);
    out(&f, IER, 0x00);
    assert_int_equal(0x00, in(&f, IER) & 0x0f);
    out(&f, IER, 0x0f);
    assert_int_equal(0x0f, in(&f, IER) & 0x0f);
    out(&f, IER, 0x00);
    out(&f, MCR, 0x1a);
    assert_int_equal(0x90, in(&f, MSR) & 0xf0);
    out(&f, MCR, 0x00);
    out(&f, LCR, 0xbf);
    out(&f, FCR, 0x00);
    out(&f, LCR, 0x00);
    out(&f, FCR, 0x01);
    assert_int_equal(3, in(&f, IIR) >> 6); /* a working FIFO: 16550A */
    out(&f, LCR, 0x80);
    assert_int_not_equal(0, in(&f, IIR)); /* no EFR: not a 16650 */
    out(&f, LCR, 0xbf);
    assert_int_not_equal(0, in(&f, IIR));
    out(&f, LCR, 0xe0); /* no second bank: not a NS16552A */
    u8 before = in(&f, IIR);
    out(&f, LCR, 0x00);
    out(&f, MCR, 0x10);
    out(&f, LCR, 0xe0);
    assert_int_equal(0, (in(&f, IIR) ^ before) & 0x10);
    out(&f, LCR, 0x00);
    out(&f, MCR, 0x00);
    out(&f, LCR, 0x80);
    out(&f, FCR, 0x21); /* no 64-byte FIFO: not a 16750 */
    assert_int_equal(6, in(&f, IIR) >> 5);
    out(&f, LCR, 0x00);
    out(&f, IER, 0x40); /* no UUE: not an XScale */
    assert_int_equal(0, in(&f, IER) & 0x40);
    /* The THRE test: the interrupt is raised again when it is enabled again. */
    out(&f, IER, 0x02);
    assert_int_equal(0, in(&f, IIR) & 1);
    out(&f, IER, 0x00);
    out(&f, IER, 0x02);
    assert_int_equal(0, in(&f, IIR) & 1);
    out(&f, IER, 0x00);
    /* The test for a UART that raises no interrupt when enabled while empty. */
    out(&f, IER, 0x02);
    assert_int_equal(0x60, in(&f, LSR) & 0x60);
    assert_int_equal(0, in(&f, IIR) & 1);
}

static void test_no_rings(void **state) {
    struct vuart u;

    (void)state;
    vuart_reset(&u, NULL, NULL);
    vuart_write(&u, DATA, 'x');
    vuart_tick(&u);
    assert_int_equal(0x60, vuart_read(&u, LSR));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers),     cmocka_unit_test(test_transmit),
        cmocka_unit_test(test_back_pressure), cmocka_unit_test(test_receive),
        cmocka_unit_test(test_loopback),      cmocka_unit_test(test_full_behind_loopback),
        cmocka_unit_test(test_linux_probe),   cmocka_unit_test(test_no_rings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
