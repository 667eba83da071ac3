/* A scripted vendor: implements struct vendor_ops over plain memory and plays exits through core's run loop. The guest
 * executes nothing: what a script says is what it did. */
#pragma once

#include "core/base/vendor.h"

/* Lies in the vCPU's control block. */
struct fake_vcpu {
    u64 reg[REG_BREAKPOINTS + 1];
    struct segment seg[VSEG_COUNT];
    struct vm_event queued; /* for the next entry */
    struct vm_event taken;  /* by the last entry that took one */
    u32 taken_count;
    bool intr_window, nmi_window;
    u8 posted;                      /* the last one */
    bool intr_blocked, nmi_blocked; /* beside RFLAGS.IF */
    u32 entries, resets, inits, flushes;
};

struct fake_script {
    const struct vm_exit *exits;
    u32 count, at;
    bool posted_taken;   /* runs end after the guest has taken what was posted */
    struct vm_event cut; /* the next exit cuts short the delivery of this */
};
extern struct fake_script fake_script;

/* Behaviour of the processor: what probe says, whether a timer and instruction lengths are there. */
struct fake_cpu {
    bool refuse_probe, refuse_enable, timer;
    bool posts, small_leaves;
    bool pdptes; /* the vCPU has PDPTE registers */
    bool wake;   /* a sleeping core is woken by its timer, and time passes meanwhile; else it stops */
    u64 armed;   /* of the vendor's timer */
    u32 idles, opened_ports, opened_msrs;
};
extern struct fake_cpu fake_cpu;

static inline struct fake_vcpu *fake_of(const struct vcpu_hw *hw) { return hw->block; }
