/* core/vdev/vrtc.c against the Motorola MC146818A datasheet; sections are named at each test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "core/vdev/vclock.h"
#include "core/vdev/vrtc.h"

#define SEC          NS_PER_SECOND
#define MS           ((u64)1000000)
#define WALL         1709210096u  /* Thursday 2024-02-29 12:34:56 UTC */
#define SEC_TO_MONTH ((u64)41104) /* from there to 1 March, 00:00:00 */

static u8 get(struct vrtc *r, u8 cell, u64 now) {
    vrtc_write(r, 0x70, cell, now);
    return vrtc_read(r, 0x71, now);
}
static void set(struct vrtc *r, u8 cell, u8 value, u64 now) {
    vrtc_write(r, 0x70, cell, now);
    vrtc_write(r, 0x71, value, now);
}

static void assert_time(struct vrtc *r, u64 now, const u8 *expected) {
    static const u8 cells[] = {RTC_CENTURY, RTC_YEAR,    RTC_MONTH,   RTC_DAY,
                               RTC_HOURS,   RTC_MINUTES, RTC_SECONDS, RTC_WEEKDAY};
    for (u32 i = 0; i < sizeof(cells); i++) assert_int_equal(expected[i], get(r, cells[i], now));
}

/* Time, Calendar and Alarm Locations: the formats. */
static void test_formats(void **state) {
    struct vrtc r;

    (void)state;
    vrtc_reset(&r, WALL, MIB(64));
    assert_int_equal(0x02, get(&r, RTC_B, 0));
    assert_time(&r, 0, (u8[]){0x20, 0x24, 0x02, 0x29, 0x12, 0x34, 0x56, 5});
    assert_time(&r, SEC - 1, (u8[]){0x20, 0x24, 0x02, 0x29, 0x12, 0x34, 0x56, 5});
    assert_time(&r, SEC, (u8[]){0x20, 0x24, 0x02, 0x29, 0x12, 0x34, 0x57, 5});
    assert_time(&r, SEC_TO_MONTH * SEC, (u8[]){0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00, 6});
    /* Binary, 12 hours: shown from the next update on. */
    u64 t = SEC_TO_MONTH * SEC;
    set(&r, RTC_B, 0x04, t);
    assert_time(&r, t + SEC, (u8[]){0x20, 24, 3, 1, 12, 0, 1, 6});
    t += 13 * 3600 * SEC;
    assert_time(&r, t, (u8[]){0x20, 24, 3, 1, 0x81, 0, 0, 6});
    assert_int_equal(0x80, get(&r, RTC_D, t));
    assert_int_equal(0xff, vrtc_read(&r, 0x70, t));
    vrtc_write(&r, 0x70, 0x8d, t);
    assert_true(r.nmi_masked);
    assert_int_equal(0x80, vrtc_read(&r, 0x71, t));
    set(&r, RTC_D, 0, t);
    set(&r, RTC_C, 0xff, t);
    assert_int_equal(0x80, get(&r, RTC_D, t));
}

/* The calendar agrees with libc for every day of 230 years and at its far end. */
static void test_calendar(void **state) {
    struct vrtc r;

    (void)state;
    for (time_t t = 86399; t < (time_t)230 * 366 * 86400; t += 86400) {
        struct tm tm;
        assert_non_null(gmtime_r(&t, &tm));
        vrtc_reset(&r, (u64)t, 0);
        assert_int_equal((tm.tm_mday / 10) << 4 | tm.tm_mday % 10, r.cell[RTC_DAY]);
        int month = tm.tm_mon + 1, year = tm.tm_year % 100, century = 19 + tm.tm_year / 100;
        assert_int_equal((month / 10) << 4 | month % 10, r.cell[RTC_MONTH]);
        assert_int_equal((year / 10) << 4 | year % 10, r.cell[RTC_YEAR]);
        assert_int_equal((century / 10) << 4 | century % 10, r.cell[RTC_CENTURY]);
        assert_int_equal(tm.tm_wday + 1, r.cell[RTC_WEEKDAY]);
        assert_int_equal(0x23, r.cell[RTC_HOURS]);
    }
    vrtc_reset(&r, NEVER, 0);
    assert_time(&r, 0, (u8[]){0x99, 0x99, 0x12, 0x31, 0x00, 0x00, 0x00, 6});
}

/* Register B, SET: the time is written while updates are held off. */
static void test_set_time(void **state) {
    struct vrtc r;

    (void)state;
    vrtc_reset(&r, WALL, 0);
    set(&r, RTC_B, 0x92, 0); /* SET clears UIE */
    assert_int_equal(0x82, get(&r, RTC_B, 0));
    set(&r, RTC_CENTURY, 0x19, 10);
    set(&r, RTC_YEAR, 0x99, 10);
    set(&r, RTC_MONTH, 0x12, 10);
    set(&r, RTC_DAY, 0x31, 10);
    set(&r, RTC_HOURS, 0x23, 10);
    set(&r, RTC_MINUTES, 0x59, 10);
    set(&r, RTC_SECONDS, 0x58, 10);
    assert_int_equal(0x58, get(&r, RTC_SECONDS, 5 * SEC));
    assert_int_equal(0x00, get(&r, RTC_A, 6 * SEC - 1) & 0x80);
    assert_int_equal(0x00, get(&r, RTC_C, 6 * SEC) & 0x10); /* no update-ended flag */
    set(&r, RTC_B, 0x02, 6 * SEC);
    assert_int_equal(0x58, get(&r, RTC_SECONDS, 6 * SEC + 10));
    assert_int_equal(0x59, get(&r, RTC_SECONDS, 7 * SEC));
    assert_time(&r, 8 * SEC, (u8[]){0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00, 6}); /* a Thursday's midnight */
    /* Without SET: counts from the next update on. Nonsense becomes the nearest date. */
    set(&r, RTC_MONTH, 0x00, 8 * SEC);
    set(&r, RTC_DAY, 0x99, 8 * SEC);
    set(&r, RTC_HOURS, 0x99, 8 * SEC);
    assert_time(&r, 9 * SEC, (u8[]){0x20, 0x00, 0x01, 0x31, 0x23, 0x00, 0x01, 6});
    /* 12-hour writes: 12 AM is midnight, 12 PM noon. */
    set(&r, RTC_B, 0x80, 9 * SEC);
    set(&r, RTC_HOURS, 0x92, 9 * SEC);
    set(&r, RTC_B, 0x02, 9 * SEC);
    assert_int_equal(0x92, get(&r, RTC_HOURS, 9 * SEC));
    set(&r, RTC_B, 0x00, 9 * SEC);
    assert_int_equal(0x92, get(&r, RTC_HOURS, 10 * SEC));
    set(&r, RTC_B, 0x02, 10 * SEC);
    assert_int_equal(0x12, get(&r, RTC_HOURS, 11 * SEC));
}

/* Time, Calendar, and Alarm Locations: the day of the week is whoever sets the clock's business, and counts on. */
static void test_weekday(void **state) {
    struct vrtc r;

    (void)state;
    vrtc_reset(&r, WALL, 0); /* a Thursday */
    assert_int_equal(5, get(&r, RTC_WEEKDAY, 0));
    set(&r, RTC_WEEKDAY, 7, 0);
    assert_int_equal(7, get(&r, RTC_WEEKDAY, SEC));
    assert_int_equal(1, get(&r, RTC_WEEKDAY, 86400 * SEC));
    assert_int_equal(3, get(&r, RTC_WEEKDAY, 3 * 86400 * SEC));
    set(&r, RTC_WEEKDAY, 0, 3 * 86400 * SEC); /* there is no such day */
    assert_int_equal(7, get(&r, RTC_WEEKDAY, 3 * 86400 * SEC + SEC));
}

/* Register A: UIP before an update; divider reset and the half second after it. */
static void test_register_a(void **state) {
    struct vrtc r;

    (void)state;
    vrtc_reset(&r, WALL, 0);
    assert_int_equal(0x26, get(&r, RTC_A, 0));
    assert_int_equal(0x26, get(&r, RTC_A, SEC - 2229000));
    assert_int_equal(0xa6, get(&r, RTC_A, SEC - 2228000));
    assert_int_equal(0xa6, get(&r, RTC_A, SEC - 1));
    assert_int_equal(0x26, get(&r, RTC_A, SEC));
    set(&r, RTC_A, 0xf6, SEC + 1); /* UIP is read only */
    assert_int_equal(0x76, get(&r, RTC_A, 10 * SEC - 1));
    set(&r, RTC_B, 0x52, 10 * SEC);
    assert_true(vrtc_deadline(&r) == NEVER);
    assert_int_equal(0x57, get(&r, RTC_SECONDS, 10 * SEC));
    set(&r, RTC_A, 0x26, 20 * SEC);
    assert_int_equal(0x57, get(&r, RTC_SECONDS, 20 * SEC + SEC / 2 - 1));
    assert_int_equal(0x58, get(&r, RTC_SECONDS, 20 * SEC + SEC / 2));
}

/* Interrupts, Register C: flags are set whether enabled or not, a read clears them. */
static void test_update_interrupt(void **state) {
    struct vrtc r;

    (void)state;
    vrtc_reset(&r, WALL, 0);
    set(&r, RTC_A, 0x20, 0);
    assert_true(vrtc_deadline(&r) == NEVER);
    assert_int_equal(0x10, get(&r, RTC_C, 3 * SEC) & 0x50);
    assert_int_equal(0x00, get(&r, RTC_C, 3 * SEC));
    vrtc_tick(&r, 4 * SEC);
    assert_false(vrtc_line(&r));
    set(&r, RTC_B, 0x12, 4 * SEC); /* the flag waits: the line rises with the enable */
    assert_true(vrtc_line(&r));
    assert_true(vrtc_deadline(&r) == NEVER);
    assert_int_equal(0x90, get(&r, RTC_C, 4 * SEC) & 0xd0);
    assert_false(vrtc_line(&r));
    assert_int_equal(5 * SEC, vrtc_deadline(&r));
    vrtc_tick(&r, 5 * SEC - 1);
    assert_false(vrtc_line(&r));
    vrtc_tick(&r, 5 * SEC);
    assert_true(vrtc_line(&r));
    set(&r, RTC_B, 0x02, 5 * SEC); /* disabled: the line falls, the flag stays */
    assert_false(vrtc_line(&r));
}

/* Periodic Interrupt Rate. */
static void test_periodic_interrupt(void **state) {
    struct vrtc r;

    (void)state;
    vrtc_reset(&r, WALL, 0);
    set(&r, RTC_B, 0x42, 0); /* 1024 Hz: 976.562 us */
    assert_int_equal(976563, vrtc_deadline(&r));
    vrtc_tick(&r, 976562);
    assert_false(vrtc_line(&r));
    vrtc_tick(&r, 976563);
    assert_true(vrtc_line(&r));
    assert_int_equal(0xc0, get(&r, RTC_C, 976563));
    /* No drift over an hour, however late the reads are. */
    u64 now = 976563;
    u32 count = 1;
    while (now < 60 * SEC) {
        now = vrtc_deadline(&r);
        vrtc_tick(&r, now);
        assert_true(vrtc_line(&r));
        (void)get(&r, RTC_C, now + 300);
        count++;
    }
    assert_int_equal(60 * SEC, now);
    assert_int_equal(60 * 1024, count);
    static const struct {
        u8 rate;
        u64 ns;
    } rates[] = {{1, 3906250}, {2, 7812500}, {3, 122071}, {15, 500 * MS}};
    for (u32 i = 0; i < 4; i++) {
        set(&r, RTC_A, 0x20 | rates[i].rate, now);
        (void)get(&r, RTC_C, now);
        assert_int_equal(now + rates[i].ns, vrtc_deadline(&r));
    }
    set(&r, RTC_A, 0x20, now);
    assert_true(vrtc_deadline(&r) == NEVER);
}

struct alarm_case {
    u8 hours, minutes, seconds;
    u64 distance; /* seconds from 12:34:56 */
};

/* Alarm: the next match of the three cells; 0xc0 to 0xff match always. */
static void test_alarm(void **state) {
    static const struct alarm_case cases[] = {
        {0xff, 0xff, 0xff, 1},
        {0xff, 0xff, 0x57, 1},
        {0xff, 0xff, 0x56, 60},
        {0xff, 0x35, 0x00, 4},
        {0xff, 0x35, 0xff, 4},
        {0xff, 0x34, 0xff, 1},
        {0xff, 0x34, 0x10, 3600 - 46},
        {0x12, 0x34, 0x57, 1},
        {0x12, 0x34, 0x56, 86400},
        {0x12, 0x34, 0x55, 86399},
        {0x12, 0x33, 0x00, 86400 - 116},
        {0x13, 0x00, 0x00, 25 * 60 + 4},
        {0x13, 0xff, 0x05, 25 * 60 + 9},
        {0x12, 0xff, 0x10, 14},
        {0x00, 0xc0, 0xc0, 86400 - 45296},
        {0x23, 0x59, 0x59, 86399 - 45296},
        {0x11, 0xff, 0xff, 86400 - 5696},
        {0x24, 0x00, 0x00, NEVER},
        {0xff, 0x60, 0xff, NEVER},
        {0xff, 0xff, 0x99, NEVER},
    };

    (void)state;
    for (u32 i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct alarm_case *c = &cases[i];
        struct vrtc r;
        vrtc_reset(&r, WALL, 0);
        set(&r, RTC_A, 0x20, 5);
        set(&r, RTC_HOURS_ALARM, c->hours, 5);
        set(&r, RTC_MINUTES_ALARM, c->minutes, 5);
        set(&r, RTC_SECONDS_ALARM, c->seconds, 5);
        set(&r, RTC_B, 0x22, 5);
        u64 deadline = c->distance == NEVER ? NEVER : c->distance * SEC;
        assert_true(deadline == vrtc_deadline(&r));
        if (deadline == NEVER) continue;
        vrtc_tick(&r, deadline - 1);
        assert_false(vrtc_line(&r));
        vrtc_tick(&r, deadline);
        assert_true(vrtc_line(&r));
        assert_int_equal(0xb0, get(&r, RTC_C, deadline));
    }
}

/* The alarm at the end of an hour and of a day, in 12-hour form, and with a clock just set. */
static void test_alarm_more(void **state) {
    struct vrtc r;

    (void)state;
    vrtc_reset(&r, WALL - 45296 + 86399, 0); /* 23:59:59 */
    set(&r, RTC_HOURS_ALARM, 0xff, 0);
    set(&r, RTC_MINUTES_ALARM, 0xff, 0);
    set(&r, RTC_SECONDS_ALARM, 0x30, 0);
    set(&r, RTC_B, 0x22, 0);
    assert_int_equal(31 * SEC, vrtc_deadline(&r));
    vrtc_reset(&r, WALL - 45296 + 12 * 3600 + 3599 - 10, 0); /* 12:59:49 */
    set(&r, RTC_HOURS_ALARM, 0xff, 0);
    set(&r, RTC_MINUTES_ALARM, 0xff, 0);
    set(&r, RTC_SECONDS_ALARM, 0x30, 0);
    set(&r, RTC_B, 0x22, 0);
    assert_int_equal(41 * SEC, vrtc_deadline(&r));
    /* 12-hour form: 1 PM. The clock is set as well: looked at again after one second. */
    set(&r, RTC_B, 0xa0, 0);
    set(&r, RTC_HOURS, 0x92, 0);
    set(&r, RTC_MINUTES, 0x59, 0);
    set(&r, RTC_SECONDS, 0x50, 0);
    set(&r, RTC_HOURS_ALARM, 0x81, 0);
    set(&r, RTC_MINUTES_ALARM, 0x00, 0);
    set(&r, RTC_SECONDS_ALARM, 0x00, 0);
    assert_true(vrtc_deadline(&r) == NEVER);
    set(&r, RTC_B, 0x20, 0);
    assert_int_equal(SEC, vrtc_deadline(&r));
    vrtc_tick(&r, SEC);
    assert_false(vrtc_line(&r));
    assert_int_equal(10 * SEC, vrtc_deadline(&r));
    vrtc_tick(&r, 11 * SEC); /* late by one second: not missed */
    assert_true(vrtc_line(&r));
    vrtc_tick(&r, SEC); /* time does not run backwards */
    assert_int_equal(0x81, get(&r, RTC_HOURS, 11 * SEC));
}

/* The cells that PC firmware leaves. */
static void assert_memory(u64 memory, u32 base, u32 extended, u32 above_16m, u32 above_4g) {
    struct vrtc r;
    u32 sum = 0;

    vrtc_reset(&r, WALL, memory);
    for (u8 i = 0x10; i < 0x2e; i++) sum += get(&r, i, 0);
    assert_int_equal(base, get(&r, 0x15, 0) | get(&r, 0x16, 0) << 8);
    assert_int_equal(extended, get(&r, 0x17, 0) | get(&r, 0x18, 0) << 8);
    assert_int_equal(extended, get(&r, 0x30, 0) | get(&r, 0x31, 0) << 8);
    assert_int_equal(above_16m, get(&r, 0x34, 0) | get(&r, 0x35, 0) << 8);
    assert_int_equal(above_4g, get(&r, 0x5b, 0) | get(&r, 0x5c, 0) << 8 | get(&r, 0x5d, 0) << 16);
    assert_int_equal(sum, get(&r, 0x2e, 0) << 8 | get(&r, 0x2f, 0));
    set(&r, CMOS_SHUTDOWN, 0x0a, 0);
    assert_int_equal(0x0a, get(&r, CMOS_SHUTDOWN, SEC));
}

static void test_memory(void **state) {
    (void)state;
    assert_memory(KIB(512), 512, 0, 0, 0);
    assert_memory(MIB(16), 640, 15 * 1024, 0, 0);
    assert_memory(MIB(512), 640, 0xffff, 496 * 16, 0);
    assert_memory(GIB(3), 640, 0xffff, 0xbf00, 0);
    assert_memory(GIB(3) + GIB(5), 640, 0xffff, 0xbf00, 5 * 16384);
    assert_memory(GIB(67), 640, 0xffff, 0xbf00, 0x100000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_calendar),
        cmocka_unit_test(test_set_time),
        cmocka_unit_test(test_weekday),
        cmocka_unit_test(test_register_a),
        cmocka_unit_test(test_update_interrupt),
        cmocka_unit_test(test_periodic_interrupt),
        cmocka_unit_test(test_alarm),
        cmocka_unit_test(test_alarm_more),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
