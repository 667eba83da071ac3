#include "guests/lib/timer.h"

#include "guests/lib/acpi.h"
#include "guests/lib/cpu.h"
#include "guests/lib/hypervisor.h"
#include "guests/lib/lapic.h"
#include "guests/lib/options.h"
#include "guests/lib/pc.h"

#define CPUID1_DEADLINE BIT(24)
#define DIVIDE_BY_1     0xbu
#define PM_HZ           3579545u
#define CALIBRATE_MS    20u
#define NS              1000000000u

static u64 hz, local_hz;
static const char *source;
static bool deadline_mode;
static u8 timer_vector[MAX_CPUS];

u64 tsc_hz(void) { return hz; }
const char *tsc_source(void) { return source; }
u64 lapic_timer_hz(void) { return local_hz; }
bool timer_has_deadline(void) { return deadline_mode; }

/* a * b / c without a 128-bit division: exact as long as (c - 1) * b fits in 64 bits. */
static u64 scale(u64 a, u64 b, u64 c) { return a / c * b + a % c * b / c; }
u64 ticks_to_ns(u64 ticks) { return scale(ticks, NS, hz); }
u64 ns_to_ticks(u64 ns) { return scale(ns, hz, NS); }

void delay_us(u64 us) {
    u64 start = rdtsc(), ticks = ns_to_ticks(us * 1000);

    while (rdtsc() - start < ticks) cpu_pause();
}

/* TSC ticks a second, measured against the PM timer; 0 if it does not count. 24 bits are compared,
 * which every such timer has (ACPI 6.4, Power Management Timer). */
static u64 against_pm_timer(u16 port) {
    u32 want = PM_HZ / 1000 * CALIBRATE_MS, passed = 0, begin, last;
    u64 start;
    u32 idle = 0;

    begin = last = in32(port);
    while (((last = in32(port)) & 0xffffff) == (begin & 0xffffff))
        if (++idle > 1000000) return 0;
    begin = last;
    start = rdtsc();
    while (passed < want) {
        cpu_pause();
        passed = (in32(port) - begin) & 0xffffff;
    }
    return scale(rdtsc() - start, PM_HZ, passed);
}

static u64 against_pit(void) {
    u32 count = PIT_HZ / 1000 * CALIBRATE_MS;
    u64 start;

    pit_channel2_start((u16)count);
    start = rdtsc();
    for (u32 i = 0; i < 100000000u && !pit_channel2_done(); i++) cpu_pause();
    return scale(rdtsc() - start, PIT_HZ, count);
}

static void find_tsc_hz(void) {
    u16 pm = (u16)option_number("pm_timer", acpi.pm_timer);

    source = "command line";
    hz = option_number("tsc_hz", 0);
    if (!hz && hypervisor_is_mullion()) {
        source = "hypervisor leaf";
        hz = (u64)cpuid(0x40000010, 0).eax * 1000;
    }
    if (!hz && pm) {
        source = "pm timer";
        hz = against_pm_timer(pm);
    }
    if (!hz) {
        source = "pit";
        hz = against_pit();
    }
}

static void find_local_hz(void) {
    u64 start, ticks;
    u32 counted;

    if (hypervisor_is_mullion()) { /* its virtual timer counts TSC ticks */
        local_hz = hz;
        return;
    }
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
    lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_BY_1);
    start = rdtsc();
    lapic_write(LAPIC_TIMER_INITIAL, ~0u);
    delay_us(CALIBRATE_MS * 1000);
    counted = ~0u - lapic_read(LAPIC_TIMER_CURRENT);
    ticks = rdtsc() - start;
    lapic_write(LAPIC_TIMER_INITIAL, 0);
    local_hz = scale(counted, hz, ticks);
}

void timer_init(void) {
    find_tsc_hz();
    find_local_hz();
    deadline_mode = (cpuid(1, 0).ecx & CPUID1_DEADLINE) && !option_is("timer", "lapic");
}

void timer_setup(u8 vector) {
    timer_vector[this_cpu()->index] = vector;
    lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_BY_1);
    timer_stop();
}

void timer_at(u64 tsc) {
    u32 vector = timer_vector[this_cpu()->index];
    u64 now, count;

    if (deadline_mode) {
        lapic_write(LAPIC_LVT_TIMER, LVT_DEADLINE | vector);
        /* The mode must be in place before the deadline. SDM Vol 3A, TSC-Deadline Mode. */
        __asm__ volatile("mfence" ::: "memory");
        wrmsr(MSR_TSC_DEADLINE, tsc ? tsc : 1);
        return;
    }
    lapic_write(LAPIC_LVT_TIMER, vector);
    now = rdtsc();
    count = tsc > now ? scale(tsc - now, local_hz, hz) : 1;
    lapic_write(LAPIC_TIMER_INITIAL, (u32)max_u64(min_u64(count, ~0u), 1));
}

void timer_every(u64 ticks) {
    u64 count = scale(ticks, local_hz, hz);

    lapic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | timer_vector[this_cpu()->index]);
    lapic_write(LAPIC_TIMER_INITIAL, (u32)max_u64(min_u64(count, ~0u), 1));
}

void timer_stop(void) {
    if (deadline_mode) wrmsr(MSR_TSC_DEADLINE, 0);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | timer_vector[this_cpu()->index]);
    lapic_write(LAPIC_TIMER_INITIAL, 0);
}
