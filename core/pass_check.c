/* What the firmware may have got wrong about the BARs of a function that is given away: stage 2 maps their pages and
 * the bitmap opens their ports, whatever else answers there. Boot core, before start. */
#include "core/pass_impl.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/machine.h"
#include "drivers/uart.h"

#define BARS_ALL    (PCI_BARS + 1)
#define LAPIC_SPACE 0xfee00000u /* SDM Vol 3A, Message Address Register Format: all of it takes interrupts */
#define UART_PORTS  8u
#define PM_TIMER    4u
#define PM_CONTROL  2u
#define HPET_BYTES  KIB(1)
#define PORTS       0x10000u

struct part {
    u64 at, bytes;
    const char *name;
};

static const char *overlaps(const struct part *parts, u32 count, u64 at, u64 bytes) {
    for (u32 i = 0; i < count; i++)
        if (parts[i].bytes && ranges_overlap(at, bytes, parts[i].at, parts[i].bytes)) return parts[i].name;
    return NULL;
}

/* What of the machine's own lies in these whole pages, or NULL. */
static const char *machine_memory(u64 at, u64 bytes) {
    const struct host_acpi *acpi = machine.boot->acpi;
    const struct frames *memory = machine.boot->memory;
    const struct part fixed[] = {
        {LAPIC_SPACE, MIB(1), "the local APIC"},
        {acpi->lapic_address, PAGE_4K, "the local APIC"},
        {acpi->hpet_address, acpi->hpet_address ? HPET_BYTES : 0, "the HPET"},
    };
    const char *what = overlaps(fixed, ARRAY_SIZE(fixed), at, bytes);

    for (u32 i = 0; i < memory->count && !what; i++)
        what = overlaps(&(struct part){memory->ranges[i].base, memory->ranges[i].bytes, "memory"}, 1, at, bytes);
    for (u32 i = 0; i < acpi->ioapic_count && !what; i++)
        what = overlaps(&(struct part){acpi->ioapics[i].address, PAGE_4K, "an I/O APIC"}, 1, at, bytes);
    for (u32 i = 0; i < acpi->mcfg_count && !what; i++) {
        const struct host_mcfg *m = &acpi->mcfg[i];
        const struct part space = {m->address + ((u64)m->first << 20), (u64)(m->last - m->first + 1) << 20,
                                   "PCI configuration space"};

        what = overlaps(&space, 1, at, bytes);
    }
    for (u32 i = 0; i < pass.register_count && !what; i++)
        what = overlaps(&(struct part){pass.registers[i].base, pass.registers[i].bytes, "an IOMMU"}, 1, at, bytes);
    return what;
}

static const char *machine_ports(u64 at, u64 bytes) {
    const struct host_acpi *acpi = machine.boot->acpi;
    const struct part parts[] = {
        {acpi->pm_timer_port, acpi->pm_timer_port ? PM_TIMER : 0, "the PM timer"},
        {acpi->pm1a_control, acpi->pm1a_control ? PM_CONTROL : 0, "the power management"},
        {acpi->pm1b_control, acpi->pm1b_control ? PM_CONTROL : 0, "the power management"},
        {uart_port(), uart_port() ? UART_PORTS : 0, "the console's UART"},
    };

    return overlaps(parts, ARRAY_SIZE(parts), at, bytes);
}

/* The function of another owner, or of none, whose memory or registers share a page with this BAR, or whose ports are
 * the same: the page cannot be given away. */
static const struct pci_function *shares(const struct pci_function *f, bool io, u64 at, u64 bytes, u8 owner) {
    for (u32 i = 0; i < pass.count; i++)
        for (u32 k = 0; k < BARS_ALL; k++) {
            const struct pci_bar *other = pass_bar(&pass.functions[i], k);

            if (&pass.functions[i] != f && pass.owner[i] != owner && other->bytes && other->io == io &&
                ranges_overlap(at, bytes, other->base, other->bytes))
                return &pass.functions[i];
        }
    return NULL;
}

static int wrong(const struct pci_function *f, u32 bar, char *why, size_t why_size, const char *what,
                 const char *where) {
    char name[16];

    pci_name(name, sizeof(name), f->id);
    fmt(why, why_size, "%s: its BAR %u %s%s; update or set up the firmware", name, bar, what, where);
    return -E_INVAL;
}

static int check_bar(const struct pci_function *f, u32 bar, u8 owner, char *why, size_t why_size) {
    const struct pci_bar *b = pass_bar(f, bar);
    u64 first = b->io ? b->base : align_down(b->base, PAGE_4K), end = b->base + b->bytes;
    const struct pci_function *other;
    const char *what;
    char name[16];

    if (!b->bytes || (bar == VPCI_ROM && !b->base)) return 0;
    if (b->io && b->base < PASS_IO_LOWEST) return 0; /* stays closed */
    if (b->io && end > PORTS) return wrong(f, bar, why, why_size, "lies at ports that there are not", "");
    if (!b->base) return wrong(f, bar, why, why_size, "has no address", "");
    if (end < b->base || end > BIT(52)) return wrong(f, bar, why, why_size, "lies beyond all addresses", "");
    if (!b->io) end = align_up(end, PAGE_4K);
    what = b->io ? machine_ports(first, end - first) : machine_memory(first, end - first);
    if (what) return wrong(f, bar, why, why_size, "lies over ", what);
    other = shares(f, b->io, first, end - first, owner);
    if (other) {
        pci_name(name, sizeof(name), other->id);
        return wrong(f, bar, why, why_size, b->io ? "lies over ports of " : "shares a page of 4 KiB with ", name);
    }
    return first == b->base ? 0 : wrong(f, bar, why, why_size, "does not begin at a page of 4 KiB", "");
}

int pass_check_bars(const struct partition *p, u8 owner, char *why, size_t why_size) {
    for (u32 i = 0; i < p->pci->count; i++)
        for (u32 bar = 0; bar < BARS_ALL; bar++) {
            int error = check_bar(p->pci->functions[i].real, bar, owner, why, why_size);

            if (error) return error;
        }
    return 0;
}
