/* The local APIC of this core, in xAPIC or x2APIC mode, and its timer. Each call works on the core that makes it.
 * Source: SDM Vol 3A, Advanced Programmable Interrupt Controller (APIC). */
#pragma once

#include "core/base/types.h"

/* Host vectors. */
#define VECTOR_TIMER    0xf0
#define VECTOR_KICK     0xf1
#define VECTOR_UART     0xf2
#define VECTOR_CONTROL  0xf3
#define VECTOR_SPURIOUS 0xff

/* Boot core, first. address: MADT's; may be used through the direct map. allow_x2apic false keeps xAPIC unless firmware
 * has left it, allow_deadline false keeps the timer one-shot. */
void lapic_setup(u64 address, bool allow_x2apic, bool allow_deadline);
bool lapic_has_deadline(void);
/* Each core: mode, enable, all local vectors masked. */
void lapic_enable(void);
bool lapic_is_x2apic(void);
u64 lapic_address(void);
u32 lapic_id(void);
void lapic_eoi(void);
/* Sends a fixed interrupt to a core. */
void lapic_send(u32 apic_id, u8 vector);
/* NMI to all cores but this one. */
void lapic_nmi_others(void);
void lapic_send_init(u32 apic_id);
void lapic_send_startup(u32 apic_id, u8 page);
/* Boot core, once the TSC is calibrated: measures the timer's clock. */
void lapic_timer_calibrate(u64 tsc_hz);
/* VECTOR_TIMER at or soon after this TSC; NEVER stops it. */
void lapic_timer_arm(u64 deadline);
