/* For legacy_run: the number of levels changes outside long mode only. SDM Vol 3A, Control Registers: LA57. */
#include "guests/probe/legacy.inc"

#define CR4_LA57 0x1000

    .section .text
    .code32
    .globl  legacy_five_levels, legacy_four_levels
legacy_five_levels:
    TRY     1f
    movl    %cr4, %eax
    orl     $CR4_LA57, %eax
    movl    %eax, %cr4
    movl    $five_level_root, saved_cr3
1:  ret

legacy_four_levels:
    movl    %cr4, %eax
    andl    $~CR4_LA57, %eax
    movl    %eax, %cr4
    movl    $boot_pml4, saved_cr3
    ret

    .section .note.GNU-stack, "", @progbits
