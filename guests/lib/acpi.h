/* What the ACPI tables of this PC say, as far as a bare-metal program needs it. Read-only after
 * start. Source: ACPI 6.4, ACPI Software Programming Model. */
#pragma once

#include "core/base/types.h"
#include "guests/lib/interrupts.h"

struct acpi {
    bool found; /* RSDP with a usable root table */
    u32 apic_ids[MAX_CPUS];
    u32 cpu_count; /* at least 1; those beyond MAX_CPUS are left out */
    u64 ioapic;    /* 0: none */
    u32 isa_gsi[16];
    u16 isa_flags[16]; /* MADT flags of the override: polarity bits 1:0, trigger bits 3:2 */
    u16 pm_timer, pm1a_event, pm1a_control;
    bool pm_timer_32bit;
    u8 s5_type; /* SLP_TYP of \_S5; 5 if the DSDT does not tell */
    u32 sci;
    bool has_reset; /* the reset register is an I/O port */
    u16 reset_port;
    u8 reset_value;
};

extern struct acpi acpi;

/* rsdp: physical address, or 0 to search the BIOS area. */
void acpi_init(u64 rsdp);
