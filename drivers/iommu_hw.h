/* How the IOMMU drivers reach registers, caches and time; a unit test puts a made-up unit behind the same names. */
#pragma once

#include "core/base/types.h"

#ifdef HOST_BUILD
#include "test/unit/iommu_machine.h"
#else
#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/layout.h"

static inline u32 iommu_read32(u64 at) { return *(volatile u32 *)(at + DIRECT_BASE); }
static inline u64 iommu_read64(u64 at) { return *(volatile u64 *)(at + DIRECT_BASE); }
/* What was written to memory before is there before the register is written: both to compiler and processor. */
static inline void iommu_write32(u64 at, u32 value) {
    __asm__ volatile("movl %1, %0" : "=m"(*(volatile u32 *)(at + DIRECT_BASE)) : "r"(value) : "memory");
}
static inline void iommu_write64(u64 at, u64 value) {
    __asm__ volatile("movq %1, %0" : "=m"(*(volatile u64 *)(at + DIRECT_BASE)) : "r"(value) : "memory");
}
/* Ticks of the TSC. */
static inline u64 iommu_clock(void) {
    cpu_pause();
    return rdtsc();
}
/* Writes the cache line of `at` to memory, out of every core's cache. SDM Vol 2A, CLFLUSH. */
static inline void iommu_flush(const void *at) { __asm__ volatile("clflush (%0)" ::"r"(at) : "memory"); }
static inline bool iommu_can_flush(void) { return cpuid(1, 0).edx & BIT(19); }
/* All that this core has written. */
static inline void iommu_flush_all(void) { __asm__ volatile("wbinvd" ::: "memory"); }
/* What a unit is told of memory in the direct map. */
static inline u64 iommu_address(const void *at) { return (u64)at - DIRECT_BASE; }
static inline void *iommu_pointer(u64 address) { return (void *)(address + DIRECT_BASE); }
#endif
