/* CPUID answers as a table made at partition start: an allow-list over what the machine says, so
 * that an unknown feature is absent. Pure. Source: SDM Vol 2A, CPUID; APM Vol 3, appendix E. */
#pragma once

#include "core/base/types.h"

struct cpuid_regs {
    u32 eax, ebx, ecx, edx;
};

/* Entry flags: registers that follow the guest's own state and are patched at the exit.
 * OSXSAVE: leaf 1, ECX[27] follows CR4.OSXSAVE, EDX[9] (APIC) follows APIC_BASE.EN.
 * APIC: AMD's copy in leaf 0x80000001, EDX[9] follows APIC_BASE.EN.
 * XSAVE_NOW: leaf 0xd, EBX of subleaf 0 (and, if XSAVEC is offered, of subleaf 1) follows XCR0.
 * SUBLEAVES: answers depend on ECX; the entries follow at index `first`. */
#define CPUID_OSXSAVE   1u
#define CPUID_XSAVE_NOW 2u
#define CPUID_SUBLEAVES 4u
#define CPUID_APIC      8u

struct cpuid_entry {
    struct cpuid_regs regs;
    u16 flags;
    u16 first; /* index into table->sub */
    u16 subs;  /* number of subleaves 0 ... subs - 1; beyond them all registers are 0 (leaf 0xb: ECX
                  kept, EDX = id) */
};

#define CPUID_BASIC 0x20 /* leaves 0 ... 0x1f */
#define CPUID_EXT   0x22 /* 0x80000000 ... 0x80000021 */
#define CPUID_HYP   0x11 /* 0x40000000 ... 0x40000010 */
#define CPUID_KVM   0x2  /* 0x40000100, 0x40000101: KVM's clock, zeros where leaf 15H tells as much */
#define CPUID_SUBS  32

/* One table per vCPU: the APIC id is in it. */
struct cpuid_table {
    u32 max_basic, max_ext, max_hyp;
    bool amd; /* AMD's or Hygon's */
    struct cpuid_entry basic[CPUID_BASIC];
    struct cpuid_entry ext[CPUID_EXT];
    struct cpuid_entry hyp[CPUID_HYP];
    struct cpuid_entry kvm[CPUID_KVM];
    struct cpuid_regs sub[CPUID_SUBS];
};

struct cpuid_request {
    void (*host)(void *ctx, u32 leaf, u32 sub, struct cpuid_regs *out); /* the machine's CPUID */
    void *ctx;
    u32 apic_id, vcpu, vcpu_count; /* APIC ids are 0 ... vcpu_count - 1 */
    u64 tsc_hz;
    u64 xcr0_allowed; /* out of policy_xcr0() */
    bool no_rdtscp,
        no_invpcid; /* the processor has them, but would not let a guest execute them; no_rdtscp: nor RDPID */
    bool la57;      /* 57-bit linear addresses may be shown, if the machine has them */
};

/* XCR0 bits that guests may use: x87, SSE, AVX, AVX-512 as the machine has them; never PKRU, MPX,
 * AMX. 0 if no XSAVE. */
u64 policy_xcr0(void (*host)(void *ctx, u32 leaf, u32 sub, struct cpuid_regs *out), void *ctx);
/* Returns 0, or -E_NOMEM if the subleaves do not fit. */
int cpuid_table_build(struct cpuid_table *table, const struct cpuid_request *request) must_check;
/* The entry of a leaf, or NULL if it is beyond every class. Inline, as it is on the shortest exit path. */
static inline const struct cpuid_entry *cpuid_find(const struct cpuid_table *table, u32 leaf) {
    if (leaf < CPUID_BASIC) return &table->basic[leaf];
    if (leaf - 0x80000000u < CPUID_EXT) return &table->ext[leaf - 0x80000000u];
    if (leaf - 0x40000000u < CPUID_HYP) return &table->hyp[leaf - 0x40000000u];
    if (leaf - 0x40000100u < CPUID_KVM) return &table->kvm[leaf - 0x40000100u];
    return NULL;
}
/* Of a physical address: leaf 0x80000008, and without it 36. */
static inline u32 cpuid_address_bits(const struct cpuid_table *table) {
    u32 bits = table->ext[8].regs.eax & 0xff;

    return bits ? bits : 36;
}
/* The answer, by direct index: no search. cr4, xcr0, apic_base: the guest's. xsave sizes for XCR0
 * are looked up in the table. */
void cpuid_answer(const struct cpuid_table *table, u32 leaf, u32 sub, u64 cr4, u64 xcr0, u64 apic_base,
                  struct cpuid_regs *out);
