/* From a hardware exit to struct vm_exit: one table indexed by the basic exit reason. Each decoder
 * reads the VMCS fields that its reason needs and no other. The vCPU's core, right after an exit.
 * Source: SDM Vol 3D, VMX Basic Exit Reasons; SDM Vol 3C, VM-Exit Information Fields. */
#include "core/base/fmt.h"
#include "core/base/x86.h"
#include "vmx/vmx.h"

struct reason {
    enum exit_reason reason;
    u8 flags;
    /* Fills what the neutral reason needs. False: dealt with, enter again. NULL: nothing to fill.
     */
    bool (*decode)(struct vcpu_hw *hw, struct vm_exit *exit);
    const char *name;
};
#define LENGTH    1u /* the instruction length is valid: an instruction exited */
#define VECTORING 2u /* may have cut short the delivery of an event */

/* --- events ----------------------------------------------------------------------------------- */

static enum event_type event_type(u32 info) {
    switch (EVENT_INFO_TYPE(info)) {
    case EVENT_INFO_INTERRUPT: return EVENT_INTERRUPT;
    case EVENT_INFO_NMI: return EVENT_NMI;
    case EVENT_INFO_SOFT_INT: return EVENT_SOFT_INTERRUPT;
    case EVENT_INFO_PRIV_SOFT:
    case EVENT_INFO_SOFT_EXCEPT: return EVENT_SOFT_EXCEPTION;
    default: return EVENT_EXCEPTION;
    }
}

static void block_nmis(void) {
    vmcs_write32(VMCS_INTERRUPTIBILITY, vmcs_read32(VMCS_INTERRUPTIBILITY) | BLOCKED_BY_NMI);
}

/* Whatever was being delivered has to be delivered again. SDM Vol 3C, Information for VM Exits That
 * Occur During Event Delivery. */
static void keep_interrupted(struct vcpu_hw *hw, u32 info) {
    struct vm_event *e = &hw->interrupted;

    *e = (struct vm_event){.type = event_type(info), .vector = (u8)info};
    if (info & EVENT_INFO_ERROR) {
        e->has_error = true;
        e->error = vmcs_read32(VMCS_VECTORING_ERROR_CODE);
    }
    if (e->type == EVENT_SOFT_INTERRUPT || e->type == EVENT_SOFT_EXCEPTION)
        e->length = vmcs_read32(VMCS_EXIT_INSN_LENGTH);
}

/* --- decoders --------------------------------------------------------------------------------- */

/* The exit has changed neither DR6 nor DR7, as the delivery of a #DB would. SDM Vol 3C, Exit Qualification for Debug
 * Exceptions; SDM Vol 3B, Debug Status Register; Debug Control Register: GD. */
static void take_debug(void) {
    u64 causes = vmcs_read(VMCS_QUALIFICATION) & (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(13) | BIT(14));

    write_dr6(read_dr6() | causes);
    vmcs_write(VMCS_GUEST_DR7, vmcs_read(VMCS_GUEST_DR7) & ~(u64)BIT(13));
    /* The exit has not saved a single step in the shadow as pending, as the entry wants it; with the #DB, which is
     * injected then, it is spent. SDM Vol 3C, Checks on Guest Non-Register State. */
    if ((vmcs_read32(VMCS_INTERRUPTIBILITY) & BLOCKED_BY_SHADOW) && (vmcs_read(VMCS_GUEST_RFLAGS) & RFLAGS_TF))
        vmx_mark_single_step();
}

/* An exception or an NMI. The host's own interrupt table deals with what concerns the machine. */
static bool decode_exception(struct vcpu_hw *hw, struct vm_exit *exit) {
    u32 info = vmcs_read32(VMCS_EXIT_EVENT);

    exit->event = (struct vm_event){.type = event_type(info), .vector = (u8)info};
    if (exit->event.type == EVENT_NMI) {
        /* The exit has blocked NMIs; the handler's IRET opens them. SDM Vol 3C, Nonmaskable
         * Interrupts and VM Exits: Updating Non-Register State. */
        cpu_take_nmi();
        exit->reason = EXIT_NMI;
        return true;
    }
    if (exit->event.vector == VEC_MC) {
        cpu_take_machine_check();
        exit->reason = EXIT_NMI;
        return true;
    }
    if (exit->event.vector == VEC_DB) take_debug();
    if (exit->event.type == EVENT_SOFT_EXCEPTION) exit->event.length = vmcs_read32(VMCS_EXIT_INSN_LENGTH);
    if (info & EVENT_INFO_ERROR) {
        exit->event.has_error = true;
        exit->event.error = vmcs_read32(VMCS_EXIT_ERROR_CODE);
    }
    /* SDM Vol 3C, Resuming Guest Software after Handling an Exception. */
    if ((info & EVENT_INFO_NMI_UNBLOCK) && exit->event.vector != VEC_DF && !hw->interrupted.type) block_nmis();
    return true;
}

/* "Acknowledge interrupt on exit" has taken the vector off the local APIC. */
static bool decode_interrupt(struct vcpu_hw *hw, struct vm_exit *exit) {
    (void)hw;
    exit->vector = (u8)vmcs_read32(VMCS_EXIT_EVENT);
    return true;
}

static bool decode_io(struct vcpu_hw *hw, struct vm_exit *exit) {
    u64 q = vmcs_read(VMCS_QUALIFICATION);

    (void)hw;
    /* SDM Vol 3C, Exit Qualification for I/O Instructions. */
    exit->io.port = (u16)(q >> 16);
    exit->io.size = (u8)((q & 7) + 1);
    exit->io.in = q & BIT(3);
    exit->io.string = q & BIT(4);
    exit->io.rep = q & BIT(5);
    exit->io.breakpoints = (u8)vmcs_read(VMCS_GUEST_DR7);
    return true;
}

static bool decode_ept_violation(struct vcpu_hw *hw, struct vm_exit *exit) {
    u64 q = vmcs_read(VMCS_QUALIFICATION);

    exit->stage2.at = gpa(vmcs_read64(VMCS_GUEST_PHYSICAL));
    exit->stage2.access =
        (q & EPTV_READ ? ACCESS_READ : 0) | (q & EPTV_WRITE ? ACCESS_WRITE : 0) | (q & EPTV_FETCH ? ACCESS_FETCH : 0);
    exit->stage2.walk = (q & (EPTV_LINEAR | EPTV_TRANSLATED)) == EPTV_LINEAR;
    /* An IRET that faults has already opened NMIs, and will run again. SDM Vol 3C, Exit
     * Qualification for EPT Violations: undefined while an event was being delivered. */
    if ((q & EPTV_NMI_UNBLOCK) && !hw->interrupted.type) block_nmis();
    return true;
}

/* A MOV to CR0 exits if it would change a bit of cr0_mask: NE, CD, NW. The new values go to the
 * read shadow and the instruction runs again, this time without an exit: so the processor itself
 * does all that may come with it, from the checks to the PDPTEs and EFER.LMA. What it would not
 * refuse, because it does not see these bits, goes to core to be refused. */
static bool retry_cr0(struct vcpu_hw *hw, u32 gpr) {
    u64 value = gpr == 4 ? vmcs_read(VMCS_GUEST_RSP) : hw->gpr[gpr];
    bool long_mode = vmcs_read64(VMCS_GUEST_EFER) & EFER_LMA;

    if (!long_mode || !(vmcs_read32(VMCS_GUEST_RIGHTS(VSEG_CS)) & RIGHTS_CS_LONG)) value = (u32)value;
    if (value >> 32 || ((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD))) return false;
    hw->cr0_shadow = value;
    vmcs_write(VMCS_CR0_SHADOW, value);
    return true;
}

static bool decode_cr(struct vcpu_hw *hw, struct vm_exit *exit) {
    u64 q = vmcs_read(VMCS_QUALIFICATION);
    u32 type = (u32)bits_get(q, 4, 2); /* SDM Vol 3C, Exit Qualification for Control-Register Accesses */

    exit->cr.number = (u8)(q & 15);
    exit->cr.gpr = (u8)bits_get(q, 8, 4);
    exit->cr.write = type != 1;
    exit->cr.clts = type == 2;
    exit->cr.lmsw = type == 3;
    exit->cr.lmsw_value = (u16)(q >> 16);
    exit->cr.known = true;
    return !(exit->cr.number == 0 && type == 0 && retry_cr0(hw, exit->cr.gpr));
}

/* SDM Vol 3C, Exit Qualification for Task Switches. The length is that of the instruction that asked for it. */
static bool decode_task(struct vcpu_hw *hw, struct vm_exit *exit) {
    u64 q = vmcs_read(VMCS_QUALIFICATION);

    exit->task.selector = (u16)q;
    exit->task.source = (u8)bits_get(q, 30, 2);
    exit->length = exit->task.source == 3 ? hw->interrupted.length : vmcs_read32(VMCS_EXIT_INSN_LENGTH);
    return true;
}

/* --- the table -------------------------------------------------------------------------------- */

static const struct reason reasons[] = {
    [0] = {EXIT_EXCEPTION, VECTORING, decode_exception, "exception or nmi"},
    [1] = {EXIT_INTERRUPT, 0, decode_interrupt, "external interrupt"},
    [2] = {EXIT_TRIPLE_FAULT, 0, NULL, "triple fault"},
    [3 ... 6] = {EXIT_UNEXPECTED, 0, NULL, "init, start-up ipi or smi"},
    [7] = {EXIT_INTR_WINDOW, 0, NULL, "interrupt window"},
    [8] = {EXIT_NMI_WINDOW, 0, NULL, "nmi window"},
    [9] = {EXIT_TASK_SWITCH, VECTORING, decode_task, "task switch"},
    [10] = {EXIT_CPUID, LENGTH, NULL, "cpuid"},
    [11] = {EXIT_NO_INSN, LENGTH, NULL, "getsec"},
    [12] = {EXIT_HLT, LENGTH, NULL, "hlt"},
    [13] = {EXIT_WBINVD, LENGTH, NULL, "invd"},
    [14] = {EXIT_UNEXPECTED, 0, NULL, "invlpg"},
    [15] = {EXIT_RDPMC, LENGTH, NULL, "rdpmc"},
    [16] = {EXIT_UNEXPECTED, 0, NULL, "rdtsc"},
    [17] = {EXIT_NO_INSN, LENGTH, NULL, "rsm"},
    [18] = {EXIT_HYPERCALL, LENGTH, NULL, "vmcall"},
    [19 ... 27] = {EXIT_NO_INSN, LENGTH, NULL, "vmx instruction"},
    [28] = {EXIT_CR, LENGTH, decode_cr, "control-register access"},
    [29] = {EXIT_DR, LENGTH, NULL, "debug-register access"},
    [30] = {EXIT_IO, LENGTH, decode_io, "i/o instruction"},
    [31] = {EXIT_RDMSR, LENGTH, NULL, "rdmsr"},
    [32] = {EXIT_WRMSR, LENGTH, NULL, "wrmsr"},
    [33 ... 34] = {EXIT_INVALID, 0, NULL, "entry failure: guest state or msr loading"},
    [35] = {EXIT_UNEXPECTED, 0, NULL, "reserved"},
    [36] = {EXIT_MWAIT, LENGTH, NULL, "mwait"},
    [37] = {EXIT_UNEXPECTED, 0, NULL, "monitor trap flag"},
    [38] = {EXIT_UNEXPECTED, 0, NULL, "reserved"},
    [39] = {EXIT_MWAIT, LENGTH, NULL, "monitor"},
    [40] = {EXIT_PAUSE, LENGTH, NULL, "pause"},
    [41] = {EXIT_INVALID, 0, NULL, "entry failure: machine check"},
    [42 ... 43] = {EXIT_UNEXPECTED, 0, NULL, "tpr below threshold"},
    [44] = {EXIT_UNEXPECTED, VECTORING, NULL, "apic access"},
    [45 ... 47] = {EXIT_UNEXPECTED, 0, NULL, "virtual eoi or descriptor table access"},
    [48] = {EXIT_STAGE2, VECTORING, decode_ept_violation, "ept violation"},
    [49] = {EXIT_UNEXPECTED, VECTORING, NULL, "ept misconfiguration"},
    [50] = {EXIT_NO_INSN, LENGTH, NULL, "invept"},
    [51] = {EXIT_UNEXPECTED, 0, NULL, "rdtscp"},
    [52] = {EXIT_TIMER, 0, NULL, "preemption timer"},
    [53] = {EXIT_NO_INSN, LENGTH, NULL, "invvpid"},
    [54] = {EXIT_WBINVD, LENGTH, NULL, "wbinvd"},
    [55] = {EXIT_XSETBV, LENGTH, NULL, "xsetbv"},
    [56 ... 58] = {EXIT_UNEXPECTED, 0, NULL, "apic write, rdrand or invpcid"},
    [59 ... 60] = {EXIT_NO_INSN, LENGTH, NULL, "vmfunc or encls"},
    [61] = {EXIT_UNEXPECTED, 0, NULL, "rdseed"},
    [62] = {EXIT_UNEXPECTED, VECTORING, NULL, "page-modification log full"},
    [63 ... 65] = {EXIT_NO_INSN, LENGTH, NULL, "xsaves, xrstors or pconfig"},
    [66] = {EXIT_UNEXPECTED, VECTORING, NULL, "sub-page permission"},
    [67 ... 70] = {EXIT_NO_INSN, LENGTH, NULL, "umwait, tpause, loadiwkey or enclv"},
};

static bool unexpected(struct vm_exit *exit) {
    exit->reason = exit->code & ENTRY_FAILURE ? EXIT_INVALID : EXIT_UNEXPECTED;
    return true;
}

bool vmx_decode_exit(struct vcpu_hw *hw, struct vm_exit *exit) {
    const struct reason *r;
    u32 code = vmcs_read32(VMCS_EXIT_REASON), vectoring;

    exit->code = code;
    exit->length = 0;
    /* The upper half holds modifiers, none of them asked for, and the mark of a failed entry. */
    if (__builtin_expect(code >= ARRAY_SIZE(reasons), 0)) return unexpected(exit);
    hw->launched = true;
    r = &reasons[code];
    exit->reason = r->reason;
    if (r->flags & LENGTH) exit->length = vmcs_read32(VMCS_EXIT_INSN_LENGTH);
    if (r->flags & VECTORING) {
        vectoring = vmcs_read32(VMCS_VECTORING_EVENT);
        if (vectoring & EVENT_INFO_VALID) keep_interrupted(hw, vectoring);
    }
    return r->decode ? r->decode(hw, exit) : true;
}

void vmx_dump(struct vcpu_hw *hw, char *out, size_t size) {
    u32 code = vmcs_read32(VMCS_EXIT_REASON), basic = code & 0xffff;

    (void)hw;
    fmt(out, size,
        "vmx: exit %u (%s)%s, qualification 0x%llx, gpa 0x%llx, event 0x%x, vectoring 0x%x, "
        "instruction error %u",
        basic, basic < ARRAY_SIZE(reasons) ? reasons[basic].name : "unknown",
        code & ENTRY_FAILURE ? " entry failed" : "", (unsigned long long)vmcs_read(VMCS_QUALIFICATION),
        (unsigned long long)vmcs_read64(VMCS_GUEST_PHYSICAL), vmcs_read32(VMCS_EXIT_EVENT),
        vmcs_read32(VMCS_VECTORING_EVENT), vmcs_read32(VMCS_INSTRUCTION_ERROR));
}
