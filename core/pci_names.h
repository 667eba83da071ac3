/* Names of PCI classes, and of vendors and devices if the boot module pci.ids is there, as lspci prints them. */
#pragma once

#include "core/config/pci_ids.h"
#include "drivers/pci_scan.h"

/* class_code: class << 16 | subclass << 8 | interface. Source: PCI Code and ID Assignment Specification, Class Codes;
 * the wording is that of the PCI ID Repository. */
const char *pci_class_name(u32 class_code);
/* An entry with the names of each function, in their order; NULL without the module. It reads the whole text, which
 * takes milliseconds: once, and only where names are printed. Boot core, before start. */
const struct pci_ids_entry *pci_names_find(const struct pci_function *functions, u32 count);
