/* The other CPUs of the MADT. CPU index 0 is the boot CPU; the others follow in table order. */
#pragma once

#include "core/base/types.h"

/* Starts every other CPU in work(index), in long mode with its own stack, APIC enabled and
 * interrupts off. work must not return. Returns how many run, the boot CPU included. Needs one free
 * page below 1 MiB: 0x8000, or `ap_page=`. */
u32 smp_start(void (*work)(u32 index));
/* APIC id of a CPU that was started. */
u32 smp_apic_id(u32 index);
