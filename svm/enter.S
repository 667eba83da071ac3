/* svm_enter(rdi = physical address of the VMCB, rsi = gpr array): one stub, in and out.
 *
 * GIF is clear before and after. VMRUN saves and restores host RAX, RSP, RIP, RFLAGS, CR0, CR3, CR4, EFER, CS, SS, DS, ES, GDTR and
 * IDTR. FS, GS, TR, LDTR, KERNEL_GS_BASE and the SYSCALL and SYSENTER registers stay the guest's throughout: the hypervisor uses none
 * of them, so no VMLOAD or VMSAVE is needed (APM Vol 2, VMRUN Instruction; Guest State Save and Restore).
 *
 * Stack while the guest runs: [rsp] = gpr array, then the callee-saved registers, then the return address. */
    .text
    .align 16
    .global svm_enter
svm_enter:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rsi
    movq %rdi, %rax
    movq 1 * 8(%rsi), %rcx
    movq 2 * 8(%rsi), %rdx
    movq 3 * 8(%rsi), %rbx
    movq 5 * 8(%rsi), %rbp
    movq 7 * 8(%rsi), %rdi
    movq 8 * 8(%rsi), %r8
    movq 9 * 8(%rsi), %r9
    movq 10 * 8(%rsi), %r10
    movq 11 * 8(%rsi), %r11
    movq 12 * 8(%rsi), %r12
    movq 13 * 8(%rsi), %r13
    movq 14 * 8(%rsi), %r14
    movq 15 * 8(%rsi), %r15
    movq 6 * 8(%rsi), %rsi
    vmrun
    /* rax is the host's again; every other register holds a guest value until it is saved and cleared or restored. */
    movq (%rsp), %rax
    movq %rcx, 1 * 8(%rax)
    movq %rdx, 2 * 8(%rax)
    movq %rbx, 3 * 8(%rax)
    movq %rbp, 5 * 8(%rax)
    movq %rsi, 6 * 8(%rax)
    movq %rdi, 7 * 8(%rax)
    movq %r8, 8 * 8(%rax)
    movq %r9, 9 * 8(%rax)
    movq %r10, 10 * 8(%rax)
    movq %r11, 11 * 8(%rax)
    movq %r12, 12 * 8(%rax)
    movq %r13, 13 * 8(%rax)
    movq %r14, 14 * 8(%rax)
    movq %r15, 15 * 8(%rax)
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %esi, %esi
    xorl %edi, %edi
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
    popq %rax
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
    .section .note.GNU-stack, "", @progbits
