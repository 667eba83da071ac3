/* A ticketless spin lock: for short, bounded work between cores. Interrupts stay as they are: the hypervisor runs with
 * them closed. Layer 0. */
#pragma once

#include "core/base/types.h"

struct spinlock {
    u32 taken;
};

static inline bool spin_try(struct spinlock *l) { return __atomic_exchange_n(&l->taken, 1, __ATOMIC_ACQUIRE) == 0; }
static inline void spin_lock(struct spinlock *l) {
    while (!spin_try(l))
        while (__atomic_load_n(&l->taken, __ATOMIC_RELAXED)) __asm__ volatile("pause" ::: "memory");
}
static inline void spin_unlock(struct spinlock *l) { __atomic_store_n(&l->taken, 0, __ATOMIC_RELEASE); }
