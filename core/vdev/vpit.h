/* 8254 interval timer and port 0x61 of a PC. Pure, under the board lock. Channel 0's OUT is line 0,
 * channel 2's gate and OUT are at port 0x61, the gates of channels 0 and 1 are tied high.
 * Source: Intel 8254 datasheet; ICH9 datasheet, 8254 Timers and NMI Status and Control Register. */
#pragma once

#include "core/base/types.h"

#define VPIT_HZ           1193182u
#define VPIT_PORT         0x40 /* three counters, then the control word */
#define VPIT_CONTROL_PORT 0x43
#define VPIT_SYSTEM_PORT  0x61

/* Clocks are PIT clocks since guest time 0. */
struct vpit_channel {
    u8 mode;   /* 0 to 5 */
    u8 access; /* RW field: 1 LSB, 2 MSB, 3 LSB then MSB */
    bool bcd, gate;
    bool write_msb, read_msb; /* the next byte of a two-byte access is the upper one */
    u8 write_lsb;             /* lower byte of a count that is half written */
    bool written;             /* a count came since the control word */
    bool null;                /* the count written last is not in the counting element yet */
    bool loaded;              /* the counting element counts; below is valid */
    u32 count, next;          /* in clocks, 1 to 65536 (10000): loaded, and to be loaded */
    u64 start;                /* clock at which count was loaded */
    u64 stopped;              /* gate low: clocks counted before */
    bool triggered;           /* the gate rose and its load comes at load_at: modes 2 and 3 stand until then */
    u64 load_at;              /* clock at which `next` is loaded, or NEVER */
    bool low_half;            /* mode 3: the count loaded then begins with the low half */
    u16 idle;                 /* counting element while not loaded */
    bool count_latched, status_latched;
    u16 latched_count;
    u8 latched_status;
};

struct vpit {
    struct vpit_channel channel[3];
    u64 clock; /* the latest clock seen: time does not run backwards */
    u64 rise;  /* clock of the next rising edge of OUT0, or NEVER */
    bool edge; /* OUT0 rose since vpit_take_edge */
    u8 system; /* port 0x61 bits 3:0 */
};

/* No channel programmed, OUT high, the speaker gate low. */
void vpit_reset(struct vpit *p);
/* Ports 0x40 to 0x43 and 0x61. now: guest ns. */
u8 vpit_read(struct vpit *p, u16 port, u64 now);
void vpit_write(struct vpit *p, u16 port, u8 value, u64 now);

/* Guest ns of the next rising edge of OUT0 that vpit_tick has not seen, or NEVER. */
u64 vpit_deadline(const struct vpit *p);
/* Brings the state up to now. Several periods since the last call make one edge; the next one stays
 * on the grid of the programmed period. */
void vpit_tick(struct vpit *p, u64 now);
/* True once for all rising edges of OUT0 up to the last tick, read or write. */
bool vpit_take_edge(struct vpit *p);
/* Level of OUT0 at that time. */
bool vpit_out0(const struct vpit *p);
