/* What this processor's VMX can do. Boot core, before start; the only writer of `vmx`. Source: SDM Vol 3D, VMX
 * Capability Reporting Facility. */
#include "vmx/vmx.h"

#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/x86.h"

#define MSR_VMX_BASIC       0x480
#define MSR_VMX_MISC        0x485
#define MSR_VMX_EPT_VPID    0x48c
#define BASIC_TRUE_CONTROLS BIT(55)

#define CPUID_1_ECX_VMX               BIT(5)
#define CPUID_7_EDX_ARCH_CAPABILITIES BIT(29)
#define ARCH_PSCHANGE_MC_NO           BIT(6)

#define CAP_WALK_4         BIT(6)
#define CAP_WRITE_BACK     BIT(14)
#define CAP_2M             BIT(16)
#define CAP_1G             BIT(17)
#define CAP_INVEPT         BIT(20)
#define CAP_INVEPT_SINGLE  BIT(25)
#define CAP_INVEPT_ALL     BIT(26)
#define CAP_INVVPID        BIT(32)
#define CAP_INVVPID_SINGLE BIT(41)
#define CAP_INVVPID_ALL    BIT(42)

#define REMEDY                                                                                                         \
    "use an Intel processor of 2010 or later; if this is a virtual machine, offer it nested VMX "                      \
    "with EPT"

struct vmx_info vmx __attribute__((section(".late")));

enum word { PIN, PROC, SECONDARY, EXIT, ENTRY, WORDS };

/* Each control word: where its allowed settings are reported. The second number is valid if
 * VMX_BASIC bit 55 is set; the secondary controls have only one. */
static const u32 capability_msrs[WORDS][2] = {
    [PIN] = {0x481, 0x48d},  [PROC] = {0x482, 0x48e},  [SECONDARY] = {0x48b, 0x48b},
    [EXIT] = {0x483, 0x48f}, [ENTRY] = {0x484, 0x490},
};

struct control {
    enum word word;
    u32 bit;
    const char *name;
};

static const struct control required[] = {
    {PIN, PIN_EXTERNAL_INTERRUPT, "external-interrupt exiting"},
    {PIN, PIN_NMI, "nmi exiting"},
    {PIN, PIN_VIRTUAL_NMIS, "virtual nmis"},
    {PROC, PROC_TSC_OFFSET, "tsc offsetting"},
    {PROC, PROC_HLT, "hlt exiting"},
    {PROC, PROC_MWAIT, "mwait exiting"},
    {PROC, PROC_MONITOR, "monitor exiting"},
    {PROC, PROC_RDPMC, "rdpmc exiting"},
    /* CR8 is the local APIC's task priority, which core keeps: both directions exit. A TPR shadow
     * would have to be carried over at each exit, and 64-bit Linux does not use CR8. */
    {PROC, PROC_CR8_LOAD, "cr8-load exiting"},
    {PROC, PROC_CR8_STORE, "cr8-store exiting"},
    {PROC, PROC_IO_BITMAPS, "i/o bitmaps"},
    {PROC, PROC_MSR_BITMAPS, "msr bitmaps"},
    {PROC, PROC_SECONDARY, "secondary controls"},
    {SECONDARY, PROC2_EPT, "extended page tables (ept)"},
    {SECONDARY, PROC2_UNRESTRICTED, "unrestricted guest"},
    {EXIT, EXIT_SAVE_DEBUG, "saving of debug controls"},
    {EXIT, EXIT_HOST_64, "64-bit host"},
    {EXIT, EXIT_ACK_INTR, "acknowledge interrupt on exit"},
    {EXIT, EXIT_SAVE_EFER, "saving of efer"},
    {EXIT, EXIT_LOAD_EFER, "loading of efer at exits"},
    {ENTRY, ENTRY_LOAD_DEBUG, "loading of debug controls"},
    {ENTRY, ENTRY_LOAD_EFER, "loading of efer at entries"},
};

/* Name: what is lost without it, for the summary line; NULL if nobody would miss it. */
static const struct control optional[] = {
    {PIN, PIN_PREEMPTION_TIMER, "preemption timer (local apic timer used)"},
    {SECONDARY, PROC2_VPID, "vpid (exits flush the tlb)"},
    {SECONDARY, PROC2_WBINVD, "wbinvd exiting (guests can flush caches)"},
    {SECONDARY, PROC2_RDTSCP, "rdtscp"},
    {PROC, PROC_TPR_SHADOW, NULL},
    {SECONDARY, PROC2_DELIVERY, "virtual-interrupt delivery (interrupt windows used)"},
    {SECONDARY, PROC2_INVPCID, NULL},
    {SECONDARY, PROC2_ENCLS, NULL},
    {EXIT, EXIT_SAVE_PAT | EXIT_LOAD_PAT, "pat switching (guests cannot change memory types)"},
    {ENTRY, ENTRY_LOAD_PAT, NULL},
};

/* Controls that must be off: core has no handler for what they make exit. Without the TRUE
 * capability MSRs the first three cannot be. */
static const struct control unwanted[] = {
    {PROC, PROC_CR3_LOAD, "running without cr3-load exiting"},
    {PROC, PROC_CR3_STORE, "running without cr3-store exiting"},
    {PROC, PROC_INVLPG, "running without invlpg exiting"},
    {PROC, PROC_RDTSC, "running without rdtsc exiting"},
    {PROC, PROC_MOV_DR, "running without debug-register exiting"},
    {PROC, PROC_PAUSE, "running without pause exiting"},
};

/* --- probe ------------------------------------------------------------------------------------ */

static int lacks(const char *what, char *why, size_t why_size) {
    fmt(why, why_size, "this processor's VMX lacks %s|%s", what, REMEDY);
    return -E_UNSUPPORTED;
}

/* Bits 31:0 of a capability MSR must be 1 in the control word, bits 63:32 may be. */
static int choose_controls(u32 words[WORDS], char *why, size_t why_size) {
    bool true_msrs = rdmsr(MSR_VMX_BASIC) & BASIC_TRUE_CONTROLS;
    u64 allowed[WORDS];

    for (u32 w = 0; w < WORDS; w++) {
        /* The secondary word's MSR exists only where the word does. */
        /* cppcheck-suppress uninitvar ; PROC comes before SECONDARY */
        if (w == SECONDARY && !(allowed[PROC] >> 32 & PROC_SECONDARY))
            return lacks("secondary controls", why, why_size);
        allowed[w] = rdmsr(capability_msrs[w][true_msrs]);
        words[w] = (u32)allowed[w];
    }
    for (u32 i = 0; i < ARRAY_SIZE(required); i++) {
        if (!(allowed[required[i].word] >> 32 & required[i].bit)) return lacks(required[i].name, why, why_size);
        words[required[i].word] |= required[i].bit;
    }
    for (u32 i = 0; i < ARRAY_SIZE(unwanted); i++)
        if (allowed[unwanted[i].word] & unwanted[i].bit) return lacks(unwanted[i].name, why, why_size);
    for (u32 i = 0; i < ARRAY_SIZE(optional); i++)
        if ((allowed[optional[i].word] >> 32 & optional[i].bit) == optional[i].bit)
            words[optional[i].word] |= optional[i].bit;
    return 0;
}

/* "Machine Check Error on Page Size Change": while a core's instruction TLB holds one address both as a large and as a
 * small page, a fetch may raise a machine check. A guest cannot bring that about where stage 2 has 4 KiB pages. SDM Vol
 * 4, IA32_ARCH_CAPABILITIES: IF_PSCHANGE_MC_NO. */
static bool has_multihit(void) {
    if (!cpuid_has_leaf(7) || !(cpuid(7, 0).edx & CPUID_7_EDX_ARCH_CAPABILITIES)) return true;
    return !(rdmsr(MSR_ARCH_CAPABILITIES) & ARCH_PSCHANGE_MC_NO);
}

static int check_ept(u64 cap, char *why, size_t why_size) {
    if (!(cap & CAP_WALK_4)) return lacks("four-level ept", why, why_size);
    if (!(cap & CAP_WRITE_BACK)) return lacks("write-back ept tables", why, why_size);
    if (!(cap & CAP_2M)) return lacks("2 MiB ept pages", why, why_size);
    if (!(cap & CAP_INVEPT) || !(cap & (CAP_INVEPT_SINGLE | CAP_INVEPT_ALL))) return lacks("invept", why, why_size);
    return 0;
}

static void keep(const u32 words[WORDS], u64 cap) {
    const u64 fixed0 = rdmsr(MSR_VMX_CR0_FIXED0);
    const u32 fixed1 = (u32)rdmsr(MSR_VMX_CR0_FIXED1);

    vmx.revision = (u32)rdmsr(MSR_VMX_BASIC) & 0x7fffffff;
    vmx.pin = words[PIN];
    vmx.proc = words[PROC];
    vmx.secondary = words[SECONDARY];
    vmx.exit = words[EXIT];
    vmx.entry = words[ENTRY] & ~ENTRY_IA32E; /* set from the guest's EFER.LMA */
    /* Unrestricted guests may run without PE and PG. SDM Vol 3C, Unrestricted Guests. */
    vmx.cr0_ones = fixed0 & ~(CR0_PE | CR0_PG);
    /* CD and NW stay clear: the caches are shared, and exits do not restore them for the host. */
    vmx.cr0_mask = vmx.cr0_ones | (u32)~fixed1 | CR0_CD | CR0_NW;
    vmx.timer = vmx.pin & PIN_PREEMPTION_TIMER;
    vmx.timer_shift = (u32)rdmsr(MSR_VMX_MISC) & 31;
    vmx.vpid = vmx.secondary & PROC2_VPID;
    vmx.pat = (vmx.exit & EXIT_LOAD_PAT) && (vmx.entry & ENTRY_LOAD_PAT);
    vmx.invept_type = cap & CAP_INVEPT_SINGLE ? 1 : 2;
    vmx.invvpid_type = cap & CAP_INVVPID_SINGLE ? 1 : 2;
}

/* Optional controls that are useless alone. */
static void drop_halves(u32 words[WORDS], u64 cap) {
    if (!(cap & CAP_INVVPID) || !(cap & (CAP_INVVPID_SINGLE | CAP_INVVPID_ALL))) words[SECONDARY] &= ~PROC2_VPID;
    /* SDM Vol 3C, Checks on VMX Controls: delivery needs the shadow, which nothing else here does. */
    if (!(words[PROC] & PROC_TPR_SHADOW)) words[SECONDARY] &= ~PROC2_DELIVERY;
    if (!(words[SECONDARY] & PROC2_DELIVERY)) words[PROC] &= ~PROC_TPR_SHADOW;
    if (!(words[ENTRY] & ENTRY_LOAD_PAT) || !(words[EXIT] & EXIT_LOAD_PAT)) {
        words[ENTRY] &= ~ENTRY_LOAD_PAT;
        words[EXIT] &= ~(EXIT_LOAD_PAT | EXIT_SAVE_PAT);
    }
}

static void summarize(struct vendor_caps *caps, const u32 words[WORDS]) {
    char *out = caps->summary;
    size_t size = sizeof(caps->summary), at;
    const char *separator = "; lacks ";

    at = fmt(out, size, "ept with 4K, 2M%s%s%s", caps->max_leaf == 3 ? ", 1G" : "", vmx.vpid ? ", vpid" : "",
             vmx.timer ? ", preemption timer" : "");
    if (caps->max_leaf < 3 && at < size) {
        at += fmt(out + at, size - at, "%s1G pages", separator);
        separator = ", ";
    }
    for (u32 i = 0; i < ARRAY_SIZE(optional) && at < size; i++) {
        if (!optional[i].name || (words[optional[i].word] & optional[i].bit) == optional[i].bit) continue;
        at += fmt(out + at, size - at, "%s%s", separator, optional[i].name);
        separator = ", ";
    }
}

int vmx_probe(struct vendor_caps *caps, char *why, size_t why_size) {
    u32 words[WORDS];
    u64 cap;
    int error;

    if (!(cpuid(1, 0).ecx & CPUID_1_ECX_VMX)) {
        fmt(why, why_size, "this processor offers no VMX (Intel VT-x)|%s", REMEDY);
        return -E_UNSUPPORTED;
    }
    error = vmx_unlock(why, why_size);
    if (error) return error;
    error = choose_controls(words, why, why_size);
    if (error) return error;
    cap = rdmsr(MSR_VMX_EPT_VPID);
    error = check_ept(cap, why, why_size);
    if (error) return error;
    drop_halves(words, cap);
    if (caps->avoid_timer) words[PIN] &= ~PIN_PREEMPTION_TIMER;
    keep(words, cap);
    vmx.longest_run = (u64)(~0u - 1) << vmx.timer_shift; /* what 32 bits can hold */
    if (caps->longest_run && caps->longest_run < vmx.longest_run) vmx.longest_run = caps->longest_run;
    caps->max_leaf = cap & CAP_1G ? 3 : 2;
    caps->next_rip = true;
    caps->timer = vmx.timer;
    /* SDM Vol 3C, Secondary Processor-Based VM-Execution Controls: without these a guest's are #UD. */
    caps->no_rdtscp = !(words[SECONDARY] & PROC2_RDTSCP);
    caps->no_invpcid = !(words[SECONDARY] & PROC2_INVPCID);
    caps->multihit = has_multihit();
    /* Tables of guest and host, and EPT, have levels of their own. SDM Vol 3D, VMX-Fixed Bits in CR4. */
    caps->la57 = rdmsr(MSR_VMX_CR4_FIXED1) & CR4_LA57;
    summarize(caps, words);
    return 0;
}
