/* The glyphs of printable ASCII, made from a Debian package by tools/make-font. */
#pragma once

#include "core/base/types.h"

#define FONT_FIRST  0x20u
#define FONT_GLYPHS 95u
#define FONT_WIDTH  8u
#define FONT_HEIGHT 16u

extern const u8 font[FONT_GLYPHS][FONT_HEIGHT]; /* rows from above; bit 7 is the leftmost pixel */
