/* The address space of a core in host mode. Boot core, before start. */
#pragma once

#include "core/boot_info.h"
#include "core/partition.h"
#include "mm/pagetable.h"

extern const u8 image_start[], init_end[], text_end[], rodata_end[], late_end[], image_end[]; /* linker.ld */

/* Memory for page tables and all else that lives below 4 GiB: zeroed. Returns its address in the direct map; refuses to
 * start if there is none. */
void *hostspace_take(u64 bytes);
hpa_t hostspace_pa(const void *taken);
extern const struct pt_mem hostspace_mem;

/* The boot core's first own space: image with W^X, all memory at DIRECT_BASE. Switches to it. */
void hostspace_boot(struct boot_info *boot);
/* Data that every core reads: mapped read-only in each space built afterwards; and data that every core writes. */
void hostspace_share(const void *at, u64 bytes, bool write);
/* Registers (MEM_UC) or memory that the cores of partitions with devices use, with an IOMMU those of every partition:
 * mapped in this space too. */
void hostspace_share_devices(u64 at, u64 bytes, enum memory_type memtype);
/* Machine memory beyond the direct map, for the boot core until it has its final space. */
void hostspace_reach(u64 at, u64 bytes, enum memory_type memtype);
/* A core's final space: image, its own local pages (allocated here), shared data, the I/O APICs, and the partition that
 * runs there or NULL. Returns cr3 and, at *local, the local pages' address in the boot core's space. */
u64 hostspace_core(struct partition *p, void **local, hpa_t *vendor_page);
