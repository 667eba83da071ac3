/* A firmware image of 64 KiB: says on COM1 what a processor's reset has left, then writes 42 to port 0xf4 and powers off.
 * SDM Vol 3A, Processor State After Reset; MTRR Initialization. Beside the stack, which begins at 0:0 as the reset left
 * it, it needs no memory. */
    .code16
    .macro  say text
    movw    $\text, %si
    call    print
    .endm
    .text
    .globl  _start
_start:
    movl    %edx, %edi
    movl    $1, %eax
    cpuid
    xorl    %eax, %edi
    say     signature_text
    movl    %edi, %eax          /* 0: EDX held what CPUID says */
    call    hex
    say     cr0_text
    movl    %cr0, %eax
    call    hex
    movw    $msrs, %di
1:  say     msr_text
    movl    %cs:(%di), %eax
    call    hex
    movl    %cs:(%di), %ecx
    rdmsr
    pushl   %eax
    movl    %edx, %eax
    call    hex
    popl    %eax
    call    hex
    addw    $4, %di
    cmpw    $msrs_end, %di
    jne     1b
    say     end_text
    movw    $0xf4, %dx
    movl    $42, %eax
    outl    %eax, %dx
    movw    $0x604, %dx
    movw    $0x3400, %ax        /* SLP_TYP 5, SLP_EN */
    outw    %ax, %dx
1:  hlt
    jmp     1b

/* A space and eax, eight digits. */
hex:
    movw    $8, %bx
    say     space_text
1:  roll    $4, %eax
    pushl   %eax
    andb    $15, %al
    cmpb    $10, %al
    jb      2f
    addb    $'a' - '0' - 10, %al
2:  addb    $'0', %al
    call    put
    popl    %eax
    decw    %bx
    jnz     1b
    ret

/* cs:si to a zero. Keeps eax. */
print:
    pushl   %eax
1:  movb    %cs:(%si), %al
    incw    %si
    testb   %al, %al
    jz      2f
    call    put
    jmp     1b
2:  popl    %eax
    ret

put:
    movb    %al, %ah
    movw    $0x3fd, %dx
1:  inb     %dx, %al
    testb   $0x20, %al
    jz      1b
    movb    %ah, %al
    movw    $0x3f8, %dx
    outb    %al, %dx
    ret

signature_text: .asciz "firmware: signature"
cr0_text:       .asciz "\nfirmware: cr0"
msr_text:       .asciz "\nfirmware: msr"
end_text:       .asciz "\nfirmware: end\n"
space_text:     .asciz " "
    .balign 4
msrs:
    .long   0x1b, 0xc0000080, 0x277, 0x2ff, 0x201, 0x20f, 0x250, 0x26f
msrs_end:

    .org    0xfff0              /* the reset vector: cs is 0xf000, its base 0xffff0000 */
    jmp     _start
    .org    0x10000

    .section .note.GNU-stack, "", @progbits
