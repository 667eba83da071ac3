#include "guests/lib/lapic.h"

#include "guests/lib/cpu.h"
#include "guests/lib/interrupts.h"
#include "guests/lib/options.h"

#define ICR_NMI       0x400u
#define ICR_INIT      0x500u
#define ICR_STARTUP   0x600u
#define ICR_PENDING   0x1000u
#define ICR_ASSERT    0x4000u
#define ICR_SELF      0x40000u
#define CPUID1_X2APIC BIT(21)

static u64 page;
static bool x2;

static void spurious(struct trap_frame *frame) { (void)frame; /* no EOI: it has no in-service bit */ }

bool lapic_is_x2(void) { return x2; }

u32 lapic_read(u32 reg) { return x2 ? (u32)rdmsr(MSR_X2APIC_FIRST + (reg >> 4)) : mmio_read32(page + reg); }

void lapic_write(u32 reg, u32 value) {
    if (x2)
        wrmsr(MSR_X2APIC_FIRST + (reg >> 4), value);
    else
        mmio_write32(page + reg, value);
}

u32 lapic_id(void) {
    u32 id = lapic_read(LAPIC_ID);
    return x2 ? id : id >> 24;
}

void lapic_eoi(void) { lapic_write(LAPIC_EOI, 0); }

void lapic_cpu_init(void) {
    u64 base = rdmsr(MSR_APIC_BASE);

    if (this_cpu()->index == 0) {
        page = base & 0xffffff000;
        x2 = (base & APIC_BASE_X2APIC) || (option_given("x2apic") && (cpuid(1, 0).ecx & CPUID1_X2APIC));
        interrupt_handler(SPURIOUS_VECTOR, spurious);
    }
    base |= APIC_BASE_ENABLE;
    wrmsr(MSR_APIC_BASE, base);
    if (x2) /* only from enabled xAPIC mode: SDM Vol 3A, x2APIC State Transitions */
        wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
    this_cpu()->apic_id = lapic_id();

    lapic_write(LAPIC_SVR, 0x100 | SPURIOUS_VECTOR);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED);
    lapic_write(LAPIC_LVT_LINT1, LVT_MASKED);
    lapic_write(LAPIC_LVT_ERROR, LVT_MASKED);
    lapic_write(LAPIC_TPR, 0);
}

void lapic_command(u32 dest, u32 low) {
    if (x2) {
        /* WRMSR to x2APIC registers does not serialise: what was stored before must be seen first.
         * SDM Vol 3A, MSR Access in x2APIC Mode. */
        __asm__ volatile("mfence; lfence" ::: "memory");
        wrmsr(MSR_X2APIC_FIRST + (LAPIC_ICR >> 4), (u64)dest << 32 | low);
        return;
    }
    lapic_write(LAPIC_ICR_HIGH, dest << 24);
    lapic_write(LAPIC_ICR, low);
    for (u32 i = 0; i < 1000000 && (lapic_read(LAPIC_ICR) & ICR_PENDING); i++) cpu_pause();
}

void lapic_ipi(u32 dest, u8 vector) { lapic_command(dest, ICR_ASSERT | vector); }
void lapic_ipi_self(u8 vector) { lapic_command(0, ICR_SELF | ICR_ASSERT | vector); }
void lapic_nmi_self(void) {
    /* The self shorthand admits fixed delivery only. SDM Vol 3A, Interrupt Command Register. */
    lapic_command(lapic_id(), ICR_NMI | ICR_ASSERT);
}
void lapic_init_cpu(u32 dest) { lapic_command(dest, ICR_INIT | ICR_ASSERT); }
void lapic_start_cpu(u32 dest, u8 at_page) { lapic_command(dest, ICR_STARTUP | ICR_ASSERT | at_page); }
