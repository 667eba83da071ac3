/* Partitions that control others: what both sides share, and the two sides. Everything about a partition that another
 * one may see or ask lies in its struct control, on pages of its own, which are mapped on its cores and on those of
 * its controllers only. Whoever finds no order there may put one; the partition's own cores carry it out and clear it.
 */
#pragma once

#include "core/base/vendor.h"
#include "core/config/config.h"
#include "core/vdev/vcontrol.h"

struct partition;

struct control {
    u32 word;     /* atomic: enum control_state | enum control_order << 8 | who ordered << 16 */
    u32 ended;    /* enum partition_end of the last run */
    u32 restarts; /* in all; the partition's own counts towards its limit */
    u64 busy;     /* host TSC: starts that were ordered are paid for until then; written by who puts an order */
    u64 exits[][EXIT_REASONS]; /* by vCPU */
};

#define CONTROL_STATE(word)  ((word)&0xff)
#define CONTROL_ORDER(word)  ((word) >> 8 & 0xff)
#define CONTROL_BYTES(vcpus) (sizeof(struct control) + (vcpus) * sizeof(u64[EXIT_REASONS]))

/* A partition with the key `control` starts: its device as after a reset. */
void control_reset(struct partition *p);
/* An order may be there: on the core of vCPU 0. */
void control_requested(struct partition *p);
/* The name of the partition that gave the order in `word`. */
const char *control_who(u32 word);
/* The partition runs again; `ordered`: by the order that is pending. Its own core. */
void control_running(struct partition *p, bool ordered);
/* It does not run any more; `ordered`: and the order that is pending is done by that. A restart that was ordered
 * meanwhile becomes a start. The last one's end switches the machine off. Its own core. */
void control_ended(struct partition *p, enum control_state state, bool ordered);
