/* Where a started CPU begins: real mode, at the start of a page below 1 MiB to which smp.c copies
 * ap_trampoline. It leaves that page at once for enter_long_mode (start.S) and ap_long here. */
    .section .rodata.trampoline, "a"
    .globl  ap_trampoline, ap_trampoline_end
    .code16
ap_trampoline:
    cli
    cld
    movw    %cs, %ax
    movw    %ax, %ds
    lgdtl   ap_gdt_pointer - ap_trampoline
    movl    %cr0, %eax
    orb     $1, %al
    movl    %eax, %cr0
    ljmpl   $0x08, $ap_protected
    .balign 4
ap_gdt_pointer:                 /* boot_gdt with the 32-bit base that real mode loads */
    .word   31
    .long   boot_gdt
ap_trampoline_end:

    .section .text
    .code32
ap_protected:
    movl    $0x18, %eax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %ss
    /* INIT leaves CD and NW set; caches on as on the boot CPU. SDM Vol 3A, Processor State After
     * Reset. */
    movl    %cr0, %eax
    andl    $0x9fffffff, %eax
    movl    %eax, %cr0
    movl    $ap_long, %ebp
    jmp     enter_long_mode
    .code64
ap_long:
    movq    ap_stack_top, %rsp
    xorl    %ebp, %ebp
    call    smp_cpu_entry
    ud2

    .section .note.GNU-stack, "", @progbits
