#include "core/traps.h"

#include "core/base/cpu.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/x86.h"
#include "core/console.h"
#include "core/local.h"
#include "core/passthrough.h"
#include "core/vcpu.h"
#include "drivers/lapic.h"

void host_interrupt(u8 vector) {
    if (vector == VECTOR_SPURIOUS) return;
    /* A level line is masked before its end is broadcast, or the I/O APIC would send it again at once. Nothing nests:
     * interrupts are closed here. */
    if (vector >= PASS_FIRST_VECTOR && vector < PASS_FIRST_VECTOR + PASS_VECTORS && this_core->vcpu)
        passthrough_interrupt(this_core->vcpu, vector);
    lapic_eoi();
    if (vector == VECTOR_TIMER && this_core->vcpu)
        this_core->vcpu->timer_due = true;
    else if (vector == VECTOR_UART)
        console_receive();
    else if (vector == VECTOR_CONTROL && this_core->vcpu)
        __atomic_fetch_or(&this_core->vcpu->requests, REQUEST_CONTROL, __ATOMIC_RELEASE);
    /* VECTOR_KICK has done its work by interrupting: the sender left a request. */
}

static void dump(const struct trap_frame *f) {
    const u64 *stack = (const u64 *)f->rsp;

    log_line(LOG_ALWAYS "panic: rip 0x%llx rsp 0x%llx rflags 0x%llx cr2 0x%llx cr3 0x%llx", (unsigned long long)f->rip,
             (unsigned long long)f->rsp, (unsigned long long)f->rflags, (unsigned long long)read_cr2(),
             (unsigned long long)read_cr3());
    log_line(LOG_ALWAYS "panic: rax 0x%llx rbx 0x%llx rcx 0x%llx rdx 0x%llx", (unsigned long long)f->rax,
             (unsigned long long)f->rbx, (unsigned long long)f->rcx, (unsigned long long)f->rdx);
    log_line(LOG_ALWAYS "panic: rsi 0x%llx rdi 0x%llx rbp 0x%llx r8 0x%llx", (unsigned long long)f->rsi,
             (unsigned long long)f->rdi, (unsigned long long)f->rbp, (unsigned long long)f->r8);
    /* Only a stack that is known to be there is read: this core's own, as far as its top. */
    for (u32 i = 0; i < 16 && f->rsp >= LOCAL_BASE && f->rsp + 8 * i < LOCAL_STACK_TOP; i++)
        if (stack[i] >> 31 == 0x1ffffffff)
            log_line(LOG_ALWAYS "panic: stack +0x%x: 0x%llx", i * 8, (unsigned long long)stack[i]);
}

void trap(struct trap_frame *f) {
    static const char *const names[] = {"divide error",
                                        "debug",
                                        "nmi",
                                        "breakpoint",
                                        "overflow",
                                        "bound",
                                        "invalid opcode",
                                        "device not available",
                                        "double fault",
                                        "",
                                        "invalid tss",
                                        "segment not present",
                                        "stack fault",
                                        "general protection",
                                        "page fault",
                                        "",
                                        "x87",
                                        "alignment check",
                                        "machine check"};

    if (f->vector >= 32) {
        host_interrupt((u8)f->vector);
        return;
    }
    if (f->vector == VEC_NMI) {
        /* Another core's panic stops this one; a machine's NMI without a panic is counted as noise. */
        if (panic_in_progress()) cpu_halt_forever();
        return;
    }
    panic_begin();
    dump(f);
    panic("exception %llu (%s), error code 0x%llx, in the hypervisor", (unsigned long long)f->vector,
          f->vector < sizeof(names) / sizeof(names[0]) ? names[f->vector] : "?", (unsigned long long)f->error);
}
