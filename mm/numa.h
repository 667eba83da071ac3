/* Which memory and which cores of the machine are near each other: NUMA nodes. Numbers of nodes are the proximity
 * domains of ACPI. Boot core, before start. Pure; the same source serves tools/mullion-check. */
#pragma once

#include "core/base/types.h"
#include "mm/frames.h"

#define NODE_NONE 0xffffffffu

/* All zero: the machine does not tell. */
struct numa {
    const struct node_range *ranges; /* sorted, without overlap, within 52 bits */
    u32 range_count;
    const u32 *core_nodes; /* by core number; NODE_NONE where the machine does not tell */
    u32 core_count;
    const u8 *distances; /* localities * localities, row by row, 10 is near; ACPI 6.4, SLIT */
    u32 localities;
};

/* True if some memory belongs to this node. */
bool numa_has(const struct numa *n, u32 node);
/* Next node with memory behind `last` by number, or NODE_NONE; the first one for NODE_NONE. */
u32 numa_next(const struct numa *n, u32 last);
/* 10 for a node itself; where the machine does not tell, 20 for another. */
u32 numa_distance(const struct numa *n, u32 from, u32 to);
u32 numa_node_of_core(const struct numa *n, u64 core);
/* How many bytes of these pieces belong to the node. */
u64 numa_bytes_on(const struct numa *n, u32 node, const struct piece *pieces, u32 count);
/* As frames_place: all of it from `node`, or else all from one other node, the nearest first, or else from anywhere.
 * NODE_NONE: from anywhere. */
int numa_place(const struct numa *n, struct frames *f, u32 node, u64 memory, struct piece *out, u32 max) must_check;
