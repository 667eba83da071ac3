/* The bus: who answers, and the registers of the header (type 0). See vpci.h; capabilities: vpci_cap.c, vpci_ext.c.
 * Everything is done in double words, a narrower write by what the rest reads as. */
#include "core/vdev/vpci_impl.h"

#include "core/base/bits.h"

/* PCI, CONFIG_ADDRESS: enable, bus, device, function, register; the rest is hardwired to 0. Of the bits that are
 * reserved there, 27:24 continue the register's number, as on AMD's processors with EnableCf8ExtCfg (AMD family 10h
 * BKDG, IO-Space Configuration Address Register), on both vendors: software that knows nothing of it writes 0, and
 * what it reaches is no more than by the mapped space. core/policy/msr.c says the same. */
#define ADDRESS_BITS   0x8ffffffcu
#define ADDRESS_ENABLE 0x80000000u

/* The host bridge: an identity of generic host bridges, which no driver claims. */
#define BRIDGE_ID    0x00081b36u
#define BRIDGE_CLASS 0x06000000u

/* PCI, Device Control and Device Status. Parity and SERR are kept, but not passed on: errors are the hypervisor's.
 * Status: error bits read 0 for the same reason; INTx, 66 MHz, fast back-to-back and DEVSEL timing are real. */
#define COMMAND_PASSED (PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF)
#define COMMAND_STORED (COMMAND_PASSED | PCI_COMMAND_IO | PCI_COMMAND_MEMORY | 0x0140u)
#define STATUS_SHOWN   0x06a8u

#define BAR_IO       1u
#define BAR_WIDE     4u
#define BAR_PREFETCH 8u
#define ROM_ENABLE   1u   /* as rom_enabled reads */
#define LINE_UNKNOWN 0xff /* PCI, Interrupt Line */

#define BARS (PCI_BARS + 1)

static const struct pci_bar *real_bar(const struct pci_function *real, u32 bar) {
    return bar == VPCI_ROM ? &real->rom : &real->bars[bar];
}

u64 vpci_bar_bytes(const struct pci_function *real, u32 bar) {
    const struct pci_bar *b = real_bar(real, bar);

    return b->io || !b->bytes ? b->bytes : max_u64(b->bytes, PAGE_4K);
}

/* --- where BARs answer --- */

static void places_of(const struct vpci_function *fn, u64 *at) {
    for (u32 i = 0; i < BARS; i++) {
        const struct pci_bar *b = real_bar(fn->real, i);
        u32 enable = b->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

        at[i] = b->bytes && (fn->command & enable) && (i < VPCI_ROM || fn->rom_enabled) ? fn->bars[i] : NEVER;
    }
}

static void tell_places(const struct vpci *p, u32 f, const u64 *before) {
    u64 now[BARS];

    places_of(&p->functions[f], now);
    for (u32 i = 0; i < BARS; i++)
        if (now[i] != before[i]) p->host->place(p->host->ctx, f, i, now[i]);
}

/* --- the header --- */

/* The BAR that the double word `i` belongs to: its own, or the one before as the upper half. */
static u32 bar_of(const struct pci_function *real, u32 i) {
    return i && real->bars[i - 1].bytes && real->bars[i - 1].wide ? i - 1 : i;
}

static u32 read_bar(const struct vpci_function *fn, u32 i) {
    u32 bar = bar_of(fn->real, i);
    const struct pci_bar *b = &fn->real->bars[bar];

    if (bar != i) return (u32)(fn->bars[bar] >> 32);
    if (!b->bytes) return 0;
    return (u32)fn->bars[i] | (b->io ? BAR_IO : 0) | (b->wide ? BAR_WIDE : 0) | (b->prefetch ? BAR_PREFETCH : 0);
}

/* PCI, Address Maps: bits below the size are hardwired to 0, which is how software learns the size. */
static void write_bar(struct vpci_function *fn, u32 bar, bool upper, u32 value) {
    u64 *at = &fn->bars[bar], bytes = vpci_bar_bytes(fn->real, bar);

    if (!bytes) return;
    *at = upper ? (u32)*at | (u64)value << 32 : (*at & ~(u64)0xffffffff) | value;
    *at &= ~(bytes - 1);
    if (real_bar(fn->real, bar)->io) *at &= 0xffff;
}

static u32 read_status(const struct vpci *p, u32 f) {
    u32 real = vpci_real(p, f, PCI_REG_COMMAND) >> 16;

    return (real & STATUS_SHOWN) | (p->functions[f].links[PCI_REG_CAPABILITIES / 4] ? PCI_STATUS_CAPABILITY : 0);
}

static u32 read_header(const struct vpci *p, u32 f, u32 reg) {
    const struct vpci_function *fn = &p->functions[f];
    const struct pci_function *real = fn->real;

    switch (reg) {
    case PCI_REG_VENDOR: return real->vendor | (u32)real->device << 16;
    case PCI_REG_COMMAND: return fn->command | read_status(p, f) << 16;
    case PCI_REG_REVISION: return real->revision | real->class_code << 8;
    case PCI_REG_BAR0 ... PCI_REG_BAR0 + 4 * (PCI_BARS - 1): return read_bar(fn, (reg - PCI_REG_BAR0) / 4);
    case PCI_REG_SUBSYSTEM: return real->subsystem_vendor | (u32)real->subsystem << 16;
    case PCI_REG_ROM: return real->rom.bytes ? (u32)fn->bars[VPCI_ROM] | fn->rom_enabled : 0;
    case PCI_REG_CAPABILITIES: return fn->links[PCI_REG_CAPABILITIES / 4];
    case PCI_REG_LINE: return fn->line | (fn->has_line ? 1u << 8 : 0);
    default: return 0; /* header type 0, alone in its device; no BIST, cache line or latency to set */
    }
}

/* The real decode bits stay as they are: the hypervisor reaches the function through its BARs. */
static void pass_command(const struct vpci *p, u32 f) {
    const struct vpci_function *fn = &p->functions[f];
    u32 real = vpci_real(p, f, PCI_REG_COMMAND) & 0xffff;
    u32 wanted = (real & ~COMMAND_PASSED) | (fn->command & COMMAND_PASSED) | (fn->has_line ? 0 : PCI_COMMAND_INTX_OFF);

    if (wanted != real) p->host->write(p->host->ctx, f, PCI_REG_COMMAND, 2, wanted);
}

static void write_header(struct vpci *p, u32 f, u32 reg, u32 value) {
    struct vpci_function *fn = &p->functions[f];
    u32 i = (reg - PCI_REG_BAR0) / 4;

    switch (reg) {
    case PCI_REG_COMMAND:
        fn->command = value & COMMAND_STORED;
        pass_command(p, f);
        break;
    case PCI_REG_BAR0 ... PCI_REG_BAR0 + 4 * (PCI_BARS - 1):
        write_bar(fn, bar_of(fn->real, i), bar_of(fn->real, i) != i, value);
        break;
    case PCI_REG_ROM:
        write_bar(fn, VPCI_ROM, false, value);
        fn->rom_enabled = fn->real->rom.bytes && (value & ROM_ENABLE);
        break;
    case PCI_REG_LINE: fn->line = (u8)value; break;
    default: break;
    }
}

/* --- a function --- */

static void power_up(struct vpci_function *fn) {
    fn->command = 0;
    fn->line = LINE_UNKNOWN;
    fn->rom_enabled = false;
    for (u32 i = 0; i < BARS; i++) fn->bars[i] = fn->home[i];
    vpci_cap_reset(fn);
}

static u32 read_register(const struct vpci *p, u32 f, u32 reg) {
    return reg < 0x40               ? read_header(p, f, reg)
           : reg < PCI_CONFIG_BYTES ? vpci_cap_read(p, f, reg)
                                    : vpci_ext_read(p, f, reg);
}

static void write_register(struct vpci *p, u32 f, u32 reg, u32 value) {
    bool reset = false;
    u64 before[BARS];

    places_of(&p->functions[f], before);
    if (reg < 0x40)
        write_header(p, f, reg, value);
    else if (reg >= PCI_CONFIG_BYTES)
        vpci_ext_write(p, f, reg, value);
    else
        reset = vpci_cap_write(p, f, reg, value);
    if (reset) {
        power_up(&p->functions[f]);
        vpci_tell_vectors(p, f);
        pass_command(p, f);
    }
    tell_places(p, f, before);
    if (reset) p->host->reset(p->host->ctx, f);
}

/* --- the bus. id: bus << 8 | device << 3 | function --- */

static u32 find(const struct vpci *p, u32 id) {
    u32 f = 0;

    while (f < p->count && PCI_ID(0, 0, p->functions[f].device, 0) != id) f++;
    return f;
}

static u32 read_bus(const struct vpci *p, u32 id, u32 reg, u32 size) {
    u32 f = find(p, id), value = 0xffffffff;

    if (f < p->count)
        value = read_register(p, f, reg & ~3u);
    else if (id == 0 && p->count)
        value = (reg & ~3u) == PCI_REG_VENDOR ? BRIDGE_ID : (reg & ~3u) == PCI_REG_REVISION ? BRIDGE_CLASS : 0;
    return value >> (8 * (reg & 3)) & 0xffffffffu >> (32 - 8 * size);
}

static void write_bus(struct vpci *p, u32 id, u32 reg, u32 size, u32 value) {
    u32 f = find(p, id), shift = 8 * (reg & 3), mask = 0xffffffffu >> (32 - 8 * size) << shift;

    if (f == p->count) return;
    write_register(p, f, reg & ~3u, (read_register(p, f, reg & ~3u) & ~mask) | (value << shift & mask));
}

void vpci_init(struct vpci *p, struct vpci_function *functions, u32 count, const struct vpci_host *host) {
    *p = (struct vpci){.functions = functions, .count = count, .host = host};
    for (u32 f = 0; f < count; f++) {
        vpci_cap_scan(p, f);
        vpci_ext_scan(p, f);
    }
    vpci_reset(p);
}

void vpci_reset(struct vpci *p) {
    p->address = 0;
    for (u32 f = 0; f < p->count; f++) {
        power_up(&p->functions[f]);
        vpci_ext_reset(&p->functions[f]);
    }
}

u32 vpci_address_read(const struct vpci *p) { return p->address; }

void vpci_address_write(struct vpci *p, u32 value) { p->address = value & ADDRESS_BITS; }

static u32 addressed(const struct vpci *p) { return (p->address & 0xfc) | (p->address >> 16 & 0xf00); }

u32 vpci_data_read(struct vpci *p, u32 offset, u32 size) {
    if (!(p->address & ADDRESS_ENABLE)) return 0xffffffffu >> (32 - 8 * size);
    return read_bus(p, p->address >> 8 & 0xffff, addressed(p) + offset, size);
}

void vpci_data_write(struct vpci *p, u32 offset, u32 size, u32 value) {
    if (p->address & ADDRESS_ENABLE) write_bus(p, p->address >> 8 & 0xffff, addressed(p) + offset, size, value);
}

u32 vpci_ecam_read(struct vpci *p, u32 offset, u32 size) {
    if (offset & (size - 1)) return 0xffffffffu >> (32 - 8 * size);
    return read_bus(p, offset >> 12, offset & 0xfff, size);
}

void vpci_ecam_write(struct vpci *p, u32 offset, u32 size, u32 value) {
    if (!(offset & (size - 1))) write_bus(p, offset >> 12, offset & 0xfff, size, value);
}
