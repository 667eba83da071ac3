/* VMX as its files share it: what probe learned, and access to the current VMCS. Each core has at
 * most one VMCS, loaded by vmx_vcpu_init and current from then on, so no accessor names it. Inside
 * vmx/ only; core sees `vmx_ops`. */
#pragma once

#include "core/base/cpu.h"
#include "core/base/vendor.h"
#include "vmx/vmcs_fields.h"

/* Written by probe on the boot core, read-only afterwards. */
struct vmx_info {
    u32 revision; /* of VMCS and VMXON region */
    u32 pin, proc, secondary, exit, entry;
    u64 cr0_ones; /* what a guest's CR0 must have set */
    u64 cr0_mask; /* bits that a guest sees in the read shadow */
    u64 longest_run;
    u32 timer_shift; /* the preemption timer counts TSC ticks >> this */
    bool timer, vpid, pat;
    u64 invept_type, invvpid_type;
};
extern struct vmx_info vmx;

/* SDM Vol 3D, VMX-Fixed Bits in CR0 and in CR4. */
#define MSR_VMX_CR0_FIXED0 0x486
#define MSR_VMX_CR0_FIXED1 0x487
#define MSR_VMX_CR4_FIXED0 0x488
#define MSR_VMX_CR4_FIXED1 0x489

#define VMX_PAT_RESET 0x0007040600070406 /* SDM Vol 3A, Page Attribute Table: after reset */

/* CR4 bits that a guest may set where the processor has them; setting any other exits. MCE is not among them: it
 * is in the read shadow, and set behind it. With MCE clear a machine check shuts the processor down, before any
 * intercept, and the machine with it (SDM Vol 3B, Interrupt 18: machine-check exception). */
#define VMX_CR4_GUEST                                                                                                  \
    (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT |      \
     CR4_UMIP | CR4_LA57 | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP)

/* A field that this processor lacks, or no current VMCS: an error of ours. */
void vmcs_failed(u32 field, const char *what) noreturn_fn __attribute__((cold));

static inline u64 vmcs_get(u32 field) {
    u64 value;

    if (__builtin_expect(!cpu_vmread(field, &value), 0)) vmcs_failed(field, "vmread");
    return value;
}
static inline void vmcs_set(u32 field, u64 value) {
    if (__builtin_expect(!cpu_vmwrite(field, value), 0)) vmcs_failed(field, "vmwrite");
}

static inline u16 vmcs_read16(struct vmcs16 f) { return (u16)vmcs_get(f.field); }
static inline u32 vmcs_read32(struct vmcs32 f) { return (u32)vmcs_get(f.field); }
static inline u64 vmcs_read64(struct vmcs64 f) { return vmcs_get(f.field); }
static inline u64 vmcs_read(struct vmcs_natural f) { return vmcs_get(f.field); }
static inline void vmcs_write16(struct vmcs16 f, u16 value) { vmcs_set(f.field, value); }
static inline void vmcs_write32(struct vmcs32 f, u32 value) { vmcs_set(f.field, value); }
static inline void vmcs_write64(struct vmcs64 f, u64 value) { vmcs_set(f.field, value); }
static inline void vmcs_write(struct vmcs_natural f, u64 value) { vmcs_set(f.field, value); }

/* The parts of vmx_ops: core/base/vendor.h says what each does. */
int vmx_probe(struct vendor_caps *caps, char *why, size_t why_size);
/* Has VMX allowed on this core, if firmware has left that open. */
int vmx_unlock(char *why, size_t why_size);
void vmx_vcpu_init(struct vcpu_hw *hw);
void vmx_vcpu_reset(struct vcpu_hw *hw, bool init);
void vmx_run(struct vcpu_hw *hw, struct vm_exit *exit);
u64 vmx_get_reg(struct vcpu_hw *hw, enum vcpu_reg reg);
void vmx_set_reg(struct vcpu_hw *hw, enum vcpu_reg reg, u64 value);
void vmx_get_context(struct vcpu_hw *hw, struct vcpu_context *out);
void vmx_get_seg(struct vcpu_hw *hw, enum vcpu_seg seg, struct segment *out);
void vmx_set_seg(struct vcpu_hw *hw, enum vcpu_seg seg, const struct segment *in);
void vmx_inject(struct vcpu_hw *hw, const struct vm_event *event);
bool vmx_can_inject(struct vcpu_hw *hw, enum event_type type);
void vmx_window(struct vcpu_hw *hw, enum event_type type, bool open);
bool vmx_post(struct vcpu_hw *hw, u8 vector);
void vmx_skip(struct vcpu_hw *hw, u32 length);
void vmx_dump(struct vcpu_hw *hw, char *out, size_t size);

/* Decodes the exit that has just happened. False: it was dealt with, enter again. */
bool vmx_decode_exit(struct vcpu_hw *hw, struct vm_exit *exit) must_check;
/* Forgets this core's guest-linear translations, as a write to a control register does. */
void vmx_flush_linear(struct vcpu_hw *hw);
/* What this core has cached of the stage-2 tables. */
void vmx_flush_stage2(struct vcpu_hw *hw);

/* A single-step trap is due after the instruction, also where the hypervisor carried it out. SDM
 * Vol 3C, Format of Pending-Debug-Exceptions: BS; SDM Vol 3B, Single-Stepping on Branches. */
static inline void vmx_mark_single_step(void) {
    if (!(vmcs_read64(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF))
        vmcs_write(VMCS_PENDING_DEBUG, vmcs_read(VMCS_PENDING_DEBUG) | PENDING_DEBUG_BS);
}
