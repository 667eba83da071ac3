/* MSR accesses of a guest, by the policy table. The vCPU's core. */
#pragma once

#include "core/vcpu.h"

/* Return 0, or -E_FAULT: the guest gets #GP(0). */
int msr_read(struct vcpu *v, u32 msr, u64 *value) must_check;
int msr_write(struct vcpu *v, u32 msr, u64 value) must_check;
