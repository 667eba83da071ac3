/* What a CPU finds behind INIT and SIPI: copied to a page below 1 MiB; it goes on to the library's start page, 0x8000. */
    .section .rodata.trampoline, "a"
    .globl  init_witness, init_witness_end
    .code16
    .macro  NOTE msr
    movl    $\msr, %ecx
    rdmsr
    stosl
    movl    %edx, %eax
    stosl
    .endm
init_witness:
    cli
    cld
    movw    %cs, %ax
    movw    %ax, %es
    movw    $0x100, %di
    movl    %edx, %eax
    stosl
    movl    %cr0, %eax
    stosl
    movl    %cr4, %eax
    stosl
    movl    %dr7, %eax
    stosl
    movl    %cr2, %eax
    stosl
    movl    %cr3, %eax
    stosl
    NOTE    0xc0000080
    NOTE    0xc0000081
    NOTE    0x176
    NOTE    0x277
    NOTE    0x2ff
    NOTE    0x26f
    NOTE    0x20e
    NOTE    0x20f
    ljmp    $0x800, $0
init_witness_end:

    .section .note.GNU-stack, "", @progbits
