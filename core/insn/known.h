/* The length of an instruction whose opcode is known, because the processor has told why it exited: only its prefixes
 * have to be counted. Pure. */
#pragma once

#include "core/base/string.h"
#include "core/base/types.h"

/* An opcode of 1 to 3 bytes, in the order of memory: (bytes & mask) == value. length 0: unknown. */
struct insn_opcode {
    u32 mask, value, length;
};

/* The same for an instruction that has prefixes. */
u32 insn_prefixed_length(const u8 *bytes, const struct insn_opcode *opcode, bool long_mode);

/* bytes: at least 20 readable ones. Returns the length, at most 15, or 0 if something else than prefixes stands before
 * the opcode. Source: SDM Vol 2A, Instruction Format. */
static inline u32 insn_known_length(const u8 *bytes, const struct insn_opcode *opcode, bool long_mode) {
    u32 word;

    memcpy(&word, bytes, sizeof(word));
    return (word & opcode->mask) == opcode->value ? opcode->length : insn_prefixed_length(bytes, opcode, long_mode);
}
