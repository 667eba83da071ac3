/* Moves between vector registers and memory, with SSE and VEX encodings, and the moves of the 0F 38 map. A register on
 * the other side, MMX, EVEX and all arithmetic are legal but not decoded. Owns nothing. Source: SDM Vol 2, Instruction
 * Format: VEX Prefix; Opcode Map; MOVAPS, MOVD/MOVQ, MOVDQA, MOVDQU, MOVNTDQ and others. */
#include "core/insn/decode_impl.h"

#define BYTES   0x1fu /* in a register that VEX.L makes twice as wide, if 16 */
#define STORE   0x20u
#define BY_W    0x40u /* 4 bytes, or 8 with W */
#define ALIGNED 0x80u /* to all its bytes, or #GP(0) */

/* With no prefix, 66, F3, F2: the mandatory prefixes in the order of VEX.pp. 0: none of ours. */
static const u8 moves[VECTOR_COUNT][4] = {
    [VECTOR_10] = {16, 16, 4, 8}, /* MOVUPS, MOVUPD, MOVSS, MOVSD */
    [VECTOR_11] = {STORE | 16, STORE | 16, STORE | 4, STORE | 8},
    [VECTOR_28] = {ALIGNED | 16, ALIGNED | 16}, /* MOVAPS, MOVAPD */
    [VECTOR_29] = {STORE | ALIGNED | 16, STORE | ALIGNED | 16},
    [VECTOR_2B] = {STORE | ALIGNED | 16, STORE | ALIGNED | 16}, /* MOVNTPS, MOVNTPD */
    [VECTOR_6E] = {0, BY_W},                                    /* MOVD, MOVQ */
    [VECTOR_6F] = {0, ALIGNED | 16, 16},                        /* MOVDQA, MOVDQU */
    [VECTOR_7E] = {0, STORE | BY_W, 8},                         /* MOVD, MOVQ; MOVQ */
    [VECTOR_7F] = {0, STORE | ALIGNED | 16, STORE | 16},
    [VECTOR_D6] = {0, STORE | 8},            /* MOVQ */
    [VECTOR_E7] = {0, STORE | ALIGNED | 16}, /* MOVNTDQ */
    [VECTOR_F0] = {0, 0, 0, 16},             /* LDDQU */
    [VECTOR_38_2A] = {0, ALIGNED | 16},      /* MOVNTDQA */
};

static bool memory_only(u32 which) {
    return which == VECTOR_2B || which == VECTOR_E7 || which == VECTOR_F0 || which == VECTOR_38_2A;
}

static int vector(struct cursor *c, struct insn *out, u32 which, u32 prefix, bool wide) {
    u8 move = moves[which][prefix];
    bool in_register = c->pos < c->limit && c->bytes[c->pos] >= 0xc0;

    if (!move) return -E_UNSUPPORTED;
    if (in_register) return memory_only(which) ? -E_INVAL : -E_UNSUPPORTED;
    out->op = INSN_VMOV;
    out->size = move & BY_W ? (c->rex & REX_W ? 8 : 4) : move & BYTES;
    if (out->size == 16 && wide) out->size = 32;
    out->aligned = move & ALIGNED;
    out->to_memory = move & STORE;
    return decode_rm(c, out, 0, true);
}

/* F2 and F3 come before 66. SDM Vol 2A, Prefix Summary Table; Instruction Prefixes. */
static u32 mandatory(const struct cursor *c) {
    return c->prefixes & PREFIX_REPNE ? 3 : c->prefixes & PREFIX_REP ? 2 : c->prefixes & PREFIX_OPERAND ? 1 : 0;
}

int decode_vector(struct cursor *c, struct insn *out, u32 which) { return vector(c, out, which, mandatory(c), false); }

int decode_direct(struct cursor *c, struct insn *out) {
    if (mandatory(c)) return -E_INVAL;
    out->op = INSN_MOV;
    out->to_memory = true;
    out->size = c->rex & REX_W ? 8 : 4;
    return decode_rm(c, out, OP_MEMORY, true);
}

int decode_38(struct cursor *c, struct insn *out) {
    u8 opcode;

    if (c->pos == c->limit) return out_of_bytes(c);
    opcode = c->bytes[c->pos++];
    switch (opcode) {
    case 0x2a: return decode_vector(c, out, VECTOR_38_2A);
    case 0xf0:
    case 0xf1:
        if (mandatory(c) > 1) return mandatory(c) == 3 ? -E_UNSUPPORTED : -E_INVAL; /* CRC32 */
        out->op = INSN_MOVBE;
        out->to_memory = opcode & 1;
        return decode_rm(c, out, OP_MEMORY, true);
    case 0xf8:
        if (mandatory(c) != 1) return -E_UNSUPPORTED; /* ENQCMD */
        out->op = INSN_MOVDIR64B;
        out->size = 64;
        return decode_rm(c, out, OP_MEMORY, true);
    case 0xf9: return decode_direct(c, out);
    default: return -E_UNSUPPORTED;
    }
}

int decode_vex(struct cursor *c, struct insn *out) {
    bool three = c->bytes[c->pos - 1] == 0xc4;
    const u8 *b = c->bytes + c->pos;
    u32 map = 1, which;
    u8 last;

    if (c->pos == c->limit) return out_of_bytes(c);
    if (c->mode != INSN_64 && b[0] < 0xc0) return -E_UNSUPPORTED; /* LES, LDS */
    if (c->rex || (c->prefixes & ~(PREFIX_ADDRESS | PREFIX_SEG | PREFIX_SEG_OLD))) return -E_INVAL;
    if (c->limit - c->pos < (three ? 3u : 2u)) return out_of_bytes(c);
    if (three) map = *b++ & 31;
    last = *b++; /* W, vvvv inverted, L, pp; in the short form R instead of W */
    c->pos += three ? 3 : 2;
    if (map == 1 && insn_two_byte[*b].form == FORM_VECTOR)
        which = insn_two_byte[*b].op;
    else if (map == 2 && *b == 0x2a)
        which = VECTOR_38_2A;
    else
        return -E_UNSUPPORTED;
    if (c->mode == INSN_64) {
        u8 inverted = (u8) ~(three ? b[-2] : last);

        c->rex = (u8)((inverted & 0x80 ? REX_R : 0) | (three && (inverted & 0x40) ? REX_X : 0) |
                      (three && (inverted & 0x20) ? REX_B : 0) | (three && (last & 0x80) ? REX_W : 0));
    }
    if (!moves[which][last & 3]) return -E_UNSUPPORTED;
    /* MOVD and MOVQ have no wide form; nothing but a third register would be in vvvv. */
    if (c->pos < c->limit && c->bytes[c->pos] < 0xc0 &&
        ((~last & 0x78) || ((last & 4) && (which == VECTOR_6E || which == VECTOR_7E || which == VECTOR_D6))))
        return -E_INVAL;
    out->vex = true;
    return vector(c, out, which, last & 3, last & 4);
}
