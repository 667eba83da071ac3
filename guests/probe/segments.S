/* String input and output through segments that do not allow it, in 32-bit code; called by legacy_run. On a hypervisor
 * these exit before the processor has looked at the segment. SDM Vol 3A, Protection: Limit Checking, Type Checking, Null
 * Segment Selector Checking; Vol 3C, Relative Priority of Faults and VM Exits. */
#include "guests/probe/legacy.inc"

    .section .text
    .code32
    .globl  legacy_segments

    /* One byte from port 0x21 to es:LOW + offset, then edi and what is in memory. */
    .macro INPUT selector, offset
    movl    $0x5a5a5a5a, LOW
    movl    $\selector, %eax
    movw    %ax, %es
    movl    $LOW + \offset, %edi
    TRY     1f
    insb
1:  PUT     %edi
    PUT     LOW
    .endm
    /* One byte from ds:LOW + offset to port 0x80. */
    .macro OUTPUT selector, offset
    TRY     1f
    movl    $\selector, %eax
    movl    $LOW + \offset, %esi
    movw    %ax, %ds
    outsb
1:  movl    $SEL_DATA, %eax
    movw    %ax, %ds
    PUT     %esi
    .endm

legacy_segments:
    cld
    movl    $0x21, %edx
    INPUT   SEL_SHORT, 3
    INPUT   SEL_SHORT, 4
    INPUT   0, 0
    INPUT   SEL_READ, 0
    INPUT   SEL_DOWN, 0
    INPUT   SEL_DOWN, -1
    INPUT   SEL_DATA, 1
    movl    $0x80, %edx
    OUTPUT  SEL_SHORT, 3
    OUTPUT  SEL_SHORT, 4
    OUTPUT  0, 0
    OUTPUT  SEL_READ, 0
    OUTPUT  SEL_DOWN, -1
    /* The first operand is a device's, the second forbidden: the processor has seen one of them. */
    movl    $0x5a5a5a5a, LOW
    movl    $SEL_READ, %eax
    movw    %ax, %es
    movl    $TPR, %esi
    movl    $LOW, %edi
    TRY     1f
    movsl
1:  PUT     %edi
    PUT     LOW
    movl    $SEL_DATA, %eax
    movw    %ax, %es
    ret

    .section .note.GNU-stack, "", @progbits
