/* What this processor's SVM offers. Boot core, before start. Source: APM Vol 2, Enabling SVM; APM Vol 3, CPUID
 * Fn8000_000A. */
#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/x86.h"
#include "svm/svm.h"

#define FEATURE_NPT        BIT(0)
#define FEATURE_NRIPS      BIT(3)
#define FEATURE_FLUSH_ASID BIT(6)

bool svm_next_rip __attribute__((section(".late")));
bool svm_flush_by_asid __attribute__((section(".late")));
bool svm_cr4_exits __attribute__((section(".late")));

/* Has this processor a feature with a bit in CR4 that no guest's CPUID shows? APM Vol 3, CPUID Fn0000_0007: protection
 * keys, shadow stacks, supervisor keys; IBT; FRED and what else subleaf 1 may bring. */
static bool has_hidden_cr4(void) {
    struct cpuid_result r = cpuid_has_leaf(7) ? cpuid(7, 0) : (struct cpuid_result){0};

    return (r.ecx & (BIT(3) | BIT(7) | BIT(31))) || (r.edx & BIT(20)) ||
           (r.eax && (cpuid(7, 1).eax & (BIT(6) | BIT(17) | BIT(26))));
}

int svm_probe(struct vendor_caps *caps, char *why, size_t why_size) {
    struct cpuid_result r;
    bool giant;

    if (!cpuid_has_leaf(0x8000000a)) {
        fmt(why, why_size,
            "SVM is announced, but its features (CPUID 8000000AH) are missing|use a processor with nested paging");
        return -E_UNSUPPORTED;
    }
    r = cpuid(0x8000000a, 0);
    if (rdmsr(MSR_VM_CR) & VM_CR_SVMDIS) {
        fmt(why, why_size, "SVM is locked off by the firmware|enable SVM (AMD-V) in the firmware's setup");
        return -E_UNSUPPORTED;
    }
    if (!(r.edx & FEATURE_NPT)) {
        fmt(why, why_size,
            "this processor lacks nested paging (NPT)|use one that has it; in an emulator switch npt on");
        return -E_UNSUPPORTED;
    }
    svm_next_rip = r.edx & FEATURE_NRIPS;
    svm_flush_by_asid = r.edx & FEATURE_FLUSH_ASID;
    svm_cr4_exits = has_hidden_cr4();
    giant = cpuid(0x80000001, 0).edx & BIT(26);
    *caps = (struct vendor_caps){
        .max_leaf = giant ? 3 : 2,
        .next_rip = svm_next_rip,
        .la57 = true, /* whatever levels the host and its nested tables have: APM Vol 2, Nested Paging */
    };
    fmt(caps->summary, sizeof(caps->summary), "revision %u, %u asids, nested paging with pages up to %s%s%s",
        r.eax & 0xff, r.ebx, giant ? "1 GiB" : "2 MiB",
        svm_next_rip ? ", next rip" : "; no next rip: instruction lengths are decoded",
        svm_flush_by_asid ? ", flush by asid" : "; no flush by asid");
    return 0;
}
