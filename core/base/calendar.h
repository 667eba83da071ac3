/* Days of the Gregorian calendar. Layer 0, pure. */
#pragma once

#include "core/base/types.h"

#define YEAR_SHIFT 400u /* keeps day numbers of all years 0 to 9999 positive */

/* Day number of a date of the Gregorian calendar; years begin in March, so that the leap day is the
 * last. month: 1 to 12. */
static inline u64 day_number(u32 year, u32 month, u32 day) {
    u64 y = year + YEAR_SHIFT - (month <= 2 ? 1 : 0);
    u64 m = month <= 2 ? month + 9 : month - 3; /* 0 = March */
    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;
}
