/* The interrupt controllers, programmed at everybody else's ids: nothing may arrive outside the
 * partition (the victim watches for that), and nothing may be lost inside. */
#include "core/base/bits.h"
#include "guests/attack/attack.h"

#define ICR_LOGICAL  0x800u
#define ICR_ASSERT   0x4000u
#define ICR_LEVEL    0x8000u
#define ICR_OTHERS   0xc0000u
#define ICR_ALL      0x80000u
#define DELIVER(n)   ((u32)(n) << 8)
#define INIT         5u
#define STARTUP      6u
#define PARK_PAGE    9u /* where a CPU of ours goes that is started: it halts for good */
#define STORM_VECTOR 0x71

static u32 arrived, nmis;

static void on_any(struct trap_frame *frame) {
    arrived++;
    if (frame->vector >= PIC_VECTOR && frame->vector < PIC_VECTOR + 16) pic_eoi((u32)frame->vector - PIC_VECTOR);
    lapic_eoi();
}
static void on_nmi(struct trap_frame *frame) {
    (void)frame;
    nmis++;
}

static void take_all(void) {
    for (u32 vector = 0x20; vector < 0xff; vector++) interrupt_handler((u8)vector, on_any);
    interrupt_handler(VEC_NMI, on_nmi);
}

/* Interrupts open for a moment, until nothing comes any more. */
static void drain(void) {
    for (u32 i = 0; i < 64; i++) {
        interrupts_on();
        /* Not PAUSE: in QEMU the shadow of STI would last on behind it. */
        __asm__ volatile("nop\n\tnop\n\tnop");
        interrupts_off();
    }
}

/* Is the command meant for this CPU as well? Then it must not be INIT or STARTUP. */
static bool ends_us(u32 dest, u32 low) {
    u32 delivery = low >> 8 & 7;

    if (delivery != INIT && delivery != STARTUP) return false;
    if ((low & ICR_OTHERS) == ICR_OTHERS) return false;
    return (low & ICR_OTHERS) != 0 || (low & ICR_LOGICAL) || dest == lapic_id() || dest == 0xff || dest == ~0u;
}

static void command(u32 dest, u32 low) {
    if (ends_us(dest, low)) return;
    if (lapic_is_x2()) low &= ~0x1000u;
    lapic_command(dest, low);
    check(true, "-");
}

/* Each id, each delivery mode, physical and logical, and the shorthands. */
static void commands(void) {
    u8 *park = (u8 *)(PARK_PAGE * PAGE_4K);

    park[0] = 0xfa; /* cli; 1: hlt; jmp 1b */
    park[1] = 0xf4;
    park[2] = 0xeb;
    park[3] = 0xfd;
    take_all();
    for (u32 dest = 0; dest < 256; dest++)
        for (u32 delivery = 0; delivery < 8; delivery++) {
            u32 vector = delivery == STARTUP ? PARK_PAGE : 0x30 + dest % 0xc0;

            command(dest, ICR_ASSERT | DELIVER(delivery) | vector);
            command(dest, ICR_ASSERT | ICR_LEVEL | DELIVER(delivery) | vector);
            command(dest, ICR_LOGICAL | ICR_ASSERT | DELIVER(delivery) | vector);
        }
    drain();
    check(arrived > 0, "our own interrupts did not arrive");
    check(nmis > 0, "our own nmi did not arrive");
}

static void storm(void) {
    static const u32 lows[] = {
        ICR_OTHERS | ICR_ASSERT | DELIVER(0) | STORM_VECTOR,
        ICR_ALL | ICR_ASSERT | DELIVER(0) | STORM_VECTOR,
        ICR_OTHERS | ICR_ASSERT | DELIVER(4),
        ICR_ALL | ICR_ASSERT | DELIVER(4),
        ICR_OTHERS | ICR_ASSERT | DELIVER(INIT),
        ICR_OTHERS | ICR_LEVEL | DELIVER(INIT),
        ICR_OTHERS | ICR_ASSERT | DELIVER(STARTUP) | PARK_PAGE,
        ICR_OTHERS | ICR_ASSERT | DELIVER(2),
        ICR_ASSERT | DELIVER(4),
        ICR_ASSERT | DELIVER(1) | 0x72,
    };

    take_all();
    for (u32 i = 0; i < 2000; i++) {
        command(0xff, lows[i % ARRAY_SIZE(lows)]);
        if (i % 16 == 0) drain();
    }
    drain();
}

/* Illegal vectors, reserved delivery modes, noise; logical ids and formats that match everybody. */
static void registers(void) {
    static const u16 skip[] = {LAPIC_ICR, LAPIC_ICR_HIGH};

    take_all();
    for (u32 round = 0; round < 12; round++)
        for (u32 reg = 0; reg < 0x400; reg += 16) {
            u32 value = round == 0 ? ~0u : round == 1 ? 0 : (u32)noise();

            if (reg == skip[0] || reg == skip[1]) continue;
            *(volatile u32 *)(LAPIC_PAGE + reg) = value;
            (void)*(volatile u32 *)(LAPIC_PAGE + reg);
            check(true, "-");
        }
    for (u32 vector = 0; vector < 16; vector++) command(lapic_id(), ICR_ASSERT | vector);
    lapic_cpu_init();
    lapic_write(LAPIC_ESR, 0);
    check(lapic_id() == this_cpu()->apic_id, "the id changed to %u", lapic_id());
    drain();
}

/* 32-bit ids, and there and back again. */
static void x2apic(void) {
    u64 old = rdmsr(MSR_APIC_BASE);

    if (lapic_is_x2() || !(cpuid(1, 0).ecx & BIT(21))) return;
    take_all();
    wrmsr(MSR_APIC_BASE, old | APIC_BASE_X2APIC);
    for (u32 i = 0; i < 1024; i++) {
        u32 dest = i < 256 ? i : i < 300 ? ~0u - (i - 256) : (u32)noise();
        u32 delivery = i & 1 ? 4 : 0; /* NMI, fixed: INIT and STARTUP below, to others only */

        wrmsr(MSR_X2APIC_FIRST + 0x30, (u64)dest << 32 | ICR_ASSERT | DELIVER(delivery) | STORM_VECTOR);
        if (dest != this_cpu()->apic_id && dest != ~0u)
            wrmsr(MSR_X2APIC_FIRST + 0x30, (u64)dest << 32 | ICR_ASSERT | DELIVER(INIT));
        check(true, "-");
    }
    /* What arrived is ended by MSR: the handlers use the page. */
    for (u32 i = 0; i < 256; i++) wrmsr(MSR_X2APIC_FIRST + 0xb, 0);
    wrmsr(MSR_APIC_BASE, old & ~(u64)APIC_BASE_ENABLE);
    wrmsr(MSR_APIC_BASE, old);
    lapic_cpu_init();
    check(rdmsr(MSR_APIC_BASE) == old, "apic base is 0x%lx", rdmsr(MSR_APIC_BASE));
}

/* All 256 indices, and entries that send everything to everybody. */
static void ioapic(void) {
    take_all();
    for (u32 round = 0; round < 8; round++)
        for (u32 reg = 0; reg < 256; reg++) {
            ioapic_write(reg, round == 0 ? ~0u : (u32)noise());
            (void)ioapic_read(reg);
            check(true, "-");
        }
    for (u32 delivery = 0; delivery < 8; delivery++)
        for (u32 dest = 0; dest < 256; dest += 51) {
            for (u32 pin = 0; pin < 24; pin++) {
                if (dest == lapic_id() || (delivery == INIT && dest == 255)) continue;
                ioapic_write(IOAPIC_TABLE(pin) + 1, dest << 24);
                ioapic_write(IOAPIC_TABLE(pin), DELIVER(delivery) | 0x40 | pin);
            }
            out8(COM1 + 1, 0x02); /* an edge of the UART */
            out8(COM1 + 1, 0x00);
            pit_channel0_rate(100);
            check(true, "-");
        }
    for (u32 pin = 0; pin < 24; pin++) ioapic_write(IOAPIC_TABLE(pin), IOAPIC_MASKED);
    drain();
}

const struct attempt apic_attempts[] = {
    {"lapic-registers", registers}, {"ipi-every-id", commands}, {"ipi-storm", storm},
    {"x2apic-every-id", x2apic},    {"ioapic", ioapic},         {0},
};
