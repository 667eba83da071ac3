/* One builder for every x86-64 style radix table: host tables, EPT, NPT and DMA tables differ only in
 * their format. Pure: table memory arrives through struct pt_mem. Before start only, on the boot core. */
#pragma once

#include "core/base/types.h"
#include "mm/region.h"

/* How one kind of table encodes its entries: the bits beside the address. */
struct pt_format {
    const char *name;
    u32 levels;                 /* 4, or 3: the root is a table of level 3 */
    bool sign_extended;         /* addresses repeat bit 47 upward; if not, they end at 2^48, or 2^39 */
    u32 next_shift;             /* from here on, an entry of a table has the level of that, a leaf 0; 0: bit 7 tells */
    u64 present;                /* an entry in use has one of these */
    u64 table;                  /* in an entry that refers to a table */
    u64 leaf, cached, uncached; /* in every leaf, and by memory type */
    u64 right[4];               /* what RIGHT_READ, RIGHT_WRITE, RIGHT_EXEC and RIGHT_USER stand for */
    u64 denies;                 /* those of them that take the right away when they are set */
};

extern const struct pt_format pt_host; /* SDM Vol 3A, 4-Level Paging; global bit never set */
extern const struct pt_format pt_ept;  /* SDM Vol 3C, EPT Paging-Structure Entries; accessed and dirty not used */
extern const struct pt_format pt_npt;  /* APM Vol 2, Nested Paging; user bit always set */

/* VT-d 4.1, Second-Stage Paging Entries; no right to execute. For units with 48 address bits, and with 39. */
extern const struct pt_format pt_vtd, pt_vtd_39, pt_vtd_snoop, pt_vtd_39_snoop;
extern const struct pt_format pt_amdvi; /* 48882, I/O Page Tables for Host Translations; no right to execute */

/* Where table pages come from and how they are reached. alloc: one zeroed 4 KiB page; returns 0 or
 * -E_NOMEM. */
struct pt_mem {
    void *ctx;
    int (*alloc)(void *ctx, hpa_t *page);
    u64 *(*virt)(void *ctx, hpa_t page);
};

struct pt {
    const struct pt_format *format;
    const struct pt_mem *mem;
    hpa_t root;
    u32 max_leaf; /* largest leaf the CPU offers: 1 = 4 KiB, 2 = 2 MiB, 3 = 1 GiB */
    u32 pages;    /* table pages in use, root included */
};

/* Takes a root page. Returns 0 or -E_NOMEM. */
int pt_init(struct pt *pt, const struct pt_format *format, const struct pt_mem *mem, u32 max_leaf) must_check;

/* Maps [va, va + bytes) to at with these rights and the largest leaves that fit. All multiples of 4
 * KiB; no bytes: nothing to do. rights: RIGHT_READ at least. Returns 0, -E_INVAL (alignment, wrap,
 * no read right, beyond 48 or 39 address bits or 52 physical ones), -E_OVERLAP (part is mapped: nothing
 * changed), or -E_NOMEM (nothing mapped; empty table pages may stay). */
int pt_map(struct pt *pt, u64 va, hpa_t at, u64 bytes, u32 rights, enum memory_type memtype) must_check;

/* Takes away the 4 KiB leaves and larger ones that lie in [va, va + bytes); the tables stay. The caller flushes what
 * processors have cached. Returns 0, or -E_INVAL: alignment, or a leaf reaches beyond the range (nothing changed). */
int pt_unmap(struct pt *pt, u64 va, u64 bytes) must_check;

/* What maps va: out->leaf_level 0 if nothing does. */
struct pt_lookup {
    hpa_t at;
    u32 leaf_level;
    u32 rights;
};
struct pt_lookup pt_lookup(const struct pt *pt, u64 va);

/* Number of leaves per level ([1] 4 KiB, [2] 2 MiB, [3] 1 GiB), for reports and tests. */
void pt_count_leaves(const struct pt *pt, u64 counts[4]);
