/* A ticketless spin lock: for short, bounded work between cores. Interrupts stay as they are: the hypervisor runs with
 * them closed. Layer 0. */
#pragma once

#include "core/base/types.h"

/* What sparse counts: a function gives back each lock that it takes, on every path, unless one of the last two stands
 * in front of it: it leaves one to its caller, or gives back its caller's. */
#ifdef __CHECKER__
#define LOCKS(change) __context__(change)
#define LEAVES_LOCKED __attribute__((context(0, 1)))
#define GIVES_BACK    __attribute__((context(1, 0)))
#else
#define LOCKS(change) ((void)0)
#define LEAVES_LOCKED
#define GIVES_BACK
#endif

struct spinlock {
    u32 taken;
};

static inline bool spin_try(struct spinlock *l) {
    if (__atomic_exchange_n(&l->taken, 1, __ATOMIC_ACQUIRE)) return false;
    LOCKS(1);
    return true;
}
static inline void spin_lock(struct spinlock *l) {
    while (!spin_try(l))
        while (__atomic_load_n(&l->taken, __ATOMIC_RELAXED)) __asm__ volatile("pause" ::: "memory");
}
static inline void spin_unlock(struct spinlock *l) {
    LOCKS(-1);
    __atomic_store_n(&l->taken, 0, __ATOMIC_RELEASE);
}
