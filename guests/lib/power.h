/* The end of a program. Any CPU. */
#pragma once

#include "core/base/types.h"

/* ACPI S5 through PM1a control; if that does nothing, halts this CPU for ever. */
noreturn_fn void power_off(void);
/* Reset through port 0xcf9. */
noreturn_fn void power_reset(void);
