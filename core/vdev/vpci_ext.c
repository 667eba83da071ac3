/* Extended configuration space, 0x100 to 0xfff: which extended capabilities a guest sees of its function, and their
 * registers. See vpci.h. Nothing here writes to the machine. Read of it are the headers, once, and what is passed.
 *
 * Only what stands in `kinds` is in the list; its links go past all else, which reads 0, as does what lies between
 * capabilities. PCI Express Base 4.0, Extended Capabilities in Configuration Space: the first header is at 0x100, so
 * there stands one of id 0 and version 0 with a link if that capability is hidden, and 0 if there is none at all. */
#include "core/vdev/vpci_impl.h"

#include "core/base/bits.h"

#define HEADER_ID    0xffffu
#define HEADER_KEPT  0xfffffu /* id and version */
#define HEADER_NEXT  20
#define NEXT_MASK    0xffcu
#define VENDOR_BYTES 20 /* of the vendor-specific header: where the length begins */

/* Hidden, with these reasons:
 * - what chooses where requests go or whether they are translated, which is the hypervisor's: ACS, ATS, PRI, PASID,
 *   multicast, TPH;
 * - what makes or numbers other functions, or changes the size of BARs: SR-IOV, MR-IOV, ARI, resizable BARs;
 * - what belongs to the link, its port or the slot, none of which a root complex integrated endpoint has: virtual
 *   channels, secondary PCI Express, physical layers and margining, data link feature, L1 substates, LTR (its enable
 *   bit is in the second device control, which is not shown), power budgeting (its table is read by a write), DPC,
 *   PTM, readiness, enclosure management;
 * - what tells addresses or numbers of the machine: root complex links, RCRB, hierarchy id, designated
 *   vendor-specific (CXL's ranges of host memory);
 * - what gives orders: data object exchange, dynamic power allocation;
 * - what nobody knows yet. */
static const struct {
    u16 id, bytes;
} kinds[] = {
    {PCI_EXT_AER, 0x2c},    /* virtual: up to the header log */
    {PCI_EXT_SERIAL, 0x0c}, /* passed: drivers name their device by it */
    {PCI_EXT_VENDOR, 0x08}, /* passed as those of the standard list are; tells its own length */
};

/* PCI Express Base 4.0, Advanced Error Reporting Extended Capability. Error messages go to the root port, or the root
 * complex, and to whoever serves it: the hypervisor's. So masks and severity are kept and not passed on; no status
 * bit, no header log; neither ECRC nor several recorded errors. What is kept are the bits of an endpoint without ACS
 * and multicast, with the power-up values of the specification. */
static const struct {
    u32 offset, kept, power_up;
} aer_registers[VPCI_AER_REGISTERS] = {
    {0x08, 0x005ff010, 0x00400000}, /* uncorrectable error mask: internal error */
    {0x0c, 0x005ff010, 0x00462010}, /* severity: data link, flow control, overflow, malformed packet, internal error */
    {0x14, 0x0000f1c1, 0x0000e000}, /* correctable error mask: advisory, internal error, header log overflow */
};

/* --- the list */

static bool is_begin(const u32 *begins, u32 at) { return begins[at / 128] >> at / 4 % 32 & 1; }

/* How long a capability is, or 0: it is hidden. Of each but the vendor's there is one. */
static u32 shown_bytes(const struct vpci *p, u32 f, u32 at, u32 id) {
    const struct vpci_function *fn = &p->functions[f];
    u32 bytes = 0;

    for (u32 i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i].id == id) bytes = kinds[i].bytes;
    if (id == PCI_EXT_VENDOR)
        return at + bytes <= PCI_EXTENDED_BYTES ? (u32)max_u64(bytes, vpci_real(p, f, at + 4) >> VENDOR_BYTES) : 0;
    for (u32 i = 0; i < fn->extended_count; i++)
        if ((fn->extended[i].header & HEADER_ID) == id) return 0;
    return bytes;
}

void vpci_ext_scan(struct vpci *p, u32 f) {
    struct vpci_function *fn = &p->functions[f];
    u32 begins[PCI_EXTENDED_BYTES / 128] = {0}, header, at = PCI_REG_EXTENDED;

    fn->extended_count = 0;
    /* A list that comes back to itself ends there. */
    for (; fn->real->pcie && at >= PCI_REG_EXTENDED && !is_begin(begins, at); at = header >> HEADER_NEXT & NEXT_MASK) {
        struct vpci_extended *e = &fn->extended[fn->extended_count];
        u32 bytes;

        begins[at / 128] |= 1u << at / 4 % 32;
        header = vpci_real(p, f, at);
        bytes = fn->extended_count < VPCI_EXTENDED ? shown_bytes(p, f, at, header & HEADER_ID) : 0;
        if (!bytes) continue;
        *e = (struct vpci_extended){(u16)at, (u16)min_u64(at + bytes, PCI_EXTENDED_BYTES), header & HEADER_KEPT};
        if (fn->extended_count) e[-1].header |= at << HEADER_NEXT;
        fn->extended_count++;
    }
    /* None reaches into another, shown or hidden. */
    for (u32 i = 0; i < fn->extended_count; i++)
        for (at = fn->extended[i].at + 4u; at < fn->extended[i].end; at += 4)
            if (is_begin(begins, at)) fn->extended[i].end = (u16)at;
}

void vpci_ext_reset(struct vpci_function *fn) {
    for (u32 i = 0; i < VPCI_AER_REGISTERS; i++) fn->aer[i] = aer_registers[i].power_up;
}

/* --- the registers */

static const struct vpci_extended *find(const struct vpci_function *fn, u32 reg) {
    for (u32 i = 0; i < fn->extended_count; i++)
        if (reg >= fn->extended[i].at && reg < fn->extended[i].end) return &fn->extended[i];
    return NULL;
}

/* The number of a register of AER that is kept, or VPCI_AER_REGISTERS. */
static u32 aer_register(const struct vpci_extended *e, u32 reg) {
    u32 i = 0;

    while (i < VPCI_AER_REGISTERS && e->at + aer_registers[i].offset != reg) i++;
    return (e->header & HEADER_ID) == PCI_EXT_AER ? i : VPCI_AER_REGISTERS;
}

u32 vpci_ext_read(const struct vpci *p, u32 f, u32 reg) {
    const struct vpci_function *fn = &p->functions[f];
    const struct vpci_extended *e = find(fn, reg);

    if (!fn->real->pcie) return 0xffffffff;
    if (!e) return reg == PCI_REG_EXTENDED && fn->extended_count ? (u32)fn->extended[0].at << HEADER_NEXT : 0;
    if (reg == e->at) return e->header;
    if ((e->header & HEADER_ID) == PCI_EXT_AER) {
        u32 i = aer_register(e, reg);

        return i < VPCI_AER_REGISTERS ? fn->aer[i] : 0;
    }
    return vpci_real(p, f, reg);
}

void vpci_ext_write(struct vpci *p, u32 f, u32 reg, u32 value) {
    struct vpci_function *fn = &p->functions[f];
    const struct vpci_extended *e = find(fn, reg);
    u32 i = e ? aer_register(e, reg) : VPCI_AER_REGISTERS;

    if (i < VPCI_AER_REGISTERS) fn->aer[i] = value & aer_registers[i].kept;
}
