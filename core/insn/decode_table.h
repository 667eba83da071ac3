/* Opcode tables of the decoder: what each opcode of the one-byte and the 0F map is, and how its
 * operands are encoded. Read-only data, for the decoder alone.
 * Source: SDM Vol 2, Opcode Map; APM Vol 3, Opcode and Operand Encodings. */
#pragma once

#include "core/insn/insn.h"

enum insn_form {
    FORM_UNSUPPORTED, /* legal but not in enum insn_op; 0, so that tables name only the others */
    FORM_INVALID,     /* #UD on every CPU */
    FORM_PREFIX,
    FORM_ESCAPE,   /* 0F */
    FORM_PLAIN,    /* nothing but perhaps an immediate */
    FORM_RM,       /* ModRM: register and register or memory */
    FORM_RM_LONG,  /* the same in 64-bit mode, unsupported elsewhere */
    FORM_OPREG,    /* register in the opcode's low three bits */
    FORM_ACC,      /* accumulator */
    FORM_MOFFS,    /* accumulator and a full address */
    FORM_STRING,   /* memory at rSI or rDI */
    FORM_XCHG_ACC, /* 90: NOP, PAUSE or XCHG with r8 */
    FORM_GROUP,    /* ModRM.reg selects from insn_groups[op] */
    FORM_CONTROL,  /* MOV to and from CRn, DRn */
    FORM_SYSTEM,   /* 0F 01 */
    FORM_SEGMENT,  /* ModRM: segment register and register or memory */
    FORM_DIRECT,   /* ModRM: register to memory, no prefix but REX */
    FORM_VECTOR,   /* enum insn_vector in op */
    FORM_38,       /* 0F 38 */
    FORM_VEX,      /* C4, C5; or LES, LDS */
};

#define OP_BYTE     0x0001u /* operands of one byte; else by prefix and mode */
#define OP_TO_RM    0x0002u /* rm is the destination */
#define OP_LOCKABLE 0x0004u /* LOCK is legal if the destination is memory */
#define OP_NO64     0x0008u /* #UD in 64-bit mode */
#define OP_STACK    0x0010u /* 8 bytes by default in 64-bit mode */
#define OP_IMM8     0x0020u /* one byte, sign-extended */
#define OP_IMM8U    0x0040u /* one byte, not sign-extended */
#define OP_IMMZ     0x0080u /* 2 or 4 bytes, sign-extended */
#define OP_IMMV     0x0100u /* as wide as the operand, to 8 bytes */
#define OP_SRC8     0x0200u /* the source has 1, 2, 4 bytes and is widened */
#define OP_SRC16    0x0400u
#define OP_SRC32    0x0800u
#define OP_MEMORY   0x1000u /* #UD with a register in ModRM.rm */
#define OP_PORT     0x2000u /* operands of at most 4 bytes */
#define OP_RDI      0x4000u /* string: the memory operand is es:[rdi] */
/* FORM_PREFIX: which one. Segment overrides have the segment in op. */
#define PREFIX_OPERAND 0x01u /* 66 */
#define PREFIX_ADDRESS 0x02u /* 67 */
#define PREFIX_LOCK    0x04u
#define PREFIX_REPNE   0x08u
#define PREFIX_REP     0x10u
#define PREFIX_SEG     0x20u /* FS, GS */
#define PREFIX_SEG_OLD 0x40u /* ES, CS, SS, DS: without effect in 64-bit mode */

#define OP_IMM (OP_IMM8 | OP_IMM8U | OP_IMMZ | OP_IMMV)
#define OP_SRC (OP_SRC8 | OP_SRC16 | OP_SRC32)

struct opcode {
    u8 op;   /* enum insn_op, or enum insn_group with FORM_GROUP */
    u8 form; /* enum insn_form */
    u16 flags;
};

enum insn_group {
    GROUP_ALU,   /* 80-83 */
    GROUP_POP,   /* 8F */
    GROUP_MOV,   /* C6, C7 */
    GROUP_UNARY, /* F6, F7 */
    GROUP_INC8,  /* FE */
    GROUP_INC,   /* FF */
    GROUP_BT,    /* 0F BA */
    GROUP_COUNT
};

/* By opcode. */
enum insn_vector {
    VECTOR_10,
    VECTOR_11,
    VECTOR_28,
    VECTOR_29,
    VECTOR_2B,
    VECTOR_6E,
    VECTOR_6F,
    VECTOR_7E,
    VECTOR_7F,
    VECTOR_D6,
    VECTOR_E7,
    VECTOR_F0,
    VECTOR_38_2A,
    VECTOR_COUNT
};

extern const struct opcode insn_one_byte[256];
extern const struct opcode insn_two_byte[256];
/* Flags of an entry add to those of the opcode that led here. */
extern const struct opcode insn_groups[GROUP_COUNT][8];
