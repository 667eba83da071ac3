/* A periodic task that reports its own timing. Each period the timer's handler notes by how much it
 * missed the ideal grid; the loop sleeps with HLT in between.
 *
 * Options: period_us= (10000), report= periods between two lines (1000), periods= to run (0: for
 * ever), timer=lapic to do without the TSC deadline. */
#include "core/base/bits.h"
#include "guests/lib/guest.h"

#define TIMER_VECTOR          0x40
#define REPORTS_PER_HISTOGRAM 10
/* Bucket n counts jitters from 2^(n-1) to 2^n - 1 ns, bucket 0 those of zero. */
#define BUCKETS 40

struct statistics {
    u64 periods, missed;
    u64 min, max, sum; /* ticks, since the last report */
    u64 counted;
};

static struct statistics now;
static u64 histogram[BUCKETS];
static u64 period, due; /* ticks; TSC at which the next period is due */
static u64 last_period; /* 0: none */

static u32 bucket_of(u64 ns) {
    u32 n = 0;

    for (; ns && n < BUCKETS - 1; ns >>= 1) n++;
    return n;
}

static void account(u64 jitter) {
    if (!now.counted || jitter < now.min) now.min = jitter;
    if (jitter > now.max) now.max = jitter;
    now.sum += jitter;
    now.counted++;
    histogram[bucket_of(ticks_to_ns(jitter))]++;
}

static void on_timer(struct trap_frame *frame) {
    u64 entry = rdtsc();

    (void)frame;
    /* A timer of coarse frequency may fire a little early: that is jitter, too. */
    account(entry > due ? entry - due : due - entry);
    now.periods++;
    due += period;
    while (entry >= due) { /* its handler ran after the next one was due: missed */
        now.missed++;
        now.periods++;
        due += period;
    }
    if (!last_period || now.periods < last_period) timer_at(due);
    lapic_eoi();
}

/* Printing runs with interrupts on, from a copy, so that a slow console costs no period. */
static void report(void) {
    struct statistics s = now;

    now.min = now.max = now.sum = now.counted = 0;
    interrupts_on();
    print("control-loop: periods %lu missed %lu jitter ns min %lu mean %lu max %lu\n", s.periods, s.missed,
          ticks_to_ns(s.min), ticks_to_ns(s.sum / max_u64(s.counted, 1)), ticks_to_ns(s.max));
    interrupts_off();
}

/* One line: each pair is a limit in ns and how many jitters were below it and not below the last.
 */
static void print_histogram(void) {
    interrupts_on();
    print("control-loop: histogram");
    for (u32 i = 0; i < BUCKETS; i++)
        if (histogram[i]) print(" <%lu:%lu", (unsigned long)BIT(i), histogram[i]);
    print("\n");
    interrupts_off();
}

void guest_main(void) {
    u64 period_us = max_u64(option_number("period_us", 10000), 1);
    u64 every = max_u64(option_number("report", 1000), 1), reports = 0;

    last_period = option_number("periods", 0);
    period = max_u64(ns_to_ticks(period_us * 1000), 1);
    interrupt_handler(TIMER_VECTOR, on_timer);
    timer_setup(TIMER_VECTOR);
    print("control-loop: period %lu us, tsc %lu kHz by %s, timer %s\n", period_us, tsc_hz() / 1000, tsc_source(),
          timer_has_deadline() ? "tsc deadline" : "local apic");
    due = rdtsc() + period;
    timer_at(due);
    while (!last_period || now.periods < last_period) {
        wait_for_interrupt();
        if (now.periods / every <= reports) continue;
        reports = now.periods / every;
        report();
        if (reports % REPORTS_PER_HISTOGRAM == 0) print_histogram();
    }
    print_histogram();
    print("control-loop: done periods %lu missed %lu\n", now.periods, now.missed);
}
