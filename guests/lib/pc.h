/* The other devices of the PC: 8259 pair, 8254, IOAPIC. One CPU at a time. */
#pragma once

#include "core/base/types.h"

#define PIC_VECTOR 0x20 /* lines 0 to 15 arrive at 0x20 to 0x2f */
#define PIT_HZ     1193182u

/* Programs both 8259s, all lines masked. */
void pic_init(void);
void pic_mask(u32 line, bool masked);
void pic_eoi(u32 line);

/* Channel 0, rate generator (mode 2). count: 2 to 65535 input clocks. */
void pit_channel0_rate(u16 count);
/* Channel 2, one count-down (mode 0) with the gate opened through port 0x61; the speaker is off. */
void pit_channel2_start(u16 count);
bool pit_channel2_done(void);

u32 ioapic_read(u32 reg);
void ioapic_write(u32 reg, u32 value);
#define IOAPIC_MASKED   0x10000u
#define IOAPIC_LEVEL    0x8000u
#define IOAPIC_LOW      0x2000u
#define IOAPIC_VERSION  1
#define IOAPIC_TABLE(n) (0x10u + 2u * (n))
/* Fixed delivery to one CPU, physical. flags: IOAPIC_*. */
void ioapic_route(u32 pin, u8 vector, u32 flags, u32 apic_id);
