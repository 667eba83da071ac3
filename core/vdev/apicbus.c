/* The bus between the local APICs of one partition: who gets an interrupt message, and what
 * arrives there. Any core, without a lock: a target is touched only through its atomic words. Must
 * never run longer than two looks at each APIC. Source: SDM Vol 3A, Issuing Interprocessor
 * Interrupts, and Determining IPI Destination. */
#include "core/vdev/vlapic.h"

#include "core/vdev/vlapic_impl.h"

static bool addressed(const struct vlapic *l, u32 i, u32 src, const struct apic_msg *msg) {
    /* A shorthand reaches an APIC that exists, as a broadcast does. */
    static const struct apic_msg everyone = {.dest = 0xffffffff, .x2apic = true};

    switch (msg->shorthand) {
    case APIC_SELF: return i == src && vlapic_match(l, &everyone);
    case APIC_ALL: return vlapic_match(l, &everyone);
    case APIC_OTHERS: return i != src && vlapic_match(l, &everyone);
    default: return vlapic_match(l, msg);
    }
}

/* SDM Vol 3A, Lowest Priority Delivery Mode. The one addressed with the lowest processor priority;
 * ties to the lowest id, so that runs repeat. An APIC that would refuse the interrupt does not take
 * part. Returns count if there is none. */
static u32 arbitrate(struct vlapic *const *lapics, u32 count, u32 src, const struct apic_msg *msg) {
    u32 winner = count, lowest = 0;

    for (u32 i = 0; i < count; i++) {
        u32 priority;

        if (!vlapic_enabled(lapics[i]) || !addressed(lapics[i], i, src, msg)) continue;
        priority = vlapic_ppr(lapics[i]);
        if (winner == count || priority < lowest || (priority == lowest && lapics[i]->id < lapics[winner]->id)) {
            winner = i;
            lowest = priority;
        }
    }
    return winner;
}

/* INIT undoes a SIPI that the target has not seen: it would have been restarted by it. */
static void signal_init(struct vlapic *l) {
    u32 before = __atomic_load_n(&l->events, __ATOMIC_RELAXED);

    while (!__atomic_compare_exchange_n(&l->events, &before, (before & ~VLAPIC_EVENT_SIPI) | VLAPIC_EVENT_INIT, true,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ; /* fails only if another core has just succeeded */
}

/* One message at one APIC. Returns true if its vCPU must look. */
static bool deliver(struct vlapic *l, const struct apic_msg *msg) {
    switch (msg->delivery) {
    case APIC_FIXED:
    case APIC_LOWEST: return vlapic_post(l, msg->vector, msg->level);
    case APIC_NMI: __atomic_fetch_or(&l->events, VLAPIC_EVENT_NMI, __ATOMIC_SEQ_CST); return true;
    case APIC_INIT:
        if (msg->level && !msg->assert) return false; /* INIT level de-assert */
        signal_init(l);
        return true;
    case APIC_STARTUP:
        /* The vector first: whoever sees the event reads it. */
        __atomic_store_n(&l->sipi_vector, msg->vector, __ATOMIC_SEQ_CST);
        __atomic_fetch_or(&l->events, VLAPIC_EVENT_SIPI, __ATOMIC_SEQ_CST);
        return true;
    default: return false; /* SMI: there is no system-management mode; ExtINT comes by the INTR line only */
    }
}

/* Would an APIC that is addressed take it? SDM Vol 3A, Interrupt Acceptance for Fixed Interrupts: also where the vector
 * is requested already. */
static bool accepts(const struct vlapic *l, const struct apic_msg *msg) {
    if (msg->delivery != APIC_FIXED && msg->delivery != APIC_LOWEST) return true;
    return vlapic_enabled(l) && msg->vector >= FIRST_LEGAL_VECTOR;
}

bool apicbus_send(struct vlapic *const *lapics, u32 count, u32 src, const struct apic_msg *msg,
                  void (*poke)(void *ctx, u32 vcpu), void *ctx) {
    bool accepted = false;

    if (msg->delivery == APIC_LOWEST) {
        u32 winner = arbitrate(lapics, count, src, msg);

        if (winner == count) return false;
        accepted = accepts(lapics[winner], msg);
        if (deliver(lapics[winner], msg)) poke(ctx, winner);
        return accepted;
    }
    for (u32 i = 0; i < count; i++) {
        if (!addressed(lapics[i], i, src, msg)) continue;
        accepted = accepts(lapics[i], msg) || accepted;
        if (deliver(lapics[i], msg)) poke(ctx, i);
    }
    return accepted;
}
