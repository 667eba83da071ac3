/* Time: the TSC as the clock, the local APIC's timer as the alarm. Ticks are TSC ticks. */
#pragma once

#include "core/base/types.h"

/* Boot CPU, once: finds the TSC frequency (in this order: `tsc_hz=` on the command line, the
 * hypervisor's CPUID leaf 0x40000010, the ACPI PM timer at the FADT's port or `pm_timer=`, the PIT)
 * and the local timer's. */
void timer_init(void);
u64 tsc_hz(void);
/* Where the frequency came from, for a start line. */
const char *tsc_source(void);
u64 ticks_to_ns(u64 ticks);
u64 ns_to_ticks(u64 ns);
/* Busy wait. */
void delay_us(u64 us);

/* The alarm of the calling CPU. vector: its handler ends with lapic_eoi(). */
void timer_setup(u8 vector);
/* True if alarms use the TSC-deadline mode (CPUID offers it and `timer=lapic` is not given). */
bool timer_has_deadline(void);
/* One interrupt at this TSC, or at once if it has passed. Replaces the alarm set before. */
void timer_at(u64 tsc);
/* An interrupt each `ticks`, by the local timer's periodic mode. */
void timer_every(u64 ticks);
void timer_stop(void);
u64 lapic_timer_hz(void);
