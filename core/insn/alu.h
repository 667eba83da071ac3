/* Integer arithmetic with the flags that a processor leaves. Pure; for execute.c and tests.
 * Source: SDM Vol 1, Status Flags; flags that the manual calls undefined come out as Intel and AMD
 * processors leave them (AF clear after AND, OR, XOR, TEST). */
#pragma once

#include "core/base/x86.h"
#include "core/insn/insn.h"

#define ALU_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* Values are `size` bytes wide: 1, 2, 4 or 8. */
static inline u64 alu_mask(u32 size) { return ~(u64)0 >> (64 - 8 * size); }

/* op: ADD, OR, ADC, SBB, AND, SUB, XOR, CMP (the difference) or TEST. Bits of a and b above `size`
 * are ignored; *flags are read (carry) and changed. Returns the result. */
u64 alu_binary(enum insn_op op, u64 a, u64 b, u32 size, u64 *flags);
/* op: INC, DEC, NOT or NEG. */
u64 alu_unary(enum insn_op op, u64 a, u32 size, u64 *flags);
/* op: BT, BTS, BTR or BTC; bit: 0 to 8 * size - 1. */
u64 alu_bit(enum insn_op op, u64 a, u32 bit, u64 *flags);
