/* As many interrupts, exits and flushes as the program can cause. The victim tells whether it felt
 * them. */
#include "core/base/bits.h"
#include "guests/attack/attack.h"

#define TIMER_VECTOR 0x40
#define UART_VECTOR  0x61
#define ROUNDS       5000u

static volatile u32 count;

static void on_past(struct trap_frame *frame) {
    (void)frame;
    if (++count < ROUNDS) wrmsr(MSR_TSC_DEADLINE, count & 1 ? 1 : rdtsc() - 1);
    lapic_eoi();
}

/* Interrupts on until the handler has seen enough, or a second has passed. */
static void wait_storm(u32 want, const char *what) {
    u64 end = rdtsc() + ns_to_ticks(1000000000);

    interrupts_on();
    while (count < want && rdtsc() < end) cpu_pause();
    interrupts_off();
    check(count > 0, "%s: no interrupt", what);
}

/* A deadline that has passed, set anew in its own handler. */
static void deadline_storm(void) {
    count = 0;
    if (!(cpuid(1, 0).ecx & BIT(24))) return;
    interrupt_handler(TIMER_VECTOR, on_past);
    lapic_write(LAPIC_LVT_TIMER, LVT_DEADLINE | TIMER_VECTOR);
    wrmsr(MSR_TSC_DEADLINE, 1);
    wait_storm(ROUNDS, "deadline");
    wrmsr(MSR_TSC_DEADLINE, 0);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
}

static void on_periodic(struct trap_frame *frame) {
    (void)frame;
    if (++count >= ROUNDS) lapic_write(LAPIC_TIMER_INITIAL, 0);
    lapic_eoi();
}

/* The shortest period there is. */
static void periodic_storm(void) {
    count = 0;
    interrupt_handler(TIMER_VECTOR, on_periodic);
    lapic_write(LAPIC_TIMER_DIVIDE, 0xb);
    lapic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | TIMER_VECTOR);
    lapic_write(LAPIC_TIMER_INITIAL, 1);
    wait_storm(ROUNDS, "periodic");
    lapic_write(LAPIC_TIMER_INITIAL, 0);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
}

/* Deadlines at the far end of time. */
static void deadline_edges(void) {
    lapic_write(LAPIC_LVT_TIMER, LVT_DEADLINE | TIMER_VECTOR);
    for (u32 bit = 0; bit < 64; bit++) {
        wrmsr(MSR_TSC_DEADLINE, ~0ull << bit);
        (void)cpuid(0, 0);
        wrmsr(MSR_TSC_DEADLINE, rdtsc() + BIT(bit));
        (void)cpuid(0, 0);
        check(true, "-");
    }
    wrmsr(MSR_TSC_DEADLINE, 0);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
    interrupts_on();
    cpu_pause();
    interrupts_off();
}

static void on_pit(struct trap_frame *frame) {
    (void)frame;
    if (++count >= ROUNDS / 5) pic_mask(0, true);
    pic_eoi(0);
}

static void pit_storm(void) {
    count = 0;
    interrupt_handler(PIC_VECTOR, on_pit);
    lapic_write(LAPIC_LVT_LINT0, LVT_EXTINT);
    pit_channel0_rate(2);
    pic_mask(0, false);
    wait_storm(ROUNDS / 5, "pit");
    pic_mask(0, true);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED);
    pit_channel0_rate(0xffff);
}

static void on_uart(struct trap_frame *frame) {
    (void)frame;
    (void)in8(COM1 + 2);
    out8(COM1 + 1, 0);
    if (++count < ROUNDS) out8(COM1 + 1, 2); /* the transmitter is empty: again at once */
    lapic_eoi();
}

static void uart_storm(void) {
    count = 0;
    console_drain();
    interrupt_handler(UART_VECTOR, on_uart);
    ioapic_route(acpi.isa_gsi[4], UART_VECTOR, 0, lapic_id());
    out8(COM1 + 1, 2);
    wait_storm(ROUNDS, "uart");
    out8(COM1 + 1, 0);
    ioapic_write(IOAPIC_TABLE(acpi.isa_gsi[4]), IOAPIC_MASKED);
}

/* More than the console can show, of lines that never end. */
static void console_flood(void) {
    for (u32 i = 0; i < 3000; i++) out8(COM1, i % 100 == 99 ? '\r' : 'x');
    print("\n");
    check(true, "-");
}

static void exits(void) {
    u64 left = option_number("exits", 10000);

    for (; left; left--) {
        (void)cpuid((u32)left, 0);
        check(true, "-");
    }
}

static void flushes(void) {
    for (u32 i = 0; i < 500; i++) {
        __asm__ volatile("wbinvd" ::: "memory");
        write_cr4(read_cr4() ^ CR4_PGE);
        write_cr4(read_cr4() ^ CR4_PGE);
        __asm__ volatile("movq %%cr3, %%rax\n\tmovq %%rax, %%cr3\n\tinvd" ::: "rax", "memory");
        invlpg(noise());
        write_cr0(read_cr0() ^ CR0_CD);
        write_cr0(read_cr0() ^ CR0_CD);
        check(true, "-");
    }
}

const struct attempt storm_attempts[] = {
    {"timer-deadline-storm", deadline_storm},
    {"timer-periodic-storm", periodic_storm},
    {"timer-edges", deadline_edges},
    {"pit-storm", pit_storm},
    {"uart-storm", uart_storm},
    {"console-flood", console_flood},
    {"exit-loop", exits},
    {"flush-storm", flushes},
    {0},
};
