/* The vendor interface: what core asks of VMX or SVM, and what a hardware exit becomes. Chosen once
 * at boot, read-only afterwards. Vendors never call upward: everything they learn goes back in
 * struct vm_exit. A fake vendor plugs in for tests. Layer 0: types only. */
#pragma once

#include "core/base/types.h"

/* Every reason and its name in reports. */
#define EXIT_LIST(X)                                                                                                   \
    X(EXIT_CPUID, "cpuid")                                                                                             \
    X(EXIT_HLT, "hlt")                                                                                                 \
    X(EXIT_IO, "io")       /* .io */                                                                                   \
    X(EXIT_RDMSR, "rdmsr") /* number in gpr[1] */                                                                      \
    X(EXIT_WRMSR, "wrmsr")                                                                                             \
    X(EXIT_STAGE2, "stage2")           /* .stage2: an access that stage 2 does not allow */                            \
    X(EXIT_INTERRUPT, "interrupt")     /* .vector: host interrupt taken by the exit, or 0 if the IDT has handled it */ \
    X(EXIT_NMI, "nmi")                 /* a host NMI arrived; already handled */                                       \
    X(EXIT_INTR_WINDOW, "intr-window") /* the guest can take an interrupt now */                                       \
    X(EXIT_NMI_WINDOW, "nmi-window")                                                                                   \
    X(EXIT_TIMER, "timer") /* the vendor's own timer ran out */                                                        \
    X(EXIT_CR, "cr")       /* .cr */                                                                                   \
    X(EXIT_DR, "dr")                                                                                                   \
    X(EXIT_XSETBV, "xsetbv")                                                                                           \
    X(EXIT_HYPERCALL, "hypercall") /* VMCALL or VMMCALL */                                                             \
    X(EXIT_WBINVD, "wbinvd")       /* INVD or WBINVD */                                                                \
    X(EXIT_RDPMC, "rdpmc")                                                                                             \
    X(EXIT_PAUSE, "pause")                                                                                             \
    X(EXIT_MWAIT, "mwait")             /* MONITOR or MWAIT, not offered: #UD */                                        \
    X(EXIT_NO_INSN, "no-instruction")  /* an instruction that the guest does not have: #UD */                          \
    X(EXIT_EXCEPTION, "exception")     /* .event: intercepted exception, to be given back */                           \
    X(EXIT_TASK_SWITCH, "task-switch") /* .task */                                                                     \
    X(EXIT_TRIPLE_FAULT, "triple-fault")                                                                               \
    X(EXIT_INVALID, "invalid-state") /* the processor refused the guest state */                                       \
    X(EXIT_UNEXPECTED, "unexpected") /* a reason that was not asked for: .code */

#define EXIT_ID(id, name) id,
enum exit_reason { EXIT_LIST(EXIT_ID) EXIT_REASONS };

/* Name of a reason, for reports. */
const char *exit_reason_name(enum exit_reason reason);

enum event_type { EVENT_NONE, EVENT_INTERRUPT, EVENT_NMI, EVENT_EXCEPTION, EVENT_SOFT_INTERRUPT, EVENT_SOFT_EXCEPTION };

/* Something to deliver through the guest's IDT. */
struct vm_event {
    enum event_type type;
    u8 vector;
    bool has_error;
    u32 error;
    u32 length; /* of the INT n, INT3 or INTO, for the soft types */
};

#define ACCESS_READ  1u
#define ACCESS_WRITE 2u
#define ACCESS_FETCH 4u

struct vm_exit {
    enum exit_reason reason;
    u32 length; /* bytes of the instruction that exited, 0 if the hardware does not say */
    u64 code;   /* the hardware's own reason, for reports */
    union {
        struct {
            u16 port;
            u8 size; /* 1, 2 or 4 */
            bool in, string, rep;
            u8 breakpoints; /* DR7[7:0]: those that are enabled */
        } io;
        struct {
            gpa_t at;
            u32 access; /* ACCESS_* */
            bool walk;  /* while the guest's own page tables were read */
        } stage2;
        struct {
            u8 number, gpr; /* MOV: register operand */
            bool write;
            bool clts, lmsw;
            u16 lmsw_value;
            bool known; /* false: decode the instruction */
        } cr;
        struct {
            u16 selector;
            u8 source; /* 0 CALL, 1 IRET, 2 JMP, 3 a gate of the IDT: for `interrupted` */
        } task;
        u8 vector;
        struct vm_event event;
    };
};

/* Registers that live in the control block. */
enum vcpu_reg {
    REG_RIP,
    REG_RSP,
    REG_RFLAGS,
    REG_CR0,
    REG_CR2,
    REG_CR3,
    REG_CR4,
    REG_CR8,
    REG_EFER,
    REG_DR6,
    REG_DR7,
    REG_PDPTE0, /* to 3: loaded by CR0 or CR3 under PAE paging, where the processor does not read them when it walks */
    REG_PDPTE3 = REG_PDPTE0 + 3,
    REG_PAT,
    REG_CPL,
    REG_SHADOW, /* 1: interrupts are held off for one instruction (STI, MOV SS) */
    REG_TSC_OFFSET,
    REG_BREAKPOINTS, /* only written, behind a skip: bits 3:0 of DR6, of breakpoints that the instruction has met */
};
enum vcpu_seg {
    VSEG_ES,
    VSEG_CS,
    VSEG_SS,
    VSEG_DS,
    VSEG_FS,
    VSEG_GS,
    VSEG_LDTR,
    VSEG_TR,
    VSEG_GDTR,
    VSEG_IDTR,
    VSEG_COUNT
};

struct segment {
    u16 selector;
    u16 attributes; /* descriptor bits 47:40 in 7:0, 55:52 in 15:12 (VMX layout); 0x10000-style
                       unusable is .usable */
    bool usable;
    u32 limit; /* bytes, after granularity */
    u64 base;
};

/* What a software walk of the guest's memory and the decoder need, read in one go. */
struct vcpu_context {
    u64 rip, rflags, cr0, cr3, cr4, efer, cs_base;
    u32 cpl;
    bool cs_long, cs_big; /* CS.L, CS.D */
    bool has_pdptes;      /* PAE paging by the processor's PDPTE registers, not by what memory has */
    u64 pdptes[4];
};

/* Where the next instruction is: small enough to come back in two registers. */
struct code_address {
    u64 la, cr3;
};

/* The part of a vCPU that the vendor works on. One per vCPU, in memory of its core only. gpr is
 * first: the assembly stubs use offset number * 8, in encoding order; gpr[4] (rsp) is unused, see
 * REG_RSP. */
struct vcpu_hw {
    u64 gpr[16];
    void *block; /* VMCB or VMCS */
    hpa_t block_pa;
    struct vendor_partition *partition;
    struct vm_event interrupted; /* delivery that the last exit cut short: deliver it again first */
    u8 posted;                   /* vector that the processor is to deliver by itself; after a run: that it has not */
    bool launched;
    u32 asid;             /* ASID or VPID, never 0 */
    u64 timer_deadline;   /* host TSC; what the vendor's timer is armed for */
    u64 interrupts_taken; /* TSC when the vendor's timer last let the host take its interrupts */
    u64 cr0_shadow;       /* CR0 as the guest wrote it (VMX) */
    u64 cr4_shadow;       /* of CR4, what is set behind it (VMX) */
    u64 pat;              /* the guest's, where the processor does not switch it (VMX) */
    u64 host_rsp;         /* what the VMCS holds as host RSP */
    /* SVM keeps no NMI mask for a guest: an NMI is being handled; its IRET is being stepped over; and what the step
     * changed. */
    bool nmi_blocked, iret_step;
    u64 iret_rflags, iret_dr6;
};

/* Per-partition pages that a vendor fills at bind. */
struct vendor_partition {
    void *io_bitmap; /* 12 KiB (SVM) or 8 KiB (VMX) */
    hpa_t io_bitmap_pa;
    void *msr_bitmap; /* 8 KiB (SVM) or 4 KiB (VMX) */
    hpa_t msr_bitmap_pa;
    hpa_t stage2_root;
};

/* What probe learned; read-only afterwards. */
struct vendor_caps {
    /* In: TSC ticks after which a run has to come back at the latest, where the vendor's own timer
     * can see to it. */
    u64 longest_run;
    bool avoid_timer; /* in: the vendor's own timer is not to be used */
    u32 max_leaf;     /* largest stage-2 leaf: 1, 2 or 3 */
    bool next_rip, timer;
    bool no_rdtscp,
        no_invpcid;    /* instructions that guests cannot have though CPUID offers them; no_rdtscp: nor RDPID */
    bool multihit;     /* for all it says, a guest can stop it by changing the size of a page of code */
    bool la57;         /* guests may have CR4.LA57, if CPUID knows it */
    char summary[224]; /* one line: what is used, and what this CPU lacks and why it matters */
};

struct vendor_ops {
    const char *name;
    const struct pt_format *stage2;
    u32 block_bytes, io_bitmap_bytes, msr_bitmap_bytes; /* whole pages; the first for each vCPU */
    bool guest_tr; /* the task register stays the guest's in host mode: no gate may name a TSS stack */

    /* Boot core. 0, or -E_UNSUPPORTED with what is missing and what to do in `why`. */
    int (*probe)(struct vendor_caps *caps, char *why, size_t why_size);
    /* This core, once: host mode on, with one zeroed 4 KiB page (VMXON region or host save area).
     * As probe. */
    int (*cpu_enable)(void *page, hpa_t page_pa, char *why, size_t why_size);
    void (*cpu_disable)(void);

    /* Boot core: all ports and MSRs intercepted, then opened one by one. */
    void (*partition_init)(struct vendor_partition *p);
    void (*allow_port)(struct vendor_partition *p, u16 port);
    void (*allow_msr)(struct vendor_partition *p, u32 msr, bool read, bool write);

    /* The vCPU's core. init: block and pages are zeroed. reset: power-up state, or that after an
     * INIT, which leaves the MSRs, PAT and CR0.CD and NW alone (SDM Vol 3A, Processor State After
     * Reset). */
    void (*vcpu_init)(struct vcpu_hw *hw);
    void (*vcpu_reset)(struct vcpu_hw *hw, bool init);

    /* Enters the guest and comes back with the exit decoded. Interrupts are held off before and
     * after. */
    void (*run)(struct vcpu_hw *hw, struct vm_exit *exit);
    /* Sleeps until a host interrupt was handled; one that came since the last exit counts. */
    void (*idle)(void);

    u64 (*get_reg)(struct vcpu_hw *hw, enum vcpu_reg reg);
    void (*set_reg)(struct vcpu_hw *hw, enum vcpu_reg reg, u64 value);
    /* For a guest in 64-bit mode with four-level paging; else .la is 0. */
    struct code_address (*code_address)(struct vcpu_hw *hw);
    void (*get_context)(struct vcpu_hw *hw, struct vcpu_context *out);
    void (*get_seg)(struct vcpu_hw *hw, enum vcpu_seg seg, struct segment *out);
    void (*set_seg)(struct vcpu_hw *hw, enum vcpu_seg seg, const struct segment *in);

    /* Queue an event for the next entry: one at most. */
    void (*inject)(struct vcpu_hw *hw, const struct vm_event *event);
    /* EVENT_INTERRUPT or EVENT_NMI: could it be injected now, with nothing queued? */
    bool (*can_inject)(struct vcpu_hw *hw, enum event_type type);
    /* Ask for, or stop asking for, an exit as soon as it could. */
    void (*window)(struct vcpu_hw *hw, enum event_type type, bool open);
    /* Have the processor deliver this interrupt by itself, in the next run only and as soon as the guest can take it:
     * no exit. hw->posted is 0 after the run if it has, or if the delivery is in hw->interrupted. False: it cannot, or
     * an interrupt window is open. One at most. */
    bool (*post)(struct vcpu_hw *hw, u8 vector);
    /* rip forward; ends an interrupt shadow. */
    void (*skip)(struct vcpu_hw *hw, u32 length);
    /* Stage 2 lost a mapping: this core forgets what it has cached of it before the guest goes on. */
    void (*flush)(struct vcpu_hw *hw);
    /* Exit at this host TSC. False: the vendor has no timer, use the local APIC. */
    bool (*arm_timer)(struct vcpu_hw *hw, u64 deadline);
    /* The control block's reason fields as text, for the crash report. */
    void (*dump)(struct vcpu_hw *hw, char *out, size_t size);
};

extern const struct vendor_ops vmx_ops, svm_ops;
