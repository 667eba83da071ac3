/* 82093AA I/O APIC (version 0x20, with EOI register). Pure, under the board lock.
 * Source: Intel 82093AA datasheet; ICH9 datasheet, I/O Advanced Programmable Interrupt Controller.
 */
#pragma once

#include "core/base/types.h"
#include "core/vdev/vdev.h"

#define VIOAPIC_PINS 24

struct vioapic {
    u32 id, select;
    u64 redirection[VIOAPIC_PINS];
    u32 line; /* level of each input, bit per pin, after polarity: 1 = asserted */
    u32 edge; /* last voltage of each input, before polarity: 1 = high. An edge seen while masked is
                 lost, as on hardware */
    u32 pci;  /* inputs that stand for lines of the machine, low when asserted */
};

void vioapic_reset(struct vioapic *io, u32 id);
u32 vioapic_read(struct vioapic *io, u32 offset);
void vioapic_write(struct vioapic *io, u32 offset, u32 value, const struct vdev_host *host);
/* Sets the input of a pin: level true is high, and the pin's polarity bit decides whether high or
 * low is asserted. Sends a message on an edge to asserted, or while a level pin is asserted with
 * remote IRR clear. */
void vioapic_set_line(struct vioapic *io, u32 pin, bool level, const struct vdev_host *host);
/* The end of a level interrupt. A pci input is let go before the pin is looked at again, and the host told: its source
 * asks anew if it still wants to. */
void vioapic_eoi(struct vioapic *io, u8 vector, const struct vdev_host *host);
/* Is this pin masked? 82093AA, I/O Redirection Table Registers: bit 16. */
static inline bool vioapic_masked(const struct vioapic *io, u32 pin) { return io->redirection[pin] >> 16 & 1; }
