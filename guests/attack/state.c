/* Control and debug registers, bit by bit: what a guest may not have must be refused, and what it
 * may have must not reach the host. */
#include "core/base/bits.h"
#include "guests/attack/attack.h"

#define PLAIN_STEPS 100u

static void set_cr0(void *argument) { write_cr0(*(const u64 *)argument); }
static void set_cr4(void *argument) { write_cr4(*(const u64 *)argument); }
static void set_cr8(void *argument) { __asm__ volatile("movq %0, %%cr8" ::"r"(*(const u64 *)argument)); }
static void set_dr6(void *argument) { __asm__ volatile("movq %0, %%dr6" ::"r"(*(const u64 *)argument)); }
static void set_dr7(void *argument) { __asm__ volatile("movq %0, %%dr7" ::"r"(*(const u64 *)argument)); }

static void cr0(void) {
    u64 old = read_cr0();

    for (u32 bit = 0; bit < 64; bit++) {
        u64 value = old ^ BIT(bit);

        if (lenient() && (BIT(bit) == CR0_PE || BIT(bit) == CR0_PG))
            continue; /* QEMU leaves long mode, and the program with it */
        if (!lenient() && (bit >= 32 || BIT(bit) == CR0_PE || BIT(bit) == CR0_PG))
            must_fault(set_cr0, &value, FAULT(VEC_GP), "cr0 bit", bit);
        else
            may_fault(set_cr0, &value, FAULT(VEC_GP), "cr0 bit", bit);
        write_cr0(old);
    }
    check(read_cr0() == old, "cr0 is 0x%lx", read_cr0());
}

static void cr4(void) {
    const u64 never = CR4_PAE | CR4_LA57 /* in long mode */ | CR4_VMXE | CR4_SMXE | CR4_CET;
    const u64 harmless = 0xfff & ~(u64)CR4_PAE;
    u64 old = read_cr4();

    for (u32 bit = 0; bit < 64; bit++) {
        u64 value = old ^ BIT(bit);

        if (lenient() && !(BIT(bit) & harmless)) continue; /* the next entry fails, or long mode ends */
        if (bit >= 24 || (BIT(bit) & never))
            must_fault(set_cr4, &value, FAULT(VEC_GP), "cr4 bit", bit);
        else
            may_fault(set_cr4, &value, FAULT(VEC_GP), "cr4 bit", bit);
        write_cr4(old);
    }
    check(read_cr4() == old, "cr4 is 0x%lx", read_cr4());
}

static void cr8(void) {
    for (u64 value = 0; value < 64; value++) {
        if (value < 16)
            may_fault(set_cr8, &value, 0, "cr8", value);
        else
            must_fault(set_cr8, &value, FAULT(VEC_GP), "cr8", value);
    }
    for (u32 bit = 4; bit < 64; bit++) {
        u64 value = BIT(bit);
        must_fault(set_cr8, &value, FAULT(VEC_GP), "cr8", value);
    }
    __asm__ volatile("movq %0, %%cr8" ::"r"(0ull));
}

static void debug_registers(void) {
    u64 value, off = 0x400;

    for (u32 i = 0; i < 64; i++) {
        value = i < 32 ? BIT(i) : ~0ull << i;
        if (i >= 32) {
            must_fault(set_dr6, &value, FAULT(VEC_GP), "dr6", value);
            must_fault(set_dr7, &value, FAULT(VEC_GP), "dr7", value);
        } else {
            may_fault(set_dr6, &value, FAULT(VEC_DB), "dr6", value);
            may_fault(set_dr7, &value, FAULT(VEC_DB), "dr7", value);
        }
        (void)fault_try(set_dr7, &off);
    }
    /* Breakpoints on all of the hypervisor's half of the address space: they are for this CPU's
     * guest only. */
    __asm__ volatile("movq %0, %%dr0\n\tmovq %1, %%dr1" ::"r"(0xffffffff80000000), "r"(0xffffffffa0008000));
    value = 0x4fd; /* DR0 execute, DR1 write of 1 byte; global and local */
    may_fault(set_dr7, &value, 0, "dr7", value);
    for (u32 i = 0; i < 64; i++) (void)cpuid(0, 0);
    __asm__ volatile("movq %0, %%dr7" ::"r"(off));
    check(true, "-");
}

static void xsetbv(void *argument) {
    u64 value = *(const u64 *)argument;
    __asm__ volatile("xsetbv" ::"c"(0), "a"((u32)value), "d"((u32)(value >> 32)));
}
static void xsetbv_index(void *argument) { __asm__ volatile("xsetbv" ::"c"(*(const u32 *)argument), "a"(1), "d"(0)); }

/* Components that the processor lacks, or half of a pair. */
static void xcr0(void) {
    u64 value;

    if (!(cpuid(1, 0).ecx & BIT(26))) return;
    write_cr4(read_cr4() | CR4_OSXSAVE);
    for (u32 bit = 0; bit < 64; bit++) {
        value = BIT(bit) & ~1ull; /* without x87 */
        must_fault(xsetbv, &value, FAULT(VEC_GP), "xcr0", value);
        value = BIT(bit) | 1;
        may_fault(xsetbv, &value, FAULT(VEC_GP), "xcr0", value);
        check(bit < 20 || fault_try(xsetbv, &value).raised, "xcr0 bit %u is taken", bit);
    }
    for (u32 index = 1; index < 64; index++) must_fault(xsetbv_index, &index, FAULT(VEC_GP), "xcr", index);
    value = 1;
    (void)fault_try(xsetbv, &value);
    write_cr4(read_cr4() & ~CR4_OSXSAVE);
}

/* Single steps over instructions that the hypervisor carries out. */
static void step_over(void *argument) {
    (void)argument;
    __asm__ volatile("pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\tcpuid\n\tcpuid" ::"a"(0), "c"(0) : "rbx", "rdx");
}
static void step_out(void *argument) {
    (void)argument;
    __asm__ volatile("pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\toutb %%al, $0x80\n\tnop" ::"a"(0));
}
static void step_mmio(void *argument) {
    (void)argument;
    __asm__ volatile("pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\tmovl (%0), %%eax\n\tnop" ::"r"((u64)HOLE) : "rax");
}
/* One that the hypervisor has nothing to do with. */
static void step_nop(void *argument) {
    (void)argument;
    __asm__ volatile("pushfq\n\torl $0x100, (%rsp)\n\tpopfq\n\tnop\n\tnop");
}
static void single_step(void) {
    for (u32 i = 0; i < PLAIN_STEPS; i++) must_fault(step_nop, NULL, FAULT(VEC_DB), "step over nop", i);
    must_fault(step_over, NULL, FAULT(VEC_DB), "step over cpuid", 0);
    must_fault(step_out, NULL, FAULT(VEC_DB), "step over out", 0);
    must_fault(step_mmio, NULL, FAULT(VEC_DB), "step over mmio", 0);
}

const struct attempt state_attempts[] = {
    {"cr0", cr0},
    {"cr4", cr4},
    {"cr8", cr8},
    {"debug-registers", debug_registers},
    {"xcr0", xcr0},
    {"single-step", single_step},
    {0},
};
