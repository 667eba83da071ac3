/* The page-table builder against a flat list of ranges, in each format. Input: format, largest
 * leaf, table pages, then records of 12 bytes, each a call of pt_map, or of pt_unmap with a part of
 * a range. Holds: the answer is the one that the list gives; -E_NOMEM only when the pages are used up; a walk as the
 * processor makes it (rights of all levels, reserved bits, memory type) finds at each border of each range what the
 * list says; pt_lookup agrees; the leaves add up to the bytes mapped. */
#include <string.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "mm/pagetable.h"
#include "test/fuzz/fuzz.h"

#define POOL_PAGES 16u
#define POOL_BASE  0x7ff000000000ull
#define RANGES_MAX 32u
#define ADDRESS    0x000ffffffffff000ull

struct pool {
    u32 used, left;
    u64 pages[POOL_PAGES][512];
};

struct range {
    u64 va, at, bytes;
    u32 rights;
    enum memory_type memtype;
};

struct world {
    struct pool pool;
    struct pt pt;
    struct range ranges[RANGES_MAX];
    u32 count;
};

static struct world w;
static const struct pt_format *const formats[] = {&pt_host,   &pt_ept,   &pt_npt,       &pt_vtd,
                                                  &pt_vtd_39, &pt_amdvi, &pt_vtd_snoop, &pt_vtd_39_snoop};

static int pool_alloc(void *ctx, hpa_t *page) {
    struct pool *p = ctx;

    if (p->left == 0) return -E_NOMEM;
    p->left--;
    memset(p->pages[p->used], 0, PAGE_4K);
    *page = hpa(POOL_BASE + PAGE_4K * p->used++);
    return 0;
}

static u64 *pool_virt(void *ctx, hpa_t page) {
    struct pool *p = ctx;
    u64 index = (page.v - POOL_BASE) / PAGE_4K;

    REQUIRE(page.v >= POOL_BASE && is_aligned(page.v, PAGE_4K) && index < p->used);
    return p->pages[index];
}

static const struct pt_mem pool_mem = {&w.pool, pool_alloc, pool_virt};

static const struct range *range_of(u64 va) {
    for (u32 i = 0; i < w.count; i++)
        if (va - w.ranges[i].va < w.ranges[i].bytes) return &w.ranges[i];
    return NULL;
}

struct walked {
    bool present;
    u64 at;
    u32 rights;
    enum memory_type memtype;
};

static bool snoops(void) { return w.pt.format == &pt_vtd_snoop || w.pt.format == &pt_vtd_39_snoop; }
static bool is_vtd(void) { return w.pt.format == &pt_vtd || w.pt.format == &pt_vtd_39 || snoops(); }

static bool is_amdvi(void) { return w.pt.format == &pt_amdvi; }

/* How many address bits a guest's table has. */
static u32 width(void) { return w.pt.format->levels == 3 ? 39 : 48; }

/* Rights and type of one entry, and that its reserved bits are clear. */
static u32 entry_rights(u64 entry, bool leaf, enum memory_type *memtype) {
    u32 rights;

    if (w.pt.format == &pt_ept) {
        REQUIRE(leaf ? (entry >> 3 & 7) == 0 || (entry >> 3 & 7) == 6 : (entry & 0xf8) == 0);
        REQUIRE(entry >> 52 == 0);
        *memtype = (entry >> 3 & 7) == 6 ? MEM_WB : MEM_UC;
        return (u32)(entry & 7); /* the bits of enum region_rights */
    }
    if (is_vtd()) { /* no right to execute, and a memory type only with snoop control */
        REQUIRE((entry & 0xfff000000000077cull) == 0 && (leaf || !(entry & BIT(7))));
        REQUIRE(!(entry & BIT(11)) || (leaf && snoops()));
        if (snoops()) *memtype = entry & BIT(11) ? MEM_WB : MEM_UC;
        return (u32)(entry & 3);
    }
    if (is_amdvi()) { /* no right to execute */
        REQUIRE((entry & 0x8ff00000000001feull) == 0 && (leaf || !(entry & BIT(60))));
        *memtype = entry & BIT(60) ? MEM_WB : MEM_UC;
        return (u32)(entry >> 61 & 3);
    }
    REQUIRE((entry & 0x7ff0000000000000ull) == 0);
    REQUIRE(leaf || !(entry & BIT(63)));
    *memtype = entry & BIT(4) ? MEM_UC : MEM_WB;
    REQUIRE(!(entry & BIT(4)) == !(entry & BIT(3)));
    rights = RIGHT_READ;
    rights |= entry & BIT(1) ? (u32)RIGHT_WRITE : 0;
    rights |= entry & BIT(63) ? 0 : (u32)RIGHT_EXEC;
    rights |= entry & BIT(2) ? (u32)RIGHT_USER : 0;
    return rights;
}

static struct walked walk(u64 va) {
    struct walked out = {.rights = ~0u};
    u64 table = w.pt.root.v;

    for (u32 level = w.pt.format->levels;; level--) {
        u64 bytes = PAGE_4K << (9 * (level - 1)), entry;
        bool leaf;

        entry = pool_virt(&w.pool, hpa(table))[va / bytes % 512];
        if (!(entry & 7)) {
            REQUIRE(entry == 0);
            return out;
        }
        leaf = level == 1 || (is_amdvi() ? !(entry & 0xe00) : entry & BIT(7));
        if (is_amdvi()) REQUIRE((entry >> 9 & 7) == (leaf ? 0 : level - 1));
        out.rights &= entry_rights(entry, leaf, &out.memtype);
        if (!leaf) {
            table = entry & ADDRESS;
            continue;
        }
        REQUIRE(level == 1 || level <= w.pt.max_leaf);
        REQUIRE(is_aligned(entry & ADDRESS, bytes)); /* reserved below, and PAT */
        out.present = true;
        out.at = (entry & ADDRESS) + va % bytes;
        return out;
    }
}

static void check_address(u64 va) {
    const struct range *r = range_of(va);
    struct pt_lookup found = pt_lookup(&w.pt, va);
    struct walked walked;
    u32 rights;

    REQUIRE((found.leaf_level != 0) == (r != NULL));
    if (w.pt.format == &pt_host ? !is_canonical(va, 48) : va >> width() != 0)
        return; /* the processor would not get as far as the table */
    walked = walk(va);
    REQUIRE(walked.present == (r != NULL));
    if (!r) return;
    rights = w.pt.format == &pt_host ? r->rights : r->rights & ~(u32)RIGHT_USER;
    if (is_vtd() || is_amdvi()) rights &= ~(u32)RIGHT_EXEC;
    REQUIRE(found.at.v == r->at + (va - r->va) && found.at.v == walked.at);
    REQUIRE(found.rights == rights);
    REQUIRE(walked.rights == (w.pt.format == &pt_npt ? rights | RIGHT_USER : rights));
    REQUIRE((is_vtd() && !snoops()) || walked.memtype == r->memtype);
}

static void check_range(const struct range *r) {
    check_address(r->va);
    check_address(r->va - 1);
    check_address(r->va + r->bytes);
    check_address(r->va + r->bytes - 1);
    check_address(r->va + r->bytes / 2);
    check_address(align_up(r->va + 1, PAGE_2M));
    check_address(align_up(r->va + 1, PAGE_1G));
}

static bool is_valid(const struct range *r) {
    u64 last = r->va + (r->bytes - 1);

    if (!is_aligned(r->va | r->at | r->bytes, PAGE_4K) || !(r->rights & RIGHT_READ)) return false;
    if (r->bytes == 0) return true;
    if (last < r->va || r->at + r->bytes < r->at || r->at + r->bytes > BIT(52)) return false;
    if (w.pt.format == &pt_host) return last < BIT(47) || r->va >= 0xffff800000000000ull;
    return last < BIT(width());
}

static bool overlaps(const struct range *r) {
    for (u32 i = 0; i < w.count; i++)
        if (r->va <= w.ranges[i].va + (w.ranges[i].bytes - 1) && w.ranges[i].va <= r->va + (r->bytes - 1)) return true;
    return false;
}

/* Addresses close to one another and to the borders come up far more often than by chance. */
static u64 take_address(struct input *in) {
    static const u64 bases[8] = {0,      GIB(1),      GIB(512),         BIT(47) - GIB(1),
                                 GIB(4), ~0ull << 47, BIT(48) - MIB(4), BIT(52) - GIB(2)};
    u64 selector = take(in, 1), pages = take(in, 2);

    switch (selector >> 3 & 3) {
    case 0: return bases[selector & 7] + pages * PAGE_4K;
    case 1: return bases[selector & 7] + pages * PAGE_2M;
    case 2: return bases[selector & 7] - pages * PAGE_4K;
    default: return bases[selector & 7] + (pages & 0x3ff) * PAGE_1G + (selector >> 5);
    }
}

/* True if a leaf goes on from the page before va. */
static bool cut_by(u64 va) {
    u32 level = pt_lookup(&w.pt, va).leaf_level;

    return level && va % (PAGE_4K << (9 * (level - 1)));
}

static void unmap(u64 which, u64 skip, u64 count) {
    struct range *r = &w.ranges[which % w.count], gone, rest;
    u64 pages = r->bytes / PAGE_4K;
    bool whole;

    skip %= pages;
    gone = (struct range){.va = r->va + skip * PAGE_4K, .bytes = min_u64(count, pages - skip) * PAGE_4K};
    rest = (struct range){.va = gone.va + gone.bytes, .at = r->at + (gone.va + gone.bytes - r->va)};
    rest.bytes = r->va + r->bytes - rest.va;
    rest.rights = r->rights;
    rest.memtype = r->memtype;
    whole = !gone.bytes || (!cut_by(gone.va) && (!rest.bytes || !cut_by(rest.va)));
    REQUIRE(pt_unmap(&w.pt, gone.va, gone.bytes) == (whole ? 0 : -E_INVAL));
    if (whole && gone.bytes) {
        r->bytes = gone.va - r->va;
        if (rest.bytes) w.ranges[w.count++] = rest;
        if (!r->bytes) *r = w.ranges[--w.count];
    }
    check_range(&gone);
    REQUIRE(w.pt.pages == w.pool.used);
}

static void step(struct input *in) {
    u64 how = take(in, 1), size = take(in, 1), count = take(in, 2);
    struct range r = {.rights = (u32)(how & 15), .memtype = how & 16 ? MEM_UC : MEM_WB};
    int rc;

    if ((how & 0x60) == 0x60 && w.count) {
        unmap(size, take(in, 2), count);
        return;
    }
    r.va = take_address(in);
    r.at = take_address(in);
    r.bytes = (count & (size & 4 ? 0xfff : 0x3f)) << (12 + 9 * (size & 3));
    if (size & 128) r.bytes += size;
    rc = pt_map(&w.pt, r.va, hpa(r.at), r.bytes, r.rights, r.memtype);
    if (!is_valid(&r)) {
        REQUIRE(rc == -E_INVAL);
    } else if (r.bytes == 0) {
        REQUIRE(rc == 0);
    } else if (overlaps(&r)) {
        REQUIRE(rc == -E_OVERLAP);
    } else {
        REQUIRE(rc == 0 || (rc == -E_NOMEM && w.pool.left == 0));
        if (rc == 0) w.ranges[w.count++] = r;
    }
    check_range(&r);
    REQUIRE(w.pt.pages == w.pool.used);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    u64 mapped = 0, leaves[4];

    w.pool.used = w.count = 0;
    w.pt.format = formats[take(&in, 1) % ARRAY_SIZE(formats)];
    w.pt.max_leaf = (u32)take(&in, 1) & 3;
    w.pool.left = 1 + (u32)take(&in, 1) % POOL_PAGES;
    REQUIRE(pt_init(&w.pt, w.pt.format, &pool_mem, w.pt.max_leaf) == 0);
    while (in.left && w.count < RANGES_MAX) step(&in);
    for (u32 i = 0; i < w.count; i++) {
        check_range(&w.ranges[i]);
        mapped += w.ranges[i].bytes;
    }
    pt_count_leaves(&w.pt, leaves);
    REQUIRE(leaves[1] * PAGE_4K + leaves[2] * PAGE_2M + leaves[3] * PAGE_1G == mapped);
    return 0;
}
