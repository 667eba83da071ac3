#include "drivers/lapic.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/layout.h"
#include "core/base/x86.h"

/* Register offsets of the xAPIC page; an x2APIC MSR is 0x800 + offset / 16. */
#define REG_ID            0x20
#define REG_TPR           0x80
#define REG_EOI           0xb0
#define REG_SVR           0xf0
#define REG_ICR           0x300
#define REG_ICR_HIGH      0x310
#define REG_LVT_TIMER     0x320
#define REG_LVT_THERMAL   0x330
#define REG_LVT_PERF      0x340
#define REG_LVT_LINT0     0x350
#define REG_LVT_LINT1     0x360
#define REG_LVT_ERROR     0x370
#define REG_TIMER_INITIAL 0x380
#define REG_TIMER_CURRENT 0x390
#define REG_TIMER_DIVIDE  0x3e0
#define REG_VERSION       0x30

#define LVT_MASKED   0x10000
#define LVT_DEADLINE 0x40000
#define DIVIDE_BY_1  0xb
#define ICR_BUSY     0x1000
#define ICR_ASSERT   0x4000
#define ICR_NMI      0x400
#define ICR_INIT     0x500
#define ICR_STARTUP  0x600
#define ICR_OTHERS   0xc0000

/* Written by lapic_setup and lapic_timer_calibrate only. */
static u64 address __attribute__((section(".late")));
static bool x2apic __attribute__((section(".late"))), deadline_mode __attribute__((section(".late")));
static u64 ticks_per_tsc_q32 __attribute__((section(".late"))); /* timer ticks per TSC tick, 32 fractional bits */

static u32 read(u32 reg) {
    if (x2apic) return (u32)rdmsr(MSR_X2APIC_FIRST + reg / 16);
    return *(volatile u32 *)(address + DIRECT_BASE + reg);
}

static void write(u32 reg, u32 value) {
    if (x2apic)
        wrmsr(MSR_X2APIC_FIRST + reg / 16, value);
    else
        *(volatile u32 *)(address + DIRECT_BASE + reg) = value;
}

void lapic_setup(u64 at, bool allow_x2apic, bool allow_deadline) {
    bool has = cpuid(1, 0).ecx & BIT(21);

    address = at;
    x2apic = (rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC) || (has && allow_x2apic);
    deadline_mode = allow_deadline && (cpuid(1, 0).ecx & BIT(24));
}

void lapic_enable(void) {
    u64 base = rdmsr(MSR_APIC_BASE);
    u32 max_lvt;

    if (!(base & APIC_BASE_ENABLE)) {
        base |= APIC_BASE_ENABLE;
        wrmsr(MSR_APIC_BASE, base);
    }
    if (x2apic && !(base & APIC_BASE_X2APIC)) wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
    write(REG_TPR, 0);
    max_lvt = read(REG_VERSION) >> 16 & 0xff;
    write(REG_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    write(REG_LVT_LINT0, LVT_MASKED);
    write(REG_LVT_LINT1, LVT_MASKED);
    write(REG_LVT_ERROR, LVT_MASKED | VECTOR_SPURIOUS);
    if (max_lvt >= 4) write(REG_LVT_PERF, LVT_MASKED);
    if (max_lvt >= 5) write(REG_LVT_THERMAL, LVT_MASKED);
    write(REG_SVR, 0x100 | VECTOR_SPURIOUS);
}

bool lapic_is_x2apic(void) { return x2apic; }

bool lapic_has_deadline(void) { return deadline_mode; }

u64 lapic_address(void) { return address; }

u32 lapic_id(void) { return x2apic ? read(REG_ID) : read(REG_ID) >> 24; }

void lapic_eoi(void) { write(REG_EOI, 0); }

static void send(u32 apic_id, u32 low) {
    if (x2apic) {
        /* WRMSR to the x2APIC is not serialising: earlier stores must be visible before the interrupt is. SDM Vol 3A,
         * MSR Access in x2APIC Mode. */
        __asm__ volatile("mfence" ::: "memory");
        wrmsr(MSR_X2APIC_FIRST + REG_ICR / 16, (u64)apic_id << 32 | low);
        return;
    }
    while (read(REG_ICR) & ICR_BUSY) cpu_pause();
    write(REG_ICR_HIGH, apic_id << 24);
    write(REG_ICR, low);
}

void lapic_send(u32 apic_id, u8 vector) { send(apic_id, ICR_ASSERT | vector); }

void lapic_nmi_others(void) { send(0, ICR_OTHERS | ICR_ASSERT | ICR_NMI); }

void lapic_send_init(u32 apic_id) { send(apic_id, ICR_ASSERT | ICR_INIT); }

void lapic_send_startup(u32 apic_id, u8 page) { send(apic_id, ICR_ASSERT | ICR_STARTUP | page); }

void lapic_timer_calibrate(u64 tsc_hz) {
    u64 start, end, ticks;

    if (deadline_mode) return;
    write(REG_TIMER_DIVIDE, DIVIDE_BY_1);
    write(REG_TIMER_INITIAL, 0xffffffff);
    start = rdtsc();
    do cpu_pause();
    while ((end = rdtsc()) - start < tsc_hz / 200);
    ticks = 0xffffffff - read(REG_TIMER_CURRENT);
    write(REG_TIMER_INITIAL, 0);
    ticks_per_tsc_q32 = mul_div(ticks, BIT(32), end - start);
}

void lapic_timer_arm(u64 deadline) {
    u64 now, ticks;

    if (deadline_mode) {
        write(REG_LVT_TIMER, LVT_DEADLINE | VECTOR_TIMER);
        /* SDM Vol 3A, TSC-Deadline Mode: order the LVT write before the MSR write in xAPIC mode. */
        __asm__ volatile("mfence" ::: "memory");
        wrmsr(MSR_TSC_DEADLINE, deadline == NEVER ? 0 : max_u64(deadline, 1));
        return;
    }
    if (deadline == NEVER) {
        write(REG_TIMER_INITIAL, 0);
        return;
    }
    now = rdtsc();
    ticks = deadline > now ? (u64)(((u128)(deadline - now) * ticks_per_tsc_q32) >> 32) : 0;
    write(REG_TIMER_DIVIDE, DIVIDE_BY_1);
    write(REG_LVT_TIMER, VECTOR_TIMER);
    /* Rounded up, so that the interrupt never comes before the deadline. */
    write(REG_TIMER_INITIAL, (u32)min_u64(ticks + 1, 0xffffffff));
}
