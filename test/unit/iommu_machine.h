/* The machine behind drivers/iommu_hw.h in a unit test, which defines these functions. Addresses are pointers. */
#pragma once

#include "core/base/types.h"

u32 iommu_read32(u64 at);
u64 iommu_read64(u64 at);
void iommu_write32(u64 at, u32 value);
void iommu_write64(u64 at, u64 value);
u64 iommu_clock(void);
void iommu_flush(const void *at);
void iommu_flush_all(void);
bool iommu_can_flush(void);
static inline u64 iommu_address(const void *at) { return (u64)at; }
static inline void *iommu_pointer(u64 address) { return (void *)address; }
