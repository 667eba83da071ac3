/* What mullion-check has beside the checks of core/config: the ownership report, and the check of memory, which the
 * hypervisor makes by placing it. */
#pragma once

#include <stdio.h>

#include "core/config/config.h"
#include "core/config/pci_ids.h"
#include "tools/inventory.h"

#define PCI_IDS_FILE "/usr/share/misc/pci.ids"

/* What there is to tell about a good file. */
struct ownership {
    const char *file;
    const struct config *config;
    const struct inventory *machine; /* NULL: not known */
    const struct placement *places;  /* one for each partition; NULL: not known */
    const char *pci_ids;             /* the PCI ID Repository's file; NULL: not there */
    size_t pci_ids_length;
    const struct config_error *warnings;
    u32 warning_count;
};

/* Vendor and device of a function, as lspci names them; empty if it is not known. */
void ownership_name(const struct ownership *o, const struct inventory_function *f, char out[PCI_IDS_NAME]);
/* Prints who owns each core, memory range, port, interrupt and module, a line per call of `line`. */
void config_report(const struct config *config, void (*line)(void *ctx, const char *text), void *ctx);

/* Do the partitions fit in so many bytes? Returns 0 or -E_INVAL with the first that does not in *error. */
int config_check_memory(const struct config *config, u64 memory, struct config_error *error) must_check;
/* The same for a known machine: what is nobody's, where memory comes to lie, each PCI function. Behind config_report.
 */
void inventory_report(const struct ownership *o, void (*line)(void *ctx, const char *text), void *ctx);
/* For programs: docs/partition-file.md has the schema. */
void json_report(FILE *out, const struct ownership *o);
void json_mistake(FILE *out, const char *file, const struct config_error *error);
/* As a picture. */
void svg_report(FILE *out, const struct ownership *o);
/* The partition + 1 that has a core, or 0. */
u32 config_core_owner(const struct config *config, u32 core);
