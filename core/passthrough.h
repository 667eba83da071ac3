/* PCI functions that partitions own: their discovery and assignment at boot, and for each partition its device memory
 * in stage 2, its DMA tables and its interrupts. A partition without functions has no struct passthrough. Data that
 * changes after start is under the partition's board lock, but for the interrupts' messages, which are atomic. */
#pragma once

#include "core/base/pci.h"
#include "core/config/config.h"
#include "core/vdev/vpci.h"
#include "drivers/iommu.h"
#include "mm/pagetable.h"

struct partition;
struct vcpu;

/* Host vectors that devices of a core's partition get. Below lie exceptions and what an 8259 may still send. */
#define PASS_FIRST_VECTOR 0x30u
#define PASS_VECTORS      0xc0u
#define PASS_POLL_NS      100000000u

/* One interrupt of a function: MSI, an MSI-X entry, or its INTx line. */
struct pass_irq {
    u32 function;
    u8 vector;   /* host vector on every core of the partition; 0: not connected yet */
    u64 message; /* atomic: what the guest wants sent: address << 32 | data */
};

struct pass_function {
    const struct pci_function *real;
    const struct pci_function *bridge; /* whose bus may be reset for this function's sake, or NULL */
    u32 gsi;                           /* of its INTx line */
    bool has_gsi;
    u32 first_irq, irqs;         /* messages; the line's entry follows */
    u64 wanted[PCI_BARS + 1];    /* where the guest has it answer, or NEVER */
    u64 placed[PCI_BARS + 1];    /* guest-physical base in stage 2, or NEVER */
    u64 trap_offset, trap_bytes; /* pages of the MSI-X table, inside its BAR: never mapped */
};

struct passthrough {
    struct pass_function *functions;
    struct vpci_function *guest; /* the same functions as the guest sees them */
    u32 count;
    struct pass_irq *irqs;
    u16 source[PASS_VECTORS]; /* by host vector: index in irqs + 1, or 0 */
    struct vpci_host host;
    struct pt stage2;
    struct pt_mem pool_mem; /* stage-2 tables after start come from here */
    hpa_t block, pool;      /* all of this; the tables in it */
    u64 block_bytes;
    u32 pool_pages, pool_used;
    hpa_t dma_root;
    struct config_range window64; /* for large BARs; bytes 0: none */
    u64 next_poll;                /* host TSC at which to look for refused accesses */
    bool told;                    /* why an interrupt stays masked */
    bool log_left;                /* lines of passthrough_poll wait for the UART */
    bool stuck;                   /* the hardware did not confirm that DMA is closed */
};

/* Boot core: finds the machine's functions and its IOMMU, and closes DMA of all. */
void passthrough_discover(void);
/* Boot core, once the file is read: gives each function to its partition. Refuses the file if it names what is not
 * there or cannot be kept apart. */
void passthrough_setup(const struct config *config);
/* Boot core: fills p->pci if the file gives p functions; p's regions stand, stage 2 is built after. Returns 0, or an
 * error with the reason in `why`: this partition cannot run, others can. */
int passthrough_build(struct partition *p, char *why, size_t why_size) must_check;
/* Boot core, when all partitions are built. */
void passthrough_publish(void);
/* Resets p's functions and opens their DMA; or closes it, before p's memory is used for anything else. One core of the
 * partition, the others waiting; nothing to do without functions. start: 0, or an error with the reason in `why`. */
int passthrough_start(struct partition *p, char *why, size_t why_size) must_check;
/* 0, or -E_TIMEOUT: the hardware does not confirm it, and the partition's memory must not be used again; p->pci->stuck
 * tells the same after a start that failed. */
int passthrough_stop(struct partition *p) must_check;

/* A host interrupt from PASS_FIRST_VECTOR on came to this core, which is in host mode for v. */
void passthrough_interrupt(struct vcpu *v, u8 vector);
/* The guest has ended the interrupt of its I/O APIC's pin. Board lock held. */
void passthrough_line_ended(struct partition *p, u32 pin);
/* Device memory that is not mapped: an MSI-X table and what shares its page. False: nothing of p's lies there. Board
 * lock held. */
bool passthrough_read(struct partition *p, u64 at, u32 size, u32 *value);
bool passthrough_write(struct partition *p, u64 at, u32 size, u32 value);
/* Ports of an I/O BAR that the guest has moved; the others are open to it. False: it has put none there. Board lock
 * held.
 */
bool passthrough_port_in(struct partition *p, u16 port, u32 size, u32 *value);
bool passthrough_port_out(struct partition *p, u16 port, u32 size, u32 value);
/* Calls for all machine memory that p's cores need for its functions: this structure, configuration space, MSI-X
 * tables. */
void passthrough_pages(const struct partition *p, void (*map)(void *ctx, u64 at, u64 bytes, enum memory_type memtype),
                       void *ctx);
/* If it is time (now: host TSC): tells what the IOMMU refused to p's functions and to nobody's, a few lines at most,
 * and ends p if the file wants that for its own. passthrough_pump: sends on what it told; true if some of it is left.
 * Neither waits. vCPU 0. */
void passthrough_poll(struct partition *p, u64 now);
bool passthrough_pump(struct partition *p) must_check;
