/* What a processor does that never saw 64-bit mode: copied to LEGACY by crowd.c, entered by SIPI in real mode. 16-bit code,
 * then 32-bit code with device memory and a call gate, then virtual-8086 mode and out of it by #GP; at last, if asked, a
 * hardware task switch. Each stage counts in the words at COUNTS. */
#define LEGACY 0x9000
#define COUNTS 0x9f00
#define ASKED  0x9f20
#define STACK  0x9e00
#define AT(label) ((label) - legacy_start + LEGACY)

    .section .rodata.legacy, "a"
    .globl legacy_start, legacy_end
    .code16
legacy_start:
    cli
    cld
    xorw    %ax, %ax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %ss
    movw    $STACK, %sp
    lock incw COUNTS
    movb    $0x89, AT(gdt) + 0x18 + 5 /* not busy any more */
    movl    $0x40000000, %eax
    cpuid
    movl    $0xc0000080, %ecx
    rdmsr
    movw    $0x3fd, %dx
    inb     %dx, %al
    outb    %al, $0x80
    movw    $0x80, %dx
    movw    $LEGACY, %si
    movw    $4, %cx
    rep outsb
    movw    $0x9f40, %di
    movw    $4, %cx
    rep insb
    wbinvd
    lgdtl   AT(gdt_pointer)
    lidtl   AT(idt_pointer)
    movl    %cr0, %eax
    orb     $1, %al
    movl    %eax, %cr0
    ljmpl   $0x08, $AT(protected)

    .code32
protected:
    movw    $0x10, %ax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %ss
    movl    $STACK, %esp
    lock incw COUNTS + 2
    movl    0xfee00030, %eax
    movzbl  0xfee00020, %eax
    movl    $0xfec00000, %edi
    movl    $5, %ecx
    rep stosl
    pushl   0xfee00020
    popl    0xb0000000
    movl    $0xb0000ffe, %edi /* crosses a page of nobody's */
    movl    %eax, (%edi)
    andl    %eax, (%edi)
    movl    $0x1b, %ecx
    rdmsr
    lcall   $0x28, $0
    movl    %cr0, %eax
    movl    %eax, %cr0
    ltr     AT(task_selector)
    /* To virtual-8086 mode: gs fs ds es ss esp eflags cs eip. */
    pushl   $0
    pushl   $0
    pushl   $0
    pushl   $0
    pushl   $0
    pushl   $(STACK - 256)
    pushl   $0x23002 /* VM, IOPL 3 */
    pushl   $0
    pushl   $AT(v86)
    iretl

gate:
    lock incw COUNTS + 4
    lretl

general_protection:
    movw    $0x10, %ax
    movw    %ax, %ds
    movl    $STACK, %esp
    lock incw COUNTS + 8
    cmpw    $0, ASKED
    je      1f
    ljmp    $0x20, $0
1:  hlt
    jmp     1b

    .code16
v86:
    lock incw COUNTS + 6
    movl    $1, %eax
    cpuid
    hlt     /* #GP */

    .balign 8
gdt:
    .quad   0
    .quad   0x00cf9b000000ffff /* 0x08: code */
    .quad   0x00cf93000000ffff /* 0x10: data */
    .quad   0x0000890000000067 + AT(task) * 0x10000 /* 0x18: task */
    .quad   0x0000890000000067 + AT(task) * 0x10000 /* 0x20: another one */
    .quad   0x00008c0000080000 + AT(gate) /* 0x28: call gate */
gdt_pointer:
    .word   6 * 8 - 1
    .long   AT(gdt)
idt_pointer:
    .word   14 * 8 - 1
    .long   AT(idt)
task_selector:
    .word   0x18
    .balign 8
idt:
    .fill   13, 8, 0
    .quad   0x00008e0000080000 + AT(general_protection)
task:
    .long   0, STACK, 0x10
    .fill   104 - 12, 1, 0
legacy_end:
