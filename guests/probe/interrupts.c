/* Ways of an interrupt: 8259, IOAPIC, local APIC, NMI, and their order. */
#include "guests/probe/probe.h"

#define VECTOR_LOW    0x50
#define VECTOR_HIGH   0x90
#define VECTOR_TIMER  0x40
#define VECTOR_IOAPIC 0x60

static u32 counts[256];
static u8 order[8]; /* vectors in the order of arrival */
static u32 arrived;

static void count_lapic(struct trap_frame *frame) {
    counts[frame->vector]++;
    if (arrived < sizeof(order)) order[arrived++] = (u8)frame->vector;
    lapic_eoi();
}

static void count_pic(struct trap_frame *frame) {
    counts[frame->vector]++;
    pic_eoi((u32)frame->vector - PIC_VECTOR);
}

static void start_counting(u8 vector, interrupt_fn handler) {
    counts[vector] = 0;
    arrived = 0;
    interrupt_handler(vector, handler);
}

/* What comes in a while. */
static void take_rest(u32 us) {
    interrupts_on();
    delay_us(us);
    interrupts_off();
}

/* By LINT0, and not while its entry is masked. SDM Vol 3A, Local Vector Table. */
static bool irq0_by_pic(void) {
    u32 before;
    bool ok;

    start_counting(PIC_VECTOR, count_pic);
    lapic_write(LAPIC_LVT_LINT0, LVT_EXTINT);
    pit_channel0_rate(PIT_HZ / 1000);
    pic_mask(0, false);
    ok = wait_count(&counts[PIC_VECTOR], 5, 2000);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED | LVT_EXTINT);
    take_rest(100); /* one may be on its way */
    before = counts[PIC_VECTOR];
    take_rest(5000);
    value("%d", counts[PIC_VECTOR] != before);
    lapic_write(LAPIC_LVT_LINT0, LVT_EXTINT);
    pic_mask(0, true);
    take_rest(100);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED | LVT_EXTINT);
    detail("%u", counts[PIC_VECTOR]);
    return ok;
}

static bool irq0_by_ioapic(void) {
    u32 pin = acpi.isa_gsi[0];
    bool ok;

    if (!acpi.ioapic) {
        detail("no IOAPIC in the MADT");
        return false;
    }
    start_counting(VECTOR_IOAPIC, count_lapic);
    pit_channel0_rate(PIT_HZ / 1000);
    ioapic_route(pin, VECTOR_IOAPIC, 0, lapic_id());
    ok = wait_count(&counts[VECTOR_IOAPIC], 5, 2000);
    ioapic_write(IOAPIC_TABLE(pin), IOAPIC_MASKED);
    detail("pin %u, %u", pin, counts[VECTOR_IOAPIC]);
    return ok;
}

static bool ioapic_registers(void) {
    u32 version = ioapic_read(IOAPIC_VERSION), entry;

    ioapic_write(IOAPIC_TABLE(7), IOAPIC_MASKED | IOAPIC_LEVEL | IOAPIC_LOW | 0x77);
    ioapic_write(IOAPIC_TABLE(7) + 1, 0x03000000);
    entry = ioapic_read(IOAPIC_TABLE(7));
    detail("version 0x%x, %u pins, entry 0x%x", version & 0xff, (version >> 16 & 0xff) + 1, entry);
    return entry == (IOAPIC_MASKED | IOAPIC_LEVEL | IOAPIC_LOW | 0x77) && ioapic_read(IOAPIC_TABLE(7) + 1) >> 24 == 3;
}

static bool timer_one_shot(void) {
    u64 start, ticks = ns_to_ticks(5000000), passed;
    bool ok;

    start_counting(VECTOR_TIMER, count_lapic);
    timer_setup(VECTOR_TIMER);
    start = rdtsc();
    timer_at(start + ticks);
    ok = wait_count(&counts[VECTOR_TIMER], 1, 2000);
    passed = rdtsc() - start;
    delay_us(10000);
    detail("5 ms took %lu us", ticks_to_ns(passed) / 1000);
    /* A little early may be calibration; late is anybody's guess on an emulator. */
    return ok && passed > ticks - ticks / 8 && counts[VECTOR_TIMER] == 1;
}

static bool timer_periodic(void) {
    u64 start = rdtsc(), passed;
    bool ok;

    start_counting(VECTOR_TIMER, count_lapic);
    timer_setup(VECTOR_TIMER);
    timer_every(ns_to_ticks(2000000));
    ok = wait_count(&counts[VECTOR_TIMER], 10, 4000);
    passed = rdtsc() - start;
    timer_stop();
    detail("10 periods of 2 ms took %lu us", ticks_to_ns(passed) / 1000);
    return ok && passed > ns_to_ticks(17000000);
}

static bool timer_current_count(void) {
    u32 a, b;

    timer_setup(VECTOR_TIMER);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    lapic_write(LAPIC_TIMER_INITIAL, ~0u);
    a = lapic_read(LAPIC_TIMER_CURRENT);
    delay_us(100);
    b = lapic_read(LAPIC_TIMER_CURRENT);
    lapic_write(LAPIC_TIMER_INITIAL, 0);
    return a > b && b > 0 && lapic_read(LAPIC_TIMER_CURRENT) == 0;
}

static bool timer_halted(void) {
    start_counting(VECTOR_TIMER, count_lapic);
    timer_setup(VECTOR_TIMER);
    for (u32 i = 1; i <= 5; i++) {
        timer_at(rdtsc() + ns_to_ticks(1000000));
        while (counts[VECTOR_TIMER] < i) wait_for_interrupt();
    }
    return counts[VECTOR_TIMER] == 5;
}

static bool self_ipi_order(void) {
    start_counting(VECTOR_LOW, count_lapic);
    start_counting(VECTOR_HIGH, count_lapic);
    lapic_ipi_self(VECTOR_LOW);
    lapic_ipi_self(VECTOR_HIGH);
    if (!wait_count(&arrived, 2, 1000)) return false;
    detail("0x%x then 0x%x", order[0], order[1]);
    return order[0] == VECTOR_HIGH && order[1] == VECTOR_LOW;
}

static bool task_priority(void) {
    u32 waiting, raised;

    start_counting(VECTOR_LOW, count_lapic);
    lapic_write(LAPIC_TPR, 0xf0);
    lapic_ipi_self(VECTOR_LOW);
    interrupts_on();
    delay_us(1000);
    interrupts_off();
    waiting = counts[VECTOR_LOW];
    raised = lapic_read(LAPIC_IRR + (VECTOR_LOW / 32) * 16) >> (VECTOR_LOW % 32) & 1;
    lapic_write(LAPIC_TPR, 0);
    detail("while masked: %u taken, irr %u", waiting, raised);
    return waiting == 0 && raised == 1 && wait_count(&counts[VECTOR_LOW], 1, 1000);
}

/* CR8 is the same register as TPR, bits 7:4. */
static bool task_priority_cr8(void) {
    u64 cr8 = 5;
    u32 tpr;

    __asm__ volatile("movq %0, %%cr8" ::"r"(cr8) : "memory");
    tpr = lapic_read(LAPIC_TPR);
    lapic_write(LAPIC_TPR, 0x30);
    __asm__ volatile("movq %%cr8, %0" : "=r"(cr8)::"memory");
    lapic_write(LAPIC_TPR, 0);
    detail("tpr 0x%x, cr8 0x%lx", tpr, cr8);
    return tpr == 0x50 && cr8 == 3;
}

static u32 nmis, nested_nmis;

/* The second one must wait for the IRET of the first. */
static void on_nmi(struct trap_frame *frame) {
    u32 before = nmis + 1;

    (void)frame;
    nmis = before;
    if (before == 1) {
        lapic_nmi_self();
        delay_us(1000);
        nested_nmis = nmis - before;
    }
}

static bool nmi_self(void) {
    u64 end;

    interrupt_handler(VEC_NMI, on_nmi);
    nmis = nested_nmis = 0;
    end = rdtsc() + ns_to_ticks(1000000000);
    lapic_nmi_self();
    while (__atomic_load_n(&nmis, __ATOMIC_RELAXED) < 2 && rdtsc() < end) cpu_pause();
    detail("%u taken, %u of them nested", nmis, nested_nmis);
    return nmis == 2 && nested_nmis == 0;
}

const struct check interrupt_checks[] = {
    {"irq0-pic", irq0_by_pic},
    {"irq0-ioapic", irq0_by_ioapic},
    {"ioapic-registers", ioapic_registers},
    {"timer-one-shot", timer_one_shot},
    {"timer-periodic", timer_periodic},
    {"timer-current-count", timer_current_count},
    {"timer-halted", timer_halted},
    {"self-ipi-order", self_ipi_order},
    {"tpr", task_priority},
    {"tpr-cr8", task_priority_cr8},
    {"nmi-self", nmi_self},
    {0},
};
