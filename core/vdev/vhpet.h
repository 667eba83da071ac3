/* High precision event timer: a 64-bit counter of 100 MHz and three comparators, each one-shot or periodic, of 64 or 32
 * bits. Pure, under the board lock. Interrupts by lines 0 and 8 in the place of 8254 and RTC (legacy replacement), or
 * by line 10 or 11; no messages. Source: IA-PC HPET Specification 1.0a. */
#pragma once

#include "core/base/types.h"

#define VHPET_BYTES  0x400
#define VHPET_TIMERS 3
#define VHPET_ID                                                                                                       \
    0x8086a201u /* vendor; legacy route, 64 bits; three timers; revision 1. As in the guest's ACPI table               \
                 */

struct vhpet_timer {
    u64 config, comparator, period;
    u64 fires; /* tick of the next match, or NEVER */
};

/* Ticks are of 10 ns since guest time 0. */
struct vhpet {
    u64 config;
    u64 counter; /* halted: its value. Counting: what to add to the tick */
    u64 seen;    /* the latest tick: up to it all matches were seen */
    u32 status;  /* level-triggered timers that wait to be cleared */
    u32 held;    /* edge-triggered ones that have fired: their line stays up until the next edge */
    u32 rose;    /* ... and fired since vhpet_lines */
    struct vhpet_timer timer[VHPET_TIMERS];
};

void vhpet_reset(struct vhpet *h);
/* size: 1 to 8 bytes within 8. Writes are of 4 or 8, aligned; others are dropped. now: guest ns. */
u64 vhpet_read(struct vhpet *h, u32 offset, u32 size, u64 now);
void vhpet_write(struct vhpet *h, u32 offset, u32 size, u64 value, u64 now);
/* True if lines 0 and 8 are this device's. */
bool vhpet_legacy(const struct vhpet *h);
/* The lines that are up, a bit for each; *edges: those that rose anew since the last call. */
u32 vhpet_lines(struct vhpet *h, u32 *edges);
/* Guest ns of the next match that interrupts, or NEVER; and the call that makes it happen. */
u64 vhpet_deadline(const struct vhpet *h);
void vhpet_tick(struct vhpet *h, u64 now);
