/* Single instructions as functions, for bare-metal programs. Nothing here keeps state. */
#pragma once

#include "core/base/types.h"
#include "core/base/x86.h"

static inline u8 in8(u16 port) {
    u8 v;
    __asm__ volatile("inb %w1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline u16 in16(u16 port) {
    u16 v;
    __asm__ volatile("inw %w1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline u32 in32(u16 port) {
    u32 v;
    __asm__ volatile("inl %w1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline void out8(u16 port, u8 v) { __asm__ volatile("outb %0, %w1" ::"a"(v), "Nd"(port)); }
static inline void out16(u16 port, u16 v) { __asm__ volatile("outw %0, %w1" ::"a"(v), "Nd"(port)); }
static inline void out32(u16 port, u32 v) { __asm__ volatile("outl %0, %w1" ::"a"(v), "Nd"(port)); }

static inline u32 mmio_read32(u64 address) { return *(volatile u32 *)address; }
static inline void mmio_write32(u64 address, u32 v) { *(volatile u32 *)address = v; }

static inline u64 rdmsr(u32 msr) {
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (u64)high << 32 | low;
}
static inline void wrmsr(u32 msr, u64 v) {
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}

struct cpuid_result {
    u32 eax, ebx, ecx, edx;
};
static inline struct cpuid_result cpuid(u32 leaf, u32 subleaf) {
    struct cpuid_result r;
    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

/* Fenced on both sides, so that what is measured stays between two calls. SDM Vol 2B, RDTSC. */
static inline u64 rdtsc(void) {
    u32 low, high;
    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high)::"memory");
    return (u64)high << 32 | low;
}

static inline void cpu_pause(void) { __asm__ volatile("pause" ::: "memory"); }
static inline void interrupts_on(void) { __asm__ volatile("sti" ::: "memory"); }
static inline void interrupts_off(void) { __asm__ volatile("cli" ::: "memory"); }
/* Enables interrupts and halts. The shadow of STI closes the gap in which a wake-up could be lost
 * (SDM Vol 2B, STI); interrupts are off again on return. */
static inline void wait_for_interrupt(void) { __asm__ volatile("sti\n\thlt\n\tcli" ::: "memory"); }
/* Returns the old RFLAGS, for interrupts_restore. */
static inline u64 interrupts_save(void) {
    u64 flags;
    __asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags)::"memory");
    return flags;
}
static inline void interrupts_restore(u64 flags) {
    if (flags & RFLAGS_IF) interrupts_on();
}
static inline noreturn_fn void cpu_stop(void) {
    for (;;) __asm__ volatile("cli\n\thlt" ::: "memory");
}

static inline u64 read_cr0(void) {
    u64 v;
    __asm__ volatile("movq %%cr0, %0" : "=r"(v)::"memory");
    return v;
}
static inline void write_cr0(u64 v) { __asm__ volatile("movq %0, %%cr0" ::"r"(v) : "memory"); }
static inline u64 read_cr2(void) {
    u64 v;
    __asm__ volatile("movq %%cr2, %0" : "=r"(v)::"memory");
    return v;
}
static inline u64 read_cr3(void) {
    u64 v;
    __asm__ volatile("movq %%cr3, %0" : "=r"(v)::"memory");
    return v;
}
static inline u64 read_cr4(void) {
    u64 v;
    __asm__ volatile("movq %%cr4, %0" : "=r"(v)::"memory");
    return v;
}
static inline void write_cr4(u64 v) { __asm__ volatile("movq %0, %%cr4" ::"r"(v) : "memory"); }
static inline void invlpg(u64 address) { __asm__ volatile("invlpg (%0)" ::"r"(address) : "memory"); }

/* AMD's, or Hygon's after its design; APM Vol 3, Function 0h: "cAMD" and "uine" in ECX. */
static inline bool processor_is_amd(void) {
    u32 name = cpuid(0, 0).ecx;

    return name == 0x444d4163 || name == 0x656e6975;
}
