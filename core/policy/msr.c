/* Which MSRs a guest has. Each entry says who needs it; what is not here is #GP(0), which Linux and
 * others expect of an MSR that CPUID does not announce; so are those that only the other maker's processors have.
 * Sources: SDM Vol 4; APM Vol 2, appendix A. */
#include "core/policy/msr.h"

#include "core/base/x86.h"
#include "core/vdev/vmtrr.h"
#include "core/vdev/vpvclock.h"

#define MSR_INT_PENDING 0xc0010055 /* APM Vol 2, appendix A: Interrupt Pending */
#define MSR_NB_CFG      0xc001001f /* AMD family 10h BKDG: Northbridge Configuration 1 */
#define NB_CFG_CF8_EXT  BIT(46)    /* EnableCf8ExtCfg */
#define MSR_DE_CFG      0xc0011029 /* APM Vol 2, appendix A: Decode Configuration */

/* SDM Vol 4, IA32_MISC_ENABLE: fast strings; BTS and PEBS unavailable. */
#define MISC_ENABLE_VALUE (BIT(0) | BIT(11) | BIT(12))
#define HWCR_TSC_FREQ_SEL BIT(24)
#define DE_CFG_LFENCE     BIT(1)

const struct msr_entry msr_table[] = {
    /* Runs through the offset in the control block. */
    {MSR_TSC, MSR_TSC, MSR_TSC_REG, MSR_TSC_REG, 0, MSR_ANY},
    /* Linux on Intel reads it unguarded when it reports the microcode. */
    {MSR_PLATFORM_ID, MSR_PLATFORM_ID, MSR_CONST, MSR_CONST, 0, MSR_INTEL},
    {MSR_APIC_BASE, MSR_APIC_BASE, MSR_LAPIC, MSR_LAPIC, 0, MSR_ANY},
    /* Locked, nothing enabled: a guest need not ask why VMX is missing. */
    {MSR_FEATURE_CONTROL, MSR_FEATURE_CONTROL, MSR_CONST, MSR_CONST, 1, MSR_INTEL},
    /* CPUID announces it on every machine: how far the guest has moved its TSC. */
    {MSR_TSC_ADJUST, MSR_TSC_ADJUST, MSR_TSC_REG, MSR_TSC_REG, 0, MSR_ANY},
    /* Microcode revision. Linux on Intel writes 0 before CPUID and reads; AMD's patch level. */
    {MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID, MSR_CONST, MSR_IGNORE, 0, MSR_ANY},
    {MSR_MTRRCAP, MSR_MTRRCAP, MSR_MTRR, MSR_MTRR, 0, MSR_ANY},
    /* System calls of 32-bit programs. The host has none, so the guest's values are in place. */
    {MSR_SYSENTER_CS, MSR_SYSENTER_EIP, MSR_DIRECT, MSR_DIRECT, 0, MSR_ANY},
    /* CPUID says MCA, since Linux takes a CPU without it for a very old one: no banks, no CTL. */
    {MSR_MCG_CAP, MSR_MCG_CAP, MSR_CONST, MSR_CONST, 0, MSR_ANY},
    /* Linux reads it at each poll and at a #MC, and gives up if that faults; it writes 0. */
    {MSR_MCG_STATUS, MSR_MCG_STATUS, MSR_CONST, MSR_IGNORE, 0, MSR_ANY},
    /* Linux on Intel drops ERMS and REP_GOOD without the fast-string bit. */
    {MSR_MISC_ENABLE, MSR_MISC_ENABLE, MSR_CONST, MSR_CONST, MISC_ENABLE_VALUE, MSR_INTEL},
    /* Written at single steps by branch (BTF), which is then just a single step. LBR is not
     * offered. */
    {MSR_DEBUGCTL, MSR_DEBUGCTL, MSR_CONST, MSR_IGNORE, 0, MSR_ANY},
    /* Linux uses PAT only where it finds these. */
    {MSR_MTRR_BASE0, MSR_MTRR_BASE0 + 2 * VMTRR_RANGES - 1, MSR_MTRR, MSR_MTRR, 0, MSR_ANY},
    {MSR_MTRR_FIX_64K, MSR_MTRR_FIX_64K, MSR_MTRR, MSR_MTRR, 0, MSR_ANY},
    {MSR_MTRR_FIX_16K, MSR_MTRR_FIX_16K + 1, MSR_MTRR, MSR_MTRR, 0, MSR_ANY},
    {MSR_MTRR_FIX_4K, MSR_MTRR_FIX_4K + 7, MSR_MTRR, MSR_MTRR, 0, MSR_ANY},
    {MSR_PAT, MSR_PAT, MSR_PAT_REG, MSR_PAT_REG, 0, MSR_ANY},
    {MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, MSR_MTRR, MSR_MTRR, 0, MSR_ANY},
    /* CPUID announces both on every machine; the emulated local APIC answers. */
    {MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, MSR_LAPIC, MSR_LAPIC, 0, MSR_ANY},
    {MSR_X2APIC_FIRST, MSR_X2APIC_LAST, MSR_LAPIC, MSR_LAPIC, 0, MSR_ANY},
    /* Linux on AMD learns the TSC's frequency from KVM's clock, of which it is the whole interface here. */
    {MSR_PVCLOCK_WALL, MSR_PVCLOCK_TIME, MSR_CLOCK, MSR_CLOCK, 0, MSR_ANY},
    {MSR_EFER, MSR_EFER, MSR_EFER_REG, MSR_EFER_REG, 0, MSR_ANY},
    /* Written at each task switch or only ever by the guest that owns the core: no exit. */
    {MSR_STAR, MSR_SFMASK, MSR_DIRECT, MSR_DIRECT, 0, MSR_ANY},
    {MSR_FS_BASE, MSR_KERNEL_GS_BASE, MSR_DIRECT, MSR_DIRECT, 0, MSR_ANY},
    /* The vDSO keeps the CPU number here. A machine without RDTSCP answers #GP itself. */
    {MSR_TSC_AUX, MSR_TSC_AUX, MSR_DIRECT, MSR_DIRECT, 0, MSR_ANY},
    /* Linux on AMD reads it unguarded; no memory encryption, no extension of the fixed MTRRs, no TOM2. */
    {MSR_SYSCFG, MSR_SYSCFG, MSR_CONST, MSR_CONST, 0, MSR_AMD},
    /* Linux on AMD reads it unguarded, complains unless the TSC counts at a fixed rate, and sets
     * bits for errata of early CPUs, which are the host's affair. */
    {MSR_HWCR, MSR_HWCR, MSR_CONST, MSR_IGNORE, HWCR_TSC_FREQ_SEL, MSR_AMD},
    /* Linux on AMD turns on extended access to PCI configuration by port 0xcf8 here, unguarded: it is on (vpci.c). */
    {MSR_NB_CFG, MSR_NB_CFG, MSR_CONST, MSR_IGNORE, NB_CFG_CF8_EXT, MSR_AMD},
    /* Linux on AMD family 0fh and 10h looks for C1E (erratum 400), unguarded: it is off. */
    {MSR_INT_PENDING, MSR_INT_PENDING, MSR_CONST, MSR_CONST, 0, MSR_AMD},
    /* Bit 1 says that LFENCE serialises; Linux sets it if it is clear. That is what firmware and
     * hosts set: a machine where nobody did is not found out by this constant. */
    {MSR_DE_CFG, MSR_DE_CFG, MSR_CONST, MSR_IGNORE, DE_CFG_LFENCE, MSR_AMD},
};
const u32 msr_table_count = ARRAY_SIZE(msr_table);

const struct msr_entry *msr_find(u32 msr, bool amd) {
    u32 low = 0, high = ARRAY_SIZE(msr_table);

    while (low < high) {
        u32 middle = (low + high) / 2;

        if (msr > msr_table[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == ARRAY_SIZE(msr_table) || msr < msr_table[low].first) return NULL;
    if (msr_table[low].maker == (amd ? MSR_INTEL : MSR_AMD)) return NULL;
    return &msr_table[low];
}
