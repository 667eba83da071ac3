/* The ownership report of mullion-check. */
#pragma once

#include "core/config/config.h"

/* Prints who owns each core, memory range, port, interrupt and module, a line per call of `line`. */
void config_report(const struct config *config, void (*line)(void *ctx, const char *text), void *ctx);
