/* The local APIC's modes: where its page lies, x2APIC's registers, the ways from one mode to another. These come last:
 * some emulators know no way back. SDM Vol 3A, Extended XAPIC (x2APIC); Relocating the Local APIC Registers. */
#include "core/base/bits.h"
#include "guests/probe/probe.h"

#define X2(reg)        (MSR_X2APIC_FIRST + ((reg) >> 4))
#define X2_SELF        0x3f0
#define V_X2           0x56
#define MODES          (APIC_BASE_ENABLE | APIC_BASE_X2APIC)
#define LAPIC_LDR      0xd0
#define LVT_ERROR_TEST (LVT_MASKED | 0x73)

struct msr_write {
    u32 msr;
    u64 value;
};
static void do_write(void *argument) {
    const struct msr_write *w = argument;
    wrmsr(w->msr, w->value);
}
static void do_read(void *argument) { (void)rdmsr(*(u32 *)argument); }

static void try_write(u32 msr, u64 to) {
    struct msr_write w = {msr, to};
    value_of_try(do_write, &w);
}
static bool writes(u32 msr, u64 to) {
    struct msr_write w = {msr, to};
    return !fault_try(do_write, &w).raised;
}
static bool reads(u32 msr) { return !fault_try(do_read, &msr).raised; }

static void try_mode(u64 mode) { try_write(MSR_APIC_BASE, (rdmsr(MSR_APIC_BASE) & ~MODES) | mode); }
static u64 mode(void) { return rdmsr(MSR_APIC_BASE) & MODES; }
/* What the page says, whatever the mode. */
static u32 page(u32 reg) { return mmio_read32(0xfee00000u + reg); }

static bool relocation(void) {
    u64 old = rdmsr(MSR_APIC_BASE);

    if (lapic_is_x2()) return true;
    try_write(MSR_APIC_BASE, old ^ 0x100000);
    value("%lx", rdmsr(MSR_APIC_BASE) & 0xffffff000);
    wrmsr(MSR_APIC_BASE, old);
    return page(LAPIC_ID) >> 24 == lapic_id();
}

/* What is kept on the way into x2APIC mode, what follows from the id there; the page is gone. */
static bool enter(void) {
    u32 id = lapic_id();

    if (lapic_is_x2()) return true;
    if (!(cpuid(1, 0).ecx & BIT(21))) {
        value("none");
        return true;
    }
    try_mode(APIC_BASE_X2APIC);
    lapic_write(LAPIC_TPR, 0x20);
    lapic_write(LAPIC_LVT_ERROR, LVT_ERROR_TEST);
    lapic_write(LAPIC_LDR, 0x40000000); /* goes: there it follows from the id */
    lapic_write(LAPIC_ICR_HIGH, 0x05000000);
    value("%d", reads(X2(LAPIC_TPR)));
    try_mode(MODES);
    value("%lx", mode());
    value("%lx %lx %lx", rdmsr(X2(LAPIC_TPR)), rdmsr(X2(LAPIC_SVR)), rdmsr(X2(LAPIC_LVT_ERROR)));
    value("%lx %x %lx", rdmsr(X2(LAPIC_ICR)) >> 32, page(LAPIC_VERSION), rdmsr(X2(LAPIC_LDR)));
    wrmsr(X2(LAPIC_TPR), 0);
    return rdmsr(X2(LAPIC_ID)) == id;
}

/* Which registers can be read, which take 0, which take more than 32 bits; then what is reserved in each. */
static bool registers(void) {
    static const struct {
        u16 reg;
        u32 value;
    } reserved[] = {
        {LAPIC_TPR, 0x100},          {LAPIC_EOI, 1},
        {LAPIC_SVR, 0x2100},         {LAPIC_ESR, 1},
        {LAPIC_LVT_TIMER, 0x110000}, {LAPIC_LVT_LINT0, 0x30000},
        {LAPIC_LVT_ERROR, 0x10100},  {LAPIC_TIMER_DIVIDE, 4},
        {LAPIC_ICR, 0x100000},       {X2_SELF, 0x100},
    };
    u64 readable = 0, takes_zero = 0, takes_more = 0;

    if (mode() != MODES) return true;
    for (u32 i = 0; i < 64; i++) {
        u32 msr = MSR_X2APIC_FIRST + i;
        bool command = msr == X2(LAPIC_ICR) || msr == X2(X2_SELF);
        u64 old = 0;

        if (reads(msr)) {
            readable |= BIT(i);
            old = rdmsr(msr);
        }
        if (command) continue;
        if (writes(msr, 0)) takes_zero |= BIT(i);
        if (writes(msr, BIT(32))) takes_more |= BIT(i);
        if (readable & takes_zero & BIT(i)) wrmsr(msr, old);
    }
    value("%lx %lx %lx", readable, takes_zero, takes_more);
    for (u32 i = 0; i < ARRAY_SIZE(reserved); i++) value("%d", writes(X2(reserved[i].reg), reserved[i].value));
    wrmsr(X2(LAPIC_SVR), 0x100 | SPURIOUS_VECTOR);
    return true;
}

static u32 taken;
static void on_x2(struct trap_frame *frame) {
    (void)frame;
    taken++;
    wrmsr(X2(LAPIC_EOI), 0);
}
static void settle(void) {
    interrupts_on();
    delay_us(200);
    interrupts_off();
}

/* The command register in one piece; SELF IPI; destinations. */
static bool messages(void) {
    u64 id;

    if (mode() != MODES) return true;
    id = rdmsr(X2(LAPIC_ID));
    interrupt_handler(V_X2, on_x2);
    wrmsr(X2(LAPIC_ICR), id << 32 | 0x4000 | V_X2);
    settle();
    value("%u %d", taken, rdmsr(X2(LAPIC_ICR)) == (id << 32 | 0x4000 | V_X2));
    wrmsr(X2(X2_SELF), V_X2);
    value("%lx", rdmsr(X2(LAPIC_IRR + V_X2 / 32 * 16)) >> V_X2 % 32 & 1);
    settle();
    value("%u", taken);
    wrmsr(X2(LAPIC_ICR), 0x40000 | V_X2);
    settle();
    value("%u", taken);
    wrmsr(X2(LAPIC_ICR), (id + 0x100) << 32 | 0x4000 | V_X2); /* to nobody: all 32 bits of the id count */
    settle();
    value("%u", taken);
    wrmsr(X2(LAPIC_ICR),
          rdmsr(X2(LAPIC_LDR)) << 32 | 0x4800 | V_X2); /* logical; then to a neighbour that is not there */
    settle();
    value("%u", taken);
    wrmsr(X2(LAPIC_ICR), 4ull << 32 | 0x4800 | V_X2);
    settle();
    value("%u", taken);
    return taken == 4;
}

/* From each mode to each other. Disabled means: no page, no registers, no word of it in CPUID; then all is new. */
static bool transitions(void) {
    if (lapic_is_x2()) return true;
    if (mode() == MODES) {
        try_mode(APIC_BASE_ENABLE);
        try_mode(APIC_BASE_X2APIC);
        try_mode(MODES);
        wrmsr(X2(LAPIC_TPR), 0x30);
    } else {
        lapic_write(LAPIC_TPR, 0x30);
    }
    try_mode(0);
    value("%lx cpuid %u %x", mode(), cpuid(1, 0).edx >> 9 & 1, page(LAPIC_VERSION));
    value("%d", reads(X2(LAPIC_ID)));
    try_mode(APIC_BASE_X2APIC);
    try_mode(MODES);
    try_mode(APIC_BASE_ENABLE);
    value("%lx cpuid %u %x %x %x", mode(), cpuid(1, 0).edx >> 9 & 1, page(LAPIC_TPR), page(LAPIC_SVR),
          page(LAPIC_LVT_ERROR));
    try_mode(MODES);
    value("%lx", mode());
    return true;
}

const struct check last_checks[] = {
    {"apic-relocation", relocation}, {"x2apic-entry", enter},           {"x2apic-registers", registers},
    {"x2apic-messages", messages},   {"apic-transitions", transitions}, {0},
};
