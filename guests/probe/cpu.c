/* CPUID, MSRs, exceptions with their error codes, vector state. */
#include "core/base/bits.h"
#include "guests/probe/probe.h"

#define UNMAPPED       0x10000000000u /* canonical, beyond the identity map */
#define TEST_PAGE      0x80000000u    /* a 2 MiB page of the map with no memory of ours behind it */
#define PTE_WRITE      BIT(1)
#define PTE_RESERVED   BIT(20) /* an address bit below the alignment of a 2 MiB page */
#define PTE_NX         BIT(63)
#define CPUID1_XSAVE   BIT(26)
#define CPUID1_OSXSAVE BIT(27)
#define CPUID1_AVX     BIT(28)

extern u64 boot_directories[];

static bool raises(void (*run)(void *), void *argument, u32 vector, u64 error) {
    struct fault f = fault_try(run, argument);

    if (f.raised && f.vector == vector && f.error == error) return true;
    if (f.raised)
        detail("got %s error 0x%lx, want %s error 0x%lx", exception_name(f.vector), f.error, exception_name(vector),
               error);
    else
        detail("no exception, want %s", exception_name(vector));
    return false;
}

static bool cpuid_hypervisor(void) {
    struct cpuid_result r = cpuid(0x40000000, 0);

    if (cpuid(1, 0).ecx & BIT(31))
        detail("%s, highest leaf 0x%x", hypervisor_signature(), r.eax);
    else
        detail("none");
    return !hypervisor_is_mullion() || r.eax >= 0x40000010;
}

static bool cpuid_apic_id(void) {
    u32 id = cpuid(1, 0).ebx >> 24;

    detail("cpuid %u, apic %u", id, lapic_id());
    return id == (lapic_id() & 0xff);
}

static void divide(void *argument) {
    u32 low = 1, high = 0;
    (void)argument;
    __asm__ volatile("divl %2" : "+a"(low), "+d"(high) : "r"(0));
}
static bool exception_de(void) { return raises(divide, NULL, VEC_DE, 0); }

static void undefined(void *argument) {
    (void)argument;
    __asm__ volatile("ud2");
}
static bool exception_ud(void) { return raises(undefined, NULL, VEC_UD, 0); }

static void breakpoint(void *argument) {
    (void)argument;
    __asm__ volatile("int3");
}
static bool exception_bp(void) { return raises(breakpoint, NULL, VEC_BP, 0); }

static void load_ds(void *argument) {
    u32 selector = 0x1234;
    (void)argument;
    __asm__ volatile("movw %w0, %%ds" ::"r"(selector));
}
static bool exception_gp_selector(void) {
    return raises(load_ds, NULL, VEC_GP, 0x1234); /* index and table; RPL bits are EXT and IDT */
}

static void read_at(void *argument) { (void)*(volatile u64 *)argument; }
static void write_at(void *argument) { *(volatile u64 *)argument = 0; }
static void call_at(void *argument) { ((void (*)(void))argument)(); }
static void read_by_rbp(void *argument) {
    __asm__ volatile("pushq %%rbp\n\t"
                     "movq %0, %%rbp\n\t"
                     "movq 0(%%rbp), %%rax\n\t"
                     "popq %%rbp" ::"r"(argument)
                     : "rax", "memory");
}
static bool exception_gp_canonical(void) { return raises(read_at, (void *)0x8000000000000000, VEC_GP, 0); }
/* QEMU TCG raises #GP here; the fault does not pass through a hypervisor, so this only tells. */
static bool exception_ss(void) {
    struct fault f = fault_try(read_by_rbp, (void *)0x8000000000000000);

    detail("%s", exception_name(f.vector));
    return f.raised && (f.vector == VEC_SS || f.vector == VEC_GP) && f.error == 0;
}

/* A page fault at TEST_PAGE with some bits of its entry flipped. */
static bool page_fault(void (*run)(void *), u64 address, u64 flip, u64 error) {
    u64 *entry = &boot_directories[address >> 21 & 2047], old = *entry;
    struct fault f;
    bool ok;

    *(volatile u64 *)entry = old ^ flip;
    invlpg(address);
    f = fault_try(run, (void *)address);
    *(volatile u64 *)entry = old;
    invlpg(address);
    ok = f.raised && f.vector == VEC_PF && f.error == error && f.cr2 == address;
    if (!ok)
        detail("raised %d vector %u error 0x%lx cr2 0x%lx, want error 0x%lx", f.raised, f.vector, f.error, f.cr2,
               error);
    return ok;
}

static bool pf_read(void) { return page_fault(read_at, UNMAPPED + 0x123, 0, 0); }
static bool pf_write(void) { return page_fault(write_at, UNMAPPED + 0x123, 0, PF_WRITE); }
static bool pf_protection(void) {
    bool ok;

    write_cr0(read_cr0() | CR0_WP);
    ok = page_fault(write_at, TEST_PAGE + 0x456, PTE_WRITE, PF_PRESENT | PF_WRITE);
    write_cr0(read_cr0() & ~CR0_WP);
    return ok;
}
/* QEMU TCG leaves the present bit out; as with #SS above, accepted and told. */
static bool pf_reserved(void) {
    if (page_fault(read_at, TEST_PAGE, PTE_RESERVED, PF_PRESENT | PF_RESERVED)) return true;
    if (!page_fault(read_at, TEST_PAGE, PTE_RESERVED, PF_RESERVED)) return false;
    detail("error code without P, as emulators do");
    return true;
}
static bool pf_fetch(void) {
    u64 efer = rdmsr(MSR_EFER);
    bool ok;

    if (!(cpuid(0x80000001, 0).edx & BIT(20))) {
        detail("no NX");
        return true;
    }
    wrmsr(MSR_EFER, efer | EFER_NXE);
    ok = page_fault(call_at, TEST_PAGE, PTE_NX, PF_PRESENT | PF_FETCH);
    wrmsr(MSR_EFER, efer);
    return ok;
}

/* #DE whose gate is absent: two contributory exceptions make a double fault, on its own stack.
 * SDM Vol 3A, Interrupt 8—Double Fault Exception. */
static bool double_fault(void) {
    bool ok;

    interrupt_gate_present(VEC_DE, false);
    ok = raises(divide, NULL, VEC_DF, 0);
    interrupt_gate_present(VEC_DE, true);
    return ok;
}

static void use_fpu(void *argument) {
    (void)argument;
    __asm__ volatile("fninit");
}
static bool exception_nm(void) {
    bool ok;

    write_cr0(read_cr0() | CR0_TS);
    ok = raises(use_fpu, NULL, VEC_NM, 0);
    write_cr0(read_cr0() & ~CR0_TS);
    return ok;
}

/* Bits that a hypervisor keeps for itself must still read back as written: NE, and the two that
 * turn caches off. SDM Vol 3A, Control Registers. */
static bool cr0_kept(void) {
    const u64 old = read_cr0();
    const u64 values[] = {old ^ CR0_NE, old | CR0_CD, old | CR0_CD | CR0_NW, old & ~CR0_NE, old};
    bool ok = true;

    for (u32 i = 0; i < ARRAY_SIZE(values) && ok; i++) {
        u64 seen;

        write_cr0(values[i]);
        seen = read_cr0();
        ok = seen == values[i];
        if (!ok) detail("wrote 0x%lx, read 0x%lx", values[i], seen);
    }
    write_cr0(old);
    return ok;
}

static void write_cr0_value(void *argument) { write_cr0((u64)argument); }
/* QEMU TCG checks none of this, and the write need not pass through a hypervisor: it only tells. */
static bool cr0_refused(void) {
    const u64 old = read_cr0();
    const u64 values[] = {old | CR0_NW, old & ~CR0_PE, old & ~CR0_PG, old | BIT(32)};
    u32 refused = 0;

    if (bare_qemu()) return true;
    for (u32 i = 0; i < ARRAY_SIZE(values); i++) {
        struct fault f;

        if (values[i] == (old & ~CR0_PG)) /* in 64-bit mode; not everybody refuses, and then we are gone */
            continue;
        f = fault_try(write_cr0_value, (void *)values[i]);
        refused += f.raised && f.vector == VEC_GP && f.error == 0;
    }
    detail("%u of 3 bad values refused", refused);
    return read_cr0() == old;
}

static void write_cr4_value(void *argument) { write_cr4((u64)argument); }
/* No guest sets these unless CPUID offers them. */
static bool cr4_refused(void) {
    const u64 old = read_cr4(), bits[] = {CR4_VMXE, CR4_SMXE, CR4_CET, BIT(31)};

    if (cpuid(1, 0).ecx & (BIT(5) | BIT(6))) return true; /* VMX, SMX */
    if (bare_qemu()) return true;
    for (u32 i = 0; i < ARRAY_SIZE(bits); i++)
        if (!raises(write_cr4_value, (void *)(old | bits[i]), VEC_GP, 0)) return false;
    return read_cr4() == old;
}

static void read_unknown_msr(void *argument) {
    (void)argument;
    (void)rdmsr(0x12345678);
}
static bool msr_unknown(void) {
    if (lenient_msrs()) {
        detail("not checked: this emulator answers 0");
        return true;
    }
    return raises(read_unknown_msr, NULL, VEC_GP, 0);
}

static void write_efer_reserved(void *argument) {
    (void)argument;
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | BIT(2));
}
static bool msr_reserved_bits(void) {
    if (lenient_msrs()) {
        detail("not checked: this emulator drops them");
        return true;
    }
    return raises(write_efer_reserved, NULL, VEC_GP, 0);
}

static bool tsc_moves(void) {
    u64 a = rdtsc(), b = rdmsr(MSR_TSC), c = rdtsc();

    if (lenient_msrs() && b == 0) {
        detail("no TSC MSR here");
        return c > a;
    }
    detail("%lu ticks to read it", c - a);
    return a <= b && b <= c && a < c;
}

/* The registers of SYSENTER exist on every processor with CPUID.SEP, and keep what they get. */
static void write_sysenter(void *value) { wrmsr(MSR_SYSENTER_EIP, *(const u64 *)value); }

static bool sysenter_kept(void) {
    u64 before = 0x123456789000, zero = 0;
    struct fault f = fault_try(write_sysenter, &before);

    if (f.raised) {
        detail("%s", exception_name(f.vector));
        return false;
    }
    if (rdmsr(MSR_SYSENTER_EIP) != before) return false;
    write_sysenter(&zero);
    return true;
}

static bool pat_kept(void) {
    u64 old = rdmsr(MSR_PAT), changed = old ^ (u64)7 << 56; /* entry 7: nothing uses it */
    bool ok;

    changed = (old & 0x00ffffffffffffff) | (u64)((old >> 56) == 4 ? 5 : 4) << 56;
    wrmsr(MSR_PAT, changed);
    ok = rdmsr(MSR_PAT) == changed;
    wrmsr(MSR_PAT, old);
    return ok && rdmsr(MSR_PAT) == old;
}

static void xsetbv(u32 low) { __asm__ volatile("xsetbv" ::"c"(0), "a"(low), "d"(0) : "memory"); }
static void xsetbv_without_x87(void *argument) {
    (void)argument;
    xsetbv(6);
}

/* Vector registers must survive exits: CPUID exits on every hypervisor. */
static bool avx(void) {
    u8 in[32], out[32] = {0};

    if ((cpuid(1, 0).ecx & (CPUID1_XSAVE | CPUID1_AVX)) != (CPUID1_XSAVE | CPUID1_AVX)) {
        detail("no AVX");
        return true;
    }
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXSAVE);
    if (!(cpuid(1, 0).ecx & CPUID1_OSXSAVE)) {
        detail("cpuid does not follow CR4.OSXSAVE");
        return false;
    }
    xsetbv(7);
    if (cpuid(0xd, 0).ebx != 832) {
        detail("leaf 0xd gives %u bytes for x87, SSE and AVX", cpuid(0xd, 0).ebx);
        return false;
    }
    for (u32 i = 0; i < 32; i++) in[i] = (u8)(0xa0 + i);
    __asm__ volatile("vmovdqu %0, %%ymm7" ::"m"(in));
    for (u32 i = 0; i < 100; i++) (void)cpuid(0, 0);
    __asm__ volatile("vmovdqu %%ymm7, %0" : "=m"(out));
    for (u32 i = 0; i < 32; i++)
        if (out[i] != in[i]) {
            detail("byte %u of ymm7 changed over exits", i);
            return false;
        }
    return raises(xsetbv_without_x87, NULL, VEC_GP, 0);
}

const struct check cpu_checks[] = {
    {"cpuid-hypervisor", cpuid_hypervisor},
    {"cpuid-apic-id", cpuid_apic_id},
    {"exception-de", exception_de},
    {"exception-ud", exception_ud},
    {"exception-bp", exception_bp},
    {"exception-nm", exception_nm},
    {"exception-gp-selector", exception_gp_selector},
    {"exception-gp-canonical", exception_gp_canonical},
    {"exception-ss", exception_ss},
    {"exception-pf-read", pf_read},
    {"exception-pf-write", pf_write},
    {"exception-pf-protection", pf_protection},
    {"exception-pf-reserved", pf_reserved},
    {"exception-pf-fetch", pf_fetch},
    {"exception-df", double_fault},
    {"cr0-kept", cr0_kept},
    {"cr0-refused", cr0_refused},
    {"cr4-refused", cr4_refused},
    {"msr-unknown", msr_unknown},
    {"msr-reserved-bits", msr_reserved_bits},
    {"msr-tsc", tsc_moves},
    {"msr-pat", pat_kept},
    {"msr-sysenter", sysenter_kept},
    {"avx", avx},
    {0},
};
