/* core/insn/decode.c beside the Capstone disassembler: length, operation, and every operand with its register, memory,
 * segment, size and immediate. For a unit test and a fuzzer. */
#pragma once

#include <stdio.h>
#include <string.h>

#include <capstone/capstone.h>

#include "core/base/errors.h"
#include "core/insn/insn.h"

static const struct {
    enum insn_op op;
    x86_insn id[32];
} names[] = {
    {INSN_MOV, {X86_INS_MOV, X86_INS_MOVABS, X86_INS_MOVNTI}},
    {INSN_MOVZX, {X86_INS_MOVZX}},
    {INSN_MOVSX, {X86_INS_MOVSX, X86_INS_MOVSXD}},
    {INSN_MOVBE, {X86_INS_MOVBE}},
    {INSN_MOV_FROM_SEG, {X86_INS_MOV}},
    {INSN_MOV_TO_SEG, {X86_INS_MOV}},
    {INSN_VMOV,
     {X86_INS_MOVUPS,  X86_INS_MOVUPD,  X86_INS_MOVSS,    X86_INS_MOVSD,    X86_INS_MOVAPS,   X86_INS_MOVAPD,
      X86_INS_MOVNTPS, X86_INS_MOVNTPD, X86_INS_MOVD,     X86_INS_MOVQ,     X86_INS_MOVDQA,   X86_INS_MOVDQU,
      X86_INS_MOVNTDQ, X86_INS_LDDQU,   X86_INS_MOVNTDQA, X86_INS_VMOVUPS,  X86_INS_VMOVUPD,  X86_INS_VMOVSS,
      X86_INS_VMOVSD,  X86_INS_VMOVAPS, X86_INS_VMOVAPD,  X86_INS_VMOVNTPS, X86_INS_VMOVNTPD, X86_INS_VMOVD,
      X86_INS_VMOVQ,   X86_INS_VMOVDQA, X86_INS_VMOVDQU,  X86_INS_VMOVNTDQ, X86_INS_VLDDQU,   X86_INS_VMOVNTDQA}},
    {INSN_MOVS, {X86_INS_MOVSB, X86_INS_MOVSW, X86_INS_MOVSD, X86_INS_MOVSQ}},
    {INSN_STOS, {X86_INS_STOSB, X86_INS_STOSW, X86_INS_STOSD, X86_INS_STOSQ}},
    {INSN_LODS, {X86_INS_LODSB, X86_INS_LODSW, X86_INS_LODSD, X86_INS_LODSQ}},
    {INSN_CMPS, {X86_INS_CMPSB, X86_INS_CMPSW, X86_INS_CMPSD, X86_INS_CMPSQ}},
    {INSN_SCAS, {X86_INS_SCASB, X86_INS_SCASW, X86_INS_SCASD, X86_INS_SCASQ}},
    {INSN_ADD, {X86_INS_ADD}},
    {INSN_OR, {X86_INS_OR}},
    {INSN_ADC, {X86_INS_ADC}},
    {INSN_SBB, {X86_INS_SBB}},
    {INSN_AND, {X86_INS_AND}},
    {INSN_SUB, {X86_INS_SUB}},
    {INSN_XOR, {X86_INS_XOR}},
    {INSN_CMP, {X86_INS_CMP}},
    {INSN_TEST, {X86_INS_TEST}},
    {INSN_INC, {X86_INS_INC}},
    {INSN_DEC, {X86_INS_DEC}},
    {INSN_NOT, {X86_INS_NOT}},
    {INSN_NEG, {X86_INS_NEG}},
    {INSN_XCHG, {X86_INS_XCHG}},
    {INSN_CMPXCHG, {X86_INS_CMPXCHG}},
    {INSN_XADD, {X86_INS_XADD}},
    {INSN_BT, {X86_INS_BT}},
    {INSN_BTS, {X86_INS_BTS}},
    {INSN_BTR, {X86_INS_BTR}},
    {INSN_BTC, {X86_INS_BTC}},
    {INSN_PUSH, {X86_INS_PUSH}},
    {INSN_POP, {X86_INS_POP}},
    {INSN_IN, {X86_INS_IN}},
    {INSN_OUT, {X86_INS_OUT}},
    {INSN_INS, {X86_INS_INSB, X86_INS_INSW, X86_INS_INSD}},
    {INSN_OUTS, {X86_INS_OUTSB, X86_INS_OUTSW, X86_INS_OUTSD}},
    {INSN_MOV_FROM_CR, {X86_INS_MOV}},
    {INSN_MOV_TO_CR, {X86_INS_MOV}},
    {INSN_MOV_FROM_DR, {X86_INS_MOV}},
    {INSN_MOV_TO_DR, {X86_INS_MOV}},
    {INSN_LMSW, {X86_INS_LMSW}},
    {INSN_SMSW, {X86_INS_SMSW}},
    {INSN_CLTS, {X86_INS_CLTS}},
    {INSN_CPUID, {X86_INS_CPUID}},
    {INSN_HLT, {X86_INS_HLT}},
    {INSN_RDMSR, {X86_INS_RDMSR}},
    {INSN_WRMSR, {X86_INS_WRMSR}},
    {INSN_RDTSC, {X86_INS_RDTSC}},
    {INSN_RDTSCP, {X86_INS_RDTSCP}},
    {INSN_RDPMC, {X86_INS_RDPMC}},
    {INSN_XSETBV, {X86_INS_XSETBV}},
    {INSN_VMCALL, {X86_INS_VMCALL}},
    {INSN_VMMCALL, {X86_INS_VMMCALL}},
    {INSN_INVD, {X86_INS_INVD}},
    {INSN_WBINVD, {X86_INS_WBINVD}},
    {INSN_INVLPG, {X86_INS_INVLPG}},
    {INSN_PAUSE, {X86_INS_PAUSE}},
    {INSN_MONITOR, {X86_INS_MONITOR}},
    {INSN_MWAIT, {X86_INS_MWAIT}},
    {INSN_INT3, {X86_INS_INT3}},
    {INSN_INT, {X86_INS_INT}},
};

static bool same_op(enum insn_op op, unsigned id) {
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        for (size_t j = 0; names[i].op == op && j < 32; j++)
            if (names[i].id[j] == id && id != X86_INS_INVALID) return true;
    return false;
}

static void report(const char *what, const u8 *bytes, enum insn_mode mode, const struct insn *ours, int error,
                   const cs_insn *theirs) {
    printf("%s: mode %d:", what, 16 << mode);
    for (u32 i = 0; i < 16; i++) printf(" %02x", bytes[i]);
    printf("\n  ours: error %d op %d length %u size %u; theirs: %s %s length %u\n", error, ours->op, ours->length,
           ours->size, theirs ? theirs->mnemonic : "-", theirs ? theirs->op_str : "", theirs ? theirs->size : 0);
}

static bool named(unsigned id) {
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (same_op(names[i].op, id)) return true;
    return false;
}

/* Number of a general register as an encoding has it, INSN_NO_REG if it is none. */
static u8 general(unsigned reg, bool *high) {
    static const unsigned legacy[][8] = {
        {X86_REG_RAX, X86_REG_RCX, X86_REG_RDX, X86_REG_RBX, X86_REG_RSP, X86_REG_RBP, X86_REG_RSI, X86_REG_RDI},
        {X86_REG_EAX, X86_REG_ECX, X86_REG_EDX, X86_REG_EBX, X86_REG_ESP, X86_REG_EBP, X86_REG_ESI, X86_REG_EDI},
        {X86_REG_AX, X86_REG_CX, X86_REG_DX, X86_REG_BX, X86_REG_SP, X86_REG_BP, X86_REG_SI, X86_REG_DI},
        {X86_REG_AL, X86_REG_CL, X86_REG_DL, X86_REG_BL, X86_REG_SPL, X86_REG_BPL, X86_REG_SIL, X86_REG_DIL},
        {X86_REG_AH, X86_REG_CH, X86_REG_DH, X86_REG_BH},
    };
    static const unsigned later[] = {X86_REG_R8, X86_REG_R8D, X86_REG_R8W, X86_REG_R8B};

    *high = false;
    for (u8 size = 0; size < 5; size++)
        for (u8 i = 0; i < 8; i++)
            if (reg == legacy[size][i] && reg) {
                *high = size == 4;
                return i;
            }
    for (u8 size = 0; size < 4; size++)
        if (reg >= later[size] && reg < later[size] + 8) return (u8)(8 + reg - later[size]);
    return INSN_NO_REG;
}

static u8 address_register(unsigned reg) {
    bool high;

    return reg == X86_REG_RIP || reg == X86_REG_EIP ? INSN_REG_RIP : general(reg, &high);
}

static enum insn_seg segment_number(unsigned reg) {
    static const unsigned names_of[] = {X86_REG_ES, X86_REG_CS, X86_REG_SS, X86_REG_DS, X86_REG_FS, X86_REG_GS};
    enum insn_seg i = SEG_ES;

    while (i < SEG_COUNT && names_of[i] != reg) i++;
    return i;
}

static bool is_string(enum insn_op op) {
    return (op >= INSN_MOVS && op <= INSN_SCAS) || op == INSN_INS || op == INSN_OUTS;
}

static bool has(const u8 *bytes, u8 prefix) {
    for (u32 i = 0; i < 8; i++)
        if (bytes[i] == prefix) return true;
    return false;
}

/* In 64-bit mode only FS and GS count. Capstone names a segment where there is a prefix. */
static bool same_segment(const struct insn *ours, const x86_op_mem *m, u8 base, enum insn_mode mode) {
    enum insn_seg theirs = segment_number(m->segment);

    if (mode == INSN_64 && ours->seg < SEG_FS) return theirs < SEG_FS || theirs == SEG_COUNT;
    if (theirs == SEG_COUNT) theirs = base == 4 || base == 5 ? SEG_SS : SEG_DS;
    return ours->seg == theirs;
}

static bool same_memory(const struct insn *ours, const x86_op_mem *m, enum insn_mode mode) {
    u64 mask = ~(u64)0 >> (64 - 8 * ours->address_size); /* unsigned there, signed here */
    u8 base = address_register(m->base), index = address_register(m->index);

    return ours->memory && ours->base == base && ours->index == index &&
           (ours->index == INSN_NO_REG || ours->scale == m->scale) &&
           ((u64)ours->disp & mask) == ((u64)m->disp & mask) && same_segment(ours, m, base, mode);
}

enum role { ROLE_REG, ROLE_RM, ROLE_IMM, ROLE_DX };

/* Our operands in the order of Intel's syntax. Returns how many. */
static u32 roles(const struct insn *i, enum role *out) {
    switch (i->op) {
    case INSN_INT: out[0] = ROLE_IMM; return 1;
    case INSN_PUSH: out[0] = i->has_imm ? ROLE_IMM : ROLE_RM; return 1;
    case INSN_INC ... INSN_NEG:
    case INSN_POP:
    case INSN_LMSW:
    case INSN_SMSW:
    case INSN_INVLPG: out[0] = ROLE_RM; return 1;
    case INSN_IN:
        out[0] = ROLE_REG;
        out[1] = i->has_imm ? ROLE_IMM : ROLE_DX;
        return 2;
    case INSN_OUT:
        out[0] = i->has_imm ? ROLE_IMM : ROLE_DX;
        out[1] = ROLE_REG;
        return 2;
    case INSN_CLTS ... INSN_WBINVD:
    case INSN_PAUSE ... INSN_INT3: return 0;
    default: break;
    }
    if (i->to_memory) {
        out[0] = ROLE_RM;
        out[1] = i->has_imm ? ROLE_IMM : ROLE_REG;
    } else {
        out[0] = ROLE_REG;
        out[1] = i->has_imm ? ROLE_IMM : ROLE_RM;
    }
    return 2;
}

static bool same_reg(const struct insn *i, unsigned theirs) {
    bool high;

    switch (i->op) {
    case INSN_MOV_FROM_CR:
    case INSN_MOV_TO_CR: return theirs == (unsigned)X86_REG_CR0 + i->reg;
    case INSN_MOV_FROM_DR:
    case INSN_MOV_TO_DR: return theirs == (unsigned)X86_REG_DR0 + i->reg;
    case INSN_MOV_FROM_SEG:
    case INSN_MOV_TO_SEG: return segment_number(theirs) == (enum insn_seg)i->reg;
    case INSN_VMOV: return theirs == (i->size == 32 ? (unsigned)X86_REG_YMM0 : (unsigned)X86_REG_XMM0) + i->reg;
    default: return general(theirs, &high) == i->reg && high == i->reg_high;
    }
}

/* What differs in one operand, NULL if nothing. */
static const char *operand_difference(const struct insn *i, enum role role, const cs_x86_op *o, enum insn_mode mode) {
    u32 size = i->src_size && role == ROLE_RM ? i->src_size : i->size;
    u64 mask = size >= 8 ? ~(u64)0 : ((u64)1 << (8 * size)) - 1;
    bool high;

    switch (role) {
    case ROLE_REG:
        if (o->type != X86_OP_REG || !same_reg(i, o->reg)) return "register";
        return i->op == INSN_VMOV || i->op == INSN_MOV_FROM_SEG || i->op == INSN_MOV_TO_SEG || o->size == i->size ||
                       (i->op >= INSN_MOV_FROM_CR && i->op <= INSN_MOV_TO_DR)
                   ? NULL
                   : "size";
    case ROLE_RM:
        if (o->type == X86_OP_MEM && !same_memory(i, &o->mem, mode)) return "memory";
        if (o->type == X86_OP_REG && (i->memory || general(o->reg, &high) != i->rm || high != i->rm_high))
            return "register";
        if (o->type == X86_OP_IMM) return "register";
        return i->op == INSN_INVLPG || (i->op == INSN_MOV_TO_SEG && !i->memory) || o->size == size ? NULL : "size";
    case ROLE_IMM:
        if (i->op == INSN_IN || i->op == INSN_OUT || i->op == INSN_INT || (i->op >= INSN_BT && i->op <= INSN_BTC))
            mask = 0xff;
        return o->type == X86_OP_IMM && ((u64)o->imm & mask) == (i->imm & mask) ? NULL : "immediate";
    default: return o->type == X86_OP_REG && o->reg == X86_REG_DX ? NULL : "port";
    }
}

/* Both memory operands, where there are two, have the address size; the one at rSI has the segment. */
static const char *string_difference(const struct insn *i, const cs_x86 *theirs, enum insn_mode mode) {
    static const unsigned si[] = {X86_REG_SI, X86_REG_ESI, X86_REG_RSI}, di[] = {X86_REG_DI, X86_REG_EDI, X86_REG_RDI};
    u32 width = i->address_size == 2 ? 0 : i->address_size == 4 ? 1 : 2, seen = 0;
    bool takes_si = i->op == INSN_MOVS || i->op == INSN_LODS || i->op == INSN_CMPS || i->op == INSN_OUTS;
    bool takes_di = i->op != INSN_LODS && i->op != INSN_OUTS;

    for (u8 n = 0; n < theirs->op_count; n++) {
        const cs_x86_op *o = &theirs->operands[n];

        if (o->type != X86_OP_MEM) continue;
        if (o->size != i->size) return "size";
        if (takes_si && o->mem.base == si[width]) {
            seen |= 1;
            if (!same_segment(i, &o->mem, 6, mode)) return "segment";
        } else if (takes_di && o->mem.base == di[width]) {
            seen |= 2;
        } else {
            return "memory";
        }
    }
    return seen == ((takes_si ? 1u : 0) | (takes_di ? 2u : 0)) ? NULL : "memory";
}

/* What goes by the same name there but is not in enum insn_op (segment and vector registers), or
 * does not exist (DR8, CR1 and so on). */
static bool beyond(const cs_x86 *detail) {
    for (u8 i = 0; i < detail->op_count; i++) {
        x86_reg reg = detail->operands[i].reg;

        if (detail->operands[i].type != X86_OP_REG) continue;
        if ((reg >= X86_REG_DR8 && reg <= X86_REG_DR15) || (reg >= X86_REG_XMM0 && reg <= X86_REG_XMM31)) return true;
        if ((reg >= X86_REG_MM0 && reg <= X86_REG_MM7) || (reg >= X86_REG_YMM0 && reg <= X86_REG_YMM31)) return true;
        if (reg == X86_REG_CS || reg == X86_REG_DS || reg == X86_REG_ES || reg == X86_REG_FS || reg == X86_REG_GS ||
            reg == X86_REG_SS)
            return true;
        if (reg == X86_REG_CR1 || (reg >= X86_REG_CR5 && reg <= X86_REG_CR7) ||
            (reg >= X86_REG_CR9 && reg <= X86_REG_CR15))
            return true;
    }
    return false;
}

/* Is a prefix that belongs to the opcode followed by another one? */
static bool apart(const u8 *bytes, enum insn_mode mode) {
    u32 n = 0;

    while (n < INSN_MAX && bytes[n] != 0x0f) n++;
    if (n && mode == INSN_64 && (bytes[n - 1] & 0xf0) == 0x40) n--;
    return n == 0 || (bytes[n - 1] != 0x66 && bytes[n - 1] != 0xf2 && bytes[n - 1] != 0xf3);
}

static bool is(const char *a, const char *b) { return !strcmp(a, b); }

/* Where capstone is known to be wrong, or knows less. */
static bool excused(const char *what, const u8 *bytes, enum insn_mode mode, const struct insn *ours,
                    const cs_insn *theirs) {
    bool repeats = has(bytes, 0xf2) || has(bytes, 0xf3), prefixed = has(bytes, 0x66) || repeats;

    /* It takes 66 with F2 or F3 for an SSE prefix. */
    if (has(bytes, 0x66) && repeats && !is(what, "refused") && (!is(what, "length") || ours->op == INSN_PUSH))
        return true;
    switch (ours->op) {
    case INSN_VMOV: /* such a one for none if another follows it, REX.W sometimes, and outside 64-bit mode */
        if (prefixed && (mode != INSN_64 || apart(bytes, mode))) return true;
        if (is(what, "register") && theirs->id == X86_INS_MOVD) return true;
        break;
    case INSN_MOV_FROM_SEG: /* minds REX.R of a segment register */
    case INSN_MOV_TO_SEG:
        if (is(what, "accepted") && mode == INSN_64) return true;
        break;
    case INSN_MOV: /* knows no MOVDIRI */
        if (is(what, "accepted") && has(bytes, 0x38)) return true;
        break;
    case INSN_MOVDIR64B: return is(what, "accepted");
    case INSN_MOVBE:
        if (is(what, "accepted") && prefixed) return true;
        break;
    case INSN_MOVSX: /* calls the destination of MOVSXD 64 bits wide */
        if (theirs && theirs->id == X86_INS_MOVSXD && (is(what, "size") || is(what, "register"))) return true;
        break;
    case INSN_PAUSE: /* is NOP to it when F3 is not alone, and so is XCHG with r8 */
    case INSN_XCHG:
        if (is(what, "op") || is(what, "operands") || is(what, "size") || is(what, "register")) return true;
        break;
    case INSN_PUSH: /* has sizes of its own, and no sign of what REX.W makes 64 bits wide */
    case INSN_POP:
        if (is(what, "size") || is(what, "register") || (is(what, "immediate") && mode == INSN_64)) return true;
        break;
    case INSN_IN ... INSN_OUTS: /* 66 counts more than REX.W there */
        if (is(what, "size") && mode == INSN_64) return true;
        break;
    default: break;
    }
    /* It lets LOCK stand before anything, and prefixes before MOVNTI and MOVBE. */
    if (is(what, "refused"))
        return has(bytes, 0xf0) || beyond(&theirs->detail->x86) ||
               (prefixed && (theirs->id == X86_INS_MOVNTI || theirs->id == X86_INS_MOVBE));
    /* In 64-bit mode ES, CS, SS and DS do not take FS or GS back. */
    return mode == INSN_64 && ours->seg >= SEG_FS && (is(what, "memory") || is(what, "segment")) &&
           (has(bytes, 0x26) || has(bytes, 0x2e) || has(bytes, 0x36) || has(bytes, 0x3e));
}

static const char *difference(const struct insn *ours, const cs_insn *theirs, enum insn_mode mode) {
    const cs_x86 *detail = &theirs->detail->x86;
    enum role role[2];
    u32 count;
    const char *what = NULL;

    if (ours->length != theirs->size) return "length";
    if (!same_op(ours->op, theirs->id)) return "op";
    if (is_string(ours->op)) return string_difference(ours, detail, mode);
    count = roles(ours, role);
    if (count && count != detail->op_count) return "operands";
    for (u32 i = 0; i < count && !what; i++) what = operand_difference(ours, role[i], &detail->operands[i], mode);
    /* These two may stand the other way round. */
    if (what && (ours->op == INSN_XCHG || ours->op == INSN_TEST)) {
        if (!operand_difference(ours, role[0], &detail->operands[1], mode) &&
            !operand_difference(ours, role[1], &detail->operands[0], mode))
            return NULL;
    }
    return what;
}

/* Returns false and says so if the two disagree on 15 bytes. *both: how often both decoded. */
static bool capstone_agrees(csh handle, const u8 *bytes, enum insn_mode mode, u32 *both) {
    struct insn ours;
    cs_insn *theirs = NULL;
    int error = insn_decode(bytes, INSN_MAX, mode, &ours);
    size_t n = cs_disasm(handle, bytes, INSN_MAX, 0, 1, &theirs);
    const char *what = NULL;

    if (error && n && named(theirs->id))
        what = "refused";
    else if (!error && n == 0)
        what = "accepted";
    else if (!error) {
        what = difference(&ours, theirs, mode);
        ++*both;
    }
    if (what && excused(what, bytes, mode, &ours, n ? theirs : NULL)) what = NULL;
    if (what) report(what, bytes, mode, &ours, error, n ? theirs : NULL);
    cs_free(theirs, n);
    return !what;
}

static csh capstone_open(enum insn_mode mode) {
    static const cs_mode modes[] = {CS_MODE_16, CS_MODE_32, CS_MODE_64};
    csh handle;

    if (cs_open(CS_ARCH_X86, modes[mode], &handle) != CS_ERR_OK) return 0;
    cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON);
    return handle;
}
