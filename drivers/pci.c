#include "drivers/pci.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/layout.h"
#include "core/base/spinlock.h"
#include "drivers/clock.h"
#include "drivers/pci_scan.h"
#include "drivers/pci_vf.h"

#define ADDRESS        0xcf8
#define DATA           0xcfc
#define ADDRESS_ENABLE BIT(31)

#define PCIE_START_FLR BIT(15)
#define PCIE_PENDING   BIT(21) /* Transactions Pending, of Device Status */
#define AF_CONTROL     4u
#define AF_STATUS      5u
#define AF_PENDING     1u
#define PM_STATUS      4u
#define PM_STATE       3u /* 0: D0, 3: D3hot */
#define PM_NO_RESET    8u
#define BUS_RESET      0x40u /* of Bridge Control */
/* PCI Express Base 4.0, Conventional Reset and Function Level Reset: waits. */
#define RESET_US 100000u
#define READY_US 1000000u
#define STEP_US  1000u

static const struct host_acpi *machine __attribute__((section(".late")));
static u32 ranges __attribute__((section(".late"))); /* of MCFG that are believed */
static struct spinlock ports;
/* Of each function with virtual ones: how many of these are held, and ALONE while it is reset, or waits for that. */
static u32 holders[PCI_SRIOVS];
#define ALONE 0x80000000u

u64 pci_page(u32 id) {
    for (u32 i = 0; i < ranges; i++) {
        const struct host_mcfg *m = &machine->mcfg[i];

        if (m->segment == id >> 16 && PCI_BUS(id) >= m->first && PCI_BUS(id) <= m->last)
            return m->address + ((u64)(id & 0xffff) << 12);
    }
    return 0;
}

/* Mechanism 1 reaches 256 bytes of the functions of segment 0. */
static bool by_ports(u32 id, u32 offset) { return id <= 0xffff && offset < PCI_CONFIG_BYTES; }

LEAVES_LOCKED static u16 select(u32 id, u32 offset) {
    spin_lock(&ports);
    outl(ADDRESS, (u32)ADDRESS_ENABLE | id << 8 | (offset & ~3u));
    return (u16)(DATA + (offset & 3));
}

static u32 config_read(void *ctx, u32 id, u32 offset, u32 size) {
    u64 page = pci_page(id);
    u32 value = ~0u;

    (void)ctx;
    if (page) {
        const volatile u8 *at = (const volatile u8 *)(page + offset + DIRECT_BASE);

        value = size == 1 ? *at : size == 2 ? *(const volatile u16 *)at : *(const volatile u32 *)at;
    } else if (by_ports(id, offset)) {
        u16 port = select(id, offset);

        value = size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
        spin_unlock(&ports);
    }
    return value;
}

static void config_write(void *ctx, u32 id, u32 offset, u32 size, u32 value) {
    u64 page = pci_page(id);

    (void)ctx;
    if (page) {
        volatile u8 *at = (volatile u8 *)(page + offset + DIRECT_BASE);

        if (size == 1) *at = (u8)value;
        if (size == 2) *(volatile u16 *)at = (u16)value;
        if (size == 4) *(volatile u32 *)at = value;
    } else if (by_ports(id, offset)) {
        u16 port = select(id, offset);

        if (size == 1) outb(port, (u8)value);
        if (size == 2) outw(port, (u16)value);
        if (size == 4) outl(port, value);
        spin_unlock(&ports);
    }
}

const struct pci_access pci_machine = {.read = config_read, .write = config_write};

static u32 get(u32 id, u32 offset, u32 size) { return config_read(NULL, id, offset, size); }
static void put(u32 id, u32 offset, u32 size, u32 value) { config_write(NULL, id, offset, size, value); }

void pci_setup(const struct host_acpi *acpi, bool mapped) {
    machine = acpi;
    ranges = mapped ? acpi->mcfg_count : 0;
}

u32 pci_discover(struct pci_function *out, u32 max) {
    u32 count = 0, held;

    /* More than there is room for is seen by the count. */
    if (ranges == 0) (void)!pci_scan(&pci_machine, 0, 0, 255, out, max, &count);
    for (u32 i = 0; i < ranges; i++) {
        const struct host_mcfg *m = &machine->mcfg[i];

        (void)!pci_scan(&pci_machine, m->segment, m->first, m->last, out, max, &count);
    }
    held = (u32)min_u64(count, max);
    for (u32 i = 0; i < held; i++)
        if (out[i].header == 0)
            put(out[i].id, PCI_REG_COMMAND, 2, get(out[i].id, PCI_REG_COMMAND, 2) & ~PCI_COMMAND_MASTER);
    pci_group(out, held);
    return count;
}

/* --- reset --- */

/* Whoever holds a virtual function waits for the reset of its physical one, and that for all holders; new ones wait
 * behind it. They do not wait for each other: their resets take long, too. */
static void hold(const struct pci_function *f) {
    u32 *word = &holders[f->vfs.number], seen = 0;

    if (f->virtual) {
        while (!__atomic_compare_exchange_n(word, &seen, seen + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
            seen &= ~ALONE;
            cpu_pause();
        }
    } else if (f->vfs.count) {
        while (__atomic_fetch_or(word, ALONE, __ATOMIC_SEQ_CST) & ALONE) cpu_pause();
        while (__atomic_load_n(word, __ATOMIC_SEQ_CST) != ALONE) cpu_pause();
    }
}

static void let_go(const struct pci_function *f) {
    u32 *word = &holders[f->vfs.number];

    if (f->virtual)
        __atomic_fetch_sub(word, 1, __ATOMIC_SEQ_CST);
    else if (f->vfs.count)
        __atomic_fetch_and(word, ~ALONE, __ATOMIC_SEQ_CST);
}

u32 pci_read(const struct pci_function *f, u32 offset, u32 size) {
    u32 value;

    if (f->virtual) hold(f);
    value = get(f->id, offset, size);
    if (f->virtual) let_go(f);
    return value;
}

void pci_write(const struct pci_function *f, u32 offset, u32 size, u32 value) {
    if (f->virtual) hold(f);
    put(f->id, offset, size, value);
    if (f->virtual) let_go(f);
}

/* A reset of a physical function disables its virtual ones (SR-IOV 1.1, FLR That Targets a PF). */
static void restore_virtual(const struct pci_function *f) {
    pci_sriov_enable(&pci_machine, f);
    clock_wait_us(RESET_US);
    for (u32 n = 0; n < f->vfs.count; n++) {
        u32 id = pci_vf_id(&f->vfs, n);

        if (f->vfs.acs) put(id, f->vfs.acs + PCI_ACS_CONTROL, 2, PCI_ACS_FUNCTION);
        put(id, PCI_REG_COMMAND, 2, PCI_COMMAND_INTX_OFF | PCI_COMMAND_MEMORY);
    }
}

/* A virtual function's BARs and memory enable are hardwired, but for the latter in QEMU 7.2. */
void pci_restore(const struct pci_function *f) {
    u32 command = PCI_COMMAND_INTX_OFF | (f->virtual ? PCI_COMMAND_MEMORY : 0);

    put(f->id, PCI_REG_COMMAND, 2, PCI_COMMAND_INTX_OFF); /* a size changes while nothing is decoded */
    for (u32 i = 0; i < f->rbars; i++) put(f->id, f->rbar + PCI_RBAR_CONTROL(i), 4, f->sizes[i]);
    for (u32 i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *bar = &f->bars[i];

        if (!bar->bytes || f->virtual) continue;
        put(f->id, PCI_REG_BAR0 + 4 * i, 4, (u32)bar->base);
        if (bar->wide) put(f->id, PCI_REG_BAR0 + 4 * i + 4, 4, (u32)(bar->base >> 32));
        command |= bar->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    }
    if (f->rom.bytes) put(f->id, PCI_REG_ROM, 4, (u32)f->rom.base);
    /* Payload sizes must fit those of the ports above; redirects keep functions of one device apart. Error messages
     * would go to the firmware, which may answer a fatal one with a reset of the machine: nobody's guest sends them. */
    if (f->pcie && !f->virtual) put(f->id, f->pcie + PCI_PCIE_CONTROL, 2, f->control);
    if (f->control2 && !f->virtual) put(f->id, f->pcie + PCI_PCIE_CONTROL2, 2, f->control2);
    if (f->acs && !f->header) put(f->id, f->acs + PCI_ACS_CONTROL, 2, PCI_ACS_FUNCTION);
    if (f->msi) put(f->id, f->msi + 2u, 2, get(f->id, f->msi + 2u, 2) & ~1u);
    if (f->msix) put(f->id, f->msix + 2u, 2, (get(f->id, f->msix + 2u, 2) & 0x3fffu));
    put(f->id, PCI_REG_COMMAND, 2, command);
}

/* From D3hot back to D0, unless that keeps its state (PCI Power Management 1.2, No_Soft_Reset). */
static bool has_power_reset(const struct pci_function *f) {
    return f->pm && !(get(f->id, f->pm + PM_STATUS, 2) & PM_NO_RESET);
}

const char *pci_reset_way(const struct pci_function *f, const struct pci_function *bridge) {
    return f->flr ? "flr" : has_power_reset(f) ? "power state" : bridge ? "bus" : NULL;
}

/* Transactions Pending: what the function has asked for and not got yet. */
static bool is_pending(const struct pci_function *f) {
    return f->flr_by_af ? get(f->id, f->af + AF_STATUS, 1) & AF_PENDING
                        : get(f->id, f->pcie + PCI_PCIE_CONTROL, 4) & PCIE_PENDING;
}

/* Starts the reset. 0 or -E_UNSUPPORTED. */
static int start_reset(const struct pci_function *f, const struct pci_function *bridge) {
    if (f->flr)
        for (u32 us = 0; us < RESET_US && is_pending(f); us += STEP_US) clock_wait_us(STEP_US);
    if (f->flr_by_af) {
        put(f->id, f->af + AF_CONTROL, 1, 1);
    } else if (f->flr) {
        put(f->id, f->pcie + PCI_PCIE_CONTROL, 2, get(f->id, f->pcie + PCI_PCIE_CONTROL, 2) | PCIE_START_FLR);
    } else if (has_power_reset(f)) {
        u32 status = get(f->id, f->pm + PM_STATUS, 2) & ~PM_STATE;

        put(f->id, f->pm + PM_STATUS, 2, status | 3);
        clock_wait_us(RESET_US / 10);
        put(f->id, f->pm + PM_STATUS, 2, status);
    } else if (bridge) {
        u32 control = get(bridge->id, PCI_REG_BRIDGE_CONTROL, 2);

        put(bridge->id, PCI_REG_BRIDGE_CONTROL, 2, control | BUS_RESET);
        clock_wait_us(2 * STEP_US);
        put(bridge->id, PCI_REG_BRIDGE_CONTROL, 2, control & ~BUS_RESET);
    } else {
        return -E_UNSUPPORTED;
    }
    clock_wait_us(RESET_US);
    return 0;
}

/* All ones: nobody answers. Vendor 1: come again later (Configuration Request Retry Status). A virtual function has no
 * ids; some bits of its status are always 0. */
static bool answers(const struct pci_function *f) {
    u32 vendor = get(f->id, PCI_REG_VENDOR, 4) & 0xffff;

    return vendor != 1 && (f->virtual ? get(f->id, PCI_REG_COMMAND, 4) != ~0u : vendor != 0xffff);
}

int pci_reset(const struct pci_function *f, const struct pci_function *bridge) {
    bool in_use;
    int error;

    hold(f);
    put(f->id, PCI_REG_COMMAND, 2, PCI_COMMAND_INTX_OFF);
    in_use = pci_sriov_in_use(&pci_machine, f);
    error = in_use ? 0 : start_reset(f, bridge);
    /* Each wait twice as long: where a core is another machine's thread, each one adds some time. */
    for (u32 us = STEP_US; !error && !answers(f); us *= 2) {
        if (us > READY_US)
            error = -E_TIMEOUT;
        else
            clock_wait_us(us);
    }
    if (error != -E_TIMEOUT) pci_restore(f);
    if (!error && f->vfs.count && !in_use) restore_virtual(f);
    let_go(f);
    return error ? error : in_use ? PCI_LEFT_OUT : 0;
}
