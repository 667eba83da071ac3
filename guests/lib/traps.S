/* Exception and interrupt entry, and the landing place of an expected fault. */

/* One stub of 16 bytes per vector. Each leaves the same frame: those vectors for which the CPU
 * pushes no error code push a zero. SDM Vol 3A, Exceptions and Interrupts Reference. */
    .section .text
    .balign 16
    .globl  trap_stubs
trap_stubs:
    .set    vector, 0
    .rept   256
    .balign 16
    .if     (vector - 8) * (vector - 17) * (vector - 21) * (vector - 29) * (vector - 30) != 0
    .if     vector < 10 || vector > 14
    pushq   $0
    .endif
    .endif
    pushq   $vector
    jmp     trap_common
    .set    vector, vector + 1
    .endr

/* For interrupts with the vectors of exceptions: none of them brings an error code. */
    .balign 16
    .globl  plain_stubs
plain_stubs:
    .set    vector, 0
    .rept   32
    .balign 16
    pushq   $0
    pushq   $vector
    jmp     trap_common
    .set    vector, vector + 1
    .endr

/* Stack on entry: vector, error code, then the CPU's rip, cs, rflags, rsp, ss. The pushes below
 * complete struct trap_frame (interrupts.h). */
trap_common:
    cld
    pushq   %rax
    pushq   %rbx
    pushq   %rcx
    pushq   %rdx
    pushq   %rsi
    pushq   %rdi
    pushq   %rbp
    pushq   %r8
    pushq   %r9
    pushq   %r10
    pushq   %r11
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    movq    %rsp, %rdi
    movq    %rsp, %rbx          /* callee-saved: survives the call */
    andq    $-16, %rsp
    call    trap_dispatch
    movq    %rbx, %rsp
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %r11
    popq    %r10
    popq    %r9
    popq    %r8
    popq    %rbp
    popq    %rdi
    popq    %rsi
    popq    %rdx
    popq    %rcx
    popq    %rbx
    popq    %rax
    addq    $16, %rsp
    iretq

/* void fault_call(void (*run)(void *), void *argument, u64 *landing_rsp)
 * Calls run(argument). A fault inside is sent to fault_landing by trap_dispatch, with rsp as stored
 * in *landing_rsp, so that this returns in either case. */
    .globl  fault_call, fault_landing
fault_call:
    pushq   %rbx
    pushq   %rbp
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    subq    $8, %rsp
    movq    %rsp, (%rdx)
    movq    %rdi, %rax
    movq    %rsi, %rdi
    call    *%rax
fault_landing:
    addq    $8, %rsp
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbp
    popq    %rbx
    ret

    .section .note.GNU-stack, "", @progbits
