/* The report of a partition that cannot go on: exits.h. */
#include "core/base/log.h"
#include "core/exits.h"
#include "core/guest.h"
#include "core/machine.h"
#include "core/partition.h"

#define STOPPED LOG_ERROR "%s: vcpu %u on core %u stopped: %s (exit %s, code 0x%llx)"

const char *exit_reason_name(enum exit_reason reason) {
#define EXIT_NAME(id, name) name,
    static const char *const names[EXIT_REASONS] = {EXIT_LIST(EXIT_NAME)};

    return reason < EXIT_REASONS ? names[reason] : "unknown";
}

static unsigned long long reg(struct vcpu *v, enum vcpu_reg r) { return machine.vendor->get_reg(&v->hw, r); }

static unsigned long long gpr(struct vcpu *v, u32 n) { return n == 4 ? reg(v, REG_RSP) : v->hw.gpr[n]; }

static void report_registers(struct vcpu *v, const char *name) {
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

    log_line(LOG_ERROR "%s: rip 0x%llx rsp 0x%llx rflags 0x%llx", name, reg(v, REG_RIP), reg(v, REG_RSP),
             reg(v, REG_RFLAGS));
    log_line(LOG_ERROR "%s: cr0 0x%llx cr2 0x%llx cr3 0x%llx cr4 0x%llx efer 0x%llx", name, reg(v, REG_CR0),
             reg(v, REG_CR2), reg(v, REG_CR3), reg(v, REG_CR4), reg(v, REG_EFER));
    for (u32 i = 0; i < 16; i += 4)
        log_line(LOG_ERROR "%s: %s 0x%llx %s 0x%llx %s 0x%llx %s 0x%llx", name, names[i], gpr(v, i), names[i + 1],
                 gpr(v, i + 1), names[i + 2], gpr(v, i + 2), names[i + 3], gpr(v, i + 3));
}

static void report_segment(struct vcpu *v, const char *name, const char *label, enum vcpu_seg which) {
    struct segment s;

    machine.vendor->get_seg(&v->hw, which, &s);
    log_line(LOG_ERROR "%s: %s selector 0x%x base 0x%llx limit 0x%x attributes 0x%x", name, label, s.selector,
             (unsigned long long)s.base, s.limit, s.attributes);
}

static void report(struct vcpu *v, const char *name) {
    char text[160];

    report_registers(v, name);
    report_segment(v, name, "cs", VSEG_CS);
    report_segment(v, name, "ss", VSEG_SS);
    report_segment(v, name, "gdtr", VSEG_GDTR);
    report_segment(v, name, "idtr", VSEG_IDTR);
    guest_instruction_text(v, text, sizeof(text));
    log_line(LOG_ERROR "%s: instruction bytes %s", name, text);
    machine.vendor->dump(&v->hw, text, sizeof(text));
    log_line(LOG_ERROR "%s: %s", name, text);
}

void exit_crash(struct vcpu *v, const struct vm_exit *exit, const char *why) {
    const char *name = v->partition->config->name;
    u32 before = partition_crashes(v->partition);

    log_line(before < ENDS_EXPLAINED ? STOPPED : STOPPED ", crash %u in a row: no report", name, v->index, v->core, why,
             exit_reason_name(exit->reason), (unsigned long long)exit->code, before + 1);
    if (before < ENDS_EXPLAINED) report(v, name);
    partition_end(v->partition, END_CRASH);
}
