/* A task switch in software, for processors that leave it to the hypervisor (VMX). Pure: registers, descriptor tables
 * and task-state segments arrive as parameters. Source: SDM Vol 3A, Task Switching; Task-State Segment. */
#pragma once

#include "core/base/vendor.h"
#include "core/insn/insn.h"

enum task_source { TASK_CALL, TASK_IRET, TASK_JMP, TASK_GATE }; /* as the exit qualification has them */

struct task_request {
    u16 selector; /* of the new TSS; the processor has checked it and its descriptor */
    enum task_source source;
    u32 return_eip; /* where the old task goes on */
    bool has_error; /* an exception's error code, pushed on the new stack */
    u32 error;
    bool external; /* an interrupt, an NMI or an exception asks for it, not an instruction */
    /* Of the bus: what comes next is translated by the new task's tables. False if they are not valid: #GP(0). */
    bool (*use_cr3)(void *ctx, u32 cr3);
};

struct task_cpu {
    u32 gpr[8], eip, eflags, cr3; /* as in the TSS */
    bool paging, debug_trap;      /* out: the new task's T flag is set, #DB is due */
    struct segment seg[VSEG_COUNT];
};

/* bus: reads and writes by linear address with the rights of CPL 0. Returns 0, or -E_FAULT with *fault to be raised in
 * the state that *cpu then has: the old task's, or the new one's if the switch had come that far (*switched). -E_RANGE
 * as the bus says. */
int task_switch(struct task_cpu *cpu, const struct task_request *rq, const struct insn_bus *bus, bool *switched,
                struct insn_fault *fault) must_check;
/* MOV to a segment register in protected and virtual-8086 mode: cpu has eflags, GDTR and LDTR, and gets seg[seg]. wide:
 * 64-bit mode. bus as above. Returns 0, or -E_FAULT with *fault. SDM Vol 2B, MOV. */
int task_load_segment(struct task_cpu *cpu, enum vcpu_seg seg, u16 selector, u32 cpl, bool wide,
                      const struct insn_bus *bus, struct insn_fault *fault) must_check;
