/* Segment and interrupt descriptor tables of a core, and the way from a vector to C. Each core.
 * Source: SDM Vol 3A, Interrupt and Exception Handling; 64-Bit Mode TSS. */
#pragma once

#include "core/base/types.h"

/* What the entry stubs save. */
struct trap_frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    u64 vector, error;
    u64 rip, cs, rflags, rsp, ss;
};

/* Private to a core: lives in its local pages. */
struct core_descriptors {
    u64 gdt[5];
    u8 tss[104];
};

/* Boot core, once: builds the interrupt table. on_trap is called for each exception and interrupt, interrupts closed.
 */
void descriptors_setup(void (*on_trap)(struct trap_frame *frame));
/* Boot core, before the others run on the table: double faults stay on the stack they find. */
void descriptors_drop_fault_stack(void);
/* This core: loads GDT, TSS and IDT. fault_stack: top of the stack for double faults. */
void descriptors_load(struct core_descriptors *d, u64 fault_stack);
