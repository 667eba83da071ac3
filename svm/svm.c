/* SVM behind the vendor interface: on and off, entry, events, windows. Source: APM Vol 2, Secure Virtual Machine. */
#include "svm/svm.h"

#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/x86.h"
#include "mm/pagetable.h"

#define DR6_BS BIT(14)
#define DR7_GD BIT(13)

static int svm_cpu_enable(void *page, hpa_t page_pa, char *why, size_t why_size) {
    (void)page;
    if (rdmsr(MSR_VM_CR) & VM_CR_SVMDIS) {
        fmt(why, why_size, "SVM is locked off by the firmware on this core|enable SVM (AMD-V) in the firmware's setup");
        return -E_UNSUPPORTED;
    }
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
    wrmsr(MSR_VM_HSAVE_PA, page_pa.v);
    /* The loop runs with GIF clear and RFLAGS.IF set: VMRUN takes IF as the mask for physical interrupts while the
     * guest runs (APM Vol 2, Virtualizing the INTR Pin and Interrupt Intercepts). */
    __asm__ volatile("clgi; sti" ::: "memory");
    return 0;
}

static void svm_cpu_disable(void) {
    __asm__ volatile("cli; stgi" ::: "memory");
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);
}

/* Lets pending host interrupts and NMIs in through the interrupt table for one moment. FS, GS and TR are the guest's
 * meanwhile: the handlers use none of them, and no gate names a TSS stack (guest_tr). */
static void open_interrupts(void) { __asm__ volatile("stgi; nop; clgi" ::: "memory"); }

/* The IRET that ends an NMI handler was intercepted before it ran. Only after it may the next NMI come, for it may use
 * the same stack: so it is run in a single step (APM Vol 2, Single Stepping), whose #DB is ours. */
static void start_iret_step(struct vcpu_hw *hw) {
    struct vmcb *b = vmcb_of(hw);

    b->control.intercept_1 &= (u32)~INTERCEPT_IRET;
    hw->iret_step = true;
    hw->iret_rflags = b->save.rflags;
    hw->iret_dr6 = b->save.dr6;
    b->save.rflags |= RFLAGS_TF;
}

static void end_iret_step(struct vcpu_hw *hw, struct vm_exit *exit) {
    struct vmcb *b = vmcb_of(hw);

    hw->iret_step = hw->nmi_blocked = false;
    /* A guest that steps through its own handler gets its #DB as well. */
    if (hw->iret_rflags & RFLAGS_TF) return;
    b->save.dr6 = hw->iret_dr6;
    exit->reason = EXIT_NMI_WINDOW;
}

/* A #DB that is given back: what its delivery would have done (SDM Vol 3B, Debug Control Register, GD). */
static void take_debug(struct vcpu_hw *hw, struct vm_exit *exit) {
    if (hw->iret_step) end_iret_step(hw, exit);
    if (exit->reason == EXIT_EXCEPTION) vmcb_of(hw)->save.dr7 &= ~DR7_GD;
}

/* Exits that the vendor itself has to do something about before core sees them. */
static __attribute__((noinline)) void finish_exit(struct vcpu_hw *hw, struct vm_exit *exit) {
    if (exit->reason == EXIT_INTERRUPT || exit->reason == EXIT_NMI)
        open_interrupts();
    else if (exit->reason == EXIT_NMI_WINDOW)
        start_iret_step(hw);
    else if (exit->reason == EXIT_EXCEPTION && exit->event.vector == VEC_DB)
        take_debug(hw, exit);
    else if (exit->reason == EXIT_EXCEPTION && exit->event.vector == VEC_MC)
        cpu_take_machine_check(); /* the machine's own, whoever runs: the trap handler panics */
}

/* The processor clears V_IRQ when it takes the virtual interrupt; QEMU only after a delivery that no exit cut short. */
static void end_post(struct vcpu_hw *hw) {
    struct vmcb *b = vmcb_of(hw);

    if (!(b->control.vintr & VINTR_IRQ) ||
        (hw->interrupted.type == EVENT_INTERRUPT && hw->interrupted.vector == hw->posted))
        hw->posted = 0;
    b->control.vintr &= ~(u64)VINTR_IRQ;
}

#define OURS (BIT(EXIT_INTERRUPT) | BIT(EXIT_NMI) | BIT(EXIT_NMI_WINDOW) | BIT(EXIT_EXCEPTION))

static void svm_run(struct vcpu_hw *hw, struct vm_exit *exit) {
    struct vmcb *b = vmcb_of(hw);

    b->save.rax = hw->gpr[0];
    svm_enter(hw->block_pa.v, hw->gpr);
    hw->gpr[0] = b->save.rax;
    b->control.event_injection = 0;
    b->control.tlb_control = 0;
    svm_decode_exit(hw, exit);
    if (hw->posted) end_post(hw);
    if (BIT(exit->reason) & OURS) finish_exit(hw, exit);
}

/* With IF clear STGI lets nothing in yet; STI's shadow then covers HLT. */
static void svm_idle(void) { __asm__ volatile("cli; stgi; sti; hlt; cli; clgi; sti" ::: "memory"); }

/* APM Vol 2, Event Injection, table "Guest Exception or Interrupt Types". */
static void svm_inject(struct vcpu_hw *hw, const struct vm_event *e) {
    static const u8 types[] = {
        [EVENT_INTERRUPT] = 0,      [EVENT_NMI] = 2, [EVENT_EXCEPTION] = 3, [EVENT_SOFT_INTERRUPT] = 4,
        [EVENT_SOFT_EXCEPTION] = 3,
    };
    struct vmcb *b = vmcb_of(hw);
    bool error = e->has_error && (b->save.cr0 & CR0_PE); /* real mode has none: APM Vol 2, Error Codes */

    b->control.event_injection = EVENT_VALID | (u64)types[e->type] << EVENT_TYPE_SHIFT | e->vector |
                                 (error ? EVENT_ERROR_VALID | (u64)e->error << 32 : 0);
    if (e->type == EVENT_NMI) {
        /* The IRET of its handler will end it: watch for that. */
        hw->nmi_blocked = true;
        b->control.intercept_1 |= INTERCEPT_IRET;
    }
}

static bool svm_can_inject(struct vcpu_hw *hw, enum event_type type) {
    const struct vmcb *b = vmcb_of(hw);

    if ((b->control.interrupt_shadow & SHADOW_BIT) || (b->control.event_injection & EVENT_VALID)) return false;
    if (type == EVENT_NMI) return !hw->nmi_blocked;
    return b->save.rflags & RFLAGS_IF;
}

/* Interrupts: a virtual interrupt of the highest priority, which exits instead of being taken. NMIs: the IRET that ends
 * their mask. */
static void svm_window(struct vcpu_hw *hw, enum event_type type, bool open) {
    struct vmcb *b = vmcb_of(hw);

    if (type == EVENT_NMI) {
        if (open && !hw->nmi_blocked) svm_window(hw, EVENT_INTERRUPT, true); /* held off by a shadow only */
        return;
    }
    if (open) {
        b->control.intercept_1 |= INTERCEPT_VINTR;
        b->control.vintr = VINTR_MASKING | VINTR_IRQ | VINTR_IGNORE_TPR | 0xfull << VINTR_PRIO_SHIFT;
    } else {
        b->control.intercept_1 &= (u32)~INTERCEPT_VINTR;
        b->control.vintr = VINTR_MASKING;
    }
}

/* A virtual interrupt that does not exit. Priorities are the local APIC model's, and whatever could change them exits.
 * Vectors below 32 would come back as exceptions from a delivery that QEMU cuts short. */
static bool svm_post(struct vcpu_hw *hw, u8 vector) {
    struct vmcb *b = vmcb_of(hw);

    if (vector < 32 || b->control.intercept_1 & INTERCEPT_VINTR) return false;
    b->control.vintr = VINTR_MASKING | VINTR_IRQ | VINTR_IGNORE_TPR | (u64)(vector >> 4) << VINTR_PRIO_SHIFT |
                       (u64)vector << VINTR_VECTOR_SHIFT;
    hw->posted = vector;
    return true;
}

/* Apart, so that svm_skip stays short. */
__attribute__((noinline)) void svm_debug_trap(struct vcpu_hw *hw, u64 dr6) {
    const struct vm_event trap = {.type = EVENT_EXCEPTION, .vector = VEC_DB};

    vmcb_of(hw)->save.dr6 |= dr6;
    svm_inject(hw, &trap);
}

static void svm_skip(struct vcpu_hw *hw, u32 length) {
    struct vmcb *b = vmcb_of(hw);
    u64 rip = b->save.rip + length;

    /* Outside 64-bit mode rip does not grow past its width. */
    b->save.rip = b->save.cs.attributes & BIT(9) ? rip : (u32)rip;
    b->control.interrupt_shadow = 0;
    /* An instruction done on the guest's behalf is single-stepped like any other. */
    if (__builtin_expect(b->save.rflags & RFLAGS_TF, 0)) svm_debug_trap(hw, DR6_BS);
}

static void svm_flush(struct vcpu_hw *hw) { vmcb_of(hw)->control.tlb_control = TLB_FLUSH_ALL; }

static bool svm_arm_timer(struct vcpu_hw *hw, u64 deadline) {
    (void)hw;
    (void)deadline;
    return false;
}

const struct vendor_ops svm_ops = {
    .name = "svm",
    .stage2 = &pt_npt,
    .block_bytes = 4096,
    .io_bitmap_bytes = 3 * 4096,
    .msr_bitmap_bytes = 2 * 4096,
    .guest_tr = true,
    .probe = svm_probe,
    .cpu_enable = svm_cpu_enable,
    .cpu_disable = svm_cpu_disable,
    .partition_init = svm_partition_init,
    .allow_port = svm_allow_port,
    .allow_msr = svm_allow_msr,
    .vcpu_init = svm_vcpu_init,
    .vcpu_reset = svm_vcpu_reset,
    .run = svm_run,
    .idle = svm_idle,
    .get_reg = svm_get_reg,
    .set_reg = svm_set_reg,
    .code_address = svm_code_address,
    .get_context = svm_get_context,
    .get_seg = svm_get_seg,
    .set_seg = svm_set_seg,
    .inject = svm_inject,
    .can_inject = svm_can_inject,
    .window = svm_window,
    .post = svm_post,
    .skip = svm_skip,
    .flush = svm_flush,
    .arm_timer = svm_arm_timer,
    .dump = svm_dump,
};
