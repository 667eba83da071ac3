#include "core/vcpu.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/panic.h"
#include "core/base/x86.h"
#include "core/console.h"
#include "core/exits.h"
#include "core/guest.h"
#include "core/local.h"
#include "core/machine.h"
#include "core/partition.h"
#include "drivers/lapic.h"

#define CONSOLE_RETRY_NS 1000000
#define KEY_POLL_NS      10000000
/* TSC ticks from when the host timer is set, once it has gone off, to the next time, at the least: longer than the rest
 * of the way to the guest. A guest may name a period that is shorter than an exit, and a timer that has expired again
 * before each entry would let it execute nothing. */
#define TIMER_REST 4096

u64 vcpu_guest_tsc(const struct vcpu *v) { return rdtsc() + v->tsc_offset; }

u64 vcpu_guest_ns(const struct vcpu *v) {
    u64 now = rdtsc();

    /* Another core's TSC may lie behind the one that set tsc_start. */
    return now > v->partition->tsc_start ? tsc_to_ns(now - v->partition->tsc_start) : 0;
}

void vcpu_poke(struct vcpu *v, u32 requests) {
    __atomic_fetch_or(&v->requests, requests, __ATOMIC_RELEASE);
    if (v->core != this_core->core) lapic_send(v->host_apic, VECTOR_KICK);
}

void vcpu_apic_effect(struct vcpu *v, const struct vlapic_effect *fx) {
    v->timers_moved = true;
    if (fx->ipi) partition_send(v, &fx->msg);
    if (fx->eoi_broadcast) partition_eoi(v, fx->eoi_vector);
}

/* --- exceptions --- */

static bool contributory(u8 vector) { return vector == VEC_DE || (vector >= VEC_TS && vector <= VEC_GP); }

/* SDM Vol 3A, Interrupt 8: double fault. `first` was being delivered when `second` came. */
static bool makes_double_fault(u8 first, u8 second) {
    if (first == VEC_PF) return second == VEC_PF || contributory(second);
    return contributory(first) && contributory(second);
}

void vcpu_raise(struct vcpu *v, u8 vector, bool has_error, u32 error) {
    const struct vm_event *first = &v->hw.interrupted;

    if (first->type == EVENT_EXCEPTION && first->vector == VEC_DF) {
        static const struct vm_exit third = {.reason = EXIT_TRIPLE_FAULT};

        exit_crash(v, &third, "triple fault: a fault while a double fault was delivered");
        return;
    }
    if (first->type == EVENT_EXCEPTION && makes_double_fault(first->vector, vector)) {
        vector = VEC_DF;
        has_error = true;
        error = 0;
    }
    /* A cut-short exception comes again when its instruction does; an interrupt must be kept for later. */
    if (first->type == EVENT_EXCEPTION || first->type == EVENT_SOFT_EXCEPTION || first->type == EVENT_SOFT_INTERRUPT)
        v->hw.interrupted.type = EVENT_NONE;
    v->fault = (struct vm_event){.type = EVENT_EXCEPTION, .vector = vector, .has_error = has_error, .error = error};
}

void vcpu_raise_gp(struct vcpu *v) { vcpu_raise(v, VEC_GP, true, 0); }

void vcpu_raise_ud(struct vcpu *v) { vcpu_raise(v, VEC_UD, false, 0); }

/* --- events that wait --- */

static void set_window(struct vcpu *v, bool *state, enum event_type type, bool open) {
    if (*state == open) return;
    *state = open;
    machine.vendor->window(&v->hw, type, open);
}

static void inject(struct vcpu *v, enum event_type type, u8 vector) {
    const struct vm_event event = {.type = type, .vector = vector};

    machine.vendor->inject(&v->hw, &event);
}

static bool extint_waits(const struct vcpu *v) {
    return v->extint_again || (__atomic_load_n(&v->intr_line, __ATOMIC_ACQUIRE) && vlapic_accepts_extint(&v->lapic));
}

/* From the 8259: the acknowledge cycle, unless it was made for a delivery that came to nothing. */
static void inject_extint(struct vcpu *v) {
    v->extint = v->extint_again ? (u16)(v->extint_again & 0xff) : partition_pic_ack(v);
    v->extint_again = 0;
    inject(v, EVENT_INTERRUPT, (u8)v->extint);
    v->extint |= EXTINT_VALID;
}

/* An interrupt whose delivery was cut short by what led to a fault goes back where it waited. */
static void take_back(struct vcpu *v, u8 vector) {
    if (v->extint == (EXTINT_VALID | vector))
        v->extint_again = v->extint;
    else
        vlapic_unack(&v->lapic, vector);
}

/* The usual case at an entry: nothing is requested, and no window is open that would have to be closed. */
static inline bool nothing_waits(const struct vcpu *v) {
    return !(v->fault.type | v->hw.interrupted.type | v->lapic.irr_banks | v->nmi_pending | v->intr_line |
             v->intr_window | v->extint_again);
}

/* What else waits behind what was queued, or cannot be taken yet: the processor delivers it by itself, or a window is
 * opened. An interrupt that the processor has counts as in service until the run has shown that it is not: another
 * core may ask for the same one once more meanwhile. */
static void leave_waiting(struct vcpu *v) {
    bool extint = extint_waits(v);
    int vector = vlapic_pending(&v->lapic);

    /* take_back tells an interrupt of the 8259 by its vector. */
    if (vector >= 0 && !extint && !v->nmi_window && v->extint != (EXTINT_VALID | (u32)vector)) {
        set_window(v, &v->intr_window, EVENT_INTERRUPT, !machine.vendor->post(&v->hw, (u8)vector));
        if (v->hw.posted) vlapic_ack(&v->lapic, (u8)vector);
        return;
    }
    set_window(v, &v->intr_window, EVENT_INTERRUPT, extint || vector >= 0);
}

/* An interrupt or NMI that waits: delivered if the guest can take it. Nothing else is queued. */
static void deliver_waiting(struct vcpu *v) {
    const struct vendor_ops *ops = machine.vendor;
    int vector = vlapic_pending(&v->lapic);

    if (v->nmi_pending) {
        if (ops->can_inject(&v->hw, EVENT_NMI)) {
            v->nmi_pending = false;
            set_window(v, &v->nmi_window, EVENT_NMI, false);
            inject(v, EVENT_NMI, VEC_NMI);
            leave_waiting(v);
            return;
        }
        set_window(v, &v->nmi_window, EVENT_NMI, true);
    }
    if ((vector >= 0 || extint_waits(v)) && ops->can_inject(&v->hw, EVENT_INTERRUPT)) {
        if (extint_waits(v)) {
            inject_extint(v);
        } else {
            v->extint = 0;
            vlapic_ack(&v->lapic, (u8)vector);
            inject(v, EVENT_INTERRUPT, (u8)vector);
        }
    }
    leave_waiting(v);
}

static void deliver(struct vcpu *v) {
    if (v->fault.type) {
        machine.vendor->inject(&v->hw, &v->fault);
        v->fault.type = EVENT_NONE;
        if (v->hw.interrupted.type == EVENT_INTERRUPT)
            take_back(v, v->hw.interrupted.vector);
        else if (v->hw.interrupted.type == EVENT_NMI)
            v->nmi_pending = true;
        v->hw.interrupted.type = EVENT_NONE;
    } else if (v->hw.interrupted.type) {
        machine.vendor->inject(&v->hw, &v->hw.interrupted);
        v->hw.interrupted.type = EVENT_NONE;
    } else {
        deliver_waiting(v);
        return;
    }
    if (v->nmi_pending) set_window(v, &v->nmi_window, EVENT_NMI, true);
    leave_waiting(v);
}

/* --- start, INIT, SIPI --- */

void vcpu_start(struct vcpu *v) {
    const struct vendor_ops *ops = machine.vendor;

    ops->vcpu_reset(&v->hw, false);
    v->tsc_offset = 0 - v->partition->tsc_start;
    v->tsc_adjust = 0;
    v->clock = (struct vpvclock){0};
    vmtrr_reset(&v->mtrr);
    if (v->partition->start.mode != START_RESET) vmtrr_set_up(&v->mtrr, cpuid_address_bits(&v->cpuid));
    ops->set_reg(&v->hw, REG_TSC_OFFSET, v->tsc_offset);
    /* partition_load has reset the local APIC: by now another vCPU may run and have sent an INIT or SIPI here. */
    guest_reset_extended_state();
    v->fault.type = EVENT_NONE;
    v->extint = v->extint_again = 0;
    v->nmi_pending = v->timer_due = v->console_left = false;
    v->intr_window = v->nmi_window = false;
    v->console_retry = NEVER;
    v->key_poll = v->index == 0 && console_is_polled() ? rdtsc() : NEVER;
    v->timer_rest = 0;
    v->timers_moved = true;
    v->state = VCPU_WAIT_SIPI;
    if (v->index == 0) {
        guest_set_start_state(v, &v->partition->start);
        v->state = VCPU_RUNNING;
    }
}

void vcpu_park(struct vcpu *v) {
    v->state = VCPU_PARKED;
    v->deadline = NEVER;
    v->timers_moved = v->timer_due = false;
    if (!machine.vendor->arm_timer(&v->hw, NEVER)) lapic_timer_arm(NEVER);
    if (v->index == 0) vcpu_poke(v, REQUEST_CONTROL); /* one that came while the partition ended */
}

/* SDM Vol 3A, MP Initialization Protocol, Processor State After Reset: an INIT leaves the local APIC's id and mode and
 * the MTRRs alone, and the bootstrap processor goes on at the reset vector. What is there on a PC is firmware, which
 * begins anew. */
static void take_init(struct vcpu *v) {
    if (v->index == 0 && v->partition->config->format != IMAGE_FIRMWARE) {
        partition_end(v->partition, END_RESET);
        return;
    }
    machine.vendor->vcpu_reset(&v->hw, true);
    vlapic_init_signal(&v->lapic);
    v->fault.type = EVENT_NONE;
    v->extint_again = 0;
    v->nmi_pending = false;
    v->intr_window = v->nmi_window = false;
    v->timers_moved = true;
    v->state = v->index == 0 ? VCPU_RUNNING : VCPU_WAIT_SIPI;
}

static void take_sipi(struct vcpu *v) {
    u64 page = v->lapic.sipi_vector;
    struct segment cs = {
        .selector = (u16)(page << 8), .attributes = 0x9b, .usable = true, .limit = 0xffff, .base = page << 12};

    machine.vendor->set_seg(&v->hw, VSEG_CS, &cs);
    machine.vendor->set_reg(&v->hw, REG_RIP, 0);
    v->state = VCPU_RUNNING;
}

static void take_events(struct vcpu *v) {
    u32 events = __atomic_exchange_n(&v->lapic.events, 0, __ATOMIC_ACQ_REL);

    if (events & VLAPIC_EVENT_INIT) take_init(v);
    if ((events & VLAPIC_EVENT_SIPI) && v->state == VCPU_WAIT_SIPI) take_sipi(v);
    if (events & VLAPIC_EVENT_NMI) v->nmi_pending = true;
}

static void take_requests(struct vcpu *v) {
    u32 requests = __atomic_exchange_n(&v->requests, 0, __ATOMIC_ACQ_REL);

    if (v->state == VCPU_PARKED) {
        if (requests & REQUEST_START)
            vcpu_start(v); /* and what came behind it */
        else
            requests &= REQUEST_CONTROL;
    }
    if (requests & REQUEST_FLUSH) machine.vendor->flush(&v->hw);
    if (requests & REQUEST_STOP) {
        partition_stopped(v);
        return;
    }
    if (requests & REQUEST_CONTROL) control_requested(v->partition);
    if (requests & REQUEST_EVENT) take_events(v);
    if (requests & REQUEST_BOARD) v->timer_due = true;
}

/* --- time --- */

static void pump_console(struct vcpu *v) {
    struct partition *p = v->partition;
    u32 before = ring_used(&p->console_tx);

    v->console_left = console_pump(&p->console);
    if (v->index == 0) v->console_left |= passthrough_pump(p);
    v->console_retry = v->console_left ? rdtsc() + ns_to_tsc(CONSOLE_RETRY_NS) : NEVER;
    v->timers_moved = true;
    /* The guest's transmitter may have become ready. */
    if (before != ring_used(&p->console_tx)) partition_board_tick(v);
}

static void run_timers(struct vcpu *v) {
    u64 now = rdtsc();

    v->timer_due = false;
    if (v->state == VCPU_PARKED) return;
    if (now >= v->deadline) v->timer_rest = NEVER;
    v->deadline = 0; /* the host timer is spent, be it early: a clock of its own, or a count too wide for it */
    v->timers_moved = true;
    vlapic_tick(&v->lapic, vcpu_guest_tsc(v));
    if (v->index == 0) {
        partition_board_tick(v);
        passthrough_poll(v->partition, now);
        v->console_left |= passthrough_pump(v->partition);
    }
    if (now >= v->key_poll) {
        v->key_poll = now + ns_to_tsc(KEY_POLL_NS);
        console_receive();
    }
    if (v->console_left && (v->console_retry == NEVER || rdtsc() >= v->console_retry)) pump_console(v);
}

/* Host TSC at which the guest's TSC reaches `at`, or NEVER if the host's wraps first: the guest may name any time. */
static u64 host_time(const struct vcpu *v, u64 at) {
    u64 now = rdtsc(), guest = now + v->tsc_offset;

    if (at <= guest) return now;
    return at - guest > NEVER - now ? NEVER : now + (at - guest);
}

/* Host TSC of the next thing this vCPU must do by itself. */
static u64 next_deadline(const struct vcpu *v) {
    u64 lapic = vlapic_deadline(&v->lapic), at = min_u64(v->console_retry, v->key_poll);

    if (lapic != NEVER) at = min_u64(at, host_time(v, lapic));
    if (v->index == 0) {
        u64 board = __atomic_load_n(&v->partition->board_deadline, __ATOMIC_RELAXED);

        if (board != NEVER) at = min_u64(at, ns_to_tsc(board) + v->partition->tsc_start);
        if (v->partition->pci) at = min_u64(at, v->partition->pci->next_poll);
    }
    return at;
}

static void arm_timers(struct vcpu *v) {
    u64 deadline;

    /* Counted from here: what the devices had to do in between may have taken long. */
    if (v->timer_rest == NEVER) v->timer_rest = rdtsc() + TIMER_REST;
    deadline = max_u64(next_deadline(v), v->timer_rest);
    v->timers_moved = false;
    if (deadline == v->deadline && deadline > rdtsc()) return;
    v->deadline = deadline;
    if (!machine.vendor->arm_timer(&v->hw, deadline)) lapic_timer_arm(deadline);
}

/* Sleeps until something may have changed. */
static void sleep(struct vcpu *v) {
    if (machine.caps.timer) /* the vendor's timer runs only inside the guest */
        lapic_timer_arm(v->deadline);
    machine.vendor->idle();
    if (machine.caps.timer) {
        lapic_timer_arm(NEVER);
        v->timer_due |= rdtsc() >= v->deadline;
    }
}

static bool can_wake(struct vcpu *v) {
    bool interruptible;

    if (v->state >= VCPU_WAIT_SIPI) return false;
    if (v->nmi_pending || v->fault.type) return true;
    interruptible = vlapic_pending(&v->lapic) >= 0 || extint_waits(v);
    return interruptible && (machine.vendor->get_reg(&v->hw, REG_RFLAGS) & RFLAGS_IF);
}

void vcpu_loop(struct vcpu *v) {
    struct vm_exit exit;

    for (;;) {
        if (__atomic_load_n(&v->requests, __ATOMIC_ACQUIRE)) {
            take_requests(v);
            continue; /* one may have led to another: nobody interrupts the guest for that */
        }
        if (v->timer_due) {
            run_timers(v);
            continue; /* a line of the board may have become an NMI or INIT for this vCPU */
        }
        if (v->timers_moved) arm_timers(v);
        if (v->state != VCPU_RUNNING) {
            if (!can_wake(v)) {
                sleep(v);
                continue;
            }
            v->state = VCPU_RUNNING;
        }
        if (!nothing_waits(v)) deliver(v);
        machine.vendor->run(&v->hw, &exit);
        v->exits[exit.reason]++;
        if (v->hw.posted) {
            vlapic_unack(&v->lapic, v->hw.posted);
            v->hw.posted = 0;
        }
        exit_handlers[exit.reason](v, &exit);
        if (v->console_left && v->console_retry == NEVER) pump_console(v);
    }
}
