/* The opcode tables. Read-only; an opcode that is not named is legal but not decoded. */
#include "core/insn/decode_table.h"

_Static_assert(sizeof(struct opcode) == 4, "the tables take one KiB each");

#define OP(op_, form_, flags_)                                                                                         \
    { .op = (op_), .form = (form_), .flags = (flags_) }
#define INVALID            OP(INSN_UNKNOWN, FORM_INVALID, 0)
#define NO64               OP(INSN_UNKNOWN, FORM_UNSUPPORTED, OP_NO64)
#define PREFIX(what)       OP(0, FORM_PREFIX, what)
#define SEGMENT(seg, what) OP(seg, FORM_PREFIX, what)
#define PLAIN(op_)         OP(op_, FORM_PLAIN, 0)

#define VECTOR(code) [0x##code] = OP(VECTOR_##code, FORM_VECTOR, 0)

/* The six encodings that ADD, OR, ADC, SBB, AND, SUB, XOR and CMP share. LOCK is legal only where
 * memory is written. */
#define ALU(base, op_, flags_)                                                                                         \
    [(base) + 0] = OP(op_, FORM_RM, OP_BYTE | OP_TO_RM | (flags_)),                                                    \
              [(base) + 1] = OP(op_, FORM_RM, OP_TO_RM | (flags_)), [(base) + 2] = OP(op_, FORM_RM, OP_BYTE),          \
              [(base) + 3] = OP(op_, FORM_RM, 0), [(base) + 4] = OP(op_, FORM_ACC, OP_BYTE | OP_IMM8),                 \
              [(base) + 5] = OP(op_, FORM_ACC, OP_IMMZ)
/* A byte opcode and, one above, the same for the other operand sizes. */
#define PAIR(base, op_, form_, flags_)                                                                                 \
    [(base) + 0] = OP(op_, form_, OP_BYTE | (flags_)), [(base) + 1] = OP(op_, form_, flags_)

const struct opcode insn_one_byte[256] = {
    ALU(0x00, INSN_ADD, OP_LOCKABLE),
    [0x06 ... 0x07] = NO64,
    ALU(0x08, INSN_OR, OP_LOCKABLE),
    [0x0e] = NO64,
    [0x0f] = OP(INSN_UNKNOWN, FORM_ESCAPE, 0),
    ALU(0x10, INSN_ADC, OP_LOCKABLE),
    [0x16 ... 0x17] = NO64,
    ALU(0x18, INSN_SBB, OP_LOCKABLE),
    [0x1e ... 0x1f] = NO64,
    ALU(0x20, INSN_AND, OP_LOCKABLE),
    [0x26] = SEGMENT(SEG_ES, PREFIX_SEG_OLD),
    [0x27] = NO64,
    ALU(0x28, INSN_SUB, OP_LOCKABLE),
    [0x2e] = SEGMENT(SEG_CS, PREFIX_SEG_OLD),
    [0x2f] = NO64,
    ALU(0x30, INSN_XOR, OP_LOCKABLE),
    [0x36] = SEGMENT(SEG_SS, PREFIX_SEG_OLD),
    [0x37] = NO64,
    ALU(0x38, INSN_CMP, 0),
    [0x3e] = SEGMENT(SEG_DS, PREFIX_SEG_OLD),
    [0x3f] = NO64,
    /* REX in 64-bit mode: the decoder looks at that first. */
    [0x40 ... 0x47] = OP(INSN_INC, FORM_OPREG, OP_TO_RM | OP_NO64),
    [0x48 ... 0x4f] = OP(INSN_DEC, FORM_OPREG, OP_TO_RM | OP_NO64),
    [0x50 ... 0x57] = OP(INSN_PUSH, FORM_OPREG, OP_STACK),
    [0x58 ... 0x5f] = OP(INSN_POP, FORM_OPREG, OP_TO_RM | OP_STACK),
    [0x60 ... 0x61] = NO64,
    [0x63] = OP(INSN_MOVSX, FORM_RM_LONG, OP_SRC32),
    [0x64] = SEGMENT(SEG_FS, PREFIX_SEG),
    [0x65] = SEGMENT(SEG_GS, PREFIX_SEG),
    [0x66] = PREFIX(PREFIX_OPERAND),
    [0x67] = PREFIX(PREFIX_ADDRESS),
    [0x68] = OP(INSN_PUSH, FORM_PLAIN, OP_STACK | OP_IMMZ),
    [0x6a] = OP(INSN_PUSH, FORM_PLAIN, OP_STACK | OP_IMM8),
    PAIR(0x6c, INSN_INS, FORM_STRING, OP_TO_RM | OP_RDI | OP_PORT),
    PAIR(0x6e, INSN_OUTS, FORM_STRING, OP_PORT),
    [0x80] = OP(GROUP_ALU, FORM_GROUP, OP_BYTE | OP_IMM8),
    [0x81] = OP(GROUP_ALU, FORM_GROUP, OP_IMMZ),
    [0x82] = OP(GROUP_ALU, FORM_GROUP, OP_BYTE | OP_IMM8 | OP_NO64),
    [0x83] = OP(GROUP_ALU, FORM_GROUP, OP_IMM8),
    PAIR(0x84, INSN_TEST, FORM_RM, OP_TO_RM),
    PAIR(0x86, INSN_XCHG, FORM_RM, OP_TO_RM | OP_LOCKABLE),
    PAIR(0x88, INSN_MOV, FORM_RM, OP_TO_RM),
    PAIR(0x8a, INSN_MOV, FORM_RM, 0),
    [0x8c] = OP(INSN_MOV_FROM_SEG, FORM_SEGMENT, OP_TO_RM),
    [0x8e] = OP(INSN_MOV_TO_SEG, FORM_SEGMENT, 0),
    [0x8f] = OP(GROUP_POP, FORM_GROUP, OP_STACK),
    [0x90] = OP(INSN_XCHG, FORM_XCHG_ACC, OP_TO_RM),
    [0x91 ... 0x97] = OP(INSN_XCHG, FORM_OPREG, OP_TO_RM),
    [0x9a] = NO64,
    PAIR(0xa0, INSN_MOV, FORM_MOFFS, 0),
    PAIR(0xa2, INSN_MOV, FORM_MOFFS, OP_TO_RM),
    PAIR(0xa4, INSN_MOVS, FORM_STRING, OP_TO_RM),
    PAIR(0xa6, INSN_CMPS, FORM_STRING, 0),
    [0xa8] = OP(INSN_TEST, FORM_ACC, OP_BYTE | OP_IMM8),
    [0xa9] = OP(INSN_TEST, FORM_ACC, OP_IMMZ),
    PAIR(0xaa, INSN_STOS, FORM_STRING, OP_TO_RM | OP_RDI),
    PAIR(0xac, INSN_LODS, FORM_STRING, 0),
    PAIR(0xae, INSN_SCAS, FORM_STRING, OP_RDI),
    [0xb0 ... 0xb7] = OP(INSN_MOV, FORM_OPREG, OP_BYTE | OP_TO_RM | OP_IMM8),
    [0xb8 ... 0xbf] = OP(INSN_MOV, FORM_OPREG, OP_TO_RM | OP_IMMV),
    [0xc4 ... 0xc5] = OP(INSN_UNKNOWN, FORM_VEX, 0),
    [0xc6] = OP(GROUP_MOV, FORM_GROUP, OP_BYTE | OP_IMM8),
    [0xc7] = OP(GROUP_MOV, FORM_GROUP, OP_IMMZ),
    [0xcc] = PLAIN(INSN_INT3),
    [0xcd] = OP(INSN_INT, FORM_PLAIN, OP_IMM8U),
    [0xce] = NO64,
    [0xd4 ... 0xd6] = NO64,
    PAIR(0xe4, INSN_IN, FORM_ACC, OP_PORT | OP_IMM8U),
    PAIR(0xe6, INSN_OUT, FORM_ACC, OP_PORT | OP_IMM8U),
    [0xea] = NO64,
    PAIR(0xec, INSN_IN, FORM_ACC, OP_PORT),
    PAIR(0xee, INSN_OUT, FORM_ACC, OP_PORT),
    [0xf0] = PREFIX(PREFIX_LOCK),
    [0xf2] = PREFIX(PREFIX_REPNE),
    [0xf3] = PREFIX(PREFIX_REP),
    [0xf4] = PLAIN(INSN_HLT),
    PAIR(0xf6, GROUP_UNARY, FORM_GROUP, 0),
    [0xfe] = OP(GROUP_INC8, FORM_GROUP, OP_BYTE),
    [0xff] = OP(GROUP_INC, FORM_GROUP, 0),
};

const struct opcode insn_two_byte[256] = {
    [0x01] = OP(INSN_UNKNOWN, FORM_SYSTEM, 0),
    [0x04] = INVALID,
    [0x06] = PLAIN(INSN_CLTS),
    [0x08] = PLAIN(INSN_INVD),
    [0x09] = PLAIN(INSN_WBINVD), /* with F3 WBNOINVD, which an older CPU runs as WBINVD */
    [0x0a ... 0x0c] = INVALID,   /* 0B is UD2 */
    VECTOR(10),
    VECTOR(11),
    [0x20] = OP(INSN_MOV_FROM_CR, FORM_CONTROL, OP_TO_RM),
    [0x21] = OP(INSN_MOV_FROM_DR, FORM_CONTROL, OP_TO_RM),
    [0x22] = OP(INSN_MOV_TO_CR, FORM_CONTROL, 0),
    [0x23] = OP(INSN_MOV_TO_DR, FORM_CONTROL, 0),
    [0x24 ... 0x27] = INVALID,
    VECTOR(28),
    VECTOR(29),
    VECTOR(2B),
    [0x30] = PLAIN(INSN_WRMSR),
    [0x31] = PLAIN(INSN_RDTSC),
    [0x32] = PLAIN(INSN_RDMSR),
    [0x33] = PLAIN(INSN_RDPMC),
    [0x36] = INVALID,
    [0x38] = OP(INSN_UNKNOWN, FORM_38, 0),
    [0x39] = INVALID,
    [0x3b ... 0x3f] = INVALID,
    VECTOR(6E),
    VECTOR(6F),
    VECTOR(7E),
    VECTOR(7F),
    [0xa2] = PLAIN(INSN_CPUID),
    [0xa3] = OP(INSN_BT, FORM_RM, OP_TO_RM),
    [0xa6 ... 0xa7] = INVALID,
    [0xab] = OP(INSN_BTS, FORM_RM, OP_TO_RM | OP_LOCKABLE),
    PAIR(0xb0, INSN_CMPXCHG, FORM_RM, OP_TO_RM | OP_LOCKABLE),
    [0xb3] = OP(INSN_BTR, FORM_RM, OP_TO_RM | OP_LOCKABLE),
    [0xb6] = OP(INSN_MOVZX, FORM_RM, OP_SRC8),
    [0xb7] = OP(INSN_MOVZX, FORM_RM, OP_SRC16),
    [0xb9] = INVALID, /* UD1 */
    [0xba] = OP(GROUP_BT, FORM_GROUP, OP_IMM8U),
    [0xbb] = OP(INSN_BTC, FORM_RM, OP_TO_RM | OP_LOCKABLE),
    [0xbe] = OP(INSN_MOVSX, FORM_RM, OP_SRC8),
    [0xbf] = OP(INSN_MOVSX, FORM_RM, OP_SRC16),
    PAIR(0xc0, INSN_XADD, FORM_RM, OP_TO_RM | OP_LOCKABLE),
    [0xc3] = OP(INSN_MOV, FORM_DIRECT, OP_TO_RM),             /* MOVNTI */
    [0xc7] = OP(INSN_UNKNOWN, FORM_UNSUPPORTED, OP_LOCKABLE), /* CMPXCHG8B */
    VECTOR(D6),
    VECTOR(E7),
    VECTOR(F0),
    [0xff] = INVALID, /* UD0 */
};

#define MEMBER(op_, flags_) OP(op_, FORM_RM, OP_TO_RM | (flags_))

const struct opcode insn_groups[GROUP_COUNT][8] = {
    [GROUP_ALU] = {MEMBER(INSN_ADD, OP_LOCKABLE), MEMBER(INSN_OR, OP_LOCKABLE), MEMBER(INSN_ADC, OP_LOCKABLE),
                   MEMBER(INSN_SBB, OP_LOCKABLE), MEMBER(INSN_AND, OP_LOCKABLE), MEMBER(INSN_SUB, OP_LOCKABLE),
                   MEMBER(INSN_XOR, OP_LOCKABLE), MEMBER(INSN_CMP, 0)},
    [GROUP_POP] = {MEMBER(INSN_POP, 0)}, /* the others start an XOP instruction */
    [GROUP_MOV] = {MEMBER(INSN_MOV, 0), INVALID, INVALID, INVALID, INVALID, INVALID, INVALID},
    /* 1 repeats 0 on every CPU; only APM Vol 3 says so. The others multiply and divide. */
    [GROUP_UNARY] = {MEMBER(INSN_TEST, OP_IMMZ), MEMBER(INSN_TEST, OP_IMMZ), MEMBER(INSN_NOT, OP_LOCKABLE),
                     MEMBER(INSN_NEG, OP_LOCKABLE)},
    [GROUP_INC8] = {MEMBER(INSN_INC, OP_LOCKABLE), MEMBER(INSN_DEC, OP_LOCKABLE), INVALID, INVALID, INVALID, INVALID,
                    INVALID, INVALID},
    [GROUP_INC] = {[0] = MEMBER(INSN_INC, OP_LOCKABLE),
                   [1] = MEMBER(INSN_DEC, OP_LOCKABLE),
                   [6] = OP(INSN_PUSH, FORM_RM, OP_STACK),
                   [7] = INVALID},
    [GROUP_BT] = {INVALID, INVALID, INVALID, INVALID, MEMBER(INSN_BT, 0), MEMBER(INSN_BTS, OP_LOCKABLE),
                  MEMBER(INSN_BTR, OP_LOCKABLE), MEMBER(INSN_BTC, OP_LOCKABLE)},
};
