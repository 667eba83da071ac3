#include "test/fake/pci.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/layout.h"
#include "core/hostspace.h"
#include "drivers/clock.h"
#include "drivers/ioapic.h"
#include "test/fake/hardware.h"

#define STATUS_CAPABILITY 0x10
#define FAKE_REGISTERS    0xfed90000ull

struct fake_iommu fake_iommu;
struct fake_line fake_lines[FAKE_LINES];
char fake_done[4096];
u8 fake_ports[32];
static struct fake_function functions[FAKE_FUNCTIONS];
static u32 count, address;
static void *(*take_shared)(u64 bytes);

static void done(const char *what, u32 id) {
    size_t at = strlen(fake_done);

    if (at < sizeof(fake_done) - 40) snprintf(fake_done + at, sizeof(fake_done) - at, "%s %x, ", what, id);
}
void fake_forget(void) { fake_done[0] = 0; }

/* --- functions --- */

static void store(struct fake_function *f, u32 offset, u32 size, u32 value) {
    memcpy(f->config + offset, &value, size);
}
u32 fake_pci_get(const struct fake_function *f, u32 offset, u32 size) {
    u32 value = 0;

    memcpy(&value, f->config + offset, size);
    return value;
}

struct fake_function *fake_pci_at(u32 id) {
    for (u32 i = 0; i < count; i++)
        if (functions[i].id == id) return &functions[i];
    return NULL;
}

struct fake_function *fake_pci_add(u32 id, u16 vendor, u16 device, u32 class_code) {
    struct fake_function *f = &functions[count++];

    if (count > FAKE_FUNCTIONS) abort();
    *f = (struct fake_function){.id = id};
    store(f, PCI_REG_VENDOR, 4, vendor | (u32)device << 16);
    store(f, PCI_REG_REVISION, 4, class_code << 8 | 3);
    store(f, PCI_REG_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    store(f, PCI_REG_SUBSYSTEM, 4, 0x11001af4);
    store(f, PCI_REG_PIN, 1, 1);
    if (PCI_FUNCTION(id)) fake_pci_at(id & ~7u)->config[PCI_REG_HEADER] |= 0x80;
    return f;
}

static u32 bar_at(u32 number) { return number == PCI_BARS ? PCI_REG_ROM : PCI_REG_BAR0 + 4 * number; }

void fake_pci_bar(struct fake_function *f, u32 number, u64 bytes, u32 low, u64 base) {
    u64 mask = ~(bytes - 1);

    f->holds[number] = (u32)mask | (number == PCI_BARS);
    store(f, bar_at(number), 4, (u32)base | low);
    if ((low & 7) == 4) {
        f->holds[number + 1] = (u32)(mask >> 32);
        store(f, bar_at(number + 1), 4, (u32)(base >> 32));
    }
}

static u32 capability(struct fake_function *f, u8 kind, u32 bytes) {
    u32 at = 0x40, link = PCI_REG_CAPABILITIES;

    while (f->config[link]) {
        link = f->config[link];
        at = link + 0x20;
        link++;
    }
    if (at + bytes > PCI_CONFIG_BYTES) abort();
    f->config[link] = (u8)at;
    f->config[at] = kind;
    f->config[PCI_REG_STATUS] |= STATUS_CAPABILITY;
    return at;
}

void fake_pci_pm(struct fake_function *f) { f->pm = capability(f, PCI_CAP_PM, 8); }
void fake_pci_flr(struct fake_function *f) {
    f->pcie = capability(f, PCI_CAP_PCIE, 60);
    store(f, f->pcie + 2, 2, 2);
    store(f, f->pcie + 4, 4, 1u << 28);
}
void fake_pci_express(struct fake_function *f, u16 control, u16 control2) {
    f->pcie = capability(f, PCI_CAP_PCIE, 60);
    store(f, f->pcie + 2, 2, 2);
    store(f, f->pcie + PCI_PCIE_CONTROL, 2, control);
    store(f, f->pcie + PCI_PCIE_CONTROL2, 2, control2);
}
void fake_pci_msi(struct fake_function *f, bool wide, bool maskable) {
    f->msi = capability(f, PCI_CAP_MSI, 24);
    store(f, f->msi + 2, 2, (wide ? 0x80 : 0) | (maskable ? 0x100 : 0));
}
void fake_pci_msix(struct fake_function *f, u32 entries, u32 bar, u32 offset) {
    f->msix = capability(f, PCI_CAP_MSIX, 12);
    store(f, f->msix + 2, 2, entries - 1);
    store(f, f->msix + 4, 4, offset | bar);
    store(f, f->msix + 8, 4, (offset + 16 * entries) | bar);
}
void fake_pci_bridge(struct fake_function *f, u8 secondary, u8 subordinate) {
    f->config[PCI_REG_HEADER] |= 1;
    store(f, PCI_REG_BUSES, 4, (u32)subordinate << 16 | (u32)secondary << 8);
}

/* --- what a reset does --- */

static void reset(struct fake_function *f) {
    done("reset", f->id);
    f->resets++;
    store(f, PCI_REG_COMMAND, 2, 0);
    for (u32 i = 0; i <= PCI_BARS; i++)
        store(f, bar_at(i), 4, fake_pci_get(f, bar_at(i), 4) & (i == PCI_BARS ? 0 : 0xf) & ~f->holds[i]);
    if (f->pcie) store(f, f->pcie + PCI_PCIE_CONTROL, 2, 0x2810), store(f, f->pcie + PCI_PCIE_CONTROL2, 2, 0);
    if (f->msi) store(f, f->msi + 2, 2, fake_pci_get(f, f->msi + 2, 2) & ~1u);
    if (f->msix) store(f, f->msix + 2, 2, fake_pci_get(f, f->msix + 2, 2) & 0x3fff);
    if (f->dies) f->dead = true;
}

static void write_special(struct fake_function *f, u32 offset, u32 size, u32 value) {
    if (f->config[PCI_REG_HEADER] & 1) {
        if (offset == PCI_REG_BRIDGE_CONTROL && (value & 0x40))
            for (u32 i = 0; i < count; i++)
                if (PCI_BUS(functions[i].id) == f->config[PCI_REG_BUSES + 1]) reset(&functions[i]);
        return;
    }
    if (offset == PCI_REG_COMMAND) store(f, offset, size, value & 0x547);
    for (u32 i = 0; i <= PCI_BARS; i++)
        if (offset == bar_at(i) && size == 4)
            store(f, offset, 4, (fake_pci_get(f, offset, 4) & ~f->holds[i]) | (value & f->holds[i]));
    if (f->pcie && (offset == f->pcie + PCI_PCIE_CONTROL || offset == f->pcie + PCI_PCIE_CONTROL2)) {
        store(f, offset, 2, value & 0x7fff);
        if (offset == f->pcie + PCI_PCIE_CONTROL && (value & 0x8000)) reset(f);
    }
    if (f->pm && offset == f->pm + 4) {
        if (f->config[offset] == 3 && !(value & 3)) reset(f);
        f->config[offset] = (f->config[offset] & 8) | (value & 3); /* No_Soft_Reset */
    }
    if (f->msi && offset >= f->msi + 2 && offset < f->msi + 24) store(f, offset, size, value);
    if (f->msix && offset == f->msix + 2) store(f, offset, 2, (value & 0xc000) | (fake_pci_get(f, offset, 2) & 0x3fff));
}

u32 fake_port_in(u16 port, u32 size) {
    u32 offset = (address & 0xfc) + (port & 3);
    const struct fake_function *f = fake_pci_at(address >> 8 & 0xffff);

    if (port >= FAKE_PORTS && port + size <= FAKE_PORTS + sizeof(fake_ports)) {
        u32 value = 0;

        memcpy(&value, &fake_ports[port - FAKE_PORTS], size);
        return value;
    }
    if ((port & ~3u) != 0xcfc || !(address & 0x80000000) || offset + size > PCI_CONFIG_BYTES) abort();
    return (f && !f->dead ? fake_pci_get(f, offset, size) : ~0u) & (0xffffffffu >> (32 - 8 * size));
}

void fake_port_out(u16 port, u32 size, u32 value) {
    struct fake_function *f = fake_pci_at(address >> 8 & 0xffff);

    if (port == 0xcf8 && size == 4)
        address = value;
    else if (port >= FAKE_PORTS && port + size <= FAKE_PORTS + sizeof(fake_ports))
        memcpy(&fake_ports[port - FAKE_PORTS], &value, size);
    else if ((port & ~3u) != 0xcfc || !(address & 0x80000000))
        abort();
    else if (f && !f->dead)
        write_special(f, (address & 0xfc) + (port & 3), size, value);
}

void clock_wait_us(u64 us) { fake_hw.tsc += us * (FAKE_TSC_HZ / 1000000); }

/* --- IOMMU --- */

/* Whoever uses the IOMMU has its memory and its registers mapped. */
static void touch(void) {
    struct pt pt = {.format = &pt_host, .mem = &hostspace_mem, .max_leaf = 3, .root = {fake_hw.cr3}};

    if (!(pt_lookup(&pt, (u64)fake_iommu.shared).rights & RIGHT_WRITE) ||
        !(pt_lookup(&pt, FAKE_REGISTERS + DIRECT_BASE).rights & RIGHT_WRITE)) {
        fprintf(stderr, "the IOMMU is used by a core that has not mapped it\n");
        abort();
    }
    ++*fake_iommu.shared;
}

static int iommu_setup(const void *acpi, const struct iommu_env *env, char *summary, size_t summary_size, char *why,
                       size_t why_size) {
    u8 first, last;

    if (!acpi || env->x2apic) abort();
    fmt(why, why_size, "the fake refuses");
    if (fake_iommu.refuse) return -E_UNSUPPORTED;
    take_shared = env->take;
    fake_iommu.shared = env->take(PAGE_4K);
    env->registers(FAKE_REGISTERS, PAGE_4K);
    (void)env->buses(0, &first, &last);
    fmt(summary, summary_size, "pretends");
    touch();
    return 0;
}
static const struct pt_format *iommu_tables(void) { return &pt_vtd; }
static u32 iommu_max_leaf(void) { return fake_iommu.max_leaf ? fake_iommu.max_leaf : 3; }
static bool iommu_remaps(void) { return !fake_iommu.no_remapping; }
static u32 iommu_max_apic(void) { return fake_iommu.max_apic ? fake_iommu.max_apic : ~0u; }
static int iommu_prepare(u32 id, u32 interrupts) {
    (void)interrupts;
    (void)take_shared(PAGE_4K); /* as both drivers do: a context table, a remapping table */
    return fake_iommu.refuse_prepare && id == fake_iommu.refuse_prepare ? fake_iommu.refusal : 0;
}
static void iommu_publish(void) { fake_iommu.published++; }

static u32 attachment(u32 id) {
    u32 i = 0;

    while (i < fake_iommu.attached_count && fake_iommu.attached[i].id != id) i++;
    return i;
}

static int iommu_attach(u32 id, u32 domain, hpa_t root) {
    u32 i = attachment(id);

    touch();
    if (fake_iommu.on_attach) fake_iommu.on_attach(id);
    if (fake_iommu.refuse_attach && id == fake_iommu.refuse_attach) return -E_TIMEOUT;
    if (i < fake_iommu.attached_count || i == FAKE_FUNCTIONS) abort();
    fake_iommu.attached[i].id = id;
    fake_iommu.attached[i].domain = domain;
    fake_iommu.attached[i].root = root;
    fake_iommu.attached_count++;
    done("attach", id);
    return 0;
}

static int iommu_detach(u32 id) {
    u32 i = attachment(id), kept = 0;

    touch();
    fake_iommu.detaches++;
    if (fake_iommu.on_detach) fake_iommu.on_detach(id);
    if (fake_iommu.stuck && id == fake_iommu.stuck) return -E_TIMEOUT;
    if (i < fake_iommu.attached_count) {
        fake_iommu.attached[i] = fake_iommu.attached[--fake_iommu.attached_count];
        done("detach", id);
    }
    for (u32 k = 0; k < fake_iommu.route_count; k++)
        if (fake_iommu.routes[k].id != id) fake_iommu.routes[kept++] = fake_iommu.routes[k];
    fake_iommu.route_count = kept;
    return 0;
}

struct fake_route *fake_route_of(u32 id, u32 index) {
    for (u32 i = 0; i < fake_iommu.route_count; i++)
        if (fake_iommu.routes[i].id == id && fake_iommu.routes[i].index == index) return &fake_iommu.routes[i];
    return NULL;
}

static int iommu_route(u32 id, u32 index, u8 vector, u32 apic_id, bool level, struct msi_message *out) {
    struct fake_route *r = fake_route_of(id, index);

    touch();
    if (fake_iommu.no_route) return fake_iommu.no_route;
    if (!r) r = &fake_iommu.routes[fake_iommu.route_count++];
    if (fake_iommu.route_count > ARRAY_SIZE(fake_iommu.routes)) abort();
    *r = (struct fake_route){id, index, apic_id, r->times + 1, vector, level};
    *out = (struct msi_message){0xfee00010 | (u64)(r - fake_iommu.routes) << 5, 0};
    return 0;
}
static int iommu_unroute(u32 id, u32 index) { return (void)id, (void)index, 0; }
static int iommu_ioapic_id(u32 acpi_id, u32 *id) {
    *id = 0xf000 + acpi_id;
    return 0;
}
static bool iommu_fault(struct iommu_fault *out) {
    touch();
    if (fake_iommu.faults_told == fake_iommu.fault_count) return false;
    *out = fake_iommu.faults[fake_iommu.faults_told++ % ARRAY_SIZE(fake_iommu.faults)];
    return true;
}

const struct iommu_ops vtd_ops = {
    .name = "iommu",
    .setup = iommu_setup,
    .tables = iommu_tables,
    .max_leaf = iommu_max_leaf,
    .remaps_interrupts = iommu_remaps,
    .max_apic = iommu_max_apic,
    .prepare = iommu_prepare,
    .publish = iommu_publish,
    .attach = iommu_attach,
    .detach = iommu_detach,
    .route = iommu_route,
    .unroute = iommu_unroute,
    .ioapic_id = iommu_ioapic_id,
    .fault = iommu_fault,
};
const struct iommu_ops amdvi_ops = {.name = "absent"};

u8 fake_pci_deliver(u64 to, u32 data, u32 *apic) {
    u32 handle = to >> 5 & 0x7fff;

    if (fake_iommu.present && !fake_iommu.no_remapping) {
        if (!(to & 0x10) || data || handle >= fake_iommu.route_count) return 0;
        *apic = fake_iommu.routes[handle].apic;
        return fake_iommu.routes[handle].vector;
    }
    *apic = to >> 12 & 0xff;
    return (u8)data;
}

/* --- I/O APIC --- */

static const struct iommu_ops *remapping;

int ioapic_set_remapping(const struct iommu_ops *ops) {
    remapping = ops->remaps_interrupts() ? ops : NULL;
    for (u32 i = 0; i < FAKE_LINES; i++) fake_lines[i].routed = false; /* dead until it is routed again */
    return 0;
}

int ioapic_route(const struct isa_override *line, u8 vector, u32 apic_id) {
    struct msi_message m;

    if (line->gsi >= FAKE_LINES) return -E_NOENT;
    if (remapping && remapping->route(0xf001, line->gsi, vector, apic_id, line->level, &m)) return -E_TIMEOUT;
    fake_lines[line->gsi] = (struct fake_line){vector, apic_id, true, false, fake_lines[line->gsi].changes + 1, 0};
    return 0;
}

int ioapic_route_isa(u32 line, u8 vector, u32 apic_id) {
    const struct isa_override isa = {line, false, false};

    fake_hw.routed_to = apic_id;
    return ioapic_route(&isa, vector, apic_id);
}

int ioapic_mask(const struct isa_override *line, bool masked) {
    if (line->gsi >= FAKE_LINES) return -E_NOENT;
    if (fake_lines[line->gsi].masked != masked) fake_lines[line->gsi].changes++;
    fake_lines[line->gsi].masked = masked;
    if (masked) fake_lines[line->gsi].masked_at = fake_hw.eois;
    return 0;
}
