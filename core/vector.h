/* The guest's vector registers: core/vector.S. This core's, between an exit and the next entry. */
#pragma once

#include "core/base/types.h"

enum vector_move { VECTOR_LOAD, VECTOR_STORE, VECTOR_LOAD_VEX, VECTOR_LOAD_WIDE, VECTOR_STORE_WIDE };

/* Moves 16 bytes between register `reg`, 0 to 15, and memory, 32 if WIDE. VECTOR_LOAD leaves the register's upper part
 * alone, the other loads clear it. From LOAD_VEX on AVX must be on: XCR0 is the guest's. */
void vector_move(enum vector_move what, u32 reg, void *memory);
