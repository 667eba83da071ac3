/* From GRUB's 32-bit state to boot_main in long mode, at whatever physical address the image lies; and the page that starts
 * the other cores. Runs once, on the boot core; the start page on each other core, one at a time.
 * Source: Multiboot2 Specification, OS image format; SDM Vol 3A, Initializing IA-32e Mode, MP Initialization. */
#include "core/base/layout.h"

#define OFF(symbol) ((symbol) - IMAGE_BASE) /* from the start of the image */

    .section .multiboot2, "ax"
    .align 8
header:
    .long 0xe85250d6, 0, header_end - header, -(0xe85250d6 + (header_end - header))
    /* information request, all optional: command line, modules, memory map, framebuffer, RSDP old and new */
    .align 8
    .short 1, 1
    .long 8 + 6 * 4
    .long 1, 3, 6, 8, 14, 15
    /* a screen, if there is one: drivers/screen.c has room for 160 by 64 characters of 8 by 16 pixels */
    .align 8
    .short 5, 1
    .long 20, 1024, 768, 32
    /* relocatable: 1 MiB to 4 GiB, page aligned, lowest first */
    .align 8
    .short 10, 1
    .long 24, 0x100000, 0xffffffff, 4096, 1
    /* modules page aligned */
    .align 8
    .short 6, 0
    .long 8
    .align 8
    .short 0, 0
    .long 8
header_end:

/* Entries of a table, which is zero: each \step beyond the one before. */
.macro fill table, entry, step, count
    xorl %ecx, %ecx
.Lfill\@:
    movl \entry, (\table, %ecx, 8)
    addl $\step, \entry
    incl %ecx
    cmpl $\count, %ecx
    jb .Lfill\@
.endm

    .section .boot.text, "ax"
    .code32
    .global _start
_start:
    cli
    cld
    /* Where are we? The stack is undefined: borrow the reserved word of the information structure for one return address. */
    leal 8(%ebx), %esp
    call 1f
1:  popl %ebp
    subl $OFF(1b), %ebp /* physical address of image_start */
    leal OFF(boot_stack_top)(%ebp), %esp
    movl $0, 4(%ebx)
    movl %ebx, %edi
    cmpl $0x36d76289, %eax
    leal OFF(no_multiboot)(%ebp), %esi
    jne fail32

    movl $0x80000000, %eax
    cpuid
    leal OFF(no_long_mode)(%ebp), %esi
    cmpl $0x80000001, %eax
    jb fail32
    movl $0x80000001, %eax
    cpuid
    andl $((1 << 29) | (1 << 20)), %edx /* long mode, no-execute */
    cmpl $((1 << 29) | (1 << 20)), %edx
    jne fail32

    /* First 4 GiB in 2 MiB pages. */
    leal OFF(boot_pd)(%ebp), %esi
    movl $0x83, %eax
    fill %esi, %eax, 0x200000, 2048
    leal OFF(boot_pdpt_low)(%ebp), %eax
    leal 3(%esi), %edx
    fill %eax, %edx, 4096, 4
    /* The image, page by page from where it lies. */
    leal OFF(boot_pt)(%ebp), %esi
    leal 3(%ebp), %edx
    fill %esi, %edx, 4096, 512
    leal OFF(boot_pd_high)(%ebp), %edx
    leal 3(%esi), %ecx
    movl %ecx, (%edx)
    leal OFF(boot_pdpt_high)(%ebp), %esi
    leal 3(%edx), %ecx
    movl %ecx, 510 * 8(%esi)
    leal OFF(boot_pml4)(%ebp), %edx
    leal 3(%esi), %ecx
    movl %ecx, 511 * 8(%edx)
    leal 3(%eax), %ecx
    movl %ecx, (%edx)        /* identity */
    movl %ecx, 256 * 8(%edx) /* DIRECT_BASE */

    movl %edx, %cr3
    /* PAE, and nothing that firmware or the loader left: with LA57 the tables would be read as of five levels. */
    movl $(1 << 5), %eax
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $((1 << 8) | (1 << 11)), %eax /* LME, NXE */
    wrmsr
    movl %cr0, %eax
    orl $((1 << 31) | (1 << 16) | 1), %eax /* PG, WP, PE */
    andl $0x9fffffff, %eax                 /* caches on */
    movl %eax, %cr0

    leal OFF(boot_gdt)(%ebp), %eax
    movl %eax, OFF(boot_gdt_pointer) + 2(%ebp)
    lgdt OFF(boot_gdt_pointer)(%ebp)
    pushl $GDT_CODE
    leal OFF(5f)(%ebp), %eax
    pushl %eax
    lret
    .code64
5:  movabsq $boot_high, %rax
    jmpq *%rax
boot_high:
    movl $GDT_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    lgdt boot_gdt_pointer_high(%rip)
    movq $boot_stack_top, %rsp
    movl %edi, %edi /* physical address of the information structure */
    movl %ebp, %esi /* physical address of the image */
    xorl %ebp, %ebp
    call boot_main
6:  cli
    hlt
    jmp 6b

    /* esi: text. Writes it to COM1 and to port 0xe9, and halts. */
    .code32
fail32:
    lodsb
    testb %al, %al
    jz 9f
    movb %al, %bl
    movl $100000, %ecx
7:  movw $0x3fd, %dx
    inb %dx, %al
    testb $0x20, %al
    loopz 7b
    movb %bl, %al
    movw $0x3f8, %dx
    outb %al, %dx
    outb %al, $0xe9
    jmp fail32
9:  cli
    hlt
    jmp 9b

    .section .rodata
no_multiboot:
    .ascii "[mullion] mullion: cannot start: not loaded by the multiboot2 protocol\r\n"
    .asciz "[mullion] mullion: remedy: use GRUB's multiboot2 command\r\n[mullion] mullion: halted\r\n"
no_long_mode:
    .ascii "[mullion] mullion: cannot start: this processor lacks long mode or no-execute pages\r\n"
    .ascii "[mullion] mullion: remedy: use a 64-bit machine; in an emulator choose a 64-bit CPU model\r\n"
    .asciz "[mullion] mullion: halted\r\n"

    .data
    .align 8
boot_gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdt_pointer:
    .short 23
    .long 0
    .align 8
    .short 0, 0, 0
boot_gdt_pointer_high:
    .short 23
    .quad boot_gdt

/* The start page: copied below 1 MiB, entered in real mode with CS = its paragraph. ebx = its address from there on.
 * Its last 32 bytes hold what boot/smp.c fills in: cr3, stack top, entry, argument. */
    .section .rodata
    .global start_page, start_page_end
    .code16
start_page:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0xfe0, %sp
    xorl %ebx, %ebx
    movw %ax, %bx
    shll $4, %ebx
    leal (start_gdt - start_page)(%ebx), %eax
    movl %eax, start_gdt_pointer + 2 - start_page
    lgdtl start_gdt_pointer - start_page
    movl %cr0, %eax
    andl $0x9fffffff, %eax
    orl $1, %eax
    movl %eax, %cr0
    pushl $0x18
    leal (1f - start_page)(%ebx), %eax
    pushl %eax
    lretl
    .code32
1:  movl $GDT_DATA, %eax
    movl %eax, %ds
    movl %eax, %ss
    movl 0xfe0(%ebx), %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $(1 << 5), %eax
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $((1 << 8) | (1 << 11)), %eax
    wrmsr
    movl %cr0, %eax
    orl $((1 << 31) | (1 << 16)), %eax
    movl %eax, %cr0
    leal 0xfe0(%ebx), %esp
    pushl $GDT_CODE
    leal (2f - start_page)(%ebx), %eax
    pushl %eax
    lret
    .code64
2:  movl $GDT_DATA, %eax
    movl %eax, %es
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movq 0xfe8(%rbx), %rsp
    movq 0xff0(%rbx), %rax
    movq 0xff8(%rbx), %rdi
    xorl %ebp, %ebp
    pushq $0
    jmpq *%rax
    .align 8
start_gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff
start_gdt_pointer:
    .short 31
    .long 0
start_page_end:

    .section .boot.bss, "aw", @nobits
    .align 4096
    .global boot_pml4
boot_pml4:      .skip 4096
boot_pdpt_low:  .skip 4096
boot_pdpt_high: .skip 4096
boot_pd_high:   .skip 4096
boot_pt:        .skip 4096
boot_pd:        .skip 4 * 4096
boot_stack:     .skip 16384
boot_stack_top:
    .section .note.GNU-stack, "", @progbits
