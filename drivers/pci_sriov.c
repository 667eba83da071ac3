#include "drivers/pci_sriov.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "drivers/pci_scan.h"
#include "drivers/pci_vf.h"

/* PCI Express Base 4.0, Device Capabilities 2 and Device Control 2. */
#define PORT_CAPS    0x24u
#define PORT_CONTROL 0x28u
#define PORT_ARI     0x20u

/* PCI-to-PCI Bridge 1.2, Memory Base and Limit, Prefetchable Memory Base and Limit: units of 1 MiB. */
#define WINDOW          0x20u
#define WINDOW_PREFETCH 0x24u
#define WINDOW_UPPER    0x28u
#define WINDOW_WIDE     1u

static u32 get(const struct pci_access *a, u32 id, u32 offset, u32 size) { return a->read(a->ctx, id, offset, size); }
static void put(const struct pci_access *a, u32 id, u32 offset, u32 size, u32 value) {
    a->write(a->ctx, id, offset, size, value);
}

/* --- room --- */

/* What a bridge hands downward; bytes 0: nothing. */
static struct pci_bar window(const struct pci_access *a, u32 id, bool prefetch) {
    u32 pair = get(a, id, prefetch ? WINDOW_PREFETCH : WINDOW, 4);
    u64 base = (u64)(pair & 0xfff0) << 16, last = (pair & 0xfff00000) | 0xfffff;

    if (prefetch && (pair & 0xf) == WINDOW_WIDE) {
        base |= (u64)get(a, id, WINDOW_UPPER, 4) << 32;
        last |= (u64)get(a, id, WINDOW_UPPER + 4, 4) << 32;
    }
    return (struct pci_bar){.base = base, .bytes = base && base < last ? last + 1 - base : 0};
}

struct search {
    const struct pci_access *a;
    const struct pci_function *functions;
    u32 count;
    const struct pci_room *room;
    u64 low, high; /* a bridge's window around both is not in the way */
};

/* Sets *base to where `b` begins, if [at, at + bytes) overlaps it. */
static bool hits(u64 at, u64 bytes, const struct pci_bar *b, u64 total, u64 *base) {
    if (!b->bytes || b->io || !ranges_overlap(at, bytes, b->base, total)) return false;
    *base = b->base;
    return true;
}

static bool is_taken(const struct search *s, u64 at, u64 bytes, u64 *base) {
    for (u32 i = 0; i < s->room->taken_count; i++)
        if (hits(at, bytes, &s->room->taken[i], s->room->taken[i].bytes, base)) return true;
    for (u32 i = 0; i < s->count; i++) {
        const struct pci_function *f = &s->functions[i];

        if (hits(at, bytes, &f->rom, f->rom.bytes, base)) return true;
        for (u32 k = 0; k < PCI_BARS; k++)
            if (hits(at, bytes, &f->bars[k], f->bars[k].bytes, base) ||
                hits(at, bytes, &f->vfs.bars[k], f->vfs.bars[k].bytes * f->vfs.count, base))
                return true;
        for (u32 k = 0; k < 2 && f->secondary; k++) {
            struct pci_bar w = window(s->a, f->id, k);

            if (w.base <= s->low && s->high <= w.base + w.bytes) continue;
            if (hits(at, bytes, &w, w.bytes, base)) return true;
        }
    }
    return false;
}

/* The highest place in [low, high), or 0. From the top, since memory and what firmware keeps secret lie below. */
static u64 find_room(struct search *s, u64 low, u64 high, u64 bytes, u64 align) {
    u64 at = high;

    s->low = low;
    s->high = high;
    while (at >= bytes && align_down(at - bytes, align) >= max_u64(low, 1)) {
        u64 place = align_down(at - bytes, align);

        if (!is_taken(s, place, bytes, &at)) return place;
    }
    return 0;
}

static bool inside(u64 at, u64 bytes, u64 low, u64 high) { return at >= low && at <= high && bytes <= high - at; }

/* May it lie where it is: there by firmware, by an earlier system, or by find_room? As high as it can be told, not over
 * memory, and below a bridge only where that leads. */
static bool may_lie(const struct search *s, const struct pci_bar *b, u64 bytes, const struct pci_function *above) {
    if (!b->base || b->base % b->bytes || !inside(b->base, bytes, 0, b->wide ? BIT(52) : GIB(4))) return false;
    for (u32 k = 0; k < 2 && above; k++) {
        struct pci_bar w = window(s->a, above->id, k);

        if (inside(b->base, bytes, w.base, w.base + w.bytes)) return true;
    }
    return !above && (inside(b->base, bytes, s->room->low, GIB(4)) ||
                      inside(b->base, bytes, max_u64(s->room->memory_top, GIB(4)), BIT(52)));
}

/* On a root bus 32-bit space serves every BAR; firmware may have placed it already. */
static int place(struct search *s, struct pci_bar *b, u32 count, const struct pci_function *above) {
    u64 bytes = b->bytes * count, ignored;
    struct pci_bar first = {.base = s->room->low, .bytes = s->room->high - s->room->low};
    struct pci_bar second = {.base = s->room->low64, .bytes = s->room->high64 - s->room->low64};

    if (above) { /* the better one first */
        first = window(s->a, above->id, b->prefetch);
        second = window(s->a, above->id, false);
    } else if (!b->wide) {
        second.bytes = 0;
    }
    s->low = b->base;
    s->high = b->base + bytes;
    if (may_lie(s, b, bytes, above) && !is_taken(s, b->base, bytes, &ignored)) return 0;
    b->base = find_room(s, first.base, first.base + first.bytes, bytes, b->bytes);
    if (!b->base) b->base = find_room(s, second.base, second.base + second.bytes, bytes, b->bytes);
    return may_lie(s, b, bytes, above) ? 0 : -E_NOMEM;
}

/* --- planning --- */

static bool enable_ari(const struct pci_access *a, const struct pci_function *f, const struct pci_function *above) {
    u32 at = above ? above->pcie : 0;

    if (!at || !pci_find_extended(a, f->id, PCI_EXT_ARI)) return false;
    if (!(get(a, above->id, at + PORT_CAPS, 4) & PORT_ARI)) return false;
    put(a, above->id, at + PORT_CONTROL, 2, get(a, above->id, at + PORT_CONTROL, 2) | PORT_ARI);
    return true;
}

/* Identities that nobody has, on the bus of f: behind others it would take bus numbers that firmware did not keep. */
static bool ids_free(const struct pci_function *f, const struct pci_vfs *vfs, const struct pci_function *functions,
                     u32 count) {
    for (u32 n = 0; n < vfs->count; n++) {
        if (pci_vf_id(vfs, n) >> 8 != f->id >> 8) return false;
        for (u32 i = 0; i < count; i++)
            if (functions[i].id == pci_vf_id(vfs, n)) return false;
    }
    return true;
}

static void measure(const struct pci_access *a, const struct pci_function *f, struct pci_vfs *vfs) {
    for (u32 i = 0; i < PCI_BARS; i++) {
        vfs->bars[i] = pci_measure_bar(a, f->id, f->sriov + SRIOV_BARS + 4 * i, false);
        if (vfs->bars[i].io) vfs->bars[i] = (struct pci_bar){0}; /* virtual functions have none in I/O space */
        if (vfs->bars[i].wide) i++;
    }
}

int pci_sriov_plan(const struct pci_access *a, struct pci_function *f, u32 count, const struct pci_function *functions,
                   u32 function_count, const struct pci_room *room, char *why, size_t why_size) {
    const struct pci_function *above = pci_parent(functions, function_count, f);
    struct search s = {a, functions, function_count, room, 0, 0};
    struct pci_vfs vfs = {.count = (u16)count};
    u32 at = f->sriov, total = at ? get(a, f->id, at + SRIOV_TOTAL, 2) : 0;

    if (!at || !(get(a, f->id, at + SRIOV_PAGE_SIZES, 4) & SRIOV_PAGES_4K)) {
        fmt(why, why_size, "it has no SR-IOV capability");
        return -E_UNSUPPORTED;
    }
    if (count < 1 || count > total) {
        fmt(why, why_size, "it has at most %u virtual functions", total);
        return -E_RANGE;
    }
    /* Offset and stride depend on both, and may be written only while they are disabled. */
    put(a, f->id, at + SRIOV_CONTROL, 2, 0);
    vfs.ari = enable_ari(a, f, above);
    put(a, f->id, at + SRIOV_CONTROL, 2, vfs.ari ? SRIOV_ARI : 0);
    put(a, f->id, at + SRIOV_PAGE_SIZE, 4, SRIOV_PAGES_4K);
    put(a, f->id, at + SRIOV_NUMBER, 2, count);
    vfs.first = f->id + get(a, f->id, at + SRIOV_OFFSET, 2);
    vfs.stride = get(a, f->id, at + SRIOV_STRIDE, 2);
    vfs.device = (u16)get(a, f->id, at + SRIOV_DEVICE, 2);
    if (vfs.first == f->id || (count > 1 && !vfs.stride) || !ids_free(f, &vfs, functions, function_count)) {
        fmt(why, why_size, "the numbers of its virtual functions are taken, or on another bus");
        return -E_OVERLAP;
    }
    measure(a, f, &vfs);
    f->vfs = (struct pci_vfs){.count = vfs.count};
    for (u32 i = 0; i < PCI_BARS; i++) {
        if (!vfs.bars[i].bytes) continue;
        if (place(&s, &vfs.bars[i], count, above)) {
            f->vfs.count = 0;
            fmt(why, why_size, "there is no room for %llu bytes of memory of its virtual functions",
                (unsigned long long)vfs.bars[i].bytes * count);
            return -E_NOMEM;
        }
        f->vfs.bars[i] = vfs.bars[i]; /* in the way of the next */
    }
    f->vfs = vfs;
    return 0;
}

void pci_sriov_function(const struct pci_access *a, struct pci_function *f, u32 n, struct pci_function *out) {
    u32 id = pci_vf_id(&f->vfs, n), class_code = get(a, id, PCI_REG_REVISION, 4);

    *out = (struct pci_function){.id = id,
                                 .vendor = f->vendor,
                                 .device = f->vfs.device,
                                 .subsystem_vendor = (u16)get(a, id, PCI_REG_SUBSYSTEM, 2),
                                 .subsystem = (u16)get(a, id, PCI_REG_SUBSYSTEM + 2, 2),
                                 .class_code = class_code >> 8,
                                 .revision = (u8)class_code,
                                 .virtual = true,
                                 .physical = f->id,
                                 .vfs = {.number = f->vfs.number}};
    pci_read_capabilities(a, out);
    f->vfs.acs = out->acs; /* SR-IOV 1.1, VF Configuration Space: all have the same capabilities */
    for (u32 i = 0; i < PCI_BARS; i++) {
        out->bars[i] = f->vfs.bars[i];
        out->bars[i].base += n * f->vfs.bars[i].bytes;
    }
    pci_check_msix(out);
}
