/* MC146818 and CMOS. See vrtc.h. Owns struct vrtc; called by the board only. The cells are brought
 * up to date when somebody looks; nothing runs in between unless an enabled interrupt is due. */
#include "core/vdev/vrtc.h"

#include "core/base/bits.h"
#include "core/base/calendar.h"
#include "core/vdev/vclock.h"

/* MC146818A, Register A to D. */
#define A_UIP     0x80u
#define A_STOPPED 0x60u /* 11x: divider held in reset */
#define A_RATE    0x0fu
#define A_INITIAL 0x26u /* 32.768 kHz, 1024 Hz */
#define B_SET     0x80u
#define B_PIE     0x40u
#define B_AIE     0x20u
#define B_UIE     0x10u
#define B_BINARY  0x04u
#define B_24H     0x02u
#define C_IRQF    0x80u
#define C_PF      0x40u
#define C_AF      0x20u
#define C_UF      0x10u
#define D_VRT     0x80u /* the battery is good */

#define HOURS_PM   0x80u
#define ALARM_ANY  0xc0u /* both bits set: this cell matches always */
#define ANY        0xffu
#define CRYSTAL_HZ 32768u

/* MC146818A, Update Cycle: UIP rises 244 us before an update that lasts 1984 us at 32 kHz. */
#define UIP_NS ((u64)(244 + 1984) * 1000)

#define SECONDS_PER_DAY ((u64)86400)
static void date_of(u64 days, u32 *year, u32 *month, u32 *day) {
    u64 y = days * 400 / 146097;
    /* The estimate can be one too high or too low around the first of March. */
    while (day_number((u32)(y + 1) - YEAR_SHIFT, 3, 1) <= days) y++;
    while (day_number((u32)y - YEAR_SHIFT, 3, 1) > days) y--;
    u64 left = days - day_number((u32)y - YEAR_SHIFT, 3, 1);
    u64 m = (left * 5 + 2) / 153;
    *day = (u32)(left - (m * 153 + 2) / 5 + 1);
    *month = (u32)(m < 10 ? m + 3 : m - 9);
    *year = (u32)(y + (m >= 10 ? 1 : 0)) - YEAR_SHIFT;
}

static u8 to_bcd(u32 value) { return (u8)(value / 10 % 10 << 4 | value % 10); }
static u32 from_bcd(u8 value) { return (value >> 4) * 10u + (value & 15u); }

static u8 encode(const struct vrtc *r, u32 value) { return r->cell[RTC_B] & B_BINARY ? (u8)value : to_bcd(value); }
static u32 decode(const struct vrtc *r, u8 value) { return r->cell[RTC_B] & B_BINARY ? value : from_bcd(value); }

static u8 encode_hour(const struct vrtc *r, u32 hour) {
    if (r->cell[RTC_B] & B_24H) return encode(r, hour);
    u8 value = encode(r, hour % 12 == 0 ? 12 : hour % 12);
    return (u8)(value | (hour >= 12 ? HOURS_PM : 0));
}
static u32 decode_hour(const struct vrtc *r, u8 value) {
    if (r->cell[RTC_B] & B_24H) return decode(r, value);
    return decode(r, (u8)(value & ~HOURS_PM)) % 12 + (value & HOURS_PM ? 12 : 0);
}

/* 0 is Sunday, which the clock calls 1. Day 0 was a Wednesday, as 1 March 2000: 400 years are whole weeks. */
static u32 weekday_of(u64 days) { return (u32)((days + 3) % 7); }

/* `seconds` into the time cells. */
static void show_time(struct vrtc *r) {
    u32 year, month, day;
    u64 days = r->seconds / SECONDS_PER_DAY;
    u32 second = (u32)(r->seconds % SECONDS_PER_DAY);

    date_of(days, &year, &month, &day);
    r->cell[RTC_SECONDS] = encode(r, second % 60);
    r->cell[RTC_MINUTES] = encode(r, second / 60 % 60);
    r->cell[RTC_HOURS] = encode_hour(r, second / 3600);
    r->cell[RTC_WEEKDAY] = encode(r, (weekday_of(days) + r->weekday) % 7 + 1);
    r->cell[RTC_DAY] = encode(r, day);
    r->cell[RTC_MONTH] = encode(r, month);
    r->cell[RTC_YEAR] = encode(r, year % 100);
    r->cell[RTC_CENTURY] = to_bcd(year / 100 % 100);
}

/* The time cells into `seconds`. Cells out of range count as the nearest legal value, so that no
 * write can leave the calendar. */
static void take_time(struct vrtc *r) {
    u32 year = from_bcd(r->cell[RTC_CENTURY]) % 100 * 100 + decode(r, r->cell[RTC_YEAR]) % 100;
    u64 month = decode(r, r->cell[RTC_MONTH]), day = decode(r, r->cell[RTC_DAY]);

    month = min_u64(max_u64(month, 1), 12);
    day = min_u64(max_u64(day, 1), 31);
    u64 hour = min_u64(decode_hour(r, r->cell[RTC_HOURS]), 23);
    u64 minute = min_u64(decode(r, r->cell[RTC_MINUTES]), 59);
    u64 second = min_u64(decode(r, r->cell[RTC_SECONDS]), 59);
    r->seconds = day_number(year, (u32)month, (u32)day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    /* MC146818A, Time, Calendar, and Alarm Locations: the day of the week counts on from what was written. */
    r->weekday = (decode(r, r->cell[RTC_WEEKDAY]) + 6 + 7 - weekday_of(r->seconds / SECONDS_PER_DAY)) % 7;
    r->edited = false;
}

static bool divider_stopped(const struct vrtc *r) { return (r->cell[RTC_A] & A_STOPPED) == A_STOPPED; }
static bool updates_run(const struct vrtc *r) { return !divider_stopped(r) && !(r->cell[RTC_B] & B_SET); }

/* An alarm cell as a value or ANY. */
static u32 alarm_cell(const struct vrtc *r, enum vrtc_cell cell) {
    u8 value = r->cell[cell];
    if ((value & ALARM_ANY) == ALARM_ANY) return ANY;
    return cell == RTC_HOURS_ALARM ? decode_hour(r, value) : decode(r, value);
}

/* The first value at or above `from` and below `end` that the alarm matches, or `end`. */
static u32 match(u32 alarm, u32 from, u32 end) {
    if (alarm == ANY) return from;
    return alarm >= from && alarm < end ? alarm : end;
}

/* Seconds from `seconds` (exclusive) to the next time of day that the alarm matches, or NEVER.
 * MC146818A, Alarm. */
static u64 alarm_distance(const struct vrtc *r) {
    u32 second = alarm_cell(r, RTC_SECONDS_ALARM), minute = alarm_cell(r, RTC_MINUTES_ALARM);
    u32 hour = alarm_cell(r, RTC_HOURS_ALARM);
    u64 now = r->seconds % SECONDS_PER_DAY;
    u32 from = (u32)(now + 1); /* may be 24:00:00 */
    u32 h0 = from / 3600, m0 = from / 60 % 60;
    u32 first_s = match(second, 0, 60), first_m = match(minute, 0, 60);

    if (first_s == 60 || first_m == 60 || match(hour, 0, 24) == 24) return NEVER;
    if (h0 < 24 && match(hour, h0, 24) == h0) {
        u32 m = match(minute, m0, 60), s = first_s;
        if (m == m0) {
            s = match(second, from % 60, 60);
            if (s == 60) {
                s = first_s;
                m = m0 < 59 ? match(minute, m0 + 1, 60) : 60;
            }
        }
        if (m < 60) return h0 * 3600u + m * 60u + s - now;
        h0++;
    }
    u32 h = h0 < 24 ? match(hour, h0, 24) : 24;
    u64 at = first_m * 60u + first_s;
    if (h < 24) return h * 3600u + at - now;
    return SECONDS_PER_DAY + match(hour, 0, 24) * 3600u + at - now;
}

/* Frequency of the periodic interrupt, or 0. MC146818A, Periodic Interrupt Rate. */
static u32 periodic_hz(const struct vrtc *r) {
    u32 rate = r->cell[RTC_A] & A_RATE;
    if (rate == 0 || divider_stopped(r)) return 0;
    return CRYSTAL_HZ >> ((rate <= 2 ? rate + 7 : rate) - 1);
}

static void set_flags(struct vrtc *r, u8 flags) {
    r->cell[RTC_C] |= flags;
    if (r->cell[RTC_B] & r->cell[RTC_C] & (B_PIE | B_AIE | B_UIE))
        r->cell[RTC_C] |= C_IRQF;
    else
        r->cell[RTC_C] = (u8)(r->cell[RTC_C] & ~C_IRQF);
}

/* Brings cells and flags to now. The grid of the periodic interrupt begins with a second. */
void vrtc_tick(struct vrtc *r, u64 now) {
    u8 flags = 0;

    if (now <= r->seen) return;
    u32 hz = periodic_hz(r);
    if (hz && clock_ticks(now - r->base, hz) != clock_ticks(r->seen - r->base, hz)) flags |= C_PF;
    r->seen = now;

    u64 passed = divider_stopped(r) ? 0 : (now - r->base) / NS_PER_SECOND;
    r->base += passed * NS_PER_SECOND;
    if (passed && updates_run(r)) {
        if (r->edited) take_time(r);
        if (alarm_distance(r) <= passed) flags |= C_AF;
        r->seconds += passed;
        flags |= C_UF;
        show_time(r);
    }
    set_flags(r, flags);
}

u64 vrtc_deadline(const struct vrtc *r) {
    u64 deadline = NEVER;
    u8 b = r->cell[RTC_B];
    u32 hz = periodic_hz(r);

    if (r->cell[RTC_C] & C_IRQF) /* the line stays high until register C is read */
        return NEVER;
    if ((b & B_PIE) && hz) deadline = r->base + clock_ns(clock_ticks(r->seen - r->base, hz) + 1, hz);
    if (!updates_run(r)) return deadline;
    if (b & B_UIE) deadline = min_u64(deadline, r->base + NS_PER_SECOND);
    if (b & B_AIE) {
        /* Just after the clock was set the distance is known from the next second on. */
        u64 distance = r->edited ? 1 : alarm_distance(r);
        if (distance != NEVER) deadline = min_u64(deadline, r->base + distance * NS_PER_SECOND);
    }
    return deadline;
}

bool vrtc_line(const struct vrtc *r) { return (r->cell[RTC_C] & C_IRQF) != 0; }

static bool is_time_cell(u32 index) {
    return index == RTC_CENTURY ||
           (index <= RTC_YEAR && index != RTC_SECONDS_ALARM && index != RTC_MINUTES_ALARM && index != RTC_HOURS_ALARM);
}

/* Leaving the divider reset starts the first second with half of it gone. MC146818A, Divider
 * Control. */
static void write_a(struct vrtc *r, u8 value) {
    bool was_stopped = divider_stopped(r);
    r->cell[RTC_A] = (u8)(value & ~A_UIP);
    if (was_stopped && !divider_stopped(r)) r->base = r->seen - min_u64(r->seen, NS_PER_SECOND / 2);
}

/* MC146818A, Register B: SET stops updates and clears UIE; PIE, AIE and UIE act at once on flags
 * that are set. */
static void write_b(struct vrtc *r, u8 value) {
    if (value & B_SET) value &= (u8)~B_UIE;
    r->cell[RTC_B] = value;
    set_flags(r, 0);
}

static u8 read_cell(struct vrtc *r) {
    u8 value = r->cell[r->index];

    switch (r->index) {
    case RTC_A:
        if (updates_run(r) && r->base + NS_PER_SECOND - r->seen <= UIP_NS) value |= A_UIP;
        break;
    case RTC_C: /* a read clears all flags */ r->cell[RTC_C] = 0; break;
    case RTC_D: return D_VRT;
    default: break;
    }
    return value;
}

u8 vrtc_read(struct vrtc *r, u16 port, u64 now) {
    if (port == VRTC_PORT) /* ICH9, RTC_INDEX: write only */
        return 0xff;
    vrtc_tick(r, now);
    return read_cell(r);
}

void vrtc_write(struct vrtc *r, u16 port, u8 value, u64 now) {
    if (port == VRTC_PORT) {
        r->index = value & 0x7f;
        r->nmi_masked = (value & 0x80) != 0;
        return;
    }
    vrtc_tick(r, now);
    switch (r->index) {
    case RTC_A: write_a(r, value); break;
    case RTC_B: write_b(r, value); break;
    case RTC_C:
    case RTC_D: /* read only */ break;
    default:
        r->cell[r->index] = value;
        r->edited = r->edited || is_time_cell(r->index);
        break;
    }
}

static void put16(struct vrtc *r, u32 cell, u64 value) {
    r->cell[cell] = (u8)value;
    r->cell[cell + 1] = (u8)(value >> 8);
}

/* The cells that firmware leaves about memory. Sizes that do not fit are cut to the largest value.
 */
static void describe_memory(struct vrtc *r, u64 memory) {
    u64 low = min_u64(memory, VRTC_LOW_MEMORY), high = (memory - low) / KIB(64);
    u64 extended = low > MIB(1) ? min_u64((low - MIB(1)) / KIB(1), 0xffff) : 0;
    u64 above_16m = low > MIB(16) ? min_u64((low - MIB(16)) / KIB(64), 0xffff) : 0;
    u32 sum = 0;

    r->cell[CMOS_EQUIPMENT] = 0x02; /* a coprocessor, no diskette */
    put16(r, CMOS_BASE_KIB, min_u64(memory / KIB(1), 640));
    put16(r, CMOS_EXTENDED_KIB, extended);
    put16(r, CMOS_EXTENDED_KIB_2, extended);
    put16(r, CMOS_ABOVE_16M, above_16m);
    put16(r, CMOS_ABOVE_4G, high);
    r->cell[CMOS_ABOVE_4G + 2] = (u8)(high >> 16);
    /* PC AT: the sum of cells 0x10 to 0x2d, upper byte first. */
    for (u32 i = 0x10; i < CMOS_CHECKSUM; i++) sum += r->cell[i];
    r->cell[CMOS_CHECKSUM] = (u8)(sum >> 8);
    r->cell[CMOS_CHECKSUM + 1] = (u8)sum;
}

void vrtc_reset(struct vrtc *r, u64 wall_clock, u64 memory) {
    /* Later than the year 9999 the cells cannot show. */
    u64 last = (day_number(9999, 12, 31) - day_number(1970, 1, 1)) * SECONDS_PER_DAY;

    *r = (struct vrtc){0};
    r->cell[RTC_A] = A_INITIAL;
    r->cell[RTC_B] = B_24H;
    r->seconds = day_number(1970, 1, 1) * SECONDS_PER_DAY + min_u64(wall_clock, last);
    describe_memory(r, memory);
    show_time(r);
}
