/* Values without a pattern, the same in every run. */
#pragma once

#include "core/base/types.h"

/* The next one. Any CPU; two at once may get the same. */
u64 noise(void);
