/* Entry of the program that checks how it was started, in 32-bit code, and the headers of one boot form: FORM is
 * the number behind HEADER_ below. Registers are stored before anything changes them. */
#define HEADER_MB1          1 /* ELF */
#define HEADER_MB1_ADDRESS  2
#define HEADER_MB2          3
#define HEADER_MB2_ADDRESS  4
#define HEADER_PVH          5

    .section .header, "a"
    .globl  header
header:
#if FORM == HEADER_MB1 || FORM == HEADER_MB1_ADDRESS
#if FORM == HEADER_MB1
#define FLAGS 3             /* pages, memory */
#else
#define FLAGS 0x10003
#endif
    .balign 4
    .long   0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
#if FORM == HEADER_MB1_ADDRESS
    .long   header, header, load_end, bss_end, entry
#endif
#elif FORM == HEADER_MB2 || FORM == HEADER_MB2_ADDRESS
    .balign 8
    .long   0xe85250d6, 0, header_end - header, -(0xe85250d6 + header_end - header)
    .word   1, 0            /* information: memory, map, loader, command line, modules, RSDP */
    .long   32, 4, 6, 2, 1, 3, 15
    .word   5, 1            /* a framebuffer, if there is one */
    .long   20, 1024, 768, 32
    .balign 8
    .word   4, 0            /* EGA text can be used, is not demanded */
    .long   12, 2
    .balign 8
    .word   6, 0            /* modules on pages */
    .long   8
#if FORM == HEADER_MB2_ADDRESS
    .word   2, 0
    .long   24, header, header, load_end, bss_end
    .word   3, 0
    .long   12, entry
    .balign 8
#endif
    .word   0, 0
    .long   8
header_end:
#elif FORM == HEADER_PVH
    .section .note.pvh, "a", @note
    .balign 4
    .long   4, 4, 1         /* another note first */
    .asciz  "GNU"
    .long   0
    .long   4, 4, 18        /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz  "Xen"
    .long   entry
#endif

    .text
    .code32
    .globl  entry
entry:
    movl    %eax, registers
    movl    %ebx, registers + 4
    movl    $stack_top, %esp
    pushfl
    popl    registers + 8
    movl    %cr0, %eax
    movl    %eax, registers + 12
    movl    %cr4, %eax
    movl    %eax, registers + 16
    movl    $0xc0000080, %ecx /* EFER */
    rdmsr
    movl    %eax, registers + 20
    movw    %cs, registers + 24
    movw    %ds, registers + 26
    movw    %es, registers + 28
    movw    %ss, registers + 30
    cld
    call    check
    cli
1:  hlt
    jmp     1b

    .bss
    .balign 16
    .skip   16384
stack_top:

    .section .note.GNU-stack, "", @progbits
