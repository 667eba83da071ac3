/* The machine's I/O APICs. Boot core at start; later only by the owner of the console. Source: 82093AA datasheet. */
#pragma once

#include "drivers/acpi.h"
#include "core/base/types.h"

/* Masks every pin of every I/O APIC. */
void ioapic_setup(const struct host_acpi *acpi);
/* Routes an ISA line, with its override, to one core. Returns 0 or -E_NOENT. */
int ioapic_route_isa(u32 line, u8 vector, u32 apic_id) must_check;
