/* The three ways in, and the page tables. All join guest_start(kind, a, b) in boot.c on the boot
 * stack, in long mode, with the first 4 GiB identity-mapped and interrupts off.
 *
 *   guest_entry  64-bit, by Mullion: rdi = command line, rsi = RSDP (the ELF entry point)
 *   pvh_entry    32-bit, by an emulator's -kernel: ebx = start information (PVH boot)
 *   mb2_entry    32-bit, by GRUB: eax = magic, ebx = Multiboot2 information
 */
#define BOOT_NATIVE 0
#define BOOT_PVH    1
#define BOOT_MB2    2

#define CR0_PE_PG  0x80000001
#define CR4_PAE    0x20
#define MSR_EFER   0xc0000080
#define EFER_LME   0x100

    .section .note.pvh, "a", @note
    .balign 4
    .long   4, 8, 18            /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz  "Xen"
    .quad   pvh_entry

    /* Multiboot2 Specification, OS image format. */
    .section .multiboot2, "a"
    .balign 8
mb2_header:
    .long   0xe85250d6, 0, mb2_header_end - mb2_header
    .long   -(0xe85250d6 + 0 + (mb2_header_end - mb2_header))
    .balign 8
    .word   3, 0                /* entry address: ours is not the ELF entry */
    .long   12, mb2_entry
    .balign 8
    .word   0, 0
    .long   8
mb2_header_end:

    .section .text.start, "ax"
    .code64
    .globl  guest_entry
guest_entry:
    movq    %rsi, %rdx
    movq    %rdi, %rsi
    movl    $BOOT_NATIVE, %edi
    lgdt    boot_gdt_pointer(%rip)
    movl    $boot_pml4, %eax
    movq    %rax, %cr3
    jmp     enter_c

    .code32
pvh_entry:
    movl    $BOOT_PVH, %edi
    jmp     1f
mb2_entry:
    movl    $BOOT_MB2, %edi
1:  cli
    cld
    movl    %ebx, %esi
    xorl    %edx, %edx
    movl    $enter_c, %ebp

/* 32-bit protected mode, paging off, flat segments: to long mode, then to the address in ebp.
 * Keeps edi, esi and edx. SDM Vol 3A, Initializing IA-32e Mode. */
    .globl  enter_long_mode
enter_long_mode:
    lgdt    boot_gdt_pointer
    movl    %cr4, %eax
    orl     $CR4_PAE, %eax
    movl    %eax, %cr4
    movl    $boot_pml4, %eax
    movl    %eax, %cr3
    movl    %edx, %ebx
    movl    $MSR_EFER, %ecx
    rdmsr
    orl     $EFER_LME, %eax
    wrmsr
    movl    %ebx, %edx
    movl    %cr0, %eax
    orl     $CR0_PE_PG, %eax
    movl    %eax, %cr0
    ljmp    $0x10, $1f
    .code64
1:  movl    $0x18, %eax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %ss
    movl    %ebp, %ebp
    jmp     *%rbp

enter_c:
    movl    $boot_stack_top, %esp
    xorl    %ebp, %ebp
    cld
    call    guest_start
    ud2

    .section .data.tables, "aw"
    .balign 8
    .globl  boot_gdt, boot_gdt_pointer
boot_gdt:
    .quad   0
    .quad   0x00cf9b000000ffff  /* 0x08: 32-bit code, for CPUs on their way up */
    .quad   0x00af9b000000ffff  /* 0x10: 64-bit code */
    .quad   0x00cf93000000ffff  /* 0x18: data */
boot_gdt_pointer:
    .word   . - boot_gdt - 1
    .quad   boot_gdt

/* Identity map of the first 4 GiB with 2 MiB pages, made by the assembler. The last GiB holds the
 * device windows and is uncached (PCD, PWT). SDM Vol 3A, 4-Level Paging. */
    .balign 4096
    .globl  boot_pml4
boot_pml4:
    .quad   boot_pdpt + 3
    .fill   511, 8, 0
boot_pdpt:
    .quad   boot_directories + 0x0003
    .quad   boot_directories + 0x1003
    .quad   boot_directories + 0x2003
    .quad   boot_directories + 0x3003
    .fill   508, 8, 0
    .globl  boot_directories
boot_directories:
    .set    page, 0
    .rept   1536
    .quad   page + 0x83
    .set    page, page + 0x200000
    .endr
    .rept   512
    .quad   page + 0x9b
    .set    page, page + 0x200000
    .endr

    .section .bss
    .balign 16
    .skip   32768
    .globl  boot_stack_top
boot_stack_top:

    .section .note.GNU-stack, "", @progbits
