/* bool vmx_enter(struct vcpu_hw *hw (rdi), bool launched (esi), u64 *host_rsp (rdx)): see enter.h.
 * The exit goes to vmx_exit_entry with RSP as the VMCS has it:
 *
 *      rsp -> hw          to find the vCPU again
 *             r15 r14 r13 r12 rbx rbp
 *             return address
 *
 * hw->gpr is the first member, in encoding order. CR2 holds the guest's value all the time: the
 * host takes no page faults (one is a panic). SDM Vol 3C, VM Entries; VM Exits. */
#include "vmx/enter.h"

#define GPR(n) ((n) * 8)(%rdi)

    .text
    .global vmx_enter, vmx_exit_entry
vmx_enter:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi
    /* The stack is as deep here each time, so this write happens once. */
    cmpq %rsp, (%rdx)
    je 1f
    movq %rsp, (%rdx)
    movl $ENCODING_HOST_RSP, %eax
    vmwrite %rsp, %rax
1:  testb %sil, %sil /* MOV leaves the flags alone */
    movq GPR(0), %rax
    movq GPR(1), %rcx
    movq GPR(2), %rdx
    movq GPR(3), %rbx
    movq GPR(5), %rbp
    movq GPR(6), %rsi
    movq GPR(8), %r8
    movq GPR(9), %r9
    movq GPR(10), %r10
    movq GPR(11), %r11
    movq GPR(12), %r12
    movq GPR(13), %r13
    movq GPR(14), %r14
    movq GPR(15), %r15
    movq GPR(7), %rdi
    jz 2f
    vmresume
    jmp 3f
2:  vmlaunch
3:  /* Refused: hw->gpr is still what the guest has. */
    movl $0, %eax
    jmp 4f

    .align 16
vmx_exit_entry:
    pushq %rdi
    movq 8(%rsp), %rdi
    movq %rax, GPR(0)
    movq %rcx, GPR(1)
    movq %rdx, GPR(2)
    movq %rbx, GPR(3)
    movq %rbp, GPR(5)
    movq %rsi, GPR(6)
    movq %r8, GPR(8)
    movq %r9, GPR(9)
    movq %r10, GPR(10)
    movq %r11, GPR(11)
    movq %r12, GPR(12)
    movq %r13, GPR(13)
    movq %r14, GPR(14)
    movq %r15, GPR(15)
    popq GPR(7)
    movl $1, %eax
    /* What is not restored below must not carry guest values into C. */
4:  xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %esi, %esi
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
    popq %rdi
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .section .note.GNU-stack, "", @progbits
