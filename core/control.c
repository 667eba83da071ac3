/* Both sides of the control of one partition by another: control.h. An order is one compare-and-swap and an interrupt;
 * nobody waits for the other side. */
#include "core/control.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/exits.h"
#include "core/machine.h"
#include "core/partition.h"
#include "drivers/lapic.h"

#define STARTS_AT_ONCE 8 /* of one partition; then one a second */

static u32 load(const struct control *c) { return __atomic_load_n(&c->word, __ATOMIC_ACQUIRE); }

const char *control_who(u32 word) { return machine.config->partitions[word >> 16].name; }

/* --- the controller's side: on its core, under its board lock --- */

static bool look(void *ctx, u32 i, struct control_view *out) {
    const struct control *c = machine.controls[i];
    u32 word;

    if (!config_controls(machine.config, partition_number(ctx), i)) return false;
    word = load(c);
    *out = (struct control_view){
        .name = machine.config->partitions[i].name,
        .state = CONTROL_STATE(word),
        .order = CONTROL_ORDER(word),
        .vcpus = machine.config->partitions[i].cpu_count,
        .restarts = __atomic_load_n(&c->restarts, __ATOMIC_RELAXED),
        .ended = partition_end_name(__atomic_load_n(&c->ended, __ATOMIC_RELAXED)),
        .exits = c->exits,
    };
    return true;
}

static const char *order(void *ctx, u32 i, enum control_order wish) {
    const char *const changing = "it is carrying out an order or ending; ask status and try again";
    struct control *c = machine.controls[i];
    u32 word = load(c), state = CONTROL_STATE(word);
    bool runs = state == CONTROL_RUNNING;
    u64 now = rdtsc();

    if (CONTROL_ORDER(word)) return changing;
    if (state == CONTROL_BROKEN) return "it can never run; see why in the log of the machine's start";
    if (runs && wish == ORDER_START) return "it runs already; restart starts it anew";
    if (!runs && wish == ORDER_STOP) return "it does not run; start starts it";
    if (wish != ORDER_STOP && c->busy > now + (STARTS_AT_ONCE - 1) * machine.tsc_hz)
        return "it was started too often; wait a second and try again";
    if (!runs) wish = ORDER_START;
    if (!runs) machine_partition_started(); /* first: its core may be quick */
    if (!__atomic_compare_exchange_n(&c->word, &word, state | (u32)wish << 8 | partition_number(ctx) << 16, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        if (!runs) machine_partition_ended();
        return changing;
    }
    /* Nobody else writes it before the order is done. */
    if (wish != ORDER_STOP) c->busy = max_u64(c->busy, now) + machine.tsc_hz;
    lapic_send(machine.boot->cores[machine.config->partitions[i].cpus[0].base].apic_id, VECTOR_CONTROL);
    return NULL;
}

void control_reset(struct partition *p) {
    p->control_host = (struct vcontrol_host){.ctx = p,
                                             .partitions = machine.config->partition_count,
                                             .look = look,
                                             .reason_name = exit_reason_name,
                                             .order = order};
    vcontrol_reset(&p->control_device, &p->control_host);
}

/* --- the side of the partition that is controlled: on its core --- */

void control_requested(struct partition *p) {
    u32 word = load(p->control), wish = CONTROL_ORDER(word);

    if (wish == ORDER_START) partition_start(p, control_who(word));
    if (wish == ORDER_STOP) partition_end(p, END_STOP);
    if (wish == ORDER_RESTART) partition_end(p, END_RESTART);
}

void control_running(struct partition *p, bool ordered) {
    if (ordered) __atomic_store_n(&p->control->word, CONTROL_RUNNING, __ATOMIC_RELEASE);
    if (CONTROL_ORDER(load(p->control))) vcpu_poke(p->vcpus[0], REQUEST_CONTROL); /* it came during the restart */
}

void control_ended(struct partition *p, enum control_state state, bool ordered) {
    u32 word = load(p->control), next;

    do {
        next = state;
        if (!ordered && CONTROL_ORDER(word) == ORDER_RESTART && state != CONTROL_BROKEN)
            next |= ORDER_START << 8 | (word & 0xffff0000);
    } while (!__atomic_compare_exchange_n(&p->control->word, &word, next, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    if (!CONTROL_ORDER(next)) machine_partition_ended();
}
