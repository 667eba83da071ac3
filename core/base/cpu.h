/* Single instructions that C cannot say. Hypervisor only: no pure module includes it. Layer 0. */
#pragma once

#include "core/base/bits.h"
#include "core/base/types.h"

static inline u64 rdmsr(u32 msr) {
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (u64)high << 32 | low;
}
static inline void wrmsr(u32 msr, u64 value) {
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

struct cpuid_result {
    u32 eax, ebx, ecx, edx;
};
static inline struct cpuid_result cpuid(u32 leaf, u32 sub) {
    struct cpuid_result r;
    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(sub));
    return r;
}
/* Highest leaf of the class that `base` starts (0 or 0x80000000). */
static inline bool cpuid_has_leaf(u32 leaf) {
    u32 max = cpuid(leaf & 0x80000000, 0).eax;
    return max >= leaf && (max & 0x80000000) == (leaf & 0x80000000);
}

/* RDTSCP and RDPID read IA32_TSC_AUX, and with either it is there. APM Vol 2, TSC_AUX; SDM Vol 4. */
static inline bool cpu_has_tsc_aux(void) {
    return (cpuid_has_leaf(0x80000001) && cpuid(0x80000001, 0).edx & BIT(27)) ||
           (cpuid_has_leaf(7) && cpuid(7, 0).ecx & BIT(22));
}

/* a * b / c with a 128-bit product. The quotient must fit into 64 bits, or the processor raises #DE. */
static inline u64 mul_div(u64 a, u64 b, u64 c) {
    u64 low, high, rest;
    __asm__("mulq %3" : "=a"(low), "=d"(high) : "a"(a), "rm"(b) : "cc");
    __asm__("divq %4" : "=a"(low), "=d"(rest) : "a"(low), "d"(high), "rm"(c) : "cc");
    return low;
}

static inline u64 rdtsc(void) {
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}

static inline u8 inb(u16 port) {
    u8 v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline u16 inw(u16 port) {
    u16 v;
    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline u32 inl(u16 port) {
    u32 v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port)); }
static inline void outw(u16 port, u16 v) { __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port)); }
static inline void outl(u16 port, u32 v) { __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port)); }

/* read_cr0() and so on. */
#define READ_REGISTER(name)                                                                                            \
    static inline u64 read_##name(void) {                                                                              \
        u64 v;                                                                                                         \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(v));                                                             \
        return v;                                                                                                      \
    }
READ_REGISTER(cr0)
static inline void write_cr0(u64 v) { __asm__ volatile("mov %0, %%cr0" ::"r"(v) : "memory"); }
READ_REGISTER(cr2)
static inline void write_cr2(u64 v) { __asm__ volatile("mov %0, %%cr2" ::"r"(v)); }
READ_REGISTER(cr3)
static inline void write_cr3(u64 v) { __asm__ volatile("mov %0, %%cr3" ::"r"(v) : "memory"); }
READ_REGISTER(cr4)
static inline void write_cr4(u64 v) { __asm__ volatile("mov %0, %%cr4" ::"r"(v) : "memory"); }

READ_REGISTER(dr6)
READ_REGISTER(dr0)
READ_REGISTER(dr1)
READ_REGISTER(dr2)
READ_REGISTER(dr3)
static inline void write_dr6(u64 v) { __asm__ volatile("mov %0, %%db6" ::"r"(v)); }
static inline u64 xgetbv0(void) {
    u32 low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (u64)high << 32 | low;
}
static inline void xsetbv0(u64 value) {
    __asm__ volatile("xsetbv" ::"c"(0), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

static inline void cpu_pause(void) { __asm__ volatile("pause" ::: "memory"); }
static inline void cpu_cli(void) { __asm__ volatile("cli" ::: "memory"); }
/* Takes the interrupts that wait. The instruction behind STI is still in its shadow. */
static inline void cpu_take_interrupts(void) { __asm__ volatile("sti; nop; cli" ::: "memory"); }
/* Waits for an interrupt with interrupts open, and closes them again. No interrupt is lost in between (STI shadow). */
static inline void cpu_wait_interrupt(void) { __asm__ volatile("sti; hlt; cli" ::: "memory"); }
/* The handler of an NMI or a machine check, as if it came now. */
static inline void cpu_take_nmi(void) { __asm__ volatile("int $2" ::: "memory"); }
static inline void cpu_take_machine_check(void) { __asm__ volatile("int $18" ::: "memory"); }
/* Fields of the current VMCS; false if it has no such field. VMsucceed leaves CF and ZF clear, which is the condition
 * "above". SDM Vol 3C, VMX Instruction Reference, Conventions. */
static inline bool cpu_vmread(u64 field, u64 *value) {
    bool ok;
    __asm__ volatile("vmread %[field], %[value]" : "=@cca"(ok), [value] "=r"(*value) : [field] "r"(field));
    return ok;
}
static inline bool cpu_vmwrite(u64 field, u64 value) {
    bool ok;
    __asm__ volatile("vmwrite %[value], %[field]" : "=@cca"(ok) : [field] "r"(field), [value] "r"(value));
    return ok;
}
/* Goes on at entry(0), which does not return, on other page tables and another stack. */
static inline noreturn_fn void cpu_go_on(u64 cr3, u64 stack, void (*entry)(u32)) {
    __asm__ volatile("mov %0, %%cr3\n\t"
                     "mov %1, %%rsp\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "push $0\n\t"
                     "jmp *%2"
                     :
                     : "a"(cr3), "d"(stack), "c"(entry), "D"(0) /* rbp would be cleared */
                     : "memory");
    __builtin_unreachable();
}
static inline noreturn_fn void cpu_halt_forever(void) {
    for (;;) __asm__ volatile("cli; hlt" ::: "memory");
}
