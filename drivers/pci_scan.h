/* Finds out what PCI functions a machine has. Pure: configuration space arrives as struct pci_access. Boot core, before
 * start; the functions' decoding is off while a BAR is measured. Source: PCI Local Bus 3.0, Configuration Space; PCI
 * Express Base 4.0, Capability Structures and Access Control Services. */
#pragma once

#include "core/base/pci.h"

/* Looks at buses [first, last] of one segment and adds what is there behind *count, in order of ids. Returns 0, or
 * -E_NOMEM: there are more than `max`, *count says how many; those that fit are filled. */
int pci_scan(const struct pci_access *access, u32 segment, u32 first, u32 last, struct pci_function *out, u32 max,
             u32 *count) must_check;
/* Fills .requester and .group in all: functions that can reach each other without passing the IOMMU, or that it cannot
 * tell apart. */
void pci_group(struct pci_function *functions, u32 count);
/* Reads one BAR's place and size; the register is left as it was. number: 0 to 5, or PCI_BARS for the ROM. */
struct pci_bar pci_measure_bar(const struct pci_access *access, u32 id, u32 offset, bool rom);
/* The first BAR that has an address, without its size; the function decodes it from now on. False if there is no such
 * function, or it has none. */
bool pci_first_bar(const struct pci_access *access, u32 id, struct pci_bar *out) must_check;
/* What a function with an id has in its capability lists; access control is switched on. */
void pci_read_capabilities(const struct pci_access *access, struct pci_function *f);
/* Its MSI-X is there only if it lies in memory of its BARs, which are known by now. */
void pci_check_msix(struct pci_function *f);
/* Offset of a capability, or 0. The lists are bounded: a loop in one ends the search. An extended one that does not lie
 * within the function's space is not there: what follows is the next function's. */
u32 pci_find_capability(const struct pci_access *access, u32 id, u8 capability);
u32 pci_find_extended(const struct pci_access *access, u32 id, u16 capability);
/* The nearest bridge above a function, or NULL on a root bus. */
const struct pci_function *pci_parent(const struct pci_function *functions, u32 count, const struct pci_function *f);
