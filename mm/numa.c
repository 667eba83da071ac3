#include "mm/numa.h"

#include "core/base/bits.h"
#include "core/base/errors.h"

#define DISTANCE_SELF  10u /* ACPI 6.4, System Locality Information Table */
#define DISTANCE_OTHER 20u

bool numa_has(const struct numa *n, u32 node) {
    for (u32 i = 0; i < n->range_count; i++)
        if (n->ranges[i].node == node) return true;
    return false;
}

u32 numa_next(const struct numa *n, u32 last) {
    u32 best = NODE_NONE;

    for (u32 i = 0; i < n->range_count; i++) {
        u32 node = n->ranges[i].node;

        if ((last == NODE_NONE || node > last) && node < best) best = node;
    }
    return best;
}

u32 numa_distance(const struct numa *n, u32 from, u32 to) {
    if (from == to) return DISTANCE_SELF;
    if (from >= n->localities || to >= n->localities) return DISTANCE_OTHER;
    return n->distances[(u64)from * n->localities + to];
}

u32 numa_node_of_core(const struct numa *n, u64 core) { return core < n->core_count ? n->core_nodes[core] : NODE_NONE; }

u64 numa_bytes_on(const struct numa *n, u32 node, const struct piece *pieces, u32 count) {
    u64 sum = 0;

    for (u32 i = 0; i < count; i++)
        for (u32 k = 0; k < n->range_count; k++) {
            const struct node_range *r = &n->ranges[k];
            u64 from = max_u64(r->base, pieces[i].base.v);
            u64 end = min_u64(r->base + r->bytes, pieces[i].base.v + pieces[i].bytes);

            if (r->node == node && from < end) sum += end - from;
        }
    return sum;
}

/* By distance, then by number. */
static u64 rank(const struct numa *n, u32 from, u32 node) {
    return from == node ? 0 : (u64)numa_distance(n, from, node) << 32 | node;
}

/* The node with memory that is next nearest to `from` behind `last`, or NODE_NONE. */
static u32 next_nearest(const struct numa *n, u32 from, u32 last) {
    u32 best = NODE_NONE;

    for (u32 node = numa_next(n, NODE_NONE); node != NODE_NONE; node = numa_next(n, node))
        if (rank(n, from, node) > rank(n, from, last) &&
            (best == NODE_NONE || rank(n, from, node) < rank(n, from, best)))
            best = node;
    return best;
}

int numa_place(const struct numa *n, struct frames *f, u32 node, u64 memory, struct piece *out, u32 max) {
    for (u32 at = node; at != NODE_NONE; at = next_nearest(n, node, at)) {
        int count = frames_place_on(f, n->ranges, n->range_count, at, memory, out, max);

        if (count != -E_NOMEM) return count;
    }
    return frames_place(f, memory, out, max);
}
