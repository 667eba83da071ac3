/* Virtual functions as they are enabled, and enabled again when a reset of the physical one has ended them. Pure;
 * any core that has the functions' configuration space mapped. Source: Single Root I/O Virtualization and Sharing 1.1.
 */
#pragma once

#include "core/base/pci.h"

/* SR-IOV 1.1, SR-IOV Extended Capability: registers from its start. */
#define SRIOV_CONTROL    0x08u
#define SRIOV_TOTAL      0x0eu
#define SRIOV_NUMBER     0x10u
#define SRIOV_OFFSET     0x14u
#define SRIOV_STRIDE     0x16u
#define SRIOV_DEVICE     0x1au
#define SRIOV_PAGE_SIZES 0x1cu
#define SRIOV_PAGE_SIZE  0x20u
#define SRIOV_BARS       0x24u
/* VF Enable, VF Memory Space Enable, ARI Capable Hierarchy. */
#define SRIOV_ENABLE   1u
#define SRIOV_MEMORY   8u
#define SRIOV_ARI      0x10u
#define SRIOV_PAGES_4K 1u

/* Enables f->vfs. They answer 100 ms later (VF Enable). */
void pci_sriov_enable(const struct pci_access *a, const struct pci_function *f);
/* May one of them reach memory, since its driver has switched bus mastering on? */
bool pci_sriov_in_use(const struct pci_access *a, const struct pci_function *f);
