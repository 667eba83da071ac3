/* The DMAR table: which VT-d units there are and which functions each of them translates. Pure: every byte of the table
 * is untrusted. Source: VT-d 4.1, BIOS Considerations. */
#pragma once

#include "core/base/types.h"
#include "drivers/iommu.h"

#define DMAR_SCOPES    128u
#define DMAR_RESERVED  0xff /* no unit: firmware keeps memory open for this function (RMRR) */
#define DMAR_NO_IOAPIC 0x100

struct dmar {
    bool interrupts; /* the platform can remap them */
    u32 unit_count, scope_count, regions;
    struct dmar_unit {
        u64 registers;
        u16 segment;
        bool all; /* translates every function of its segment that no other unit names */
    } units[IOMMU_MAX_UNITS];
    struct dmar_scope {
        u32 id;
        u16 ioapic;             /* ACPI id of an I/O APIC, or DMAR_NO_IOAPIC */
        u8 first_bus, last_bus; /* behind a bridge; none if first is above last */
        u8 unit;
    } scopes[DMAR_SCOPES];
};

/* table: its header's length and checksum are right. buses: as in struct iommu_env. A path through a bridge that
 * `buses` does not know is left out: what lies there belongs to no unit, or to the one that has the rest, and stays
 * closed. Returns 0, or -E_INVAL with table, offset and reason in `why`. */
int dmar_parse(const void *table, bool (*buses)(u32 id, u8 *first, u8 *last), struct dmar *out, char *why,
               size_t why_size) must_check;
/* The number of the unit that translates a function; -E_NOENT; or -E_UNSUPPORTED if an RMRR names the function or a
 * bridge above it. *ioapic: it is an I/O APIC. */
int dmar_find(const struct dmar *dmar, u32 id, bool *ioapic) must_check;
/* Requester id of an I/O APIC. Returns 0 or -E_NOENT. */
int dmar_ioapic(const struct dmar *dmar, u32 acpi_id, u32 *id) must_check;
