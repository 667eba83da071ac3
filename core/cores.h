/* The cores from the end of start-up on. */
#pragma once

#include "core/base/types.h"

/* CR0 and CR4 bits that protect the hypervisor, as far as this CPU has them. Each core. */
void cores_protect(void);
/* Each core goes over to its own tables, cr3 in its struct boot_core, and to its vCPU. From then on nothing can be
 * called that linker.ld lists as boot's. partitions: how many run. Boot core. */
void cores_release(u32 partitions) noreturn_fn;
