/* What a partition that starts anew finds in its processor: nothing of its last run. Memory is looked at by
 * memory.c. Checked before each deed, and made dirty then, so that the next run has something to find. */
#include "core/base/bits.h"
#include "guests/attack/attack.h"

#define MARK 0x5ec7e75ec7e75ec8ull

static const struct {
    u32 msr;
    u64 fresh, dirty;
} registers[] = {
    {MSR_STAR, 0, MARK},
    {MSR_LSTAR, 0, 0x123456789000},
    {MSR_CSTAR, 0, 0x123456789000},
    {MSR_SFMASK, 0, 0x700},
    {MSR_KERNEL_GS_BASE, 0, 0x123456789000},
    {MSR_SYSENTER_CS, 0, 0x10},
    {MSR_SYSENTER_ESP, 0, 0x123456789000},
    {MSR_SYSENTER_EIP, 0, 0x123456789000},
    {MSR_PAT, 0x0007040600070406, 0x0606060606060606},
    {MSR_FS_BASE, 0, 0x123456789000},
    {MSR_TSC_ADJUST, 0, 1},
    {MSR_MTRR_BASE0 + 14, 0, 0x1000006},
    {MSR_MTRR_BASE0 + 15, 0, 0xff000800},
};

static void breach(const char *what, u64 value) {
    print("attack: leftovers BREACH %s is 0x%lx at start\n", what, value);
}

#define DEBUG_REGISTER(n, fresh, dirty)                                                                                \
    do {                                                                                                               \
        u64 value_;                                                                                                    \
        __asm__ volatile("movq %%dr" #n ", %0" : "=r"(value_));                                                        \
        if (value_ != (fresh)) breach("dr" #n, value_);                                                                \
        __asm__ volatile("movq %0, %%dr" #n ::"r"((u64)(dirty)));                                                      \
    } while (0)

/* x87, SSE and their control registers, by the area that FXSAVE writes (SDM Vol 1, FXSAVE Area). */
static void vector_state(void) {
    static u8 area[512] __attribute__((aligned(16)));
    static const u64 mark[2] = {MARK, MARK};
    u32 strange = 0, mxcsr = 0x9f80;

    write_cr4(read_cr4() | CR4_OSFXSR);
    __asm__ volatile("fxsave64 %0" : "=m"(area));
    for (u32 i = 2; i < 416; i++) strange += (i < 24 || i >= 32) && area[i]; /* FSW, FTW, FOP, FIP, FDP; registers */
    if (strange) breach("a vector register", strange);
    if (area[0] != 0x7f || area[1] != 0x03) breach("fcw", area[0]);
    if (area[24] != 0x80 || area[25] != 0x1f) breach("mxcsr", area[24]);
    __asm__ volatile("fld1\n\tldmxcsr %0\n\tmovups %1, %%xmm0\n\tmovups %1, %%xmm15" ::"m"(mxcsr), "m"(mark));
}

/* AVX, AVX-512 and what else XCR0 may hold: the standard format of XSAVE, behind its header (SDM Vol 1, XSAVE Area). */
static void extended_state(void) {
    static u8 area[4096] __attribute__((aligned(64)));
    struct cpuid_result all = cpuid(0xd, 0);
    u32 low, high, strange = 0;

    if (!(cpuid(1, 0).ecx & BIT(26)) || all.ecx > sizeof(area)) return;
    write_cr4(read_cr4() | CR4_OSXSAVE);
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (low != 1 || high) breach("xcr0", low);
    __asm__ volatile("xsetbv" ::"c"(0), "a"(all.eax), "d"(all.edx));
    __asm__ volatile("xsave64 %0" : "+m"(area) : "a"(all.eax), "d"(all.edx));
    for (u32 i = 576; i < all.ecx; i++) strange += area[i] != 0;
    if (strange) breach("a part of a vector register", strange);
    for (u32 i = 576; i < all.ecx; i++) area[i] = 0x5a;
    for (u32 i = 512; i < 576; i++) area[i] = i < 516 ? (u8)(all.eax >> 8 * (i - 512)) : 0;
    __asm__ volatile("xrstor64 %0" ::"m"(area), "a"(all.eax & ~3u), "d"(all.edx));
}

/* RDTSCP and RDPID read it. APM Vol 2, TSC_AUX; SDM Vol 4. */
static void tsc_aux(void) {
    u64 value;

    if (!(cpuid(0x80000001, 0).edx & BIT(27)) && !(cpuid(7, 0).ecx & BIT(22))) return;
    value = rdmsr(MSR_TSC_AUX);
    if (value) breach("tsc_aux", value);
    wrmsr(MSR_TSC_AUX, 0x5ec7);
}

void leftover_state(void) {
    u64 value;

    DEBUG_REGISTER(0, 0, MARK & 0xffffffff);
    DEBUG_REGISTER(1, 0, MARK & 0xffffffff);
    DEBUG_REGISTER(2, 0, MARK & 0xffffffff);
    DEBUG_REGISTER(3, 0, MARK & 0xffffffff);
    DEBUG_REGISTER(6, 0xffff0ff0, 0xffff4ff0); /* BS */
    DEBUG_REGISTER(7, 0x400, 0xd0000400);      /* a kind and a length, not enabled */
    for (u32 i = 0; i < ARRAY_SIZE(registers); i++) {
        value = rdmsr(registers[i].msr);
        if (value != registers[i].fresh) breach("an msr", registers[i].msr);
        wrmsr(registers[i].msr, registers[i].dirty);
    }
    __asm__ volatile("movq %%cr2, %0" : "=r"(value));
    if (value) breach("cr2", value);
    __asm__ volatile("movq %0, %%cr2" ::"r"(MARK));
    __asm__ volatile("movq %%cr8, %0" : "=r"(value));
    if (value) breach("cr8", value);
    __asm__ volatile("movq %0, %%cr8" ::"r"(1ull));
    vector_state();
    extended_state();
    tsc_aux();
}
