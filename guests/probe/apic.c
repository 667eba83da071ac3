/* The local APIC: registers, priorities, errors, the timer's modes; and the IOAPIC: its table, masks, level interrupts.
 * SDM Vol 3A, Advanced Programmable Interrupt Controller (APIC); 82093AA datasheet. */
#include "core/base/bits.h"
#include "guests/probe/probe.h"

#define LAPIC_PPR         0xa0
#define LAPIC_LDR         0xd0
#define LAPIC_DFR         0xe0
#define LAPIC_TMR         0x180
#define LAPIC_LVT_THERMAL 0x330
#define LAPIC_LVT_PERF    0x340
#define ESR_SEND          0x20u
#define V_LOW             0x52
#define V_MID             0x91
#define V_HIGH            0xa3
#define V_LEVEL           0x65
#define V_ERROR           0x73
#define V_SPURIOUS        0xdf
#define V_TIMER           0x48
#define IOAPIC_REMOTE     0x4000u
#define IOAPIC_LOGICAL    0x800u
#define IOAPIC_NMI        0x400u

static u32 bit_of(u32 base, u32 vector) { return lapic_read(base + vector / 32 * 16) >> (vector % 32) & 1; }

static void settle(void) {
    interrupts_on();
    delay_us(200);
    interrupts_off();
}

/* What each register keeps of all ones. */
static bool registers(void) {
    static const u16 regs[] = {LAPIC_TPR,       LAPIC_LDR,          LAPIC_DFR,         LAPIC_LVT_LINT0,
                               LAPIC_LVT_LINT1, LAPIC_LVT_PERF,     LAPIC_LVT_THERMAL, LAPIC_LVT_ERROR,
                               LAPIC_LVT_TIMER, LAPIC_TIMER_DIVIDE, LAPIC_ICR_HIGH,    LAPIC_TIMER_INITIAL};

    if (lapic_is_x2()) return true;
    for (u32 i = 0; i < ARRAY_SIZE(regs); i++) {
        u32 old = lapic_read(regs[i]);

        lapic_write(regs[i], regs[i] == LAPIC_LVT_TIMER ? 0x3fffff : ~0u);
        value("%x", lapic_read(regs[i]));
        if (regs[i] == LAPIC_LVT_TIMER) old = LVT_MASKED;
        lapic_write(regs[i], regs[i] == LAPIC_TIMER_INITIAL ? 0 : old);
    }
    return true;
}

static u32 ticks;
static void on_tick(struct trap_frame *frame) {
    (void)frame;
    ticks++;
    lapic_eoi();
}

static u32 nmis;
static void on_nmi(struct trap_frame *frame) {
    (void)frame;
    nmis++;
}

/* SDM Vol 3A, Local APIC State After It Has Been Software Disabled: NMIs are taken, fixed interrupts are not. */
static bool software_disabled(void) {
    u32 svr = lapic_read(LAPIC_SVR);

    interrupt_handler(V_LOW, on_tick);
    lapic_write(LAPIC_LVT_ERROR, V_ERROR);
    lapic_write(LAPIC_SVR, SPURIOUS_VECTOR);
    value("%x", lapic_read(LAPIC_LVT_ERROR) & LVT_MASKED);
    lapic_write(LAPIC_LVT_ERROR, V_ERROR);
    value("%x", lapic_read(LAPIC_LVT_ERROR) & LVT_MASKED);
    lapic_ipi_self(V_LOW);
    value("%u", bit_of(LAPIC_IRR, V_LOW));
    interrupt_handler(VEC_NMI, on_nmi);
    lapic_nmi_self();
    delay_us(100);
    value("nmi %u", nmis);
    interrupt_handler(VEC_NMI, NULL);
    lapic_write(LAPIC_SVR, svr);
    value("%x", lapic_read(LAPIC_LVT_ERROR) & LVT_MASKED);
    lapic_write(LAPIC_LVT_ERROR, LVT_MASKED | V_ERROR);
    settle();
    return true;
}

static u32 errors;
static void on_error(struct trap_frame *frame) {
    (void)frame;
    errors++;
    lapic_eoi();
}

/* Vectors below 16 are illegal. SDM Vol 3A, Error Handling. */
static bool illegal_vector(void) {
    u32 esr;

    errors = 0;
    interrupt_handler(V_ERROR, on_error);
    interrupt_handler(5, on_tick); /* QEMU delivers it */
    lapic_write(LAPIC_ESR, 0);
    lapic_write(LAPIC_LVT_ERROR, V_ERROR);
    lapic_ipi_self(5);
    settle();
    lapic_write(LAPIC_ESR, 0);
    esr = lapic_read(LAPIC_ESR);
    lapic_write(LAPIC_ESR, 0);
    value("%x %x %u", esr & 0x60, lapic_read(LAPIC_ESR), errors);
    lapic_write(LAPIC_LVT_ERROR, LVT_MASKED | V_ERROR);
    interrupt_handler(5, NULL);
    return true;
}

/* Where no register is. SDM Vol 3A, Error Handling: illegal register address. */
static bool illegal_register(void) {
    if (lapic_is_x2()) return true;
    lapic_write(LAPIC_ESR, 0);
    (void)lapic_read(0x40);
    lapic_write(LAPIC_ESR, 0);
    value("%x", lapic_read(LAPIC_ESR));
    lapic_write(0x3a0, 1);
    lapic_write(LAPIC_ESR, 0);
    value("%x", lapic_read(LAPIC_ESR));
    lapic_write(LAPIC_ESR, 0);
    return lapic_read(LAPIC_ESR) == 0;
}

static u32 spurious, spurious_in_service;
/* No EOI, unless a bit in ISR wants one. SDM Vol 3A, Spurious Interrupt. */
static void on_spurious(struct trap_frame *frame) {
    spurious++;
    if (!bit_of(LAPIC_ISR, (u32)frame->vector)) return;
    spurious_in_service++;
    lapic_eoi();
}
static void set_cr8(u64 class) { __asm__ volatile("movq %0, %%cr8" ::"r"(class) : "memory"); }

/* A request that the task priority overtakes on its way to the processor waits; who still asks for a vector gets the
 * spurious one, which leaves nothing in ISR. A request whose source is masked on the way arrives. The same vector as a
 * message is an interrupt like others. */
static bool spurious_vector(void) {
    u32 svr = lapic_read(LAPIC_SVR);
    u64 end;

    interrupt_handler(V_LOW, on_tick);
    interrupt_handler(V_SPURIOUS, on_spurious);
    lapic_write(LAPIC_SVR, 0x100 | V_SPURIOUS);
    ticks = spurious = spurious_in_service = 0;
    for (u32 i = 0; i < 2; i++) {
        lapic_ipi_self(V_LOW);
        delay_us(100);
        if (i)
            set_cr8(15);
        else
            lapic_write(LAPIC_TPR, 0xf0);
        settle();
        value("%u irr %u isr %u", ticks, bit_of(LAPIC_IRR, V_LOW), bit_of(LAPIC_ISR, V_SPURIOUS));
        lapic_write(LAPIC_TPR, 0);
        settle();
        value("%u", ticks);
    }
    lapic_write(LAPIC_LVT_TIMER, V_LOW);
    lapic_write(LAPIC_TIMER_INITIAL, 1);
    end = rdtsc() + ns_to_ticks(2000000000);
    while (!bit_of(LAPIC_IRR, V_LOW) && rdtsc() < end) cpu_pause();
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | V_LOW);
    settle();
    value("%u, %u of %u", ticks, spurious_in_service, spurious);
    lapic_ipi_self(V_SPURIOUS);
    settle();
    value("%u isr %u", spurious_in_service, bit_of(LAPIC_ISR, V_SPURIOUS));
    lapic_write(LAPIC_SVR, svr);
    if (bit_of(LAPIC_ISR, V_SPURIOUS)) lapic_eoi(); /* Bochs ends none that has the spurious vector */
    return ticks == 3 && spurious_in_service == 1;
}

static u32 nested[8], nested_count;
static void on_high(struct trap_frame *frame) {
    if (nested_count < 8) nested[nested_count++] = (u32)frame->vector;
    lapic_eoi();
}
/* While one is in service: what IRR, ISR and PPR say; a higher class gets in, the same class waits. */
static void on_mid(struct trap_frame *frame) {
    (void)frame;
    nested[nested_count++] = (u32)frame->vector;
    value("ppr %x isr %u", lapic_read(LAPIC_PPR), bit_of(LAPIC_ISR, V_MID));
    lapic_ipi_self(V_LOW);
    lapic_ipi_self(V_MID + 1);
    lapic_ipi_self(V_HIGH);
    settle();
    value("irr %u %u %u", bit_of(LAPIC_IRR, V_LOW), bit_of(LAPIC_IRR, V_MID + 1), bit_of(LAPIC_IRR, V_HIGH));
    nested[nested_count++] = 0;
    lapic_eoi();
}

static bool priorities(void) {
    nested_count = 0;
    interrupt_handler(V_LOW, on_high);
    interrupt_handler(V_MID, on_mid);
    interrupt_handler(V_MID + 1, on_high);
    interrupt_handler(V_HIGH, on_high);
    lapic_write(LAPIC_TPR, 0x37);
    value("%x", lapic_read(LAPIC_PPR));
    lapic_write(LAPIC_TPR, 0);
    lapic_ipi_self(V_MID);
    settle();
    for (u32 i = 0; i < nested_count; i++) value("%x", nested[i]);
    value("ppr %x", lapic_read(LAPIC_PPR));
    return nested_count == 5;
}

/* n / one: a power of two if it is one to an eighth, else what it is. */
static u64 doublings(u64 n, u64 one) {
    for (u64 power = 1; power < 1024; power *= 2)
        if (n * 8 >= one * power * 7 && n * 8 <= one * power * 9) return power;
    return n / max_u64(one, 1);
}

/* The same count, by each divider: the time doubles. */
static bool divider(void) {
    static const u8 codes[] = {0xb, 0, 1, 2, 3, 8, 9, 0xa};
    u64 base = 0;

    for (u32 i = 0; i < ARRAY_SIZE(codes); i++) {
        u64 start, ticks_passed;
        u32 count = ~0u, left;

        lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | V_TIMER);
        lapic_write(LAPIC_TIMER_DIVIDE, codes[i]);
        start = rdtsc();
        lapic_write(LAPIC_TIMER_INITIAL, count);
        delay_us(10000);
        left = lapic_read(LAPIC_TIMER_CURRENT);
        ticks_passed = rdtsc() - start;
        lapic_write(LAPIC_TIMER_INITIAL, 0);
        ticks_passed = ticks_passed * 1000 / max_u64(count - left, 1);
        if (i == 0) base = ticks_passed;
        value("%lu", doublings(ticks_passed, base));
    }
    lapic_write(LAPIC_TIMER_DIVIDE, 0xb);
    return true;
}

static bool timer_modes(void) {
    u32 one_ms = (u32)(lapic_timer_hz() / 1000), again;

    interrupt_handler(V_TIMER, on_tick);
    lapic_write(LAPIC_TIMER_DIVIDE, 0xb);
    ticks = 0;
    lapic_write(LAPIC_LVT_TIMER, V_TIMER);
    lapic_write(LAPIC_TIMER_INITIAL, one_ms);
    interrupts_on();
    delay_us(3500);
    interrupts_off();
    value("%u %u %d", ticks, lapic_read(LAPIC_TIMER_CURRENT), lapic_read(LAPIC_TIMER_INITIAL) == one_ms);
    /* Masked: it counts, nothing arrives, not even later. */
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | V_TIMER);
    lapic_write(LAPIC_TIMER_INITIAL, one_ms);
    delay_us(2000);
    lapic_write(LAPIC_LVT_TIMER, V_TIMER);
    settle();
    value("%u", ticks);
    /* Periodic: reloads by itself; a write of 0 stops it. */
    ticks = 0;
    lapic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | V_TIMER);
    lapic_write(LAPIC_TIMER_INITIAL, one_ms);
    value("%d", wait_count(&ticks, 3, 1000));
    lapic_write(LAPIC_TIMER_INITIAL, 0);
    settle();
    again = ticks;
    interrupts_on();
    delay_us(3000);
    interrupts_off();
    value("%u", ticks - again);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | V_TIMER);
    return true;
}

static bool deadline(void) {
    u64 at;

    if (!(cpuid(1, 0).ecx & BIT(24))) {
        value("none");
        return true;
    }
    interrupt_handler(V_TIMER, on_tick);
    ticks = 0;
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + 1000000); /* in another mode: ignored */
    value("%lx", rdmsr(MSR_TSC_DEADLINE));
    lapic_write(LAPIC_LVT_TIMER, LVT_DEADLINE | V_TIMER);
    __asm__ volatile("mfence" ::: "memory");
    at = rdtsc() + ns_to_ticks(10000000000);
    wrmsr(MSR_TSC_DEADLINE, at);
    value("%d", rdmsr(MSR_TSC_DEADLINE) == at);
    lapic_write(LAPIC_TIMER_INITIAL, 1000); /* ignored in this mode */
    value("%u %u", lapic_read(LAPIC_TIMER_CURRENT), ticks);
    wrmsr(MSR_TSC_DEADLINE, 1); /* long past */
    settle();
    value("%u %lx", ticks, rdmsr(MSR_TSC_DEADLINE));
    wrmsr(MSR_TSC_DEADLINE, at + ns_to_ticks(1000000000));
    lapic_write(LAPIC_LVT_TIMER, V_TIMER); /* another mode disarms it */
    lapic_write(LAPIC_LVT_TIMER, LVT_DEADLINE | V_TIMER);
    value("%d", rdmsr(MSR_TSC_DEADLINE) == 0);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | V_TIMER);
    return true;
}

/* --- IOAPIC --- */

void pit_line(bool high) {
    out8(0x43, 0x30); /* channel 0, both bytes, mode 0: the output falls */
    out8(0x40, high ? 1 : 0xff);
    out8(0x40, high ? 0 : 0xff);
    if (high) delay_us(100);
}

static u32 levels, remote_before, remote_after, quiet_after;
static void on_level(struct trap_frame *frame) {
    u32 pin = IOAPIC_TABLE(acpi.isa_gsi[0]);

    (void)frame;
    levels++;
    remote_before = ioapic_read(pin) & IOAPIC_REMOTE;
    if (levels == quiet_after) pit_line(false);
    lapic_eoi();
    remote_after = ioapic_read(pin) & IOAPIC_REMOTE;
}

/* A line that stays up interrupts again after each EOI, and no more once it has fallen. */
static bool ioapic_level(void) {
    u32 pin = acpi.isa_gsi[0], entry = IOAPIC_TABLE(pin);

    interrupt_handler(V_LEVEL, on_level);
    levels = 0;
    quiet_after = 3;
    pit_line(false);
    ioapic_route(pin, V_LEVEL, IOAPIC_LEVEL, lapic_id());
    settle();
    value("%u", levels);
    pit_line(true);
    value("tmr %u", bit_of(LAPIC_TMR, V_LEVEL));
    settle();
    value("%u %x %x", levels, remote_before, remote_after);
    /* Masked while up: it waits at the pin. */
    quiet_after = levels + 1;
    ioapic_write(entry, IOAPIC_MASKED | IOAPIC_LEVEL | V_LEVEL);
    pit_line(true);
    settle();
    value("%u", levels);
    ioapic_write(entry, IOAPIC_LEVEL | V_LEVEL);
    settle();
    value("%u", levels);
    /* An edge while masked is lost. */
    pit_line(false);
    ioapic_write(entry, IOAPIC_MASKED | V_LEVEL);
    pit_line(true);
    ioapic_write(entry, V_LEVEL);
    settle();
    value("%u", levels);
    pit_line(false);
    pit_line(true);
    settle();
    value("%u", levels);
    ioapic_write(entry, IOAPIC_MASKED);
    return true;
}

static bool ioapic_polarity(void) {
    u32 pin = acpi.isa_gsi[0];

    interrupt_handler(V_LEVEL, on_level);
    levels = 0;
    quiet_after = 0;
    pit_line(true);
    ioapic_route(pin, V_LEVEL, IOAPIC_LOW, lapic_id());
    settle();
    pit_line(false); /* the asserting edge of an active-low pin */
    settle();
    value("%u", levels);
    ioapic_write(IOAPIC_TABLE(pin), IOAPIC_MASKED);
    return true;
}

/* Logical destinations, lowest priority, NMI. */
static bool ioapic_delivery(void) {
    u32 pin = acpi.isa_gsi[0], entry = IOAPIC_TABLE(pin);

    if (lapic_is_x2()) return true;
    interrupt_handler(V_LEVEL, on_level);
    interrupt_handler(VEC_NMI, on_nmi);
    levels = nmis = quiet_after = 0;
    lapic_write(LAPIC_DFR, ~0u);
    lapic_write(LAPIC_LDR, 0x04000000);
    ioapic_write(entry + 1, 0x04000000);
    for (u32 i = 0; i < 4; i++) {
        static const u32 modes[] = {IOAPIC_LOGICAL | V_LEVEL, IOAPIC_LOGICAL | 0x100 | V_LEVEL, IOAPIC_LOGICAL | 0x400,
                                    V_LEVEL}; /* the last to nobody: there is no id 4 */
        pit_line(false);
        ioapic_write(entry, modes[i]);
        pit_line(true);
        settle();
        value("%u/%u", levels, nmis);
    }
    lapic_write(LAPIC_LDR, 0x02000000); /* a logical id that is not addressed */
    ioapic_write(entry, IOAPIC_LOGICAL | V_LEVEL);
    pit_line(false);
    pit_line(true);
    settle();
    value("%u", levels);
    ioapic_write(entry, IOAPIC_MASKED);
    lapic_write(LAPIC_LDR, 0);
    interrupt_handler(VEC_NMI, NULL);
    return true;
}

static bool ioapic_table(void) {
    ioapic_write(IOAPIC_TABLE(5), 0xfffeffff | IOAPIC_MASKED); /* level: delivery status and remote IRR do not stay */
    value("%x", ioapic_read(IOAPIC_TABLE(5)));
    ioapic_write(IOAPIC_TABLE(5), IOAPIC_MASKED);
    value("%x", ioapic_read(IOAPIC_TABLE(5)));
    ioapic_write(IOAPIC_TABLE(5) + 1, ~0u);
    value("%x", ioapic_read(IOAPIC_TABLE(5) + 1));
    ioapic_write(IOAPIC_TABLE(5) + 1, 0);
    value("%x", ioapic_read(IOAPIC_VERSION) & 0xff00ff);
    return true;
}

const struct check apic_checks[] = {
    {"apic-registers", registers},
    {"apic-disabled", software_disabled},
    {"apic-illegal-vector", illegal_vector},
    {"apic-illegal-register", illegal_register},
    {"apic-spurious", spurious_vector},
    {"apic-priorities", priorities},
    {"apic-divider", divider},
    {"apic-timer", timer_modes},
    {"apic-deadline", deadline},
    {"ioapic-table", ioapic_table},
    {"ioapic-level", ioapic_level},
    {"ioapic-polarity", ioapic_polarity},
    {"ioapic-delivery", ioapic_delivery},
    {0},
};
