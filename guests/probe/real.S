/* Real mode and virtual-8086 mode, called by legacy_run. Their code is copied to LOW, below 1 MiB. */
#include "guests/probe/legacy.inc"

#define REAL_GDT (LOW + 0x800) /* where LGDT finds it */

    .section .text
    .code32
    .globl  legacy_real, legacy_real_limit, legacy_v8086
/* Runs the code at esi, ecx bytes of it, in real mode. It begins with ENTER and ends with LEAVE. */
run_real:
    movl    $LOW, %edi
    rep movsb
    lidt    real_idt
    pushl   %ebp
    movl    %esp, real_esp
    sgdt    REAL_GDT
    jmp     real_mode
from_real:
    movl    $SEL_DATA, %eax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %ss
    movl    real_esp, %esp
    popl    %ebp
    lidt    idt_pointer
    ret
    .macro ENTER
    xorw    %ax, %ax
    movw    %ax, %ss
    movw    $LOW, %sp
    movw    $LOW >> 4, %ax
    movw    %ax, %ds
    movw    %ax, %es
    .endm
    .macro LEAVE
    xorw    %ax, %ax
    movw    %ax, %ds
    lgdtl   REAL_GDT
    movl    %cr0, %eax
    orb     $1, %al
    movl    %eax, %cr0
    ljmpl   $SEL_CODE32, $from_real
    .endm

/* With interrupts by the vector table. */
legacy_real:
    movl    $low_code, %esi
    movl    $low_code_end - low_code, %ecx
    call    run_real
    PUT     LOW+low_ebx-low_code
    PUT     LOW+low_port-low_code
    PUT     LOW+low_string-low_code
    PUT     LOW+low_count-low_code
    PUT     LOW+low_flags-low_code
    ret

    .code16
low_code:
    ENTER
    xorl    %eax, %eax
    cpuid
    movl    %ebx, low_ebx - low_code
    xorl    %eax, %eax
    inb     $0x21, %al
    movl    %eax, low_port - low_code
    /* Strings by 16-bit addresses, through ES. */
    cld
    movw    $low_string - low_code, %di
    movw    $3, %cx
    movw    $0x21, %dx
    rep insb
    movzwl  %cx, %eax
    shll    $16, %eax
    movw    %di, %ax
    subw    $low_string - low_code, %ax
    movl    %eax, low_count - low_code
    /* INT 40h by the table at 0. */
    xorw    %ax, %ax
    movw    %ax, %es
    movl    %es:0x100, %ebx
    movw    $low_handler - low_code, %es:0x100
    movw    $LOW >> 4, %es:0x102
    int     $0x40
    movl    %ebx, %es:0x100
    LEAVE
low_handler:
    pushfl
    popl    %eax
    andl    $0x200, %eax
    orl     $0x40, %eax
    movl    %eax, low_flags - low_code
    iretw
/* What runs in virtual-8086 mode, at its own segment: CPUID, a port, then a call for help. */
low_v8086:
    xorl    %eax, %eax
    cpuid
    xorl    %eax, %eax
    inb     $0x21, %al
    movl    %eax, %ecx
    pushfl
    popl    %edx
    hlt                                 /* #GP: CPL is 3 */
    .balign 4
low_ebx: .long  0
low_port: .long 0
low_string: .long 0xaa000000
low_count: .long 0
low_flags: .long 0
low_code_end:


/* A word of input at the segment's last byte is beyond its limit. SDM Vol 3A, Limit Checking; Vol 3B, Real-Address Mode
 * Exceptions and Interrupts: no error code is pushed. */
    .code32
legacy_real_limit:
    movl    $limit_code, %esi
    movl    $limit_code_end - limit_code, %ecx
    call    run_real
    PUT     LOW+limit_seen-limit_code
    PUT     LOW+limit_di-limit_code
    ret
    .code16
limit_code:
    ENTER
    xorw    %ax, %ax
    movw    %ax, %es
    movl    %es:13 * 4, %ebx
    movw    $limit_handler - limit_code, %es:13 * 4
    movw    $LOW >> 4, %es:13 * 4 + 2
    movw    %ds, %ax
    movw    %ax, %es
    cld
    movw    $0x21, %dx
    movw    $0xfffe, %di
    insw
    movw    %di, limit_di - limit_code
    movw    $0xffff, %di
limit_insw:
    insw
limit_next:
    movw    %di, limit_di + 2 - limit_code
    xorw    %ax, %ax
    movw    %ax, %es
    movl    %ebx, %es:13 * 4
    LEAVE
limit_handler:
    popw    %ax
    subw    $LOW + limit_insw - limit_code, %ax
    movzwl  %ax, %eax
    orl     $0xd0000, %eax
    movl    %eax, limit_seen - limit_code
    pushw   $LOW + limit_next - limit_code
    iretw
    .balign 4
limit_seen: .long 0
limit_di: .long 0
limit_code_end:

    .code32
legacy_v8086:
    movl    $low_code, %esi
    movl    $LOW, %edi
    movl    $low_code_end - low_code, %ecx
    rep movsb
    andb    $~2, gdt + SEL_TSS_A + 5
    movl    %esp, tss_a + 4
    subl    $256, tss_a + 4
    movl    $SEL_TSS_A, %eax
    ltr     %ax
    movl    %esp, landing_esp
    movl    $1f, landing
    pushl   $0                          /* gs, fs, ds, es, ss, esp, eflags with VM and IOPL 3, cs, eip */
    pushl   $0
    pushl   $LOW >> 4
    pushl   $LOW >> 4
    pushl   $LOW >> 4
    pushl   $0xff0
    pushl   $0x23002
    pushl   $LOW >> 4
    pushl   $low_v8086 - low_code
    iretl
1:  PUT     %ebx                        /* kept by `caught` */
    PUT     %ecx
    movl    %edx, %eax
    andl    $0x33000, %eax
    jmp     put

    .section .data.legacy, "aw"
    .balign 4
real_idt:
    .word   0x3ff
    .long   0
    .balign 4
real_esp:   .long 0

    .section .note.GNU-stack, "", @progbits
