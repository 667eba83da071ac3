/* The devices on the board. */
#include "core/base/bits.h"
#include "guests/probe/probe.h"

#define UART_VECTOR  0x61
#define RTC_VECTOR   0x62
#define NAP_VECTOR   0x42
#define NOBODYS_PORT 0x5a0 /* no device, and in no range that PCI firmware hands out */

static bool nobodys_port(void) {
    out8(NOBODYS_PORT, 0x12);
    detail("0x%x 0x%x 0x%x", in8(NOBODYS_PORT), in16(NOBODYS_PORT), in32(NOBODYS_PORT));
    return in8(NOBODYS_PORT) == 0xff && in16(NOBODYS_PORT) == 0xffff && in32(NOBODYS_PORT) == 0xffffffff;
}

static bool pci_config(void) {
    u32 id, again;

    out32(0xcf8, 0x80000000);
    again = in32(0xcf8);
    id = in32(0xcfc);
    detail("00:00.0 is 0x%08x", id);
    return again == 0x80000000 && (!hypervisor_is_mullion() || id == 0xffffffff);
}

static bool acpi_tables(void) {
    detail("%u cpus, ioapic 0x%lx, pm timer 0x%x, pm1a 0x%x, s5 type %u, sci %u", acpi.cpu_count, acpi.ioapic,
           acpi.pm_timer, acpi.pm1a_control, acpi.s5_type, acpi.sci);
    return acpi.found && acpi.ioapic && acpi.pm_timer && acpi.pm1a_control &&
           (!hypervisor_is_mullion() || acpi.has_reset);
}

static bool pit_channel2(void) {
    u64 start, passed, end;
    u32 tries = 0;

    /* Done at once, again and again: it does not count. Once only, the emulator had been asleep. */
    do {
        start = rdtsc();
        pit_channel2_start(PIT_HZ / 100);
    } while (pit_channel2_done() && ++tries < 10);
    if (tries == 10) {
        detail("done at once");
        return false;
    }
    end = start + ns_to_ticks(2000000000);
    while (!pit_channel2_done() && rdtsc() < end) cpu_pause();
    passed = ticks_to_ns(rdtsc() - start) / 1000;
    detail("10 ms took %lu us", passed);
    return passed > 9000 && passed < 1000000;
}

/* Latched counts of channel 0 go down. */
static u32 pit_latched(void) {
    u32 low;

    out8(0x43, 0x00);
    low = in8(0x40);
    return low | (u32)in8(0x40) << 8;
}
static bool pit_channel0(void) {
    u32 a, b;

    pit_channel0_rate(0xffff);
    a = pit_latched();
    delay_us(2000);
    b = pit_latched();
    detail("0x%x then 0x%x", a, b);
    return (u16)(a - b) > 2000; /* it may have started anew in between */
}

static u8 cmos(u8 index) {
    out8(0x70, index);
    return in8(0x71);
}

static u32 naps;
static void on_nap(struct trap_frame *frame) {
    (void)frame;
    naps++;
    lapic_eoi();
}

/* A millisecond in HLT: an emulator that counts instructions skips it. */
void nap(void) {
    u32 before = naps;

    interrupt_handler(NAP_VECTOR, on_nap);
    timer_setup(NAP_VECTOR);
    timer_at(rdtsc() + ns_to_ticks(1000000));
    while (naps == before) wait_for_interrupt();
}

static bool next_second(u64 *at) {
    u64 end = rdtsc() + ns_to_ticks(3000000000);
    u8 old = cmos(0);

    while (rdtsc() < end) {
        if (!(cmos(0x0a) & 0x80) && cmos(0) != old) {
            *at = rdtsc();
            return true;
        }
        nap();
    }
    return false;
}

static bool rtc_ticks(void) {
    u64 a = 0, b = 0, ms;

    if (!next_second(&a) || !next_second(&b)) {
        detail("seconds stand still");
        return false;
    }
    ms = ticks_to_ns(b - a) / 1000000;
    detail("a second of %lu ms, century and year 0x%02x 0x%02x", ms, cmos(0x32), cmos(9));
    return ms > 800 && ms < 1500;
}

static u32 rtc_interrupts;
static void on_rtc(struct trap_frame *frame) {
    (void)frame;
    (void)cmos(0x0c); /* reading register C ends it */
    rtc_interrupts++;
    lapic_eoi();
}

static bool rtc_periodic(void) {
    u8 b = cmos(0x0b);
    bool ok;

    rtc_interrupts = 0;
    interrupt_handler(RTC_VECTOR, on_rtc);
    ioapic_route(acpi.isa_gsi[8], RTC_VECTOR, 0, lapic_id());
    out8(0x70, 0x0a);
    out8(0x71, 0x26); /* 1024 Hz. MC146818A datasheet, Register A */
    out8(0x70, 0x0b);
    out8(0x71, b | 0x40);
    (void)cmos(0x0c);
    ok = wait_count(&rtc_interrupts, 5, 2000);
    out8(0x70, 0x0b);
    out8(0x71, b);
    (void)cmos(0x0c);
    ioapic_write(IOAPIC_TABLE(acpi.isa_gsi[8]), IOAPIC_MASKED);
    detail("%u", rtc_interrupts);
    return ok;
}

/* A reading, and when it was: again where the emulator fell asleep in between. */
static u32 pm_timer_read(u64 *at) {
    u64 before;
    u32 now;

    for (u32 tries = 0; tries < 1000; tries++) {
        before = rdtsc();
        now = in32(acpi.pm_timer);
        *at = rdtsc();
        if (*at - before < ns_to_ticks(1000000)) break;
    }
    return now;
}

static bool pm_timer(void) {
    u32 mask = acpi.pm_timer_32bit ? ~0u : 0xffffffu, begin, last, now, back = 0;
    u64 start, read_at, us, hz;

    begin = last = pm_timer_read(&start);
    do {
        cpu_pause();
        now = pm_timer_read(&read_at);
        if (((now - last) & mask) > mask / 2) back++;
        last = now;
    } while (read_at - start < ns_to_ticks(50000000));
    us = ticks_to_ns(read_at - start) / 1000;
    hz = (u64)((last - begin) & mask) * 1000000 / max_u64(us, 1);
    detail("%lu kHz, %u steps back", hz / 1000, back);
    return back == 0 && hz > 3000000 && hz < 4200000;
}

static bool uart_loopback(void) {
    u8 mcr = in8(COM1 + 4), got, modem;
    bool ready;

    console_drain();
    out8(COM1 + 2, 0x07);
    out8(COM1 + 4, 0x1f); /* loopback, all outputs on: all inputs read as on */
    modem = in8(COM1 + 6);
    out8(COM1, 0xa5);
    delay_us(2000);
    ready = in8(COM1 + 5) & 1;
    got = in8(COM1);
    out8(COM1 + 4, mcr);
    out8(COM1 + 7, 0x3c);
    detail("modem 0x%x, %s 0x%x", modem, ready ? "got" : "nothing,", got);
    return (modem & 0xf0) == 0xf0 && ready && got == 0xa5 && in8(COM1 + 7) == 0x3c;
}

static u32 uart_interrupts;
static u8 uart_cause;
static void on_uart(struct trap_frame *frame) {
    (void)frame;
    uart_cause = in8(COM1 + 2); /* reading it ends a THRE interrupt */
    uart_interrupts++;
    lapic_eoi();
}

static bool uart_thre(void) {
    bool ok;

    console_drain();
    uart_interrupts = 0;
    interrupt_handler(UART_VECTOR, on_uart);
    ioapic_route(acpi.isa_gsi[4], UART_VECTOR, 0, lapic_id());
    out8(COM1 + 1, 0x02);
    ok = wait_count(&uart_interrupts, 1, 2000);
    out8(COM1 + 1, 0);
    ioapic_write(IOAPIC_TABLE(acpi.isa_gsi[4]), IOAPIC_MASKED);
    detail("%u, iir 0x%x", uart_interrupts, uart_cause);
    return ok && (uart_cause & 0x0f) == 0x02 && (uart_cause & 0xc0) == 0xc0;
}

static bool pic_registers(void) {
    u8 old = in8(0x21);
    bool ok;

    out8(0x21, 0xa5);
    ok = in8(0x21) == 0xa5;
    out8(0x21, old);
    return ok && in8(0x21) == old;
}

static bool lapic_registers(void) {
    u32 version = lapic_read(LAPIC_VERSION);

    detail("id %u version 0x%x base 0x%lx", lapic_id(), version, rdmsr(MSR_APIC_BASE));
    return (version & 0xff) >= 0x10 && (version >> 16 & 0xff) >= 3 &&
           (rdmsr(MSR_APIC_BASE) & (APIC_BASE_BSP | APIC_BASE_ENABLE)) == (APIC_BASE_BSP | APIC_BASE_ENABLE);
}

const struct check device_checks[] = {
    {"port-unassigned", nobodys_port},
    {"pci-config", pci_config},
    {"acpi-tables", acpi_tables},
    {"lapic-registers", lapic_registers},
    {"pic-registers", pic_registers},
    {"pit-channel0", pit_channel0},
    {"pit-channel2", pit_channel2},
    {"rtc-ticks", rtc_ticks},
    {"rtc-periodic", rtc_periodic},
    {"pm-timer", pm_timer},
    {"uart-loopback", uart_loopback},
    {"uart-thre", uart_thre},
    {0},
};
