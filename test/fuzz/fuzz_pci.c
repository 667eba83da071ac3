/* Discovery over arbitrary configuration spaces. Input: records of eight bytes, each a function (of eight on three
 * buses), an offset, a value, and which of its bits can be written. Holds: nothing is accessed outside of a function's
 * space, and nothing written where nobody is; not more is found than there is; sizes are powers of two; BARs are as
 * they were; a group's name is its smallest member; planned virtual functions have identities and memory of their own.
 */
#include <string.h>

#include "core/base/bits.h"
#include "drivers/pci_scan.h"
#include "drivers/pci_sriov.h"
#include "test/fuzz/fuzz.h"

#define MAX 8u

static const u32 ids[MAX] = {0x00, 0x08, 0x10, 0x11, 0x100, 0x101, 0x108, 0x200};
static struct world { u8 bytes[PCI_EXTENDED_BYTES], holds[PCI_EXTENDED_BYTES]; } spaces[MAX];
static u64 accesses;

static struct world *space_of(u32 id) {
    for (u32 i = 0; i < MAX; i++)
        if (ids[i] == id && memcmp(spaces[i].bytes, "\xff\xff", 2) != 0) return &spaces[i];
    return NULL;
}

static u32 config_read(void *ctx, u32 id, u32 offset, u32 size) {
    const struct world *s = space_of(id);
    u32 value = ~0u;

    (void)ctx;
    accesses++;
    REQUIRE((size == 1 || size == 2 || size == 4) && offset % size == 0 && offset + size <= PCI_EXTENDED_BYTES);
    if (s) memcpy(&value, s->bytes + offset, size);
    return value & (~0u >> (32 - 8 * size));
}

static void config_write(void *ctx, u32 id, u32 offset, u32 size, u32 value) {
    struct world *s = space_of(id);

    (void)ctx;
    accesses++;
    REQUIRE(s && offset % size == 0 && offset + size <= PCI_EXTENDED_BYTES);
    for (u32 i = 0; i < size; i++)
        s->bytes[offset + i] =
            (u8)((s->bytes[offset + i] & ~s->holds[offset + i]) | ((value >> 8 * i) & s->holds[offset + i]));
}
static const struct pci_access access = {NULL, config_read, config_write};

static void check_bar(const struct pci_bar *b) {
    REQUIRE((b->bytes & (b->bytes - 1)) == 0);
    REQUIRE(b->bytes == 0 || b->bytes >= 4);
}

static void check_function(const struct pci_function *f, const struct pci_function *all, u32 count) {
    bool named = false;

    REQUIRE(space_of(f->id));
    for (u32 i = 0; i < PCI_BARS; i++) check_bar(&f->bars[i]);
    check_bar(&f->rom);
    if (f->msix) {
        REQUIRE(f->msix_entries >= 1 && f->msix_entries <= 2048);
        REQUIRE(f->msix_bar < PCI_BARS && f->msix_offset + 16u * f->msix_entries <= f->bars[f->msix_bar].bytes);
    }
    REQUIRE(!f->msi || (f->msi_vectors >= 1 && f->msi_vectors <= 32));
    REQUIRE(f->group <= f->id);
    for (u32 i = 0; i < count; i++) named |= all[i].id == f->group && all[i].group == f->group;
    REQUIRE(named);
}

static void check_plan(struct pci_function *f, const struct pci_function *all, u32 found) {
    const struct pci_room room = {.low = MIB(512), .high = GIB(4), .low64 = GIB(4), .high64 = GIB(64)};
    struct pci_function out;
    char why[160] = "";
    u32 count = 1 + f->id % 5;

    if (pci_sriov_plan(&access, f, count, all, found, &room, why, sizeof(why))) {
        REQUIRE(why[0] && f->vfs.count == 0);
        return;
    }
    REQUIRE(f->vfs.count == count);
    for (u32 n = 0; n < count; n++) {
        REQUIRE(PCI_BUS(pci_vf_id(&f->vfs, n)) == PCI_BUS(f->id));
        for (u32 i = 0; i < found; i++) REQUIRE(all[i].id != pci_vf_id(&f->vfs, n));
    }
    for (u32 i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *b = &f->vfs.bars[i];

        check_bar(b);
        if (!b->bytes) continue;
        REQUIRE(b->base % b->bytes == 0 && b->base >= MIB(1) && b->base + b->bytes * count <= BIT(52));
        /* Below a bridge its window counts, which is arbitrary. */
        REQUIRE(b->base >= room.low || pci_parent(all, found, f));
        for (u32 k = 0; k < i; k++)
            REQUIRE(!f->vfs.bars[k].bytes || b->base + b->bytes * count <= f->vfs.bars[k].base ||
                    f->vfs.bars[k].base + f->vfs.bars[k].bytes * count <= b->base);
    }
    pci_sriov_function(&access, f, count - 1, &out);
    REQUIRE(out.virtual && out.physical == f->id);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    struct pci_function found[MAX];
    u8 bars[MAX][24];
    u32 count = 0;

    memset(spaces, 0, sizeof(spaces));
    for (u32 i = 0; i < MAX; i++) memset(spaces[i].bytes, 0xff, 2);
    accesses = 0;
    for (u32 i = 0; i < 128 && in.left; i++) {
        u32 head = (u32)take(&in, 2), value = (u32)take(&in, 4), held = (u32)take(&in, 2);
        struct world *s = &spaces[head & 7];
        u32 at = head >> 3 & 0xffc;

        if (at == 0 && (value == 0 || (value & 0xffff) == 0xffff)) value = 0x12348086;
        if (at == 0) held = 0;
        held |= held << 16;
        memcpy(s->bytes + at, &value, 4);
        memcpy(s->holds + at, &held, 4);
    }
    for (u32 i = 0; i < MAX; i++) memcpy(bars[i], spaces[i].bytes + PCI_REG_BAR0, sizeof(bars[i]));
    (void)!pci_scan(&access, 0, 0, 2, found, MAX, &count);
    REQUIRE(count <= MAX && accesses < 1000000);
    for (u32 i = 0; i < MAX; i++) REQUIRE(memcmp(bars[i], spaces[i].bytes + PCI_REG_BAR0, sizeof(bars[i])) == 0);
    pci_group(found, count);
    for (u32 i = 0; i < count; i++) check_function(&found[i], found, count);
    for (u32 i = 0; i < count; i++) check_plan(&found[i], found, count);
    return 0;
}
