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
};

static void breach(const char *what, u64 value) {
    print("attack: leftovers BREACH %s is 0x%lx at start\n", what, value);
}

#define DEBUG_REGISTER(n)                                                                                              \
    do {                                                                                                               \
        u64 value_;                                                                                                    \
        __asm__ volatile("movq %%dr" #n ", %0" : "=r"(value_));                                                        \
        if (value_) breach("dr" #n, value_);                                                                           \
        __asm__ volatile("movq %0, %%dr" #n ::"r"(MARK & 0xffffffff));                                                 \
    } while (0)

/* x87, SSE and their control registers, by the area that FXSAVE writes (SDM Vol 1, FXSAVE Area). */
static void vector_state(void) {
    static u8 area[512] __attribute__((aligned(16)));
    static const u64 mark[2] = {MARK, MARK};
    u32 strange = 0, mxcsr = 0x9f80;

    write_cr4(read_cr4() | CR4_OSFXSR);
    __asm__ volatile("fxsave64 %0" : "=m"(area));
    for (u32 i = 32; i < 416; i++) strange += area[i] != 0;
    if (strange) breach("a vector register", strange);
    if (area[0] != 0x7f || area[1] != 0x03) breach("fcw", area[0]);
    if (area[24] != 0x80 || area[25] != 0x1f) breach("mxcsr", area[24]);
    __asm__ volatile("fld1\n\tldmxcsr %0\n\tmovups %1, %%xmm0\n\tmovups %1, %%xmm15" ::"m"(mxcsr), "m"(mark));
}

void leftover_state(void) {
    u64 value;

    DEBUG_REGISTER(0);
    DEBUG_REGISTER(1);
    DEBUG_REGISTER(2);
    DEBUG_REGISTER(3);
    for (u32 i = 0; i < ARRAY_SIZE(registers); i++) {
        value = rdmsr(registers[i].msr);
        if (value != registers[i].fresh) breach("an msr", registers[i].msr);
        wrmsr(registers[i].msr, registers[i].dirty);
    }
    __asm__ volatile("movq %%cr2, %0" : "=r"(value));
    if (value) breach("cr2", value);
    __asm__ volatile("movq %0, %%cr2" ::"r"(MARK));
    vector_state();
}
