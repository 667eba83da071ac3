/* Hardware exit codes to struct vm_exit. Source: APM Vol 2, SVM Intercept Exit Codes and the sections on each
 * intercept. */
#include "svm/svm.h"

#define LAST_CODE 0x8f

#define IO_IN     BIT(0)
#define IO_STRING BIT(2)
#define IO_REP    BIT(3)

/* Neutral reason for each code below 0x90 that is intercepted; everything else stays EXIT_UNEXPECTED, which is 0 here
 * plus one. */
#define R(reason) ((u8)((reason) + 1))
static const u8 reasons[LAST_CODE + 1] = {
    [VMEXIT_CR0_READ... VMEXIT_CR15_WRITE] = R(EXIT_CR),
    [VMEXIT_EXCP0... VMEXIT_EXCP31] = R(EXIT_EXCEPTION),
    [VMEXIT_INTR] = R(EXIT_INTERRUPT),
    [VMEXIT_NMI] = R(EXIT_NMI),
    [VMEXIT_SMI] = R(EXIT_NMI), /* taken, like an NMI, as soon as GIF is set */
    [VMEXIT_VINTR] = R(EXIT_INTR_WINDOW),
    [VMEXIT_RDPMC] = R(EXIT_RDPMC),
    [VMEXIT_CPUID] = R(EXIT_CPUID),
    [VMEXIT_RSM] = R(EXIT_NO_INSN),
    [VMEXIT_IRET] = R(EXIT_NMI_WINDOW),
    [VMEXIT_INVD] = R(EXIT_WBINVD),
    [VMEXIT_HLT] = R(EXIT_HLT),
    [VMEXIT_INVLPGA] = R(EXIT_NO_INSN),
    [VMEXIT_IOIO] = R(EXIT_IO),
    [VMEXIT_MSR] = R(EXIT_RDMSR),
    [VMEXIT_SHUTDOWN] = R(EXIT_TRIPLE_FAULT),
    [VMEXIT_VMRUN] = R(EXIT_NO_INSN),
    [VMEXIT_VMMCALL] = R(EXIT_HYPERCALL),
    [VMEXIT_VMMCALL + 1 ... VMEXIT_SKINIT] = R(EXIT_NO_INSN),
    [VMEXIT_WBINVD] = R(EXIT_WBINVD),
    [VMEXIT_MONITOR... VMEXIT_MWAIT_COND] = R(EXIT_MWAIT),
    [VMEXIT_XSETBV] = R(EXIT_XSETBV),
    [VMEXIT_RDPRU] = R(EXIT_NO_INSN),
};

/* APM Vol 2, IOIO Intercepts: EXITINFO1, and the next rip in EXITINFO2, which every processor gives. */
static void decode_io(const struct vmcb *b, struct vm_exit *exit) {
    u64 info = b->control.exit_info_1;

    exit->io.port = (u16)(info >> 16);
    exit->io.size = (u8)(info >> 4 & 7);
    exit->io.in = info & IO_IN;
    exit->io.string = info & IO_STRING;
    exit->io.rep = info & IO_REP;
    exit->io.breakpoints = (u8)b->save.dr7;
    exit->length = (u32)(b->control.exit_info_2 - b->save.rip);
}

/* APM Vol 2, Nested versus Guest Page Faults, Fault Ordering: EXITINFO1 is a page-fault error code. Bit 33 tells the
 * guest's own page walk, which counts as a write. */
static void decode_npf(const struct vmcb *b, struct vm_exit *exit) {
    u64 info = b->control.exit_info_1;

    exit->reason = EXIT_STAGE2;
    exit->length = 0;
    exit->stage2.at = gpa(b->control.exit_info_2);
    exit->stage2.walk = info & BIT(33);
    exit->stage2.access = info & BIT(4) ? ACCESS_FETCH : info & BIT(1) ? ACCESS_WRITE : ACCESS_READ;
}

/* APM Vol 2, EXITINTINFO: a delivery that this exit cut short. */
static void decode_interrupted(struct vcpu_hw *hw, u64 info) {
    static const enum event_type types[8] = {EVENT_INTERRUPT,      EVENT_NONE, EVENT_NMI,  EVENT_EXCEPTION,
                                             EVENT_SOFT_INTERRUPT, EVENT_NONE, EVENT_NONE, EVENT_NONE};
    struct vm_event *e = &hw->interrupted;

    *e = (struct vm_event){
        .type = types[info >> EVENT_TYPE_SHIFT & 7],
        .vector = (u8)info,
        .has_error = info & EVENT_ERROR_VALID,
        .error = (u32)(info >> 32),
    };
    /* INT3 and INTO come back as exceptions, rip still on the instruction: it is run again. So is INT n. */
    /* QEMU calls a virtual interrupt an exception. */
    if (e->type == EVENT_EXCEPTION && e->vector >= 32) e->type = EVENT_INTERRUPT;
    if (e->type == EVENT_SOFT_INTERRUPT || (e->type == EVENT_EXCEPTION && (e->vector == 3 || e->vector == 4)))
        e->type = EVENT_NONE;
}

void svm_decode_exit(struct vcpu_hw *hw, struct vm_exit *exit) {
    const struct vmcb *b = vmcb_of(hw);
    u32 code = (u32)b->control.exit_code; /* QEMU 7.2 stores VMEXIT_INVALID as 32 bits in 64 */

    exit->code = code;
    if (b->control.exit_int_info & EVENT_VALID) decode_interrupted(hw, b->control.exit_int_info);
    if (code == VMEXIT_NPF) {
        decode_npf(b, exit);
        return;
    }
    exit->length = 0;
    if (code > LAST_CODE || !reasons[code]) {
        exit->reason = code == VMEXIT_INVALID ? EXIT_INVALID : EXIT_UNEXPECTED;
        return;
    }
    exit->reason = reasons[code] - 1;
    if (svm_next_rip) exit->length = (u32)(b->control.next_rip - b->save.rip);
    switch (exit->reason) {
    case EXIT_IO: decode_io(b, exit); break;
    case EXIT_RDMSR:
        if (b->control.exit_info_1) exit->reason = EXIT_WRMSR;
        break;
    case EXIT_CR: exit->cr.known = false; break;
    case EXIT_EXCEPTION:
        exit->event = (struct vm_event){
            .type = EVENT_EXCEPTION,
            .vector = (u8)(code - VMEXIT_EXCP0),
            .has_error = code - VMEXIT_EXCP0 == 17,
            .error = (u32)b->control.exit_info_1,
        };
        break;
    case EXIT_INTERRUPT:
        exit->vector = 0; /* svm_run lets the interrupt table have it */
        break;
    default: break;
    }
}
