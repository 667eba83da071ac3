/* Between decode.c and decode_vector.c. */
#pragma once

#include "core/base/errors.h"
#include "core/insn/decode_table.h"

#define REX_B 1u
#define REX_X 2u
#define REX_R 4u
#define REX_W 8u

struct cursor {
    const u8 *bytes;
    u32 limit, pos; /* bytes that may be looked at, and that were */
    enum insn_mode mode;
    u32 prefixes; /* PREFIX_* */
    u8 rex;       /* 0 if none */
    u8 seg;       /* override, SEG_COUNT if none */
};

/* What to say when the bytes run out: with 15 of them the instruction is too long (#GP). */
static inline int too_short(u32 limit) { return limit == INSN_MAX ? -E_INVAL : -E_TRUNCATED; }
static inline int out_of_bytes(const struct cursor *c) { return too_short(c->limit); }

/* ModRM and what belongs to it. flags: OP_SRC*, OP_MEMORY. */
int decode_rm(struct cursor *c, struct insn *out, u32 flags, bool with_reg) must_check;
/* MOVNTI and MOVDIRI: four bytes or, with REX.W, eight, to memory. */
int decode_direct(struct cursor *c, struct insn *out) must_check;
/* A vector move by an opcode of the 0F map; behind 0F 38; behind C4 or C5, which may be another instruction. */
int decode_vector(struct cursor *c, struct insn *out, u32 which) must_check;
int decode_38(struct cursor *c, struct insn *out) must_check;
int decode_vex(struct cursor *c, struct insn *out) must_check;
