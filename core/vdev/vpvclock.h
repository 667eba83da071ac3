/* The paravirtual clock that Linux knows of KVM: what to multiply the TSC with to get nanoseconds, in the guest's own
 * memory. It tells a guest the TSC's frequency where CPUID leaf 15H is not read. Pure; the vCPU's core.
 * Source: Linux, Documentation/virt/kvm/x86: KVM-specific MSRs, KVM CPUID bits. */
#pragma once

#include "core/base/types.h"
#include "mm/region.h"

#define MSR_PVCLOCK_WALL 0x4b564d00
#define MSR_PVCLOCK_TIME 0x4b564d01

struct vpvclock {
    u64 wall, time; /* the two MSRs as written */
    u32 version;    /* of the guest's structure: odd while it is being changed */
};

/* Writes an MSR. hz: of the TSC, not 0; tsc0: the guest's TSC at guest time 0; seconds: of the wall clock then. Returns
 * 0, or -E_FAULT for #GP: not aligned, or not memory that the guest may write. */
int vpvclock_write(struct vpvclock *c, const struct gmem *mem, u32 msr, u64 value, u64 hz, u64 tsc0,
                   u64 seconds) must_check;
