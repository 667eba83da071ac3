/* The answer at a CPUID exit, on the vCPU's core: one index into the table, no search. Registers
 * that follow the guest's state are patched; the rest was decided before start. */
#include "core/policy/cpuid.h"

#include "core/base/x86.h"
#include "core/policy/cpuid_bits.h"

/* Bytes of an XSAVE area in standard form for the enabled parts. SDM Vol 1, XSAVE Area. sub:
 * subleaves of leaf 0xd. */
static u32 xsave_bytes(const struct cpuid_regs *sub, u32 subs, u64 xcr0) {
    u32 size = XSAVE_LEGACY_BYTES;

    for (u32 i = 2; i < subs; i++)
        if (xcr0 & BIT(i)) size = (u32)max_u64(size, (u64)sub[i].ebx + sub[i].eax);
    return size;
}

static void answer_sub(const struct cpuid_table *table, const struct cpuid_entry *e, u32 leaf, u32 sub, u64 xcr0,
                       struct cpuid_regs *out) {
    const struct cpuid_regs *subs = &table->sub[e->first];

    *out = (struct cpuid_regs){0};
    if (sub < e->subs)
        *out = subs[sub];
    else if (leaf == 0xb) /* SDM Vol 2A, CPUID: beyond the last level ECX[7:0] and EDX still tell */
        *out = (struct cpuid_regs){0, 0, sub & 0xff, subs[0].edx};
    if (e->flags & CPUID_XSAVE_NOW && sub == 0) out->ebx = xsave_bytes(subs, e->subs, xcr0);
}

void cpuid_answer(const struct cpuid_table *table, u32 leaf, u32 sub, u64 cr4, u64 xcr0, u64 apic_base,
                  struct cpuid_regs *out) {
    const struct cpuid_entry *e = cpuid_find(table, leaf);

    *out = e ? e->regs : (struct cpuid_regs){0};
    if (!e) return;
    if (e->flags & CPUID_SUBLEAVES) answer_sub(table, e, leaf, sub, xcr0, out);
    if (e->flags & CPUID_OSXSAVE && cr4 & CR4_OSXSAVE) out->ecx |= L1_ECX_OSXSAVE;
    if (e->flags & (CPUID_OSXSAVE | CPUID_APIC) && !(apic_base & APIC_BASE_ENABLE)) out->edx &= ~L1_EDX_APIC;
}
