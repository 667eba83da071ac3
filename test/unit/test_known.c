/* core/insn/known.c: the length of an instruction whose opcode the exit has told. The decoder gives
 * the same length wherever it knows the instruction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/errors.h"
#include "core/insn/insn.h"
#include "core/insn/known.h"

static const struct insn_opcode cpuid = {0xffff, 0xa20f, 2};
static const struct insn_opcode hlt = {0xff, 0xf4, 1};
static const struct insn_opcode vmmcall = {0xffffff, 0xd9010f, 3};

static u32 length_of(const char *bytes, u32 count, const struct insn_opcode *opcode, bool long_mode) {
    u8 copy[20];

    memset(copy, 0xcc, sizeof(copy));
    memcpy(copy, bytes, count);
    return insn_known_length(copy, opcode, long_mode);
}

static void test_plain(void **state) {
    (void)state;
    assert_int_equal(2, length_of("\x0f\xa2", 2, &cpuid, true));
    assert_int_equal(1, length_of("\xf4", 1, &hlt, false));
    assert_int_equal(3, length_of("\x0f\x01\xd9", 3, &vmmcall, true));
    assert_int_equal(0, length_of("\x0f\x01\xd8", 3, &vmmcall, true));
    assert_int_equal(0, length_of("\x90", 1, &hlt, true));
}

static void test_prefixes(void **state) {
    static const u8 prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};
    char bytes[2] = {0, (char)0xf4};

    (void)state;
    for (u32 i = 0; i < 256; i++) {
        bool legacy = memchr(prefixes, (int)i, sizeof(prefixes)) != NULL, rex = i >> 4 == 4;

        bytes[0] = (char)i;
        if (i == 0xf4) continue;
        assert_int_equal(legacy ? 2 : 0, length_of(bytes, 2, &hlt, false));
        assert_int_equal(legacy || rex ? 2 : 0, length_of(bytes, 2, &hlt, true));
    }
    assert_int_equal(5, length_of("\x66\xf3\x48\x0f\xa2", 5, &cpuid, true));
    assert_int_equal(0, length_of("\x66\xf3\x48\x0f\xa2", 5, &cpuid, false));
}

/* 15 bytes are the most; nothing behind the 20 that the caller has is read (ASan). */
static void test_longest(void **state) {
    char bytes[20];
    struct insn insn;

    (void)state;
    for (u32 n = 0; n < 18; n++) {
        memset(bytes, 0x66, sizeof(bytes));
        memcpy(bytes + n, "\x0f\xa2", 2);
        assert_int_equal(n <= 13 ? n + 2 : 0, length_of(bytes, 20, &cpuid, true));
        assert_int_equal(n <= 13 ? 0 : -E_INVAL, insn_decode((const u8 *)bytes, sizeof(bytes), INSN_64, &insn));
        if (n <= 13) assert_int_equal(n + 2, insn.length);
    }
    memset(bytes, 0x66, sizeof(bytes));
    assert_int_equal(0, length_of(bytes, 20, &vmmcall, true));
}

static void test_unknown(void **state) {
    const struct insn_opcode none = {0, 1, 0};

    (void)state;
    assert_int_equal(0, length_of("\x0f\xa2", 2, &none, true));
    assert_int_equal(0, length_of("\x66\x0f\xa2", 3, &none, true));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_unknown),
    };

    return cmocka_run_group_tests_name("known", tests, NULL, NULL);
}
