/* core/insn/execute.c: limits, types, alignment, and whose fault it is. */
#include "test/unit/insn_bench.h"

/* SDM Vol 3A, Limit Checking; Type Checking; Null Segment Selector Checking; Vol 3C, Relative Priority of Faults and VM
 * Exits: INS and OUTS exit before any of this is looked at. */
struct segment_case {
    enum insn_mode mode;
    bool protected;
    u16 attributes;
    bool usable;
    u32 limit;
    u64 offset;
    bool read, write; /* allowed, for four bytes */
};
static const struct segment_case segments[] = {
    {INSN_16, false, 0x93, true, 0xffff, 0xfffc, true, true}, /* real mode */
    {INSN_16, false, 0x93, true, 0xffff, 0xfffd, false, false},
    {INSN_16, false, 0x93, true, 0xffffffff, 0xfffd, true, true}, /* a limit that protected mode has left */
    {INSN_16, false, 0x91, false, 0xffff, 0x10, true, true},      /* types do not count, nor in virtual-8086 mode */
    {INSN_32, true, 0xc093, true, 0xffffffff, 0xfffffffe, true, true},
    {INSN_32, true, 0x4093, true, 0x13, 0x10, true, true},
    {INSN_32, true, 0x4093, true, 0x13, 0x11, false, false},
    {INSN_32, true, 0x4093, true, 0x13, 0xfffffffe, false, false}, /* not round the end */
    {INSN_32, true, 0xc091, true, 0xffffffff, 0x10, true, false},  /* read-only */
    {INSN_32, true, 0xc09b, true, 0xffffffff, 0x10, true, false},  /* code that can be read */
    {INSN_32, true, 0xc099, true, 0xffffffff, 0x10, false, false}, /* and not */
    {INSN_32, true, 0xc09f, true, 0xfff, 0x10, true, false},       /* conforming is not expand-down */
    {INSN_32, true, 0, false, 0xffffffff, 0x10, false, false},     /* null */
    {INSN_32, true, 0x4097, true, 0xf, 0x10, true, true},          /* expand-down */
    {INSN_32, true, 0x4097, true, 0x10, 0x10, false, false},
    {INSN_32, true, 0x4097, true, 0xf, 0xfffffffc, true, true},
    {INSN_32, true, 0x4097, true, 0xf, 0xfffffffd, false, false},
    {INSN_32, true, 0x0097, true, 0xf, 0xfffc, true, true}, /* to 64 KiB */
    {INSN_32, true, 0x0097, true, 0xf, 0xfffd, false, false},
    {INSN_32, true, 0xc095, true, 0xf, 0x10, true, false}, /* and read-only */
};

/* Each case by an instruction that uses `seg`; rsi, rdi, rbx or rsp hold the offset. */
static void try_segment(const struct segment_case *c, const char *bytes, size_t count, enum insn_seg seg, bool allowed,
                        u8 vector) {
    bool narrow = c->mode == INSN_16;
    char code[8] = {0x66, 0x67};
    struct bench b, before;

    memcpy(code + (narrow ? 2 : 0), bytes, count);
    b = bench(c->mode, code, count + (narrow ? 2 : 0));
    b.cpu.protected = c->protected;
    for (u32 i = 0; i < SEG_COUNT; i++) b.cpu.seg[i].base = 0x8000;
    b.cpu.gpr[RSI] = b.cpu.gpr[RDI] = b.cpu.gpr[RBX] = b.cpu.gpr[RSP] = 0x80;
    b.cpu.gpr[RCX] = 1;
    b.cpu.seg[seg] = (struct segment){
        .attributes = c->attributes, .usable = c->usable, .limit = c->limit, .base = (u32)(0x8040 - c->offset)};
    if (seg == SEG_ES) b.cpu.gpr[RDI] = c->offset;
    if (seg == SEG_DS) b.cpu.gpr[RSI] = b.cpu.gpr[RBX] = c->offset;
    if (seg == SEG_SS) b.cpu.gpr[RSP] = b.cpu.gpr[RSI] = c->offset;
    before = b;
    if (allowed) {
        assert_int_equal(0, execute(&b));
        return;
    }
    assert_int_equal(-E_FAULT, execute(&b));
    assert_int_equal(vector, b.fault.vector);
    assert_true(b.fault.has_error);
    assert_int_equal(0, b.fault.error);
    assert_memory_equal(&before.cpu, &b.cpu, sizeof(b.cpu));
    assert_memory_equal(before.data, b.data, sizeof(b.data));
    assert_null(strpbrk(b.log, "iow"));
}

#define TRY(c, s, seg, allowed, vector) try_segment(c, s, sizeof(s) - 1, seg, allowed, vector)

static void test_segments(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
        const struct segment_case *c = &segments[i];

        TRY(c, "\x6d", SEG_ES, c->write, VEC_GP);     /* insl */
        TRY(c, "\xf3\x6d", SEG_ES, c->write, VEC_GP); /* rep insl */
        TRY(c, "\x6f", SEG_DS, c->read, VEC_GP);      /* outsl */
        TRY(c, "\xa5", SEG_DS, c->read, VEC_GP);      /* movsl: either side */
        TRY(c, "\xa5", SEG_ES, c->write, VEC_GP);
        TRY(c, "\xa7", SEG_ES, c->read, VEC_GP);     /* cmpsl */
        TRY(c, "\x8b\x03", SEG_DS, c->read, VEC_GP); /* mov (%ebx),%eax */
        TRY(c, "\x01\x03", SEG_DS, c->write, VEC_GP);
        if (c->mode == INSN_32) {
            TRY(c, "\x36\x6f", SEG_SS, c->read, VEC_SS);     /* outsl %ss:(%esi) */
            TRY(c, "\x8b\x04\x24", SEG_SS, c->read, VEC_SS); /* mov (%esp),%eax */
        }
    }
}

/* PUSH and POP of memory: the processor has tried the device's side only. #SS for the stack. SDM Vol 2B, PUSH; POP;
 * Vol 1, Address-Size Attributes for Stack. */
static void test_stack_segment(void **state) {
    struct bench b = BENCH(INSN_32, "\xff\x33"); /* push (%ebx) */

    (void)state;
    point(&b);
    b.cpu.seg[SEG_SS].attributes = 0x4093;
    b.cpu.seg[SEG_SS].limit = 0x804e;
    assert_int_equal(-E_FAULT, execute(&b));
    assert_int_equal(VEC_SS, b.fault.vector);
    assert_string_equal("", b.log);
    b.cpu.seg[SEG_SS].limit = 0x804f;
    assert_int_equal(0, execute(&b));
    b = BENCH(INSN_32, "\x8f\x03"); /* pop (%ebx) */
    point(&b);
    b.cpu.seg[SEG_SS].limit = 0x8052;
    assert_int_equal(-E_FAULT, execute(&b));
    assert_int_equal(VEC_SS, b.fault.vector);
    assert_string_equal("p", b.log);
    assert_int_equal(0x8050, b.cpu.gpr[RSP]);
    /* In 64-bit mode there are no limits, but addresses that are not canonical. */
    b = BENCH(INSN_64, "\xff\x33");
    point(&b);
    b.fail_at = 1;
    b.fail_vector = VEC_GP;
    assert_int_equal(-E_FAULT, execute(&b));
    assert_int_equal(VEC_SS, b.fault.vector);
    b = BENCH(INSN_64, "\x8b\x03");
    point(&b);
    b.fail_at = 1;
    b.fail_vector = VEC_GP;
    assert_int_equal(-E_FAULT, execute(&b));
    assert_int_equal(VEC_GP, b.fault.vector);
    /* A 16-bit stack under 32-bit code, and the other way round. */
    b = BENCH(INSN_32, "\x6a\xff"); /* push $-1 */
    point(&b);
    b.cpu.seg[SEG_SS].attributes = 0x93;
    b.cpu.gpr[RSP] = 0x12348050;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x804c, b.last_la);
    assert_int_equal(0x1234804c, b.cpu.gpr[RSP]);
    b = BENCH(INSN_16, "\x6a\xff");
    point(&b);
    b.base = 0x12348000;
    b.cpu.seg[SEG_SS] = (struct segment){.attributes = 0xc093, .usable = true, .limit = 0xffffffff};
    b.cpu.gpr[RSP] = 0x12348050;
    assert_int_equal(0, execute(&b));
    assert_int_equal(0x1234804e, b.cpu.gpr[RSP]);
}

/* SDM Vol 3A, Interrupt 17; Vol 3C, Relative Priority of Faults and VM Exits. */
static void test_alignment(void **state) {
    struct bench b = BENCH(INSN_64, "\x6d"); /* insl */

    (void)state;
    for (u32 i = 0; i < 4; i++) {
        b = BENCH(INSN_64, "\x6d");
        point(&b);
        b.cpu.align = true;
        b.cpu.gpr[RDI] += i;
        assert_int_equal(i ? -E_FAULT : 0, execute(&b));
        if (i) assert_int_equal(VEC_AC, b.fault.vector);
        if (i) assert_true(b.fault.has_error && b.fault.error == 0);
        assert_string_equal(i ? "" : "piw", b.log);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_stack_segment),
        cmocka_unit_test(test_alignment),
    };

    return cmocka_run_group_tests_name("insn segments", tests, NULL, NULL);
}
