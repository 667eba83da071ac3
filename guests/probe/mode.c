/* Control and debug registers, extended state, privileged instructions, and the modes that are not long mode. SDM Vol
 * 3A, Control Registers; Task Management; Mode Switching; SDM Vol 3B, Debug Registers. */
#include "core/base/bits.h"
#include "guests/probe/probe.h"

/* legacy.S, tasks.S, real.S, segments.S */
extern u32 legacy_results[], legacy_count;
void legacy_init(void);
void legacy_run(void (*function)(void));
void legacy_unpaged(void);
void legacy_two_levels(void);
void legacy_pae(void);
void legacy_pdptes(void);
void legacy_code16(void);
void legacy_real(void);
void legacy_real_limit(void);
void legacy_segments(void);
void legacy_v8086(void);
void legacy_tasks(void);
void legacy_task_gate(void);
void legacy_task_faults(void);
void legacy_task_tables(void);
void legacy_task_external(void);

static bool legacy(void (*function)(void)) {
    if (lapic_is_x2()) return true;
    legacy_init();
    legacy_run(function);
    for (u32 i = 0; i < legacy_count; i++) value("%x", legacy_results[i]);
    return legacy_count != 0;
}

static bool unpaged(void) { return legacy(legacy_unpaged); }
static bool two_levels(void) { return legacy(legacy_two_levels); }
static bool pae(void) { return legacy(legacy_pae); }
static bool pdptes(void) { return legacy(legacy_pdptes); }
static bool code16(void) { return legacy(legacy_code16); }
static bool real_mode(void) { return legacy(legacy_real); }
static bool real_limit(void) { return legacy(legacy_real_limit); }
static bool segments(void) { return legacy(legacy_segments); }
static bool v8086(void) { return legacy(legacy_v8086); }
static bool tasks(void) { return legacy(legacy_tasks); }
static bool task_gate(void) { return legacy(legacy_task_gate); }
static bool task_faults(void) { return legacy(legacy_task_faults); }
static bool task_tables(void) { return legacy(legacy_task_tables); }
static bool task_external(void) { return legacy(legacy_task_external); }

static void set_cr3(void *argument) { __asm__ volatile("movq %0, %%cr3" ::"r"(argument) : "memory"); }
static void set_cr4(void *argument) { write_cr4((u64)argument); }
static void set_cr8(void *argument) { __asm__ volatile("movq %0, %%cr8" ::"r"(argument) : "memory"); }
static void set_cr0(void *argument) { write_cr0((u64)argument); }

static bool cr3_reserved(void) {
    u64 cr3 = read_cr3();

    if (cpuid(0, 0).ebx == 0x68747541) return true; /* AMD: QEMU's SVM takes them for a broken control block */

    value_of_try(set_cr3, (void *)(cr3 | BIT(63)));
    value_of_try(set_cr3, (void *)(cr3 | BIT(51)));
    value_of_try(set_cr3, (void *)cr3);
    return read_cr3() == cr3;
}

/* Long mode needs PAE; PCIDs want CPUID's bit. */
static bool cr4_long_mode(void) {
    u64 cr4 = read_cr4();

    if (bare_qemu()) return true; /* it leaves its own guests' mode, even where there are none */
    value_of_try(set_cr4, (void *)(cr4 & ~CR4_PAE));
    if (!(cpuid(1, 0).ecx & BIT(17))) value_of_try(set_cr4, (void *)(cr4 | CR4_PCIDE));
    if (!(cpuid(7, 0).ecx & BIT(3))) value_of_try(set_cr4, (void *)(cr4 | BIT(22)));
    value_of_try(set_cr4, (void *)(cr4 | CR4_LA57)); /* has it or not: not in long mode */
    value_of_try(set_cr4, (void *)(cr4 | BIT(15)));
    value_of_try(set_cr4, (void *)(cr4 | BIT(40)));
    return read_cr4() == cr4;
}

/* PCIDs: on with none in CR3, then CR3 keeps one and its top bit is a command. SDM Vol 3A, Process-Context Identifiers.
 */
static bool cr4_pcid(void) {
    u64 cr3 = read_cr3(), cr4 = read_cr4();

    if (!(cpuid(1, 0).ecx & BIT(17))) {
        value("none");
        return true;
    }
    value_of_try(set_cr4, (void *)(cr4 | CR4_PCIDE));
    value_of_try(set_cr3, (void *)(cr3 | 5));
    value("%lx", read_cr3() ^ cr3);
    value_of_try(set_cr3, (void *)(cr3 | 0xffb | BIT(63)));
    value("%lx", read_cr3() ^ cr3);
    value_of_try(set_cr4, (void *)cr4);
    value("%lx", read_cr3() ^ cr3);
    value_of_try(set_cr4, (void *)(cr4 | CR4_PCIDE));
    set_cr3((void *)cr3);
    return read_cr3() == cr3 && read_cr4() == cr4;
}

static bool cr4_kept(void) {
    const u64 old = read_cr4(), bits[] = {CR4_TSD, CR4_DE, CR4_PSE, CR4_MCE, CR4_PGE, CR4_PCE, CR4_OSXMMEXCPT};

    for (u32 i = 0; i < ARRAY_SIZE(bits); i++) {
        write_cr4(old ^ bits[i]);
        if (read_cr4() != (old ^ bits[i])) value("bit %u", i);
    }
    write_cr4(old);
    return read_cr4() == old;
}

static bool cr8_reserved(void) {
    value_of_try(set_cr8, (void *)16);
    value_of_try(set_cr8, (void *)(u64)BIT(63));
    value_of_try(set_cr8, (void *)15);
    value_of_try(set_cr8, (void *)0);
    return true;
}

/* LMSW sets PE and never clears it; CLTS; SMSW shows the low half. */
static bool machine_status(void) {
    u64 old = read_cr0(), seen;

    __asm__ volatile("lmsw %w0" ::"r"(0xe) : "memory"); /* PE stays, TS, EM, MP come */
    value("%lx", read_cr0() & 0xf);
    __asm__ volatile("clts" ::: "memory");
    value("%lx", read_cr0() & 0xf);
    __asm__ volatile("smsw %0" : "=r"(seen));
    value("%lx", seen & 0xf);
    write_cr0(old);
    value_of_try(set_cr0, (void *)(old | BIT(6))); /* reserved, ignored */
    value("%d", read_cr0() == old);
    write_cr0(old);
    return read_cr0() == old;
}

static void set_dr7(void *argument) { __asm__ volatile("movq %0, %%dr7" ::"r"(argument) : "memory"); }
static void set_dr6(void *argument) { __asm__ volatile("movq %0, %%dr6" ::"r"(argument) : "memory"); }
static void get_dr4(void *argument) {
    u64 v;
    (void)argument;
    __asm__ volatile("movq %%dr4, %0" : "=r"(v));
}
static u64 dr6(void) {
    u64 v;
    __asm__ volatile("movq %%dr6, %0" : "=r"(v));
    return v;
}
static u64 dr7(void) {
    u64 v;
    __asm__ volatile("movq %%dr7, %0" : "=r"(v));
    return v;
}

static bool debug_registers(void) {
    u64 cr4 = read_cr4();

    set_dr6(NULL);
    value("%lx", dr6());
    set_dr6((void *)0xffffffff);
    value("%lx", dr6() & ~BIT(11)); /* bus locks, on recent processors */
    set_dr7((void *)0x2f);
    value("%lx", dr7());
    set_dr7(NULL);
    value_of_try(set_dr7, (void *)BIT(32));
    value_of_try(set_dr6, (void *)BIT(32));
    write_cr4(cr4 | CR4_DE);
    value_of_try(get_dr4, NULL);
    write_cr4(cr4 & ~CR4_DE);
    value_of_try(get_dr4, NULL);
    write_cr4(cr4);
    set_dr6((void *)0xffff0ff0);
    return true;
}

static volatile u32 debug_count;
static volatile u64 debug_dr6;
static void on_debug(struct trap_frame *frame) {
    debug_count++;
    debug_dr6 = dr6();
    set_dr6((void *)0xffff0ff0);
    frame->rflags |= RFLAGS_RF;
}

static u32 watched;
/* On a port, which CR4.DE allows: DR2, two bytes. */
static void port_breakpoints(void) {
    u64 cr4 = read_cr4();

    write_cr4(cr4 | CR4_DE);
    __asm__ volatile("movq %0, %%dr2" ::"r"(0x80ul));
    set_dr7((void *)(BIT(4) | 6ul << 24));
    for (u16 port = 0x7f; port < 0x83; port++) {
        out8(port, 0);
        value("%u %lx", debug_count, debug_dr6 & 0xf);
    }
    (void)in8(0x81);
    value("%u", debug_count);
    if (lapic_is_x2()) {
        value("-");
    } else { /* on a register of the local APIC: DR3, writes of four bytes */
        __asm__ volatile("movq %0, %%dr3" ::"r"((rdmsr(MSR_APIC_BASE) & 0xffffff000) + LAPIC_TPR));
        set_dr7((void *)(BIT(6) | 0xdul << 28));
        lapic_write(LAPIC_TPR, 0);
        value("%u %lx", debug_count, debug_dr6 & 0xf);
        (void)lapic_read(LAPIC_TPR);
        value("%u", debug_count);
    }
    set_dr7(NULL);
    write_cr4(cr4);
}

/* A watchpoint on memory, one on an instruction that exits, and one on a port. */
static bool breakpoints(void) {
    interrupt_handler(VEC_DB, on_debug);
    debug_count = 0;
    __asm__ volatile("movq %0, %%dr0" ::"r"(&watched));
    set_dr7((void *)0xd0001ul); /* DR0: 4 bytes, writes */
    *(volatile u32 *)&watched = 1;
    value("%u %lx", debug_count, debug_dr6 & 0xf);
    __asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rax, %%dr1\n\t"
                     "movl $0x404, %%eax\n\t" /* DR1: execution */
                     "movq %%rax, %%dr7\n\t"
                     "xorl %%eax, %%eax\n"
                     "1:\tcpuid" ::
                         : "rax", "rbx", "rcx", "rdx", "memory");
    value("%u %lx", debug_count, debug_dr6 & 0xf);
    port_breakpoints();
    set_dr7(NULL);
    interrupt_handler(VEC_DB, NULL);
    return true;
}

static void set_xcr0(void *argument) {
    u64 v = (u64)argument;
    __asm__ volatile("xsetbv" ::"c"(0), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}
static void set_xcr1(void *argument) {
    (void)argument;
    __asm__ volatile("xsetbv" ::"c"(1), "a"(1), "d"(0) : "memory");
}

/* What XCR0 takes, and the size of the area that goes with it. */
static bool extended_state(void) {
    static const u64 tries[] = {1, 3, 7, 5, 2, 0, 0xe3, 0x27, 1ull << 63 | 7};
    struct cpuid_result all;

    if (!(cpuid(1, 0).ecx & BIT(26))) return true;
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXSAVE);
    all = cpuid(0xd, 0);
    for (u32 i = 0; i < ARRAY_SIZE(tries); i++) {
        struct fault f = value_of_try(set_xcr0, (void *)tries[i]);

        if (!f.raised) value("%u", cpuid(0xd, 0).ebx);
    }
    value_of_try(set_xcr1, NULL);
    set_xcr0((void *)((u64)all.eax & 7));
    /* SDM Vol 2A, CPUID: ECX is the largest that EBX can become. */
    return cpuid(0xd, 0).ebx <= all.ecx && cpuid(0xd, 2).ebx + cpuid(0xd, 2).eax <= all.ecx;
}

static u8 area[1024] __attribute__((aligned(64)));
/* Does XSAVE of all that XCR0 has write in [from, to)? */
static bool saves(u32 from, u32 to) {
    bool changed = false;

    for (u32 i = 0; i < sizeof(area); i++) area[i] = i < 576 ? 0 : 0x5a;
    __asm__ volatile("xsave %0" : "+m"(area) : "a"(~0u), "d"(~0u) : "memory");
    for (u32 i = from; i < to; i++) changed |= area[i] != 0x5a;
    return changed;
}

/* XSAVE writes what CPUID says and nothing behind it. */
static bool save_area(void) {
    if (!(cpuid(1, 0).ecx & BIT(28))) return true; /* AVX */
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXSAVE);
    set_xcr0((void *)7ul);
    value("%u: %d %d", cpuid(0xd, 0).ebx, saves(576, 832), saves(832, sizeof(area)));
    set_xcr0((void *)3ul);
    value("%u: %d", cpuid(0xd, 0).ebx, saves(576, sizeof(area)));
    set_xcr0((void *)7ul);
    return true;
}

static void do_rdpmc(void *argument) {
    u32 low, high;
    __asm__ volatile("rdpmc" : "=a"(low), "=d"(high) : "c"((u32)(u64)argument));
}
static void do_monitor(void *argument) { __asm__ volatile("monitor" ::"a"(argument), "c"(0), "d"(0) : "memory"); }
static void do_mwait(void *argument) {
    (void)argument;
    __asm__ volatile("mwait" ::"a"(0), "c"(1) : "memory");
}
static void do_invpcid(void *argument) {
    static const u64 descriptor[2];
    __asm__ volatile("invpcid %0, %1" ::"m"(descriptor), "r"((u64)argument) : "memory");
}
static void do_vmxon(void *argument) {
    static u64 at;
    (void)argument;
    __asm__ volatile("vmxon %0" ::"m"(at) : "cc", "memory");
}
static void do_invlpg(void *argument) { invlpg((u64)argument); }
static void do_wbinvd(void *argument) {
    (void)argument;
    __asm__ volatile("wbinvd" ::: "memory");
}
static void do_pause(void *argument) {
    (void)argument;
    cpu_pause();
}
static void do_rsm(void *argument) {
    (void)argument;
    __asm__ volatile("rsm");
}

/* What CPUID does not announce raises #UD, what it announces does not. */
static bool instructions(void) {
    bool monitor = cpuid(1, 0).ecx & BIT(3), invpcid = cpuid(7, 0).ebx & BIT(10);

    detail("monitor %d, invpcid %d", monitor, invpcid);
    value_of_try(do_wbinvd, NULL);
    value_of_try(do_pause, NULL);
    value_of_try(do_invlpg, (void *)0x8000000000000000);
    value_of_try(do_rsm, NULL);
    if (!(cpuid(1, 0).ecx & BIT(5))) value_of_try(do_vmxon, NULL);
    if (fault_try(do_rdpmc, (void *)0xff).vector != VEC_GP && !bare_qemu()) value("rdpmc");
    if (!monitor && (!fault_try(do_monitor, &watched).raised || !fault_try(do_mwait, NULL).raised)) return false;
    if (monitor && fault_try(do_monitor, &watched).raised) return false;
    if (!invpcid) return fault_try(do_invpcid, (void *)2).vector == VEC_UD;
    return !fault_try(do_invpcid, (void *)2).raised && fault_try(do_invpcid, (void *)9).vector == VEC_GP;
}

const struct check mode_checks[] = {
    {"cr3-reserved", cr3_reserved},
    {"cr4-kept", cr4_kept},
    {"cr4-long-mode", cr4_long_mode},
    {"cr4-pcid", cr4_pcid},
    {"cr8-reserved", cr8_reserved},
    {"machine-status", machine_status},
    {"debug-registers", debug_registers},
    {"breakpoints", breakpoints},
    {"xsetbv", extended_state},
    {"xsave-area", save_area},
    {"instructions", instructions},
    {"mode-unpaged", unpaged},
    {"mode-two-levels", two_levels},
    {"mode-pae", pae},
    {"string-pdptes", pdptes},
    {"mode-code16", code16},
    {"mode-real", real_mode},
    {"string-real-limit", real_limit},
    {"string-segments", segments},
    {"mode-v8086", v8086},
    {"tasks", tasks},
    {"task-gate", task_gate},
    {"task-faults", task_faults},
    {"task-tables", task_tables},
    {"task-external", task_external},
    {0},
};
