/* core/insn/execute.c: addresses in 16-bit and 32-bit modes, ports, the stack, and that a fault leaves no
 * trace. Segments: test_insn_segment.c; flags and 64-bit arithmetic: test_insn_native.c. */
#include "test/unit/insn_bench.h"

/* SDM Vol 1, Specifying an Offset; Specifying a Segment Selector; Canonical Addressing; Vol 3A, Segmentation in IA-32e
 * Mode. */
static void test_addresses(void **state) {
    struct bench b = BENCH(INSN_16, "\x8b\x40\x10"); /* mov 0x10(%bx,%si),%ax */

    (void)state;
    b.cpu.gpr[RBX] = 0xabcd8000;
    b.cpu.gpr[RSI] = 0xfff0;
    b.cpu.seg[SEG_DS].base = 0x40;
    assert_int_equal(0x8040, insn_linear(&b.insn, &b.cpu));
    b.cpu.seg[SEG_DS].base = 0xffff8040; /* linear addresses wrap at 4 GiB */
    assert_int_equal(0x40, insn_linear(&b.insn, &b.cpu));

    b = BENCH(INSN_16, "\x8b\x46\xff"); /* mov -1(%bp),%ax: SS */
    b.cpu.gpr[RBP] = 0;
    b.cpu.seg[SEG_SS].base = 0x10000;
    assert_int_equal(0x1ffff, insn_linear(&b.insn, &b.cpu));

    b = BENCH(INSN_32, "\x8b\x84\x8b\xff\xff\xff\xff"); /* mov -1(%ebx,%ecx,4),%eax */
    b.cpu.gpr[RBX] = 0x1fffffff0;
    b.cpu.gpr[RCX] = 8;
    assert_int_equal(0xf, insn_linear(&b.insn, &b.cpu));

    b = BENCH(INSN_64, "\x8b\x05\xfc\xff\xff\xff"); /* mov -4(%rip),%eax */
    assert_int_equal(0x1002, insn_linear(&b.insn, &b.cpu));
    b = BENCH(INSN_64, "\x67\x8b\x05\xf0\xef\xff\xff"); /* the same with eip */
    assert_int_equal(0xfffffff7, insn_linear(&b.insn, &b.cpu));
    b = BENCH(INSN_64, "\x65\x8b\x01"); /* mov %gs:(%rcx),%eax */
    b.cpu.gpr[RCX] = 0xffffffffffffff00;
    b.cpu.seg[SEG_GS].base = 0xffff888000000100;
    b.cpu.seg[SEG_DS].base = 0x5555; /* no base in 64-bit mode */
    assert_int_equal(0xffff888000000000, insn_linear(&b.insn, &b.cpu));
    b = BENCH(INSN_64, "\x8b\x01");
    b.cpu.gpr[RCX] = 0x8000;
    b.cpu.seg[SEG_DS].base = 0x5555;
    assert_int_equal(0x8000, insn_linear(&b.insn, &b.cpu));
}

/* SDM Vol 2B, MOV; MOVSX/MOVSXD; Vol 1, General-Purpose Registers in 64-Bit Mode. */
static void test_moves(void **state) {
    struct bench b = BENCH(INSN_64, "\xc7\x03\x78\x56\x34\x92"); /* movl $0x92345678,(%rbx) */

    (void)state;
    b.cpu.gpr[RBX] = 0x8010;
    assert_int_equal(0, execute(&b));
    assert_memory_equal("\x78\x56\x34\x92\0", b.data + 0x10, 5);
    assert_int_equal(0x1006, b.cpu.rip);
    assert_int_equal(RFLAGS_FIXED, b.cpu.rflags); /* RF is cleared */

    b = BENCH(INSN_64, "\x8a\x23"); /* mov (%rbx),%ah */
    b.cpu.gpr[RBX] = 0x8010;
    b.cpu.gpr[RAX] = 0x1122334455667788;
    b.data[0x10] = 0xfe;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x112233445566fe88, b.cpu.gpr[RAX]);

    b = BENCH(INSN_64, "\x48\x0f\xbe\x03"); /* movsbq (%rbx),%rax */
    b.cpu.gpr[RBX] = 0x8010;
    b.data[0x10] = 0xfe;
    assert_int_equal(0, execute(&b));
    assert_int_equal(-2, b.cpu.gpr[RAX]);

    b = BENCH(INSN_32, "\xa3\x20\x80\x00\x00"); /* mov %eax,0x8020 */
    b.cpu.gpr[RAX] = 0xaabbccdd;
    b.cpu.rip = 0xfffffffe;
    assert_int_equal(0, execute(&b));
    assert_memory_equal("\xdd\xcc\xbb\xaa", b.data + 0x20, 4);
    assert_int_equal(3, b.cpu.rip);
}

struct order_case {
    const char *bytes;
    size_t count;
    const char *log;
};

#define ORDER(s, log)                                                                                                  \
    { s, sizeof(s) - 1, log }

/* What happens on the bus, in order: whatever may fault comes before what cannot be undone. rsi,
 * rdi, rbx, rsp point into memory. */
static const struct order_case orders[] = {
    ORDER("\x8b\x03", "r"),       /* mov (%rbx),%eax */
    ORDER("\x89\x03", "w"),       /* mov %eax,(%rbx) */
    ORDER("\x01\x03", "prw"),     /* add %eax,(%rbx) */
    ORDER("\x03\x03", "r"),       /* add (%rbx),%eax */
    ORDER("\x39\x03", "r"),       /* cmp %eax,(%rbx) */
    ORDER("\x85\x03", "r"),       /* test %eax,(%rbx) */
    ORDER("\xff\x03", "prw"),     /* incl (%rbx) */
    ORDER("\xf7\x13", "prw"),     /* notl (%rbx) */
    ORDER("\x87\x03", "prw"),     /* xchg %eax,(%rbx) */
    ORDER("\x0f\xc1\x03", "prw"), /* xadd %eax,(%rbx) */
    ORDER("\x0f\xb1\x0b", "prw"), /* cmpxchg %ecx,(%rbx) */
    ORDER("\x0f\xa3\x03", "r"),   /* bt %eax,(%rbx) */
    ORDER("\x0f\xab\x03", "prw"), /* bts %eax,(%rbx) */
    ORDER("\xa5", "prw"),         /* movsl */
    ORDER("\xab", "w"),           /* stosl */
    ORDER("\xad", "r"),           /* lodsl */
    ORDER("\xa7", "rr"),          /* cmpsl */
    ORDER("\xaf", "r"),           /* scasl */
    ORDER("\xf3\xa5", "prw"),     /* rep movsl */
    ORDER("\xf3\xa7", "rr"),      /* repe cmpsl */
    ORDER("\xed", "i"),           /* in (%dx),%eax */
    ORDER("\xef", "o"),           /* out %eax,(%dx) */
    ORDER("\x6d", "piw"),         /* insl */
    ORDER("\x6f", "ro"),          /* outsl */
    ORDER("\xf3\x6d", "piw"),     /* rep insl */
    ORDER("\xff\x33", "prw"),     /* push (%rbx) */
    ORDER("\x50", "w"),           /* push %rax */
    ORDER("\x6a\x01", "w"),       /* push $1 */
    ORDER("\x8f\x03", "prw"),     /* pop (%rbx) */
    ORDER("\x5e", "r"),           /* pop %rsi */
    ORDER("\x40\xb7\x01", ""),    /* mov $1,%dil */
};

/* SDM Vol 3A, Restarting Instructions: Exception Classifications, Faults. */
static void test_faults(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        const struct order_case *c = &orders[i];
        struct bench b = bench(INSN_64, c->bytes, c->count);

        point(&b);
        assert_int_equal(0, execute(&b));
        assert_string_equal(c->log, b.log);
        for (u32 fail = 1; fail <= strlen(c->log); fail++) {
            struct bench before;

            b = bench(INSN_64, c->bytes, c->count);
            point(&b);
            b.fail_at = fail;
            before = b;
            assert_int_equal(-E_FAULT, execute(&b));
            assert_int_equal(fail, b.calls);
            assert_memory_equal(&before.cpu, &b.cpu, sizeof(b.cpu));
            assert_memory_equal(before.data, b.data, sizeof(b.data));
            assert_int_equal(VEC_PF, b.fault.vector);
            assert_int_equal(0x1234, b.fault.cr2);
        }
    }
}

/* SDM Vol 2A, IN; INS; Vol 2B, OUT; OUTS. */
static void test_ports(void **state) {
    struct bench b = BENCH(INSN_64, "\xe5\xf8"); /* in $0xf8,%eax */
    struct insn_bus deaf = {.ctx = &b};

    (void)state;
    b.cpu.gpr[RAX] = ~0ull;
    b.in = 0x12345678;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0xf8, b.port);
    assert_int_equal(0x12345678, b.cpu.gpr[RAX]);

    b = BENCH(INSN_64, "\xec"); /* in (%dx),%al */
    b.cpu.gpr[RAX] = ~0ull;
    b.cpu.gpr[RDX] = 0xffff03f8;
    b.in = 0x12345678;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x3f8, b.port);
    assert_int_equal(0xffffffffffffff78, b.cpu.gpr[RAX]);

    b = BENCH(INSN_64, "\x66\xef"); /* out %ax,(%dx) */
    b.cpu.gpr[RAX] = 0xaabbccdd;
    b.cpu.gpr[RDX] = 0x3f8;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0xccdd, b.out);
    assert_int_equal(-E_UNSUPPORTED, insn_execute(&b.insn, &b.cpu, &deaf, &b.fault));

    b = BENCH(INSN_16, "\x67\x66\xf3\x26\x6f"); /* rep outsl %es:(%esi),(%dx) */
    point(&b);
    b.cpu.gpr[RDX] = 0xcfc;
    b.cpu.gpr[RSI] = 0x20;
    b.cpu.seg[SEG_ES].base = 0x8000;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x1000, b.cpu.rip); /* once more */
    assert_int_equal(1, b.cpu.gpr[RCX]);
    assert_int_equal(0x24, b.cpu.gpr[RSI]);
    assert_int_equal(0xafaaa5a0, b.out);
    assert_int_equal(0xcfc, b.port);
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x1005, b.cpu.rip);
    assert_int_equal(0, b.cpu.gpr[RCX]);
    assert_int_equal(0, execute(&b)); /* count used up: nothing happens */
    assert_string_equal("roro", b.log);
    assert_int_equal(0x28, b.cpu.gpr[RSI]);
}

/* SDM Vol 2B, MOVS; STOS; SCAS; REP/REPE/REPZ/REPNE/REPNZ. */
static void test_strings(void **state) {
    struct bench b = BENCH(INSN_16, "\xf3\xa5"); /* rep movsw */

    (void)state;
    point(&b);
    /* Only cx, si and di take part; si wraps within 64 KiB. */
    b.base = 0x17ff0;
    b.cpu.seg[SEG_DS].base = 0x8000;
    b.cpu.seg[SEG_ES].base = 0x17ff0;
    b.cpu.gpr[RCX] = 0xaaaa0001;
    b.cpu.gpr[RSI] = 0xbbbbfffe;
    b.cpu.gpr[RDI] = 0xcccc0020;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0xaaaa0000, b.cpu.gpr[RCX]);
    assert_int_equal(0xbbbb0000, b.cpu.gpr[RSI]);
    assert_int_equal(0xcccc0022, b.cpu.gpr[RDI]);
    assert_memory_equal(b.data + 0xe, b.data + 0x20, 2);
    assert_int_equal(0x1002, b.cpu.rip);

    b = BENCH(INSN_64, "\x67\xaa"); /* stos %al,(%edi), backwards */
    point(&b);
    b.cpu.gpr[RDI] |= 0xffff00000000;
    b.cpu.gpr[RAX] = 0x77;
    b.cpu.rflags |= RFLAGS_DF;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x802f, b.cpu.gpr[RDI]);
    assert_int_equal(0x77, b.data[0x30]);

    b = BENCH(INSN_64, "\xf2\xae"); /* repne scasb stops at a match */
    point(&b);
    b.cpu.gpr[RCX] = 9;
    b.cpu.gpr[RAX] = b.data[0x31];
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x1000, b.cpu.rip);
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x1002, b.cpu.rip);
    assert_int_equal(7, b.cpu.gpr[RCX]);
    assert_int_equal(RFLAGS_ZF, b.cpu.rflags & RFLAGS_ZF);
}

/* SDM Vol 2B, PUSH; POP. */
static void test_stack(void **state) {
    struct bench b = BENCH(INSN_64, "\xff\x33"); /* pushq (%rbx) */

    (void)state;
    point(&b);
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x8048, b.cpu.gpr[RSP]);
    assert_memory_equal(b.data + 0x10, b.data + 0x48, 8);

    b = BENCH(INSN_64, "\x8f\x44\x24\x08"); /* popq 8(%rsp): rsp after the increment */
    point(&b);
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x8058, b.cpu.gpr[RSP]);
    assert_memory_equal(b.data + 0x50, b.data + 0x60, 8);

    b = BENCH(INSN_64, "\x5c"); /* pop %rsp */
    point(&b);
    assert_int_equal(0, execute(&b));
    assert_memory_equal(b.data + 0x50, &b.cpu.gpr[RSP], 8);
    b = BENCH(INSN_64, "\x54"); /* push %rsp: the old value */
    point(&b);
    assert_int_equal(0, execute(&b));
    assert_memory_equal("\x50\x80\0\0\0\0\0\0", b.data + 0x48, 8);

    b = BENCH(INSN_16, "\x6a\xff"); /* push $-1 */
    b.cpu.gpr[RSP] = 0xdead0000;
    b.base = 0x1fff0;
    b.cpu.seg[SEG_SS].base = 0x10000;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0xdeadfffe, b.cpu.gpr[RSP]);
    assert_memory_equal("\xff\xff\0", b.data + 0xe, 3);
}

/* SDM Vol 2A, BT; BTS; Vol 1, Bit Strings. */
static void test_bits(void **state) {
    struct bench b = BENCH(INSN_64, "\x0f\xab\x03"); /* bts %eax,(%rbx) */

    (void)state;
    point(&b);
    memset(b.data, 0, sizeof(b.data));
    b.cpu.gpr[RAX] = (u32)-1;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x800c, b.last_la);
    assert_int_equal(0x80, b.data[0xf]);
    b.cpu.gpr[RAX] = 100;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x801c, b.last_la);
    assert_int_equal(0x10, b.data[0x1c]);
    assert_int_equal(0, b.cpu.rflags & RFLAGS_CF);
    assert_int_equal(0, execute(&b));
    assert_int_equal(RFLAGS_CF, b.cpu.rflags & RFLAGS_CF);

    b = BENCH(INSN_64, "\x0f\xba\x23\xff"); /* bt $0xff,(%rbx): modulo 32 */
    point(&b);
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x8010, b.last_la);
}

static void test_unsupported(void **state) {
    static const char others[][4] = {"\x0f\xa2", "\xf4", "\x0f\x20\xc0", "\xcc"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct bench b = bench(INSN_64, others[i], strlen(others[i])), before = b;

        assert_int_equal(-E_UNSUPPORTED, execute(&b));
        assert_memory_equal(&before.cpu, &b.cpu, sizeof(b.cpu));
        assert_int_equal(0, b.calls);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_moves),       cmocka_unit_test(test_faults),
        cmocka_unit_test(test_ports),     cmocka_unit_test(test_strings),     cmocka_unit_test(test_stack),
        cmocka_unit_test(test_bits),      cmocka_unit_test(test_unsupported),
    };

    return cmocka_run_group_tests_name("insn execute", tests, NULL, NULL);
}
