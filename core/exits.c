#include "core/exits.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/x86.h"
#include "core/guest.h"
#include "core/machine.h"
#include "core/msr.h"
#include "core/partition.h"
#include "core/traps.h"

#define REG_AX 0
#define REG_CX 1
#define REG_DX 2
#define REG_BX 3

/* Ends the instruction that exited: by the hardware's length, or by decoding, which may raise the guest's fault
 * instead. */
static inline void skip(struct vcpu *v, const struct vm_exit *exit) {
    u32 length = exit->length ? exit->length : guest_instruction_length(v, exit);

    if (length) machine.vendor->skip(&v->hw, length);
}

/* A 32-bit result zero-extends into the register. */
static void set_edx_eax(struct vcpu *v, u64 value) {
    v->hw.gpr[REG_AX] = (u32)value;
    v->hw.gpr[REG_DX] = value >> 32;
}
static u64 get_edx_eax(const struct vcpu *v) { return (u32)v->hw.gpr[REG_AX] | v->hw.gpr[REG_DX] << 32; }

static void set_cpuid(struct vcpu *v, const struct cpuid_regs *r) {
    v->hw.gpr[REG_AX] = r->eax;
    v->hw.gpr[REG_BX] = r->ebx;
    v->hw.gpr[REG_CX] = r->ecx;
    v->hw.gpr[REG_DX] = r->edx;
}

/* Leaves that follow the guest's own state, or have subleaves. */
static __attribute__((noinline)) void answer_cpuid(struct vcpu *v) {
    struct cpuid_regs r;

    cpuid_answer(&v->cpuid, (u32)v->hw.gpr[REG_AX], (u32)v->hw.gpr[REG_CX], machine.vendor->get_reg(&v->hw, REG_CR4),
                 machine.xcr0 ? xgetbv0() : 0, v->lapic.base_msr, &r);
    set_cpuid(v, &r);
}

static void on_cpuid(struct vcpu *v, const struct vm_exit *exit) {
    const struct cpuid_entry *e = cpuid_find(&v->cpuid, (u32)v->hw.gpr[REG_AX]);

    if (e && !e->flags)
        set_cpuid(v, &e->regs);
    else
        answer_cpuid(v);
    skip(v, exit);
}

/* SDM Vol 2A, HLT: a debug exception, which a single step is, ends it. */
static void on_hlt(struct vcpu *v, const struct vm_exit *exit) {
    skip(v, exit);
    if (!(machine.vendor->get_reg(&v->hw, REG_RFLAGS) & RFLAGS_TF)) v->state = VCPU_HALTED;
}

/* Behind the skip of IN or OUT: guest_emulate sees to its own. */
static __attribute__((noinline)) void meet_breakpoints(struct vcpu *v, u16 port, u32 size) {
    u64 met = guest_breakpoints(v, machine.vendor->get_reg(&v->hw, REG_DR7), port, size, BREAK_ON_IO);

    if (met) machine.vendor->set_reg(&v->hw, REG_BREAKPOINTS, met);
}

static void on_io(struct vcpu *v, const struct vm_exit *exit) {
    u32 size = exit->io.size;

    if (exit->io.string) {
        guest_emulate(v, exit);
        return;
    }
    if (exit->io.in) {
        u32 value = partition_port_in(v, exit->io.port, size);

        if (size == 4)
            v->hw.gpr[REG_AX] = value;
        else if (size == 2)
            v->hw.gpr[REG_AX] = (v->hw.gpr[REG_AX] & ~0xffffull) | (u16)value;
        else
            v->hw.gpr[REG_AX] = (v->hw.gpr[REG_AX] & ~0xffull) | (u8)value;
    } else {
        partition_port_out(v, exit->io.port, size, (u32)v->hw.gpr[REG_AX]);
    }
    skip(v, exit);
    if (__builtin_expect(exit->io.breakpoints, 0)) meet_breakpoints(v, exit->io.port, size);
}

static void on_rdmsr(struct vcpu *v, const struct vm_exit *exit) {
    u64 value;

    if (msr_read(v, (u32)v->hw.gpr[REG_CX], &value)) {
        vcpu_raise_gp(v);
        return;
    }
    set_edx_eax(v, value);
    skip(v, exit);
}

static void on_wrmsr(struct vcpu *v, const struct vm_exit *exit) {
    if (msr_write(v, (u32)v->hw.gpr[REG_CX], get_edx_eax(v))) {
        vcpu_raise_gp(v);
        return;
    }
    skip(v, exit);
}

static void on_stage2(struct vcpu *v, const struct vm_exit *exit) {
    const struct passthrough *pci = v->partition->pci;
    u64 at = exit->stage2.at.v;
    char why[120];

    /* Below 4 GiB and in the window for BARs lies what a PC has there: devices, or a bus on which nobody answers.
     * Elsewhere the guest is lost. */
    if ((at < GIB(4) || (pci && at - pci->window64.base < pci->window64.bytes)) &&
        !(exit->stage2.access & ACCESS_FETCH) && !exit->stage2.walk && !v->hw.interrupted.type) {
        guest_emulate(v, exit);
        return;
    }
    /* The access of an interrupted delivery is not the instruction's: descriptor tables or stack are not in memory. */
    fmt(why, sizeof(why), "%s at guest-physical 0x%llx, which the partition does not own",
        v->hw.interrupted.type               ? "delivery of an event"
        : exit->stage2.walk                  ? "page tables"
        : exit->stage2.access & ACCESS_FETCH ? "instruction fetch"
        : exit->stage2.access & ACCESS_WRITE ? "write"
                                             : "read",
        (unsigned long long)at);
    exit_crash(v, exit, why);
}

static void on_interrupt(struct vcpu *v, const struct vm_exit *exit) {
    (void)v;
    if (exit->vector) host_interrupt(exit->vector);
}

static void on_nothing(struct vcpu *v, const struct vm_exit *exit) {
    (void)v;
    (void)exit;
}

static void on_intr_window(struct vcpu *v, const struct vm_exit *exit) {
    (void)exit;
    v->intr_window = false;
    machine.vendor->window(&v->hw, EVENT_INTERRUPT, false);
}

static void on_nmi_window(struct vcpu *v, const struct vm_exit *exit) {
    (void)exit;
    v->nmi_window = false;
    machine.vendor->window(&v->hw, EVENT_NMI, false);
}

static void on_timer(struct vcpu *v, const struct vm_exit *exit) {
    (void)exit;
    /* The vendor's timer may end early: then it is only armed again. */
    v->timer_due = rdtsc() >= v->deadline;
    v->deadline = 0;
    v->timers_moved = true;
}

/* SDM Vol 2B, MOV - Move to/from Control Registers: what the guest's CPUID does not offer is reserved; long mode needs
 * PAE, and keeps its number of levels; PCIDs begin in long mode, with none in CR3. */
static bool cr4_allowed(struct vcpu *v, u64 value) {
    const struct vendor_ops *ops = machine.vendor;
    bool long_mode = ops->get_reg(&v->hw, REG_EFER) & EFER_LMA;
    u64 old = ops->get_reg(&v->hw, REG_CR4);
    u64 allowed = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR |
                  CR4_OSXMMEXCPT;
    const struct cpuid_regs *one = &v->cpuid.basic[1].regs;
    const struct cpuid_regs *seven =
        v->cpuid.basic[7].flags & CPUID_SUBLEAVES ? &v->cpuid.sub[v->cpuid.basic[7].first] : &v->cpuid.basic[7].regs;

    allowed |= (one->ecx & BIT(17) ? CR4_PCIDE : 0) | (one->ecx & BIT(26) ? CR4_OSXSAVE : 0);
    allowed |= (seven->ebx & BIT(0) ? CR4_FSGSBASE : 0) | (seven->ebx & BIT(7) ? CR4_SMEP : 0) |
               (seven->ebx & BIT(20) ? CR4_SMAP : 0) | (seven->ecx & BIT(2) ? CR4_UMIP : 0) |
               (seven->ecx & BIT(16) ? CR4_LA57 : 0);
    if (long_mode && (!(value & CR4_PAE) || ((value ^ old) & CR4_LA57))) return false;
    if ((value & ~old & CR4_PCIDE) && (!long_mode || (ops->get_reg(&v->hw, REG_CR3) & 0xfff))) return false;
    return !(value & ~allowed);
}

static u64 read_gpr(struct vcpu *v, u32 n) { return n == 4 ? machine.vendor->get_reg(&v->hw, REG_RSP) : v->hw.gpr[n]; }
static void write_gpr(struct vcpu *v, u32 n, u64 value) {
    if (n == 4)
        machine.vendor->set_reg(&v->hw, REG_RSP, value);
    else
        v->hw.gpr[n] = value;
}

/* SDM Vol 3A, Control Registers, CR0: PG needs PE, NW needs CD; under PAE paging PG, CD and NW load the PDPTEs. Returns
 * false for #GP. */
static bool write_cr0_value(struct vcpu *v, u64 value) {
    const struct vendor_ops *ops = machine.vendor;
    u64 changed = value ^ ops->get_reg(&v->hw, REG_CR0);

    if (value >> 32 || ((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD))) return false;
    if ((value & CR0_PG) && (changed & (CR0_PG | CR0_CD | CR0_NW)) && (ops->get_reg(&v->hw, REG_CR4) & CR4_PAE) &&
        !(ops->get_reg(&v->hw, REG_EFER) & EFER_LME) && !guest_load_pdptes(v, ops->get_reg(&v->hw, REG_CR3)))
        return false;
    ops->set_reg(&v->hw, REG_CR0, value | CR0_ET);
    return true;
}

/* The same of CR4: PAE, PGE, PSE and SMEP load the PDPTEs. */
static bool write_cr4_value(struct vcpu *v, u64 value) {
    const struct vendor_ops *ops = machine.vendor;
    u64 changed = value ^ ops->get_reg(&v->hw, REG_CR4);

    if (!cr4_allowed(v, value)) return false;
    if ((value & CR4_PAE) && (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) &&
        (ops->get_reg(&v->hw, REG_CR0) & CR0_PG) && !(ops->get_reg(&v->hw, REG_EFER) & EFER_LMA) &&
        !guest_load_pdptes(v, ops->get_reg(&v->hw, REG_CR3)))
        return false;
    ops->set_reg(&v->hw, REG_CR4, value);
    return true;
}

static bool write_cr(struct vcpu *v, const struct vm_exit *exit) {
    const struct vendor_ops *ops = machine.vendor;
    u64 cr0 = ops->get_reg(&v->hw, REG_CR0), value;
    struct segment cs;

    if (exit->cr.clts) return write_cr0_value(v, cr0 & ~CR0_TS);
    if (exit->cr.lmsw) /* LMSW can set PE, not clear it */
        return write_cr0_value(v, (cr0 & ~(u64)(CR0_MP | CR0_EM | CR0_TS)) | (exit->cr.lmsw_value & 0xf));
    value = read_gpr(v, exit->cr.gpr);
    ops->get_seg(&v->hw, VSEG_CS, &cs);
    if (!(cs.attributes & BIT(13)) || !(ops->get_reg(&v->hw, REG_EFER) & EFER_LMA))
        value = (u32)value; /* outside 64-bit mode the operand has 32 bits, whatever long mode has left above */
    switch (exit->cr.number) {
    case 0: return write_cr0_value(v, value);
    case 4: return write_cr4_value(v, value);
    case 8:
        if (value >> 4) return false;
        vlapic_set_cr8(&v->lapic, (u32)value);
        ops->set_reg(&v->hw, REG_CR8, value);
        return true;
    default: return false;
    }
}

static void on_cr(struct vcpu *v, const struct vm_exit *exit) {
    struct vm_exit known = *exit;

    if (!exit->cr.known && !guest_decode_cr(v, &known)) return;
    if (known.cr.write) {
        if (!write_cr(v, &known)) {
            vcpu_raise_gp(v);
            return;
        }
    } else if (known.cr.number == 8) {
        write_gpr(v, known.cr.gpr, vlapic_cr8(&v->lapic));
    } else {
        write_gpr(v, known.cr.gpr, machine.vendor->get_reg(&v->hw, known.cr.number == 0 ? REG_CR0 : REG_CR4));
    }
    skip(v, &known);
}

/* SDM Vol 2D, XSETBV: x87 always, AVX needs SSE, the three AVX-512 bits come together and need AVX. */
static void on_xsetbv(struct vcpu *v, const struct vm_exit *exit) {
    const u64 avx512 = BIT(5) | BIT(6) | BIT(7);
    u64 value = get_edx_eax(v);

    if (machine.vendor->get_reg(&v->hw, REG_CPL) || (u32)v->hw.gpr[REG_CX] || (value & ~machine.xcr0) || !(value & 1) ||
        ((value & BIT(2)) && !(value & BIT(1))) ||
        ((value & avx512) && ((value & avx512) != avx512 || !(value & BIT(2))))) {
        vcpu_raise_gp(v);
        return;
    }
    xsetbv0(value);
    skip(v, exit);
}

/* No hypercall is offered: a guest that tries one learns it the way a processor without them would say it. */
static void on_no_insn(struct vcpu *v, const struct vm_exit *exit) {
    (void)exit;
    vcpu_raise_ud(v);
}

static void on_skip(struct vcpu *v, const struct vm_exit *exit) { skip(v, exit); }

static void on_rdpmc(struct vcpu *v, const struct vm_exit *exit) {
    (void)exit;
    vcpu_raise_gp(v); /* CPUID says: no counters */
}

static void on_exception(struct vcpu *v, const struct vm_exit *exit) {
    if (exit->event.type == EVENT_SOFT_EXCEPTION) { /* INT1: a trap, and rip is still on it */
        v->fault = exit->event;
        return;
    }
    vcpu_raise(v, exit->event.vector, exit->event.has_error, exit->event.error);
}

static void on_fatal(struct vcpu *v, const struct vm_exit *exit) {
    exit_crash(v, exit,
               exit->reason == EXIT_TRIPLE_FAULT ? "triple fault"
               : exit->reason == EXIT_INVALID    ? "the processor refuses this guest state"
                                                 : "an exit that was not asked for");
}

void (*const exit_handlers[EXIT_REASONS])(struct vcpu *v, const struct vm_exit *exit) = {
    [EXIT_CPUID] = on_cpuid,
    [EXIT_HLT] = on_hlt,
    [EXIT_IO] = on_io,
    [EXIT_RDMSR] = on_rdmsr,
    [EXIT_WRMSR] = on_wrmsr,
    [EXIT_STAGE2] = on_stage2,
    [EXIT_INTERRUPT] = on_interrupt,
    [EXIT_NMI] = on_nothing,
    [EXIT_INTR_WINDOW] = on_intr_window,
    [EXIT_NMI_WINDOW] = on_nmi_window,
    [EXIT_TIMER] = on_timer,
    [EXIT_CR] = on_cr,
    [EXIT_DR] = on_fatal,
    [EXIT_XSETBV] = on_xsetbv,
    [EXIT_HYPERCALL] = on_no_insn,
    [EXIT_WBINVD] = on_skip,
    [EXIT_RDPMC] = on_rdpmc,
    [EXIT_PAUSE] = on_skip,
    [EXIT_MWAIT] = on_no_insn,
    [EXIT_NO_INSN] = on_no_insn,
    [EXIT_EXCEPTION] = on_exception,
    [EXIT_TASK_SWITCH] = guest_task_switch,
    [EXIT_TRIPLE_FAULT] = on_fatal,
    [EXIT_INVALID] = on_fatal,
    [EXIT_UNEXPECTED] = on_fatal,
};
