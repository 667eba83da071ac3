/* Whether a hypervisor is below, by the customary CPUID leaf 0x40000000. */
#pragma once

#include "core/base/types.h"

bool hypervisor_is_mullion(void);
/* The 12 letters of its signature, or "none". Valid until the next call. */
const char *hypervisor_signature(void);
