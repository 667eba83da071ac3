/* Entering the guest. The vCPU's core, interrupts closed. */
#include "core/base/cpu.h"
#include "vmx/enter.h"
#include "vmx/vmx.h"

/* The timer counts down at the TSC's rate >> timer_shift, and only while the guest runs; so it is
 * set anew from the deadline at each entry. One tick more than the rest of the division, so that it
 * does not end early and cost an exit for nothing. A run never lasts longer than longest_run: there
 * are processors (emulated ones) on which no interrupt ends a guest that was entered with
 * interrupts closed, and a request from another core must be seen. SDM Vol 3C, VMX-Preemption
 * Timer. */
static inline void start_timer(const struct vcpu_hw *hw) {
    u64 now = rdtsc(), ticks = 0;

    if (hw->timer_deadline > now) {
        ticks = hw->timer_deadline - now;
        if (ticks > vmx.longest_run) ticks = vmx.longest_run;
        ticks = (ticks >> vmx.timer_shift) + 1;
    }
    vmcs_write32(VMCS_PREEMPTION_TIMER, (u32)ticks);
}

static void refused(struct vm_exit *exit) {
    exit->reason = EXIT_INVALID;
    exit->length = 0;
    exit->code = vmcs_read32(VMCS_INSTRUCTION_ERROR);
}

void vmx_run(struct vcpu_hw *hw, struct vm_exit *exit) {
    do {
        if (vmx.timer) start_timer(hw);
        if (!vmx_enter(hw, hw->launched, &hw->host_rsp)) {
            refused(exit);
            return;
        }
    } while (!vmx_decode_exit(hw, exit));
}
