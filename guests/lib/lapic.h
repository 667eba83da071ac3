/* The local APIC, xAPIC or x2APIC. Each function acts on the CPU that calls it. x2APIC is used
 * where the CPU has it and the command line says `x2apic`, or where it is on already.
 * Source: SDM Vol 3A, Advanced Programmable Interrupt Controller (APIC). */
#pragma once

#include "core/base/types.h"

#define LAPIC_ID            0x20
#define LAPIC_VERSION       0x30
#define LAPIC_TPR           0x80
#define LAPIC_EOI           0xb0
#define LAPIC_SVR           0xf0
#define LAPIC_ISR           0x100
#define LAPIC_IRR           0x200
#define LAPIC_ESR           0x280
#define LAPIC_ICR           0x300
#define LAPIC_ICR_HIGH      0x310
#define LAPIC_LVT_TIMER     0x320
#define LAPIC_LVT_LINT0     0x350
#define LAPIC_LVT_LINT1     0x360
#define LAPIC_LVT_ERROR     0x370
#define LAPIC_TIMER_INITIAL 0x380
#define LAPIC_TIMER_CURRENT 0x390
#define LAPIC_TIMER_DIVIDE  0x3e0

#define LVT_MASKED   0x10000u
#define LVT_PERIODIC 0x20000u
#define LVT_DEADLINE 0x40000u
#define LVT_EXTINT   0x700u

#define SPURIOUS_VECTOR 0xff

/* Each CPU, once, after interrupts_cpu_init: enables the APIC with all LVT entries masked. */
void lapic_cpu_init(void);
bool lapic_is_x2(void);
u32 lapic_id(void);
u32 lapic_read(u32 reg);
void lapic_write(u32 reg, u32 value);
void lapic_eoi(void);
/* One interrupt command. low: ICR bits 31:0; dest: APIC id. Returns when it was accepted. */
void lapic_command(u32 dest, u32 low);
void lapic_ipi(u32 dest, u8 vector);
void lapic_ipi_self(u8 vector);
void lapic_nmi_self(void);
/* INIT, and start-up at page (physical address >> 12). */
void lapic_init_cpu(u32 dest);
void lapic_start_cpu(u32 dest, u8 page);
