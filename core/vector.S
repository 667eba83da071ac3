/* Vector registers of the guest, which are live in host mode, to and from memory. The hypervisor's C has none of its own.
 * Called from core/emulate.c only. */

    .section .text.vector_move, "ax"
    .globl  vector_move
/* edi: VECTOR_*; esi: register; rdx: memory. Changes rax and the register. */
vector_move:
    shll    $4, %edi
    addl    %esi, %edi
    shll    $4, %edi
    leaq    moves(%rdi), %rax
    jmp     *%rax

    /* Sixteen bytes each: room for a move and RET. */
    .macro  MOVE text:vararg
    .balign 16
    \text
    ret
    .endm
    .balign 16
moves:
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    MOVE    movdqu (%rdx), %xmm\n
    .endr
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    MOVE    movdqu %xmm\n, (%rdx)
    .endr
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    MOVE    vmovdqu (%rdx), %xmm\n
    .endr
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    MOVE    vmovdqu (%rdx), %ymm\n
    .endr
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    MOVE    vmovdqu %ymm\n, (%rdx)
    .endr

    .section .note.GNU-stack, "", @progbits
