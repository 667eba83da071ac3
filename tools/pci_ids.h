/* Names of vendors and devices as lspci prints them, from the PCI ID Repository's file (Debian's package pci.ids). */
#pragma once

#include "core/base/types.h"

#define PCI_IDS_FILE "/usr/share/misc/pci.ids"
#define PCI_IDS_NAME 160 /* bytes of a name, with its end; longer ones are cut */

/* `VENDOR DEVICE` of one function, as far as the text (`length` bytes) knows them: empty if not even the vendor.
 * Source: the head of pci.ids, Syntax. */
void pci_ids_name(const char *text, size_t length, u32 vendor, u32 device, char out[PCI_IDS_NAME]);
