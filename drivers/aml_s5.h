/* Finds \_S5 in AML without interpreting it. Pure; the bytes are untrusted. */
#pragma once

#include "core/base/types.h"

/* aml: `bytes` behind a DSDT's or SSDT's header. Looks for a Name object `_S5_` whose value is a
 * package of integer constants, and takes SLP_TYPa and SLP_TYPb out of it. Returns false if there
 * is none, or if it is made in a way that only an interpreter could follow. */
bool aml_find_s5(const u8 *aml, u64 bytes, u8 *type_a, u8 *type_b);
