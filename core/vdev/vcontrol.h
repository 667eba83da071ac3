/* The control device: a 16550 whose other end is a line-oriented command interpreter, by which the guest lists, stops,
 * starts and restarts other partitions. Pure, under the board lock. It acts only on what its host lets it see, and only
 * when the guest accesses it: nothing happens by itself. An answer is made line by line as the guest reads it, so that
 * it has no bound but the guest's patience; until it has been read, no further command is taken. docs/control.md has
 * the language. */
#pragma once

#include "core/base/ring.h"
#include "core/base/vendor.h"
#include "core/vdev/vuart.h"

#define VCONTROL_LINE 63  /* characters of a command, without its end */
#define VCONTROL_TEXT 192 /* bytes of an answer that are made at once */

/* FAILED may be started again, BROKEN never. */
enum control_state { CONTROL_RUNNING, CONTROL_STOPPED, CONTROL_OFF, CONTROL_CRASHED, CONTROL_FAILED, CONTROL_BROKEN };
/* What has been ordered and is not done yet. */
enum control_order { ORDER_NONE, ORDER_STOP, ORDER_START, ORDER_RESTART };

struct control_view {
    const char *name;
    enum control_state state;
    enum control_order order;
    u32 vcpus, restarts;
    const char *ended;                /* why it ended the last time */
    const u64 (*exits)[EXIT_REASONS]; /* by vCPU; they go on counting */
};

/* Called from inside vcontrol functions; none waits. */
struct vcontrol_host {
    void *ctx;
    u32 partitions;
    /* False: this one does not exist for the guest, and nothing else is called about it. */
    bool (*look)(void *ctx, u32 partition, struct control_view *out);
    const char *(*reason_name)(enum exit_reason reason);
    /* NULL: it will be done; else what is wrong, "; " and what to do. */
    const char *(*order)(void *ctx, u32 partition, enum control_order order);
};

struct vcontrol {
    struct vuart uart;
    const struct vcontrol_host *host;
    struct ring in, out; /* commands, answers */
    u8 in_data[4 * VUART_FIFO], out_data[256];
    char line[VCONTROL_LINE + 1]; /* the command so far */
    u32 length;                   /* more than VCONTROL_LINE: too long */
    u32 answer;                   /* which one is being given; 0: none */
    u32 partition, vcpu, reason;  /* as far as it has come */
    u64 sum;
    char text[VCONTROL_TEXT]; /* its current lines, and how much of them is in the ring */
    u32 at;
};

void vcontrol_reset(struct vcontrol *c, const struct vcontrol_host *host);
/* Registers 0 to 7 of the UART; vuart_intr(&c->uart) is the interrupt line afterwards. */
u8 vcontrol_read(struct vcontrol *c, u32 offset);
void vcontrol_write(struct vcontrol *c, u32 offset, u8 value);
