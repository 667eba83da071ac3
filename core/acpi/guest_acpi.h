/* The ACPI tables that a partition sees, written into its BIOS area. Pure.
 * Source: ACPI 6.4, Software Programming Model. */
#pragma once

#include "core/base/types.h"
#include "mm/region.h"

/* RSDP (revision 2), XSDT, FADT with PM1, PM timer, reset register, MADT (local APICs or x2APICs,
 * IOAPIC, overrides for line 0 and the SCI, LINT1 NMI), FACS, DSDT (AML from core/acpi/dsdt.asl).
 * apic_ids: one per vCPU. Returns 0 and where the RSDP is, or -E_RANGE. */
int guest_acpi_build(const struct gmem *mem, const u32 *apic_ids, u32 vcpu_count, u32 ioapic_id,
                     gpa_t *rsdp) must_check;
