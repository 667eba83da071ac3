/* Measures the TSC and reads the date. Boot core, before start. */
#include "drivers/clock.h"

#include "core/base/bits.h"
#include "core/base/calendar.h"
#include "core/base/cpu.h"
#include "core/base/layout.h"

#define PM_TIMER_HZ 3579545
#define PIT_HZ      1193182
#define WINDOW_HZ   50       /* measure over 20 ms */
#define SPIN_LIMIT  5000000u /* reads of the reference: seconds, when it stands still */

/* A counter to measure against. now: its current value; mask: where it wraps. */
struct reference {
    const char *name;
    u64 hz, mask;
    u64 (*now)(const struct host_acpi *acpi);
};

static u64 pm_now(const struct host_acpi *acpi) { return inl(acpi->pm_timer_port); }

static volatile u64 *hpet(const struct host_acpi *acpi, u32 offset) {
    return (volatile u64 *)(acpi->hpet_address + DIRECT_BASE + offset);
}
static u64 hpet_now(const struct host_acpi *acpi) { return *hpet(acpi, 0xf0); }

/* Channel 2 counts down from 0xffff in mode 0 while its gate is open. 8254 datasheet, Read Operations: counter latch.
 */
static u64 pit_now(const struct host_acpi *acpi) {
    u32 value;

    (void)acpi;
    outb(0x43, 0x80);
    value = inb(0x42);
    value |= (u32)inb(0x42) << 8;
    return 0xffff - value;
}
static void pit_start(void) {
    outb(0x61, (inb(0x61) & 0xfd) | 1);
    outb(0x43, 0xb0);
    outb(0x42, 0xff);
    outb(0x42, 0xff);
}

static bool has_pm_timer(const struct host_acpi *acpi, struct reference *r) {
    *r = (struct reference){"pm timer", PM_TIMER_HZ, 0xffffff, pm_now};
    return acpi->pm_timer_port;
}

static bool has_hpet(const struct host_acpi *acpi, struct reference *r) {
    u64 period_fs;

    if (!acpi->hpet_address || acpi->hpet_address >= GIB(4)) return false; /* as far as boot's tables reach */
    period_fs = *hpet(acpi, 0) >> 32; /* IA-PC HPET specification, General Capabilities */
    if (period_fs == 0 || period_fs > 100000000) return false;
    *hpet(acpi, 0x10) |= 1;
    *r = (struct reference){"hpet", 1000000000000000ull / period_fs, 0xffffffff, hpet_now};
    return true;
}

static bool has_pit(const struct host_acpi *acpi, struct reference *r) {
    (void)acpi;
    *r = (struct reference){"pit", PIT_HZ, 0xffff, pit_now};
    return true;
}

/* TSC ticks per second over one window; 0 if the reference stands still. */
static u64 measure(const struct host_acpi *acpi, const struct reference *r) {
    u64 first = r->now(acpi), start = rdtsc(), now, passed, end;
    u32 spins = 0;

    do {
        cpu_pause();
        now = r->now(acpi);
        end = rdtsc();
        passed = (now - first) & r->mask;
    } while (passed < r->hz / WINDOW_HZ && ++spins < SPIN_LIMIT);
    if (passed == 0) return 0;
    return mul_div(end - start, r->hz, passed);
}

/* CPUID 15H is exact on real processors and wrong on some emulators: believed only when the measurement agrees to 1
 * part in 200. */
static u64 refine(u64 measured) {
    struct cpuid_result r;
    u64 exact;

    if (!cpuid_has_leaf(0x15)) return measured;
    r = cpuid(0x15, 0);
    if (!r.eax || !r.ebx || !r.ecx) return measured;
    exact = (u64)r.ecx * r.ebx / r.eax;
    return max_u64(exact, measured) - min_u64(exact, measured) < measured / 200 ? exact : measured;
}

/* TSC ticks per second; 0 if the reference stands still. An SMI or a preempted emulator makes a window too long, never
 * too short: the smallest is nearest. */
static u64 measure_best(const struct host_acpi *acpi, const struct reference *r) {
    u64 best = NEVER;

    for (u32 i = 0; i < 3; i++) {
        u64 hz;

        if (r->now == pit_now) pit_start();
        hz = measure(acpi, r);
        if (!hz) return 0;
        best = min_u64(best, hz);
    }
    return best;
}

u64 clock_calibrate(const struct host_acpi *acpi, const char **source) {
    static bool (*const has[])(const struct host_acpi *, struct reference *) = {has_pm_timer, has_hpet, has_pit};
    struct reference r;
    u64 best = 0;

    /* A table may name a clock that is not there: then the next. */
    for (u32 i = 0; i < ARRAY_SIZE(has) && !best; i++)
        if (has[i](acpi, &r)) best = measure_best(acpi, &r);
    *source = r.name;
    clock_tsc_hz = refine(best);
    return clock_tsc_hz;
}

static u8 cmos(u8 index) {
    outb(0x70, index);
    return inb(0x71);
}

static u32 decimal(u8 value, bool binary) { return binary ? value : (u32)(value >> 4) * 10 + (value & 15); }

u64 clock_wall_seconds(void) {
    u8 status_b;
    bool binary;
    u32 second, minute, hour, day, month, year;

    for (u32 i = 0; i < 1000000 && (cmos(0x0a) & 0x80); i++) cpu_pause();
    status_b = cmos(0x0b);
    binary = status_b & 4;
    second = decimal(cmos(0), binary);
    minute = decimal(cmos(2), binary);
    hour = decimal(cmos(4) & 0x7f, binary);
    if (!(status_b & 2)) /* 12-hour mode: bit 7 is PM */
        hour = hour % 12 + (cmos(4) & 0x80 ? 12 : 0);
    day = decimal(cmos(7), binary);
    month = decimal(cmos(8), binary);
    year = 2000 + decimal(cmos(9), binary);
    if (month < 1 || month > 12 || day < 1 || day > 31) return 0;
    return (((day_number(year, month, day) - day_number(1970, 1, 1)) * 24 + hour) * 60 + minute) * 60 + second;
}
