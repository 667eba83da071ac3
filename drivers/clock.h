/* What the TSC runs at, and short waits. Source: SDM Vol 3B, Time-Stamp Counter; ACPI 6.4, Power Management Timer. */
#pragma once

#include "drivers/acpi.h"
#include "core/base/types.h"

/* Boot core. Measures the TSC against the PM timer, else HPET, else PIT. Returns its frequency in Hz, or 0 if the
 * machine has none of them; *source names what was used. */
u64 clock_calibrate(const struct host_acpi *acpi, const char **source);
/* Written by clock_calibrate only. */
extern u64 clock_tsc_hz;
/* Waits at least this long. Any core, after clock_calibrate. */
void clock_wait_us(u64 us);
/* Seconds since 1970-01-01 from the machine's RTC, taken as UTC. Boot core. */
u64 clock_wall_seconds(void);
