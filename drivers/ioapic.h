/* The machine's I/O APICs. Boot core at start; later any core that has their registers. Source: 82093AA datasheet. */
#pragma once

#include "drivers/acpi.h"
#include "drivers/iommu.h"
#include "core/base/types.h"

/* Masks every pin of every I/O APIC. */
void ioapic_setup(const struct host_acpi *acpi);
/* From now on lines are routed through interrupt remapping; one that was routed before is dead until it is routed
 * again. Boot core, after ops->setup. Returns 0, or the error of ioapic_id or prepare: nothing changed. */
int ioapic_set_remapping(const struct iommu_ops *ops) must_check;
/* Routes a line (a GSI, with its polarity and trigger mode) to one core, and opens it. Returns 0, -E_NOENT (no such
 * line), -E_RANGE (the core's id does not fit) or the error of the IOMMU's route. */
int ioapic_route(const struct isa_override *line, u8 vector, u32 apic_id) must_check;
/* The same for an ISA line, with its override. */
int ioapic_route_isa(u32 line, u8 vector, u32 apic_id) must_check;
/* Closes or opens a line that was routed. A level line whose interrupt was taken is closed, and opened when its device
 * has been served. Returns 0 or -E_NOENT. */
int ioapic_mask(const struct isa_override *line, bool masked) must_check;
