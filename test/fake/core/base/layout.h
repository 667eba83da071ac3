/* core/base/layout.h for host tests: the same windows at addresses that a program can have. test/fake/hardware.c maps
 * memory behind them, and has an image of five pages. */
#pragma once

#include "../../../../core/base/layout.h"
#include "core/base/types.h"

extern const u8 image_start[];

#undef IMAGE_BASE
#undef LOCAL_BASE
#undef DIRECT_BASE
#define IMAGE_BASE  ((u64)image_start)
#define LOCAL_BASE  0x210000000000
#define DIRECT_BASE 0x220000000000
