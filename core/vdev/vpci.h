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
#define VPCI_EXTENDED     8u       /* extended capabilities of a function that are shown, at most */

#define VPCI_AER_REGISTERS 3u

/* One interrupt of a function as the guest programmed it: MSI's only one, or an entry of the MSI-X table. */
struct vpci_vector {
    struct msi_message message;
    bool masked; /* by the entry's own bit */
};

/* An extended capability that the guest sees, to before `end`, and its header: id, version and link. */
struct vpci_extended {
    u16 at, end;
    u32 header;
};

/* The first part is the caller's; the rest is as the guest made it. */
struct vpci_function {
    const struct pci_function *real;
    u32 device;               /* the guest's device number, 1 to 31 */
    u32 intx_pin;             /* I/O APIC pin of its INTA, as the guest's DSDT says: vpci_intx_pin(device) */
    bool has_line;            /* the hypervisor can deliver its INTx: the interrupt pin register shows INTA */
    u64 home[PCI_BARS + 1];   /* where the guest finds its BARs at start: aligned to vpci_bar_bytes; the ROM last */
    struct vpci_vector *msix; /* room for real->msix_entries */

    u16 command;
    u8 line;     /* interrupt line register, a scratch register */
    u8 power;    /* of the power management capability: 0 or 3, which changes nothing */
    u16 control; /* device control of the PCI Express capability, which changes nothing */
    bool rom_enabled;
    u64 bars[PCI_BARS + 1];                      /* guest-physical base, or port */
    bool msi_enabled, msix_enabled, msix_masked; /* msix_masked: function mask */
    struct vpci_vector msi;
    u8 rules[PCI_CONFIG_BYTES / 4];               /* what each double word is: see vpci_cap.c */
    u8 links[PCI_CONFIG_BYTES / 4];               /* the next capability, by where this one begins */
    struct vpci_extended extended[VPCI_EXTENDED]; /* in the list's order; see vpci_ext.c */
    u32 extended_count;
    u32 aer[VPCI_AER_REGISTERS]; /* masks and severity of errors, which change nothing */
};

/* What the bus asks of the hypervisor around it; must not call back. f: index of the function. */
struct vpci_host {
    void *ctx;
    /* The function's own configuration space on the machine. Written is only its command register: bus master and
     * INTx disable as the guest wants them, INTx disable always where the function has no line, the rest as read. */
    u32 (*read)(void *ctx, u32 f, u32 offset, u32 size);
    void (*write)(void *ctx, u32 f, u32 offset, u32 size, u32 value);
    /* A BAR moved: it now answers at `at` (guest-physical, or a port), or nowhere (at == NEVER): its address, its
     * decoding by the command register, or the ROM's enable bit changed. Aligned to vpci_bar_bytes, but otherwise
     * wherever the guest wants it: over memory, over another BAR, above what the tables reach. */
    void (*place)(void *ctx, u32 f, u32 bar, u64 at);
    /* Interrupt i (MSI: 0) opened, closed, or has another message while open. */
    void (*vector)(void *ctx, u32 f, u32 i);
    /* The guest asked for a function-level reset. BARs are placed nowhere, vectors closed and bus mastering is off
     * already; afterwards the function is as the hypervisor made it at start. */
    void (*reset)(void *ctx, u32 f);
};

struct vpci {
    u32 address; /* 0xcf8 */
    struct vpci_function *functions;
    u32 count;
    const struct vpci_host *host;
};

/* functions: the caller's, its part filled; reads their capabilities through the host. Powers up. */
void vpci_init(struct vpci *p, struct vpci_function *functions, u32 count, const struct vpci_host *host);
/* Power-up state: BARs at home and not decoded, interrupts off. Calls nobody. */
void vpci_reset(struct vpci *p);
/* I/O APIC pin of a device's INTA: PCI lines come behind the 16 of ISA. The DSDT (core/acpi/pci.asl) says the same. */
static inline u32 vpci_intx_pin(u32 device) { return 16 + device % 8; }
/* What the guest sees as size: memory BARs are at least a page, so that no two share one. 0: there is none. */
u64 vpci_bar_bytes(const struct pci_function *real, u32 bar);

/* 0xcf8: the address register: double words only; narrower accesses are ordinary I/O and go elsewhere. Bits 27:24 are
 * bits 11:8 of the register's offset, so that what is to be seen is the same by either way. */
u32 vpci_address_read(const struct vpci *p);
void vpci_address_write(struct vpci *p, u32 value);
/* The data window; offset 0 to 3, size 1, 2 or 4. Nobody there: a master abort reads as ones, and writes are dropped.
 */
u32 vpci_data_read(struct vpci *p, u32 offset, u32 size);
void vpci_data_write(struct vpci *p, u32 offset, u32 size, u32 value);
/* The memory-mapped space: offset from GUEST_ECAM_BASE, size 1, 2 or 4, naturally aligned; others read ones. */
u32 vpci_ecam_read(struct vpci *p, u32 offset, u32 size);
void vpci_ecam_write(struct vpci *p, u32 offset, u32 size, u32 value);

/* The MSI-X table of function f: offset from its start. A multiple of 4; double words (a quad word as two). Behind the
 * last entry: 0. An entry that is written and is, or was, open calls host->vector. */
u32 vpci_msix_read(const struct vpci *p, u32 f, u32 offset);
void vpci_msix_write(struct vpci *p, u32 f, u32 offset, u32 value);

/* May interrupt i of function f be sent now, by the guest's settings? */
bool vpci_vector_open(const struct vpci_function *f, u32 i);
/* What a message means on the interrupt bus. x2apic_ids: bits 63:40 of the address are bits 31:8 of the destination;
 * otherwise they must be 0. False: its address is not one of the local APICs', or its delivery mode is none that a
 * message may have. SDM Vol 3A, Message Address Register Format, Message Data Register Format. */
bool vpci_decode_message(const struct msi_message *m, bool x2apic_ids, struct apic_msg *out);
