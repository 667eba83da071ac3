/* What lies behind the header: the capabilities that a guest sees, MSI and MSI-X among them, and the registers that
 * only the device's own driver knows. See vpci.h. Nothing here writes to the machine.
 *
 * A capability that is not known is taken out of the list, and reads 0 up to where the next one begins, since nobody
 * knows how long it is. Vendor-specific capabilities and registers outside of all capabilities can be read (virtio,
 * e1000e and xhci do so) and not written. */
#include "core/vdev/vpci_impl.h"

#include "core/base/bits.h"

/* What a double word is. The capability's place is in struct pci_function. */
enum { RULE_ZERO, RULE_REAL, RULE_PM, RULE_MSI, RULE_PCIE, RULE_MSIX, RULE_AF };
#define RULE_START 0x80 /* a capability begins here: byte 1 is the link to the next */

/* PCI Power Management 1.2, Power Management Capabilities: no PME, no D1 and D2; PMCSR: No_Soft_Reset, since the real
 * state stays D0. */
#define PM_SHOWN         0x0037ffffu
#define PM_D3            3u
#define PM_NO_SOFT_RESET 8u

/* PCI, MSI Capability and MSI-X Capability: message control, in the upper half of the first double word. */
#define MSI_ENABLE    BIT(16)
#define MSI_64        BIT(23)
#define MSI_MASKABLE  BIT(24)
#define MSIX_MASK     BIT(30)
#define MSIX_ENABLE   BIT(31)
#define MSIX_ENTRY    16u
#define VECTOR_MASKED 1u

/* PCI Express Base 4.0, PCI Express Capability Structure: on the root bus an endpoint has no link, so it is shown as a
 * root complex integrated endpoint. Device capabilities: payload, extended tag, role-based errors. */
#define PCIE_TYPE_INTEGRATED 0x00900000u
#define PCIE_SHOWN           0x000fffffu
#define PCIE_DEVICE_SHOWN    0x00008027u
#define PCIE_DEVICE_FLR      BIT(28)
#define PCIE_CONTROL_RESET   0x2810 /* relaxed ordering, no snoop, read requests of 512 bytes */
#define PCIE_CONTROL_STORED  0x7fffu
#define PCIE_CONTROL_FLR     BIT(15)
#define PCIE_STATUS_SHOWN    0x00300000u /* transactions pending, AUX power */

/* PCI, Advanced Features Capability. */
#define AF_SHOWN   0x03ffffffu
#define AF_FLR     BIT(25)
#define AF_CONTROL BIT(0)
#define AF_PENDING BIT(8)

/* Virtio 1.1, PCI Device Layout: the window into the BARs is not for guests. */
#define VIRTIO_VENDOR     0x1af4
#define VIRTIO_CAP_WINDOW 5

/* --- which capabilities there are --- */

/* The rule of a capability and how many double words it has. */
static u8 judge(const struct vpci *p, u32 f, u32 at, u8 *dwords) {
    const struct pci_function *real = p->functions[f].real;
    u32 header = vpci_real(p, f, at), id = header & 0xff;

    if (id == PCI_CAP_PM && at == real->pm) return *dwords = 2, RULE_PM;
    if (id == PCI_CAP_MSI && at == real->msi)
        return *dwords = (u8)(3 + real->msi_64 + 2 * real->msi_maskable), RULE_MSI;
    if (id == PCI_CAP_PCIE && at == real->pcie) return *dwords = (header >> 16 & 15) < 2 ? 5 : 15, RULE_PCIE;
    if (id == PCI_CAP_MSIX && at == real->msix) return *dwords = 3, RULE_MSIX;
    if (id == PCI_CAP_AF && at == real->af) return *dwords = 2, RULE_AF;
    *dwords = 1;
    if (id == PCI_CAP_VENDOR && !(real->vendor == VIRTIO_VENDOR && header >> 24 == VIRTIO_CAP_WINDOW)) return RULE_REAL;
    *dwords = 0xff;
    return RULE_ZERO;
}

void vpci_cap_scan(struct vpci *p, u32 f) {
    struct vpci_function *fn = &p->functions[f];
    u8 dwords[PCI_CONFIG_BYTES / 4], rule = RULE_REAL, left = 0;
    u32 at = 0, tail = PCI_REG_CAPABILITIES / 4;

    for (u32 i = 0; i < ARRAY_SIZE(dwords); i++) fn->rules[i] = fn->links[i] = 0;
    if (vpci_real(p, f, PCI_REG_COMMAND) >> 16 & PCI_STATUS_CAPABILITY)
        at = vpci_real(p, f, PCI_REG_CAPABILITIES) & 0xfc;
    /* A list that comes back to itself ends there. */
    while (at >= 0x40 && !fn->rules[at / 4]) {
        fn->rules[at / 4] = RULE_START | judge(p, f, at, &dwords[at / 4]);
        if (fn->rules[at / 4] != (RULE_START | RULE_ZERO)) {
            fn->links[tail] = (u8)at;
            tail = at / 4;
        }
        at = vpci_real(p, f, at) >> 8 & 0xfc;
    }
    for (u32 i = 0x40 / 4; i < ARRAY_SIZE(dwords); i++) {
        if (fn->rules[i]) {
            rule = fn->rules[i] & (RULE_START - 1);
            left = dwords[i];
        } else {
            fn->rules[i] = left ? rule : RULE_REAL;
        }
        if (left) left--;
    }
}

void vpci_cap_reset(struct vpci_function *fn) {
    fn->power = 0;
    fn->control = PCIE_CONTROL_RESET;
    fn->msi_enabled = fn->msix_enabled = fn->msix_masked = false;
    fn->msi = (struct vpci_vector){0};
    for (u32 i = 0; i < fn->real->msix_entries; i++) fn->msix[i] = (struct vpci_vector){.masked = true};
}

/* --- interrupts --- */

bool vpci_vector_open(const struct vpci_function *f, u32 i) {
    if (f->msix_enabled) return !f->msix_masked && i < f->real->msix_entries && !f->msix[i].masked;
    return f->msi_enabled && i == 0 && !f->msi.masked;
}

void vpci_tell_vectors(const struct vpci *p, u32 f) {
    u32 count = p->functions[f].real->msix_entries;

    for (u32 i = 0; i < (count ? count : 1); i++) p->host->vector(p->host->ctx, f, i);
}

/* The double words of an MSI-X entry, which are those of MSI as well: address, its upper half, data, mask. */
static u32 read_vector(const struct vpci_vector *v, u32 word) {
    switch (word) {
    case 0: return (u32)v->message.address;
    case 1: return (u32)(v->message.address >> 32);
    case 2: return v->message.data;
    default: return v->masked ? VECTOR_MASKED : 0;
    }
}

static void write_vector(struct vpci *p, u32 f, u32 i, struct vpci_vector *v, u32 word, u32 value) {
    bool before = vpci_vector_open(&p->functions[f], i);
    u64 *address = &v->message.address;

    switch (word) {
    case 0: *address = (*address & ~(u64)0xffffffff) | (value & ~3u); break;
    case 1: *address = (u32)*address | (u64)value << 32; break;
    case 2: v->message.data = value; break;
    default: v->masked = (value & VECTOR_MASKED) != 0; break;
    }
    if (before || vpci_vector_open(&p->functions[f], i)) p->host->vector(p->host->ctx, f, i);
}

/* MSI's registers in the form with a 64-bit address: 0 control, then those of a vector from 1, 5 pending. */
static u32 msi_register(const struct pci_function *real, u32 reg) {
    u32 i = (reg - real->msi) / 4;

    return real->msi_64 || i < 2 ? i : i + 1;
}

static u32 read_msi(const struct vpci *p, u32 f, u32 reg) {
    const struct vpci_function *fn = &p->functions[f];
    u32 i = msi_register(fn->real, reg);

    if (i == 0) /* one vector */
        return (u32)(PCI_CAP_MSI | (fn->msi_enabled ? MSI_ENABLE : 0) | (fn->real->msi_64 ? MSI_64 : 0) |
                     (fn->real->msi_maskable ? MSI_MASKABLE : 0));
    return i < 5 ? read_vector(&fn->msi, i - 1) : vpci_real(p, f, reg) & 1;
}

static void write_msi(struct vpci *p, u32 f, u32 reg, u32 value) {
    struct vpci_function *fn = &p->functions[f];
    u32 i = msi_register(fn->real, reg);
    bool enabled = (value & MSI_ENABLE) != 0;

    if (i == 0 && enabled != fn->msi_enabled) {
        fn->msi_enabled = enabled;
        p->host->vector(p->host->ctx, f, 0);
    }
    if (i > 0 && i < 5) write_vector(p, f, 0, &fn->msi, i - 1, i == 3 ? value & 0xffff : value);
}

/* Where table and pending bits are is real. */
static u32 read_msix(const struct vpci *p, u32 f, u32 reg) {
    const struct vpci_function *fn = &p->functions[f];

    if (reg != fn->real->msix) return vpci_real(p, f, reg);
    return (u32)(PCI_CAP_MSIX | (u64)(fn->real->msix_entries - 1) << 16 | (fn->msix_masked ? MSIX_MASK : 0) |
                 (fn->msix_enabled ? MSIX_ENABLE : 0));
}

static void write_msix(struct vpci *p, u32 f, u32 value) {
    struct vpci_function *fn = &p->functions[f];
    bool enabled = (value & MSIX_ENABLE) != 0, masked = (value & MSIX_MASK) != 0;

    if (enabled == fn->msix_enabled && masked == fn->msix_masked) return;
    fn->msix_enabled = enabled;
    fn->msix_masked = masked;
    vpci_tell_vectors(p, f);
}

u32 vpci_msix_read(const struct vpci *p, u32 f, u32 offset) {
    const struct vpci_function *fn = &p->functions[f];
    u32 i = offset / MSIX_ENTRY;

    return i < fn->real->msix_entries ? read_vector(&fn->msix[i], offset % MSIX_ENTRY / 4) : 0;
}

void vpci_msix_write(struct vpci *p, u32 f, u32 offset, u32 value) {
    struct vpci_function *fn = &p->functions[f];
    u32 i = offset / MSIX_ENTRY;

    if (i < fn->real->msix_entries) write_vector(p, f, i, &fn->msix[i], offset % MSIX_ENTRY / 4, value);
}

/* With the redirection hint, a logical destination means any one of those addressed. */
bool vpci_decode_message(const struct msi_message *m, bool x2apic_ids, struct apic_msg *out) {
    u32 upper = (u32)(m->address >> 32);
    bool logical = (m->address & 4) != 0, hint = (m->address & 8) != 0;

    *out = (struct apic_msg){
        .dest = (u32)bits_get(m->address, 12, 8) | upper,
        .logical = logical,
        .x2apic = upper != 0,
        .vector = (u8)m->data,
        .delivery = (enum apic_delivery)(m->data >> 8 & 7),
        .level = (m->data & BIT(15)) != 0,
        .assert = !(m->data & BIT(15)) || (m->data & BIT(14)),
        .shorthand = APIC_DEST,
    };
    if (out->delivery == APIC_FIXED && logical && hint) out->delivery = APIC_LOWEST;
    return (u32)m->address >> 20 == 0xfee && (x2apic_ids ? !(upper & 0xff) : !upper) && out->delivery != APIC_SMI &&
           out->delivery != 3 && out->delivery != APIC_STARTUP;
}

/* --- the registers --- */

static u32 read_pcie(const struct vpci *p, u32 f, u32 offset) {
    const struct vpci_function *fn = &p->functions[f];
    u32 value = offset < 12 ? vpci_real(p, f, fn->real->pcie + offset) : 0;

    switch (offset) {
    case 0: return (value & PCIE_SHOWN) | PCIE_TYPE_INTEGRATED;
    case 4: return (u32)((value & PCIE_DEVICE_SHOWN) | (fn->real->flr ? PCIE_DEVICE_FLR : 0));
    case 8: return (value & PCIE_STATUS_SHOWN) | fn->control;
    default: return 0; /* link, slot, root; second device control: nothing optional */
    }
}

u32 vpci_cap_read(const struct vpci *p, u32 f, u32 reg) {
    const struct vpci_function *fn = &p->functions[f];
    u32 value = 0;
    u8 rule = fn->rules[reg / 4];

    switch (rule & ~RULE_START) {
    case RULE_REAL: value = vpci_real(p, f, reg); break;
    case RULE_PM: value = reg == fn->real->pm ? vpci_real(p, f, reg) & PM_SHOWN : PM_NO_SOFT_RESET | fn->power; break;
    case RULE_MSI: value = read_msi(p, f, reg); break;
    case RULE_PCIE: value = read_pcie(p, f, reg - fn->real->pcie); break;
    case RULE_MSIX: value = read_msix(p, f, reg); break;
    case RULE_AF:
        value =
            vpci_real(p, f, reg) & (u32)(reg == fn->real->af ? AF_SHOWN & ~(fn->real->flr ? 0 : AF_FLR) : AF_PENDING);
        break;
    default: break;
    }
    return rule & RULE_START ? (value & ~0xff00u) | (u32)fn->links[reg / 4] << 8 : value;
}

bool vpci_cap_write(struct vpci *p, u32 f, u32 reg, u32 value) {
    struct vpci_function *fn = &p->functions[f];
    const struct pci_function *real = fn->real;
    u8 rule = fn->rules[reg / 4];

    if (reg == real->pm + 4u && rule == RULE_PM) { /* D1 and D2 are not there: such a write is dropped */
        if ((value & PM_D3) == 0 || (value & PM_D3) == PM_D3) fn->power = value & PM_D3;
    } else if ((rule & ~RULE_START) == RULE_MSI) {
        write_msi(p, f, reg, value);
    } else if (rule == (RULE_START | RULE_MSIX)) {
        write_msix(p, f, value);
    } else if (reg == real->pcie + 8u && rule == RULE_PCIE) {
        fn->control = value & PCIE_CONTROL_STORED;
        return (value & PCIE_CONTROL_FLR) && real->flr;
    } else if (rule == RULE_AF) {
        return (value & AF_CONTROL) && real->flr;
    }
    return false;
}
