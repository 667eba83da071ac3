/* Which MSRs exist for a guest, and who answers: a sorted table, and the bitmaps drawn from it.
 * Default deny: what is not in the table is #GP. Pure. */
#pragma once

#include "core/base/types.h"

enum msr_kind {
    MSR_DENY,    /* #GP */
    MSR_DIRECT,  /* the guest reaches the machine's register: it belongs to this core's only vCPU */
    MSR_CONST,   /* reads give `value`; a write is #GP */
    MSR_IGNORE,  /* reads give `value`; writes are dropped */
    MSR_LAPIC,   /* vlapic_msr_* */
    MSR_TSC_REG, /* TSC through the offset, and TSC_ADJUST */
    MSR_EFER_REG,
    MSR_PAT_REG,
    MSR_MTRR,  /* vmtrr_* */
    MSR_CLOCK, /* vpvclock_*, where CPUID offers it */
};

/* Whose processors have it, by CPUID's vendor; every other maker's are taken for Intel's. */
enum msr_maker { MSR_ANY, MSR_INTEL, MSR_AMD };

struct msr_entry {
    u32 first, last;
    u8 read, write; /* enum msr_kind */
    u64 value;
    u8 maker; /* enum msr_maker */
};

/* Sorted by `first`, no overlap. */
extern const struct msr_entry msr_table[];
extern const u32 msr_table_count;

/* The entry that covers `msr` on such a processor, or NULL: binary search, used off the hot path (x2APIC and TSC
 * deadline are tested before). */
const struct msr_entry *msr_find(u32 msr, bool amd);
