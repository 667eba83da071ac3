/* Guest state in the VMCB, and the bitmaps. Source: APM Vol 2, VMCB State Save Area; I/O Permissions Map; MSR
 * Permissions Map. */
#include "core/base/cpu.h"
#include "core/base/fmt.h"
#include "core/base/panic.h"
#include "core/base/string.h"
#include "core/base/x86.h"
#include "svm/svm.h"

/* --- bitmaps --- */

void svm_partition_init(struct vendor_partition *p) {
    memset(p->io_bitmap, 0xff, 3 * 4096);
    memset(p->msr_bitmap, 0xff, 2 * 4096);
}

void svm_allow_port(struct vendor_partition *p, u16 port) { ((u8 *)p->io_bitmap)[port / 8] &= (u8) ~(1u << port % 8); }

/* Two bits for each MSR, read then write, in three ranges of 8192. */
void svm_allow_msr(struct vendor_partition *p, u32 msr, bool read, bool write) {
    static const u32 bases[] = {0, 0xc0000000, 0xc0010000};

    for (u32 i = 0; i < 3; i++) {
        u32 n = msr - bases[i];
        u8 *byte = (u8 *)p->msr_bitmap + i * 2048 + n / 4;

        if (n >= 0x2000) continue;
        if (read) *byte &= (u8) ~(1u << (n % 4 * 2));
        if (write) *byte &= (u8) ~(2u << (n % 4 * 2));
    }
}

/* --- reset --- */

/* FS, GS, TR, LDTR and the SYSCALL and SYSENTER registers stay in the processor between exits; these two bring them to
 * the VMCB and back. */
static void vmsave(struct vcpu_hw *hw) { __asm__ volatile("vmsave" ::"a"(hw->block_pa.v) : "memory"); }
static void vmload(struct vcpu_hw *hw) { __asm__ volatile("vmload" ::"a"(hw->block_pa.v) : "memory"); }

void svm_vcpu_init(struct vcpu_hw *hw) {
    struct vmcb_control *c = &vmcb_of(hw)->control;

    memset(hw->block, 0, 4096);
    /* CR8 by hand: the task priority belongs to the local APIC model. CR0 is the guest's own; CR4 as well, unless the
     * processor would let it set what its CPUID does not show. */
    c->intercept_cr = BIT(8) | BIT(16 + 8) | (svm_cr4_exits ? BIT(16 + 4) : 0);
    c->intercept_1 = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_INIT | INTERCEPT_RDPMC | INTERCEPT_CPUID |
                     INTERCEPT_RSM | INTERCEPT_INVD | INTERCEPT_HLT | INTERCEPT_INVLPGA | INTERCEPT_IO | INTERCEPT_MSR |
                     INTERCEPT_SHUTDOWN; /* the processor switches tasks itself */
    c->intercept_2 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE | INTERCEPT_STGI |
                     INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_WBINVD | INTERCEPT_MONITOR | INTERCEPT_MWAIT |
                     INTERCEPT_XSETBV | INTERCEPT_RDPRU;
    c->iopm_pa = hw->partition->io_bitmap_pa.v;
    c->msrpm_pa = hw->partition->msr_bitmap_pa.v;
    c->asid = hw->asid;
    c->vintr = VINTR_MASKING;
    c->nested_control = NESTED_PAGING;
    c->nested_cr3 = hw->partition->stage2_root.v;
}

/* The breakpoint addresses stay in the processor; DR6 and DR7 are in the VMCB. */
static void clear_breakpoints(void) {
    __asm__ volatile("mov %0, %%dr0\n\t"
                     "mov %0, %%dr1\n\t"
                     "mov %0, %%dr2\n\t"
                     "mov %0, %%dr3" ::"r"(0ul));
}

/* APM Vol 2, Processor Initialization State. */
void svm_vcpu_reset(struct vcpu_hw *hw, bool init) {
    struct vmcb *b = vmcb_of(hw);
    const struct vmcb_segment data = {0, 0x093, 0xffff, 0};
    u64 msrs[8] = {0}, pat = 0x0007040600070406, caches = CR0_CD | CR0_NW;

    if (init) {
        vmsave(hw);
        memcpy(msrs, &b->save.star, sizeof(msrs)); /* to SYSENTER_EIP */
        pat = b->save.pat;
        caches &= b->save.cr0;
    } else if (cpu_has_tsc_aux()) {
        wrmsr(MSR_TSC_AUX, 0); /* in the processor, and in no VMCB without SEV-ES */
    }
    memset(hw->gpr, 0, sizeof(hw->gpr));
    memset(&b->save, 0, sizeof(b->save));
    memcpy(&b->save.star, msrs, sizeof(msrs));
    hw->gpr[2] = cpuid(1, 0).eax; /* DX: family, model, stepping */
    hw->interrupted.type = EVENT_NONE;
    hw->nmi_blocked = hw->iret_step = false;
    b->control.intercept_exceptions = INTERCEPT_EXCEPTIONS;
    b->control.event_injection = 0;
    b->control.interrupt_shadow = 0;
    b->control.vintr = VINTR_MASKING;
    b->control.intercept_1 &= (u32) ~(INTERCEPT_VINTR | INTERCEPT_IRET);
    b->save.cs = (struct vmcb_segment){0xf000, 0x09b, 0xffff, 0xffff0000};
    b->save.ds = b->save.es = b->save.fs = b->save.gs = b->save.ss = data;
    b->save.gdtr.limit = b->save.idtr.limit = 0xffff;
    b->save.ldtr = (struct vmcb_segment){0, 0x082, 0xffff, 0};
    b->save.tr = (struct vmcb_segment){0, 0x08b, 0xffff, 0};
    b->save.cr0 = CR0_ET | caches;
    b->save.dr6 = 0xffff0ff0;
    b->save.dr7 = 0x400;
    b->save.efer = EFER_SVME;
    b->save.rflags = RFLAGS_FIXED;
    b->save.rip = 0xfff0;
    b->save.pat = pat;
    vmload(hw);
    clear_breakpoints();
    b->control.tlb_control = TLB_FLUSH_ALL;
}

/* --- registers --- */

static u64 *field(struct vmcb *b, enum vcpu_reg reg) {
    switch (reg) {
    case REG_RIP: return &b->save.rip;
    case REG_RSP: return &b->save.rsp;
    case REG_RFLAGS: return &b->save.rflags;
    case REG_CR0: return &b->save.cr0;
    case REG_CR2: return &b->save.cr2;
    case REG_CR3: return &b->save.cr3;
    case REG_CR4: return &b->save.cr4;
    case REG_DR6: return &b->save.dr6;
    case REG_DR7: return &b->save.dr7;
    case REG_PAT: return &b->save.pat;
    case REG_SHADOW: return &b->control.interrupt_shadow;
    case REG_TSC_OFFSET: return &b->control.tsc_offset;
    default: panic("svm: register %d has no field", (int)reg);
    }
}

u64 svm_get_reg(struct vcpu_hw *hw, enum vcpu_reg reg) {
    struct vmcb *b = vmcb_of(hw);

    switch (reg) {
    case REG_EFER: return b->save.efer & ~EFER_SVME;
    case REG_CPL: return b->save.cpl;
    case REG_CR8: /* every access exits: the local APIC model has it */ return 0;
    default: return *field(b, reg);
    }
}

void svm_set_reg(struct vcpu_hw *hw, enum vcpu_reg reg, u64 value) {
    struct vmcb *b = vmcb_of(hw);

    switch (reg) {
    case REG_EFER:
        b->save.efer = value | EFER_SVME; /* APM Vol 2, Canonicalization and Consistency Checks: must be set */
        break;
    case REG_CPL: b->save.cpl = (u8)value; break;
    case REG_CR8: break;
    case REG_BREAKPOINTS: svm_debug_trap(hw, value); break;
    case REG_PDPTE0 ... REG_PDPTE3: /* read from memory when needed: APM Vol 2, Nested Paging, PAE */ break;
    default: *field(b, reg) = value; break;
    }
    /* Paging registers changed from outside: no stale translation may stay. */
    if (reg == REG_CR0 || reg == REG_CR3 || reg == REG_CR4 || reg == REG_EFER) b->control.tlb_control = TLB_FLUSH_ALL;
}

struct code_address svm_code_address(struct vcpu_hw *hw) {
    const struct vmcb_save *s = &vmcb_of(hw)->save;
    bool fits = (s->cs.attributes & BIT(9)) && (s->efer & EFER_LMA) && !(s->cr4 & CR4_LA57);

    return (struct code_address){fits ? s->rip : 0, s->cr3};
}

void svm_get_context(struct vcpu_hw *hw, struct vcpu_context *out) {
    const struct vmcb_save *s = &vmcb_of(hw)->save;

    out->rip = s->rip;
    out->rflags = s->rflags;
    out->cr0 = s->cr0;
    out->cr3 = s->cr3;
    out->cr4 = s->cr4;
    out->efer = s->efer;
    out->cs_base = s->cs.base;
    out->cpl = s->cpl;
    out->cs_long = s->cs.attributes & BIT(9);
    out->cs_big = s->cs.attributes & BIT(10);
    out->has_pdptes = false; /* APM Vol 2, Nested Paging: they are read from memory when needed */
}

static struct vmcb_segment *segment_field(struct vmcb *b, enum vcpu_seg seg) {
    struct vmcb_save *s = &b->save;
    struct vmcb_segment *const fields[VSEG_COUNT] = {
        [VSEG_ES] = &s->es, [VSEG_CS] = &s->cs,     [VSEG_SS] = &s->ss, [VSEG_DS] = &s->ds,     [VSEG_FS] = &s->fs,
        [VSEG_GS] = &s->gs, [VSEG_LDTR] = &s->ldtr, [VSEG_TR] = &s->tr, [VSEG_GDTR] = &s->gdtr, [VSEG_IDTR] = &s->idtr,
    };

    return fields[seg];
}

static bool stays_in_processor(enum vcpu_seg seg) {
    return seg == VSEG_FS || seg == VSEG_GS || seg == VSEG_LDTR || seg == VSEG_TR;
}

void svm_get_seg(struct vcpu_hw *hw, enum vcpu_seg seg, struct segment *out) {
    const struct vmcb_segment *s = segment_field(vmcb_of(hw), seg);

    if (stays_in_processor(seg)) vmsave(hw);
    *out = (struct segment){
        .selector = s->selector,
        .attributes = (u16)((s->attributes & 0xff) | (s->attributes & 0xf00) << 4),
        .usable = seg >= VSEG_GDTR || (s->attributes & BIT(7)),
        .limit = s->limit,
        .base = s->base,
    };
}

void svm_set_seg(struct vcpu_hw *hw, enum vcpu_seg seg, const struct segment *in) {
    struct vmcb *b = vmcb_of(hw);

    if (stays_in_processor(seg)) vmsave(hw);
    *segment_field(b, seg) = (struct vmcb_segment){
        .selector = in->selector,
        .attributes = in->usable ? (u16)((in->attributes & 0xff) | (in->attributes >> 4 & 0xf00)) : 0,
        .limit = in->limit,
        .base = in->base,
    };
    if (seg == VSEG_SS) b->save.cpl = (u8)(in->attributes >> 5 & 3);
    if (stays_in_processor(seg)) vmload(hw);
}

void svm_dump(struct vcpu_hw *hw, char *out, size_t size) {
    const struct vmcb_control *c = &vmcb_of(hw)->control;

    fmt(out, size, "vmcb exit code 0x%llx info1 0x%llx info2 0x%llx exitintinfo 0x%llx shadow %llu",
        (unsigned long long)c->exit_code, (unsigned long long)c->exit_info_1, (unsigned long long)c->exit_info_2,
        (unsigned long long)c->exit_int_info, (unsigned long long)c->interrupt_shadow);
}
