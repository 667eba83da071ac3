/* The IDT, handlers per vector, and faults that are expected. Handlers run with interrupts off on
 * the CPU that took the interrupt. An exception or interrupt without a handler ends the program
 * with a register dump. */
#pragma once

#include "core/base/types.h"

/* As traps.S leaves it; iretq takes it back, so a handler may change it. */
struct trap_frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    u64 vector, error;
    u64 rip, cs, rflags, rsp, ss;
};

typedef void (*interrupt_fn)(struct trap_frame *frame);

/* What a tried function raised. */
struct fault {
    bool raised;
    u32 vector;
    u64 error; /* 0 where the vector has no error code */
    u64 cr2;   /* valid for a page fault */
    u64 rip;   /* where it stood */
};

/* Per CPU. gs:0 points to it. */
struct cpu {
    struct cpu *self;
    u32 index; /* 0: the boot CPU */
    u32 apic_id;
    struct fault *expected; /* not NULL: a fault goes here instead of ending the program */
    u64 landing_rsp;
    u64 gdt[6];
    u8 tss[104];
};

#define MAX_CPUS 32

static inline struct cpu *this_cpu(void) {
    struct cpu *c;
    __asm__("movq %%gs:0, %0" : "=r"(c));
    return c;
}

/* Boot CPU, once: the IDT. */
void interrupts_init(void);
/* Each CPU, once: GDT, TSS with stacks for NMI and double fault, IDT, gs base. */
void interrupts_cpu_init(u32 index);
/* NULL removes. The function ends a local-APIC interrupt itself, with lapic_eoi(). */
void interrupt_handler(u8 vector, interrupt_fn handler);
/* From now on an exception's vector is that of an interrupt, which brings no error code. */
void interrupt_gate_plain(u8 vector);
/* An absent gate makes its vector raise #NP, or #DF where exceptions combine. */
void interrupt_gate_present(u8 vector, bool present);
/* Runs run(argument) and tells which exception it raised, if any; nothing after the faulting
 * instruction is executed. Handlers do not see it; NMI is not an exception. Not nested. */
struct fault fault_try(void (*run)(void *), void *argument);
/* "#GP" and so on; "" for a reserved vector. */
const char *exception_name(u32 vector);
