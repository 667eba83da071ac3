/* The feature bits that guests may see, by leaf and register: the allow-list itself. A bit is
 * listed if its instructions need no host state beyond XCR0 and no MSR that msr.c denies.
 * Sources: SDM Vol 2A, CPUID; APM Vol 3, appendix E. For core/policy only. */
#pragma once

#include "core/base/types.h"

#define B(n) (1u << (n))

/* XCR0. SDM Vol 1, Managing State Using the XSAVE Feature Set. */
#define XCR0_X87    0x01ull
#define XCR0_SSE    0x02ull
#define XCR0_AVX    0x04ull
#define XCR0_AVX512 0xe0ull
#define XCR0_PARTS  8u /* bits 0 to 7 */

#define XSAVE_LEGACY_BYTES 576u /* x87 and SSE state, and the header */

/* Leaf 1. Left out of ECX: DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, CNXT-ID, SDBG, xTPR, PDCM,
 * DCA. Out of EDX: PSN, DS, ACPI, SS, TM, PBE. */
#define L1_EBX_CLFLUSH 0x0000ff00u
#define L1_ECX_PLAIN                                                                                                   \
    (B(0) | B(1) | B(9) | B(13) | B(17) | B(19) | B(20) | B(22) | B(23) | B(25) |                                      \
     B(30)) /* SSE3 PCLMUL SSSE3 CX16 PCID SSE4.1 SSE4.2 MOVBE POPCNT AES RDRAND */
#define L1_ECX_XSAVE   B(26)
#define L1_ECX_OSXSAVE B(27)
#define L1_ECX_AVX     (B(12) | B(28) | B(29)) /* FMA AVX F16C */
/* x2APIC and the TSC deadline are emulated on any machine; bit 31 says that a hypervisor is here.
 */
#define L1_ECX_ALWAYS (B(21) | B(24) | B(31))
/* FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2 */
#define L1_EDX_PLAIN                                                                                                   \
    (B(0) | B(1) | B(2) | B(3) | B(4) | B(5) | B(6) | B(7) | B(8) | B(9) | B(11) | B(12) | B(13) | B(14) | B(15) |     \
     B(16) | B(17) | B(19) | B(23) | B(24) | B(25) | B(26))
#define L1_EDX_APIC B(9)
#define L1_EDX_HTT  B(28)

#define L6_EAX_ARAT B(2)

/* Leaf 7. TSC_ADJUST is kept by hand on any machine. Left out of EBX: SGX, HLE, RTM, PQM, MPX, PQE, PT. Bits 6 and 13
 * say how the FPU behaves. */
#define L7_EBX_ALWAYS B(1)
#define L7_EBX_PLAIN                                                                                                   \
    (B(0) | B(3) | B(6) | B(7) | B(8) | B(9) | B(10) | B(13) | B(18) | B(19) | B(20) | B(23) | B(24) |                 \
     B(29))                 /* FSGSBASE BMI1 SMEP BMI2 ERMS INVPCID RDSEED ADX SMAP CLFLUSHOPT CLWB SHA */
#define L7_EBX_AVX     B(5) /* AVX2 */
#define L7_EBX_INVPCID B(10)
#define L7_ECX_RDPID   B(22)
#define L7_EBX_AVX512  (B(16) | B(17) | B(21) | B(26) | B(27) | B(28) | B(30) | B(31)) /* F DQ IFMA PF ER CD BW VL */
/* Left out of ECX: PKU, OSPKE, WAITPKG, CET, MAWAU, bus lock, key locker, ENQCMD, SGX, PKS. */
#define L7_ECX_PLAIN  (B(2) | B(8) | B(22) | B(27) | B(28)) /* UMIP GFNI RDPID MOVDIRI MOVDIR64B */
#define L7_ECX_LA57   B(16)
#define L7_ECX_AVX    (B(9) | B(10))                        /* VAES VPCLMULQDQ */
#define L7_ECX_AVX512 (B(1) | B(6) | B(11) | B(12) | B(14)) /* VBMI VBMI2 VNNI BITALG VPOPCNTDQ */
/* Left out of EDX: all that SPEC_CTRL, PRED_CMD, FLUSH_CMD, ARCH_CAPABILITIES or CORE_CAPABILITIES
 * stand behind, CET, AMX, user interrupts, PCONFIG, LBR. */
#define L7_EDX_PLAIN  (B(4) | B(10) | B(14))       /* FSRM MD_CLEAR SERIALIZE */
#define L7_EDX_AVX512 (B(2) | B(3) | B(8) | B(23)) /* 4VNNIW 4FMAPS VP2INTERSECT FP16 */

/* Level types of leaf 0xb, ECX[15:8]. */
#define L_B_SMT  1u
#define L_B_CORE 2u

#define LD_ECX_ALIGN B(1) /* the part starts at 64 bytes in a compacted area */
/* XSAVEOPT, XGETBV with ECX = 1. Not XSAVEC: without XSAVES, which is not offered, no real
 * processor has it, and Bochs 2.7 refuses to restore what its own XSAVEC stored. */
#define LD1_EAX_PLAIN (B(0) | B(2))

/* Leaf 0x80000001. Left out of ECX: SVM, ExtApicSpace, AltMovCr8 (not decoded), OSVW, IBS, SKINIT, WDT, LWP, the
 * performance counters, DataBreakpoint, MONITORX. */
#define E1_ECX_PLAIN      (B(0) | B(5) | B(6) | B(7) | B(8)) /* LAHF LZCNT SSE4A MisAlignSse PREFETCHW */
#define E1_ECX_AVX        (B(11) | B(16))                    /* XOP FMA4 */
#define E1_ECX_CMP_LEGACY B(1)
#define E1_ECX_TOPOEXT    B(22)
/* SYSCALL NX MmxExt Page1GB RDTSCP LM. Left out: FFXSR (its EFER bit), 3DNow. */
#define E1_EDX_PLAIN    (B(11) | B(20) | B(22) | B(26) | B(27) | B(29))
#define E1_EDX_RDTSCP   B(27)
#define E1_EDX_AMD_COPY (L1_EDX_PLAIN & 0x0183f3ffu) /* the bits that repeat leaf 1 */

/* Leaf 0x40000101: two MSRs of the clock, whose time is the same on all vCPUs. No other part of KVM's interface. */
#define KVM_CLOCKSOURCE2       B(3)
#define KVM_CLOCKSOURCE_STABLE B(24)

#define E7_EDX_INVARIANT_TSC B(8)
#define E8_EBX_PLAIN         (B(0) | B(2))        /* CLZERO; FXSAVE always keeps error pointers */
#define E1A_EAX_PLAIN        (B(0) | B(1) | B(2)) /* how wide the FPU works */
#define E21_EAX_PLAIN        (B(2) | B(6))        /* LFENCE serialises; null selectors clear base */
