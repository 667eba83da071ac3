/* Guest linear to guest physical, in software: no paging, 32-bit, PAE, four and five levels. Pure.
 * Sets accessed and dirty bits as hardware does. Source: SDM Vol 3A, Paging; APM Vol 2, Page
 * Translation and Protection. */
#pragma once

#include "core/base/types.h"
#include "core/insn/insn.h"
#include "mm/region.h"

struct walk_cpu {
    u64 cr0, cr3, cr4, efer, rflags;
    u32 cpl;
    u64 reserved;      /* address bits 51:MAXPHYADDR that the guest's CPU does not have; 0: it has all */
    const u64 *pdptes; /* PAE paging: the four that the processor holds; NULL: they are in memory, where CR3 says */
};

#define WALK_READ   0u
#define WALK_WRITE  1u
#define WALK_FETCH  2u
#define WALK_SYSTEM 4u /* implicit supervisor access: descriptor tables */

/* Translates one linear address. Returns 0 and *out; or -E_FAULT with a #PF (error code, cr2) in
 * *fault, or #GP(0) if la is not canonical (for SS accesses the caller makes it #SS); or -E_RANGE
 * if a table entry lies outside the guest's memory: hardware would raise a stage-2 fault. */
int walk_linear(const struct gmem *mem, const struct walk_cpu *cpu, u64 la, u32 access, gpa_t *out,
                struct insn_fault *fault) must_check;
/* Reads instruction bytes at linear address `la`: up to `max`, crossing pages; stops early at the
 * first byte that cannot be fetched. A `max` of 8 to 16 goes the short way. Returns the number of
 * bytes (>= 1), or the error of the first one. */
int walk_fetch(const struct gmem *mem, const struct walk_cpu *cpu, u64 la, u8 *out, u32 max,
               struct insn_fault *fault) must_check;
