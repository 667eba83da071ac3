/* Model-specific registers: what they hold, what they keep, and what they refuse. SDM Vol 4; APM Vol 2, appendix A. */
#include "core/base/bits.h"
#include "guests/probe/probe.h"

struct msr_write {
    u32 msr;
    u64 value;
};

static void do_read(void *argument) { (void)rdmsr(*(u32 *)argument); }
static void do_write(void *argument) {
    const struct msr_write *w = argument;
    wrmsr(w->msr, w->value);
}

static void try_write(u32 msr, u64 to) {
    struct msr_write w = {msr, to};
    value_of_try(do_write, &w);
}

/* Writes and reads back; the old value returns. */
static void keep(u32 msr, u64 to) {
    u64 old = rdmsr(msr);
    struct msr_write w = {msr, to};
    struct fault f = fault_try(do_write, &w);

    if (f.raised)
        value("%s", exception_name(f.vector));
    else
        value("%lx", rdmsr(msr));
    wrmsr(msr, old);
}

/* SDM Vol 4: each of these wants a canonical address; of the width that the processor has, which is not that of the
 * paging mode. */
static bool canonical(void) {
    static const u32 msrs[] = {MSR_FS_BASE, MSR_KERNEL_GS_BASE, MSR_LSTAR,
                               MSR_CSTAR,   MSR_SYSENTER_ESP,   MSR_SYSENTER_EIP};

    for (u32 i = 0; i < ARRAY_SIZE(msrs); i++) {
        keep(msrs[i], 0xffff800000001234);
        keep(msrs[i], BIT((cpuid(0x80000008, 0).eax >> 8 & 0xff) - 1));
    }
    return true;
}

static bool star_family(void) {
    keep(MSR_STAR, 0x0123456789abcdef);
    keep(MSR_SFMASK, 0x47700);
    keep(MSR_SYSENTER_CS, 0x1234);
    if (cpuid(0x80000001, 0).edx & BIT(27)) keep(MSR_TSC_AUX, 0x12345678);
    return true;
}

static bool pat_types(void) {
    u64 old = rdmsr(MSR_PAT);

    for (u64 type = 0; type < 9; type++) keep(MSR_PAT, (old & 0x00ffffffffffffff) | type << 56);
    value("%lx", old);
    return rdmsr(MSR_PAT) == old;
}

/* SDM Vol 3A, Memory Type Range Registers: what firmware has left, what each kind keeps, what is reserved. */
static bool memory_types(void) {
    u64 low = 0;

    value("%lx %lx", rdmsr(MSR_MTRRCAP), rdmsr(MSR_MTRR_DEF_TYPE));
    value("%lx %lx", rdmsr(MSR_MTRR_FIX_64K), rdmsr(MSR_MTRR_FIX_16K + 1));
    for (u32 i = 0; i < 16; i += 2) /* how many bytes below 4 GiB are not memory's */
        if (rdmsr(MSR_MTRR_BASE0 + i + 1) & BIT(11)) low += (u32) - (u32)(rdmsr(MSR_MTRR_BASE0 + i + 1) & ~0xfffull);
    detail("%lu MiB in ranges", low >> 20);
    keep(MSR_MTRR_DEF_TYPE, 0xc01);
    keep(MSR_MTRR_DEF_TYPE, 0xc02);
    keep(MSR_MTRR_DEF_TYPE, 0x1c06);
    keep(MSR_MTRR_FIX_4K + 7, 0x0404010105050000);
    keep(MSR_MTRR_FIX_4K + 7, 0x0700000000000000);
    keep(MSR_MTRR_BASE0 + 14, 0x80000006);
    keep(MSR_MTRR_BASE0 + 14, 0x80000106);
    keep(MSR_MTRR_BASE0 + 15, 0xf0000800);
    keep(MSR_MTRR_BASE0 + 15, 0xf0000001);
    try_write(MSR_MTRRCAP, 0x508);
    return true;
}

static bool efer_bits(void) {
    u64 old = rdmsr(MSR_EFER);

    value("%lx", old & ~EFER_NXE);
    try_write(MSR_EFER, old | BIT(1));
    try_write(MSR_EFER, old | BIT(9));
    try_write(MSR_EFER, old | BIT(16));
    try_write(MSR_EFER, old | BIT(63));
    try_write(MSR_EFER, old & ~EFER_LME); /* with paging on */
    try_write(MSR_EFER, old & ~EFER_LMA); /* read-only: ignored */
    keep(MSR_EFER, old | EFER_SCE);
    wrmsr(MSR_EFER, old);
    return rdmsr(MSR_EFER) == old;
}

/* No hardware hides what CPUID offers, nor offers what it hides. */
static bool announced(void) {
    static const struct {
        u32 leaf, reg, bit, msr;
    } features[] = {
        {1, 3, 12, MSR_MTRRCAP},      {1, 3, 14, MSR_MCG_CAP},           {1, 3, 16, MSR_PAT},
        {1, 3, 11, MSR_SYSENTER_EIP}, {7, 1, 1, MSR_TSC_ADJUST},         {1, 2, 24, MSR_TSC_DEADLINE},
        {7, 3, 26, MSR_SPEC_CTRL},    {7, 3, 29, MSR_ARCH_CAPABILITIES}, {0x80000001, 3, 27, MSR_TSC_AUX},
    };
    bool ok = true;

    for (u32 i = 0; i < ARRAY_SIZE(features); i++) {
        struct cpuid_result r = cpuid(features[i].leaf, 0);
        u32 regs[4] = {r.eax, r.ebx, r.ecx, r.edx}, msr = features[i].msr;
        bool offered = regs[features[i].reg] >> features[i].bit & 1;
        bool there = !fault_try(do_read, &msr).raised;

        /* MSRs without their bit need not fault on every processor; the reverse is an error everywhere. */
        if (offered && !there) {
            detail("cpuid offers msr 0x%x, which is not there", msr);
            ok = false;
        }
        if (!offered && there && hypervisor_is_mullion()) {
            detail("msr 0x%x is there, cpuid hides it", msr);
            ok = false;
        }
    }
    return ok;
}

/* SDM Vol 3B, Machine-Check MSRs. A partition has no banks. */
static bool machine_check(void) {
    u32 none[] = {0x17b /* IA32_MCG_CTL */, 0x400, 0x401, 0x402, 0x403};
    u64 cap;

    if (!(cpuid(1, 0).edx & BIT(14))) {
        detail("none");
        return true;
    }
    cap = rdmsr(MSR_MCG_CAP);
    detail("%lu banks", cap & 0xff);
    if (!hypervisor_is_mullion()) return rdmsr(MSR_MCG_STATUS) == 0;
    for (u32 i = 0; i < ARRAY_SIZE(none); i++)
        if (fault_try(do_read, &none[i]).vector != VEC_GP) return false;
    wrmsr(MSR_MCG_STATUS, 0);
    return cap == 0 && rdmsr(MSR_MCG_STATUS) == 0;
}

/* SDM Vol 3B, Time-Stamp Counter Adjustment. */
static bool tsc_adjust(void) {
    u64 before, old;
    s64 moved, back;

    if (!(cpuid(7, 0).ebx & BIT(1))) {
        value("none");
        return true;
    }
    old = rdmsr(MSR_TSC_ADJUST);
    before = rdtsc();
    wrmsr(MSR_TSC_ADJUST, old + 1000000000000);
    moved = (s64)(rdtsc() - before) - 1000000000000;
    wrmsr(MSR_TSC, rdtsc() - 500000000000);
    back = (s64)(rdmsr(MSR_TSC_ADJUST) - old) - 500000000000;
    wrmsr(MSR_TSC_ADJUST, old);
    detail("off by %ld and %ld ticks", moved, back);
    value("%d", rdtsc() >= before && rdtsc() - before < 1000000000);
    return moved >= 0 && moved < 100000000 && back <= 0 && back > -100000000;
}

/* Intel's registers on AMD's processor, or the other way round. */
static bool no_foreign(void) {
    static const u32 intel[] = {MSR_PLATFORM_ID, MSR_FEATURE_CONTROL, MSR_MISC_ENABLE};
    static const u32 amd[] = {MSR_SYSCFG, MSR_HWCR, 0xc001001f /* NB_CFG */, 0xc0010055 /* Interrupt Pending */,
                              0xc0011029 /* DE_CFG */};
    const u32 *foreign = processor_is_amd() ? intel : amd;
    u32 count = processor_is_amd() ? ARRAY_SIZE(intel) : ARRAY_SIZE(amd);

    for (u32 i = 0; i < count; i++)
        if (fault_try(do_read, (void *)&foreign[i]).vector != VEC_GP) return false;
    return true;
}

/* What a firmware leaves: the lock over features that CPUID does not announce, fast strings, and MONITOR's bit as in
 * CPUID; the microcode's revision takes the 0 that software writes before it asks. Other machines have more, or not
 * even these. */
static bool firmware_msrs(void) {
    u64 features, misc_enable;

    if (!hypervisor_is_mullion()) return true;
    wrmsr(MSR_BIOS_SIGN_ID, 0);
    (void)cpuid(1, 0);
    if (rdmsr(MSR_BIOS_SIGN_ID) != 0) return false;
    if (processor_is_amd()) return no_foreign();
    features = rdmsr(MSR_FEATURE_CONTROL);
    misc_enable = rdmsr(MSR_MISC_ENABLE);
    detail("features 0x%lx, misc 0x%lx", features, misc_enable);
    return no_foreign() && features == 1 && (misc_enable & 1) &&
           (misc_enable >> 18 & 1) == (cpuid(1, 0).ecx >> 3 & 1) &&
           fault_try(do_write, &(struct msr_write){MSR_FEATURE_CONTROL, 5}).vector == VEC_GP &&
           fault_try(do_write, &(struct msr_write){MSR_MISC_ENABLE, misc_enable ^ BIT(22)}).vector == VEC_GP;
}

static bool misc(void) {
    u32 absent[] = {0x12345678, 0x40000000, 0xc0000085, 0xc0010114 /* VM_CR */, 0x210 /* a ninth MTRR */};

    for (u32 i = 0; i < ARRAY_SIZE(absent); i++) value_of_try(do_read, &absent[i]);
    try_write(MSR_MCG_CAP, 1);
    try_write(0x17, 1);
    return true;
}

/* SDM Vol 3A, Local APIC Status and Location: reserved bits, and the state that is none. */
static bool apic_base(void) {
    u64 old = rdmsr(MSR_APIC_BASE);

    value("%lx", old & ~APIC_BASE_X2APIC);
    try_write(MSR_APIC_BASE, old | BIT(0));
    try_write(MSR_APIC_BASE, old | BIT(9));
    try_write(MSR_APIC_BASE, old | BIT(52));
    if (cpuid(1, 0).ecx & BIT(21)) try_write(MSR_APIC_BASE, (old | APIC_BASE_X2APIC) & ~APIC_BASE_ENABLE);
    try_write(MSR_APIC_BASE, old);
    return rdmsr(MSR_APIC_BASE) == old;
}

static void rdtscp_at_cpl0(void *argument) {
    u32 low, high, aux;

    (void)argument;
    __asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(aux));
    value("aux %x", aux);
}
static bool rdtscp(void) {
    if (!(cpuid(0x80000001, 0).edx & BIT(27))) return fault_try(rdtscp_at_cpl0, NULL).vector == VEC_UD;
    wrmsr(MSR_TSC_AUX, 0x77);
    value_of_try(rdtscp_at_cpl0, NULL);
    wrmsr(MSR_TSC_AUX, 0);
    return true;
}

const struct check msr_checks[] = {
    {"msr-canonical", canonical},
    {"msr-star", star_family},
    {"msr-pat-types", pat_types},
    {"msr-mtrr", memory_types},
    {"msr-efer", efer_bits},
    {"msr-announced", announced},
    {"msr-machine-check", machine_check},
    {"msr-tsc-adjust", tsc_adjust},
    {"msr-firmware", firmware_msrs},
    {"msr-absent", misc},
    {"msr-apic-base", apic_base},
    {"msr-tsc-aux", rdtscp},
    {0},
};
