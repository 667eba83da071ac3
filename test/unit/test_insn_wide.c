/* The moves that go to devices beside plain MOV: MOVBE, MOVNTI, MOVDIRI, MOVDIR64B, MOV of segment registers, vector
 * registers. Decoder and core/insn/execute_wide.c. */
#include "test/unit/insn_bench.h"

/* SDM Vol 2: MOVAPS, MOVUPS, MOVSS, MOVSD, MOVD/MOVQ, MOVQ, MOVDQA, MOVDQU, MOVNTPS, MOVNTDQ, MOVNTDQA, LDDQU. */
struct vector_case {
    const char *bytes;
    size_t count;
    u8 size, reg;
    bool store, aligned, vex;
};
#define V(s, ...)                                                                                                      \
    { s, sizeof(s) - 1, __VA_ARGS__ }
static const struct vector_case vectors[] = {
    V("\x0f\x10\x0b", 16, 1, false, false, false),        /* movups (%rbx),%xmm1 */
    V("\x66\x0f\x10\x0b", 16, 1, false, false, false),    /* movupd */
    V("\xf3\x0f\x10\x0b", 4, 1, false, false, false),     /* movss */
    V("\xf2\x0f\x10\x0b", 8, 1, false, false, false),     /* movsd */
    V("\xf2\x44\x0f\x11\x3b", 8, 15, true, false, false), /* movsd %xmm15,(%rbx) */
    V("\x0f\x11\x0b", 16, 1, true, false, false),         /* movups %xmm1,(%rbx) */
    V("\x44\x0f\x28\x03", 16, 8, false, true, false),     /* movaps (%rbx),%xmm8 */
    V("\x66\x0f\x29\x03", 16, 0, true, true, false),      /* movapd %xmm0,(%rbx) */
    V("\x0f\x2b\x03", 16, 0, true, true, false),          /* movntps */
    V("\x66\x0f\x6e\x03", 4, 0, false, false, false),     /* movd (%rbx),%xmm0 */
    V("\x66\x48\x0f\x6e\x03", 8, 0, false, false, false), /* movq */
    V("\x66\x0f\x6f\x03", 16, 0, false, true, false),     /* movdqa */
    V("\xf3\x0f\x6f\x03", 16, 0, false, false, false),    /* movdqu */
    V("\x66\x0f\x7e\x03", 4, 0, true, false, false),      /* movd %xmm0,(%rbx) */
    V("\xf3\x0f\x7e\x03", 8, 0, false, false, false),     /* movq (%rbx),%xmm0 */
    V("\x66\x0f\x7f\x03", 16, 0, true, true, false),      /* movdqa */
    V("\xf3\x0f\x7f\x03", 16, 0, true, false, false),     /* movdqu */
    V("\x66\x0f\xd6\x03", 8, 0, true, false, false),      /* movq */
    V("\x66\x0f\xe7\x03", 16, 0, true, true, false),      /* movntdq */
    V("\xf2\x0f\xf0\x03", 16, 0, false, false, false),    /* lddqu */
    V("\x66\x0f\x38\x2a\x03", 16, 0, false, true, false), /* movntdqa */
    V("\xc5\xf8\x10\x0b", 16, 1, false, false, true),     /* vmovups (%rbx),%xmm1 */
    V("\xc5\xfc\x11\x0b", 32, 1, true, false, true),      /* vmovups %ymm1,(%rbx) */
    V("\xc5\x7c\x28\x3b", 32, 15, false, true, true),     /* vmovaps (%rbx),%ymm15 */
    V("\xc5\xfe\x6f\x03", 32, 0, false, false, true),     /* vmovdqu (%rbx),%ymm0 */
    V("\xc5\xfd\x7f\x03", 32, 0, true, true, true),       /* vmovdqa %ymm0,(%rbx) */
    V("\xc5\xfa\x10\x03", 4, 0, false, false, true),      /* vmovss (%rbx),%xmm0 */
    V("\xc5\xff\x11\x03", 8, 0, true, false, true),       /* vmovsd, with L */
    V("\xc4\xe1\xf9\x6e\x03", 8, 0, false, false, true),  /* vmovq (%rbx),%xmm0 */
    V("\xc4\xe2\x7d\x2a\x03", 32, 0, false, true, true),  /* vmovntdqa (%rbx),%ymm0 */
    V("\xc4\x61\x7a\x6f\x03", 16, 8, false, false, true), /* the three-byte form */
};

static u64 word(const struct bench *b, u32 at) {
    u64 value;

    memcpy(&value, b->data + at, 8);
    return value;
}

static void set_up(struct bench *b) {
    point(b);
    b->cpu.gpr[RBX] = 0x8040;
    for (u32 i = 0; i < 4; i++) b->vector[i] = 0x1111111111111111 * (i + 1);
}

static void test_vectors(void **state) {
    (void)state;
    for (size_t n = 0; n < sizeof(vectors) / sizeof(vectors[0]); n++) {
        const struct vector_case *c = &vectors[n];
        struct bench b = bench(INSN_64, c->bytes, c->count), before;
        u32 pieces = (c->size + 7u) / 8, calls;

        assert_int_equal(INSN_VMOV, b.insn.op);
        assert_int_equal(c->size, b.insn.size);
        assert_int_equal(c->reg, b.insn.reg);
        assert_int_equal(c->store, b.insn.to_memory);
        assert_int_equal(c->aligned, b.insn.aligned);
        assert_int_equal(c->vex, b.insn.vex);
        set_up(&b);
        before = b;
        assert_int_equal(0, execute(&b));
        calls = b.calls;
        assert_int_equal(0x1000 + c->count, b.cpu.rip);
        for (u32 i = 0; i < 8; i++) {
            u64 whole = i < 4 ? before.vector[i] : 0, old = word(&before, 0x40 + 8 * i);
            u64 mask = 8 * i + 8 <= c->size ? ~0ull : 8 * i < c->size ? 0xffffffff : 0;

            if (c->store)
                assert_int_equal((old & ~mask) | (whole & mask), word(&b, 0x40 + 8 * i));
            else if (i < 4)
                assert_int_equal(old & mask, b.vector[i]);
        }
        assert_int_equal(c->store && pieces > 1 ? 2 * pieces : pieces, calls);
        /* A fault anywhere before the first write leaves no trace; the bus does not refuse what it was asked before. */
        for (u32 fail = 1; fail <= (c->store && pieces > 1 ? pieces : calls); fail++) {
            b = before;
            b.fail_at = fail;
            assert_int_equal(-E_FAULT, execute(&b));
            assert_memory_equal(before.data, b.data, sizeof(b.data));
            assert_memory_equal(before.vector, b.vector, sizeof(b.vector));
            assert_memory_equal(&before.cpu, &b.cpu, sizeof(b.cpu));
        }
        /* SDM Vol 2, Exceptions Type 1. */
        b = before;
        b.cpu.gpr[RBX] += c->size / 2;
        assert_int_equal(c->aligned ? -E_FAULT : 0, execute(&b));
        if (c->aligned) assert_int_equal(VEC_GP, b.fault.vector);
        if (c->aligned) assert_string_equal("", b.log);
    }
}

/* What has no memory operand, is MMX or another instruction; and what no processor takes. SDM Vol 2A, VEX Prefix. */
static void test_other_vectors(void **state) {
    static const struct {
        const char *bytes;
        size_t count;
        int error;
    } others[] = {
        {"\x0f\x10\xc1", 3, -E_UNSUPPORTED},     /* movups %xmm1,%xmm0 */
        {"\x0f\x6f\x03", 3, -E_UNSUPPORTED},     /* movq (%rbx),%mm0 */
        {"\xf3\x0f\xe7\x03", 4, -E_UNSUPPORTED}, /* nothing */
        {"\x0f\x2b\xc0", 3, -E_INVAL},           /* movntps to a register */
        {"\x66\x0f\x38\x2a\xc0", 5, -E_INVAL},   /* movntdqa from one */
        {"\xf0\x0f\x11\x03", 4, -E_INVAL},       /* lock */
        {"\xc5\xf8\x58\x03", 4, -E_UNSUPPORTED}, /* vaddps */
        {"\xc4\xe3\x79\x0f\x03\x01", 6, -E_UNSUPPORTED},
        {"\xc5\xf0\x10\x03", 4, -E_INVAL},     /* vvvv is not 1111 */
        {"\xc5\xfd\x6e\x03", 4, -E_INVAL},     /* vmovd with L */
        {"\x66\xc5\xf8\x10\x03", 5, -E_INVAL}, /* 66, F2, F3, LOCK, REX before VEX */
        {"\xf3\xc5\xf8\x10\x03", 5, -E_INVAL},
        {"\xf0\xc5\xf8\x10\x03", 5, -E_INVAL},
        {"\x40\xc5\xf8\x10\x03", 5, -E_INVAL},
        {"\xc5", 1, -E_TRUNCATED},
        {"\xc5\xf8", 2, -E_TRUNCATED},
        {"\xc4\xe1\xf9", 3, -E_TRUNCATED},
        {"\xc5\xf8\x10", 3, -E_TRUNCATED},
        {"\x0f\x38", 2, -E_TRUNCATED},
        {"\x62\xf1\x7c\x48\x10\x03", 6, -E_UNSUPPORTED}, /* EVEX */
    };
    struct insn insn;

    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_int_equal(others[i].error, insn_decode((const u8 *)others[i].bytes, others[i].count, INSN_64, &insn));
    /* LDS and LES where VEX would need a register. */
    assert_int_equal(-E_UNSUPPORTED, insn_decode((const u8 *)"\xc5\x38\x10\x03", 4, INSN_32, &insn));
    assert_int_equal(0, insn_decode((const u8 *)"\xc5\xf8\x10\x03", 4, INSN_32, &insn));
    assert_int_equal(3, insn.base);
    /* REX bits mean nothing there. */
    assert_int_equal(0, insn_decode((const u8 *)"\xc4\xc1\xfa\x6f\x03", 5, INSN_32, &insn));
    assert_true(insn.base == 3 && insn.op == INSN_VMOV);
}

/* SDM Vol 2B, MOVBE; MOVNTI; MOVDIRI. */
static void test_moves(void **state) {
    struct bench b = BENCH(INSN_64, "\x0f\x38\xf0\x03"); /* movbe (%rbx),%eax */
    struct insn insn;

    (void)state;
    set_up(&b);
    memcpy(b.data + 0x40, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
    b.cpu.gpr[RAX] = ~0ull;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x11223344, b.cpu.gpr[RAX]);
    b.insn = BENCH(INSN_64, "\x66\x0f\x38\xf0\x03").insn;
    b.cpu.gpr[RAX] = ~0ull;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0xffffffffffff1122, b.cpu.gpr[RAX]);
    b.insn = BENCH(INSN_64, "\x48\x0f\x38\xf1\x03").insn;
    b.cpu.gpr[RAX] = 0x0102030405060708;
    assert_int_equal(0, execute(&b));
    assert_memory_equal("\x01\x02\x03\x04\x05\x06\x07\x08", b.data + 0x40, 8);
    b.insn = BENCH(INSN_64, "\x0f\xc3\x03").insn; /* movnti %eax,(%rbx) */
    assert_int_equal(0, execute(&b));
    assert_memory_equal("\x08\x07\x06\x05\x05\x06\x07\x08", b.data + 0x40, 8);
    b.insn = BENCH(INSN_64, "\x48\x0f\x38\xf9\x03").insn; /* movdiri %rax,(%rbx) */
    assert_int_equal(0, execute(&b));
    assert_memory_equal("\x08\x07\x06\x05\x04\x03\x02\x01", b.data + 0x40, 8);
    assert_string_equal("rrwww", b.log);
    b = BENCH(INSN_16, "\x0f\xc3\x07"); /* four bytes in any mode */
    assert_int_equal(4, b.insn.size);
    assert_int_equal(-E_INVAL, insn_decode((const u8 *)"\x0f\xc3\xc0", 3, INSN_64, &insn));
    assert_int_equal(-E_INVAL, insn_decode((const u8 *)"\x0f\x38\xf0\xc0", 4, INSN_64, &insn));
    assert_int_equal(-E_INVAL, insn_decode((const u8 *)"\x0f\x38\xf9\xc0", 4, INSN_64, &insn));
    assert_int_equal(-E_UNSUPPORTED, insn_decode((const u8 *)"\xf2\x0f\x38\xf0\xc0", 5, INSN_64, &insn)); /* crc32 */
    assert_int_equal(-E_INVAL, insn_decode((const u8 *)"\xf3\x0f\x38\xf0\xc0", 5, INSN_64, &insn));
    assert_int_equal(-E_INVAL, insn_decode((const u8 *)"\x66\x0f\x38\xf9\x03", 5, INSN_64, &insn));
    assert_int_equal(-E_INVAL, insn_decode((const u8 *)"\xf3\x0f\xc3\x03", 4, INSN_64, &insn));
}

/* SDM Vol 2B, MOVDIR64B: the destination's address is in the register, aligned to 64 bytes, in ES. */
static void test_movdir64b(void **state) {
    struct bench b = BENCH(INSN_64, "\x66\x0f\x38\xf8\x03"), before; /* movdir64b (%rbx),%rax */

    (void)state;
    set_up(&b);
    b.base = 0x8000;
    b.cpu.gpr[RAX] = 0x8080;
    b.cpu.gpr[RBX] = 0x8001;
    before = b;
    assert_int_equal(0, execute(&b));
    assert_memory_equal(before.data + 1, b.data + 0x80, 64);
    assert_memory_equal(before.data, b.data, 0x80);
    assert_string_equal("pppppppprrrrrrrrwwwwwwww", b.log);
    b = before;
    b.cpu.gpr[RAX] += 32;
    assert_int_equal(-E_FAULT, execute(&b));
    assert_int_equal(VEC_GP, b.fault.vector);
    assert_string_equal("", b.log);
    for (u32 fail = 1; fail <= 16; fail++) {
        b = before;
        b.fail_at = fail;
        assert_int_equal(-E_FAULT, execute(&b));
        assert_memory_equal(before.data, b.data, sizeof(b.data));
    }
    b = BENCH(INSN_32, "\x66\x0f\x38\xf8\x03");
    set_up(&b);
    b.cpu.seg[SEG_ES].base = 0x80;
    b.cpu.seg[SEG_ES].limit = 0x803e;
    b.cpu.gpr[RAX] = 0xffffffff00008000;
    assert_int_equal(-E_FAULT, execute(&b));
    assert_int_equal(VEC_GP, b.fault.vector);
    b.cpu.seg[SEG_ES].limit = 0x803f;
    b.calls = 0;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x80b8, b.last_la);
}

/* SDM Vol 2B, MOV: sixteen bits, whatever the prefixes say; not to CS. */
static void test_segment_registers(void **state) {
    struct bench b = BENCH(INSN_64, "\x48\x8c\x2b"); /* mov %gs,(%rbx) */
    struct insn insn;

    (void)state;
    set_up(&b);
    b.cpu.seg[SEG_GS].selector = 0xabcd;
    memset(b.data + 0x40, 0, 8);
    assert_int_equal(0, execute(&b));
    assert_memory_equal("\xcd\xab\0\0", b.data + 0x40, 4);
    b = BENCH(INSN_64, "\x44\x8e\x23"); /* mov (%rbx),%fs, REX.R ignored */
    assert_int_equal(SEG_FS, b.insn.reg);
    set_up(&b);
    memcpy(b.data + 0x40, "\x23\x01", 2);
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x123, b.cpu.selector);
    assert_string_equal("r", b.log);
    assert_int_equal(-E_INVAL, insn_decode((const u8 *)"\x8e\x0b", 2, INSN_64, &insn));
    assert_int_equal(-E_INVAL, insn_decode((const u8 *)"\x8c\x33", 2, INSN_64, &insn));
    assert_int_equal(0, insn_decode((const u8 *)"\x8c\x0b", 2, INSN_64, &insn));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),   cmocka_unit_test(test_other_vectors),     cmocka_unit_test(test_moves),
        cmocka_unit_test(test_movdir64b), cmocka_unit_test(test_segment_registers),
    };

    return cmocka_run_group_tests_name("insn wide", tests, NULL, NULL);
}
