/* The 8254 (82C54 datasheet), port 0x61, the real-time clock (MC146818A datasheet), and what CPUID says of clocks. */
#include "core/base/bits.h"
#include "guests/probe/probe.h"

#define OUT2    0x20
#define V_CLOCK 0x63

static void program(u8 control, u16 count) {
    out8(0x43, control);
    out8(0x42, (u8)count);
    out8(0x42, (u8)(count >> 8));
}
static void gate(bool open) { out8(0x61, (u8)((in8(0x61) & 0xfc) | open)); }
static u32 out2(void) { return (in8(0x61) & OUT2) != 0; }
static u32 latched(void) {
    u32 low;
    out8(0x43, 0x80);
    low = in8(0x42);
    return low | (u32)in8(0x42) << 8;
}
static u32 status(void) {
    out8(0x43, 0xe8); /* read back the status of channel 2 */
    return in8(0x42);
}

/* Each mode: the output behind the control word, behind the count, in the middle, behind the end; status. 40 ms, so
 * that what the accesses themselves take does not count. */
static bool modes(void) {
    for (u32 mode = 0; mode < 6; mode++) {
        gate(mode != 1 && mode != 5);
        out8(0x43, (u8)(0xb0 | mode << 1));
        value("m%u:%u", mode, out2());
        out8(0x42, 47728 & 0xff);
        out8(0x42, 47728 >> 8);
        if (mode == 1 || mode == 5) {
            delay_us(100);
            value("%u", out2());
            gate(true); /* a rising edge starts these */
        }
        delay_us(4000);
        value("%u", out2());
        value("%x", status() & 0x7f);
        delay_us(24000);
        value("%u", out2());
        delay_us(20000);
        value("%u", out2());
    }
    gate(false);
    return true;
}

/* A closed gate stops the count; mode 2 starts anew when it opens. */
static bool gated(void) {
    u32 a, b;

    gate(true);
    program(0xb0, 0xffff);
    delay_us(1000);
    gate(false);
    delay_us(20);
    a = latched();
    delay_us(1000);
    b = latched();
    value("%d %d", a == b, a < 0xfff0);
    gate(true);
    delay_us(1000);
    value("%d", latched() < b);
    program(0xb4, 0xffff);
    delay_us(20000);
    gate(false);
    delay_us(20);
    value("%u", out2());
    gate(true);
    delay_us(100);
    value("%d", latched() > 0xd000);
    gate(false);
    return true;
}

/* Latches: a count stays until it is read; read-back takes both at once; a second latch is ignored. */
static bool latches(void) {
    u32 a, b, c;

    gate(true);
    program(0xb0, 0xffff);
    delay_us(500);
    out8(0x43, 0x80);
    delay_us(500);
    out8(0x43, 0x80);
    a = in8(0x42);
    a |= (u32)in8(0x42) << 8;
    b = in8(0x42); /* no latch now: what it counts */
    b |= (u32)in8(0x42) << 8;
    value("%d", a > b + 300);
    out8(0x43, 0xc8); /* status and count of channel 2 */
    c = in8(0x42);
    a = in8(0x42);
    a |= (u32)in8(0x42) << 8;
    value("%x %d", c & 0x7f, a <= b);
    out8(0x43, 0xb0); /* a control word without a count: null count */
    value("%x", status());
    /* One byte only. */
    out8(0x43, 0x90);
    out8(0x42, 0x40);
    value("%x", status() & 0x3f);
    out8(0x43, 0xa0);
    out8(0x42, 0x40);
    delay_us(20);
    c = in8(0x42);
    value("%d", c < 0x40 && c >= 0x30);
    gate(false);
    return true;
}

static bool binary_decimal(void) {
    u32 now;

    gate(true);
    program(0xb1, 0x9000); /* mode 0, four decimal digits */
    delay_us(400);
    now = latched();
    gate(false);
    for (u32 i = 0; i < 16; i += 4)
        if ((now >> i & 15) > 9) value("digit %u", i / 4);
    value("%d", now < 0x9000 && now > 0x1000);
    return true;
}

/* Port 0x61: bit 4 toggles with channel 1's refresh, bits 3:0 stay. */
static bool port61(void) {
    u8 old = in8(0x61), seen = 0;
    u32 changes = 0;

    for (u32 i = 0; i < 2000; i++) {
        u8 now = in8(0x61) & 0x10;
        changes += now != seen;
        seen = now;
    }
    out8(0x61, 0x02);
    value("%x", in8(0x61) & 0x0f);
    out8(0x61, 0x0f);
    value("%x", in8(0x61) & 0x0f);
    out8(0x61, 0xf0);
    value("%x", in8(0x61) & 0x0f);
    out8(0x61, old & 0x0f);
    detail("%u changes", changes);
    value("%d", changes > 2);
    return true;
}

static u8 cmos(u8 index) {
    out8(0x70, index);
    return in8(0x71);
}
static void set_cmos(u8 index, u8 v) {
    out8(0x70, index);
    out8(0x71, v);
}

/* Set mode holds the clock; the forms of the hour; what is kept. */
static bool rtc_formats(void) {
    u8 b = cmos(0x0b), old = cmos(0x50);

    value("%x %x", cmos(0x0d), cmos(0x0a) & 0x70);
    set_cmos(0x0b, (u8)((b & 0x07) | 0x80));
    set_cmos(0x00, 0x30);
    set_cmos(0x02, 0x59);
    set_cmos(0x04, 0x23);
    set_cmos(0x06, 0x03);
    set_cmos(0x07, 0x28);
    set_cmos(0x08, 0x02);
    set_cmos(0x09, 0x24);
    value("%x %x %x", cmos(0), cmos(2), cmos(4));
    value("%x", cmos(0x0b) & 0x86);
    set_cmos(0x0b, b & 0x07);
    set_cmos(0x50, 0x5a);
    value("%x", cmos(0x50));
    set_cmos(0x50, old);
    set_cmos(0x0d, 0); /* read-only */
    value("%x", cmos(0x0d));
    return true;
}

/* Over midnight into the 29th of February, in decimal and 24 hours; the update-ended flag; then the alarm. */
static bool rtc_rollover(void) {
    u8 b = cmos(0x0b);
    u64 end;
    u8 flags = 0;

    set_cmos(0x0b, 0x82);
    set_cmos(0x00, 0x59);
    set_cmos(0x02, 0x59);
    set_cmos(0x04, 0x23);
    set_cmos(0x06, 0x04);
    set_cmos(0x07, 0x28);
    set_cmos(0x08, 0x02);
    set_cmos(0x09, 0x24);
    set_cmos(0x01, 0x01); /* alarm at 00:00:01 */
    set_cmos(0x03, 0x00);
    set_cmos(0x05, 0x00);
    (void)cmos(0x0c);
    set_cmos(0x0b, 0x02);
    end = rdtsc() + ns_to_ticks(2500000000);
    while (!(flags & 0x10) && rdtsc() < end) {
        nap();
        flags = cmos(0x0c);
    }
    value("%x", flags & 0x90);
    end = rdtsc() + ns_to_ticks(2500000000);
    flags = 0;
    while (!(flags & 0x20) && rdtsc() < end) {
        nap();
        flags |= cmos(0x0c);
    }
    value("%x %x %x %x %x %x %x", flags & 0x30, cmos(2), cmos(4), cmos(6), cmos(7), cmos(8), cmos(9));
    set_cmos(0x0b, b);
    return true;
}

static u32 clock_count;
static u8 clock_flags;
static void on_clock(struct trap_frame *frame) {
    (void)frame;
    clock_flags |= cmos(0x0c);
    clock_count++;
    lapic_eoi();
}

/* Line 8, by the interrupt at the end of an update, and by an alarm that does not care for the time; then neither. */
static bool rtc_interrupts(void) {
    static const u8 enabled[] = {0x10, 0x20, 0};
    u8 b = cmos(0x0b) & 0x07;

    set_cmos(0x01, 0xff);
    set_cmos(0x03, 0xff);
    set_cmos(0x05, 0xff);
    interrupt_handler(V_CLOCK, on_clock);
    ioapic_route(acpi.isa_gsi[8], V_CLOCK, 0, lapic_id());
    for (u32 i = 0; i < sizeof(enabled); i++) {
        u64 end = rdtsc() + ns_to_ticks(enabled[i] ? 20000000000 : 1100000000);

        set_cmos(0x0b, b | enabled[i]);
        (void)cmos(0x0c);
        clock_count = clock_flags = 0;
        while (clock_count < 2 && rdtsc() < end) nap();
        value("%u %x", clock_count, clock_flags & (enabled[i] | 0x80));
    }
    set_cmos(0x0b, b);
    ioapic_write(IOAPIC_TABLE(acpi.isa_gsi[8]), IOAPIC_MASKED);
    return true;
}

/* Twelve hours: after 11:59:59 in the morning comes 12 in the afternoon, in decimal and in binary. */
static bool rtc_hours(void) {
    u8 b = cmos(0x0b), century = cmos(0x32);

    for (u32 binary = 0; binary < 2; binary++) {
        u64 end = rdtsc() + ns_to_ticks(20000000000);

        set_cmos(0x0b, binary ? 0x84 : 0x80);
        set_cmos(0x00, binary ? 59 : 0x59);
        set_cmos(0x02, binary ? 59 : 0x59);
        set_cmos(0x04, binary ? 11 : 0x11);
        set_cmos(0x07, 0x05); /* the same in both */
        set_cmos(0x09, 0x09);
        set_cmos(0x32, binary ? 20 : 0x20);
        set_cmos(0x0b, binary ? 0x04 : 0x00);
        while (cmos(2) != 0 && rdtsc() < end) nap();
        value("%x:%x", cmos(4), cmos(2));
    }
    set_cmos(0x32, century);
    set_cmos(0x0b, b);
    return true;
}

/* CPUID's frequencies agree with each other and with the clock. */
static bool clock_leaves(void) {
    u64 hz = tsc_hz();
    struct cpuid_result r;

    if (cpuid(0, 0).eax >= 0x15) {
        r = cpuid(0x15, 0);
        if (hypervisor_is_mullion() && r.ecx && r.eax) {
            u64 said = (u64)r.ecx * r.ebx / r.eax;
            if (said > hz + hz / 100 || said < hz - hz / 100) return false;
        }
    }
    if (hypervisor_is_mullion()) {
        r = cpuid(0x40000010, 0);
        if (r.eax != hz / 1000 || !r.ebx) return false;
    }
    detail("%lu kHz", hz / 1000);
    return true;
}

/* IA-PC HPET Specification 1.0a, 2.3: Register Definitions. */
#define HPET_AT        0xfed00000u
#define HPET_CONFIG    0x10
#define HPET_STATUS    0x20
#define HPET_COUNTER   0xf0
#define HPET_TIMER(n)  (0x100 + 0x20 * (n))
#define HPET_LEVEL     2u
#define HPET_INTERRUPT 4u
#define HPET_PERIODIC  8u
#define HPET_SET       0x40u
#define V_HPET         0x4b

static u64 hpet(u32 reg) { return *(volatile u64 *)(HPET_AT + (u64)reg); }
static void set_hpet(u32 reg, u64 v) { *(volatile u64 *)(HPET_AT + (u64)reg) = v; }

static u32 hpet_ticks;
static void on_hpet(struct trap_frame *frame) {
    (void)frame;
    hpet_ticks++;
    lapic_eoi();
}

static u64 hpet_per_ms(void) { return 1000000000000 / (hpet(0) >> 32); }

/* What it says of itself; a counter that stands still keeps what it is given, one that runs keeps its rate. */
static bool hpet_counter(void) {
    u64 before;

    if (hpet(0) == ~0ull) {
        value("none");
        return true;
    }
    value("%u %u %u", (u32)hpet(0) >> 13 & 7, (u32)hpet(0) >> 8 & 31, (u32)(hpet(0) >> 32 <= 100000000));
    set_hpet(HPET_CONFIG, 0);
    set_hpet(HPET_COUNTER, 0x123456789abcdef0);
    delay_us(10);
    value("%lx", hpet(HPET_COUNTER));
    set_hpet(HPET_COUNTER, 0xfffffff0);
    set_hpet(HPET_CONFIG, 1);
    delay_us(1000);
    before = hpet(HPET_COUNTER) - 0xfffffff0;
    value("%d", before > hpet_per_ms() / 2 && before < hpet_per_ms() * 100);
    set_hpet(HPET_CONFIG, 0);
    before = hpet(HPET_COUNTER);
    delay_us(10);
    value("%d", hpet(HPET_COUNTER) == before);
    return true;
}

/* In the place of the 8254: an edge at pin 2, once; then every millisecond, on a grid. A level with its status. */
static bool hpet_timers(void) {
    u32 routes = (u32)(hpet(HPET_TIMER(2)) >> 32), pin = 31;
    u64 ms, match;

    if (hpet(0) == ~0ull) return true;
    ms = hpet_per_ms();
    interrupt_handler(V_HPET, on_hpet);
    set_hpet(HPET_CONFIG, 2);
    ioapic_route(2, V_HPET, 0, lapic_id());
    wait_count(&hpet_ticks, ~0u, 1); /* an edge that the 8254 left does not count */
    hpet_ticks = 0;
    set_hpet(HPET_COUNTER, 0);
    set_hpet(HPET_TIMER(0), HPET_INTERRUPT);
    set_hpet(HPET_TIMER(0) + 8, ms);
    set_hpet(HPET_CONFIG, 3);
    value("%d", wait_count(&hpet_ticks, 1, 200));
    wait_count(&hpet_ticks, 2, 5);
    value("%u", hpet_ticks);
    set_hpet(HPET_TIMER(0), HPET_INTERRUPT | HPET_PERIODIC | HPET_SET);
    match = hpet(HPET_COUNTER) + ms;
    set_hpet(HPET_TIMER(0) + 8, match);
    set_hpet(HPET_TIMER(0) + 8, ms);
    value("%d", wait_count(&hpet_ticks, 5, 500));
    value("%d", (hpet(HPET_TIMER(0) + 8) - match) % ms == 0);
    set_hpet(HPET_TIMER(0), 0);
    set_hpet(HPET_CONFIG, 0);
    ioapic_route(2, V_HPET, IOAPIC_MASKED, lapic_id());
    while (pin && !(routes >> pin & 1)) pin--;
    set_hpet(HPET_TIMER(2), HPET_LEVEL | HPET_INTERRUPT | (u64)pin << 9);
    value("%d", (hpet(HPET_TIMER(2)) >> 9 & 31) == pin);
    set_hpet(HPET_COUNTER, 0);
    set_hpet(HPET_TIMER(2) + 8, 20 * ms);
    set_hpet(HPET_CONFIG, 1);
    value("%x", (u32)hpet(HPET_STATUS));
    delay_us(40000);
    value("%x", (u32)hpet(HPET_STATUS));
    set_hpet(HPET_STATUS, 4);
    value("%x", (u32)hpet(HPET_STATUS));
    set_hpet(HPET_TIMER(2), 0);
    set_hpet(HPET_CONFIG, 0);
    return true;
}

const struct check timer_checks[] = {
    {"pit-modes", modes},
    {"pit-gate", gated},
    {"pit-latches", latches},
    {"pit-decimal", binary_decimal},
    {"port-61", port61},
    {"rtc-formats", rtc_formats},
    {"rtc-rollover", rtc_rollover},
    {"rtc-interrupts", rtc_interrupts},
    {"rtc-hours", rtc_hours},
    {"clock-leaves", clock_leaves},
    {"hpet-counter", hpet_counter},
    {"hpet-timers", hpet_timers},
    {0},
};
