/* Entering the guest. The vCPU's core, interrupts closed. */
#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "vmx/enter.h"
#include "vmx/vmx.h"

/* The timer counts down at the TSC's rate >> timer_shift, and only while the guest runs; so it is
 * set anew from the deadline at each entry. One tick more than the rest of the division, so that it
 * does not end early and cost an exit for nothing. It runs out every longest_run at the least, whatever
 * other exits there were, and the host then takes its interrupts: there are processors (emulated
 * ones) on which no interrupt ends a guest that was entered with interrupts closed, and neither a
 * request from another core nor the console's may wait for longer. SDM Vol 3C, VMX-Preemption
 * Timer. */
static inline void start_timer(const struct vcpu_hw *hw) {
    u64 now = rdtsc(), ticks = 0, deadline = min_u64(hw->timer_deadline, hw->interrupts_taken + vmx.longest_run);

    if (deadline > now) ticks = ((deadline - now) >> vmx.timer_shift) + 1;
    vmcs_write32(VMCS_PREEMPTION_TIMER, (u32)ticks);
}

/* SDM Vol 3C, Virtual-Interrupt Delivery: the processor takes the requested vector as soon as the guest can take it,
 * and then requests the next one of the virtual-APIC page, where there is none. */
bool vmx_post(struct vcpu_hw *hw, u8 vector) {
    if (!(vmx.secondary & PROC2_DELIVERY)) return false;
    if (vmcs_read32(VMCS_PROC_CONTROLS) & PROC_INTERRUPT_WINDOW) return false;
    vmcs_write16(VMCS_INTERRUPT_STATUS, vector);
    hw->posted = vector;
    return true;
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
    if (hw->posted) {
        if ((vmcs_read16(VMCS_INTERRUPT_STATUS) & 0xff) == 0) hw->posted = 0;
        vmcs_write16(VMCS_INTERRUPT_STATUS, 0);
    }
    if (exit->reason == EXIT_TIMER) {
        cpu_take_interrupts();
        hw->interrupts_taken = rdtsc();
    }
}
