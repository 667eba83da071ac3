/* A partition's PCI bus as a guest finds it: names every function, moves BARs and looks where the registers
 * answer, writes to functions that are not there and to extended space, and drives two small devices: QEMU's edu and
 * Intel's 82540EM. Prints one line per check. Options: dma (edu), rounds= interrupts of each kind (20), fresh (82540EM:
 * nothing is left of an earlier run), brief: leaves functions alone that are not there, loop: resets the partition once
 * all is done, key: waits for one before that; without loop, when half of the messages have come. */
#include "core/base/bits.h"
#include "core/base/pci.h"
#include "core/base/string.h"
#include "guests/lib/guest.h"

#define ADDRESS     0xcf8
#define DATA        0xcfc
#define ECAM        0xfe900000u /* its address in the partition's MCFG */
#define FREE_SPACE  0xd8000000u /* of the PCI window: BARs are moved here */
#define FREE_PORTS  0x9000u
#define LINE_VECTOR 0x60
#define MSI_VECTOR  0x61
#define WAIT_US     2000000
#define EDU         0x11e81234u
#define E1000       0x100e8086u
#define NE2000      0x802910ecu

#define EDU_ID      0x00
#define EDU_INVERT  0x04
#define EDU_RAISE   0x60
#define EDU_ACK     0x64
#define EDU_SOURCE  0x80
#define EDU_TARGET  0x88
#define EDU_COUNT   0x90
#define EDU_COMMAND 0x98 /* 1: go, 2: towards memory */
#define EDU_BUFFER  0x40000u
/* 82540EM manual: Interrupt Cause Read, Set; Interrupt Mask Set, Clear; Receive Address Low 0. */
#define E1000_ICR   0xc0
#define E1000_ICS   0xc8
#define E1000_IMS   0xd0
#define E1000_IMC   0xd8
#define E1000_RAL   0x5400
#define E1000_CAUSE 4u         /* link status change */
#define LEFT        0x12345678 /* what is written to a register that holds it */

static u32 checks, failures;
static volatile u32 line_count, msi_count, line_lazy;
static u64 registers; /* of the device that interrupts */
static u32 line_pin;
static bool is_edu;

static void check(const char *name, u32 slot, bool good, u64 detail) {
    checks++;
    if (!good) failures++;
    print("pci: %s %02x %s 0x%llx\n", name, slot, good ? "ok" : "FAIL", (unsigned long long)detail);
}

/* --- configuration space --- */

static void select(u32 bus, u32 slot, u32 offset) {
    out32(ADDRESS, 0x80000000u | (offset & 0xf00) << 16 | bus << 16 | slot << 11 | (offset & 0xfc));
}
static u32 get(u32 slot, u32 offset) {
    select(0, slot, offset);
    return in32(DATA);
}
static void put(u32 slot, u32 offset, u32 value) {
    select(0, slot, offset);
    out32(DATA, value);
}
static void command(u32 slot, u32 value) {
    select(0, slot, PCI_REG_COMMAND);
    out16(DATA, (u16)value);
}
static u32 ecam(u32 slot, u32 offset) { return mmio_read32(ECAM + (slot << 15) + offset); }

static u32 capability(u32 slot, u32 id) {
    u32 at = get(slot, PCI_REG_CAPABILITIES) & 0xfc;

    if (!(get(slot, PCI_REG_COMMAND) >> 16 & PCI_STATUS_CAPABILITY)) return 0;
    for (u32 i = 0; i < 48 && at; i++) {
        if ((get(slot, at) & 0xff) == id) return at;
        at = get(slot, at) >> 8 & 0xfc;
    }
    return 0;
}

static u32 bar_size(u32 slot, u32 bar) {
    u32 at = PCI_REG_BAR0 + 4 * bar, old = get(slot, at), mask;

    put(slot, at, ~0u);
    mask = get(slot, at) & (old & 1 ? ~3u : ~0xfu);
    put(slot, at, old);
    return mask & (0 - mask);
}

static void show(u32 slot) {
    print("pci: found 00:%02x.0 %04x:%04x class %06x pin %u line %u\n", slot, get(slot, 0) & 0xffff, get(slot, 0) >> 16,
          get(slot, PCI_REG_REVISION) >> 8, get(slot, PCI_REG_LINE) >> 8 & 0xff, get(slot, PCI_REG_LINE) & 0xff);
    for (u32 bar = 0; slot && bar < PCI_BARS; bar++)
        if (bar_size(slot, bar))
            print("pci: bar %u of %02x: 0x%x, 0x%x bytes\n", bar, slot, get(slot, PCI_REG_BAR0 + 4 * bar),
                  bar_size(slot, bar));
}

/* --- what every function must stand --- */

/* Every double word of a header, and of what follows. */
static u64 digest(u32 slot) {
    u64 sum = 0;

    for (u32 at = 0; at < PCI_CONFIG_BYTES; at += 4) sum = sum * 31 + get(slot, at);
    return sum;
}

/* Functions that are not there read ones, by each way, and writes to them change nobody. */
static void check_foreign(u32 mine) {
    u64 before[32], seen = 0;
    u32 changed = 0;

    for (u32 slot = 0; slot < 32; slot++) before[slot] = digest(slot);
    for (u32 bus = 0; bus < 256; bus += bus < 4 ? 1 : 63)
        for (u32 function = 0; function < 256; function++) {
            if (bus == 0 && (function & 7) == 0 && (mine & BIT(function >> 3))) continue;
            for (u32 at = 0; at < 0x40; at += 4) {
                out32(ADDRESS, 0x80000000u | bus << 16 | function << 8 | at);
                out32(DATA, 0xffffffff);
                if (in32(DATA) != ~0u) seen++;
                out32(DATA, 0);
            }
        }
    for (u32 slot = 0; slot < 32; slot++) changed += digest(slot) != before[slot];
    check("foreign-reads", 0, seen == 0, seen);
    check("foreign-writes", 0, changed == 0, changed);
}

static void check_ecam(u32 slot) {
    u32 different = 0;

    for (u32 at = 0; at < PCI_EXTENDED_BYTES; at += 4) different += ecam(slot, at) != get(slot, at);
    check("ecam", slot, different == 0, different);
}

/* The list of extended capabilities, and what their registers say. */
static void show_extended(u32 slot) {
    u32 header = get(slot, PCI_REG_EXTENDED), at = PCI_REG_EXTENDED;

    for (u32 i = 0; i < PCI_EXTENDED_BYTES / 8 && header; i++) {
        print("pci: extended %02x at 0x%x: %04x v%u\n", slot, at, header & 0xffff, header >> 16 & 15);
        if ((header & 0xffff) == PCI_EXT_SERIAL)
            print("pci: serial %02x %08x%08x\n", slot, get(slot, at + 8), get(slot, at + 4));
        at = header >> 20;
        header = at ? get(slot, at) : 0;
    }
}

/* Extended space can be written, by both ways, and stays what it is but for masks and severity of errors, which are
 * put back. Conventional PCI has none: ones. */
static void check_extended(u32 slot) {
    u32 express = capability(slot, PCI_CAP_PCIE), wrong = 0;

    for (u32 at = PCI_REG_EXTENDED; at < PCI_EXTENDED_BYTES; at += 4) {
        u32 old = get(slot, at), first = get(slot, PCI_REG_EXTENDED) & 0xffff, offset = at - PCI_REG_EXTENDED;
        bool kept = express && first == PCI_EXT_AER && (offset == 8 || offset == 0xc || offset == 0x14);

        put(slot, at, ~old);
        wrong += (get(slot, at) != old) != kept || (!express && old != ~0u);
        mmio_write32(ECAM + (slot << 15) + at, old);
        wrong += get(slot, at) != old;
    }
    if (express) show_extended(slot);
    check("extended", slot, wrong == 0, wrong);
}

/* A register of BAR 0 that holds what is written, or its complement. */
static bool answers(u64 base) {
    u32 at = is_edu ? EDU_INVERT : E1000_RAL, value = LEFT, got;

    mmio_write32(base + at, value);
    got = mmio_read32(base + at);
    return got == (is_edu ? ~value : value);
}

/* After a reset the card's address is what its EEPROM says. */
static void check_fresh(u32 slot) {
    u32 address = mmio_read32((get(slot, PCI_REG_BAR0) & ~0xfu) + E1000_RAL);

    check("fresh", slot, address && address != LEFT, address);
}

/* The guest's BAR moves: the device answers there, and nowhere else. */
static void check_move(u32 slot) {
    u32 old = get(slot, PCI_REG_BAR0) & ~0xfu;
    bool here = answers(old), off, there, gone, back;

    put(slot, PCI_REG_BAR0, FREE_SPACE);
    there = answers(FREE_SPACE);
    gone = !answers(old);
    command(slot, 0);
    off = !answers(FREE_SPACE);
    put(slot, PCI_REG_BAR0, old);
    command(slot, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    back = answers(old) && !answers(FREE_SPACE);
    check("move", slot, here && there && gone && off && back, here | there << 1 | gone << 2 | off << 3 | back << 4);
    for (u32 i = 0; i < 200; i++) { /* no tables may run out */
        put(slot, PCI_REG_BAR0, FREE_SPACE + (i % 4 << 24));
        if (!answers(FREE_SPACE + (i % 4 << 24))) there = false;
    }
    put(slot, PCI_REG_BAR0, old);
    check("move-often", slot, there && answers(old), there);
}

/* Over the guest's own memory: memory stays what it is, or the device appears; nothing else is touched. */
static void check_over_memory(u32 slot) {
    static volatile u32 page[1024] __attribute__((aligned(4096)));
    u32 old = get(slot, PCI_REG_BAR0), changed = 0;

    for (u32 i = 0; i < ARRAY_SIZE(page); i++) page[i] = i * 7;
    put(slot, PCI_REG_BAR0, (u32)(u64)page);
    put(slot, PCI_REG_BAR0, 0);
    put(slot, PCI_REG_BAR0, ECAM);
    put(slot, PCI_REG_BAR0, 0xfee00000);
    put(slot, PCI_REG_BAR0, old);
    for (u32 i = 0; i < ARRAY_SIZE(page); i++) changed += page[i] != i * 7;
    check("over-memory", slot, changed == 0 && answers(old & ~0xfu) && lapic_id() == this_cpu()->apic_id, changed);
}

/* An I/O BAR moves: an NE2000's Boundary Pointer (register 3 of page 0), which holds what is written, answers there. */
static void check_port_move(u32 slot) {
    u32 bar = PCI_REG_BAR0;
    u16 old, new = FREE_PORTS;
    bool here, there, off, back;

    while (bar < PCI_REG_BAR0 + 4 * PCI_BARS && !(get(slot, bar) & 1)) bar += 4;
    old = get(slot, bar) & 0xfffc;
    command(slot, PCI_COMMAND_IO);
    out8(old, 0x21); /* stopped, page 0 */
    out8(old + 3, 0x4c);
    here = in8(old + 3) == 0x4c && in8(new + 3) == 0xff;
    put(slot, bar, new);
    there = in8(new + 3) == 0x4c;
    out8(new + 3, 0x4d);
    there &= in8(new + 3) == 0x4d;
    command(slot, 0);
    off = in8(new + 3) == 0xff;
    put(slot, bar, old);
    command(slot, PCI_COMMAND_IO);
    back = in8(old + 3) == 0x4d && in8(new + 3) == 0xff;
    check("port-move", slot, here && there && off && back, here | there << 1 | off << 2 | back << 3);
}

/* --- interrupts --- */

static u32 raised(void) { return is_edu ? mmio_read32(registers + 0x24) : mmio_read32(registers + E1000_ICR); }
static void raise_irq(void) { mmio_write32(registers + (is_edu ? EDU_RAISE : E1000_ICS), is_edu ? 1 : E1000_CAUSE); }
static void quieten(void) {
    if (is_edu)
        mmio_write32(registers + EDU_ACK, 1);
    else
        (void)raised(); /* reading clears */
}

/* Every second time it leaves the line up: the interrupt must come again. */
static void on_line(struct trap_frame *frame) {
    (void)frame;
    if (++line_count % 1000 == 0) { /* nobody ends it: give up */
        print("pci: line storm, 0x%x\n", raised());
        ioapic_route(line_pin, LINE_VECTOR, IOAPIC_MASKED, lapic_id());
    }
    if (line_lazy)
        line_lazy = 0;
    else
        quieten();
    lapic_eoi();
}

static void on_msi(struct trap_frame *frame) {
    (void)frame;
    msi_count++;
    if (is_edu) quieten();
    lapic_eoi();
}

static bool wait_until(volatile u32 *count, u32 wanted) {
    u64 end = rdtsc() + ns_to_ticks((u64)WAIT_US * 1000);

    interrupts_on();
    while (*count < wanted && rdtsc() < end) cpu_pause();
    delay_us(200); /* one too many would show now */
    interrupts_off();
    return *count == wanted;
}

static void check_line(u32 slot, u32 rounds) {
    u32 pin = line_pin = 16 + slot % 8, wanted = 0;
    bool good = true;

    if (!(get(slot, PCI_REG_LINE) >> 8 & 0xff)) {
        print("pci: line %02x none\n", slot);
        return;
    }
    quieten();
    if (!is_edu) mmio_write32(registers + E1000_IMS, E1000_CAUSE);
    interrupt_handler(LINE_VECTOR, on_line);
    ioapic_route(pin, LINE_VECTOR, IOAPIC_LEVEL | IOAPIC_LOW, lapic_id());
    for (u32 i = 0; i < rounds && good; i++) {
        line_lazy = i & 1;
        wanted += 1 + line_lazy;
        raise_irq();
        good = wait_until(&line_count, wanted);
    }
    check("line", slot, good, line_count);
    /* Raised while it is masked, it comes when the mask goes. */
    ioapic_route(pin, LINE_VECTOR, IOAPIC_LEVEL | IOAPIC_LOW | IOAPIC_MASKED, lapic_id());
    raise_irq();
    good = wait_until(&line_count, wanted);
    ioapic_route(pin, LINE_VECTOR, IOAPIC_LEVEL | IOAPIC_LOW, lapic_id());
    check("line-masked", slot, wait_until(&line_count, wanted + 1) && good, line_count);
    if (!is_edu) mmio_write32(registers + E1000_IMC, ~0u);
    ioapic_route(pin, LINE_VECTOR, IOAPIC_MASKED, lapic_id());
}

static void wait_for_key(void) {
    print("pci: waits for a key\n");
    while (!(in8(COM1 + 5) & 1)) delay_us(1000);
}

static void check_msi(u32 slot, u32 rounds) {
    u32 at = capability(slot, PCI_CAP_MSI), control = at ? get(slot, at) : 0, data = at + (control & BIT(23) ? 12 : 8);
    bool good = true;

    if (!at) {
        print("pci: msi %02x none\n", slot);
        return;
    }
    interrupt_handler(MSI_VECTOR, on_msi);
    put(slot, at + 4, 0xfee00000u | lapic_id() << 12);
    if (control & BIT(23)) put(slot, at + 8, 0);
    put(slot, data, MSI_VECTOR);
    put(slot, at, control | BIT(16));
    for (u32 i = 0; i < rounds && good; i++) {
        if (i == rounds / 2 && option_given("key") && !option_given("loop")) wait_for_key();
        raise_irq();
        good = wait_until(&msi_count, i + 1);
    }
    check("msi", slot, good, msi_count);
    put(slot, at, control);
    raise_irq();
    check("msi-off", slot, wait_until(&msi_count, rounds), msi_count);
    quieten();
}

/* --- DMA --- */

static bool edu_copy(u64 from, u64 to, u32 bytes, u32 direction) {
    u64 end = rdtsc() + ns_to_ticks((u64)5 * WAIT_US * 1000);

    *(volatile u64 *)(registers + EDU_SOURCE) = from;
    *(volatile u64 *)(registers + EDU_TARGET) = to;
    *(volatile u64 *)(registers + EDU_COUNT) = bytes;
    *(volatile u64 *)(registers + EDU_COMMAND) = 1 | direction;
    while ((*(volatile u64 *)(registers + EDU_COMMAND) & 1) && rdtsc() < end) cpu_pause();
    return !(*(volatile u64 *)(registers + EDU_COMMAND) & 1);
}

static void check_dma(u32 slot) {
    static volatile u32 out[512] __attribute__((aligned(4096))), in[512] __attribute__((aligned(4096)));
    u32 different = 0;
    bool done;

    for (u32 i = 0; i < ARRAY_SIZE(out); i++) out[i] = 0x9e3779b9u * (i + 1);
    done = edu_copy((u64)out, EDU_BUFFER, sizeof(out), 0) && edu_copy(EDU_BUFFER, (u64)in, sizeof(in), 2);
    for (u32 i = 0; i < ARRAY_SIZE(out); i++) different += out[i] != in[i];
    check("dma", slot, done && different == 0, different);
}

void guest_main(void) {
    u32 mine = 0, rounds = (u32)option_number("rounds", 20);

    for (u32 slot = 0; slot < 32; slot++)
        if (get(slot, 0) != ~0u) {
            mine |= BIT(slot);
            show(slot);
        }
    check("host-bridge", 0, get(0, PCI_REG_REVISION) >> 16 == 0x0600, get(0, PCI_REG_REVISION));
    if (!option_given("brief")) check_foreign(mine);
    for (u32 slot = 0; slot < 32; slot++)
        if (mine & BIT(slot)) {
            check_ecam(slot);
            if (slot) check_extended(slot);
        }
    for (u32 slot = 1; slot < 32; slot++) {
        u32 ids = get(slot, 0);

        if (ids == NE2000) check_port_move(slot);
        if (ids != EDU && ids != E1000) continue;
        is_edu = ids == EDU;
        line_count = msi_count = 0;
        command(slot, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
        if (!is_edu && option_given("fresh")) check_fresh(slot);
        check_move(slot);
        check_over_memory(slot);
        registers = get(slot, PCI_REG_BAR0) & ~0xfu;
        check_line(slot, rounds);
        check_msi(slot, rounds);
        if (is_edu && option_given("dma")) check_dma(slot);
    }
    print("pci: done checks %u failed %u\n", checks, failures);
    if (option_given("loop") && option_given("key")) wait_for_key();
    if (option_given("loop")) power_reset();
}
