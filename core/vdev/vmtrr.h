/* The memory type range registers of one vCPU: kept, checked and without effect, since memory has the type that the
 * guest's page tables and stage 2 give it. Pure; the vCPU's core.
 * Source: SDM Vol 3A, Memory Type Range Registers (MTRRs). */
#pragma once

#include "core/base/types.h"

#define VMTRR_RANGES 8u
#define VMTRR_FIXED  11u

struct vmtrr {
    u64 def_type;
    u64 fixed[VMTRR_FIXED];         /* in the order of their numbers */
    u64 variable[2 * VMTRR_RANGES]; /* base and mask in turn */
};

/* As a reset leaves them, off; INIT leaves them alone. */
void vmtrr_reset(struct vmtrr *m);
/* As firmware leaves them: memory is write-back, the window of the VGA and the one of devices below 4 GiB uncached.
 * address_bits: of a physical address, as CPUID says. */
void vmtrr_set_up(struct vmtrr *m, u32 address_bits);
/* Returns 0, or -E_FAULT for #GP: no such register, a reserved bit or type, a write to MTRRCAP. */
int vmtrr_read(const struct vmtrr *m, u32 msr, u64 *value) must_check;
int vmtrr_write(struct vmtrr *m, u32 msr, u64 value, u32 address_bits) must_check;
