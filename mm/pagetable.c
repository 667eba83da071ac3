/* The builder for host, EPT, NPT and DMA tables. Owns no memory: table pages come from the caller's struct pt_mem and
 * stay with the caller. Boot core, before start; later only the windows into which a guest moves its devices change,
 * under the partition's board lock. Each entry is written at once, and nothing is flushed here. */
#include "mm/pagetable.h"

#include "core/base/bits.h"
#include "core/base/errors.h"

/* One walk, four levels, 9 bits of the address each (SDM Vol 3A, 4-Level Paging; APM Vol 2,
 * Long-Mode Page Translation):
 *
 *      63     48 47       39 38       30 29       21 20       12 11        0
 *     +---------+-----------+-----------+-----------+-----------+-----------+
 *     | bit 47  |  index 4  |  index 3  |  index 2  |  index 1  |  offset   |
 *     +---------+-----------+-----------+-----------+-----------+-----------+
 *                     |           |           |           |           |
 *      root -> +---+  |   +---+   |   +---+   |   +---+   |           |
 *              |   |  |   |   |   |   |   |   |   |   |   |           |
 *              |   |<-+ +>|   |<--+ +>|   |<--+ +>|   |<--+           |
 *              |   |---+  |   |----+  |   |----+  |   |--> 4 KiB page +--> byte
 *              +---+      +---+    |  +---+    |  +---+
 *             level 4    level 3   | level 2   | level 1
 *                                  |           +--> or a 2 MiB page
 *                                  +--> or a 1 GiB page
 *
 * Host addresses repeat bit 47 in 63:48; guest-physical addresses have zeros there. */
#define LEVELS     4u /* at most */
#define ENTRIES    512u
#define INDEX_BITS 9u

/* Bits 51:12 of an entry, the same in every format. Bit 12 of a large leaf is the PAT bit, which
 * no format here sets. */
#define ENTRY_ADDRESS  (BIT(52) - PAGE_4K)
#define PHYSICAL_LIMIT BIT(52)

/* SDM Vol 3A, 4-Level Paging; APM Vol 2, Page-Translation-Table Entry Fields. */
#define PTE_PRESENT       BIT(0)
#define PTE_WRITE         BIT(1)
#define PTE_USER          BIT(2)
#define PTE_WRITE_THROUGH BIT(3)
#define PTE_CACHE_DISABLE BIT(4)
#define PTE_NO_EXECUTE    BIT(63)
#define ENTRY_LARGE       BIT(7) /* in every format but AMD-Vi's */

/* SDM Vol 3C, EPT Paging-Structure Entries. */
#define EPT_READ  BIT(0)
#define EPT_WRITE BIT(1)
#define EPT_EXEC  BIT(2)
#define EPT_RWX   (EPT_READ | EPT_WRITE | EPT_EXEC)

/* VT-d 4.1, Second-Stage Paging Entries. */
#define VTD_READ  BIT(0)
#define VTD_WRITE BIT(1)
#define VTD_SNOOP BIT(11)

/* AMD I/O Virtualization Technology (IOMMU) Specification (48882), I/O Page Tables for Host Translations. */
#define AMDVI_PRESENT    BIT(0)
#define AMDVI_NEXT_SHIFT 9u
#define AMDVI_COHERENT   BIT(60)
#define AMDVI_READ       BIT(61)
#define AMDVI_WRITE      BIT(62)

/* --- formats ---------------------------------------------------------------------------------- */

/* Rights are the intersection over all levels, so entries of tables give all and the leaf decides. UC is PCD and PWT
 * together: entry 3 of the PAT, which is UC- or UC in every PAT in use (SDM Vol 3A, Page Attribute Table). */
const struct pt_format pt_host = {
    .name = "host",
    .levels = LEVELS,
    .sign_extended = true,
    .present = PTE_PRESENT,
    .table = PTE_PRESENT | PTE_WRITE | PTE_USER,
    .leaf = PTE_PRESENT,
    .uncached = PTE_CACHE_DISABLE | PTE_WRITE_THROUGH,
    .right = {PTE_PRESENT, PTE_WRITE, PTE_NO_EXECUTE, PTE_USER},
    .denies = PTE_NO_EXECUTE,
};

/* Bits 7:3 of an entry that refers to a table are reserved or must be zero. Ignore-PAT (bit 6) stays clear: the guest's
 * PAT combines with the type given here, 6 or 0 (SDM Vol 3C, EPT and Memory Typing). */
const struct pt_format pt_ept = {
    .name = "ept",
    .levels = LEVELS,
    .present = EPT_RWX,
    .table = EPT_RWX,
    .cached = 6 << 3,
    .right = {EPT_READ, EPT_WRITE, EPT_EXEC},
};

/* The nested walk makes user accesses only (APM Vol 2, Nested Paging): an entry without U would
 * fault whatever the guest does. U is thus no right of a region. */
const struct pt_format pt_npt = {
    .name = "npt",
    .levels = LEVELS,
    .present = PTE_PRESENT,
    .table = PTE_PRESENT | PTE_WRITE | PTE_USER,
    .leaf = PTE_PRESENT | PTE_USER,
    .uncached = PTE_CACHE_DISABLE | PTE_WRITE_THROUGH,
    .right = {PTE_PRESENT, PTE_WRITE, PTE_NO_EXECUTE},
    .denies = PTE_NO_EXECUTE,
};

/* DMA executes nothing. It is coherent as the device says, or always, where a unit has snoop control. */
#define VTD_FORMAT(name_, levels_, cached_)                                                                            \
    {                                                                                                                  \
        .name = (name_), .levels = (levels_), .present = VTD_READ | VTD_WRITE, .table = VTD_READ | VTD_WRITE,          \
        .cached = (cached_), .right = {VTD_READ, VTD_WRITE},                                                           \
    }
const struct pt_format pt_vtd = VTD_FORMAT("vt-d", LEVELS, 0);
const struct pt_format pt_vtd_39 = VTD_FORMAT("vt-d 39", LEVELS - 1, 0);
const struct pt_format pt_vtd_snoop = VTD_FORMAT("vt-d snoop", LEVELS, VTD_SNOOP);
const struct pt_format pt_vtd_39_snoop = VTD_FORMAT("vt-d 39 snoop", LEVELS - 1, VTD_SNOOP);

/* Where memory is cached, "force coherent" overrules the device. */
const struct pt_format pt_amdvi = {
    .name = "amd-vi",
    .levels = LEVELS,
    .next_shift = AMDVI_NEXT_SHIFT,
    .present = AMDVI_PRESENT,
    .table = AMDVI_PRESENT | AMDVI_READ | AMDVI_WRITE,
    .leaf = AMDVI_PRESENT,
    .cached = AMDVI_COHERENT,
    .right = {AMDVI_READ, AMDVI_WRITE},
};

static u64 leaf_entry(const struct pt_format *f, u64 at, u32 rights, enum memory_type memtype, u32 level) {
    u64 entry =
        at | f->leaf | (memtype == MEM_UC ? f->uncached : f->cached) | (level > 1 && !f->next_shift ? ENTRY_LARGE : 0);

    for (u32 i = 0; i < ARRAY_SIZE(f->right); i++)
        if (rights & BIT(i)) entry |= f->right[i];
    return entry ^ f->denies;
}

static u32 leaf_rights(const struct pt_format *f, u64 entry) {
    u32 rights = 0;

    for (u32 i = 0; i < ARRAY_SIZE(f->right); i++)
        if ((entry ^ f->denies) & f->right[i]) rights |= 1u << i;
    return rights;
}

/* --- walker ----------------------------------------------------------------------------------- */

/* Bytes that one entry of this level covers. */
static u64 level_bytes(u32 level) { return PAGE_4K << (INDEX_BITS * (level - 1)); }

static u32 level_index(u64 va, u32 level) { return (u32)(va / level_bytes(level)) % ENTRIES; }

/* Level 4 has no leaves and level 1 nothing else. */
static bool is_leaf(const struct pt_format *f, u64 entry, u32 level) {
    if (level == 1 || level == LEVELS) return level == 1;
    return f->next_shift ? !bits_get(entry, f->next_shift, 3) : (entry & ENTRY_LARGE) != 0;
}

static u64 *table_of(const struct pt *pt, u64 entry) { return pt->mem->virt(pt->mem->ctx, hpa(entry & ENTRY_ADDRESS)); }

/* True if every address from first to last has a place in the table. */
static bool covers(const struct pt *pt, u64 first, u64 last) {
    if (last < first) return false;
    if (pt->format->sign_extended)
        return is_canonical(first, 48) && is_canonical(last, 48) && first >> 63 == last >> 63;
    return last < level_bytes(pt->format->levels + 1);
}

struct mapping {
    u64 va;
    hpa_t at;
    u64 bytes;
    u32 rights;
    enum memory_type memtype;
};

/* The first pass finds overlaps, the second takes table pages, the third writes leaves: an error
 * can come only before the first leaf. */
enum pass { PASS_CHECK, PASS_TABLES, PASS_LEAVES, PASSES };

static bool leaf_fits(const struct pt *pt, const struct mapping *m, u64 done, u32 level) {
    u64 size = level_bytes(level);

    return (level == 1 || level <= pt->max_leaf) && m->bytes - done >= size &&
           is_aligned((m->va + done) | (m->at.v + done), size);
}

static int add_table(struct pt *pt, u64 *entry, u64 below) {
    hpa_t page;
    int err = pt->mem->alloc(pt->mem->ctx, &page);

    if (err) return err;
    if (pt->format->next_shift) page.v |= below << pt->format->next_shift;
    __atomic_store_n(entry, page.v | pt->format->table, __ATOMIC_RELEASE);
    pt->pages++;
    return 0;
}

/* Does what `pass` wants for the part of m that starts `done` bytes in and ends with one entry;
 * adds its bytes to *done. A table that stands where a large leaf would fit is kept: it has
 * entries, or is left over from a map that ran out of memory, and then takes smaller leaves. */
static int map_step(struct pt *pt, const struct mapping *m, enum pass pass, u64 *done) {
    const struct pt_format *format = pt->format;
    u64 va = m->va + *done;
    u64 *table = table_of(pt, pt->root.v);

    for (u32 level = pt->format->levels;; level--) {
        u64 *entry = &table[level_index(va, level)];
        u64 size = level_bytes(level);

        if (*entry & format->present) {
            if (is_leaf(pt->format, *entry, level)) return -E_OVERLAP;
        } else if (leaf_fits(pt, m, *done, level)) {
            if (pass == PASS_LEAVES)
                __atomic_store_n(entry, leaf_entry(format, m->at.v + *done, m->rights, m->memtype, level),
                                 __ATOMIC_RELEASE);
            *done += size;
            return 0;
        } else if (pass == PASS_CHECK) {
            *done += min_u64(size - va % size, m->bytes - *done);
            return 0;
        } else {
            int err = add_table(pt, entry, level - 1);

            if (err) return err;
        }
        table = table_of(pt, *entry);
    }
}

int pt_init(struct pt *pt, const struct pt_format *format, const struct pt_mem *mem, u32 max_leaf) {
    int err;

    *pt = (struct pt){.format = format, .mem = mem};
    pt->max_leaf = (u32)min_u64(max_leaf, LEVELS - 1);
    err = mem->alloc(mem->ctx, &pt->root);
    if (err) return err;
    pt->pages = 1;
    return 0;
}

int pt_map(struct pt *pt, u64 va, hpa_t at, u64 bytes, u32 rights, enum memory_type memtype) {
    const struct mapping m = {va, at, bytes, rights, memtype};

    if (!is_aligned(va | at.v | bytes, PAGE_4K)) return -E_INVAL;
    /* Host and NPT entries cannot deny a read, and EPT forbids or restricts entries without R
     * (SDM Vol 3C, EPT Misconfigurations). */
    if (!(rights & RIGHT_READ)) return -E_INVAL;
    if (bytes == 0) return 0;
    if (!covers(pt, va, va + (bytes - 1)) || bytes > PHYSICAL_LIMIT || at.v > PHYSICAL_LIMIT - bytes) return -E_INVAL;

    for (enum pass pass = PASS_CHECK; pass < PASSES; pass++) {
        u64 done = 0;

        while (done < bytes) {
            int err = map_step(pt, &m, pass, &done);

            if (err) return err;
        }
    }
    return 0;
}

/* The entry that decides about va: a leaf, or one that is not present. */
static u64 *deciding_entry(const struct pt *pt, u64 va, u32 *level) {
    u64 *table = table_of(pt, pt->root.v);

    for (*level = pt->format->levels;; --*level) {
        u64 *entry = &table[level_index(va, *level)];

        if (!(*entry & pt->format->present) || is_leaf(pt->format, *entry, *level)) return entry;
        table = table_of(pt, *entry);
    }
}

int pt_unmap(struct pt *pt, u64 va, u64 bytes) {
    if (!is_aligned(va | bytes, PAGE_4K) || (bytes && !covers(pt, va, va + (bytes - 1)))) return -E_INVAL;
    for (u32 pass = 0; pass < 2; pass++) {
        for (u64 at = va, left; (left = va + bytes - at);) {
            u32 level;
            u64 *entry = deciding_entry(pt, at, &level), size = level_bytes(level);
            bool whole = is_aligned(at, size) && left >= size;

            if (*entry & pt->format->present) {
                if (!whole) return -E_INVAL;
                if (pass) __atomic_store_n(entry, 0, __ATOMIC_RELEASE);
            }
            at += min_u64(size - at % size, left);
        }
    }
    return 0;
}

struct pt_lookup pt_lookup(const struct pt *pt, u64 va) {
    u64 entry = 0;
    u32 level;

    if (covers(pt, va, va)) entry = *deciding_entry(pt, va, &level);
    if (!(entry & pt->format->present)) return (struct pt_lookup){.leaf_level = 0};
    return (struct pt_lookup){
        .at = hpa(align_down(entry & ENTRY_ADDRESS, level_bytes(level)) + va % level_bytes(level)),
        .leaf_level = level,
        .rights = leaf_rights(pt->format, entry),
    };
}

void pt_count_leaves(const struct pt *pt, u64 counts[4]) {
    /* Where the walk stands on each level: the table, and the entry that comes next. */
    const u64 *table[LEVELS + 1];
    u32 next[LEVELS + 1] = {0};
    u32 level = pt->format->levels;

    table[level] = table_of(pt, pt->root.v);
    for (u32 i = 0; i < LEVELS; i++) counts[i] = 0;
    while (level <= pt->format->levels) {
        u64 entry;

        if (next[level] == ENTRIES) {
            level++;
            continue;
        }
        entry = table[level][next[level]++];
        if (!(entry & pt->format->present)) continue;
        if (is_leaf(pt->format, entry, level)) {
            counts[level]++;
            continue;
        }
        level--;
        table[level] = table_of(pt, entry);
        next[level] = 0;
    }
}
