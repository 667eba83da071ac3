/* A partition's PCI bus: a host bridge at 00:00.0 and the functions that the file gives, each alone at a device number
 * of its own on bus 0, reached through 0xcf8 and through the memory-mapped configuration space alike. Configuration
 * registers are virtual: what a guest may not move or see stays with the hypervisor. Pure, under the board lock.
 * Source: PCI Local Bus 3.0, Configuration Space and MSI-X Capability; PCI Express Base 4.0, Enhanced Configuration
 * Access Mechanism. */
#pragma once

#include "core/base/pci.h"
#include "core/base/types.h"
#include "core/vdev/vdev.h"

#define VPCI_ADDRESS_PORT 0xcf8
#define VPCI_DATA_PORT    0xcfc    /* to 0xcff */
#define VPCI_MAX          31u      /* functions: devices 1 to 31 */
#define VPCI_ROM          PCI_BARS /* number of the expansion ROM among the BARs */

/* One interrupt of a function as the guest programmed it: MSI's only one, or an entry of the MSI-X table. */
struct vpci_vector {
    struct msi_message message;
    bool masked; /* by the entry's own bit */
};

struct vpci_function {
    const struct pci_function *real;
    u32 device;             /* the guest's device number, 1 to 31 */
    u32 intx_pin;           /* I/O APIC pin of its INTA, as the guest's DSDT says; used if the function has a line */
    bool has_line;          /* the hypervisor can deliver its INTx: the interrupt pin register shows INTA */
    u16 command;            /* as the guest wrote it */
    u64 bars[PCI_BARS + 1]; /* guest-physical base (or port) as the guest wrote it; the ROM last */
    u64 home[PCI_BARS + 1]; /* where the guest finds it at start */
    u8 line;                /* interrupt line register, a scratch register */
    bool rom_enabled;
    bool sizing_low[PCI_BARS + 1], sizing_high[PCI_BARS + 1]; /* all ones was written: the next read gives the size */
    bool msi_enabled, msix_enabled, msix_masked;              /* msix_masked: function mask */
    struct vpci_vector msi;
    struct vpci_vector *msix; /* real->msix_entries, the caller's memory */
};

/* What the bus asks of the hypervisor around it; must not call back. f: index of the function. */
struct vpci_host {
    void *ctx;
    /* The function's own configuration space on the machine. */
    u32 (*read)(void *ctx, u32 f, u32 offset, u32 size);
    void (*write)(void *ctx, u32 f, u32 offset, u32 size, u32 value);
    /* A BAR now answers at `at` (guest-physical, or a port), or nowhere (at == NEVER): its address, its decoding by the
     * command register, or the ROM's enable bit changed. */
    void (*place)(void *ctx, u32 f, u32 bar, u64 at);
    /* Interrupt i (MSI: 0) is now as in functions[f]: enabled, masked, or with another message. */
    void (*vector)(void *ctx, u32 f, u32 i);
    /* The guest asked for a function-level reset: reset, and all of its state is at power-up afterwards. */
    void (*reset)(void *ctx, u32 f);
};

struct vpci {
    u32 address; /* 0xcf8 */
    struct vpci_function *functions;
    u32 count;
    const struct vpci_host *host;
};

/* functions: filled as to real, device, intx_pin, has_line, home, msix; stay the caller's. */
void vpci_init(struct vpci *p, struct vpci_function *functions, u32 count, const struct vpci_host *host);
/* Power-up state: BARs at home and not decoded, interrupts off. Calls nobody. */
void vpci_reset(struct vpci *p);

/* 0xcf8: the address register: double words only; narrower accesses are ordinary I/O and go elsewhere. */
u32 vpci_address_read(const struct vpci *p);
void vpci_address_write(struct vpci *p, u32 value);
/* The data window; offset 0 to 3, size 1, 2 or 4. Nobody there: a master abort reads as ones, and writes are dropped.
 */
u32 vpci_data_read(struct vpci *p, u32 offset, u32 size);
void vpci_data_write(struct vpci *p, u32 offset, u32 size, u32 value);
/* The memory-mapped space: offset from GUEST_ECAM_BASE, size 1, 2 or 4, naturally aligned; others read ones. */
u32 vpci_ecam_read(struct vpci *p, u32 offset, u32 size);
void vpci_ecam_write(struct vpci *p, u32 offset, u32 size, u32 value);

/* The MSI-X table of function f: offset from its start. size 4 (and 8 as two of 4). Table entries that are written call
 * host->vector. */
u32 vpci_msix_read(const struct vpci *p, u32 f, u32 offset);
void vpci_msix_write(struct vpci *p, u32 f, u32 offset, u32 value);

/* May interrupt i of function f be sent now, by the guest's settings? */
bool vpci_vector_open(const struct vpci_function *f, u32 i);
/* What a message means on the interrupt bus. False: its address is not one of the local APICs'. SDM Vol 3A, Message
 * Address Register Format. */
bool vpci_decode_message(const struct msi_message *m, bool x2apic_ids, struct apic_msg *out);
