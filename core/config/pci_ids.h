/* Names of vendors and devices as lspci prints them, from the text of the PCI ID Repository (Debian's package pci.ids).
 * Pure; the same source serves the hypervisor, which has the text as a boot module, and tools/mullion-check. */
#pragma once

#include "core/base/types.h"

#define PCI_IDS_MODULE "pci.ids"
#define PCI_IDS_MAX    MIB(4) /* bytes; what lies behind is not read. The text has 1.4 million */
#define PCI_IDS_NAME   160    /* bytes of a name that suffice, with its end */

/* A part of the text, `bytes` 0: it has no such name. */
struct pci_ids_part {
    const char *at;
    size_t bytes;
};

/* A function's identity, and what the text calls it. */
struct pci_ids_entry {
    u32 vendor, device;
    struct pci_ids_part vendor_name, device_name;
};

/* Fills in the names of all entries, in one pass; they were zero, and stay so where the text does not know one. Any
 * text is harmless. Source: the head of pci.ids, Syntax. */
void pci_ids_find(const char *text, size_t length, struct pci_ids_entry *entries, u32 count);
/* `VENDOR DEVICE`, cut to size - 1 bytes; a control character of ASCII is a question mark. plain: so is every other
 * character that is not ASCII, and "Device" stands for a device that is not known, as lspci has it; else nothing stands
 * for it. Returns the length. size: at least 1. */
size_t pci_ids_text(const struct pci_ids_entry *entry, bool plain, char *out, size_t size);
