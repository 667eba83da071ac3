/* The whole machine after boot. Written on the boot core before the first guest instruction, read-only afterwards. */
#pragma once

#include "core/base/vendor.h"
#include "core/boot_info.h"
#include "core/config/config.h"
#include "core/partition.h"

struct machine {
    const struct vendor_ops *vendor;
    struct vendor_caps caps;
    struct boot_info *boot;
    const struct config *config;
    struct partition **partitions; /* pointers into blocks: see partition.h for who may follow them */
    struct control **controls;     /* the same: see control.h */
    u64 tsc_hz;
    u64 ns_per_tsc_q32; /* nanoseconds per TSC tick, 32 fractional bits */
    u64 tsc_per_ns_q32;
    u64 xcr0; /* what guests may enable */
};

extern struct machine machine;

/* A partition has ended for good: switches the machine off after the last one. Any core. */
void machine_partition_ended(void);
/* One will run again. A core of a partition that runs. */
void machine_partition_started(void);
/* This core has nothing more to do: host mode off, asleep for ever. */
void machine_core_idle(void) noreturn_fn;

/* Its place in the file. */
static inline u32 partition_number(const struct partition *p) { return (u32)(p->config - machine.config->partitions); }
static inline u64 tsc_to_ns(u64 ticks) { return (u64)(((u128)ticks * machine.ns_per_tsc_q32) >> 32); }
/* Rounded up, so that a deadline is never early. */
static inline u64 ns_to_tsc(u64 ns) { return (u64)(((u128)ns * machine.tsc_per_ns_q32) >> 32) + 1; }
