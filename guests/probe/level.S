/* To the user's level and back: void user_enter(u64 rip, u64 rsp, u64 rflags, u64 address), for user.c. */
#define USER_DATA 0x33 /* entries 6 and 7 of user.c's GDT, RPL 3 */
#define USER_CODE 0x3b

    .section .text
    .globl  user_enter, user_left, user_rsp
user_enter:
    pushq   %rbx
    pushq   %rbp
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    movq    %rsp, user_rsp
    pushq   $USER_DATA
    pushq   %rsi
    pushq   %rdx
    pushq   $USER_CODE
    pushq   %rdi
    movq    %rcx, %rbx
    movq    %rcx, %rsi
    movq    %rcx, %rdi
    xorl    %eax, %eax
    xorl    %ecx, %ecx
    movl    $0x21, %edx
    iretq
user_left:
    movl    $0x18, %eax         /* IRET has emptied what was not the user's */
    movw    %ax, %ds
    movw    %ax, %es
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbp
    popq    %rbx
    ret

    .section .bss
    .balign 8
user_rsp:
    .skip   8

    .section .note.GNU-stack, "", @progbits
