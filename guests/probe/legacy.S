/* Code for modes that are not long mode, and the way there and back. mode.c calls legacy_run with one of the functions
 * below: 32-bit code, flat segments, paging off, interrupts off, exceptions caught. What it learns it leaves in
 * legacy_results. Not for x2APIC mode: all of it looks at the task priority in the local APIC's page. */
#include "guests/probe/legacy.inc"

/* --- to legacy mode and back: void legacy_run(void *function) ---------------------------------------------------- */
    .section .text
    .code64
    .globl  legacy_run
legacy_run:
    pushq   %rbx
    pushq   %rbp
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    movl    %edi, function
    sgdt    saved_gdt
    sidt    saved_idt
    movq    %cr3, %rax
    movl    %eax, saved_cr3
    movl    $0xc0000101, %ecx           /* GS base */
    rdmsr
    movl    %eax, saved_gs
    movl    %edx, saved_gs + 4
    movq    %rsp, saved_rsp
    lgdt    gdt_pointer
    lidt    idt_pointer
    pushq   $SEL_CODE32
    pushq   $1f
    lretq
    .code32
1:  movl    $SEL_DATA, %eax
    movw    %ax, %ss
    movw    %ax, %ds
    movw    %ax, %es
    movl    $legacy_stack, %esp
    movl    %cr0, %eax
    andl    $0x7fffffff, %eax           /* paging off ends long mode. SDM Vol 3A, IA-32e Mode */
    movl    %eax, %cr0
    movl    $MSR_EFER, %ecx
    rdmsr
    andl    $~0x100, %eax
    wrmsr
    movl    $0, count
    call    *function
    cli
    movl    %cr0, %eax
    andl    $0x7fffffff, %eax
    movl    %eax, %cr0
    movl    %cr4, %eax
    orl     $0x20, %eax
    andl    $~0x10, %eax
    movl    %eax, %cr4
    movl    saved_cr3, %eax
    movl    %eax, %cr3
    movl    $MSR_EFER, %ecx
    rdmsr
    orl     $0x100, %eax
    wrmsr
    movl    %cr0, %eax
    orl     $0x80000000, %eax
    andl    $~8, %eax                   /* a task switch sets TS */
    movl    %eax, %cr0
    ljmp    $SEL_CODE64, $1f
    .code64
1:  movl    $SEL_DATA, %eax
    movw    %ax, %ss
    movq    saved_rsp, %rsp
    lgdt    saved_gdt
    lidt    saved_idt
    movq    saved_gdt + 2, %rbx
    btrq    $41, 0x20(%rbx)             /* our own TSS: available again, or LTR refuses it */
    movl    $0x20, %eax
    ltr     %ax
    movw    %ss, %ax
    movw    %ax, %ds
    movw    %ax, %es
    xorl    %eax, %eax
    movw    %ax, %fs
    movw    %ax, %gs
    movl    $0xc0000101, %ecx
    movl    saved_gs, %eax
    movl    saved_gs + 4, %edx
    wrmsr
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbp
    popq    %rbx
    ret

/* --- shared with five.S, tasks.S, real.S and segments.S */
    .globl  pointers, pointers_b, put, landing, landing_esp, saved_cr3, scratch, gdt, idt, idt_pointer, tss_a, tss_b
    .globl  tss_16, stubs, task_stack, code16

/* --- helpers in 32-bit code -------------------------------------------------------------------------------------- */
    .code32
put:
    pushl   %ebx
    movl    count, %ebx
    movl    %eax, legacy_results(,%ebx,4)
    incl    count
    popl    %ebx
    ret

/* What exits on a hypervisor: CPUID, a port, the local APIC by memory, with and without an index register. */
look:
    pushal
    xorl    %eax, %eax
    cpuid
    PUT     %ebx
    xorl    %eax, %eax
    inb     $0x21, %al
    PUT     %eax
    movl    $0x30, TPR
    movl    $TPR - 0x100, %ebx
    movl    $0x40, %esi
    movl    (%ebx,%esi,4), %eax
    PUT     %eax
    andl    $0x10, TPR
    PUT     TPR
    movl    $0, TPR
    popal
    ret

    .set    vector, 0
    .balign 16
stubs:
    .rept   32
    .balign 16
    .if     (vector - 8) * (vector - 17) != 0
    .if     vector < 10 || vector > 14
    pushl   $0
    .endif
    .endif
    pushl   $vector
    jmp     caught
    .set    vector, vector + 1
    .endr
/* vector, error code, eip */
caught:
    movl    $SEL_DATA, %eax
    movw    %ax, %ds
    movw    %ax, %es
    popl    %eax
    call    put
    popl    %eax
    call    put
    movl    landing_esp, %esp
    jmp     *landing

/* --- the functions ----------------------------------------------------------------------------------------------- */
    .globl  legacy_unpaged, legacy_two_levels, legacy_pae, legacy_pdptes, legacy_code16
legacy_unpaged:
    movl    $MSR_EFER, %ecx
    rdmsr
    andl    $0x500, %eax
    call    put
    movl    %cr0, %eax
    andl    $0x80000001, %eax
    call    put
    jmp     look

/* 4 MiB pages, without PAE. */
legacy_two_levels:
    movl    %cr4, %eax
    andl    $~0x20, %eax
    orl     $0x10, %eax
    movl    %eax, %cr4
    xorl    %ecx, %ecx
1:  movl    %ecx, %eax
    shll    $22, %eax
    orl     $0x83, %eax
    movl    %eax, directory(,%ecx,4)
    incl    %ecx
    cmpl    $1024, %ecx
    jb      1b
    movl    $directory, %eax
    movl    %eax, %cr3
    movl    %cr0, %eax
    orl     $0x80000000, %eax
    movl    %eax, %cr0
    jmp     1f
1:  call    look
    TRY     1f
    andl    $~1, directory + 4 * 0x180 /* 0x60000000 */
    movl    %cr3, %eax
    movl    %eax, %cr3
    movl    $1, 0x60000123
1:  movl    %cr2, %eax
    jmp     put

/* Three levels. Then a PDPTE with a reserved bit, which MOV to CR3 refuses. SDM Vol 3A, PDPTE Registers. */
legacy_pae:
    movl    %cr4, %eax
    orl     $0x20, %eax
    movl    %eax, %cr4
    movl    $pointers, %eax
    movl    %eax, %cr3
    movl    %cr0, %eax
    orl     $0x80000000, %eax
    movl    %eax, %cr0
    jmp     1f
1:  call    look
    TRY     2f
    orl     $2, pointers + 8
    movl    %cr3, %eax
    movl    %eax, %cr3
2:  andl    $~2, pointers + 8
    ret

/* A PDPTE that changes in memory, without MOV to CR3: does string input see it? Processors differ. SDM Vol 3A, PDPTE
 * Registers; APM Vol 2, Nested Paging. */
legacy_pdptes:
    movl    pointers, %eax
    movl    %eax, pointers + 8          /* the first GiB at the second as well */
    movl    %cr4, %eax
    orl     $0x20, %eax
    movl    %eax, %cr4
    movl    $pointers, %eax
    movl    %eax, %cr3
    movl    %cr0, %eax
    orl     $0x80000000, %eax
    movl    %eax, %cr0
    jmp     1f
1:  movl    $0, LOW
    movl    $0, pointers + 8
    movl    $LOW + 0x40000000, %edi
    movl    $0x21, %edx
    TRY     1f
    insb
1:  PUT     LOW
    movl    %cr3, %eax
    movl    %eax, %cr3
    TRY     1f
    insb
1:  PUT     LOW
    ret

/* A 16-bit segment in protected mode. */
legacy_code16:
    lcall   $SEL_CODE16, $0
    PUT     scratch
    PUT     scratch+4
    PUT     scratch+8
    ret
    .code16
code16:
    xorl    %eax, %eax
    cpuid
    movl    $scratch, %edi
    movl    %ebx, (%edi)
    xorl    %eax, %eax
    inb     $0x21, %al
    movl    %eax, 4(%edi)
    movl    $TPR, %ebx
    movl    $0x30, (%ebx)
    orl     $0x40, (%ebx)
    movl    (%ebx), %ecx
    movl    $0, (%ebx)
    movl    %ecx, 8(%edi)
    lretl
    .code32

/* Real mode, at LOW. */
    .globl  real_mode
real_mode:
    ljmp    $SEL_CODE16, $to_real - code16
    .code16
to_real:
    movl    $SEL_DATA16, %eax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %ss
    movl    %cr0, %eax
    andl    $~1, %eax
    movl    %eax, %cr0
    ljmpl   $0, $LOW

    .globl  legacy_init
    .code64
/* The descriptors hold addresses in pieces, which no assembler writes down. */
legacy_init:
    movl    $tss_a, %eax
    movl    $SEL_TSS_A, %ecx
    call    set_base
    movl    $tss_b, %eax
    movl    $SEL_TSS_B, %ecx
    call    set_base
    movl    $tss_16, %eax
    movl    $SEL_TSS_16, %ecx
    call    set_base
    movl    $tss_b, %eax
    movl    $SEL_TSS_SHORT, %ecx
    call    set_base
    movl    $code16, %eax
    movl    $SEL_CODE16, %ecx
    call    set_base
    movl    $stubs, %eax
    xorl    %ecx, %ecx
1:  movw    %ax, idt(,%rcx,8)
    movw    $SEL_CODE32, idt + 2(,%rcx,8)
    movl    %eax, %edx
    andl    $0xffff0000, %edx
    orl     $0x8e00, %edx
    movl    %edx, idt + 4(,%rcx,8)
    addl    $16, %eax
    incl    %ecx
    cmpl    $32, %ecx
    jb      1b
    movl    $SEL_TSS_B << 16, idt + 0x20 * 8
    movl    $0x8500, idt + 0x20 * 8 + 4
    movl    $boot_directories + 1, %eax
    xorl    %ecx, %ecx
1:  movl    %eax, pointers(,%rcx,8)
    addl    $4096, %eax
    incl    %ecx
    cmpl    $4, %ecx
    jb      1b
    ret
set_base:
    movw    %ax, gdt + 2(%rcx)
    shrl    $16, %eax
    movb    %al, gdt + 4(%rcx)
    movb    %ah, gdt + 7(%rcx)
    ret

    .section .data.legacy, "aw"
    .balign 8
gdt:
    .quad   0
    .quad   0x00cf9b000000ffff          /* 0x08: 32-bit code */
    .quad   0x00af9b000000ffff          /* 0x10: 64-bit code */
    .quad   0x00cf93000000ffff          /* 0x18: data */
    .quad   0x00009b000000ffff          /* 0x20: 16-bit code, 64 KiB from code16 */
    .quad   0x000093000000ffff          /* 0x28: 16-bit data, 64 KiB from 0, as real mode wants it */
    .quad   0x0000890000000077          /* 0x30: 32-bit TSS with a map of 120 ports */
    .quad   0x0000890000000067          /* 0x38 */
    .quad   0x000081000000002b          /* 0x40: 16-bit TSS */
    .quad   0x0000090000000067          /* 0x48: not present */
    .quad   0x0000890000000040          /* 0x50: 104 bytes are the least */
    .quad   0x0000850000380000          /* 0x58: task gate */
    .quad   0x0040930000009003          /* 0x60: data up to LOW + 3 */
    .quad   0x00cf91000000ffff          /* 0x68: read-only data */
    .quad   0x0040970000008fff          /* 0x70: data from LOW on, expanding down */
gdt_end:
gdt_pointer:
    .word   gdt_end - gdt - 1
    .quad   gdt
    .balign 8
idt_pointer:
    .word   33 * 8 - 1
    .quad   idt
    .balign 8
idt:
    .fill   33, 8, 0
    .macro TSS stack
    .long   0, legacy_stack - 512, SEL_DATA, 0, 0, 0, 0, 0, 0, 2
    .long   0, 0, 0, 0, \stack, 0, 0, 0
    .long   SEL_DATA, SEL_CODE32, SEL_DATA, SEL_DATA, 0, 0, 0, 104 << 16
    .endm
tss_a:
    TSS     legacy_stack
    .fill   15, 1, 0
    .byte   0xff
tss_b:
    TSS     task_stack
    .balign 4
tss_16:
    .word   0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0
    .word   0x8ff0, 0, 0, 0, SEL_DATA, SEL_CODE16, SEL_DATA16, SEL_DATA, 0
    .balign 8
    .globl  legacy_results, legacy_count
legacy_results:
    .fill   64, 4, 0
legacy_count:
count:      .long 0
function:   .long 0
landing:    .long 0
landing_esp: .long 0
scratch:    .long 0, 0, 0
saved_cr3:  .long 0
saved_gs:   .quad 0
saved_rsp:  .quad 0
saved_gdt:  .fill 10, 1, 0
saved_idt:  .fill 10, 1, 0

    .section .bss
    .balign 4096
directory:
    .skip   4096
    .balign 32
pointers:
    .skip   32
pointers_b:
    .skip   32
    .skip   4096
legacy_stack:
    .skip   2048
task_stack:

    .section .note.GNU-stack, "", @progbits
