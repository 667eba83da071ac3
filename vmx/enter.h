/* The one way into a guest and out of it: enter.S. */
#pragma once

#define ENCODING_HOST_RSP 0x6c14 /* SDM Vol 3D, Field Encoding in VMCS */

#ifndef __ASSEMBLER__
#include "core/base/vendor.h"

/* Enters the guest of the current VMCS with the registers in hw->gpr; comes back with them saved
 * after an exit. launched: VMRESUME, not VMLAUNCH. host_rsp: what the VMCS has as host RSP, kept up
 * to date here. Interrupts closed before and after. Returns false if the processor refused the
 * instruction: nothing has run, VMCS_INSTRUCTION_ERROR tells why. */
bool vmx_enter(struct vcpu_hw *hw, bool launched, u64 *host_rsp);
/* Where exits land: host RIP. Not to be called. */
void vmx_exit_entry(void);
#endif
