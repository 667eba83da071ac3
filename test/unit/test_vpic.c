/* core/vdev/vpic.c against the Intel 8259A datasheet; sections are named at each test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/vdev/vpic.h"

struct fixture {
    struct vpic pic;
    struct vdev_host host;
    bool intr;
    u32 changes;
};

static void on_intr(void *ctx, bool level) {
    struct fixture *f = ctx;
    assert_true(f->intr != level); /* told only when it changes */
    f->intr = level;
    f->changes++;
}

static void out(struct fixture *f, u16 port, u8 value) { vpic_write(&f->pic, port, value, &f->host); }
static u8 in(struct fixture *f, u16 port) { return vpic_read(&f->pic, port, &f->host); }
static void line(struct fixture *f, u32 n, bool level) { vpic_set_line(&f->pic, n, level, &f->host); }
static void pulse(struct fixture *f, u32 n) {
    line(f, n, false);
    line(f, n, true);
}
static u8 ack(struct fixture *f) { return vpic_ack(&f->pic, &f->host); }

/* Vectors 0x20 and 0x28, the given ICW4 for each, everything open. */
static void setup(struct fixture *f, u8 master_icw4, u8 slave_icw4) {
    *f = (struct fixture){.host = {.intr = on_intr}};
    f->host.ctx = f;
    vpic_reset(&f->pic, 0);
    out(f, 0x20, 0x11);
    out(f, 0x21, 0x20);
    out(f, 0x21, 0x04);
    out(f, 0x21, master_icw4);
    out(f, 0xa0, 0x11);
    out(f, 0xa1, 0x28);
    out(f, 0xa1, 0x02);
    out(f, 0xa1, slave_icw4);
}

static void test_reset(void **state) {
    struct fixture f = {.host = {.intr = on_intr}};

    (void)state;
    f.host.ctx = &f;
    vpic_reset(&f.pic, 0xffff);
    assert_int_equal(0xff, in(&f, 0x21));
    assert_int_equal(0xff, in(&f, 0xa1));
    /* ICH9, ELCR1 and ELCR2: lines 0, 1, 2, 8 and 13 stay edge triggered. */
    assert_int_equal(0xf8, in(&f, 0x4d0));
    assert_int_equal(0xde, in(&f, 0x4d1));
    out(&f, 0x4d0, 0x0f);
    out(&f, 0x4d1, 0xff);
    assert_int_equal(0x08, in(&f, 0x4d0));
    assert_int_equal(0xde, in(&f, 0x4d1));
    line(&f, 3, true);
    assert_false(f.intr);
    out(&f, 0x21, 0x00);
    assert_true(f.intr);
    assert_int_equal(0x0b, ack(&f)); /* firmware's vectors */
}

/* Initialization Command Words 1 and 2: points a to f. */
static void test_initialisation(void **state) {
    struct fixture f;

    (void)state;
    setup(&f, 0x01, 0x01);
    out(&f, 0x21, 0xfe);
    out(&f, 0x20, 0x0b); /* read ISR */
    line(&f, 4, true);
    out(&f, 0x20, 0xc3); /* priority */
    out(&f, 0x20, 0x68); /* special mask */
    out(&f, 0x20, 0x11);
    assert_int_equal(0, in(&f, 0x20)); /* IRR again; the edge was forgotten */
    assert_int_equal(0, in(&f, 0x21)); /* IMR cleared */
    out(&f, 0x21, 0x47);               /* low bits of ICW2 do not count */
    line(&f, 1, true);
    assert_false(f.intr); /* not before the sequence ends */
    out(&f, 0x21, 0x04);
    out(&f, 0x21, 0x01);
    assert_true(f.intr);
    assert_int_equal(0x41, ack(&f));
    pulse(&f, 4);
    assert_false(f.intr); /* nested under 1 again: no special mask, lowest is 7 */
    assert_int_equal(0x10, in(&f, 0x20));

    /* SNGL: no ICW3. IC4 = 0: no ICW4 either. */
    out(&f, 0x20, 0x13);
    out(&f, 0x21, 0x60);
    out(&f, 0x21, 0x01);
    out(&f, 0x21, 0x55);
    assert_int_equal(0x55, in(&f, 0x21));
    out(&f, 0x20, 0x12);
    out(&f, 0x21, 0x60);
    out(&f, 0x21, 0xaa);
    assert_int_equal(0xaa, in(&f, 0x21));
    out(&f, 0x20, 0x10);
    out(&f, 0x21, 0x60);
    out(&f, 0x21, 0x04);
    out(&f, 0x21, 0x77);
    assert_int_equal(0x77, in(&f, 0x21));
}

/* Fully Nested Mode; End of Interrupt (EOI). */
static void test_nesting(void **state) {
    struct fixture f;

    (void)state;
    setup(&f, 0x01, 0x01);
    line(&f, 5, true);
    line(&f, 3, true);
    assert_int_equal(0x28, in(&f, 0x20));
    assert_int_equal(0x23, ack(&f));
    assert_false(f.intr);
    line(&f, 6, true);
    assert_false(f.intr);
    line(&f, 1, true);
    assert_true(f.intr);
    assert_int_equal(0x21, ack(&f));
    out(&f, 0x20, 0x0b);
    assert_int_equal(0x0a, in(&f, 0x20));
    out(&f, 0x20, 0x20); /* non-specific: the highest, 1 */
    assert_int_equal(0x08, in(&f, 0x20));
    out(&f, 0x20, 0x63); /* specific */
    assert_int_equal(0x00, in(&f, 0x20));
    out(&f, 0x20, 0x20); /* nothing to end */
    out(&f, 0x20, 0x40); /* no operation */
    assert_int_equal(0x25, ack(&f));
    out(&f, 0x20, 0x20);
    out(&f, 0x21, 0x40);
    assert_false(f.intr); /* 6 is masked but waits */
    out(&f, 0x20, 0x0a);
    assert_int_equal(0x40, in(&f, 0x20));
    out(&f, 0x21, 0x00);
    assert_int_equal(0x26, ack(&f));
    line(&f, 2, true); /* the cascade and lines beyond 15 are nobody's */
    line(&f, 16, true);
    assert_false(f.intr);
}

/* The Cascade Mode: the slave's vector, and an EOI to each. */
static void test_cascade(void **state) {
    struct fixture f;

    (void)state;
    setup(&f, 0x01, 0x01);
    line(&f, 12, true);
    line(&f, 9, true);
    line(&f, 3, true);
    assert_int_equal(0x29, ack(&f)); /* the slave is at input 2, above 3 */
    assert_false(f.intr);
    out(&f, 0xa0, 0x20);
    assert_false(f.intr); /* 12 asks the master again, which has 2 in service */
    out(&f, 0x20, 0x20);
    assert_int_equal(0x2c, ack(&f));
    out(&f, 0xa0, 0x20);
    out(&f, 0x20, 0x20);
    assert_int_equal(0x23, ack(&f));
}

/* Edge and Level Triggered Modes: a request must stay until the acknowledge, else a default 7. */
static void test_spurious(void **state) {
    struct fixture f;

    (void)state;
    setup(&f, 0x01, 0x01);
    line(&f, 4, true);
    line(&f, 4, false);
    assert_false(f.intr);
    assert_int_equal(2, f.changes);
    assert_int_equal(0x27, ack(&f));
    out(&f, 0x20, 0x0b);
    assert_int_equal(0, in(&f, 0x20));

    /* The slave's request vanishes after the master has latched the cascade. */
    line(&f, 10, true);
    f.pic.chip[1].latch = 0;
    assert_int_equal(0x2f, ack(&f));
    assert_int_equal(0x04, in(&f, 0x20)); /* the master needs its EOI */
    out(&f, 0xa0, 0x0b);
    assert_int_equal(0x00, in(&f, 0xa0));
}

static void test_level(void **state) {
    struct fixture f;

    (void)state;
    setup(&f, 0x01, 0x01);
    out(&f, 0x4d1, 0x02);
    line(&f, 9, true);
    assert_int_equal(0x29, ack(&f));
    out(&f, 0xa0, 0x20);
    out(&f, 0x20, 0x20);
    assert_true(f.intr); /* still asserted: again */
    assert_int_equal(0x29, ack(&f));
    line(&f, 9, false);
    out(&f, 0xa0, 0x20);
    out(&f, 0x20, 0x20);
    assert_false(f.intr);
    /* An edge line that stays high does not come again. */
    line(&f, 4, true);
    line(&f, 4, true);
    assert_int_equal(0x24, ack(&f));
    out(&f, 0x20, 0x20);
    assert_false(f.intr);
}

/* Automatic Rotation (Equal Priority Devices) and Specific Rotation (Specific Priority). */
static void test_rotation(void **state) {
    struct fixture f;

    (void)state;
    setup(&f, 0x01, 0x01);
    line(&f, 4, true);
    line(&f, 6, true);
    assert_int_equal(0x24, ack(&f));
    out(&f, 0x20, 0xa0); /* rotate on non-specific EOI: 4 becomes the lowest */
    pulse(&f, 4);
    assert_int_equal(0x26, ack(&f));
    out(&f, 0x20, 0xe6); /* rotate on specific EOI: 6 becomes the lowest */
    pulse(&f, 6);
    pulse(&f, 7);
    assert_int_equal(0x27, ack(&f));
    out(&f, 0x20, 0x20);
    assert_int_equal(0x24, ack(&f));
    out(&f, 0x20, 0x20);
    out(&f, 0x20, 0xc5); /* set priority: 5 lowest, 6 highest */
    pulse(&f, 0);
    assert_int_equal(0x26, ack(&f));
}

/* Automatic End of Interrupt (AEOI) Mode, with and without rotation, on both chips. */
static void test_auto_eoi(void **state) {
    struct fixture f;

    (void)state;
    setup(&f, 0x03, 0x03);
    line(&f, 8, true);
    line(&f, 9, true);
    assert_int_equal(0x28, ack(&f));
    assert_true(f.intr); /* the slave asks with a new edge */
    assert_int_equal(0x29, ack(&f));
    assert_false(f.intr);
    out(&f, 0x20, 0x80); /* rotate in AEOI mode */
    line(&f, 0, true);
    assert_int_equal(0x20, ack(&f));
    pulse(&f, 0);
    line(&f, 5, true);
    assert_int_equal(0x25, ack(&f));
    out(&f, 0x20, 0x00); /* stop */
    pulse(&f, 5);
    assert_int_equal(0x20, ack(&f)); /* 5 is the lowest now */
    pulse(&f, 0);
    assert_int_equal(0x20, ack(&f));
}

/* Special Mask Mode. */
static void test_special_mask(void **state) {
    struct fixture f;

    (void)state;
    setup(&f, 0x01, 0x01);
    line(&f, 1, true);
    assert_int_equal(0x21, ack(&f));
    line(&f, 5, true);
    assert_false(f.intr);
    out(&f, 0x21, 0x02);
    assert_false(f.intr);
    out(&f, 0x20, 0x68);
    assert_true(f.intr);
    assert_int_equal(0x25, ack(&f));
    out(&f, 0x20, 0x20); /* ends 5: the masked 1 does not count */
    out(&f, 0x20, 0x0b);
    assert_int_equal(0x02, in(&f, 0x20));
    out(&f, 0x20, 0x48); /* mode off */
    pulse(&f, 5);
    assert_false(f.intr);
}

/* The Special Fully Nested Mode. */
static void test_special_nested(void **state) {
    struct fixture f;

    (void)state;
    setup(&f, 0x11, 0x01);
    line(&f, 12, true);
    assert_int_equal(0x2c, ack(&f));
    line(&f, 9, true); /* higher in the same slave */
    assert_true(f.intr);
    assert_int_equal(0x29, ack(&f));
    line(&f, 3, true); /* lower at the master: held back */
    assert_false(f.intr);

    setup(&f, 0x01, 0x01); /* not so in plain nested mode */
    line(&f, 12, true);
    assert_int_equal(0x2c, ack(&f));
    line(&f, 9, true);
    assert_false(f.intr);
}

/* Poll Command. */
static void test_poll(void **state) {
    struct fixture f;

    (void)state;
    setup(&f, 0x01, 0x01);
    out(&f, 0x20, 0x0c);
    assert_int_equal(0x00, in(&f, 0x20));
    assert_int_equal(0x00, in(&f, 0x20)); /* IRR: one read only */
    line(&f, 11, true);
    out(&f, 0x20, 0x0c);
    assert_int_equal(0x82, in(&f, 0x20));
    assert_false(f.intr);
    out(&f, 0xa0, 0x0c);
    assert_int_equal(0x83, in(&f, 0xa1)); /* at either address */
    out(&f, 0xa0, 0x0b);
    assert_int_equal(0x08, in(&f, 0xa0));
    out(&f, 0x20, 0x0b);
    assert_int_equal(0x04, in(&f, 0x20));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset),        cmocka_unit_test(test_initialisation),
        cmocka_unit_test(test_nesting),      cmocka_unit_test(test_cascade),
        cmocka_unit_test(test_spurious),     cmocka_unit_test(test_level),
        cmocka_unit_test(test_rotation),     cmocka_unit_test(test_auto_eoi),
        cmocka_unit_test(test_special_mask), cmocka_unit_test(test_special_nested),
        cmocka_unit_test(test_poll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
