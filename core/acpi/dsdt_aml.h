/* The DSDT as iasl compiles it from dsdt.asl; the bytes are made at build time. */
#pragma once

#include "core/base/types.h"

extern const u8 dsdt_aml[];
extern const u32 dsdt_aml_bytes;
