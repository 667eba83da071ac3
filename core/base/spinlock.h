/* A spin lock for short, bounded work between cores, given in the order in which they asked: who waits, waits for
 * those before it only, however often others take it. Interrupts stay as they are: the hypervisor runs with them
 * closed. Layer 0. */
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
    u32 next;    /* ticket that the next one gets */
    u32 serving; /* whose turn it is; written by its holder only */
};

/* Nobody has it, or waits for it. */
static inline void spin_init(struct spinlock *l) { *l = (struct spinlock){0, 0}; }

static inline bool spin_try(struct spinlock *l) {
    u32 serving = __atomic_load_n(&l->serving, __ATOMIC_ACQUIRE);

    if (!__atomic_compare_exchange_n(&l->next, &serving, serving + 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return false;
    LOCKS(1);
    return true;
}
static inline void spin_lock(struct spinlock *l) {
    u32 ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);

    while (__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != ticket) __asm__ volatile("pause" ::: "memory");
    LOCKS(1);
}
static inline void spin_unlock(struct spinlock *l) {
    LOCKS(-1);
    __atomic_store_n(&l->serving, l->serving + 1, __ATOMIC_RELEASE);
}
