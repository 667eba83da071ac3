/* The machine's PCI functions and the way to their configuration space. */
#pragma once

#include "core/base/pci.h"
#include "drivers/acpi.h"

/* Configuration space of the machine: memory-mapped where the MCFG table says so, ports 0xcf8 and 0xcfc under a lock
 * otherwise. Any core, for functions whose page it has mapped (see pci_page). */
extern const struct pci_access pci_machine;

/* Boot core, first: which way leads to configuration space. mapped: by MCFG where it says so, else by ports only. */
void pci_setup(const struct host_acpi *acpi, bool mapped);
/* Finds all functions and their groups, and takes bus mastering from each that is no bridge: no device reaches memory
 * until it is given away. out: room for max. Returns how many there are, which may be more than max. Boot core. */
u32 pci_discover(struct pci_function *out, u32 max);
/* The 4 KiB of memory-mapped configuration space of a function, or 0: it is reached through ports. */
u64 pci_page(u32 id);
/* Puts BARs where they were found and decodes them; interrupts and bus mastering are off. */
void pci_restore(const struct pci_function *f);
/* Resets a function: by FLR, by its power state, or by the bus below `bridge` (NULL: others live there), whichever
 * there is; then waits until it answers. Afterwards its BARs are what they were, and it decodes them. Returns 0,
 * PCI_LEFT_OUT (a virtual function of it is in use) or -E_UNSUPPORTED (there is no way): only bus mastering and
 * interrupts are off, or -E_TIMEOUT (it stays busy). */
#define PCI_LEFT_OUT 1
int pci_reset(const struct pci_function *f, const struct pci_function *bridge) must_check;
/* What pci_reset does for them: "flr", "power state", "bus"; NULL: there is no way. */
const char *pci_reset_way(const struct pci_function *f, const struct pci_function *bridge);
/* Configuration space of a function that has an owner. A reset of the physical function, which passes over virtual ones
 * whose bus mastering is on and ends all others for a while, does not come in between: an access to a virtual one waits
 * for its end, some 2.5 s at most. Nothing else waits. */
u32 pci_read(const struct pci_function *f, u32 offset, u32 size);
void pci_write(const struct pci_function *f, u32 offset, u32 size, u32 value);
