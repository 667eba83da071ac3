/* Host physical memory: what the machine has, and who took it. Boot core, before start; nothing is
 * freed. Pure. */
#pragma once

#include "core/base/types.h"
#include "mm/region.h"

struct frame_range {
    u64 base;
    u64 bytes;
};

/* Memory of a NUMA node. */
struct node_range {
    u64 base, bytes;
    u32 node;
};

/* Free ranges, sorted, without overlap. `ranges` belongs to the caller and has room for `max`. */
struct frames {
    struct frame_range *ranges;
    u32 count;
    u32 max;
    u64 taken; /* bytes handed out so far */
};

/* Adds usable memory (ends rounded inward to 4 KiB; overlapping or touching ranges merge; what lies
 * beyond 2^52 is left out). -E_NOMEM when `max` is reached. Add all before the first reserve:
 * firmware maps overlap. */
int frames_add(struct frames *f, u64 base, u64 bytes) must_check;
/* Takes a range away (rounded outward) wherever it overlaps free memory. -E_NOMEM when a split does
 * not fit. */
int frames_reserve(struct frames *f, u64 base, u64 bytes) must_check;
/* True if [base, base + bytes) is wholly free. */
bool frames_is_free(const struct frames *f, u64 base, u64 bytes);
/* The lowest free aligned range inside [low, high). bytes, align: multiples of 4 KiB, align a power
 * of two. 0, -E_INVAL (not so) or -E_NOMEM. */
int frames_alloc(struct frames *f, u64 bytes, u64 align, u64 low, u64 high, hpa_t *out) must_check;
u64 frames_free_bytes(const struct frames *f);

/* Memory for a partition: as few pieces as possible, each 1 GiB or 2 MiB aligned so that the large
 * pages of stage 2 fit; the first `memory` bytes taken from the highest suitable addresses, so that
 * low memory stays for those who need it. Every piece but the last is a multiple of 2 MiB, the sum
 * is `memory` rounded up to 4 KiB. Returns the number of pieces (at most max), -E_INVAL (no bytes
 * asked for), or -E_NOMEM with nothing taken. */
int frames_place(struct frames *f, u64 memory, struct piece *out, u32 max) must_check;
/* The same out of the memory of one node, which these ranges tell: sorted, without overlap, within 2^52. */
int frames_place_on(struct frames *f, const struct node_range *nodes, u32 count, u32 node, u64 memory,
                    struct piece *out, u32 max) must_check;
