/* Integer arithmetic for the emulator. Owns nothing, touches only what it is given. */
#include "core/insn/alu.h"

static u64 result_flags(u64 result, u32 size) {
    u32 low = (u32)result & 0xff;
    u64 flags = 0;

    /* Bit n of 0x9669 says whether n has an even number of ones. */
    if ((0x9669u >> ((low ^ (low >> 4)) & 0xf)) & 1) flags |= RFLAGS_PF;
    if (result == 0) flags |= RFLAGS_ZF;
    if ((result >> (8 * size - 1)) & 1) flags |= RFLAGS_SF;
    return flags;
}

static u64 add(u64 a, u64 b, u64 carry, u32 size, u64 *flags) {
    u64 r = (a + b + carry) & alu_mask(size);
    u32 top = 8 * size - 1;
    u64 out = result_flags(r, size);

    if ((((a & b) | ((a | b) & ~r)) >> top) & 1) out |= RFLAGS_CF;
    if ((((a ^ r) & (b ^ r)) >> top) & 1) out |= RFLAGS_OF;
    out |= (a ^ b ^ r) & RFLAGS_AF; /* AF is bit 4, and so is the carry out of bit 3 */
    *flags = (*flags & ~ALU_FLAGS) | out;
    return r;
}

static u64 subtract(u64 a, u64 b, u64 borrow, u32 size, u64 *flags) {
    u64 r = (a - b - borrow) & alu_mask(size);
    u32 top = 8 * size - 1;
    u64 out = result_flags(r, size);

    if ((((~a & b) | ((~a | b) & r)) >> top) & 1) out |= RFLAGS_CF;
    if ((((a ^ b) & (a ^ r)) >> top) & 1) out |= RFLAGS_OF;
    out |= (a ^ b ^ r) & RFLAGS_AF;
    *flags = (*flags & ~ALU_FLAGS) | out;
    return r;
}

static u64 logic(u64 r, u32 size, u64 *flags) {
    *flags = (*flags & ~ALU_FLAGS) | result_flags(r, size);
    return r;
}

u64 alu_binary(enum insn_op op, u64 a, u64 b, u32 size, u64 *flags) {
    u64 carry = *flags & RFLAGS_CF;

    a &= alu_mask(size);
    b &= alu_mask(size);
    switch (op) {
    case INSN_ADD: return add(a, b, 0, size, flags);
    case INSN_ADC: return add(a, b, carry, size, flags);
    case INSN_SBB: return subtract(a, b, carry, size, flags);
    case INSN_OR: return logic(a | b, size, flags);
    case INSN_XOR: return logic(a ^ b, size, flags);
    case INSN_AND:
    case INSN_TEST: return logic(a & b, size, flags);
    default: /* SUB, CMP */ return subtract(a, b, 0, size, flags);
    }
}

u64 alu_unary(enum insn_op op, u64 a, u32 size, u64 *flags) {
    u64 carry = *flags & RFLAGS_CF, r;

    a &= alu_mask(size);
    switch (op) {
    case INSN_NOT: return ~a & alu_mask(size);
    case INSN_NEG: return subtract(0, a, 0, size, flags);
    case INSN_INC: r = add(a, 1, 0, size, flags); break;
    default: /* DEC */ r = subtract(a, 1, 0, size, flags); break;
    }
    *flags = (*flags & ~RFLAGS_CF) | carry; /* INC and DEC leave the carry alone */
    return r;
}

u64 alu_bit(enum insn_op op, u64 a, u32 bit, u64 *flags) {
    u64 one = (u64)1 << bit;

    *flags = (*flags & ~RFLAGS_CF) | (a & one ? RFLAGS_CF : 0);
    switch (op) {
    case INSN_BTS: return a | one;
    case INSN_BTR: return a & ~one;
    case INSN_BTC: return a ^ one;
    default: /* BT */ return a;
    }
}
