/* core/insn/decode.c: encodings written from SDM Vol 2 and APM Vol 3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/errors.h"
#include "core/insn/insn.h"

/* Decodes from an exact heap copy, so that ASan sees any read beyond. */
static int decode(enum insn_mode mode, const char *bytes, size_t count, struct insn *out) {
    u8 *copy = malloc(count ? count : 1);
    int result;

    memcpy(copy, bytes, count);
    result = insn_decode(copy, count, mode, out);
    free(copy);
    return result;
}

#define BYTES(s) s, sizeof(s) - 1
#define NONE     INSN_NO_REG

struct length_case {
    enum insn_mode mode;
    const char *bytes;
    size_t count;
    enum insn_op op;
    u8 size, address_size;
};

static const struct length_case lengths[] = {
    {INSN_64, BYTES("\x0f\xa2"), INSN_CPUID, 4, 8},
    {INSN_64, BYTES("\x66\x0f\xa2"), INSN_CPUID, 2, 8},
    {INSN_64, BYTES("\xf3\x48\x0f\xa2"), INSN_CPUID, 8, 8},
    {INSN_16, BYTES("\x2e\x67\x0f\xa2"), INSN_CPUID, 2, 4},
    {INSN_32, BYTES("\x0f\xa2"), INSN_CPUID, 4, 4},
    {INSN_64, BYTES("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x0f\xa2"), INSN_CPUID, 2, 8},
    {INSN_64, BYTES("\xf4"), INSN_HLT, 4, 8},
    {INSN_64, BYTES("\x0f\x32"), INSN_RDMSR, 4, 8},
    {INSN_64, BYTES("\x0f\x30"), INSN_WRMSR, 4, 8},
    {INSN_64, BYTES("\x0f\x31"), INSN_RDTSC, 4, 8},
    {INSN_64, BYTES("\x0f\x33"), INSN_RDPMC, 4, 8},
    {INSN_64, BYTES("\x0f\x01\xf9"), INSN_RDTSCP, 4, 8},
    {INSN_64, BYTES("\x0f\x01\xd1"), INSN_XSETBV, 4, 8},
    {INSN_64, BYTES("\x0f\x01\xc1"), INSN_VMCALL, 4, 8},
    {INSN_64, BYTES("\x0f\x01\xd9"), INSN_VMMCALL, 4, 8},
    {INSN_64, BYTES("\x0f\x01\xc8"), INSN_MONITOR, 4, 8},
    {INSN_64, BYTES("\x0f\x01\xc9"), INSN_MWAIT, 4, 8},
    {INSN_64, BYTES("\x0f\x08"), INSN_INVD, 4, 8},
    {INSN_64, BYTES("\x0f\x09"), INSN_WBINVD, 4, 8},
    {INSN_64, BYTES("\x0f\x06"), INSN_CLTS, 4, 8},
    {INSN_64, BYTES("\xf3\x90"), INSN_PAUSE, 4, 8},
    {INSN_64, BYTES("\xf3\x41\x90"), INSN_XCHG, 4, 8},
    {INSN_64, BYTES("\xcc"), INSN_INT3, 4, 8},
    {INSN_64, BYTES("\xcd\x80"), INSN_INT, 4, 8},
    {INSN_64, BYTES("\x0f\x01\x3c\x25\x00\x10\x00\x00"), INSN_INVLPG, 1, 8},
    {INSN_64, BYTES("\xe4\x60"), INSN_IN, 1, 8},
    {INSN_64, BYTES("\x48\xed"), INSN_IN, 4, 8},
    {INSN_64, BYTES("\x66\xef"), INSN_OUT, 2, 8},
    {INSN_16, BYTES("\x66\xef"), INSN_OUT, 4, 2},
    {INSN_16, BYTES("\xe7\x70"), INSN_OUT, 2, 2},
    {INSN_64, BYTES("\x67\xf3\x6e"), INSN_OUTS, 1, 4},
    {INSN_64, BYTES("\xf3\x48\x6d"), INSN_INS, 4, 8},
    {INSN_64, BYTES("\x48\xa5"), INSN_MOVS, 8, 8},
    {INSN_16, BYTES("\xa5"), INSN_MOVS, 2, 2},
    {INSN_64, BYTES("\x48\xb8\x11\x22\x33\x44\x55\x66\x77\x88"), INSN_MOV, 8, 8},
    {INSN_64, BYTES("\xb8\x11\x22\x33\x44"), INSN_MOV, 4, 8},
    {INSN_64, BYTES("\x66\xb8\x11\x22"), INSN_MOV, 2, 8},
    {INSN_64, BYTES("\x48\xc7\xc0\x11\x22\x33\x44"), INSN_MOV, 8, 8},
    {INSN_64, BYTES("\xa1\x01\x02\x03\x04\x05\x06\x07\x08"), INSN_MOV, 4, 8},
    {INSN_64, BYTES("\x67\xa1\x01\x02\x03\x04"), INSN_MOV, 4, 4},
    {INSN_32, BYTES("\xa3\x01\x02\x03\x04"), INSN_MOV, 4, 4},
    {INSN_32, BYTES("\x67\xa3\x01\x02"), INSN_MOV, 4, 2},
    {INSN_32, BYTES("\x82\xc0\x01"), INSN_ADD, 1, 4},
    {INSN_32, BYTES("\x40"), INSN_INC, 4, 4},
    {INSN_16, BYTES("\x4f"), INSN_DEC, 2, 2},
    {INSN_64, BYTES("\x50"), INSN_PUSH, 8, 8},
    {INSN_64, BYTES("\x66\x50"), INSN_PUSH, 2, 8},
    {INSN_64, BYTES("\x68\x01\x02\x03\x04"), INSN_PUSH, 8, 8},
    {INSN_64, BYTES("\xff\x30"), INSN_PUSH, 8, 8},
    {INSN_64, BYTES("\x8f\x00"), INSN_POP, 8, 8},
    {INSN_64, BYTES("\xf0\x48\x0f\xb1\x08"), INSN_CMPXCHG, 8, 8},
    {INSN_64, BYTES("\xf7\x05\x01\x02\x03\x04\x05\x06\x07\x08"), INSN_TEST, 4, 8},
    {INSN_64, BYTES("\xf7\x1d\x01\x02\x03\x04"), INSN_NEG, 4, 8},
    {INSN_64, BYTES("\x66\xf7\x00\x01\x02"), INSN_TEST, 2, 8},
    {INSN_64, BYTES("\x0f\xba\x28\x07"), INSN_BTS, 4, 8},
    {INSN_64, BYTES("\x40\x66\x90\xc0"), INSN_UNKNOWN, 0, 0}, /* NOP: not in the set */
};

/* Lengths are exact, and every byte missing is noticed. */
static void test_lengths(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        const struct length_case *c = &lengths[i];
        char longer[32] = {0};
        struct insn insn;

        if (c->op == INSN_UNKNOWN) {
            assert_int_equal(-E_UNSUPPORTED, decode(c->mode, c->bytes, c->count, &insn));
            continue;
        }
        memcpy(longer, c->bytes, c->count);
        for (size_t n = 0; n < c->count; n++) assert_int_equal(-E_TRUNCATED, decode(c->mode, longer, n, &insn));
        for (size_t n = c->count; n < sizeof(longer); n++) {
            assert_int_equal(0, decode(c->mode, longer, n, &insn));
            assert_int_equal(c->count, insn.length);
            assert_int_equal(c->op, insn.op);
            assert_int_equal(c->size, insn.size);
            assert_int_equal(c->address_size, insn.address_size);
        }
    }
}

struct error_case {
    enum insn_mode mode;
    int error;
    const char *bytes;
    size_t count;
};

static const struct error_case errors[] = {
    /* 14 prefixes and two bytes of opcode are one too many. */
    {INSN_64, -E_INVAL, BYTES("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x0f\xa2")},
    {INSN_64, -E_INVAL, BYTES("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66")},
    {INSN_64, -E_TRUNCATED, BYTES("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66")},
    {INSN_64, -E_TRUNCATED, BYTES("")},
    {INSN_64, -E_INVAL, BYTES("\x06")}, /* PUSH ES */
    {INSN_64, -E_INVAL, BYTES("\xce")}, /* INTO */
    {INSN_64, -E_INVAL, BYTES("\x82\xc0\x01")},
    {INSN_32, -E_UNSUPPORTED, BYTES("\x06")},
    {INSN_32, -E_UNSUPPORTED, BYTES("\x63\xc0")}, /* ARPL */
    {INSN_64, -E_INVAL, BYTES("\x0f\x0b")},       /* UD2 */
    {INSN_64, -E_INVAL, BYTES("\xff\x38")},       /* FF /7 */
    {INSN_64, -E_INVAL, BYTES("\xfe\x10")},       /* FE /2 */
    {INSN_64, -E_INVAL, BYTES("\x0f\xba\x00\x01")},
    {INSN_64, -E_INVAL, BYTES("\xc7\x08\x00\x00\x00\x00")},
    {INSN_64, -E_INVAL, BYTES("\x0f\x20\xc8")},     /* CR1 */
    {INSN_64, -E_INVAL, BYTES("\x0f\x22\xe8")},     /* CR5 */
    {INSN_64, -E_INVAL, BYTES("\x44\x0f\x20\xc8")}, /* CR9 */
    {INSN_64, -E_INVAL, BYTES("\x44\x0f\x21\xc8")}, /* DR9 */
    {INSN_64, -E_INVAL, BYTES("\xf0\x01\xc0")},     /* LOCK ADD to a register */
    {INSN_64, -E_INVAL, BYTES("\xf0\x03\x00")},     /* LOCK ADD from memory */
    {INSN_64, -E_INVAL, BYTES("\xf0\x39\x00")},     /* LOCK CMP */
    {INSN_64, -E_INVAL, BYTES("\xf0\x80\x38\x01")},
    {INSN_64, -E_INVAL, BYTES("\xf0\x89\x00")}, /* LOCK MOV */
    {INSN_64, -E_INVAL, BYTES("\xf0\x0f\xa2")},
    {INSN_64, -E_INVAL, BYTES("\xf0\x0f\xa3\x00")}, /* LOCK BT */
    {INSN_64, -E_INVAL, BYTES("\xf0\xd0\x00")},     /* LOCK ROL */
    {INSN_64, -E_INVAL, BYTES("\xf0\xa4")},
    {INSN_64, 0, BYTES("\xf0\x01\x00")},
    {INSN_64, 0, BYTES("\xf0\x86\x00")},
    {INSN_64, 0, BYTES("\xf0\xff\x00")},
    {INSN_64, 0, BYTES("\xf0\xf7\x10")},
    {INSN_64, 0, BYTES("\xf0\x0f\xc1\x00")},
    {INSN_64, 0, BYTES("\xf0\x0f\xba\x38\x01")},
    {INSN_64, -E_UNSUPPORTED, BYTES("\xf0\x0f\xc7\x08")}, /* CMPXCHG8B */
    {INSN_64, -E_UNSUPPORTED, BYTES("\xc5\xf8\x28\xc0")}, /* VEX */
    {INSN_64, -E_UNSUPPORTED, BYTES("\xd1\x00")},
};

static void test_errors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        struct insn insn;

        assert_int_equal(errors[i].error, decode(errors[i].mode, errors[i].bytes, errors[i].count, &insn));
    }
}

struct memory_case {
    enum insn_mode mode;
    const char *bytes;
    size_t count;
    u8 base, index, scale;
    s64 disp;
    enum insn_seg seg;
};

static const struct memory_case memories[] = {
    /* mov (%rcx),%eax and its relatives */
    {INSN_64, BYTES("\x8b\x01"), 1, NONE, 1, 0, SEG_DS},
    {INSN_64, BYTES("\x41\x8b\x01"), 9, NONE, 1, 0, SEG_DS},
    {INSN_64, BYTES("\x8b\x41\x80"), 1, NONE, 1, -128, SEG_DS},
    {INSN_64, BYTES("\x8b\x81\xff\xff\xff\x7f"), 1, NONE, 1, 0x7fffffff, SEG_DS},
    {INSN_64, BYTES("\x8b\x05\xfc\xff\xff\xff"), INSN_REG_RIP, NONE, 1, -4, SEG_DS},
    {INSN_64, BYTES("\x41\x8b\x05\xfc\xff\xff\xff"), INSN_REG_RIP, NONE, 1, -4, SEG_DS},
    {INSN_32, BYTES("\x8b\x05\xfc\xff\xff\xff"), NONE, NONE, 1, -4, SEG_DS},
    {INSN_64, BYTES("\x8b\x45\x00"), 5, NONE, 1, 0, SEG_SS},
    {INSN_64, BYTES("\x41\x8b\x45\x00"), 13, NONE, 1, 0, SEG_DS},
    {INSN_64, BYTES("\x8b\x04\x24"), 4, NONE, 1, 0, SEG_SS},
    {INSN_64, BYTES("\x41\x8b\x04\x24"), 12, NONE, 1, 0, SEG_DS},
    {INSN_64, BYTES("\x8b\x04\xcb"), 3, 1, 8, 0, SEG_DS},
    {INSN_64, BYTES("\x42\x8b\x04\xa3"), 3, 12, 4, 0, SEG_DS},
    {INSN_64, BYTES("\x8b\x04\x25\x10\x00\x00\x00"), NONE, NONE, 1, 16, SEG_DS},
    {INSN_64, BYTES("\x41\x8b\x04\x05\x10\x00\x00\x00"), NONE, 0, 1, 16, SEG_DS},
    {INSN_64, BYTES("\x8b\x44\x6c\x08"), 4, 5, 2, 8, SEG_SS},
    {INSN_64, BYTES("\x65\x8b\x45\x00"), 5, NONE, 1, 0, SEG_GS},
    {INSN_64, BYTES("\x2e\x8b\x01"), 1, NONE, 1, 0, SEG_DS},
    {INSN_64, BYTES("\x64\x3e\x8b\x01"), 1, NONE, 1, 0, SEG_FS},
    {INSN_32, BYTES("\x2e\x8b\x01"), 1, NONE, 1, 0, SEG_CS},
    {INSN_32, BYTES("\x64\x26\x8b\x01"), 1, NONE, 1, 0, SEG_ES},
    {INSN_16, BYTES("\x8b\x00"), 3, 6, 1, 0, SEG_DS},
    {INSN_16, BYTES("\x8b\x03"), 5, 7, 1, 0, SEG_SS},
    {INSN_16, BYTES("\x8b\x06\x34\x12"), NONE, NONE, 1, 0x1234, SEG_DS},
    {INSN_16, BYTES("\x8b\x46\xff"), 5, NONE, 1, -1, SEG_SS},
    {INSN_16, BYTES("\x8b\x87\x00\x80"), 3, NONE, 1, -32768, SEG_DS},
    {INSN_16, BYTES("\x67\x8b\x04\x91"), 1, 2, 4, 0, SEG_DS},
    {INSN_32, BYTES("\x67\x8b\x04"), 6, NONE, 1, 0, SEG_DS},
    {INSN_64, BYTES("\xa5"), 6, NONE, 1, 0, SEG_DS},
    {INSN_64, BYTES("\x65\xaa"), 7, NONE, 1, 0, SEG_ES},
    {INSN_64, BYTES("\x65\xac"), 6, NONE, 1, 0, SEG_GS},
    {INSN_64, BYTES("\x64\xa1\xff\xff\xff\xff\xff\xff\xff\xff"), NONE, NONE, 1, -1, SEG_FS},
};

static void test_memory(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(memories) / sizeof(memories[0]); i++) {
        const struct memory_case *c = &memories[i];
        struct insn insn;

        assert_int_equal(0, decode(c->mode, c->bytes, c->count, &insn));
        assert_int_equal(c->count, insn.length);
        assert_true(insn.memory);
        assert_int_equal(c->base, insn.base);
        assert_int_equal(c->index, insn.index);
        assert_int_equal(c->scale, insn.scale);
        assert_int_equal(c->disp, insn.disp);
        assert_int_equal(c->seg, insn.seg);
    }
}

static struct insn decoded(enum insn_mode mode, const char *bytes, size_t count) {
    struct insn insn;

    assert_int_equal(0, decode(mode, bytes, count, &insn));
    return insn;
}

static void test_registers(void **state) {
    struct insn i;

    (void)state;
    i = decoded(INSN_64, BYTES("\x88\xe0")); /* mov %ah,%al */
    assert_true(i.reg == 0 && i.reg_high && i.rm == 0 && !i.rm_high && i.to_memory);
    i = decoded(INSN_64, BYTES("\x40\x88\xe0")); /* mov %spl,%al */
    assert_true(i.reg == 4 && !i.reg_high);
    i = decoded(INSN_64, BYTES("\x0f\xb6\xc7")); /* movzx %bh,%eax */
    assert_true(i.reg == 0 && i.rm == 3 && i.rm_high && i.src_size == 1 && i.size == 4);
    i = decoded(INSN_64, BYTES("\x0f\xb7\xc7")); /* movzx %di,%eax */
    assert_true(i.rm == 7 && !i.rm_high && i.src_size == 2);
    i = decoded(INSN_64, BYTES("\x4d\x63\xc7")); /* movsxd %r15d,%r8 */
    assert_true(i.reg == 8 && i.rm == 15 && i.src_size == 4 && i.size == 8);
    i = decoded(INSN_64, BYTES("\xb7\x80")); /* mov $0x80,%bh */
    assert_true(i.rm == 3 && i.rm_high && i.has_imm && (u8)i.imm == 0x80 && i.to_memory);
    i = decoded(INSN_64, BYTES("\x41\xb7\x80")); /* mov $0x80,%r15b */
    assert_true(i.rm == 15 && !i.rm_high);
    i = decoded(INSN_64, BYTES("\x4d\x0f\x20\xc1")); /* mov %cr8,%r9 */
    assert_true(i.op == INSN_MOV_FROM_CR && i.reg == 8 && i.rm == 9 && i.size == 8);
    i = decoded(INSN_32, BYTES("\x0f\x22\x18")); /* mov %eax,%cr3, mod ignored */
    assert_true(i.op == INSN_MOV_TO_CR && i.reg == 3 && i.rm == 0 && i.length == 3 && !i.memory);
    i = decoded(INSN_64, BYTES("\x0f\x23\xfa")); /* mov %rdx,%db7 */
    assert_true(i.op == INSN_MOV_TO_DR && i.reg == 7 && i.rm == 2);
    i = decoded(INSN_64, BYTES("\x0f\x01\xf2")); /* lmsw %dx */
    assert_true(i.op == INSN_LMSW && i.rm == 2 && i.size == 2 && !i.memory);
    i = decoded(INSN_64, BYTES("\x0f\x01\xe2")); /* smsw %edx */
    assert_true(i.op == INSN_SMSW && i.rm == 2 && i.size == 4);
    i = decoded(INSN_64, BYTES("\x0f\x01\x20")); /* smsw (%rax) */
    assert_true(i.op == INSN_SMSW && i.memory && i.size == 2);
    i = decoded(INSN_64, BYTES("\x48\x66\x89\x08")); /* REX not last: ignored */
    assert_true(i.size == 2 && i.length == 4);
    i = decoded(INSN_64, BYTES("\xf3\xf2\xa6"));
    assert_true(i.repne && !i.rep);
}

static void test_immediates(void **state) {
    struct insn i;

    (void)state;
    i = decoded(INSN_64, BYTES("\x48\x83\xc0\xff"));
    assert_true(i.has_imm && i.imm == ~0ull && i.op == INSN_ADD && i.rm == 0);
    i = decoded(INSN_64, BYTES("\x48\x05\x00\x00\x00\x80"));
    assert_true(i.imm == 0xffffffff80000000ull && i.reg == 0 && i.rm == NONE);
    i = decoded(INSN_64, BYTES("\x48\xb8\x88\x77\x66\x55\x44\x33\x22\x11"));
    assert_true(i.imm == 0x1122334455667788ull);
    i = decoded(INSN_64, BYTES("\xe6\xf8"));
    assert_true(i.has_imm && i.imm == 0xf8 && i.reg == 0);
    i = decoded(INSN_64, BYTES("\xcd\xf8"));
    assert_true(i.imm == 0xf8);
    i = decoded(INSN_64, BYTES("\x0f\xba\xe0\xff"));
    assert_true(i.op == INSN_BT && i.imm == 0xff);
    i = decoded(INSN_64, BYTES("\xec"));
    assert_true(!i.has_imm && i.reg == 0 && i.size == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),   cmocka_unit_test(test_errors),     cmocka_unit_test(test_memory),
        cmocka_unit_test(test_registers), cmocka_unit_test(test_immediates),
    };

    return cmocka_run_group_tests_name("insn decode", tests, NULL, NULL);
}
