/* A partition's PCI bus under an arbitrary guest. Input: records of ten bytes: operation, function, register, value;
 * and in front two bytes which spoil a double word of a function's real configuration space, and up to seven of its
 * extended space, which follow. Holds, beside what the
 * fixture asks of every call: the real space is read only within a function's own and written only in bus master and
 * INTx disable, as the guest has them; the host always knows where each BAR is, aligned to its size, and nothing
 * answers that is not decoded; a vector is open only if the guest enabled it, and the host knows it and its message;
 * identity and size of table do not change; both lists of capabilities end and show known ids, nothing of
 * extended space is seen beside them, and no write leaves a trace there but in AER's masks and severity. */
#include "test/fuzz/fuzz.h"
#include "test/unit/vpci_fixture.h"

static struct machine m, before;

static void check_bars(u32 f) {
    const struct vpci_function *fn = &m.fn[f];

    for (u32 i = 0; i <= PCI_BARS; i++) {
        const struct pci_bar *b = i == VPCI_ROM ? &m.real[f].rom : &m.real[f].bars[i];
        bool enabled = (fn->command & (b->io ? 1 : 2)) && (i < VPCI_ROM || fn->rom_enabled);

        REQUIRE((m.placed[f][i] != NEVER) == (enabled && b->bytes));
        if (m.placed[f][i] == NEVER) continue;
        REQUIRE(m.placed[f][i] == fn->bars[i] && is_aligned(fn->bars[i], b->bytes));
        REQUIRE(b->io ? fn->bars[i] <= 0xffff : is_aligned(fn->bars[i], PAGE_4K));
        REQUIRE(b->wide || fn->bars[i] <= 0xffffffff);
    }
}

static void check_vectors(u32 f) {
    const struct vpci_function *fn = &m.fn[f];

    for (u32 i = 0; i < MSIX_MAX; i++) {
        bool open = vpci_vector_open(fn, i);

        if (open != m.open[f][i]) REQUIRE(!open && i >= m.real[f].msix_entries);
        if (!open) continue;
        REQUIRE(fn->msix_enabled ? !fn->msix_masked && !fn->msix[i].masked : fn->msi_enabled && i == 0);
        REQUIRE(m.message[f][i].address == (fn->msix_enabled ? fn->msix[i].message.address : fn->msi.message.address));
        REQUIRE(m.message[f][i].data == (fn->msix_enabled ? fn->msix[i].message.data : fn->msi.message.data));
        REQUIRE((m.message[f][i].address & 3) == 0);
    }
}

static void check_list(u32 f) {
    u32 steps = 0;

    for (u32 at = rd(&m, f, 0x34); at; at = vpci_ecam_read(&m.bus, cfg(f, at + 1), 1)) {
        u32 id = vpci_ecam_read(&m.bus, cfg(f, at), 1);

        REQUIRE(at >= 0x40 && at % 4 == 0 && ++steps <= 48);
        REQUIRE(id == PCI_CAP_PM || id == PCI_CAP_MSI || id == PCI_CAP_VENDOR || id == PCI_CAP_PCIE ||
                id == PCI_CAP_MSIX || id == PCI_CAP_AF);
    }
}

/* The list of extended space. to: room for places, the count is returned. */
static u32 extended_list(u32 f, u32 *to) {
    u32 at = 0x100, header = rd(&m, f, at), count = 0;

    if (!m.real[f].pcie) return 0;
    if ((header & 0xfffff) == 0) at = header >> 20;
    for (; at; at = header >> 20) {
        u32 id;

        REQUIRE(at >= 0x100 && at % 4 == 0 && count < VPCI_EXTENDED);
        to[count++] = at;
        header = rd(&m, f, at);
        id = header & 0xffff;
        REQUIRE(id == PCI_EXT_AER || id == PCI_EXT_SERIAL || id == PCI_EXT_VENDOR);
        REQUIRE(((header ^ peek32(&m, f, at)) & 0xfffff) == 0);
    }
    return count;
}

/* What a double word may be that stands in capability `id`, `offset` behind its begin. */
static bool may_be(u32 id, u32 offset, u32 value, u32 real) {
    if (id != PCI_EXT_AER) return value == real && (id != PCI_EXT_SERIAL || offset < 12);
    return (offset == 8 || offset == 0xc) ? (value & ~0x5ff010u) == 0 : offset == 0x14 && (value & ~0xf1c1u) == 0;
}

/* All of extended space: zeros beside the list, ones where there is none, the same by ports. */
static void check_extended(u32 f) {
    u32 places[VPCI_EXTENDED], count = extended_list(f, places), at = 0x100;
    u8 begins[PCI_EXTENDED_BYTES] = {0};

    while (m.real[f].pcie && at >= 0x100 && !begins[at]) {
        begins[at] = 1;
        at = peek32(&m, f, at) >> 20 & 0xffc;
    }
    for (u32 reg = 0x100, of = 0, id = 0; reg < PCI_EXTENDED_BYTES; reg += 4) {
        u32 value = rd(&m, f, reg), real = peek32(&m, f, reg);
        bool shown = false;

        for (u32 i = 0; i < count; i++) shown |= places[i] == reg;
        if (begins[reg]) {
            of = reg;
            id = shown ? value & 0xffff : 0;
        }
        REQUIRE(!shown || begins[reg]);
        if (!m.real[f].pcie)
            REQUIRE(value == ~0u);
        else if (reg > 0x100 && !shown && value)
            REQUIRE(id && may_be(id, reg - of, value, real));
        vpci_address_write(&m.bus, 0x80000000 | (reg & 0xf00) << 16 | (f + 1) << 11 | (reg & 0xfc));
        REQUIRE(vpci_data_read(&m.bus, 0, 4) == value);
    }
}

static void check(u32 f) {
    u32 real = peek32(&m, f, 4), wanted = m.fn[f].command | (m.fn[f].has_line ? 0 : PCI_COMMAND_INTX_OFF);

    REQUIRE(!memcmp(&before.space[f][0], &m.space[f][0], 4));
    REQUIRE(!memcmp(&before.space[f][6], &m.space[f][6], PCI_EXTENDED_BYTES - 6));
    REQUIRE(((real ^ wanted) & (PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF)) == 0 || !m.commanded[f]);
    REQUIRE(((real ^ peek32(&before, f, 4)) & ~(PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF)) == 0);
    REQUIRE((rd(&m, f, 0) ^ (m.real[f].vendor | (u32)m.real[f].device << 16)) == 0);
    REQUIRE((rd(&m, f, 4) & 0xfffff & ~0xb0547u) == 0 && rd(&m, f, 0xc) == 0);
    check_bars(f);
    check_vectors(f);
    check_list(f);
    (void)extended_list(f, (u32[VPCI_EXTENDED]){0});
}

static void step(struct input *in) {
    u32 what = (u32)take(in, 1), f = (u32)take(in, 1), reg = (u32)take(in, 2), value = (u32)take(in, 4);
    u32 size = 1u << (what >> 3) % 3, full = 0xffffffffu >> (32 - 8 * size);
    u32 address = f % 8 ? cfg(f % 8 - 1, reg & 0xff) | (u32)(f >> 3 & 3) << 8 : (u32)take(in, 2) << 8 | reg;

    switch (what & 7) {
    case 0: REQUIRE(vpci_ecam_read(&m.bus, address, size) <= full); break;
    case 1 ... 3: vpci_ecam_write(&m.bus, address, size, value); break;
    case 4:
        vpci_address_write(&m.bus, (what & 0x80 ? 0 : 0x80000000) | (u32)(what >> 5 & 3) << 24 |
                                       (address & 0xfffff000) >> 4 | (reg & 0xff));
        reg %= 5 - size;
        REQUIRE(vpci_data_read(&m.bus, reg, size) <= full);
        vpci_data_write(&m.bus, reg, size, value);
        break;
    case 5: /* all of a table's entries are the same to the code */
        vpci_msix_write(&m.bus, f % FUNCTIONS, reg % 64 & ~3u, value);
        REQUIRE(vpci_msix_read(&m.bus, f % FUNCTIONS, (reg % 64 & ~3u) | 12) <= 1);
        break;
    case 6: vpci_msix_write(&m.bus, f % FUNCTIONS, reg & ~3u, value); break;
    default:
        if (f % 16 == 0) { /* what a restart of the partition does */
            for (f = 0; f < FUNCTIONS; f++)
                for (u32 i = 0; i <= PCI_BARS; i++) m.placed[f][i] = NEVER;
            memset(m.open, 0, sizeof(m.open));
            memset(m.commanded, 0, sizeof(m.commanded));
            vpci_reset(&m.bus);
        }
        break;
    }
    for (f = 0; f < FUNCTIONS; f++) check(f);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    u32 spoiled = (u32)take(&in, 1), at = (u32)take(&in, 1);

    start_machine(&m, FUNCTIONS);
    if (at >= 0x40 / 4) { /* a device need not be sane */
        poke32(&m, spoiled % FUNCTIONS, (at & 0x7f) * 4, (u32)take(&in, 4));
        for (u32 n = spoiled >> 4 & 7; n; n--) { /* a function may have every kind of list */
            u32 where = 0x100 + ((u32)take(&in, 2) % (PCI_EXTENDED_BYTES - 0x100) & ~3u);

            poke32(&m, spoiled % FUNCTIONS, where, (u32)take(&in, 4));
        }
        vpci_init(&m.bus, m.fn, FUNCTIONS, &m.host);
    }
    before = m;
    while (in.left >= 8) step(&in);
    check_extended(spoiled % FUNCTIONS);
    return 0;
}
