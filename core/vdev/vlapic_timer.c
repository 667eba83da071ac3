/* Local APIC timer: one-shot, periodic and TSC-deadline. Only the vCPU's core may call it. Time
 * comes as a parameter, in ticks of the guest's TSC; the timer's input clock has that frequency.
 * Source: SDM Vol 3A, APIC Timer, and TSC-Deadline Mode.
 *
 * One number says when the timer expires; the current count is computed from it, never counted:
 *
 *      now                                timer_deadline
 *   ----|--------------------------------------|---------------------> TSC
 *       |<------ current count * divider ----->|
 *                    |<- initial count * divider = period ->|          periodic: the next one
 */
#include "core/vdev/vlapic.h"

#include "core/vdev/vlapic_impl.h"

static u32 timer_mode(const struct vlapic *l) { return l->lvt[LVT_TIMER] >> LVT_MODE_SHIFT & LVT_MODE_MASK; }

/* log2 of the divider. SDM Vol 3A, Divide Configuration Register: bits 3, 1 and 0 count from 2 up,
 * and wrap to 1. */
static u32 divide_shift(const struct vlapic *l) {
    return (((l->timer_divide >> 1 & 4) | (l->timer_divide & 3)) + 1) & 7;
}

static u64 period(const struct vlapic *l) { return (u64)l->timer_initial << divide_shift(l); }

/* now + ticks, or NEVER if the TSC would wrap first. */
static u64 after(u64 now, u64 ticks) { return ticks > NEVER - now ? NEVER : now + ticks; }

static void disarm(struct vlapic *l) {
    l->timer_initial = 0;
    l->timer_deadline = NEVER;
    l->tsc_deadline_msr = 0;
}

void vlapic_timer_reset(struct vlapic *l) {
    disarm(l);
    l->timer_divide = 0;
}

u32 vlapic_timer_count(const struct vlapic *l, u64 now) {
    u32 mode = timer_mode(l), shift = divide_shift(l);
    u64 left;

    /* TSC-Deadline Mode: "current-count register always reads 0". */
    if (l->timer_deadline == NEVER || mode >= TIMER_TSC_DEADLINE) return 0;
    if (now < l->timer_deadline)
        left = l->timer_deadline - now;
    else if (mode == TIMER_PERIODIC)
        left = period(l) - (now - l->timer_deadline) % period(l);
    else
        return 0;
    /* Rounded up: the count is zero only from the expiry on. */
    left = (left + BIT(shift) - 1) >> shift;
    return (u32)min_u64(left, l->timer_initial);
}

void vlapic_tick(struct vlapic *l, u64 now) {
    u64 late;

    if (__builtin_expect(now < l->timer_deadline || l->timer_deadline == NEVER, 1)) return;
    late = now - l->timer_deadline;
    if (timer_mode(l) == TIMER_PERIODIC) {
        /* A multiple of the period after the old deadline, so that a late call leaves no drift.
         * Periods that were missed altogether become one interrupt, as their IRR bit would. */
        l->timer_deadline = after(now, period(l) - late % period(l));
    } else {
        l->timer_deadline = NEVER;
        l->tsc_deadline_msr = 0; /* it disarms itself and clears IA32_TSC_DEADLINE */
    }
    if (!(l->lvt[LVT_TIMER] & LVT_MASKED)) vlapic_post(l, (u8)l->lvt[LVT_TIMER], false);
}

u64 vlapic_deadline(const struct vlapic *l) {
    /* A masked timer counts, but its expiry changes nothing that anyone could wait for. */
    return l->lvt[LVT_TIMER] & LVT_MASKED ? NEVER : l->timer_deadline;
}

void vlapic_tsc_moved(struct vlapic *l, u64 delta) {
    if (l->timer_deadline != NEVER && timer_mode(l) < TIMER_TSC_DEADLINE) l->timer_deadline += delta;
}

/* Each of the writes below first settles what was due under the old setting. */

void vlapic_timer_set_initial(struct vlapic *l, u32 value, u64 now) {
    vlapic_tick(l, now);
    if (timer_mode(l) >= TIMER_TSC_DEADLINE) return; /* "writes to the initial-count register are ignored" */
    l->timer_initial = value;
    l->timer_deadline = value == 0 ? NEVER : after(now, period(l));
}

void vlapic_timer_set_divide(struct vlapic *l, u32 value, u64 now) {
    u32 count;

    vlapic_tick(l, now);
    count = vlapic_timer_count(l, now);
    l->timer_divide = value & 0xb;
    /* The count goes on from where it is, at the new rate. */
    if (count != 0) l->timer_deadline = after(now, (u64)count << divide_shift(l));
}

void vlapic_timer_set_lvt(struct vlapic *l, u32 value, u64 now) {
    u32 before;

    vlapic_tick(l, now);
    before = timer_mode(l);
    put32(&l->lvt[LVT_TIMER], value);
    /* "A write to the LVT Timer Register that changes the timer mode disarms the local APIC
     * timer." */
    if (timer_mode(l) != before) disarm(l);
}

u64 vlapic_timer_deadline_msr(struct vlapic *l, u64 now) {
    vlapic_tick(l, now);
    return l->tsc_deadline_msr;
}

void vlapic_timer_set_deadline_msr(struct vlapic *l, u64 value, u64 now) {
    vlapic_tick(l, now);
    if (timer_mode(l) != TIMER_TSC_DEADLINE)
        return; /* SDM Vol 3A, TSC-Deadline Mode: in the other modes writes are ignored */
    l->tsc_deadline_msr = value;
    l->timer_deadline = value == 0 ? NEVER : value;
    vlapic_tick(l, now);
}
