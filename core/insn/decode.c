/* Instruction decoder. Owns nothing: bytes in, one struct insn out. It sits on the exit path of
 * CPUs that do not report the length of an intercepted instruction, so a short instruction without
 * operands takes the shortest way through: prefixes, two table look-ups, done.
 * Source: SDM Vol 2A, Instruction Format; APM Vol 3, Instruction Encoding. */
#include "core/insn/insn.h"

#include "core/insn/decode_impl.h"

_Static_assert(INSN_16 == 0 && INSN_32 == 1 && INSN_64 == 2, "address size is 2 << mode");

#define REG_SP 4u
#define REG_BP 5u
#define REG_SI 6u
#define REG_DI 7u

/* Reads `bytes` (1, 2, 4, 8) as a signed number. False if they are not there. */
static bool take(struct cursor *c, u32 bytes, s64 *out) {
    const u8 *p = c->bytes + c->pos;
    u64 value = 0;

    if (bytes > c->limit - c->pos) return false;
    c->pos += bytes;
    for (u32 i = 0; i < bytes; i++) value |= (u64)p[i] << (8 * i);
    *out = (s64)(value << (64 - 8 * bytes)) >> (64 - 8 * bytes);
    return true;
}

static inline u8 operand_size(enum insn_mode mode, u32 prefixes, u8 rex, u32 flags) {
    u8 size;

    if (flags & OP_BYTE) return 1;
    if (rex & REX_W)
        size = 8;
    else if (!!(prefixes & PREFIX_OPERAND) != (mode == INSN_16))
        size = 2;
    else if ((flags & OP_STACK) && mode == INSN_64)
        size = 8;
    else
        size = 4;
    return (flags & OP_PORT) && size == 8 ? 4 : size;
}

static inline u8 address_size(enum insn_mode mode, u32 prefixes) {
    u8 size = (u8)(2u << mode);

    if (prefixes & PREFIX_ADDRESS) return mode == INSN_32 ? 2 : 4;
    return size;
}

static void set_seg(const struct cursor *c, struct insn *out, enum insn_seg normal) {
    out->seg = c->seg == SEG_COUNT ? normal : (enum insn_seg)c->seg;
}

/* ModRM memory operand with 16-bit addressing. SDM Vol 2A, 16-Bit Addressing Forms. */
static int memory_16(struct cursor *c, struct insn *out, u8 mod, u8 rm) {
    static const struct {
        u8 base, index;
    } forms[8] = {{3, REG_SI},           {3, REG_DI},           {REG_BP, REG_SI},      {REG_BP, REG_DI},
                  {REG_SI, INSN_NO_REG}, {REG_DI, INSN_NO_REG}, {REG_BP, INSN_NO_REG}, {3, INSN_NO_REG}};
    u32 disp_bytes = mod;

    out->base = forms[rm].base;
    out->index = forms[rm].index;
    if (mod == 0 && rm == 6) {
        out->base = INSN_NO_REG;
        disp_bytes = 2;
    }
    set_seg(c, out, out->base == REG_BP ? SEG_SS : SEG_DS);
    if (disp_bytes && !take(c, disp_bytes, &out->disp)) return out_of_bytes(c);
    return 0;
}

/* The same with 32-bit and 64-bit addressing. SDM Vol 2A, 32-Bit Addressing Forms; RIP-Relative
 * Addressing. */
static int memory_32(struct cursor *c, struct insn *out, u8 mod, u8 rm) {
    u32 disp_bytes = mod == 2 ? 4 : mod;
    u8 base = rm;
    bool with_sib = rm == REG_SP;

    if (with_sib) {
        u8 sib, index;

        if (c->pos == c->limit) return out_of_bytes(c);
        sib = c->bytes[c->pos++];
        base = sib & 7;
        index = (u8)(((sib >> 3) & 7) | ((c->rex & REX_X) << 2));
        if (index != REG_SP) {
            out->index = index;
            out->scale = (u8)(1 << (sib >> 6));
        }
    }
    /* REX.B does not take part in recognising the form without a base. */
    if (mod == 0 && base == REG_BP) {
        disp_bytes = 4;
        out->base = !with_sib && c->mode == INSN_64 ? INSN_REG_RIP : INSN_NO_REG;
    } else {
        out->base = (u8)(base | ((c->rex & REX_B) << 3));
    }
    set_seg(c, out, out->base == REG_SP || out->base == REG_BP ? SEG_SS : SEG_DS);
    if (disp_bytes && !take(c, disp_bytes, &out->disp)) return out_of_bytes(c);
    return 0;
}

/* Without REX, byte registers 4 to 7 are AH, CH, DH and BH. */
static u8 byte_register(const struct cursor *c, u8 reg, bool *high) {
    if (c->rex || reg < 4) return reg;
    *high = true;
    return reg & 3;
}

int decode_rm(struct cursor *c, struct insn *out, u32 flags, bool with_reg) {
    u8 modrm, mod, rm;

    if (c->pos == c->limit) return out_of_bytes(c);
    modrm = c->bytes[c->pos++];
    mod = modrm >> 6;
    rm = modrm & 7;
    if (with_reg) {
        out->reg = (u8)(((modrm >> 3) & 7) | ((c->rex & REX_R) << 1));
        if (out->size == 1) out->reg = byte_register(c, out->reg, &out->reg_high);
    }
    if (flags & OP_SRC) {
        out->src_size = flags & OP_SRC8 ? 1 : flags & OP_SRC16 ? 2 : 4;
        /* MOVSXD to a 16-bit register reads 16 bits. SDM Vol 2B, MOVSX/MOVSXD. */
        if (out->src_size == 4 && out->size == 2) out->src_size = 2;
    }
    if (mod == 3) {
        if (flags & OP_MEMORY) return -E_INVAL;
        out->rm = (u8)(rm | ((c->rex & REX_B) << 3));
        if (out->size == 1 || out->src_size == 1) out->rm = byte_register(c, out->rm, &out->rm_high);
        return 0;
    }
    out->memory = true;
    if (out->address_size == 2) return memory_16(c, out, mod, rm);
    return memory_32(c, out, mod, rm);
}

/* mod is ignored: always registers, of the mode's width. SDM Vol 2B, MOV - Move to/from Control
 * Registers. */
static int form_control(struct cursor *c, struct insn *out) {
    u8 modrm;

    if (c->pos == c->limit) return out_of_bytes(c);
    modrm = c->bytes[c->pos++];
    out->size = c->mode == INSN_64 ? 8 : 4;
    out->reg = (u8)(((modrm >> 3) & 7) | ((c->rex & REX_R) << 1));
    out->rm = (u8)((modrm & 7) | ((c->rex & REX_B) << 3));
    if (out->op == INSN_MOV_FROM_DR || out->op == INSN_MOV_TO_DR) return out->reg < 8 ? 0 : -E_INVAL;
    /* CR0, CR2, CR3, CR4, CR8 exist. */
    return out->reg <= 8 && (0x11du >> out->reg) & 1 ? 0 : -E_INVAL;
}

/* 0F 01: the register forms are mostly instructions of their own. SDM Vol 2D, Opcode Extensions,
 * group 7; APM Vol 3, ModRM Extensions to Opcodes 0F 01. */
static int form_system(struct cursor *c, struct insn *out) {
    u8 modrm;

    if (c->pos == c->limit) return out_of_bytes(c);
    modrm = c->bytes[c->pos];
    switch (modrm) {
    case 0xc1: out->op = INSN_VMCALL; break;
    case 0xc8: out->op = INSN_MONITOR; break;
    case 0xc9: out->op = INSN_MWAIT; break;
    case 0xd1: out->op = INSN_XSETBV; break;
    case 0xd9: out->op = INSN_VMMCALL; break;
    case 0xf9: out->op = INSN_RDTSCP; break;
    default:
        switch ((modrm >> 3) & 7) {
        case 4:
            out->op = INSN_SMSW;
            out->to_memory = true;
            if (modrm < 0xc0) /* memory gets 16 bits whatever the prefixes say */
                out->size = 2;
            return decode_rm(c, out, 0, false);
        case 6:
            out->op = INSN_LMSW;
            out->size = 2;
            return decode_rm(c, out, 0, false);
        case 7:
            if (modrm >= 0xc0) return -E_UNSUPPORTED;
            out->op = INSN_INVLPG;
            out->size = 1;
            return decode_rm(c, out, 0, false);
        default: return -E_UNSUPPORTED;
        }
    }
    c->pos++;
    return 0;
}

/* 90 is NOP, not XCHG: it leaves the upper half of rax alone. With REX.B it is XCHG with r8. SDM
 * Vol 2B, XCHG and PAUSE. */
static int form_xchg_acc(const struct cursor *c, struct insn *out) {
    if (c->rex & REX_B) {
        out->reg = 0;
        out->rm = 8;
        return 0;
    }
    if (!out->rep) return -E_UNSUPPORTED;
    out->op = INSN_PAUSE;
    out->to_memory = false;
    return 0;
}

/* Memory gets and gives 16 bits. There are six segment registers, and MOV does not load CS. SDM Vol 2B, MOV. */
static int form_segment(struct cursor *c, struct insn *out) {
    int error = decode_rm(c, out, 0, true);

    out->reg &= 7; /* whatever REX says */
    if (out->memory || !out->to_memory) out->size = 2;
    if (error) return error;
    return out->reg >= SEG_COUNT || (!out->to_memory && out->reg == SEG_CS) ? -E_INVAL : 0;
}

static void form_opreg(const struct cursor *c, struct insn *out, u8 opcode) {
    out->rm = (u8)((opcode & 7) | ((c->rex & REX_B) << 3));
    if (out->size == 1) out->rm = byte_register(c, out->rm, &out->rm_high);
    if (out->op == INSN_XCHG) out->reg = 0;
}

static void form_string(const struct cursor *c, struct insn *out, u32 flags) {
    out->memory = true;
    if (flags & OP_RDI) {
        out->base = REG_DI;
        out->seg = SEG_ES; /* no override. SDM Vol 1, String Instructions */
    } else {
        out->base = REG_SI;
        set_seg(c, out, SEG_DS);
    }
    if (out->op == INSN_STOS || out->op == INSN_LODS || out->op == INSN_SCAS) out->reg = 0;
}

static int operands(struct cursor *c, struct insn *out, const struct opcode *e, u32 flags) {
    switch ((enum insn_form)e->form) {
    case FORM_RM_LONG:
        if (c->mode != INSN_64) return -E_UNSUPPORTED;
        return decode_rm(c, out, flags, true);
    case FORM_RM: return decode_rm(c, out, flags, true);
    case FORM_OPREG: form_opreg(c, out, c->bytes[c->pos - 1]); return 0;
    case FORM_ACC: out->reg = 0; return 0;
    case FORM_MOFFS:
        out->reg = 0;
        out->memory = true;
        set_seg(c, out, SEG_DS);
        return take(c, out->address_size, &out->disp) ? 0 : out_of_bytes(c);
    case FORM_STRING: form_string(c, out, flags); return 0;
    case FORM_XCHG_ACC: return form_xchg_acc(c, out);
    case FORM_CONTROL: return form_control(c, out);
    case FORM_SYSTEM: return form_system(c, out);
    case FORM_SEGMENT: return form_segment(c, out);
    case FORM_DIRECT: return decode_direct(c, out);
    case FORM_VECTOR: return decode_vector(c, out, e->op);
    case FORM_38: return decode_38(c, out);
    case FORM_VEX: return decode_vex(c, out);
    case FORM_PLAIN: return 0;
    default: return -E_INVAL;
    }
}

static int immediate(struct cursor *c, struct insn *out, u32 flags) {
    u32 bytes = 1;
    s64 value;

    if ((flags & (OP_IMMZ | OP_IMMV)) && !(flags & OP_BYTE))
        bytes = out->size == 8 && (flags & OP_IMMZ) ? 4 : out->size;
    if (!take(c, bytes, &value)) return out_of_bytes(c);
    out->has_imm = true;
    out->imm = flags & OP_IMM8U ? (u8)value : (u64)value;
    return 0;
}

/* Everything behind the opcode, for instructions that have anything there. */
static int decode_operands(struct cursor *c, struct insn *out, const struct opcode *e) {
    u32 flags = e->flags;
    bool group = e->form == FORM_GROUP;
    int error;

    if ((flags & OP_NO64) && c->mode == INSN_64) return -E_INVAL;
    if (group) {
        if (c->pos == c->limit) return out_of_bytes(c);
        e = &insn_groups[e->op][(c->bytes[c->pos] >> 3) & 7];
        flags |= e->flags;
    }
    if (e->form == FORM_UNSUPPORTED) return out->lock && !(flags & OP_LOCKABLE) ? -E_INVAL : -E_UNSUPPORTED;
    out->op = (enum insn_op)e->op;
    out->size = operand_size(c->mode, c->prefixes, c->rex, flags);
    out->to_memory = flags & OP_TO_RM;
    error = group && e->form == FORM_RM ? decode_rm(c, out, flags, false) : operands(c, out, e, flags);
    if (error) return error;
    if (out->lock && !((flags & OP_LOCKABLE) && out->memory)) return -E_INVAL;
    return flags & OP_IMM ? immediate(c, out, flags) : 0;
}

/* By value and out of line: decode_any() needs no frame for what it does not use. */
static int __attribute__((noinline)) decode_rest(struct cursor c, struct insn *out, const struct opcode *e) {
    int error = decode_operands(&c, out, e);

    if (error)
        out->op = INSN_UNKNOWN;
    else
        out->length = (u8)c.pos;
    return error;
}

/* Field by field: gcc makes a string instruction of a whole assignment. */
static inline void clear(struct insn *out) {
    out->op = INSN_UNKNOWN;
    out->length = 0;
    out->size = 0;
    out->src_size = 0;
    out->address_size = 0;
    out->reg = INSN_NO_REG;
    out->reg_high = false;
    out->rm = INSN_NO_REG;
    out->rm_high = false;
    out->memory = false;
    out->to_memory = false;
    out->has_imm = false;
    out->rep = false;
    out->repne = false;
    out->lock = false;
    out->aligned = false;
    out->vex = false;
    out->seg = SEG_DS;
    out->base = INSN_NO_REG;
    out->index = INSN_NO_REG;
    out->scale = 1;
    out->disp = 0;
    out->imm = 0;
}

/* Prefixes and opcode. `out` is clear. */
static int __attribute__((noinline)) decode_any(const u8 *bytes, size_t count, enum insn_mode mode, struct insn *out) {
    u32 limit = count < INSN_MAX ? (u32)count : INSN_MAX, pos = 0, prefixes = 0;
    const struct opcode *e;
    u8 rex = 0, seg = SEG_COUNT;

    for (;;) {
        u8 byte;

        if (pos == limit) return too_short(limit);
        byte = bytes[pos++];
        e = &insn_one_byte[byte];
        if (e->form == FORM_PREFIX) {
            /* The last prefix of a group wins. REX counts only right before the opcode. SDM Vol 2A,
             * Instruction Prefixes; APM Vol 3, Segment-Override Prefixes. */
            if (e->flags & (PREFIX_REP | PREFIX_REPNE))
                prefixes &= ~(PREFIX_REP | PREFIX_REPNE);
            else if ((e->flags & PREFIX_SEG) || ((e->flags & PREFIX_SEG_OLD) && mode != INSN_64))
                seg = e->op;
            prefixes |= e->flags;
            rex = 0;
        } else if (mode == INSN_64 && (byte & 0xf0) == 0x40) {
            rex = byte;
        } else {
            break;
        }
    }
    if (e->form == FORM_ESCAPE) {
        if (pos == limit) return too_short(limit);
        e = &insn_two_byte[bytes[pos++]];
    }
    if (prefixes) {
        out->rep = prefixes & PREFIX_REP;
        out->repne = prefixes & PREFIX_REPNE;
        out->lock = prefixes & PREFIX_LOCK;
    }
    out->address_size = address_size(mode, prefixes);
    if (e->form != FORM_PLAIN || e->flags != 0)
        return decode_rest(
            (struct cursor){
                .bytes = bytes, .limit = limit, .pos = pos, .mode = mode, .prefixes = prefixes, .rex = rex, .seg = seg},
            out, e);
    if (prefixes & PREFIX_LOCK) return -E_INVAL;
    out->op = (enum insn_op)e->op;
    out->size = operand_size(mode, prefixes, rex, 0);
    out->length = (u8)pos;
    return 0;
}

int insn_decode(const u8 *bytes, size_t count, enum insn_mode mode, struct insn *out) {
    const struct opcode *e;
    u8 length = 1;

    clear(out);
    if (count < 2) return decode_any(bytes, count, mode, out);
    e = &insn_one_byte[bytes[0]];
    if (e->form == FORM_ESCAPE) {
        e = &insn_two_byte[bytes[1]];
        length = 2;
    }
    /* CPUID, HLT, RDMSR and the like, as compilers and people write them. */
    if (e->form != FORM_PLAIN || e->flags != 0) return decode_any(bytes, count, mode, out);
    out->op = (enum insn_op)e->op;
    out->length = length;
    out->size = operand_size(mode, 0, 0, 0);
    out->address_size = address_size(mode, 0);
    return 0;
}
