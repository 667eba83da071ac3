/* Every MSR of the architectural ranges, read and written. What is not on the list below has to
 * raise #GP (core/policy/msr.c says who needs what). */
#include "core/base/bits.h"
#include "guests/attack/attack.h"

#define ESSENTIAL 1u /* this program needs it: tried apart, or not at all */
#define STATE     2u /* the guest's own: holds what is written */
#define CONSTANT  4u /* ignores writes, or refuses them */
#define INTEL     8u /* nobody else has it */
#define AMD       16u

static const struct {
    u32 first, last, kind;
} known[] = {
    {MSR_TSC, MSR_TSC, ESSENTIAL},
    {MSR_TSC_ADJUST, MSR_TSC_ADJUST, ESSENTIAL}, /* moves the TSC as well */
    {MSR_PLATFORM_ID, MSR_PLATFORM_ID, CONSTANT | INTEL},
    {MSR_APIC_BASE, MSR_APIC_BASE, ESSENTIAL},
    {MSR_FEATURE_CONTROL, MSR_FEATURE_CONTROL, CONSTANT | INTEL},
    {MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID, CONSTANT},
    {MSR_MTRRCAP, MSR_MTRRCAP, CONSTANT},
    {MSR_SYSENTER_CS, MSR_SYSENTER_EIP, STATE},
    {0x4b564d00, 0x4b564d01, STATE}, /* KVM's clock: an address in the guest's memory */
    {MSR_MCG_CAP, MSR_MCG_STATUS, CONSTANT},
    {MSR_MISC_ENABLE, MSR_MISC_ENABLE, CONSTANT | INTEL},
    {MSR_DEBUGCTL, MSR_DEBUGCTL, CONSTANT},
    {MSR_MTRR_BASE0, MSR_MTRR_BASE0 + 15, STATE},
    {MSR_MTRR_FIX_64K, MSR_MTRR_FIX_64K, STATE},
    {MSR_MTRR_FIX_16K, MSR_MTRR_FIX_16K + 1, STATE},
    {MSR_MTRR_FIX_4K, MSR_MTRR_FIX_4K + 7, STATE},
    {MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, STATE},
    {MSR_PAT, MSR_PAT, ESSENTIAL},
    {MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, ESSENTIAL},
    {MSR_EFER, MSR_EFER, ESSENTIAL},
    {MSR_STAR, MSR_SFMASK, STATE},
    {MSR_FS_BASE, MSR_FS_BASE, STATE},
    {MSR_GS_BASE, MSR_GS_BASE, ESSENTIAL},
    {MSR_KERNEL_GS_BASE, MSR_KERNEL_GS_BASE, STATE},
    {MSR_TSC_AUX, MSR_TSC_AUX, STATE},
    {MSR_SYSCFG, MSR_SYSCFG, CONSTANT | AMD},
    {MSR_HWCR, MSR_HWCR, CONSTANT | AMD},
    {0xc001001f, 0xc001001f, CONSTANT | AMD}, /* northbridge configuration */
    {0xc0010055, 0xc0010055, CONSTANT | AMD}, /* interrupt pending */
    {0xc0011029, 0xc0011029, CONSTANT | AMD}, /* decode configuration */
};

static const struct {
    u32 first, last;
} ranges[] = {{0, 0x1fff},
              {0x40000000, 0x400003ff},
              {0x4b564d00, 0x4b564d0f},
              {0xc0000000, 0xc0001fff},
              {0xc0010000, 0xc0011fff},
              {0xfffffff0, 0xffffffff}};

static u32 kind_of(u32 msr) {
    for (u32 i = 0; i < ARRAY_SIZE(known); i++)
        if (msr >= known[i].first && msr <= known[i].last)
            return known[i].kind & (processor_is_amd() ? INTEL : AMD) ? 0 : known[i].kind;
    return 0;
}

struct access {
    u32 msr;
    u64 value;
};
static void read_one(void *argument) {
    struct access *a = argument;
    a->value = rdmsr(a->msr);
}
static void write_one(void *argument) {
    const struct access *a = argument;
    wrmsr(a->msr, a->value);
}

static void each(void (*one)(u32 msr)) {
    for (u32 i = 0; i < ARRAY_SIZE(ranges); i++)
        for (u32 msr = ranges[i].first;; msr++) {
            one(msr);
            if (msr == ranges[i].last) break;
        }
}

static void try_read(u32 msr) {
    struct access a = {msr, 0};

    if (lapic_is_x2() && msr - MSR_X2APIC_FIRST < 0x100) return;
    if (kind_of(msr)) /* one that the processor itself lacks may fault */
        may_fault(read_one, &a, FAULT(VEC_GP), "rdmsr", msr);
    else
        must_fault(read_one, &a, FAULT(VEC_GP), "rdmsr", msr);
}
static void read_all(void) { each(try_read); }

static void try_state(u32 msr, u64 value) {
    struct access a = {msr, 0}, b = {msr, value}, c = {msr, 0};

    if (fault_try(read_one, &a).raised) return;
    may_fault(write_one, &b, FAULT(VEC_GP), "wrmsr", msr);
    if (fault_try(read_one, &c).raised)
        check(false, "0x%x cannot be read any more", msr);
    else
        check(!(kind_of(msr) & CONSTANT) || c.value == a.value, "0x%x changed to 0x%lx", msr, c.value);
    (void)fault_try(write_one, &a);
}

static void try_write(u32 msr) {
    const u64 values[] = {~0ull, noise(), 0};
    u32 kind = kind_of(msr);

    if ((kind & ESSENTIAL) || (lapic_is_x2() && msr - MSR_X2APIC_FIRST < 0x100)) return;
    for (u32 i = 0; i < ARRAY_SIZE(values); i++) {
        struct access a = {msr, values[i]};

        if (kind)
            try_state(msr, values[i]);
        else if (i == (msr & 1)) /* ones and noise by turns */
            must_fault(write_one, &a, FAULT(VEC_GP), "wrmsr", msr);
    }
}
static void write_all(void) { each(try_write); }

/* Virtualisation stays off, and long mode on. */
static void efer(void) {
    u64 old = rdmsr(MSR_EFER);

    for (u32 bit = 0; bit < 64; bit++) {
        struct access a = {MSR_EFER, old ^ BIT(bit)};
        bool own = BIT(bit) & (EFER_SCE | EFER_LMA | EFER_NXE | EFER_FFXSR);

        if (own)
            may_fault(write_one, &a, FAULT(VEC_GP), "efer bit", bit);
        else
            must_fault(write_one, &a, FAULT(VEC_GP), "efer bit", bit);
        wrmsr(MSR_EFER, old);
    }
    check(rdmsr(MSR_EFER) == old, "efer is 0x%lx", rdmsr(MSR_EFER));
}

/* The page of the local APIC stays where stage 2 has none. */
static void apic_base(void) {
    u64 old = rdmsr(MSR_APIC_BASE);

    for (u32 bit = 12; bit < 64; bit++) {
        struct access a = {MSR_APIC_BASE, old ^ BIT(bit)};
        must_fault(write_one, &a, FAULT(VEC_GP), "apic base bit", bit);
    }
    if (!lapic_is_x2()) {
        struct access a = {MSR_APIC_BASE, (old & ~(u64)APIC_BASE_ENABLE) | APIC_BASE_X2APIC};
        must_fault(write_one, &a, FAULT(VEC_GP), "apic base", a.value);
    }
    wrmsr(MSR_APIC_BASE, old ^ APIC_BASE_BSP);
    check(rdmsr(MSR_APIC_BASE) == old, "apic base is 0x%lx", rdmsr(MSR_APIC_BASE));
}

static void pat(void) {
    u64 old = rdmsr(MSR_PAT);

    for (u32 i = 0; i < 64; i++) {
        struct access a = {MSR_PAT, old ^ BIT(i)};
        may_fault(write_one, &a, FAULT(VEC_GP), "pat bit", i);
    }
    for (u64 type = 0; type < 256; type++) { /* entry 7, which nothing uses */
        struct access a = {MSR_PAT, (old & 0x00ffffffffffffff) | type << 56};
        if (type > 7 || type == 2 || type == 3)
            must_fault(write_one, &a, FAULT(VEC_GP), "pat type", type);
        else
            may_fault(write_one, &a, 0, "pat type", type);
    }
    wrmsr(MSR_PAT, old);
}

/* Our own clock, thrown about: the neighbours' must not follow. Put back to about where it was. */
static void tsc(void) {
    u64 start = rdtsc();

    for (u32 bit = 0; bit < 64; bit++) {
        wrmsr(MSR_TSC, BIT(bit) - 1);
        check(rdtsc() - (BIT(bit) - 1) < BIT(40), "tsc does not follow to 2^%u", bit);
    }
    wrmsr(MSR_TSC, start);
}

const struct attempt msr_attempts[] = {
    {"msrs-read", read_all},
    {"msrs-write", write_all},
    {"msr-efer", efer},
    {"msr-apic-base", apic_base},
    {"msr-pat", pat},
    {"msr-tsc", tsc},
    {0},
};
