/* The virtual machine control block. Source: APM Vol 2, appendix B, Layout of VMCB. Only svm/. */
#pragma once

#include "core/base/bits.h"
#include "core/base/x86.h"

struct vmcb_segment {
    u16 selector, attributes; /* attributes: descriptor bits 47:40 in 7:0, 55:52 in 11:8 */
    u32 limit;
    u64 base;
};

struct vmcb_control {
    u32 intercept_cr;         /* 0x000: reads in 15:0, writes in 31:16 */
    u32 intercept_dr;         /* 0x004 */
    u32 intercept_exceptions; /* 0x008 */
    u32 intercept_1, intercept_2, intercept_3;
    u8 reserved_018[0x3c - 0x18];
    u16 pause_threshold, pause_count;
    u64 iopm_pa, msrpm_pa; /* 0x040 */
    u64 tsc_offset;        /* 0x050 */
    u32 asid;              /* 0x058 */
    u32 tlb_control;       /* 0x05c, low byte */
    u64 vintr;             /* 0x060 */
    u64 interrupt_shadow;  /* 0x068 */
    u64 exit_code, exit_info_1, exit_info_2;
    u64 exit_int_info; /* 0x088 */
    u64 nested_control;
    u8 reserved_098[0xa8 - 0x98];
    u64 event_injection; /* 0x0a8 */
    u64 nested_cr3;      /* 0x0b0 */
    u64 lbr_control;
    u32 clean, reserved_0c4;
    u64 next_rip; /* 0x0c8 */
    u8 fetched, bytes[15];
    u8 reserved_0e0[0x400 - 0xe0];
};

struct vmcb_save {
    struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    u8 reserved_0a0[0xcb - 0xa0];
    u8 cpl;
    u32 reserved_0cc;
    u64 efer; /* 0x0d0 */
    u8 reserved_0d8[0x148 - 0xd8];
    u64 cr4, cr3, cr0, dr7, dr6, rflags, rip;
    u8 reserved_180[0x1d8 - 0x180];
    u64 rsp, s_cet, ssp, isst_addr;
    u64 rax; /* 0x1f8 */
    u64 star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip;
    u64 cr2; /* 0x240 */
    u8 reserved_248[0x268 - 0x248];
    u64 pat; /* 0x268 */
    u8 reserved_270[0xc00 - 0x270];
};

struct vmcb {
    struct vmcb_control control;
    struct vmcb_save save;
};

_Static_assert(offsetof(struct vmcb_control, iopm_pa) == 0x40, "APM Vol 2, appendix B");
_Static_assert(offsetof(struct vmcb_control, exit_code) == 0x70, "APM Vol 2, appendix B");
_Static_assert(offsetof(struct vmcb_control, event_injection) == 0xa8, "APM Vol 2, appendix B");
_Static_assert(offsetof(struct vmcb_control, next_rip) == 0xc8, "APM Vol 2, appendix B");
_Static_assert(sizeof(struct vmcb_control) == 0x400, "APM Vol 2, appendix B");
_Static_assert(offsetof(struct vmcb_save, efer) == 0xd0, "APM Vol 2, appendix B");
_Static_assert(offsetof(struct vmcb_save, rsp) == 0x1d8, "APM Vol 2, appendix B");
_Static_assert(offsetof(struct vmcb_save, rax) == 0x1f8, "APM Vol 2, appendix B");
_Static_assert(offsetof(struct vmcb_save, cr2) == 0x240, "APM Vol 2, appendix B");
_Static_assert(offsetof(struct vmcb_save, pat) == 0x268, "APM Vol 2, appendix B");
_Static_assert(sizeof(struct vmcb) == 4096, "one page");

/* intercept_1: exit codes 0x60 to 0x7f. */
#define INTERCEPT_INTR     BIT(0)
#define INTERCEPT_NMI      BIT(1)
#define INTERCEPT_INIT     BIT(3)
#define INTERCEPT_VINTR    BIT(4)
#define INTERCEPT_RDPMC    BIT(15)
#define INTERCEPT_CPUID    BIT(18)
#define INTERCEPT_RSM      BIT(19)
#define INTERCEPT_INVD     BIT(22)
#define INTERCEPT_HLT      BIT(24)
#define INTERCEPT_IRET     BIT(20)
#define INTERCEPT_INVLPGA  BIT(26)
#define INTERCEPT_IO       BIT(27)
#define INTERCEPT_MSR      BIT(28)
#define INTERCEPT_SHUTDOWN BIT(31)
/* intercept_2: exit codes 0x80 to 0x9f. */
#define INTERCEPT_VMRUN   BIT(0)
#define INTERCEPT_VMMCALL BIT(1)
#define INTERCEPT_VMLOAD  BIT(2)
#define INTERCEPT_VMSAVE  BIT(3)
#define INTERCEPT_STGI    BIT(4)
#define INTERCEPT_CLGI    BIT(5)
#define INTERCEPT_SKINIT  BIT(6)
#define INTERCEPT_WBINVD  BIT(9)
#define INTERCEPT_MONITOR BIT(10)
#define INTERCEPT_MWAIT   (BIT(11) | BIT(12))
#define INTERCEPT_XSETBV  BIT(13)
#define INTERCEPT_RDPRU   BIT(14)

/* Exceptions that come again during their own delivery, without an end and without letting a host interrupt in: #DB of
 * a breakpoint on the stack, #AC of an unaligned one. Intercepted and given back, each round is an exit. A machine
 * check is the machine's. */
#define INTERCEPT_EXCEPTIONS ((u32)(BIT(VEC_DB) | BIT(VEC_AC) | BIT(VEC_MC)))

#define VINTR_IRQ          BIT(8)
#define VINTR_PRIO_SHIFT   16
#define VINTR_IGNORE_TPR   BIT(20)
#define VINTR_MASKING      BIT(24)
#define VINTR_VECTOR_SHIFT 32

#define NESTED_PAGING BIT(0)
#define TLB_FLUSH_ALL 1u
#define SHADOW_BIT    BIT(0)

/* EVENTINJ and EXITINTINFO. APM Vol 2, Event Injection. */
#define EVENT_VALID       BIT(31)
#define EVENT_ERROR_VALID BIT(11)
#define EVENT_TYPE_SHIFT  8

/* Exit codes. APM Vol 2, appendix C, SVM Intercept Exit Codes. */
#define VMEXIT_CR0_READ   0x000
#define VMEXIT_CR15_WRITE 0x01f
#define VMEXIT_EXCP0      0x040
#define VMEXIT_EXCP31     0x05f
#define VMEXIT_INTR       0x060
#define VMEXIT_NMI        0x061
#define VMEXIT_SMI        0x062
#define VMEXIT_VINTR      0x064
#define VMEXIT_RDPMC      0x06f
#define VMEXIT_CPUID      0x072
#define VMEXIT_RSM        0x073
#define VMEXIT_IRET       0x074
#define VMEXIT_INVD       0x076
#define VMEXIT_HLT        0x078
#define VMEXIT_INVLPGA    0x07a
#define VMEXIT_IOIO       0x07b
#define VMEXIT_MSR        0x07c
#define VMEXIT_SHUTDOWN   0x07f
#define VMEXIT_VMRUN      0x080
#define VMEXIT_VMMCALL    0x081
#define VMEXIT_SKINIT     0x086
#define VMEXIT_WBINVD     0x089
#define VMEXIT_MONITOR    0x08a
#define VMEXIT_MWAIT_COND 0x08c
#define VMEXIT_XSETBV     0x08d
#define VMEXIT_RDPRU      0x08e
#define VMEXIT_NPF        0x400
#define VMEXIT_INVALID    0xffffffff
