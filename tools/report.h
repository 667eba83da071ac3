/* What mullion-check has beside the checks of core/config: the ownership report, and the check of memory, which the
 * hypervisor makes by placing it. */
#pragma once

#include "core/config/config.h"

/* Prints who owns each core, memory range, port, interrupt and module, a line per call of `line`. */
void config_report(const struct config *config, void (*line)(void *ctx, const char *text), void *ctx);

/* Do the partitions fit in so many bytes? Returns 0 or -E_INVAL with the first that does not in *error. */
int config_check_memory(const struct config *config, u64 memory, struct config_error *error) must_check;
