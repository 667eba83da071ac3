/* A flat binary without header: checks how it was started, says so on COM1, powers off. MODE: 16, 32 or 64; BASE: where
 * it lies. RESET: it jumps to the PC's reset entry in the end. */
#if MODE == 16
    .code16
#define SI %si
#elif MODE == 32
    .code32
#define SI %esi
#else
    .code64
#define SI %rsi
#endif
    .macro  say text
    mov     $\text, SI
    call    print
    .endm
    .text
    .globl  _start
_start:
#if MODE == 16
    mov     %cs, %ax            /* entry is cs:ip, the others are as cs, the stack is a place of its own */
    mov     %ds, %bx
    mov     %es, %cx
    cmp     %ax, %bx
    jne     bad
    cmp     %ax, %cx
    jne     bad
    call    1f
1:  pop     %dx
    cmp     $1b, %dx
    jne     bad
    smsw    %ax
    test    $1, %al
    jnz     bad
    pushf
    pop     %ax
    test    $0x200, %ax
    jnz     bad
#elif MODE == 32
    mov     %cr0, %eax
    and     $0x80000001, %eax
    cmp     $1, %eax
    jne     bad
    cmpb    $'f', (%edi)        /* the command line */
    jne     bad
    cmpl    $0x20445352, (%esi) /* "RSD " */
    jne     bad
    call    1f
1:  pop     %edx
    cmp     $1b, %edx
    jne     bad
#else
    mov     %cr0, %rax
    mov     $0x80000001, %ecx
    and     %rcx, %rax
    cmp     %rcx, %rax
    jne     bad
    cmpb    $'f', (%rdi)
    jne     bad
    cmpl    $0x20445352, (%rsi)
    jne     bad
    lea     1f(%rip), %rdx
1:  cmp     $1b, %rdx
    jne     bad
#endif
    say     good_text
#ifdef RESET
    ljmp    $0xffff, $0
#endif
    jmp     off
bad:
    say     bad_text
off:
    mov     $0x604, %dx
    mov     $0x3400, %ax        /* SLP_TYP 5, SLP_EN */
    out     %ax, %dx
1:  hlt
    jmp     1b

print:
    mov     $0x3fd, %dx
1:  inb     %dx, %al
    test    $0x20, %al
    jz      1b
    lodsb
    test    %al, %al
    jz      2f
    mov     $0x3f8, %dx
    outb    %al, %dx
    jmp     print
2:  ret

#if MODE == 16
good_text: .asciz "flat: real good\n"
#elif MODE == 32
good_text: .asciz "flat: protected good\n"
#else
good_text: .asciz "flat: long good\n"
#endif
bad_text: .asciz "flat: bad\n"
    .section .note.GNU-stack, "", @progbits
