/* Which NUMA node memory and processors belong to: the ACPI tables SRAT and SLIT. Boot core. Pure: every byte of a
 * table is untrusted. Source: ACPI 6.4, System Resource Affinity Table and System Locality Information Table. */
#pragma once

#include "core/base/acpi_tables.h"
#include "core/base/types.h"
#include "mm/numa.h"

#define SRAT_MAX_RANGES 1024u

/* Room that srat_ranges needs. */
u32 srat_max_ranges(const struct acpi_header *srat);
/* The memory of each node: sorted, adjacent ranges of a node joined. srat: whole, checksum verified. Returns 0, or
 * -E_INVAL with the reason in `why`: entries of impossible length, ranges of two nodes that overlap, too many. */
int srat_ranges(const struct acpi_header *srat, struct node_range *out, u32 max, u32 *count, char *why,
                size_t why_size) must_check;
/* The node of the processor with this local APIC id, or NODE_NONE. After srat_ranges has returned 0. */
u32 srat_node(const struct acpi_header *srat, u32 apic_id);
/* The matrix of distances inside the table and its width; NULL if the table is too short for it, or tells that a node
 * is farther from itself than from another. */
const u8 *slit_distances(const struct acpi_header *slit, u32 *localities);
