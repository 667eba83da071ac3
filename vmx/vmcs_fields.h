/* Numbers of the VMCS fields in use and the bits inside them. The type of a field is its width: a
 * number cannot pass for a value, nor one width for another. Source: SDM Vol 3D, Field Encoding in
 * VMCS; SDM Vol 3C, Virtual Machine Control Structures. */
#pragma once

#include "core/base/bits.h"

struct vmcs16 {
    u32 field;
};
struct vmcs32 {
    u32 field;
};
struct vmcs64 {
    u32 field;
};
struct vmcs_natural {
    u32 field;
};

#define VMCS16(n)       ((struct vmcs16){n})
#define VMCS32(n)       ((struct vmcs32){n})
#define VMCS64(n)       ((struct vmcs64){n})
#define VMCS_NATURAL(n) ((struct vmcs_natural){n})

/* Execution, exit and entry controls. */
#define VMCS_VPID               VMCS16(0x0000)
#define VMCS_INTERRUPT_STATUS   VMCS16(0x0810) /* requesting vector in bits 7:0, servicing in 15:8 */
#define VMCS_IO_BITMAP_A        VMCS64(0x2000)
#define VMCS_IO_BITMAP_B        VMCS64(0x2002)
#define VMCS_MSR_BITMAP         VMCS64(0x2004)
#define VMCS_TSC_OFFSET         VMCS64(0x2010)
#define VMCS_VIRTUAL_APIC       VMCS64(0x2012)
#define VMCS_EPT_POINTER        VMCS64(0x201a)
#define VMCS_ENCLS_EXITING      VMCS64(0x202e)
#define VMCS_PIN_CONTROLS       VMCS32(0x4000)
#define VMCS_PROC_CONTROLS      VMCS32(0x4002)
#define VMCS_EXCEPTION_BITMAP   VMCS32(0x4004)
#define VMCS_PF_ERROR_MASK      VMCS32(0x4006)
#define VMCS_PF_ERROR_MATCH     VMCS32(0x4008)
#define VMCS_CR3_TARGET_COUNT   VMCS32(0x400a)
#define VMCS_EXIT_CONTROLS      VMCS32(0x400c)
#define VMCS_EXIT_STORE_COUNT   VMCS32(0x400e)
#define VMCS_EXIT_LOAD_COUNT    VMCS32(0x4010)
#define VMCS_ENTRY_CONTROLS     VMCS32(0x4012)
#define VMCS_ENTRY_LOAD_COUNT   VMCS32(0x4014)
#define VMCS_ENTRY_EVENT        VMCS32(0x4016)
#define VMCS_ENTRY_ERROR_CODE   VMCS32(0x4018)
#define VMCS_ENTRY_INSN_LENGTH  VMCS32(0x401a)
#define VMCS_TPR_THRESHOLD      VMCS32(0x401c)
#define VMCS_SECONDARY_CONTROLS VMCS32(0x401e)
#define VMCS_CR0_MASK           VMCS_NATURAL(0x6000)
#define VMCS_CR4_MASK           VMCS_NATURAL(0x6002)
#define VMCS_CR0_SHADOW         VMCS_NATURAL(0x6004)
#define VMCS_CR4_SHADOW         VMCS_NATURAL(0x6006)

/* What an exit says about itself; read-only. */
#define VMCS_GUEST_PHYSICAL       VMCS64(0x2400)
#define VMCS_INSTRUCTION_ERROR    VMCS32(0x4400)
#define VMCS_EXIT_REASON          VMCS32(0x4402)
#define VMCS_EXIT_EVENT           VMCS32(0x4404)
#define VMCS_EXIT_ERROR_CODE      VMCS32(0x4406)
#define VMCS_VECTORING_EVENT      VMCS32(0x4408)
#define VMCS_VECTORING_ERROR_CODE VMCS32(0x440a)
#define VMCS_EXIT_INSN_LENGTH     VMCS32(0x440c)
#define VMCS_QUALIFICATION        VMCS_NATURAL(0x6400)

/* Guest state. The segment fields are two apart, in the order of enum vcpu_seg; GDTR and IDTR have
 * only limit and base. */
#define VMCS_GUEST_SELECTOR(seg) VMCS16(0x0800 + 2 * (u32)(seg))
#define VMCS_GUEST_LIMIT(seg)    VMCS32(0x4800 + 2 * (u32)(seg))
#define VMCS_GUEST_RIGHTS(seg)   VMCS32(0x4814 + 2 * (u32)(seg))
#define VMCS_GUEST_BASE(seg)     VMCS_NATURAL(0x6806 + 2 * (u32)(seg))
#define VMCS_LINK_POINTER        VMCS64(0x2800)
#define VMCS_GUEST_DEBUGCTL      VMCS64(0x2802)
#define VMCS_GUEST_PAT           VMCS64(0x2804)
#define VMCS_GUEST_EFER          VMCS64(0x2806)
#define VMCS_GUEST_PDPTE0        VMCS64(0x280a) /* the others are two apart */
#define VMCS_INTERRUPTIBILITY    VMCS32(0x4824)
#define VMCS_ACTIVITY            VMCS32(0x4826)
#define VMCS_GUEST_SYSENTER_CS   VMCS32(0x482a)
#define VMCS_PREEMPTION_TIMER    VMCS32(0x482e)
#define VMCS_GUEST_CR0           VMCS_NATURAL(0x6800)
#define VMCS_GUEST_CR3           VMCS_NATURAL(0x6802)
#define VMCS_GUEST_CR4           VMCS_NATURAL(0x6804)
#define VMCS_GUEST_DR7           VMCS_NATURAL(0x681a)
#define VMCS_GUEST_RSP           VMCS_NATURAL(0x681c)
#define VMCS_GUEST_RIP           VMCS_NATURAL(0x681e)
#define VMCS_GUEST_RFLAGS        VMCS_NATURAL(0x6820)
#define VMCS_PENDING_DEBUG       VMCS_NATURAL(0x6822)
#define VMCS_GUEST_SYSENTER_ESP  VMCS_NATURAL(0x6824)
#define VMCS_GUEST_SYSENTER_EIP  VMCS_NATURAL(0x6826)

/* Host state. */
#define VMCS_HOST_ES           VMCS16(0x0c00)
#define VMCS_HOST_CS           VMCS16(0x0c02)
#define VMCS_HOST_SS           VMCS16(0x0c04)
#define VMCS_HOST_DS           VMCS16(0x0c06)
#define VMCS_HOST_FS           VMCS16(0x0c08)
#define VMCS_HOST_GS           VMCS16(0x0c0a)
#define VMCS_HOST_TR           VMCS16(0x0c0c)
#define VMCS_HOST_PAT          VMCS64(0x2c00)
#define VMCS_HOST_EFER         VMCS64(0x2c02)
#define VMCS_HOST_SYSENTER_CS  VMCS32(0x4c00)
#define VMCS_HOST_CR0          VMCS_NATURAL(0x6c00)
#define VMCS_HOST_CR3          VMCS_NATURAL(0x6c02)
#define VMCS_HOST_CR4          VMCS_NATURAL(0x6c04)
#define VMCS_HOST_FS_BASE      VMCS_NATURAL(0x6c06)
#define VMCS_HOST_GS_BASE      VMCS_NATURAL(0x6c08)
#define VMCS_HOST_TR_BASE      VMCS_NATURAL(0x6c0a)
#define VMCS_HOST_GDTR_BASE    VMCS_NATURAL(0x6c0c)
#define VMCS_HOST_IDTR_BASE    VMCS_NATURAL(0x6c0e)
#define VMCS_HOST_SYSENTER_ESP VMCS_NATURAL(0x6c10)
#define VMCS_HOST_SYSENTER_EIP VMCS_NATURAL(0x6c12)
#define VMCS_HOST_RIP          VMCS_NATURAL(0x6c16)

/* SDM Vol 3C, Pin-Based VM-Execution Controls. */
#define PIN_EXTERNAL_INTERRUPT ((u32)BIT(0))
#define PIN_NMI                ((u32)BIT(3))
#define PIN_VIRTUAL_NMIS       ((u32)BIT(5))
#define PIN_PREEMPTION_TIMER   ((u32)BIT(6))

/* SDM Vol 3C, Processor-Based VM-Execution Controls. */
#define PROC_INTERRUPT_WINDOW ((u32)BIT(2))
#define PROC_TSC_OFFSET       ((u32)BIT(3))
#define PROC_HLT              ((u32)BIT(7))
#define PROC_INVLPG           ((u32)BIT(9))
#define PROC_MWAIT            ((u32)BIT(10))
#define PROC_RDPMC            ((u32)BIT(11))
#define PROC_RDTSC            ((u32)BIT(12))
#define PROC_CR3_LOAD         ((u32)BIT(15))
#define PROC_CR3_STORE        ((u32)BIT(16))
#define PROC_CR8_LOAD         ((u32)BIT(19))
#define PROC_CR8_STORE        ((u32)BIT(20))
#define PROC_TPR_SHADOW       ((u32)BIT(21))
#define PROC_NMI_WINDOW       ((u32)BIT(22))
#define PROC_MOV_DR           ((u32)BIT(23))
#define PROC_IO_BITMAPS       ((u32)BIT(25))
#define PROC_MSR_BITMAPS      ((u32)BIT(28))
#define PROC_MONITOR          ((u32)BIT(29))
#define PROC_PAUSE            ((u32)BIT(30))
#define PROC_SECONDARY        ((u32)BIT(31))

#define PROC2_EPT          ((u32)BIT(1))
#define PROC2_RDTSCP       ((u32)BIT(3))
#define PROC2_VPID         ((u32)BIT(5))
#define PROC2_WBINVD       ((u32)BIT(6))
#define PROC2_UNRESTRICTED ((u32)BIT(7))
#define PROC2_DELIVERY     ((u32)BIT(9)) /* virtual-interrupt delivery */
#define PROC2_INVPCID      ((u32)BIT(12))
#define PROC2_ENCLS        ((u32)BIT(15))

/* SDM Vol 3C, VM-Exit Controls. */
#define EXIT_SAVE_DEBUG ((u32)BIT(2))
#define EXIT_HOST_64    ((u32)BIT(9))
#define EXIT_ACK_INTR   ((u32)BIT(15))
#define EXIT_SAVE_PAT   ((u32)BIT(18))
#define EXIT_LOAD_PAT   ((u32)BIT(19))
#define EXIT_SAVE_EFER  ((u32)BIT(20))
#define EXIT_LOAD_EFER  ((u32)BIT(21))

/* SDM Vol 3C, VM-Entry Controls. */
#define ENTRY_LOAD_DEBUG ((u32)BIT(2))
#define ENTRY_IA32E      ((u32)BIT(9))
#define ENTRY_LOAD_PAT   ((u32)BIT(14))
#define ENTRY_LOAD_EFER  ((u32)BIT(15))

/* One layout serves VM-entry interruption information, VM-exit interruption information and
 * IDT-vectoring information. SDM Vol 3C, Format of the VM-Entry Interruption-Information Field. */
#define EVENT_INFO_TYPE(info)  ((info) >> 8 & 7)
#define EVENT_INFO_TYPE_SHIFT  8
#define EVENT_INFO_ERROR       ((u32)BIT(11))
#define EVENT_INFO_NMI_UNBLOCK ((u32)BIT(12)) /* "NMI unblocking due to IRET", exits only */
#define EVENT_INFO_VALID       ((u32)BIT(31))
#define EVENT_INFO_INTERRUPT   0u
#define EVENT_INFO_NMI         2u
#define EVENT_INFO_EXCEPTION   3u
#define EVENT_INFO_SOFT_INT    4u
#define EVENT_INFO_PRIV_SOFT   5u /* INT1 */
#define EVENT_INFO_SOFT_EXCEPT 6u /* INT3, INTO */

/* SDM Vol 3C, Format of Interruptibility State. */
#define BLOCKED_BY_STI    ((u32)BIT(0))
#define BLOCKED_BY_MOV_SS ((u32)BIT(1))
#define BLOCKED_BY_SHADOW (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)
#define BLOCKED_BY_NMI    ((u32)BIT(3))

#define PENDING_DEBUG_BS      BIT(14) /* SDM Vol 3C, Format of Pending-Debug-Exceptions */
#define PENDING_DEBUG_ENABLED BIT(12) /* a breakpoint of bits 3:0 is enabled in DR7 */
#define DEBUGCTL_BTF          BIT(1)
#define RIGHTS_UNUSABLE       ((u32)BIT(16)) /* SDM Vol 3C, Format of Access Rights */
#define RIGHTS_CS_LONG        ((u32)BIT(13))
#define RIGHTS_CS_BIG         ((u32)BIT(14))
#define EPTP_WRITE_BACK       6u /* SDM Vol 3C, Format of Extended-Page-Table Pointer */
#define EPTP_WALK_4           (3u << 3)
#define ENTRY_FAILURE         ((u32)BIT(31)) /* in the exit reason */

/* Exit qualification of an EPT violation. SDM Vol 3C, Exit Qualification for EPT Violations. */
#define EPTV_READ   BIT(0)
#define EPTV_WRITE  BIT(1)
#define EPTV_FETCH  BIT(2)
#define EPTV_LINEAR BIT(7) /* the access came from a linear address */
#define EPTV_TRANSLATED                                                                                                \
    BIT(8) /* ... and is to what it translates to, not to a paging structure                                           \
            */
#define EPTV_NMI_UNBLOCK BIT(12)
