/* The local APIC of one vCPU, xAPIC and x2APIC. Pure. Its vCPU's core owns it; only vlapic_post,
 * vlapic_match and the event word may be used from other cores (they are atomic). Time: TSC ticks
 * of the guest; the timer's input clock is the TSC frequency, so count = ticks / divider. Source:
 * SDM Vol 3A, Advanced Programmable Interrupt Controller. */
#pragma once

#include "core/base/types.h"
#include "core/vdev/vdev.h"

/* Events that other cores leave for the owner, in `events`. */
#define VLAPIC_EVENT_NMI  1u
#define VLAPIC_EVENT_INIT 2u
#define VLAPIC_EVENT_SIPI 4u

/* Local vector table, in register order. No CMCI entry: the version register says six entries. */
enum vlapic_lvt { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

struct vlapic {
    u32 id;        /* 32-bit x2APIC id; constant */
    bool bsp;      /* constant */
    u64 base_msr;  /* IA32_APIC_BASE; others read it atomically, as tpr, isr, ldr, dfr, svr and lvt
                    */
    u32 irr_banks; /* atomic: bit n is set if irr[n] may be nonzero */
    u32 irr[8];    /* atomic */
    u32 tmr[8];    /* atomic */
    u32 isr_banks; /* bit n: isr[n] is nonzero */
    u32 isr[8];
    u32 events; /* atomic, VLAPIC_EVENT_*; an INIT withdraws a SIPI not yet taken */
    u32 sipi_vector;
    u32 tpr, ldr, dfr, svr, esr;
    u32 esr_pending; /* atomic: errors since the last write to ESR */
    u32 icr_low, icr_high;
    u32 lvt[LVT_COUNT];
    u32 timer_initial, timer_divide;
    u64 timer_deadline; /* TSC of the next expiry, or NEVER */
    u64 tsc_deadline_msr;
    bool lint0_level; /* 8259 INTR as seen at LINT0; see vlapic_set_lint0 */
};

/* What an access asks of the rest of the partition. Filled by vlapic_write and vlapic_msr_write. */
struct vlapic_effect {
    bool ipi;
    struct apic_msg msg; /* valid if ipi */
    bool eoi_broadcast;
    u8 eoi_vector; /* valid if eoi_broadcast: a level interrupt ended, tell the IOAPIC */
};

/* Power-up or INIT state. INIT keeps id, bsp, IA32_APIC_BASE, the events and the level of LINT0.
 * Power-up: no other core may use the APIC meanwhile. */
void vlapic_reset(struct vlapic *l, u32 id, bool bsp);
void vlapic_init_signal(struct vlapic *l);
/* As firmware leaves the bootstrap processor's: enabled, the 8259 at LINT0, NMI at LINT1. Source: MultiProcessor
 * Specification 1.4, Virtual Wire Mode. */
void vlapic_virtual_wire(struct vlapic *l);

/* Register access through the xAPIC page. offset: 0 to 0xfff, any 4-byte access (others: the caller
 * splits or answers 0). If the APIC is disabled or in x2APIC mode the page does not exist: reads
 * give all ones, writes are dropped. */
u32 vlapic_read(struct vlapic *l, u32 offset, u64 now);
void vlapic_write(struct vlapic *l, u32 offset, u32 value, u64 now, struct vlapic_effect *fx);

/* IA32_APIC_BASE, TSC_DEADLINE and 0x800 to 0x8ff. Return 0 or -E_FAULT, which earns #GP(0):
 * reserved bits, wrong mode, read-only or absent register, illegal mode transition. */
int vlapic_msr_read(struct vlapic *l, u32 msr, u64 *value, u64 now) must_check;
int vlapic_msr_write(struct vlapic *l, u32 msr, u64 value, u64 now, struct vlapic_effect *fx) must_check;

/* Any core: sets IRR (and TMR) for a fixed interrupt. Vectors below 16 record "received illegal
 * vector" and set no IRR. Ignored while software-disabled. Returns true if the vCPU has to be woken
 * or kicked. */
bool vlapic_post(struct vlapic *l, u8 vector, bool level);
/* Any core: does this message address this APIC? (physical, logical flat, logical cluster, x2APIC
 * logical, broadcast) */
bool vlapic_match(const struct vlapic *l, const struct apic_msg *msg);

/* Any core: is it enabled by IA32_APIC_BASE and by the spurious-vector register? */
bool vlapic_enabled(const struct vlapic *l);
/* Processor priority (PPR, 0 to 255). From another core it is a hint that may be outdated. */
u32 vlapic_ppr(const struct vlapic *l);

/* Highest vector that may be delivered now (its class is above the processor priority), or -1. */
int vlapic_pending(const struct vlapic *l);
/* The CPU took this vector: IRR to ISR. */
void vlapic_ack(struct vlapic *l, u8 vector);
/* Its delivery came to nothing: ISR back to IRR. Only for the vector acknowledged last. */
void vlapic_unack(struct vlapic *l, u8 vector);
/* True if an asserted 8259 INTR would be taken as ExtINT: LINT0 unmasked in ExtINT mode, or the
 * APIC hardware-disabled. */
bool vlapic_accepts_extint(const struct vlapic *l);

/* Sets the 8259 INTR level at LINT0; a rising edge at an unmasked LINT0 in fixed or NMI mode is
 * delivered here (ExtINT is not: see above). Any core, one at a time (the board lock). Returns true
 * if the vCPU has to be woken or kicked. */
bool vlapic_set_lint0(struct vlapic *l, bool level);

/* CR8 is TPR[7:4]. */
u32 vlapic_cr8(const struct vlapic *l);
void vlapic_set_cr8(struct vlapic *l, u32 value);

/* TSC of the next timer expiry or NEVER; fires the timer if due (posts to itself, reloads a
 * periodic one without drift). */
u64 vlapic_deadline(const struct vlapic *l);
void vlapic_tick(struct vlapic *l, u64 now);
/* The guest moved its TSC by delta ticks (WRMSR to IA32_TSC or IA32_TSC_ADJUST): the count of the
 * one-shot and periodic modes stays what it was; a TSC deadline stays absolute. */
void vlapic_tsc_moved(struct vlapic *l, u64 delta);

/* Delivers a message to the APICs it addresses: shorthand, lowest priority (the lowest processor
 * priority, ties to the lowest id), NMI, INIT, SIPI, ExtINT. lapics: `count` pointers, indexed by
 * vCPU. src: vCPU that sent it, or ~0u for the IOAPIC. poke(ctx, i) is called for each vCPU that
 * must look at its state. False: no APIC has accepted it. Any core. */
bool apicbus_send(struct vlapic *const *lapics, u32 count, u32 src, const struct apic_msg *msg,
                  void (*poke)(void *ctx, u32 vcpu), void *ctx);
