/* From a partition's table in the file to its block, memory and stage-2 tables. Boot core, before start. */
#pragma once

#include "core/machine.h"

/* The boot module with this name, NULL without. */
const struct boot_module *build_find_module(const char *name);
/* Takes memory, places it, draws regions and stage 2. Refuses to start if the machine cannot give it. */
struct partition *build_partition(const struct config_partition *c, struct console_input *input);
/* The XCR0 bits that guests may use on this machine. */
u64 build_xcr0(void);
