/* The clock under an arbitrary guest. Input: the wall clock, then records of four bytes: operation, cell, value, time.
 * Holds: the calendar goes forward by the seconds that passed, unless it is stopped or was written; each update, alarm
 * and periodic interrupt that falls due sets its flag and no other flag rises; IRQF and the line are an enabled flag,
 * until register C is read; the line rises by itself no earlier than the deadline and not later. */
#include "core/vdev/vrtc.h"
#include "core/vdev/vclock.h"
#include "test/fuzz/fuzz.h"

enum { SECOND, MINUTE, HOUR, DAY, MONTH, YEAR, PARTS };

static struct vrtc rtc;
static u64 now;
static bool known;         /* the time cells hold a time that the clock has put there, in the format of now */
static u64 since, counted; /* seconds shown since then, of a clock that goes */

/* A cell as a read would find it. */
static u8 peek(u32 cell) {
    struct vrtc copy = rtc;

    vrtc_write(&copy, VRTC_PORT, (u8)cell, now);
    return vrtc_read(&copy, VRTC_PORT + 1, now);
}

static u32 number(u8 value) { return peek(RTC_B) & 4 ? value : (value >> 4) * 10u + (value & 15u); }

static u32 hour_of(u8 value) {
    if (peek(RTC_B) & 2) return number(value);
    return number(value & 0x7f) % 12 + (value & 0x80 ? 12 : 0);
}

/* Whether the hour or another cell is one that the clock shows itself. */
static bool shown(u8 value, u32 end, bool hour) {
    bool half = hour && !(peek(RTC_B) & 2);
    u8 digits = half ? value & 0x7f : value;

    if (!(peek(RTC_B) & 4) && ((digits & 15) > 9 || digits > 0x99)) return false;
    return half ? number(digits) >= 1 && number(digits) <= 12 : number(digits) < end;
}

static void read_time(u32 part[PARTS]) {
    u8 century = peek(RTC_CENTURY); /* always in BCD */

    part[SECOND] = number(peek(RTC_SECONDS));
    part[MINUTE] = number(peek(RTC_MINUTES));
    part[HOUR] = hour_of(peek(RTC_HOURS));
    part[DAY] = number(peek(RTC_DAY));
    part[MONTH] = number(peek(RTC_MONTH));
    part[YEAR] = number(peek(RTC_YEAR)) + 100 * ((century >> 4) * 10u + (century & 15u));
}

static u32 month_days(u32 month, u32 year) {
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    if (month == 2) return leap ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* One second later. */
static void advance(u32 part[PARTS]) {
    if (++part[SECOND] < 60) return;
    part[SECOND] = 0;
    if (++part[MINUTE] < 60) return;
    part[MINUTE] = 0;
    if (++part[HOUR] < 24) return;
    part[HOUR] = 0;
    if (++part[DAY] <= month_days(part[MONTH], part[YEAR])) return;
    part[DAY] = 1;
    if (++part[MONTH] <= 12) return;
    part[MONTH] = 1;
    part[YEAR] = (part[YEAR] + 1) % 10000;
}

#define ANY 0xffu

/* What an alarm cell waits for, or ANY. */
static u32 awaited(u32 cell) {
    u8 value = peek(cell);

    if (value >= 0xc0) return ANY;
    return cell == RTC_HOURS_ALARM ? hour_of(value) : number(value);
}
static bool matches(u32 alarm, u32 value) { return alarm == ANY || alarm == value; }

/* Walks from one time to the other by the calendar, at most `limit` seconds, and gives the number. alarm: one fell due
 * on the way. */
static u64 walk(u32 from[PARTS], const u32 to[PARTS], u64 limit, bool *alarm, u32 *midnights) {
    u32 second = awaited(RTC_SECONDS_ALARM), minute = awaited(RTC_MINUTES_ALARM), hour = awaited(RTC_HOURS_ALARM);
    u64 n = 0;

    *alarm = false;
    *midnights = 0;
    while (n <= limit) {
        bool same = true;
        for (u32 i = 0; i < PARTS; i++) same = same && from[i] == to[i];
        if (same) return n;
        advance(from);
        n++;
        *midnights += !from[SECOND] && !from[MINUTE] && !from[HOUR];
        *alarm =
            *alarm || (matches(second, from[SECOND]) && matches(minute, from[MINUTE]) && matches(hour, from[HOUR]));
    }
    return n;
}

static bool alarm_legal(void) {
    u8 second = peek(RTC_SECONDS_ALARM), minute = peek(RTC_MINUTES_ALARM), hour = peek(RTC_HOURS_ALARM);

    return (second >= 0xc0 || shown(second, 60, false)) && (minute >= 0xc0 || shown(minute, 60, false)) &&
           (hour >= 0xc0 || shown(hour, 24, true));
}

static bool stopped(void) { return (peek(RTC_A) & 0x60) == 0x60; }

/* Nanoseconds of the periodic interrupt, rounded up, or 0. */
static u64 period(void) {
    u32 rate = peek(RTC_A) & 15;

    if (rate == 0 || stopped()) return 0;
    return NS_PER_SECOND / (rate < 3 ? rate == 1 ? 256u : 128u : 65536u >> rate) + 1;
}

static void check_line(void) {
    u8 c = peek(RTC_C);

    REQUIRE(((c & 0x80) != 0) == ((c & peek(RTC_B) & 0x70) != 0) && !(c & 0x0f));
    REQUIRE(vrtc_line(&rtc) == ((c & 0x80) != 0));
    REQUIRE(peek(RTC_D) == 0x80 && vrtc_deadline(&rtc) > now);
}

/* Lets time pass, with nobody at the registers. */
static void pass(u64 ns) {
    u32 from[PARTS], to[PARTS], weekday = number(peek(RTC_WEEKDAY)), midnights;
    u64 deadline = vrtc_deadline(&rtc), whole = ns / NS_PER_SECOND, seconds;
    bool runs = !stopped() && !(peek(RTC_B) & 0x80), goes = known, line = vrtc_line(&rtc), alarm;
    u8 before = peek(RTC_C), rose;

    read_time(from);
    now += ns;
    vrtc_tick(&rtc, now);
    read_time(to);
    rose = peek(RTC_C) & (u8)~before;
    REQUIRE((before & ~peek(RTC_C)) == 0 && (vrtc_line(&rtc) || !line));
    if (now < deadline)
        REQUIRE(vrtc_line(&rtc) == line);
    else if (known) /* of a time that was written, the alarm's distance is told a second later */
        REQUIRE(vrtc_line(&rtc));
    if (period() && ns >= period()) REQUIRE(peek(RTC_C) & 0x40);
    if (!period()) REQUIRE(!(rose & 0x40));
    if (!runs) {
        for (u32 i = 0; i < PARTS; i++) REQUIRE(from[i] == to[i]);
        REQUIRE(!(rose & 0x30));
    } else if (known) {
        seconds = walk(from, to, whole + 1, &alarm, &midnights);
        REQUIRE(number(peek(RTC_WEEKDAY)) == (weekday + 6 + midnights) % 7 + 1);
        REQUIRE(seconds == whole || seconds == whole + 1);
        counted += seconds; /* and in the long run no second is lost or gained either */
        whole = (now - since) / NS_PER_SECOND;
        REQUIRE(counted == whole || counted == whole + 1);
        REQUIRE(!(rose & 0x10) || seconds);
        REQUIRE(!seconds || peek(RTC_C) & 0x10);
        if (alarm_legal()) REQUIRE(alarm ? peek(RTC_C) & 0x20 : !(rose & 0x20));
    } else if (whole) {
        known = true;
        REQUIRE(peek(RTC_C) & 0x10);
    }
    if (runs && goes) return;
    since = now;
    counted = 0;
}

static void read_c(void) {
    u8 c = peek(RTC_C);

    vrtc_write(&rtc, VRTC_PORT, RTC_C, now);
    REQUIRE(vrtc_read(&rtc, VRTC_PORT + 1, now) == c);
    REQUIRE(!vrtc_line(&rtc) && peek(RTC_C) == 0);
}

static void write(u32 cell, u8 value) {
    bool time = cell <= RTC_YEAR && cell != RTC_SECONDS_ALARM && cell != RTC_MINUTES_ALARM && cell != RTC_HOURS_ALARM;
    u8 held = peek(cell), flags = peek(RTC_C) & 0x70;

    /* The first second after the divider starts is a short one. */
    if (time || cell == RTC_CENTURY || cell == RTC_A || (cell == RTC_B && ((held ^ value) & 0x06))) known = false;
    vrtc_write(&rtc, VRTC_PORT, (u8)cell, now);
    vrtc_write(&rtc, VRTC_PORT + 1, value, now);
    if (cell == RTC_A)
        REQUIRE(((peek(cell) ^ value) & 0x7f) == 0);
    else if (cell == RTC_B)
        REQUIRE(peek(cell) == (value & 0x80 ? value & ~0x10 : value));
    else
        REQUIRE(peek(cell) == (cell == RTC_C || cell == RTC_D ? held : value));
    REQUIRE((peek(RTC_C) & 0x70) == flags);
}

static void step(struct input *in) {
    static const u8 cells[16] = {0, 1, 2, 3, 4, 5, 7, 8, 9, RTC_A, RTC_B, 6, RTC_C, RTC_D, RTC_CENTURY, 0x40};
    u32 what = (u32)take(in, 1), cell = cells[take(in, 1) & 15];
    u8 value = (u8)take(in, 1);
    u64 amount = take(in, 1);

    if (what & 0x80) /* up to twenty minutes, else up to 2 s */
        pass(amount * 5 * NS_PER_SECOND + amount * 3906251);
    else
        pass(amount << (what >> 2 & 31) % 24);
    if ((what & 3) == 1)
        write(cell, value);
    else if ((what & 3) == 2)
        read_c();
    check_line();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    u64 wall = take(&in, 5); /* up to the year 36812, which counts as the last that there is */

    now = since = counted = 0;
    known = true;
    vrtc_reset(&rtc, wall, MIB(64));
    check_line();
    while (in.left >= 4) step(&in);
    return 0;
}
