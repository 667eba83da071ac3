/* core/vdev/vpit.c against the Intel 8254 datasheet; sections are named at each test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/vdev/vclock.h"
#include "core/vdev/vpit.h"

/* All times in these tests are PIT clocks. */
static void out(struct vpit *p, u16 port, u8 value, u64 clock) { vpit_write(p, port, value, clock_ns(clock, VPIT_HZ)); }
static u8 in(struct vpit *p, u16 port, u64 clock) { return vpit_read(p, port, clock_ns(clock, VPIT_HZ)); }
static bool edge(struct vpit *p, u64 clock) {
    vpit_tick(p, clock_ns(clock, VPIT_HZ));
    return vpit_take_edge(p);
}
static bool level(struct vpit *p, u64 clock) {
    vpit_tick(p, clock_ns(clock, VPIT_HZ));
    return vpit_out0(p);
}
static bool out2(struct vpit *p, u64 clock) { return (in(p, 0x61, clock) & 0x20) != 0; }
static u64 deadline(const struct vpit *p) {
    u64 ns = vpit_deadline(p);
    return ns == NEVER ? NEVER : clock_ticks(ns, VPIT_HZ);
}
/* Control word and a two-byte count. */
static void program(struct vpit *p, u32 channel, u8 control, u16 count, u64 clock) {
    out(p, 0x43, (u8)(channel << 6 | 0x30 | control), clock);
    out(p, (u16)(0x40 + channel), (u8)count, clock);
    out(p, (u16)(0x40 + channel), (u8)(count >> 8), clock);
}
static u32 count(struct vpit *p, u32 channel, u64 clock) {
    out(p, 0x43, (u8)(channel << 6), clock); /* latch */
    u32 low = in(p, (u16)(0x40 + channel), clock);
    return low | (u32)in(p, (u16)(0x40 + channel), clock) << 8;
}
static u8 status(struct vpit *p, u32 channel, u64 clock) {
    out(p, 0x43, (u8)(0xe0 | 2u << channel), clock);
    return in(p, (u16)(0x40 + channel), clock);
}

static void test_clock(void **state) {
    (void)state;
    assert_int_equal(0, clock_ticks(0, VPIT_HZ));
    assert_int_equal(VPIT_HZ, clock_ticks(NS_PER_SECOND, VPIT_HZ));
    /* A year on: not a tick lost, and both directions agree to the nanosecond. */
    u64 year = 31536000;
    assert_true(clock_ticks(year * NS_PER_SECOND, VPIT_HZ) == year * VPIT_HZ);
    for (u64 t = year * VPIT_HZ + 12345; t < year * VPIT_HZ + 12445; t++) {
        u64 ns = clock_ns(t, VPIT_HZ);
        assert_true(clock_ticks(ns, VPIT_HZ) == t);
        assert_true(clock_ticks(ns - 1, VPIT_HZ) == t - 1);
    }
}

/* Mode 0: Interrupt on Terminal Count. OUT rises N + 1 clocks after the count was written. */
static void test_mode0(void **state) {
    struct vpit p;

    (void)state;
    vpit_reset(&p);
    assert_true(level(&p, 5));
    assert_true(deadline(&p) == NEVER);
    out(&p, 0x43, 0x30, 10);
    assert_false(vpit_out0(&p));
    assert_int_equal(0x70, status(&p, 0, 10)); /* null count */
    out(&p, 0x40, 4, 10);
    assert_true(deadline(&p) == NEVER);
    out(&p, 0x40, 0, 10);
    assert_int_equal(15, deadline(&p));
    assert_int_equal(0x70, status(&p, 0, 10));
    assert_int_equal(0x30, status(&p, 0, 11));
    assert_int_equal(4, count(&p, 0, 11));
    assert_int_equal(1, count(&p, 0, 14));
    assert_false(level(&p, 14));
    assert_false(vpit_take_edge(&p));
    assert_true(edge(&p, 15));
    assert_true(vpit_out0(&p));
    assert_int_equal(0xb0, status(&p, 0, 15));
    assert_true(deadline(&p) == NEVER);
    assert_int_equal(0xffff, count(&p, 0, 16)); /* counts on, OUT stays */
    assert_true(level(&p, 15 + 65536));
    assert_false(vpit_take_edge(&p));
    /* The first byte of a new count lowers OUT and stops the count; the second starts it. */
    out(&p, 0x40, 2, 100000);
    assert_false(vpit_out0(&p));
    u32 stopped = count(&p, 0, 100000);
    assert_int_equal(stopped, count(&p, 0, 100100));
    out(&p, 0x40, 0, 100200);
    assert_int_equal(100203, deadline(&p));
    /* Time does not run backwards. */
    assert_true(edge(&p, 100203));
    assert_true(level(&p, 100201));
}

/* Mode 0 with the gate low: loaded, not counted. Gate Pin Operations Summary. */
static void test_mode0_gate(void **state) {
    struct vpit p;

    (void)state;
    vpit_reset(&p);
    program(&p, 2, 0x00, 10, 100);
    assert_int_equal(10, count(&p, 2, 200));
    out(&p, 0x61, 0x01, 200);
    assert_int_equal(7, count(&p, 2, 203));
    out(&p, 0x61, 0x00, 204);
    assert_int_equal(6, count(&p, 2, 300));
    assert_false(out2(&p, 300));
    out(&p, 0x61, 0x01, 300);
    assert_false(out2(&p, 305));
    assert_true(out2(&p, 306));
}

/* Mode 1: Hardware Retriggerable One-Shot. */
static void test_mode1(void **state) {
    struct vpit p;

    (void)state;
    vpit_reset(&p);
    out(&p, 0x43, 0xb2, 0);
    out(&p, 0x61, 0x01, 1); /* a trigger without a count starts nothing */
    out(&p, 0x61, 0x00, 2);
    program(&p, 2, 0x02, 5, 10);
    assert_true(out2(&p, 100));
    assert_int_equal(0xf2, status(&p, 2, 100)); /* null until triggered */
    out(&p, 0x61, 0x01, 100);
    assert_true(out2(&p, 100));
    assert_false(out2(&p, 101));
    out(&p, 0x61, 0x00, 102); /* the gate does not stop it */
    assert_false(out2(&p, 105));
    out(&p, 0x61, 0x01, 105); /* retrigger */
    assert_false(out2(&p, 110));
    assert_true(out2(&p, 111));
    /* A new count waits for the next trigger. */
    out(&p, 0x42, 2, 120);
    out(&p, 0x42, 0, 120);
    assert_true(out2(&p, 130));
    out(&p, 0x61, 0x00, 130);
    out(&p, 0x61, 0x01, 130);
    assert_false(out2(&p, 132));
    assert_true(out2(&p, 133));
    /* On channel 0 the gate is tied high: there is no trigger, and so no edge. */
    program(&p, 0, 0x02, 5, 200);
    assert_true(deadline(&p) == NEVER);
}

/* Mode 2: Rate Generator. OUT is low for the last clock of each period. */
static void test_mode2(void **state) {
    struct vpit p;

    (void)state;
    vpit_reset(&p);
    program(&p, 0, 0x04, 5, 10);
    assert_int_equal(16, deadline(&p));
    assert_int_equal(5, count(&p, 0, 11));
    assert_int_equal(1, count(&p, 0, 15));
    assert_false(level(&p, 15));
    assert_true(edge(&p, 16));
    assert_true(vpit_out0(&p));
    assert_int_equal(5, count(&p, 0, 16));
    assert_int_equal(21, deadline(&p));
    /* A thousand periods missed are one edge, and the grid holds. */
    assert_true(edge(&p, 5017));
    assert_false(edge(&p, 5017));
    assert_int_equal(5021, deadline(&p));
    /* A new count takes over at the end of the period. */
    out(&p, 0x40, 3, 5018);
    out(&p, 0x40, 0, 5018);
    assert_int_equal(0xf4, status(&p, 0, 5019));
    assert_int_equal(5021, deadline(&p));
    assert_true(edge(&p, 5021));
    assert_int_equal(5024, deadline(&p));
    assert_int_equal(0xb4, status(&p, 0, 5021));
    /* The count of 1 is illegal, 0 stands for 65536. */
    program(&p, 0, 0x04, 1, 6000);
    assert_true(deadline(&p) == NEVER);
    program(&p, 0, 0x0c, 0, 7000); /* bit 2 of the mode does not count */
    assert_int_equal(7001 + 65536, deadline(&p));
    assert_int_equal(0, count(&p, 0, 7001));
    assert_int_equal(0xffff, count(&p, 0, 7002));
}

/* Gate Pin Operations Summary: a trigger loads with the next clock, and until then nothing counts, whatever happens to
 * the gate or the count meanwhile. */
static void test_trigger_loads_at_next_clock(void **state) {
    struct vpit p;

    (void)state;
    vpit_reset(&p);
    program(&p, 2, 0x04, 100, 0); /* the gate is low: loaded at 1 */
    assert_int_equal(100, count(&p, 2, 500));
    out(&p, 0x61, 0x01, 550);
    assert_int_equal(100, count(&p, 2, 550)); /* not what 550 clocks would have left */
    assert_true(out2(&p, 550));
    assert_int_equal(100, count(&p, 2, 551));
    assert_int_equal(99, count(&p, 2, 552));
    out(&p, 0x61, 0x00, 600);
    out(&p, 0x61, 0x01, 700);
    out(&p, 0x42, 50, 700); /* in time for the load */
    out(&p, 0x42, 0, 700);
    assert_int_equal(50, count(&p, 2, 701));
    out(&p, 0x61, 0x00, 710);
    out(&p, 0x61, 0x01, 720);
    out(&p, 0x61, 0x00, 720); /* the trigger is held */
    assert_int_equal(50, count(&p, 2, 730));
}

/* Mode 2 and the gate: low stops and raises OUT, high reloads. */
static void test_mode2_gate(void **state) {
    struct vpit p;

    (void)state;
    vpit_reset(&p);
    out(&p, 0x61, 0x01, 0);
    program(&p, 2, 0x04, 4, 10);
    assert_false(out2(&p, 14));
    out(&p, 0x61, 0x00, 14);
    assert_true(out2(&p, 14));
    assert_true(out2(&p, 18));
    assert_int_equal(1, count(&p, 2, 18));
    out(&p, 0x42, 6, 20); /* waits for the trigger */
    out(&p, 0x42, 0, 20);
    assert_int_equal(0xf4, status(&p, 2, 40));
    out(&p, 0x61, 0x01, 50);
    assert_int_equal(6, count(&p, 2, 51));
    assert_false(out2(&p, 56));
    /* Nothing loaded yet when the gate falls: the count is still taken. */
    program(&p, 2, 0x04, 9, 100);
    out(&p, 0x61, 0x00, 100);
    assert_int_equal(9, count(&p, 2, 120));
}

/* Mode 3: Square Wave Mode, even and odd counts. */
static void test_mode3(void **state) {
    struct vpit p;

    (void)state;
    vpit_reset(&p);
    program(&p, 0, 0x06, 6, 9);
    assert_int_equal(6, count(&p, 0, 10));
    assert_int_equal(2, count(&p, 0, 12));
    assert_true(level(&p, 12));
    assert_false(level(&p, 13));
    assert_int_equal(6, count(&p, 0, 13));
    assert_int_equal(16, deadline(&p));
    assert_true(edge(&p, 16));
    program(&p, 0, 0x06, 5, 99);
    assert_int_equal(4, count(&p, 0, 100));
    assert_int_equal(0, count(&p, 0, 102));
    assert_true(level(&p, 102));
    assert_false(level(&p, 103));
    assert_int_equal(4, count(&p, 0, 103));
    assert_int_equal(2, count(&p, 0, 104));
    (void)vpit_take_edge(&p);
    assert_true(edge(&p, 105));
    program(&p, 0, 0x06, 1, 200);
    assert_true(deadline(&p) == NEVER);
}

/* Mode 3: a new count is loaded at the end of the half period. */
static void test_mode3_reload(void **state) {
    struct vpit p;

    (void)state;
    vpit_reset(&p);
    program(&p, 0, 0x06, 10, 9); /* high 10 to 14, low 15 to 19 */
    out(&p, 0x40, 4, 11);
    out(&p, 0x40, 0, 11);
    assert_true(level(&p, 14));
    assert_false(level(&p, 15)); /* the low half, with the new count: 15, 16 */
    assert_false(level(&p, 16));
    assert_true(edge(&p, 17));
    assert_int_equal(21, deadline(&p));
    assert_false(level(&p, 19));
    out(&p, 0x40, 8, 19); /* in the low half: loaded at its end */
    out(&p, 0x40, 0, 19);
    assert_true(edge(&p, 21));
    assert_true(level(&p, 24));
    assert_false(level(&p, 25));
    assert_int_equal(29, deadline(&p));
    /* Channel 2: a trigger loads at once and begins with the high half. */
    out(&p, 0x61, 0x01, 30);
    program(&p, 2, 0x06, 10, 39);
    out(&p, 0x42, 4, 41);
    out(&p, 0x42, 0, 41);
    out(&p, 0x61, 0x00, 42);
    assert_true(out2(&p, 60));
    out(&p, 0x61, 0x01, 60);
    assert_true(out2(&p, 62));
    assert_false(out2(&p, 63));
    assert_true(out2(&p, 65));
}

/* Mode 4: Software Triggered Strobe; mode 5: Hardware Triggered Strobe. */
static void test_strobes(void **state) {
    struct vpit p;

    (void)state;
    vpit_reset(&p);
    program(&p, 0, 0x08, 4, 10);
    assert_true(level(&p, 14));
    assert_false(level(&p, 15));
    assert_int_equal(16, deadline(&p));
    assert_true(edge(&p, 16));
    assert_true(deadline(&p) == NEVER);
    assert_true(level(&p, 15 + 65536)); /* one strobe only */
    /* A new count restarts it on the next clock; LSB only and MSB only. */
    out(&p, 0x43, 0x18, 100000);
    out(&p, 0x40, 100, 100000);
    out(&p, 0x40, 50, 100050);
    assert_int_equal(100050 + 1 + 50 + 1, deadline(&p));
    assert_int_equal(49, in(&p, 0x40, 100052));
    out(&p, 0x43, 0x28, 200000);
    out(&p, 0x40, 1, 200000);
    assert_int_equal(200000 + 1 + 256 + 1, deadline(&p));
    assert_int_equal(1, in(&p, 0x40, 200001));
    assert_int_equal(0, in(&p, 0x40, 200002));
    /* A strobe that comes before the new count is loaded keeps its edge. */
    out(&p, 0x43, 0x18, 300000);
    out(&p, 0x40, 3, 300000);
    out(&p, 0x40, 3, 300004);
    assert_int_equal(300005, deadline(&p));
    assert_true(edge(&p, 300005));

    out(&p, 0x61, 0x00, 400000);
    program(&p, 2, 0x0a, 4, 400000);
    out(&p, 0x61, 0x01, 400010);
    assert_true(out2(&p, 400014));
    assert_false(out2(&p, 400015));
    assert_true(out2(&p, 400016));
}

/* Control Word Format, BCD: four decades. */
static void test_bcd(void **state) {
    struct vpit p;

    (void)state;
    vpit_reset(&p);
    program(&p, 0, 0x05, 0x1234, 10);
    assert_int_equal(0x1234, count(&p, 0, 11));
    assert_int_equal(0x1229, count(&p, 0, 16));
    assert_int_equal(11 + 1234, deadline(&p));
    program(&p, 0, 0x01, 0x0000, 2000);
    assert_int_equal(2001 + 10000, deadline(&p));
    assert_int_equal(0x9999, count(&p, 0, 2002));
    assert_int_equal(0x9998, count(&p, 0, 2003 + 10000));
    assert_int_equal(0xb1, status(&p, 0, 13000) & 0xbf);
}

/* Read Operations; Counter Latch Command; Read-Back Command. */
static void test_latches(void **state) {
    struct vpit p;

    (void)state;
    vpit_reset(&p);
    program(&p, 0, 0x04, 1000, 9);
    assert_int_equal(1000 & 0xff, in(&p, 0x40, 10)); /* unlatched: byte by byte */
    assert_int_equal(1000 >> 8, in(&p, 0x40, 10));
    out(&p, 0x43, 0x00, 110);
    out(&p, 0x43, 0x00, 210); /* the second latch is ignored */
    assert_int_equal(900 & 0xff, in(&p, 0x40, 300));
    assert_int_equal(900 >> 8, in(&p, 0x40, 300));
    assert_int_equal(710 & 0xff, in(&p, 0x40, 300));
    assert_int_equal(710 >> 8, in(&p, 0x40, 300));
    /* Status and count of channels 0 and 1 at once: status comes first. */
    out(&p, 0x61, 0x00, 300);
    out(&p, 0x43, 0xc6, 310);
    out(&p, 0x43, 0xe6, 320); /* status latched twice: the first holds */
    assert_int_equal(0xb4, in(&p, 0x40, 400));
    assert_int_equal(700 & 0xff, in(&p, 0x40, 400));
    assert_int_equal(700 >> 8, in(&p, 0x40, 400));
    assert_int_equal(0x80, in(&p, 0x41, 400) & 0x80);
    assert_int_equal(0xff, in(&p, 0x43, 400));
    /* A control word that raises OUT makes an edge. */
    program(&p, 0, 0x00, 1000, 500);
    (void)vpit_take_edge(&p);
    out(&p, 0x43, 0x34, 600);
    assert_true(vpit_take_edge(&p));
}

/* ICH9, NMI Status and Control Register. */
static void test_port61(void **state) {
    struct vpit p;

    (void)state;
    vpit_reset(&p);
    out(&p, 0x61, 0xff, 0);
    assert_int_equal(0x2f, in(&p, 0x61, 0));
    assert_int_equal(0x2f, in(&p, 0x61, 17));
    assert_int_equal(0x3f, in(&p, 0x61, 18));
    assert_int_equal(0x2f, in(&p, 0x61, 36));
    out(&p, 0x61, 0x0d, 36);
    assert_int_equal(0x2d, in(&p, 0x61, 36));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_mode0),
        cmocka_unit_test(test_mode0_gate),
        cmocka_unit_test(test_mode1),
        cmocka_unit_test(test_mode2),
        cmocka_unit_test(test_mode2_gate),
        cmocka_unit_test(test_trigger_loads_at_next_clock),
        cmocka_unit_test(test_mode3),
        cmocka_unit_test(test_mode3_reload),
        cmocka_unit_test(test_strobes),
        cmocka_unit_test(test_bcd),
        cmocka_unit_test(test_latches),
        cmocka_unit_test(test_port61),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
