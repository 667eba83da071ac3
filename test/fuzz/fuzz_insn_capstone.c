/* The decoder beside the Capstone disassembler: the same length, operation, registers, memory, segment, sizes and
 * immediate for whatever both decode, except where capstone.h says that it is wrong. At most one prefix of each kind,
 * as Capstone has ideas of its own about more. */
#include <stdlib.h>

#include "test/capstone.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static bool is_prefix(u8 byte, enum insn_mode mode) {
    static const u8 all[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};

    return memchr(all, byte, sizeof(all)) || (mode == INSN_64 && (byte & 0xf0) == 0x40);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    static const u8 segments[8] = {0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0}, repeats[4] = {0, 0xf2, 0xf3, 0};
    static csh handles[3];
    enum insn_mode mode;
    u8 bytes[INSN_MAX + 8] = {0};
    u32 n = 0, both;

    if (size < 4) return 0;
    mode = (enum insn_mode)(data[0] % 3);
    if (!handles[mode]) handles[mode] = capstone_open(mode);
    if (!handles[mode]) abort();
    if (segments[data[1] & 7]) bytes[n++] = segments[data[1] & 7];
    if (data[1] & 0x80) bytes[n++] = 0xf0;
    if (data[1] & 0x40) bytes[n++] = 0x67;
    if (data[1] & 0x20) bytes[n++] = 0x66;
    if (repeats[data[1] >> 3 & 3]) bytes[n++] = repeats[data[1] >> 3 & 3];
    if (mode == INSN_64 && (data[2] & 0x80)) bytes[n++] = (u8)(0x40 | (data[2] & 15));
    if (is_prefix(data[3], mode)) return 0;
    data += 3;
    size -= 3;
    for (size_t i = 0; i < size && n < INSN_MAX; i++) bytes[n++] = data[i];
    if (!capstone_agrees(handles[mode], bytes, mode, &both)) abort();
    return 0;
}
