/* The small PC around the vCPUs of one partition: 8259 pair, 8254, RTC and CMOS, ACPI PM timer and
 * PM1 block, keyboard-controller and 0xcf9 reset, 16550 UARTs, PCI configuration,
 * IOAPIC. Pure. Under the partition's board lock. Each device is a file of its own
 * (vpic, vpit, vrtc, vpm, vhpet, vkbc, vuart, vioapic, vpci); this one routes ports and lines. */
#pragma once

#include "core/base/ring.h"
#include "core/base/types.h"
#include "core/vdev/vcontrol.h"
#include "core/vdev/vdev.h"
#include "core/vdev/vfwcfg.h"
#include "core/vdev/vhpet.h"
#include "core/vdev/vioapic.h"
#include "core/vdev/vkbc.h"
#include "core/vdev/vpci.h"
#include "core/vdev/vpic.h"
#include "core/vdev/vpit.h"
#include "core/vdev/vpm.h"
#include "core/vdev/vrtc.h"
#include "core/vdev/vuart.h"

/* Interrupt lines of the board: the legacy ISA numbers. Line n reaches 8259 input n and IOAPIC pin
 * n, except line 0 (8254), which reaches pin 2, and line 9 (SCI), level and active high on both.
 * The guest's MADT says the same. PCI's INTA lines have the pins behind them (vpci_intx_pin), level and active low;
 * they do not reach the 8259 pair: a guest without IOAPIC has no interrupts of PCI but polls, or uses MSI. */
#define BOARD_IRQ_PIT  0
#define BOARD_IRQ_COM2 3 /* the control device */
#define BOARD_IRQ_COM1 4
#define BOARD_IRQ_RTC  8
#define BOARD_IRQ_SCI  9

struct vboard_config {
    u64 memory;     /* bytes, for the CMOS memory-size registers */
    u64 wall_clock; /* seconds since 1970-01-01 UTC at guest time 0 */
    u32 ioapic_id;
    struct ring *com1_tx, *com1_rx; /* guest to machine, machine to guest */
    struct vfwcfg fwcfg;            /* absent if all is 0 */
    struct vpci_function *pci;      /* as vpci_init wants them; pci_count 0: no bus */
    u32 pci_count;
    const struct vpci_host *pci_host;
    struct vcontrol *control; /* after its reset; NULL: there is none */
    bool at_reset;            /* no firmware has run yet: channel 0 of the 8254 stands still */
};

struct vboard {
    const struct vdev_host *host;
    struct vpic pic;
    struct vpit pit;
    struct vrtc rtc;
    struct vpm pm;
    struct vhpet hpet; /* without effect unless the guest is let at its registers */
    struct vuart com1;
    struct vcontrol *control; /* COM2, or NULL */
    struct vkbc kbc;
    struct vpci pci;
    struct vfwcfg fwcfg;
    struct vioapic ioapic;
    u32 lines; /* level of each interrupt line */
};

void vboard_init(struct vboard *b, const struct vboard_config *config, const struct vdev_host *host);

/* One port access of 1, 2 or 4 bytes. Reads return the value zero-extended; a port without a device
 * reads as ones. now: guest ns. */
u32 vboard_in(struct vboard *b, u16 port, u32 size, u64 now);
void vboard_out(struct vboard *b, u16 port, u32 size, u32 value, u64 now);

/* IOAPIC page, offset 0 to 0xfff. */
u32 vboard_ioapic_read(struct vboard *b, u32 offset, u32 size, u64 now);
void vboard_ioapic_write(struct vboard *b, u32 offset, u32 size, u32 value, u64 now);
/* HPET, offset 0 to 0x3ff, size 1 to 8 within 8 bytes. */
void vboard_hpet(struct vboard *b, u32 offset, u32 size, bool write, u64 *value, u64 now);
/* The line of the machine behind this pin is asserted (host->eoi tells when the guest has ended its interrupt, and the
 * line is let go), or let go without the guest's doing. */
void vboard_pci_line(struct vboard *b, u32 pin, bool asserted);
/* A level interrupt ended at a local APIC. */
void vboard_eoi(struct vboard *b, u8 vector, u64 now);
/* INTA cycle: the vector the 8259 pair gives (spurious 7 if nothing is pending). */
u8 vboard_pic_ack(struct vboard *b, u64 now);

/* Next guest time (ns) at which a line may change by itself, or NEVER; and the call that makes it
 * happen. Also to be called when console bytes were added to com1_rx or taken from com1_tx. */
u64 vboard_deadline(const struct vboard *b);
void vboard_tick(struct vboard *b, u64 now);
