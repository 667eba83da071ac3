/* core/vdev/vhpet.c against the IA-PC HPET Specification 1.0a; sections as it numbers them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/vdev/vhpet.h"

#define CONFIG     0x10
#define STATUS     0x20
#define COUNTER    0xf0
#define TIMER(n)   (0x100 + 0x20 * (n))
#define COMPARE(n) (TIMER(n) + 8)
#define ENABLED    1
#define LEGACY     2
#define LEVEL      BIT(1)
#define INTERRUPT  BIT(2)
#define PERIODIC   BIT(3)
#define SET        BIT(6)
#define W32        BIT(8)
#define ROUTE(n)   ((u64)(n) << 9)
#define CAPS       (BIT(4) | BIT(5) | BIT(42) | BIT(43))

static struct vhpet h;
static u64 now;

static int setup(void **state) {
    (void)state;
    vhpet_reset(&h);
    now = 1000;
    return 0;
}

static u64 get(u32 offset) { return vhpet_read(&h, offset, 8, now); }
static void set(u32 offset, u64 value) { vhpet_write(&h, offset, 8, value, now); }
static u32 edges(void) {
    u32 rose;

    vhpet_tick(&h, now);
    (void)vhpet_lines(&h, &rose);
    return rose;
}
static u32 up(void) {
    u32 rose;

    vhpet_tick(&h, now);
    return vhpet_lines(&h, &rose);
}

/* 2.3.4 General Capabilities and ID; 2.3.8: what a timer can do; what reset leaves. */
static void test_reset(void **state) {
    (void)state;
    assert_true(get(0) == (10000000ull << 32 | 0x8086a201));
    assert_true(get(0) >> 32 <= 0x05f5e100);
    set(0, ~0ull);
    assert_true(get(0) == (10000000ull << 32 | 0x8086a201));
    assert_int_equal(0, get(CONFIG));
    assert_int_equal(0, get(STATUS));
    assert_int_equal(0, get(COUNTER));
    for (u32 i = 0; i < VHPET_TIMERS; i++) {
        assert_true(get(TIMER(i)) == CAPS);
        assert_true(get(COMPARE(i)) == ~0ull);
        assert_int_equal(0, get(TIMER(i) + 16)); /* no messages */
    }
    assert_int_equal(0, get(0x30));
    assert_int_equal(0, get(0x160));
    assert_int_equal(0, get(0x3f8));
    set(0x160, ~0ull);
    assert_true(vhpet_deadline(&h) == NEVER);
    assert_int_equal(0, up());
}

/* 2.3.5 General Configuration, 2.3.7 Main Counter Value. */
static void test_counter(void **state) {
    u64 before;

    (void)state;
    set(COUNTER, 0x123456789abcdef0);
    now += 5000;
    assert_true(get(COUNTER) == 0x123456789abcdef0); /* halted */
    set(CONFIG, ~0ull);
    assert_int_equal(ENABLED | LEGACY, get(CONFIG));
    assert_true(vhpet_legacy(&h));
    now += 1000;
    assert_true(get(COUNTER) == 0x123456789abcdef0 + 100);
    set(COUNTER, 0); /* only while halted */
    assert_true(get(COUNTER) == 0x123456789abcdef0 + 100);
    now -= 500; /* another core's clock is behind */
    assert_true(get(COUNTER) == 0x123456789abcdef0 + 100);
    now += 1500;
    set(CONFIG, 0);
    before = get(COUNTER);
    assert_true(before == 0x123456789abcdef0 + 200);
    now += 1000;
    set(CONFIG, ENABLED);
    assert_true(get(COUNTER) == before);
    /* in halves, and smaller reads */
    assert_int_equal(0x9abcdfb8, vhpet_read(&h, COUNTER, 4, now));
    assert_int_equal(0x12345678, vhpet_read(&h, COUNTER + 4, 4, now));
    assert_int_equal(0xdf, vhpet_read(&h, COUNTER + 1, 1, now));
    set(CONFIG, 0);
    vhpet_write(&h, COUNTER + 4, 4, 7, now);
    vhpet_write(&h, COUNTER, 2, 7, now);     /* 2.2.1: 32 or 64 bits */
    vhpet_write(&h, COUNTER + 4, 8, 7, now); /* not aligned */
    assert_true(get(COUNTER) == (7ull << 32 | 0x9abcdfb8));
}

/* 2.3.9.2.1 One-Shot Mode: once, when the counter is equal. */
static void test_one_shot(void **state) {
    (void)state;
    set(TIMER(1), INTERRUPT | ROUTE(10));
    set(COMPARE(1), 50);
    assert_true(vhpet_deadline(&h) == NEVER); /* halted */
    set(CONFIG, ENABLED);
    assert_int_equal(now + 500, vhpet_deadline(&h));
    now += 499;
    assert_int_equal(0, edges());
    now += 1;
    assert_int_equal(1 << 10, edges());
    assert_int_equal(0, edges());
    assert_int_equal(1 << 10, up());  /* stays up for the 8259 pair */
    assert_int_equal(0, get(STATUS)); /* 2.3.6: not of an edge */
    assert_int_equal(50, get(COMPARE(1)));
    assert_true(vhpet_deadline(&h) == NEVER);
    set(COMPARE(1), 40); /* behind the counter: after a full round */
    assert_true(vhpet_deadline(&h) == NEVER);
    set(COMPARE(1), get(COUNTER)); /* equal now */
    assert_int_equal(1 << 10, edges());
    set(COMPARE(1), get(COUNTER) + 10);
    set(TIMER(1), ROUTE(10)); /* counts on without interrupt */
    assert_true(vhpet_deadline(&h) == NEVER);
    now += 200;
    assert_int_equal(0, edges());
    assert_int_equal(0, up());
}

/* 2.3.8, Tn_32MODE_CNF: the lower half, and again when it has gone round. */
static void test_32_bits(void **state) {
    (void)state;
    set(COUNTER, 0x1fffffff0);
    set(TIMER(2), INTERRUPT | W32 | ROUTE(11));
    set(COMPARE(2), 0xabcdef0000000010);
    assert_int_equal(0x10, get(COMPARE(2)));
    set(CONFIG, ENABLED);
    assert_int_equal(now + 320, vhpet_deadline(&h));
    now += 320;
    assert_int_equal(1 << 11, edges());
    assert_true(vhpet_deadline(&h) == now + (BIT(32) * 10));
    now += BIT(32) * 10;
    assert_int_equal(1 << 11, edges());
    set(TIMER(2), INTERRUPT | ROUTE(11)); /* 64 bits again: that match is over */
    assert_true(vhpet_deadline(&h) == NEVER);
}

/* 2.3.9.2.2 Periodic Mode: the accumulator goes on by the period; Tn_VAL_SET_CNF. */
static void test_periodic(void **state) {
    (void)state;
    set(CONFIG, ENABLED);
    now += 10000;
    set(TIMER(0), INTERRUPT | PERIODIC | SET | ROUTE(10));
    set(COMPARE(0), 1500); /* the first match */
    assert_int_equal(INTERRUPT | PERIODIC | ROUTE(10) | CAPS, get(TIMER(0)));
    set(COMPARE(0), 300); /* the period */
    assert_int_equal(1500, get(COMPARE(0)));
    assert_int_equal(1000, get(COUNTER));
    now += 5000;
    assert_int_equal(1 << 10, edges());
    assert_int_equal(1800, get(COMPARE(0)));
    assert_int_equal(now + 3000, vhpet_deadline(&h));
    now += 3000 + 3000 + 10; /* late, by a period: one interrupt, and no drift */
    assert_int_equal(1 << 10, edges());
    assert_int_equal(2400, get(COMPARE(0)));
    assert_int_equal(now + 2990, vhpet_deadline(&h));
    set(CONFIG, 0);
    assert_true(vhpet_deadline(&h) == NEVER);
    set(CONFIG, ENABLED);
    assert_int_equal(now + 2990, vhpet_deadline(&h));
    set(TIMER(0), INTERRUPT | PERIODIC | SET | ROUTE(10));
    vhpet_write(&h, COMPARE(0), 4, 3000, now); /* one write for both, of half the register */
    assert_int_equal(3000, get(COMPARE(0)));
    now += 12000 + 30000;
    assert_int_equal(1 << 10, edges());
    assert_int_equal(9000, get(COMPARE(0)));
}

/* A periodic timer of 32 bits goes round; one without a period does not stand still in a loop. */
static void test_periodic_32(void **state) {
    (void)state;
    set(COUNTER, 0xfffffff0);
    set(TIMER(0), INTERRUPT | PERIODIC | SET | W32 | ROUTE(10));
    set(COMPARE(0), 0xfffffff8);
    set(COMPARE(0), 0x10);
    set(CONFIG, ENABLED);
    now += 80;
    assert_int_equal(1 << 10, edges());
    assert_int_equal(8, get(COMPARE(0)));
    assert_int_equal(now + 160, vhpet_deadline(&h));
    set(COMPARE(0), 0);
    now += 160;
    assert_int_equal(1 << 10, edges());
    assert_int_equal(8, get(COMPARE(0)));
    assert_true(vhpet_deadline(&h) == now + BIT(32) * 10);
    set(TIMER(0), INTERRUPT | PERIODIC | SET | ROUTE(10)); /* 64 bits, no period */
    set(COMPARE(0), get(COUNTER) + 10);
    set(COMPARE(0), 0);
    now += 100;
    assert_int_equal(1 << 10, edges());
    assert_true(vhpet_deadline(&h) == NEVER);
}

/* 2.3.6 General Interrupt Status, 2.3.8 Tn_INT_TYPE_CNF: up until software writes a 1. */
static void test_level(void **state) {
    (void)state;
    set(TIMER(2), LEVEL | ROUTE(11));
    set(COMPARE(2), 10);
    set(CONFIG, ENABLED);
    now += 100;
    assert_int_equal(4, get(STATUS)); /* the status without the interrupt */
    assert_int_equal(0, up());
    set(TIMER(2), LEVEL | INTERRUPT | ROUTE(11));
    assert_int_equal(0, edges());
    assert_int_equal(1 << 11, up());
    set(STATUS, 3);
    assert_int_equal(1 << 11, up());
    vhpet_write(&h, STATUS, 4, 4, now);
    assert_int_equal(0, up());
    assert_int_equal(0, get(STATUS));
    set(COMPARE(2), get(COUNTER));
    assert_int_equal(1 << 11, up());
    set(TIMER(2), INTERRUPT | ROUTE(11)); /* an edge has no status */
    assert_int_equal(0, get(STATUS));
    assert_int_equal(0, up());
}

/* 2.3.5 LEG_RT_CNF: timers 0 and 1 at lines 0 and 8; 2.3.8 Tn_INT_ROUTE_CNF: only lines that are there. */
static void test_routes(void **state) {
    (void)state;
    set(TIMER(0), INTERRUPT | ROUTE(5));
    assert_int_equal(INTERRUPT | CAPS, get(TIMER(0))); /* not taken */
    set(TIMER(0), INTERRUPT | ROUTE(11));
    set(TIMER(0), INTERRUPT | ROUTE(5));
    assert_int_equal(INTERRUPT | ROUTE(11) | CAPS, get(TIMER(0)));
    set(TIMER(1), INTERRUPT);
    set(TIMER(2), INTERRUPT | ROUTE(10));
    set(CONFIG, ENABLED | LEGACY);
    for (u32 i = 0; i < VHPET_TIMERS; i++) set(COMPARE(i), 100);
    now += 1000;
    assert_int_equal(1 | 1 << 8 | 1 << 10, edges());
    assert_int_equal(1 | 1 << 8 | 1 << 10, up());
    set(CONFIG, ENABLED);
    assert_int_equal(0, up());
    for (u32 i = 0; i < VHPET_TIMERS; i++) set(COMPARE(i), get(COUNTER) + 100);
    now += 1000;
    assert_int_equal(1 << 11 | 1 << 10, edges()); /* timer 1 has no line: bit 0 of none */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset, setup),    cmocka_unit_test_setup(test_counter, setup),
        cmocka_unit_test_setup(test_one_shot, setup), cmocka_unit_test_setup(test_32_bits, setup),
        cmocka_unit_test_setup(test_periodic, setup), cmocka_unit_test_setup(test_periodic_32, setup),
        cmocka_unit_test_setup(test_level, setup),    cmocka_unit_test_setup(test_routes, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
