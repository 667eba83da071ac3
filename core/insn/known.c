#include "core/insn/known.h"

#include "core/insn/insn.h"

static bool is_prefix(u8 byte, bool long_mode) {
    switch (byte) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:
    case 0x66:
    case 0x67:
    case 0xf0:
    case 0xf2:
    case 0xf3: return true;
    default: return long_mode && byte >> 4 == 4; /* REX */
    }
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
