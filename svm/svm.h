/* Between the files of svm/. */
#pragma once

#include "core/base/vendor.h"
#include "svm/vmcb.h"

static inline struct vmcb *vmcb_of(const struct vcpu_hw *hw) { return hw->block; }

/* probe.c: read-only after probe. */
extern bool svm_next_rip, svm_flush_by_asid, svm_cr4_exits;
#define VM_CR_SVMDIS BIT(4)
int svm_probe(struct vendor_caps *caps, char *why, size_t why_size);

/* state.c */
void svm_partition_init(struct vendor_partition *p);
void svm_allow_port(struct vendor_partition *p, u16 port);
void svm_allow_msr(struct vendor_partition *p, u32 msr, bool read, bool write);
void svm_vcpu_init(struct vcpu_hw *hw);
void svm_vcpu_reset(struct vcpu_hw *hw, bool init);
u64 svm_get_reg(struct vcpu_hw *hw, enum vcpu_reg reg);
void svm_set_reg(struct vcpu_hw *hw, enum vcpu_reg reg, u64 value);
/* Queues the #DB of a trap behind an instruction that was carried out. dr6: what it adds there. */
void svm_debug_trap(struct vcpu_hw *hw, u64 dr6);
struct code_address svm_code_address(struct vcpu_hw *hw);
void svm_get_context(struct vcpu_hw *hw, struct vcpu_context *out);
void svm_get_seg(struct vcpu_hw *hw, enum vcpu_seg seg, struct segment *out);
void svm_set_seg(struct vcpu_hw *hw, enum vcpu_seg seg, const struct segment *in);
void svm_dump(struct vcpu_hw *hw, char *out, size_t size);

/* exit.c: what the hardware left in the control block becomes *exit and hw->interrupted. */
void svm_decode_exit(struct vcpu_hw *hw, struct vm_exit *exit);

/* enter.S: runs the guest once. gpr: hw->gpr, without rax and rsp, which are in the control block. */
void svm_enter(u64 block_pa, u64 *gpr);
