/* Task switches in 32-bit code, called by legacy_run. SDM Vol 3A, Task Management. */
#include "guests/probe/legacy.inc"

    .section .text
    .code32
    .globl  legacy_tasks, legacy_task_gate, legacy_task_faults, legacy_task_tables, legacy_task_external
/* Task switches: JMP there and back; CALL and IRET; the same with a 16-bit TSS. SDM Vol 3A, Task Management. */
legacy_tasks:
    call    arm_tasks
    movl    $task_b_jumped, tss_b + 32
    ljmp    $SEL_TSS_B, $0
    call    task_state
    movl    $task_b_called, tss_b + 32
    lcall   $SEL_TSS_B, $0
    call    task_state
    movl    $task_16, %eax
    subl    $code16, %eax
    movw    %ax, tss_16 + 14
    pushfl                              /* QEMU 7.2 saves flags of before the last arithmetic, unless popped */
    popfl
    lcall   $SEL_TSS_16, $0
    call    task_state
    PUT     scratch
    ret
/* Here A runs again: what is left of the switch. */
task_state:
    str     %ax
    movzwl  %ax, %eax
    call    put
    movl    %cr0, %eax
    andl    $8, %eax
    call    put
    clts
    movzbl  gdt + SEL_TSS_A + 5, %eax   /* busy bits */
    movb    gdt + SEL_TSS_B + 5, %ah
    call    put
    pushfl
    popl    %eax
    andl    $0x4000, %eax
    jmp     put
task_b_jumped:
    call    task_state
    movzwl  tss_b, %eax                 /* the link is not written */
    call    put
    ljmp    $SEL_TSS_A, $0
task_b_called:
    call    task_state
    movzwl  tss_b, %eax
    call    put
    iretl
    .code16
task_16:
    strw    %ax
    movl    $scratch, %edi
    movw    %ax, (%edi)
    movl    $tss_16, %esi
    movw    (%esi), %ax
    movw    %ax, 2(%edi)
    iretw
    .code32
arm_tasks:
    andb    $~2, gdt + SEL_TSS_A + 5
    andb    $~2, gdt + SEL_TSS_B + 5
    andb    $~2, gdt + SEL_TSS_16 + 5
    movl    $SEL_TSS_A, %eax
    ltr     %ax
    movl    $task_stack, tss_b + 56
    movl    $2, tss_b + 36
    movw    $0, tss_b
    movl    $0, scratch
    ret

/* Through gates: INT, an exception with an error code, and a far call. */
legacy_task_gate:
    call    arm_tasks
    movl    $gate_int, tss_b + 32
    int     $0x20
    call    task_state
    call    arm_tasks
    movl    $gate_error, tss_b + 32
    movl    $0, idt + 13 * 8
    movl    $SEL_TSS_B << 16, idt + 13 * 8
    movl    idt + 13 * 8 + 4, %ebx
    movl    $0x8500, idt + 13 * 8 + 4
    movl    $0x1234, %eax
    movw    %ax, %ds                    /* #GP(0x1234): comes back behind it */
after_gp:
    movl    $stubs + 13 * 16, %eax
    movw    %ax, idt + 13 * 8
    movw    $SEL_CODE32, idt + 13 * 8 + 2
    movl    %ebx, idt + 13 * 8 + 4
    call    task_state
    call    arm_tasks
    movl    $gate_int, tss_b + 32
    lcall   $SEL_GATE, $0
    jmp     task_state
gate_int:
    call    task_state
    iretl
gate_error:
    popl    %eax
    call    put
    movl    $after_gp, tss_a + 32
    iretl

/* Through a gate to a task whose ES will not do: EXT says that no instruction asked for it. After #GP it is a double
 * fault. SDM Vol 3A, Error Code; Interrupt 8. */
    .macro GATE vector
    movl    $SEL_TSS_B << 16, idt + \vector * 8
    movl    $0x8500, idt + \vector * 8 + 4
    .endm
    .macro NO_GATE vector
    movl    $stubs + \vector * 16, %eax
    movw    %ax, idt + \vector * 8
    movw    $SEL_CODE32, idt + \vector * 8 + 2
    andl    $0xffff0000, %eax
    orl     $0x8e00, %eax
    movl    %eax, idt + \vector * 8 + 4
    .endm
legacy_task_external:
    call    arm_tasks
    movl    $gate_int, tss_b + 32
    movl    $0x1230, tss_b + 72
    TRY     1f
    int     $0x20
1:  clts
    call    arm_tasks
    GATE    6
    TRY     1f
    ud2
1:  clts
    NO_GATE 6
    call    arm_tasks
    GATE    13
    TRY     1f
    movl    $0x1234, %eax
    movw    %ax, %ds
1:  clts
    NO_GATE 13
    movl    $SEL_DATA, tss_b + 72
    str     %ax
    movzwl  %ax, %eax
    jmp     put

/* To a TSS that is busy, absent, too short; in data. The old task goes on. */
legacy_task_faults:
    call    arm_tasks
    TRY     1f
    ljmp    $SEL_TSS_A, $0
1:  TRY     1f
    ljmp    $SEL_TSS_NP, $0
1:  TRY     1f
    ljmp    $SEL_TSS_SHORT, $0
1:  TRY     1f
    lcall   $0x1230, $0
1:  TRY     1f
    movl    $0, %eax
    pushfl
    orl     $0x4000, (%esp)
    popfl
    movw    $SEL_TSS_NP, tss_a
    iretl
1:  pushfl
    andl    $~0x4000, (%esp)
    popfl
    movw    $0, tss_a
    jmp     task_state

/* Each task with tables of its own, of three levels: B has the first GiB at the second as well. Then the T flag of B:
 * #DB in front of its first instruction, which DR6.BT tells. SDM Vol 3B, Task-Switch Exception Condition. */
legacy_task_tables:
    movl    %cr4, %eax
    orl     $0x20, %eax
    movl    %eax, %cr4
    movl    pointers, %eax
    movl    %eax, pointers_b
    movl    %eax, pointers_b + 8
    movl    $pointers, %eax
    movl    %eax, %cr3
    movl    %eax, tss_a + 28
    movl    $pointers_b, tss_b + 28
    movl    %cr0, %eax
    orl     $0x80000000, %eax
    movl    %eax, %cr0
    jmp     1f
1:  call    arm_tasks
    movl    $0x600df00d, scratch
    movl    $task_b_tables, tss_b + 32
    ljmp    $SEL_TSS_B, $0
    movl    %cr3, %eax
    subl    $pointers, %eax
    call    put
    call    arm_tasks
    movl    $0xffff0ff0, %eax
    movl    %eax, %dr6
    TRY     2f
    movl    $task_b_traced, tss_b + 32
    movb    $1, tss_b + 100
    ljmp    $SEL_TSS_B, $0
    movb    $0, tss_b + 100
    movl    %dr6, %eax
    andl    $0x8000, %eax
    call    put
    movl    $0xffff0ff0, %eax
    movl    %eax, %dr6
    jmp     task_state
task_b_traced:                          /* there was no trap */
    PUT     $0xb
2:  ljmp    $SEL_TSS_A, $0
task_b_tables:
    movl    %cr3, %eax
    subl    $pointers_b, %eax
    call    put
    PUT     scratch + 0x40000000
    ljmp    $SEL_TSS_A, $0

    .section .note.GNU-stack, "", @progbits
