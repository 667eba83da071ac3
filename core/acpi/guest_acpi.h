/* The ACPI tables that a partition sees, written into its BIOS area. Pure.
 * Source: ACPI 6.4, Software Programming Model. */
#pragma once

#include "core/base/types.h"
#include "core/image/image.h"
#include "mm/region.h"

/* Guest-physical addresses above 4 GiB that BARs may have; bytes 0: none. Below, it is all from GUEST_PCI_HOLE to
 * GUEST_ECAM_BASE. */
struct guest_pci {
    u64 window, bytes;
};

/* RSDP (revision 2), XSDT, FADT with PM1, PM timer, reset register, MADT (local APICs or x2APICs,
 * IOAPIC, overrides for line 0 and the SCI, LINT1 NMI), FACS, DSDT (AML from core/acpi/dsdt.asl).
 * hpet: its table too. pci: if there is a PCI bus, MCFG and an SSDT (core/acpi/pci.asl) with it; else NULL. apic_ids:
 * one per vCPU. Returns 0 and where the RSDP is, or -E_RANGE. */
int guest_acpi_build(const struct gmem *mem, const u32 *apic_ids, u32 vcpu_count, u32 ioapic_id,
                     const struct guest_pci *pci, bool hpet, gpa_t *rsdp) must_check;

/* For a firmware image, which has its own idea of where tables lie: what guest_acpi_build has written, as `bytes` at
 * `area`, becomes files for it to fetch: RSDP, tables, and what to do with them. files: GUEST_ACPI_FILES entries, which
 * point into the area. Returns 0 or -E_RANGE: no room behind the tables. */
#define GUEST_ACPI_FILES 3
int guest_acpi_files(u8 *area, u64 bytes, struct image_module *files) must_check;
