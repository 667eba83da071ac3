/* A function with an SR-IOV capability, the port above it and the virtual functions, whose registers hold anything and
 * take anything. Input: how many are wanted and where the function is, then pokes: space, offset, value, bits that can
 * be written. Holds: it ends; a refusal says why and plans nothing; what is planned has identities of its own on the
 * same bus, and memory that is aligned, inside the room or the port's windows and over nobody else's; no write goes to
 * anybody but the function and the port. */
#include <string.h>

#include "core/base/bits.h"
#include "drivers/pci_scan.h"
#include "drivers/pci_sriov.h"
#include "drivers/pci_vf.h"
#include "test/fuzz/fuzz.h"

#define CAP    0x140u
#define ARI    0x100u
#define PCIE   0x80u
#define PORT   PCI_ID(0, 0, 2, 0)
#define OTHER  PCI_ID(0, 0, 9, 0)
#define ROOT   PCI_ID(0, 0, 5, 0)
#define BEHIND PCI_ID(0, 3, 0, 0)

enum { CARD, BRIDGE, VIRTUAL, SPACES };

static struct space { u8 config[PCI_EXTENDED_BYTES], holds[PCI_EXTENDED_BYTES]; } spaces[SPACES];
static u32 card;

static u32 on_read(void *ctx, u32 id, u32 offset, u32 size) {
    const struct space *s = &spaces[id == card ? CARD : id == PORT ? BRIDGE : VIRTUAL];
    u32 value = 0;

    (void)ctx;
    REQUIRE((size == 1 || size == 2 || size == 4) && offset + size <= PCI_EXTENDED_BYTES);
    memcpy(&value, &s->config[offset], size);
    return value;
}

static void on_write(void *ctx, u32 id, u32 offset, u32 size, u32 value) {
    struct space *s = &spaces[id == card ? CARD : BRIDGE];

    (void)ctx;
    REQUIRE((id == card || id == PORT) && offset + size <= PCI_EXTENDED_BYTES);
    for (u32 i = 0; i < size; i++) {
        u8 bits = s->holds[offset + i];

        s->config[offset + i] = (u8)((s->config[offset + i] & ~bits) | (value >> 8 * i & bits));
    }
}

static const struct pci_access access = {.read = on_read, .write = on_write};
static const struct pci_bar ecam = {.base = 0xe0000000, .bytes = MIB(256)};
static const struct pci_room room = {
    .low = 0xc0000000, .high = 0xfec00000, .low64 = GIB(8), .high64 = GIB(64), .taken = &ecam, .taken_count = 1};

static void set(u32 i, u32 offset, u32 size, u32 value, u32 bits) {
    memcpy(&spaces[i].config[offset], &value, size);
    memcpy(&spaces[i].holds[offset], &bits, size);
}

/* One that works, from which the input departs. */
static void prepare(void) {
    memset(spaces, 0, sizeof(spaces));
    set(CARD, ARI, 4, PCI_EXT_ARI | 1 << 16 | CAP << 20, 0);
    set(CARD, CAP, 4, PCI_EXT_SRIOV | 1 << 16, 0);
    set(CARD, CAP + SRIOV_CONTROL, 2, 0, 0x1f);
    set(CARD, CAP + SRIOV_TOTAL, 2, 8, 0);
    set(CARD, CAP + SRIOV_NUMBER, 2, 0, 0xffff);
    set(CARD, CAP + SRIOV_OFFSET, 2, 1, 0);
    set(CARD, CAP + SRIOV_STRIDE, 2, 1, 0);
    set(CARD, CAP + SRIOV_PAGE_SIZES, 4, 0x553, 0);
    set(CARD, CAP + SRIOV_BARS, 4, 0xc, ~(u32)KIB(16) + 1);
    set(CARD, CAP + SRIOV_BARS + 4, 4, 0, ~0u);
    set(CARD, CAP + SRIOV_BARS + 12, 4, 0, ~(u32)KIB(16) + 1);
    set(BRIDGE, PCIE + 0x24, 4, 0x20, 0);
    set(BRIDGE, PCIE + 0x28, 2, 0, 0xffff);
    set(BRIDGE, 0x20, 4, 0xfd0ffd00, 0);
    set(BRIDGE, 0x24, 4, 0x00110001, 0);
    set(BRIDGE, 0x28, 4, 4, 0);
    set(BRIDGE, 0x2c, 4, 4, 0);
    set(VIRTUAL, PCI_REG_STATUS, 2, PCI_STATUS_CAPABILITY, 0);
    set(VIRTUAL, PCI_REG_CAPABILITIES, 1, 0x70, 0);
    set(VIRTUAL, 0x70, 4, PCI_CAP_MSIX | 2 << 16, 0);
}

static void check_plan(struct pci_function *f, u32 wanted, const struct pci_function *functions, u32 count) {
    REQUIRE(f->vfs.count == wanted);
    for (u32 n = 0; n < wanted; n++) {
        u32 id = pci_vf_id(&f->vfs, n);
        struct pci_function out;

        REQUIRE(id >> 8 == f->id >> 8);
        for (u32 i = 0; i < count; i++) REQUIRE(functions[i].id != id);
        for (u32 i = 0; i < n; i++) REQUIRE(pci_vf_id(&f->vfs, i) != id);
        pci_sriov_function(&access, f, n, &out);
        REQUIRE(out.virtual && out.id == id && out.physical == f->id);
        if (out.msix)
            REQUIRE(out.msix_bar < PCI_BARS &&
                    out.msix_offset + 16u * out.msix_entries <= out.bars[out.msix_bar].bytes);
    }
    for (u32 i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *b = &f->vfs.bars[i];
        u64 bytes = b->bytes * wanted;

        if (!b->bytes || b->io) continue;
        REQUIRE(b->base && is_aligned(b->base, b->bytes) && b->base + bytes > b->base);
        REQUIRE(b->wide || b->base + bytes <= GIB(4));
        REQUIRE(!ranges_overlap(b->base, bytes, ecam.base, ecam.bytes));
        for (u32 k = 0; k < count; k++)
            for (u32 j = 0; j < PCI_BARS; j++)
                if (functions[k].bars[j].bytes)
                    REQUIRE(!ranges_overlap(b->base, bytes, functions[k].bars[j].base, functions[k].bars[j].bytes));
        for (u32 k = 0; k < i; k++)
            if (f->vfs.bars[k].bytes && !f->vfs.bars[k].io)
                REQUIRE(!ranges_overlap(b->base, bytes, f->vfs.bars[k].base, f->vfs.bars[k].bytes * wanted));
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    u32 wanted = (u32)take(&in, 1), where = (u32)take(&in, 1);
    struct pci_function functions[3];
    char why[160] = "";
    int error;

    prepare();
    card = where & 1 ? BEHIND : ROOT;
    while (in.left >= 4) {
        u32 space = (u32)take(&in, 1) % SPACES, offset = (u32)take(&in, 2) & (PCI_EXTENDED_BYTES - 4);
        u32 value = (u32)take(&in, 4);

        set(space, offset, 4, value, (u32)take(&in, 4));
    }
    memset(functions, 0, sizeof(functions));
    functions[0] = (struct pci_function){.id = card, .vendor = 0x8086, .device = 0x10c9, .sriov = CAP};
    functions[1] = (struct pci_function){.id = PORT, .header = 1, .secondary = 3, .subordinate = 3, .pcie = PCIE};
    functions[2] = (struct pci_function){.id = OTHER, .bars = {{.base = 0xfe000000, .bytes = MIB(8)}}};
    error = pci_sriov_plan(&access, &functions[0], wanted, functions, 3, &room, why, sizeof(why));
    REQUIRE(!error == !why[0]);
    if (error)
        REQUIRE(functions[0].vfs.count == 0);
    else
        check_plan(&functions[0], wanted, functions, 3);
    return 0;
}
