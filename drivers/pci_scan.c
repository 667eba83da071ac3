#include "drivers/pci_scan.h"

#include "core/base/bits.h"
#include "core/base/errors.h"

#define HEADER_MULTI      0x80u
#define HEADER_BRIDGE     1u
#define MAX_CAPS          64u  /* what fits into 256 bytes; one loop round is enough */
#define MAX_EXT_CAPS      480u /* into 4 KiB */
#define BAR_IO            1u
#define BAR_WIDE          4u /* type field 2 */
#define BAR_TYPE          6u
#define BAR_PREFETCH      8u
#define ROM_ENABLE        1u
#define ROM_ADDRESS       0xfffff800u
#define PCIE_FLR          BIT(28) /* Device Capabilities */
#define PCIE_CONTROL_KEPT 0x7ff0u /* all but what starts a reset, and reports of errors */
#define PCIE_TYPE_ROOT    4u      /* root port */
#define PCIE_TYPE_DOWN    6u      /* downstream port of a switch */
#define PCIE_TYPE_PCI     7u      /* bridge from PCI Express to conventional PCI */
#define PCIE_TYPE_BACK    8u      /* and the other way round */
#define AF_FLR            2u      /* AF Capabilities, byte 3 */
#define MSI_64            BIT(7)  /* Message Control */
#define MSI_MASKABLE      BIT(8)
#define ACS_PORT          0x1du /* source validation, request and completion redirect, upstream forwarding */
#define SRIOV_BYTES       0x40u

static u32 read(const struct pci_access *a, u32 id, u32 offset, u32 size) { return a->read(a->ctx, id, offset, size); }

u32 pci_find_capability(const struct pci_access *a, u32 id, u8 capability) {
    u32 at;

    if (!(read(a, id, PCI_REG_STATUS, 2) & PCI_STATUS_CAPABILITY)) return 0;
    at = read(a, id, PCI_REG_CAPABILITIES, 1) & ~3u;
    for (u32 i = 0; i < MAX_CAPS && at >= 0x40; i++) {
        u32 header = read(a, id, at, 2);

        if ((header & 0xff) == capability) return at;
        at = header >> 8 & 0xfc;
    }
    return 0;
}

u32 pci_find_extended(const struct pci_access *a, u32 id, u16 capability) {
    u32 at = PCI_REG_EXTENDED, bytes = capability == PCI_EXT_SRIOV ? SRIOV_BYTES : 8;

    for (u32 i = 0; i < MAX_EXT_CAPS && at >= PCI_REG_EXTENDED; i++) {
        u32 header = read(a, id, at, 4);

        if (header == 0 || header == ~0u) return 0;
        if ((header & 0xffff) == capability) return at + bytes <= PCI_EXTENDED_BYTES ? at : 0;
        at = header >> 20 & 0xffc;
    }
    return 0;
}

struct pci_bar pci_measure_bar(const struct pci_access *a, u32 id, u32 offset, bool rom) {
    u32 low = read(a, id, offset, 4), high = 0, mask_low, mask_high = ~0u;
    u32 address = rom ? ROM_ADDRESS : low & BAR_IO ? ~3u : ~0xfu;
    struct pci_bar bar = {.io = !rom && (low & BAR_IO)};
    u64 mask;

    bar.wide = !rom && !bar.io && (low & BAR_TYPE) == BAR_WIDE;
    bar.prefetch = !rom && !bar.io && (low & BAR_PREFETCH);
    a->write(a->ctx, id, offset, 4, rom ? ROM_ADDRESS : ~0u);
    mask_low = read(a, id, offset, 4) & address;
    a->write(a->ctx, id, offset, 4, low & ~(rom ? ROM_ENABLE : 0));
    if (bar.wide) {
        high = read(a, id, offset + 4, 4);
        a->write(a->ctx, id, offset + 4, 4, ~0u);
        mask_high = read(a, id, offset + 4, 4);
        a->write(a->ctx, id, offset + 4, 4, high);
    }
    if (bar.io) mask_low |= 0xffff0000u; /* the upper half may be hardwired to zero */
    mask = (u64)mask_high << 32 | mask_low;
    if (mask_low == 0 && (!bar.wide || mask_high == 0)) return (struct pci_bar){0};
    if (bar.io && !(mask_low & 0xffff)) return (struct pci_bar){0};
    bar.base = (u64)high << 32 | (low & address);
    bar.bytes = mask & (0 - mask); /* the lowest address bit that holds */
    return bar;
}

bool pci_first_bar(const struct pci_access *a, u32 id, struct pci_bar *out) {
    if (read(a, id, PCI_REG_VENDOR, 2) == 0xffff || (read(a, id, PCI_REG_HEADER, 1) & 0x7f) == HEADER_BRIDGE)
        return false;
    for (u32 offset = PCI_REG_BAR0; offset < PCI_REG_BAR0 + 4 * PCI_BARS; offset += 4) {
        const u32 low = read(a, id, offset, 4);
        const bool io = low & BAR_IO, wide = !io && (low & BAR_TYPE) == BAR_WIDE;
        const u64 high = wide ? (u64)read(a, id, offset + 4, 4) << 32 : 0;
        const u64 base = high | (low & (io ? 0xfffcu : ~0xfu));

        if (base) {
            *out = (struct pci_bar){.base = base, .io = io, .wide = wide};
            a->write(a->ctx, id, PCI_REG_COMMAND, 2,
                     read(a, id, PCI_REG_COMMAND, 2) | (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY));
            return true;
        }
        if (wide) offset += 4;
    }
    return false;
}

static void measure_bars(const struct pci_access *a, struct pci_function *f) {
    u32 command = read(a, f->id, PCI_REG_COMMAND, 2), bars = f->header == HEADER_BRIDGE ? 2 : PCI_BARS;
    bool bridge = f->header == HEADER_BRIDGE;

    /* A bridge goes on decoding: what is behind it may be in use. */
    if (!bridge) a->write(a->ctx, f->id, PCI_REG_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    for (u32 i = 0; i < bars; i++) {
        f->bars[i] = pci_measure_bar(a, f->id, PCI_REG_BAR0 + 4 * i, false);
        if (f->bars[i].wide) i++;
    }
    if (!bridge) f->rom = pci_measure_bar(a, f->id, PCI_REG_ROM, true);
    if (!f->rom.base) f->rom.bytes = 0; /* which the firmware left out: nobody could read it */
    a->write(a->ctx, f->id, PCI_REG_COMMAND, 2, command);
}

/* A table or pending bits that do not lie in memory of the function: MSI-X is not there. */
static bool msix_fits(const struct pci_function *f, u8 bar, u64 offset, u64 bytes) {
    return bar < PCI_BARS && !f->bars[bar].io && offset + bytes <= f->bars[bar].bytes;
}

/* Sends peer-to-peer requests upward, to the IOMMU. Returns the capability's offset, or 0 if it cannot do it all. */
static u16 enable_acs(const struct pci_access *a, const struct pci_function *f) {
    u32 at = pci_find_extended(a, f->id, PCI_EXT_ACS),
        wanted = f->header == HEADER_BRIDGE ? ACS_PORT : PCI_ACS_FUNCTION;

    if (!at || (read(a, f->id, at + 4, 2) & wanted) != wanted) return 0;
    a->write(a->ctx, f->id, at + PCI_ACS_CONTROL, 2, wanted);
    return (u16)at;
}

/* PCI Express Base 4.0, Resizable BAR Extended Capability: the first entry has the number of all. */
static void read_sizes(const struct pci_access *a, struct pci_function *f) {
    u32 at = pci_find_extended(a, f->id, PCI_EXT_RBAR),
        n = at ? read(a, f->id, at + PCI_RBAR_CONTROL(0), 4) >> 5 & 7 : 0;

    if (n > PCI_BARS || at + PCI_RBAR_CONTROL(n) > PCI_EXTENDED_BYTES) return;
    f->rbar = (u16)at;
    f->rbars = (u8)n;
    for (u32 i = 0; i < n; i++) f->sizes[i] = read(a, f->id, at + PCI_RBAR_CONTROL(i), 4);
}

void pci_read_capabilities(const struct pci_access *a, struct pci_function *f) {
    f->pm = (u16)pci_find_capability(a, f->id, PCI_CAP_PM);
    f->msi = (u16)pci_find_capability(a, f->id, PCI_CAP_MSI);
    f->msix = (u16)pci_find_capability(a, f->id, PCI_CAP_MSIX);
    f->pcie = (u16)pci_find_capability(a, f->id, PCI_CAP_PCIE);
    f->af = (u16)pci_find_capability(a, f->id, PCI_CAP_AF);
    if (f->msi) {
        u32 control = read(a, f->id, f->msi + 2u, 2);

        f->msi_64 = control & MSI_64;
        f->msi_maskable = control & MSI_MASKABLE;
        f->msi_vectors = (u8)(1u << min_u64(control >> 1 & 7, 5));
    }
    if (f->msix) {
        u32 table = read(a, f->id, f->msix + 4u, 4), pba = read(a, f->id, f->msix + 8u, 4);

        f->msix_entries = (u16)((read(a, f->id, f->msix + 2u, 2) & 0x7ff) + 1);
        f->msix_bar = table & 7;
        f->msix_offset = table & ~7u;
        f->msix_pba_bar = pba & 7;
        f->msix_pba_offset = pba & ~7u;
    }
    if (f->pcie) {
        f->pcie_type = read(a, f->id, f->pcie + 2u, 2) >> 4 & 0xf;
        f->flr = read(a, f->id, f->pcie + 4u, 4) & PCIE_FLR;
        f->control = read(a, f->id, f->pcie + PCI_PCIE_CONTROL, 2) & PCIE_CONTROL_KEPT;
        if ((read(a, f->id, f->pcie + 2u, 2) & PCI_PCIE_VERSION) >= 2)
            f->control2 = (u16)read(a, f->id, f->pcie + PCI_PCIE_CONTROL2, 2);
        f->acs = enable_acs(a, f);
        f->sriov = (u16)pci_find_extended(a, f->id, PCI_EXT_SRIOV);
        f->ari = pci_find_extended(a, f->id, PCI_EXT_ARI) != 0;
        read_sizes(a, f);
    }
    if (!f->flr && f->af && (read(a, f->id, f->af + 3u, 1) & AF_FLR)) f->flr = f->flr_by_af = true;
}

void pci_check_msix(struct pci_function *f) {
    if (!msix_fits(f, f->msix_bar, f->msix_offset, 16u * f->msix_entries) ||
        !msix_fits(f, f->msix_pba_bar, f->msix_pba_offset, (f->msix_entries + 63u) / 64 * 8))
        f->msix = f->msix_entries = f->msix_bar = 0;
}

static void read_function(const struct pci_access *a, u32 id, struct pci_function *f) {
    u32 ids = read(a, id, PCI_REG_VENDOR, 4), kind = read(a, id, PCI_REG_HEADER, 1), class_code;

    class_code = read(a, id, PCI_REG_REVISION, 4);
    *f = (struct pci_function){.id = id,
                               .vendor = (u16)ids,
                               .device = (u16)(ids >> 16),
                               .class_code = class_code >> 8,
                               .revision = (u8)class_code,
                               .header = kind & 0x7f,
                               .multifunction = kind & HEADER_MULTI,
                               .pin = (u8)read(a, id, PCI_REG_PIN, 1)};
    if (f->header > HEADER_BRIDGE) return; /* CardBus: nothing of it is used */
    if (f->header == HEADER_BRIDGE) {
        u32 buses = read(a, id, PCI_REG_BUSES, 4);

        f->secondary = (u8)(buses >> 8);
        f->subordinate = (u8)(buses >> 16);
    } else {
        u32 subsystem = read(a, id, PCI_REG_SUBSYSTEM, 4);

        f->subsystem_vendor = (u16)subsystem;
        f->subsystem = (u16)(subsystem >> 16);
    }
    pci_read_capabilities(a, f);
    measure_bars(a, f);
    pci_check_msix(f);
}

/* PCI Express Base 4.0, Alternative Routing-ID Interpretation: device 0 has all numbers of its bus, and function 0 need
 * not say that there are more. Where the port above forwards to its first eight only, the others read ones. */
static bool has_whole_bus(const struct pci_access *a, u32 id) {
    return PCI_DEVICE(id) == 0 && pci_find_capability(a, id, PCI_CAP_PCIE) && pci_find_extended(a, id, PCI_EXT_ARI);
}

int pci_scan(const struct pci_access *a, u32 segment, u32 first, u32 last, struct pci_function *out, u32 max,
             u32 *count) {
    for (u32 slot = first * 32; slot < (last + 1) * 32; slot++) {
        u32 functions = 1, begin = segment << 16 | slot << 3;

        for (u32 i = 0; i < functions; i++) {
            u32 id = begin | i, ids = read(a, id, PCI_REG_VENDOR, 4);

            if ((ids & 0xffff) == 0xffff || ids == 0) continue;
            if (i == 0 && (read(a, id, PCI_REG_HEADER, 1) & HEADER_MULTI)) functions = 8;
            if (i == 0 && has_whole_bus(a, id)) functions = 256;
            if (*count < max) read_function(a, id, &out[*count]);
            ++*count;
        }
        if (functions == 256) slot += 31;
    }
    return *count > max ? -E_NOMEM : 0;
}

/* --- groups --- */

const struct pci_function *pci_parent(const struct pci_function *functions, u32 count, const struct pci_function *f) {
    for (u32 i = 0; i < count; i++)
        if (functions[i].header == HEADER_BRIDGE && functions[i].secondary && functions[i].id >> 16 == f->id >> 16 &&
            functions[i].secondary == PCI_BUS(f->id) && &functions[i] != f)
            return &functions[i];
    return NULL;
}

/* Only a port with access control sends what comes from below upward, to the IOMMU. */
static bool isolates(const struct pci_function *port) {
    return port->acs && (port->pcie_type == PCIE_TYPE_ROOT || port->pcie_type == PCIE_TYPE_DOWN);
}

static bool join(struct pci_function *a, struct pci_function *b) {
    if (a->group == b->group) return false;
    a->group = b->group = (u32)min_u64(a->group, b->group);
    return true;
}

/* Below a port is one device, whose functions may have any number (ARI). */
static bool same_device(const struct pci_function *a, const struct pci_function *b, const struct pci_function *above) {
    return a->id >> 3 == b->id >> 3 || (above && a->ari && b->ari && a->id >> 8 == b->id >> 8);
}

static bool together(const struct pci_function *functions, u32 count, const struct pci_function *a,
                     const struct pci_function *b) {
    const struct pci_function *above = pci_parent(functions, count, a);

    /* SR-IOV 1.1, Access Control Services: functions that reach virtual ones by themselves must have ACS. */
    if (same_device(a, b, above) && !a->virtual && !b->virtual && (!a->acs || !b->acs)) return true;
    if (a->id >> 3 == b->id >> 3 && !a->virtual && !b->virtual) return false;
    if (above == b) return !isolates(b);
    /* One bus below a bridge: the bridge speaks for all, and they hear each other. */
    return above && PCI_BUS(a->id) == PCI_BUS(b->id) && a->id >> 16 == b->id >> 16 && !isolates(above);
}

/* What is behind conventional PCI has no requester id of its own. PCI Express to PCI/PCI-X Bridge 1.0: a
 * bridge from PCI Express takes its secondary bus, device 0, function 0; any other its own identity. The uppermost one
 * counts. Bus numbers that make a circle end it. */
static u32 requester(const struct pci_function *functions, u32 count, const struct pci_function *f) {
    u32 id = f->id;

    for (u32 depth = 0; depth < count && !f->virtual; depth++) {
        f = pci_parent(functions, count, f);
        if (!f) break;
        if (f->pcie && f->pcie_type == PCIE_TYPE_PCI)
            id = PCI_ID(f->id >> 16, f->secondary, 0, 0);
        else if (!f->pcie || f->pcie_type == PCIE_TYPE_BACK)
            id = f->id;
    }
    return id;
}

void pci_group(struct pci_function *functions, u32 count) {
    bool moved = true;

    for (u32 i = 0; i < count; i++) {
        functions[i].group = functions[i].id;
        functions[i].requester = requester(functions, count, &functions[i]);
    }
    while (moved) { /* a group number only ever falls: this ends */
        moved = false;
        for (u32 i = 0; i < count; i++)
            for (u32 k = 0; k < count; k++)
                if (i != k && together(functions, count, &functions[i], &functions[k]))
                    moved |= join(&functions[i], &functions[k]);
    }
}
