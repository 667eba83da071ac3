#include "drivers/ioapic.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/layout.h"
#include "core/base/spinlock.h"

#define SELECT          0x00
#define WINDOW          0x10
#define REG_VERSION     1
#define REG_REDIRECTION 0x10
#define MASKED          0x10000
#define LOGICAL         0x800
#define ACTIVE_LOW      0x2000
#define LEVEL           0x8000

static const struct host_acpi *machine __attribute__((section(".late")));
static const struct iommu_ops *remapping __attribute__((section(".late")));
static u32 requesters[ACPI_MAX_IOAPICS] __attribute__((section(".late")));
static struct spinlock lock; /* the window is two registers */

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

int ioapic_set_remapping(const struct iommu_ops *ops) {
    int rc = 0;

    if (!ops->remaps_interrupts()) return 0;
    for (u32 i = 0; i < machine->ioapic_count && rc == 0; i++) {
        rc = ops->ioapic_id(machine->ioapics[i].id, &requesters[i]);
        if (rc == 0) rc = ops->prepare(requesters[i], pins(&machine->ioapics[i]));
    }
    if (rc == 0) remapping = ops;
    return rc;
}

/* The I/O APIC that has this line, or NULL. */
static const struct host_ioapic *find(u32 gsi, u32 *pin) {
    for (u32 i = 0; i < machine->ioapic_count; i++) {
        *pin = gsi - machine->ioapics[i].gsi_base;
        if (gsi >= machine->ioapics[i].gsi_base && *pin < pins(&machine->ioapics[i])) return &machine->ioapics[i];
    }
    return NULL;
}

static int route(const struct isa_override *line, u8 vector, u32 apic_id) {
    struct msi_message m = {0xfee00000 | (u64)apic_id << 12, vector};
    u32 pin;
    const struct host_ioapic *io = find(line->gsi, &pin);
    int rc = !io ? -E_NOENT : !remapping && apic_id >= 0xff ? -E_RANGE : 0;

    if (io && remapping)
        rc = remapping->route(requesters[io - machine->ioapics], pin, vector, apic_id, line->level, &m);
    if (rc) return rc;
    /* The entry that sends this message. VT-d 4.1, I/OxAPIC Programming; the rest as in the data sheet. */
    write(io, REG_REDIRECTION + 2 * pin, MASKED);
    write(io, REG_REDIRECTION + 2 * pin + 1, (u32)bits_get(m.address, 4, 16) << 16);
    write(io, REG_REDIRECTION + 2 * pin,
          (m.data & 0x7ff) | (m.address & BIT(2) ? LOGICAL : 0) | (line->active_low ? ACTIVE_LOW : 0) |
              (line->level ? LEVEL : 0));
    return 0;
}

int ioapic_route(const struct isa_override *line, u8 vector, u32 apic_id) {
    int rc;

    spin_lock(&lock);
    rc = route(line, vector, apic_id);
    spin_unlock(&lock);
    return rc;
}

int ioapic_route_isa(u32 line, u8 vector, u32 apic_id) { return ioapic_route(&machine->isa[line], vector, apic_id); }

/* A level line counts as edge for a moment when it is closed: that ends the interrupt in the I/O APIC, whether or not
 * an EOI with its vector came by (with interrupt remapping the entry may hold another number). One that is still up
 * when the line is opened comes again. */
int ioapic_mask(const struct isa_override *line, bool masked) {
    const struct host_ioapic *io;
    u32 pin, entry;

    spin_lock(&lock);
    io = find(line->gsi, &pin);
    if (io) {
        entry = (read(io, REG_REDIRECTION + 2 * pin) & ~(u32)(MASKED | LEVEL)) | (masked ? MASKED : 0);
        if (masked) write(io, REG_REDIRECTION + 2 * pin, entry);
        write(io, REG_REDIRECTION + 2 * pin, entry | (line->level ? LEVEL : 0));
    }
    spin_unlock(&lock);
    return io ? 0 : -E_NOENT;
}
