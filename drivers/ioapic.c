#include "drivers/ioapic.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/layout.h"

#define SELECT          0x00
#define WINDOW          0x10
#define REG_VERSION     1
#define REG_REDIRECTION 0x10
#define MASKED          0x10000
#define ACTIVE_LOW      0x2000
#define LEVEL           0x8000

static const struct host_acpi *machine __attribute__((section(".late")));

static u32 read(const struct host_ioapic *io, u32 reg) {
    *(volatile u32 *)(io->address + DIRECT_BASE + SELECT) = reg;
    return *(volatile u32 *)(io->address + DIRECT_BASE + WINDOW);
}

static void write(const struct host_ioapic *io, u32 reg, u32 value) {
    *(volatile u32 *)(io->address + DIRECT_BASE + SELECT) = reg;
    *(volatile u32 *)(io->address + DIRECT_BASE + WINDOW) = value;
}

static u32 pins(const struct host_ioapic *io) { return (read(io, REG_VERSION) >> 16 & 0xff) + 1; }

/* The 8259 pair has no part to play, but firmware leaves its timer line open, at the vector of the double fault, and
 * not every machine asks LINT0 before it delivers that (Bochs does not). Moved to vectors that mean nothing, since a
 * masked 8259 can still give spurious interrupts, and masked. 8259A data sheet: ICW1 to ICW4, OCW1. */
static void silence_8259(void) {
    static const struct {
        u16 port;
        u8 value;
    } steps[] = {{0x20, 0x11}, {0xa0, 0x11}, {0x21, 0x20}, {0xa1, 0x28}, {0x21, 0x04},
                 {0xa1, 0x02}, {0x21, 0x01}, {0xa1, 0x01}, {0x21, 0xff}, {0xa1, 0xff}};

    for (u32 i = 0; i < ARRAY_SIZE(steps); i++) outb(steps[i].port, steps[i].value);
}

void ioapic_setup(const struct host_acpi *acpi) {
    machine = acpi;
    silence_8259();
    for (u32 i = 0; i < acpi->ioapic_count; i++)
        for (u32 pin = 0; pin < pins(&acpi->ioapics[i]); pin++)
            write(&acpi->ioapics[i], REG_REDIRECTION + 2 * pin, MASKED);
}

int ioapic_route_isa(u32 line, u8 vector, u32 apic_id) {
    const struct isa_override *isa = &machine->isa[line];

    for (u32 i = 0; i < machine->ioapic_count; i++) {
        const struct host_ioapic *io = &machine->ioapics[i];
        u32 pin = isa->gsi - io->gsi_base;

        if (isa->gsi < io->gsi_base || pin >= pins(io)) continue;
        write(io, REG_REDIRECTION + 2 * pin, MASKED);
        write(io, REG_REDIRECTION + 2 * pin + 1, apic_id << 24);
        write(io, REG_REDIRECTION + 2 * pin, vector | (isa->active_low ? ACTIVE_LOW : 0) | (isa->level ? LEVEL : 0));
        return 0;
    }
    return -E_NOENT;
}
