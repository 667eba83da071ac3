/* Which local APIC ids are threads of one physical core. Pure; boot core. Source: SDM Vol 2A, CPUID, leaves 1FH, 0BH,
 * 04H; APM Vol 3, CPUID Fn8000_001E and Fn8000_0008; both vendors number the threads of a core by the lowest bits of
 * the id. */
#pragma once

#include "core/policy/cpuid.h"

/* How many bits of a local APIC id tell the threads of a core apart: id >> bits is the same for siblings. host: CPUID
 * of any core of the machine. */
u32 topology_smt_bits(void (*host)(void *ctx, u32 leaf, u32 sub, struct cpuid_regs *out), void *ctx);
