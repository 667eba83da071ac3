/* Virtual functions: reads the SR-IOV capability of a function and finds room for their memory. Boot core. Pure:
 * configuration space arrives as struct pci_access. Nobody sees virtual functions before they are enabled, and their
 * own registers hold neither ids nor BARs. Source: Single Root I/O Virtualization and Sharing 1.1. */
#pragma once

#include "core/base/pci.h"

/* Where memory of virtual functions may lie: not outside [low, high) or [low64, high64), nor in `taken`. What firmware
 * has placed may stay above `low`, and above 4 GiB behind memory_top, where memory ends. */
struct pci_room {
    u64 low, high, low64, high64, memory_top;
    const struct pci_bar *taken;
    u32 taken_count;
};

/* Finds out what `count` virtual functions of f would be and fills f->vfs, memory included; they stay disabled.
 * functions: all of the machine, f among them. Access to f->id only, and to the port above it, which is told to forward
 * to all function numbers (ARI) if both can. Returns 0, or -E_UNSUPPORTED, -E_RANGE (too many), -E_OVERLAP (their
 * identities are taken, or on another bus) or -E_NOMEM (no room) with the reason in `why`. */
int pci_sriov_plan(const struct pci_access *a, struct pci_function *f, u32 count, const struct pci_function *functions,
                   u32 function_count, const struct pci_room *room, char *why, size_t why_size) must_check;
/* Describes number `n`, which answers; f->vfs.acs is known then. */
void pci_sriov_function(const struct pci_access *a, struct pci_function *f, u32 n, struct pci_function *out);
