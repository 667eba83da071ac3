/* The IVRS table: which AMD-Vi units there are, which functions each translates, and by which id a function's requests
 * are known to it. Pure: every byte of the table is untrusted. Source: AMD I/O Virtualization Technology (IOMMU)
 * Specification (48882), I/O Virtualization ACPI Table. */
#pragma once

#include "core/base/types.h"
#include "drivers/iommu.h"

#define IVRS_RANGES  1024u
#define IVRS_IOAPICS 32u

struct ivrs_unit {
    u64 registers;
    u32 id;         /* of its own PCI function: segment << 16 | requester id */
    u8 type, flags; /* of the block that describes it */
    bool efr;       /* has the Extended Feature Register */
    u32 features;   /* bits of that register that the table told instead */
};

struct ivrs_range {
    u32 first, last; /* with the segment */
    u32 unit, alias; /* alias: the requester id of them all, or IVRS_NONE */
    u8 settings;     /* of an I/O APIC or HPET: what its device table entry has to let pass (IVHD, DTE Setting) */
};
#define IVRS_NONE 0xffffffffu

struct ivrs {
    u32 unit_count, range_count, ioapic_count;
    struct ivrs_unit units[IOMMU_MAX_UNITS];
    struct ivrs_range ranges[IVRS_RANGES];
    struct {
        u32 id, acpi_id;
    } ioapics[IVRS_IOAPICS];
};

/* table: its header's length and checksum are right. out: zeroed. Returns 0, or -E_INVAL with table, offset and reason
 * in `why`. */
int ivrs_parse(const void *table, struct ivrs *out, char *why, size_t why_size) must_check;
/* The unit that translates a function, and the requester id it is known by there. A function that the table leaves out
 * (virtual ones often are) belongs to the only unit of its segment. Returns 0 or -E_NOENT. */
int ivrs_find(const struct ivrs *ivrs, u32 id, u32 *unit, u32 *requester) must_check;
