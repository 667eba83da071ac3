/* Shared by the passthrough sources only. */
#pragma once

#include "core/base/spinlock.h"
#include "core/machine.h"
#include "core/passthrough.h"

#define PASS_IO_LOWEST 0x1000u /* ports below are the board's */
#define FAULTS_TOLD    4u      /* lines at a time */

/* What the whole machine has. Written before start, read-only afterwards. */
struct pass_machine {
    struct pci_function *functions;
    u32 count;
    u8 *owner; /* by function: partition + 1, or 0 */
    struct pass_refused {
        u32 reads, writes, interrupts;
    } * refused; /* by function, in this run of its partition; atomic, written as `stop` is */
    u8 *stop;    /* by partition: a fault wants it stopped; atomic, written by any core with functions */
    struct pass_told {
        struct spinlock lock;
        u32 count, more; /* those to be told, and how many came beyond */
        u32 lines;       /* told in this run */
        struct iommu_fault faults[FAULTS_TOLD];
    } * told; /* by partition + 1, first nobody's: whoever finds a fault leaves it to its owner's core */
    const struct config_range **grant;
    const struct iommu_ops *iommu; /* NULL: none that works; `why` says more */
    char why[160];
    struct frame_range registers[2 * IOMMU_MAX_UNITS]; /* the IOMMUs' */
    u32 register_count;
};
extern struct pass_machine pass;

/* Functions that serve others as well, and so are nobody's. */
bool pass_is_shared(const struct pci_function *f);
/* 0, or -E_INVAL with the reason in `why`: a BAR of p's functions lies where the firmware must not put it. Boot core.
 */
int pass_check_bars(const struct partition *p, u8 owner, char *why, size_t why_size) must_check;
/* Enables virtual functions and adds them to pass.functions. Refuses the file if that cannot be. Boot core. */
void pass_enable_vfs(const struct config_sriov *c);
/* What the function has: "msi", "flr", "sr-iov 4" and such, each after a separator. Boot core. */
void pass_features(char *out, size_t size, const struct pci_function *f, const char *separator);
/* "00:1f.2", with the segment before it if it is not 0. */
void pci_name(char *out, size_t size, u32 id);

static inline const struct pci_bar *pass_bar(const struct pci_function *f, u32 bar) {
    return bar == VPCI_ROM ? &f->rom : &f->bars[bar];
}
/* Allocation of stage-2 tables from the pool: struct pt_mem, ctx is the struct passthrough. */
int pass_pool_alloc(void *ctx, hpa_t *page);
u64 *pass_pool_virt(void *ctx, hpa_t page);
/* Fills p->pci->host. */
void pass_callbacks(struct partition *p);
/* The guest changed an interrupt: struct vpci_host. */
void pass_vector(void *ctx, u32 f, u32 index);
/* Connects the function's INTx line, if the file names one. Returns 0, -E_NOENT (there is no such line), -E_NOMEM, or
 * what keeps it closed. */
int pass_open_line(struct partition *p, u32 f);
/* Everything of function f that could interrupt is off. Board lock held, or nobody else there. */
void pass_silence(struct partition *p, u32 f);
