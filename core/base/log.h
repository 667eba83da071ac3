/* The hypervisor's log: one line per call, `module: message`, lower case, hex with 0x, sizes with
 * units. Any core. Never called between an exit and the next entry except when a partition ends or
 * restarts. */
#pragma once

#include "core/base/types.h"

void log_line(const char *format, ...) printf_like(1, 2);
