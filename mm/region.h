/* The region list: what a partition's guest-physical space is made of. Stage-2 tables, IOMMU
 * tables, E820, ACPI tables and the ownership report are drawn from it and from nothing else. Pure
 * data; read-only after start. */
#pragma once

#include "core/base/types.h"

enum region_rights {
    RIGHT_READ = 1,
    RIGHT_WRITE = 2,
    RIGHT_EXEC = 4,
    RIGHT_USER = 8, /* host tables never set it; NPT tables always do (APM Vol 2, Nested Paging) */
};
#define RIGHTS_RWX (RIGHT_READ | RIGHT_WRITE | RIGHT_EXEC)

enum memory_type { MEM_WB, MEM_UC };

enum region_kind {
    REGION_RAM,      /* E820 type 1 */
    REGION_RESERVED, /* backed by RAM, E820 type 2: BIOS area with the ACPI tables */
    REGION_DEVICE,   /* machine device memory passed straight through */
};

struct region {
    gpa_t gpa;
    hpa_t hpa;
    u64 bytes; /* a multiple of 4 KiB */
    u32 rights;
    enum memory_type memtype;
    enum region_kind kind;
};

/* A partition's memory as the hypervisor (or a test) reaches it: host virtual = host physical +
 * hva_offset. regions: sorted by gpa, without overlap. */
struct gmem {
    const struct region *regions;
    u32 count;
    u64 hva_offset;
    bool ecam; /* PCI configuration space lies at GUEST_ECAM_BASE: reserved in E820, and nothing behind it */
};

/* Where [at, at + bytes) can be reached, or NULL if it is not wholly inside one RAM or RESERVED
 * region (or, with `write`, that region is read-only). Any core that runs the partition. */
void *gmem_ptr(const struct gmem *mem, gpa_t at, u64 bytes, bool write);
/* Copies across region borders. Returns 0, or -E_RANGE with nothing copied. */
int gmem_read(const struct gmem *mem, gpa_t at, void *to, u64 bytes) must_check;
int gmem_write(const struct gmem *mem, gpa_t at, const void *from, u64 bytes) must_check;
/* Sets bytes to zero. Returns 0, or -E_RANGE with nothing changed. */
int gmem_zero(const struct gmem *mem, gpa_t at, u64 bytes) must_check;

/* Guest-physical map of the small PC. */
#define GUEST_LOWMEM_END   0xa0000ull    /* RAM below; then the VGA hole, not granted */
#define GUEST_BIOS_BASE    0xe0000ull    /* RESERVED, holds the ACPI tables, to 1 MiB */
#define GUEST_ROM_SHADOW   0xc0000ull    /* memory from here to 1 MiB, if a firmware image is to run */
#define GUEST_ROM_MAX      MIB(16)       /* such an image ends at 4 GiB, above the local APICs */
#define GUEST_HIGHMEM_BASE 0x100000ull   /* RAM from 1 MiB */
#define GUEST_PCI_HOLE     0xc0000000ull /* RAM ends here and goes on at 4 GiB */
#define GUEST_ECAM_BASE    0xfe900000ull /* PCI configuration space of bus 0: 1 MiB */
#define GUEST_ECAM_BYTES   0x100000ull
#define GUEST_IOAPIC_BASE  0xfec00000ull
#define GUEST_HPET_BASE    0xfed00000ull
#define GUEST_LAPIC_BASE   0xfee00000ull

/* One aligned piece of host memory that backs part of a partition. */
struct piece {
    hpa_t base;
    u64 bytes;
};

/* Draws the region list for `memory` bytes (a multiple of 4 KiB, at least 1 MiB) laid over `pieces`
 * in order: guest address 0 is the first byte of pieces[0], the VGA hole's bytes stay unused, the
 * first byte behind the PCI hole follows the last one before it. out: room for `max` entries.
 * Returns the number of regions, or -E_INVAL, -E_NOMEM (max too small). */
int region_list_build(const struct piece *pieces, u32 piece_count, u64 memory, struct region *out, u32 max) must_check;
/* Adds to a list of `count` what a firmware image needs: `bytes` at `rom`, read-only, up to 4 GiB, and memory from
 * GUEST_ROM_SHADOW on, out of the VGA hole's unused bytes. out: room for one more. */
void region_add_firmware(struct region *out, u32 count, hpa_t rom, u64 bytes);
