/* One virtual processor: pinned to one core, which runs vcpu_loop for it and nothing else. */
#pragma once

#include "core/base/vendor.h"
#include "core/policy/cpuid.h"
#include "core/vdev/vlapic.h"
#include "core/vdev/vmtrr.h"
#include "core/vdev/vpvclock.h"

struct partition;

enum vcpu_state { VCPU_RUNNING, VCPU_HALTED, VCPU_WAIT_SIPI, VCPU_PARKED };

#define EXTINT_VALID 0x100u

/* What other cores ask, in `requests`. */
#define REQUEST_EVENT   1u  /* the local APIC or the 8259 has something new */
#define REQUEST_BOARD   2u  /* a board device's deadline moved, or console bytes came (vCPU 0) */
#define REQUEST_STOP    4u  /* the partition ends or restarts */
#define REQUEST_FLUSH   8u  /* stage 2 lost a mapping */
#define REQUEST_CONTROL 16u /* another partition may have put an order (vCPU 0) */
#define REQUEST_START   32u /* the partition runs again: for a parked vCPU */

struct vcpu {
    struct vcpu_hw hw; /* first: the assembly stubs know it */
    struct partition *partition;
    u32 index;
    u32 core;      /* host core number */
    u32 host_apic; /* its local APIC id */
    u32 requests;  /* atomic */
    enum vcpu_state state;
    bool timer_due;    /* set by the host timer's interrupt on this core */
    bool timers_moved; /* a handler touched something with a deadline */
    bool console_left; /* output waits for the UART */
    u64 tsc_offset;    /* guest TSC = host TSC + this */
    u64 tsc_adjust;    /* IA32_TSC_ADJUST */
    u64 deadline;      /* host TSC that the host timer is armed for, or NEVER; 0: it has gone off */
    u64 timer_rest;    /* host TSC before which the host timer does not go off again; NEVER: it has just gone off */
    u64 console_retry; /* host TSC at which to try the console again, or NEVER */
    u64 key_poll;      /* host TSC at which to look for keystrokes, or NEVER: an interrupt tells */
    u16 extint;        /* the interrupt delivered last, if it was the 8259's: EXTINT_VALID | vector */
    u16 extint_again;  /* the same, acknowledged but not delivered; 0: none */
    bool nmi_pending;
    bool intr_line;               /* 8259 INTR, of vCPU 0 only; atomic, written under the board lock */
    bool intr_window, nmi_window; /* open at the vendor */
    struct vm_event fault;        /* raised by the last handler, to be delivered at the next entry */
    struct vlapic lapic;
    struct vpvclock clock;
    struct vmtrr mtrr;
    u64 *exits;   /* how many, by reason: core/control.h */
    u64 reserved; /* address bits up to 51 that CPUID says there are none of: as struct walk_cpu has them */
    struct cpuid_table cpuid;
};

/* Runs a vCPU until its partition has ended. Its core, interrupts closed. */
void vcpu_loop(struct vcpu *v) noreturn_fn;
/* Power-up state; vCPU 0 then gets the image's start state, others wait for SIPI. Its core. */
void vcpu_start(struct vcpu *v);
/* The partition has ended and may be started again: nothing but an order wakes the vCPU. Its core. */
void vcpu_park(struct vcpu *v);
/* Any core: sets requests and interrupts the vCPU's core if it is another. */
void vcpu_poke(struct vcpu *v, u32 requests);

/* Raises an exception at the next entry; joins with one that is being delivered (double and triple fault). Its core. */
void vcpu_raise(struct vcpu *v, u8 vector, bool has_error, u32 error);
/* #GP(0) and #UD. */
void vcpu_raise_gp(struct vcpu *v);
void vcpu_raise_ud(struct vcpu *v);

/* Carries out what an access to the local APIC asked for: an IPI, the end of a level interrupt. */
void vcpu_apic_effect(struct vcpu *v, const struct vlapic_effect *fx);

/* Time of the guest: its TSC, and nanoseconds since its partition started. */
u64 vcpu_guest_tsc(const struct vcpu *v);
u64 vcpu_guest_ns(const struct vcpu *v);
