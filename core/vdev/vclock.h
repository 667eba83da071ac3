/* Conversion between guest nanoseconds and the ticks of a fixed-frequency clock, exact and without
 * drift: every value is computed from time 0, never accumulated. Pure. The split into whole seconds
 * and a remainder keeps each product below 2^64 for every frequency below 2^32 Hz. */
#pragma once

#include "core/base/types.h"

#define NS_PER_SECOND ((u64)1000000000)

/* Whole ticks of a clock of hz since time 0. */
static inline u64 clock_ticks(u64 ns, u32 hz) {
    return ns / NS_PER_SECOND * hz + ns % NS_PER_SECOND * hz / NS_PER_SECOND;
}

/* The first nanosecond at which clock_ticks() has reached `ticks`. */
static inline u64 clock_ns(u64 ticks, u32 hz) {
    return ticks / hz * NS_PER_SECOND + (ticks % hz * NS_PER_SECOND + hz - 1) / hz;
}
