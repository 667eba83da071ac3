#include "core/insn/known.h"

#include "core/insn/decode_table.h"
#include "core/insn/insn.h"

static bool is_prefix(u8 byte, bool long_mode) {
    return insn_one_byte[byte].form == FORM_PREFIX || (long_mode && byte >> 4 == 4); /* REX */
}

u32 insn_prefixed_length(const u8 *bytes, const struct insn_opcode *opcode, bool long_mode) {
    u32 word;

    if (!opcode->length) return 0;
    for (u32 n = 0; n + opcode->length <= INSN_MAX; n++) {
        memcpy(&word, bytes + n, sizeof(word));
        if ((word & opcode->mask) == opcode->value) return n + opcode->length;
        if (!is_prefix(bytes[n], long_mode)) return 0;
    }
    return 0;
}
