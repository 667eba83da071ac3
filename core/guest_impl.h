/* What core/guest.c and core/emulate.c share: the instruction at the guest's rip. The vCPU's core. */
#pragma once

#include "core/insn/insn.h"
#include "core/insn/walk.h"
#include "core/vcpu.h"

#define DR7_ENABLED 0xffu /* L0, G0 to L3, G3: SDM Vol 3B, Debug Control Register */

enum insn_mode guest_mode(const struct vcpu_context *c);
/* What a walk of the guest's tables needs; *c has to stay as long. */
struct walk_cpu guest_walk(const struct vcpu *v, const struct vcpu_context *c);
/* Fetches and decodes at rip. Returns what insn_decode returned; -E_FAULT with *fault; or -E_RANGE. */
int guest_fetch_decode(struct vcpu *v, struct vcpu_context *c, struct insn *insn, struct insn_fault *fault) must_check;
/* What to do when an instruction could not be carried out: raise the fault, or stop the partition. */
void guest_fail(struct vcpu *v, int error, const struct insn_fault *fault, const struct vm_exit *exit);
