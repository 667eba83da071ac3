/* The contract of the two IOMMU drivers, AMD-Vi and VT-d. One is chosen at boot; every call may be made by any core
 * that is mapped for it, and takes the driver's own lock. DMA and interrupts of every function are closed from setup
 * on; they are opened function by function. Drivers never call upward. */
#pragma once

#include "core/base/types.h"
#include "core/base/pci.h"
#include "mm/pagetable.h"

#define IOMMU_MAX_UNITS 16

/* For the boot core, in setup and prepare only. take: zeroed memory below 4 GiB, page aligned, in the direct map,
 * writable by every core that drives devices; never NULL. registers: makes device registers reachable, uncached, at
 * address + DIRECT_BASE. buses: first and last bus behind a bridge, false if `id` is none; may be NULL. physical: the
 * identity by which the ACPI tables know a function: for a virtual one, that of the one that enabled it; may be NULL.
 * requester: the identity under which its requests come, behind conventional PCI a bridge's; may be NULL. */
struct iommu_env {
    void *(*take)(u64 bytes);
    void (*registers)(u64 address, u64 bytes);
    bool (*buses)(u32 id, u8 *first, u8 *last);
    bool x2apic; /* cores are addressed by 32-bit ids */
    u32 (*physical)(u32 id);
    u32 (*requester)(u32 id);
};

/* A DMA or interrupt request that was refused. */
struct iommu_fault {
    u32 id; /* of the function */
    u64 address;
    bool write, interrupt, lost; /* lost: more were refused than the hardware could record */
    u32 reason;                  /* the hardware's code */
};

struct iommu_ops {
    const char *name;
    /* acpi: the DMAR or IVRS table, checked for length and checksum only. Finds every unit, closes all, switches
     * translation and interrupt remapping on. summary: one line, what it has and what it lacks. Returns 0;
     * -E_INVAL (table malformed), -E_UNSUPPORTED, -E_TIMEOUT (hardware did not answer) with the reason in `why`, and
     * then nothing is switched on. */
    int (*setup)(const void *acpi, const struct iommu_env *env, char *summary, size_t summary_size, char *why,
                 size_t why_size);
    /* After setup: the format of DMA tables, and the largest leaf that they may hold: 1, 2 or 3. */
    const struct pt_format *(*tables)(void);
    u32 (*max_leaf)(void);
    bool (*remaps_interrupts)(void);
    /* The largest id of a core that interrupts can be sent to, where they are remapped. */
    u32 (*max_apic)(void);
    /* Boot core: reserves what the function needs later (AMD: its interrupt table). interrupts: most that it will use.
     * Returns 0, -E_NOENT (no unit translates this function), -E_NOMEM, -E_OVERLAP (prepared before), -E_UNSUPPORTED
     * (firmware wants a memory region kept open for it: RMRR). */
    int (*prepare)(u32 id, u32 interrupts);
    /* Boot core, once the DMA tables are built: makes them visible to units that do not look into caches. */
    void (*publish)(void);
    /* Opens DMA of a function to a table built in the format `tables`; domain: 1 up, one for each partition. Flushes.
     * -E_OVERLAP: its requests come under the identity of another function's, which has another domain. */
    int (*attach)(u32 id, u32 domain, hpa_t root);
    /* Closes DMA and interrupts again and waits until nothing of it is under way. Returns 0 or -E_TIMEOUT. */
    int (*detach)(u32 id);
    /* Interrupt `index` (below prepare's number) of this function goes to `vector` of the core `apic_id`. out: what the
     * device has to be given as its message, the same for this index as long as it is routed. An I/O APIC's pin: id is
     * the I/O APIC's requester id (see ioapic_id), index the pin, level as its line is; out is the message that the I/O
     * APIC shall send, from which drivers/ioapic.c makes its entry. apic_id of a core in physical mode. A function with
     * several MSI vectors is given the message of index 0. Returns 0, -E_NOENT (not prepared), -E_UNSUPPORTED,
     * -E_RANGE (no such index, or the id does not fit) or -E_TIMEOUT. */
    int (*route)(u32 id, u32 index, u8 vector, u32 apic_id, bool level, struct msi_message *out);
    int (*unroute)(u32 id, u32 index);
    /* Requester id of the I/O APIC with this ACPI id. Returns 0 or -E_NOENT. */
    int (*ioapic_id)(u32 acpi_id, u32 *id);
    /* The oldest recorded fault not yet told, or false. AMD-Vi and VT-d both; QEMU's amd-iommu records none. */
    bool (*fault)(struct iommu_fault *out);
};

extern const struct iommu_ops vtd_ops, amdvi_ops;
