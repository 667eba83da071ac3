/* Starts all CPUs of the MADT; a token of interprocessor interrupts goes round them, and each takes
 * interrupts from its own timer. Options: rounds= of the token (100), ticks= per CPU (20). */
#include "guests/lib/guest.h"

#define TOKEN_VECTOR 0x50
#define TIMER_VECTOR 0x40
#define PERIOD_US    1000
#define PATIENCE_US  20000000

static u32 cpus; /* 0 until all have started */
static u32 ready;
static u64 tokens[MAX_CPUS], ticks[MAX_CPUS];
static u64 rounds, want_ticks;

static void on_token(struct trap_frame *frame) {
    u32 me = this_cpu()->index;
    u64 mine = tokens[me] + 1;

    (void)frame;
    __atomic_store_n(&tokens[me], mine, __ATOMIC_RELEASE);
    lapic_eoi();
    /* The boot CPU started it and ends it. */
    if (me != 0 || mine < rounds) lapic_ipi(smp_apic_id((me + 1) % cpus), TOKEN_VECTOR);
}

static void on_timer(struct trap_frame *frame) {
    u32 me = this_cpu()->index;

    (void)frame;
    lapic_eoi();
    __atomic_store_n(&ticks[me], ticks[me] + 1, __ATOMIC_RELEASE);
    if (ticks[me] == want_ticks) timer_stop();
}

static void work(u32 index) {
    print("smp: cpu %u apic id %u\n", index, this_cpu()->apic_id);
    timer_setup(TIMER_VECTOR);
    timer_every(ns_to_ticks(PERIOD_US * 1000));
    __atomic_add_fetch(&ready, 1, __ATOMIC_ACQ_REL);
    while (index != 0) wait_for_interrupt();
}

static bool all_done(void) {
    for (u32 i = 0; i < cpus; i++)
        if (__atomic_load_n(&tokens[i], __ATOMIC_ACQUIRE) < rounds ||
            __atomic_load_n(&ticks[i], __ATOMIC_ACQUIRE) < want_ticks)
            return false;
    return true;
}

void guest_main(void) {
    u64 end;
    u32 started;

    rounds = option_number("rounds", 100);
    want_ticks = option_number("ticks", 20);
    interrupt_handler(TOKEN_VECTOR, on_token);
    interrupt_handler(TIMER_VECTOR, on_timer);
    started = smp_start(work);
    if (started != acpi.cpu_count) print("smp: FAIL only %u of %u cpus started\n", started, acpi.cpu_count);
    work(0);
    while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < started) cpu_pause();
    __atomic_store_n(&cpus, started, __ATOMIC_RELEASE);

    end = rdtsc() + ns_to_ticks((u64)PATIENCE_US * 1000);
    lapic_ipi(smp_apic_id(1 % cpus), TOKEN_VECTOR);
    interrupts_on();
    while (!all_done() && rdtsc() < end) cpu_pause();
    interrupts_off();
    for (u32 i = 0; i < cpus; i++) print("smp: cpu %u tokens %lu ticks %lu\n", i, tokens[i], ticks[i]);
    if (all_done() && started == acpi.cpu_count)
        print("smp: ok %u cpus\n", cpus);
    else
        print("smp: FAIL\n");
}
