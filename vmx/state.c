/* The guest's registers, segments and pending events in the current VMCS. The vCPU's core, between
 * an exit and the next entry. */
#include "core/base/cpu.h"
#include "core/base/panic.h"
#include "core/base/x86.h"
#include "vmx/vmx.h"

/* --- registers -------------------------------------------------------------------------------- */

static u32 cpl(void) { return vmcs_read32(VMCS_GUEST_RIGHTS(VSEG_SS)) >> 5 & 3; /* SDM Vol 3C: CPL is SS.DPL */ }

static u64 guest_cr0(const struct vcpu_hw *hw) {
    return (vmcs_read(VMCS_GUEST_CR0) & ~vmx.cr0_mask) | (hw->cr0_shadow & vmx.cr0_mask);
}

static u64 guest_cr4(const struct vcpu_hw *hw) { return (vmcs_read(VMCS_GUEST_CR4) & VMX_CR4_GUEST) | hw->cr4_shadow; }

static void set_cr4(struct vcpu_hw *hw, u64 value) {
    hw->cr4_shadow = value & CR4_MCE;
    vmcs_write(VMCS_CR4_SHADOW, hw->cr4_shadow);
    vmcs_write(VMCS_GUEST_CR4, (value & VMX_CR4_GUEST) | CR4_VMXE | CR4_MCE);
}

/* Registers that are one field and nothing else. */
static u32 field_of(enum vcpu_reg reg) {
    switch (reg) {
    case REG_RIP: return VMCS_GUEST_RIP.field;
    case REG_RSP: return VMCS_GUEST_RSP.field;
    case REG_RFLAGS: return VMCS_GUEST_RFLAGS.field;
    case REG_CR3: return VMCS_GUEST_CR3.field;
    case REG_EFER: return VMCS_GUEST_EFER.field;
    case REG_DR7: return VMCS_GUEST_DR7.field;
    case REG_PAT: return VMCS_GUEST_PAT.field;
    case REG_TSC_OFFSET: return VMCS_TSC_OFFSET.field;
    case REG_PDPTE0 ... REG_PDPTE3: return VMCS_GUEST_PDPTE0.field + 2 * (u32)(reg - REG_PDPTE0);
    default: panic("vmx: register %d has no field", (int)reg);
    }
}

u64 vmx_get_reg(struct vcpu_hw *hw, enum vcpu_reg reg) {
    switch (reg) {
    case REG_CR0: return guest_cr0(hw);
    case REG_CR2: /* see enter.S */ return read_cr2();
    case REG_DR6: /* in the processor, as CR2 */ return read_dr6();
    case REG_CR4: return guest_cr4(hw);
    case REG_CR8: /* every access exits: the local APIC model has it */ return 0;
    case REG_CPL: return cpl();
    case REG_SHADOW: return (vmcs_read32(VMCS_INTERRUPTIBILITY) & BLOCKED_BY_SHADOW) != 0;
    default: return reg == REG_PAT && !vmx.pat ? hw->pat : vmcs_get(field_of(reg));
    }
}

/* EFER.LMA and the entry control "IA-32e mode guest" follow LME and paging, in whatever order core
 * writes them; in the guest the processor does it. SDM Vol 3C, Checks on Guest Control Registers,
 * Debug Registers, and MSRs. */
static void settle_long_mode(u64 cr0, u64 efer) {
    bool on = (cr0 & CR0_PG) && (efer & EFER_LME);

    vmcs_write64(VMCS_GUEST_EFER, on ? efer | EFER_LMA : efer & ~EFER_LMA);
    vmcs_write32(VMCS_ENTRY_CONTROLS, on ? vmx.entry | ENTRY_IA32E : vmx.entry);
}

static void set_cr0(struct vcpu_hw *hw, u64 value) {
    hw->cr0_shadow = value;
    vmcs_write(VMCS_CR0_SHADOW, value);
    vmcs_write(VMCS_GUEST_CR0, (value & ~vmx.cr0_mask) | vmx.cr0_ones);
    settle_long_mode(value, vmcs_read64(VMCS_GUEST_EFER));
}

/* SDM Vol 3C, Checks on Guest Non-Register State: blocking by STI needs IF. */
static void set_shadow(bool on) {
    u32 state = vmcs_read32(VMCS_INTERRUPTIBILITY) & ~BLOCKED_BY_SHADOW;

    if (on) state |= vmcs_read(VMCS_GUEST_RFLAGS) & RFLAGS_IF ? BLOCKED_BY_STI : BLOCKED_BY_MOV_SS;
    vmcs_write32(VMCS_INTERRUPTIBILITY, state);
}

void vmx_set_reg(struct vcpu_hw *hw, enum vcpu_reg reg, u64 value) {
    switch (reg) {
    case REG_CR0: set_cr0(hw, value); break;
    case REG_CR2: write_cr2(value); break;
    case REG_DR6: write_dr6(value); break;
    case REG_CR4: set_cr4(hw, value); break;
    case REG_EFER: settle_long_mode(guest_cr0(hw), value); break;
    case REG_CR8: /* see vmx_get_reg */
    case REG_CPL: /* moves with SS */ break;
    case REG_SHADOW: set_shadow(value); break;
    case REG_BREAKPOINTS:
        vmcs_write(VMCS_PENDING_DEBUG, vmcs_read(VMCS_PENDING_DEBUG) | value | PENDING_DEBUG_ENABLED);
        break;
    default:
        hw->pat = reg == REG_PAT ? value : hw->pat;
        if (reg != REG_PAT || vmx.pat) vmcs_set(field_of(reg), reg == REG_RFLAGS ? value | RFLAGS_FIXED : value);
        break;
    }
    /* Paging changed from outside: no stale translation may stay. */
    if (reg == REG_CR0 || reg == REG_CR3 || reg == REG_CR4 || reg == REG_EFER) vmx_flush_linear(hw);
}

void vmx_get_context(struct vcpu_hw *hw, struct vcpu_context *out) {
    u32 rights = vmcs_read32(VMCS_GUEST_RIGHTS(VSEG_CS));

    out->rip = vmcs_read(VMCS_GUEST_RIP);
    out->rflags = vmcs_read(VMCS_GUEST_RFLAGS);
    out->cr0 = guest_cr0(hw);
    out->cr3 = vmcs_read(VMCS_GUEST_CR3);
    out->cr4 = guest_cr4(hw);
    out->efer = vmcs_read64(VMCS_GUEST_EFER);
    out->cs_base = vmcs_read(VMCS_GUEST_BASE(VSEG_CS));
    out->cpl = cpl();
    out->cs_long = rights & RIGHTS_CS_LONG;
    out->cs_big = rights & RIGHTS_CS_BIG;
    /* SDM Vol 3A, PDPTE Registers; Vol 3C, Saving Guest State: with EPT they are in the VMCS. */
    out->has_pdptes = (out->cr0 & CR0_PG) && (out->cr4 & CR4_PAE) && !(out->efer & EFER_LMA);
    for (u32 i = 0; i < 4 && out->has_pdptes; i++) out->pdptes[i] = vmcs_get(VMCS_GUEST_PDPTE0.field + 2 * i);
}

void vmx_get_seg(struct vcpu_hw *hw, enum vcpu_seg seg, struct segment *out) {
    u32 rights;

    (void)hw;
    *out = (struct segment){
        .limit = vmcs_read32(VMCS_GUEST_LIMIT(seg)), .base = vmcs_read(VMCS_GUEST_BASE(seg)), .usable = true};
    if (seg == VSEG_GDTR || seg == VSEG_IDTR) return;
    rights = vmcs_read32(VMCS_GUEST_RIGHTS(seg));
    out->selector = vmcs_read16(VMCS_GUEST_SELECTOR(seg));
    out->attributes = (u16)rights;
    out->usable = !(rights & RIGHTS_UNUSABLE);
}

void vmx_set_seg(struct vcpu_hw *hw, enum vcpu_seg seg, const struct segment *in) {
    (void)hw;
    vmcs_write32(VMCS_GUEST_LIMIT(seg), in->limit);
    vmcs_write(VMCS_GUEST_BASE(seg), in->base);
    if (seg == VSEG_GDTR || seg == VSEG_IDTR) return;
    vmcs_write16(VMCS_GUEST_SELECTOR(seg), in->selector);
    vmcs_write32(VMCS_GUEST_RIGHTS(seg), in->usable ? in->attributes : RIGHTS_UNUSABLE);
}

/* --- events ----------------------------------------------------------------------------------- */

/* Delivery clears what blocked it. An NMI that an exit cut short has already set the NMI blocking
 * that it would now run into; and STI holds NMIs off on some processors only, so here it does not.
 * SDM Vol 3C, Checks on Guest Non-Register State. */
static void make_room_for_nmi(void) {
    u32 state = vmcs_read32(VMCS_INTERRUPTIBILITY);

    if (state & (BLOCKED_BY_STI | BLOCKED_BY_NMI))
        vmcs_write32(VMCS_INTERRUPTIBILITY, state & ~(BLOCKED_BY_STI | BLOCKED_BY_NMI));
}

void vmx_inject(struct vcpu_hw *hw, const struct vm_event *event) {
    u32 type = EVENT_INFO_INTERRUPT, info = EVENT_INFO_VALID | event->vector;

    (void)hw;
    switch (event->type) {
    case EVENT_NONE: return;
    case EVENT_INTERRUPT: break;
    case EVENT_NMI:
        type = EVENT_INFO_NMI;
        make_room_for_nmi();
        break;
    case EVENT_EXCEPTION:
        type = EVENT_INFO_EXCEPTION;
        /* Real mode pushes no error codes. SDM Vol 3C, VM-Entry Controls for Event Injection. */
        if (event->has_error && (vmcs_read(VMCS_GUEST_CR0) & CR0_PE)) {
            info |= EVENT_INFO_ERROR;
            vmcs_write32(VMCS_ENTRY_ERROR_CODE, event->error);
        }
        break;
    case EVENT_SOFT_INTERRUPT: type = EVENT_INFO_SOFT_INT; break;
    case EVENT_SOFT_EXCEPTION: type = event->vector == VEC_DB ? EVENT_INFO_PRIV_SOFT : EVENT_INFO_SOFT_EXCEPT; break;
    }
    if (event->type == EVENT_SOFT_INTERRUPT || event->type == EVENT_SOFT_EXCEPTION)
        vmcs_write32(VMCS_ENTRY_INSN_LENGTH, event->length);
    vmcs_write32(VMCS_ENTRY_EVENT, info | type << EVENT_INFO_TYPE_SHIFT);
}

bool vmx_can_inject(struct vcpu_hw *hw, enum event_type type) {
    u32 blocked = vmcs_read32(VMCS_INTERRUPTIBILITY);

    (void)hw;
    /* An entry that injects leaves no debug exception pending; one that does not delivers it before any window's exit.
     * SDM Vol 3C, Delivery of Pending Debug Exceptions after VM Entry. */
    if (vmcs_read(VMCS_PENDING_DEBUG) & (PENDING_DEBUG_BS | PENDING_DEBUG_ENABLED)) return false;
    if (type == EVENT_NMI) return !(blocked & (BLOCKED_BY_NMI | BLOCKED_BY_MOV_SS));
    return !(blocked & BLOCKED_BY_SHADOW) && (vmcs_read(VMCS_GUEST_RFLAGS) & RFLAGS_IF);
}

void vmx_window(struct vcpu_hw *hw, enum event_type type, bool open) {
    u32 bit = type == EVENT_NMI ? PROC_NMI_WINDOW : PROC_INTERRUPT_WINDOW;
    u32 controls = vmcs_read32(VMCS_PROC_CONTROLS);

    (void)hw;
    vmcs_write32(VMCS_PROC_CONTROLS, open ? controls | bit : controls & ~bit);
}

/* --- instructions ----------------------------------------------------------------------------- */

/* Outside 64-bit mode the instruction pointer has 32 bits, and entry checks that. */
static u64 wrap(u64 rip) {
    bool wide = (vmcs_read64(VMCS_GUEST_EFER) & EFER_LMA) && (vmcs_read32(VMCS_GUEST_RIGHTS(VSEG_CS)) & RIGHTS_CS_LONG);

    return wide ? rip : (u32)rip;
}

void vmx_skip(struct vcpu_hw *hw, u32 length) {
    u64 old = vmcs_read(VMCS_GUEST_RIP), rip = old + length;
    u32 blocked = vmcs_read32(VMCS_INTERRUPTIBILITY);

    (void)hw;
    if (__builtin_expect((old ^ rip) >> 32 != 0, 0)) rip = wrap(rip);
    vmcs_write(VMCS_GUEST_RIP, rip);
    if (blocked & BLOCKED_BY_SHADOW) vmcs_write32(VMCS_INTERRUPTIBILITY, blocked & ~BLOCKED_BY_SHADOW);
    if (__builtin_expect((vmcs_read(VMCS_GUEST_RFLAGS) & RFLAGS_TF) != 0, 0)) vmx_mark_single_step();
}
