/* core/insn/task.c against SDM Vol 3A, Task Switching: what is saved, loaded and marked, by 32-bit and 16-bit TSSs; and
 * every row of "Exception Conditions Checked During a Task Switch" that is left to software. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "core/base/errors.h"
#include "core/base/string.h"
#include "core/base/x86.h"
#include "core/insn/task.h"

#define GDT      0x1000
#define OLD      0x2000
#define NEW      0x3000
#define STACK    0x5000
#define BAD_CR3  0x66000
#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_OLD  0x18
#define SEL_NEW  0x20
#define SEL_LDT  0x28
#define SEL_MORE 0x30
#define SEL_FAR  0x38 /* beyond the table */

static u8 memory[0x8000];
static u64 broken; /* address that faults */
static u32 cr3_seen;

static int get(void *ctx, u64 la, u32 size, u64 *value, struct insn_fault *fault) {
    (void)ctx;
    if (la == broken) {
        *fault = (struct insn_fault){.vector = VEC_PF, .has_error = true, .cr2 = la};
        return -E_FAULT;
    }
    assert_true(la + size <= sizeof(memory));
    *value = 0;
    memcpy(value, memory + la, size);
    return 0;
}
static int put(void *ctx, u64 la, u32 size, u64 value, struct insn_fault *fault) {
    u64 old;
    int error = get(ctx, la, size, &old, fault);

    if (!error) memcpy(memory + la, &value, size);
    return error;
}
static bool use_cr3(void *ctx, u32 cr3) {
    (void)ctx;
    cr3_seen = cr3;
    return cr3 != BAD_CR3;
}
static const struct insn_bus bus = {.read = get, .write = put};

static void poke(u64 at, u32 size, u64 value) { memcpy(memory + at, &value, size); }
static u64 peek(u64 at, u32 size) {
    u64 value = 0;
    memcpy(&value, memory + at, size);
    return value;
}
static void descriptor(u16 selector, u32 base, u32 limit, u16 attributes) {
    poke(GDT + (selector & ~7u), 8,
         (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)attributes << 40 | (u64)(limit >> 16 & 15) << 48 |
             (u64)(base >> 24) << 56);
}

static struct task_cpu cpu;
static struct task_request request;
static struct insn_fault fault;
static bool switched;

/* Two 32-bit tasks with flat segments; the new one's registers are 0x100 + number. */
static int setup(void **state) {
    (void)state;
    memset(memory, 0, sizeof(memory));
    broken = ~0ull;
    cr3_seen = 0;
    descriptor(SEL_CODE, 0, 0xfffff, 0xc09a);
    descriptor(SEL_DATA, 0, 0xfffff, 0xc092);
    descriptor(SEL_OLD, OLD, 0x67, 0x8b);
    descriptor(SEL_NEW, NEW, 0x67, 0x89);
    descriptor(SEL_LDT, GDT, 0x2f, 0x82);
    poke(NEW + 28, 4, 0x77000);
    poke(NEW + 32, 4, 0x4321);
    poke(NEW + 36, 4, 0x202);
    for (u32 i = 0; i < 8; i++) poke(NEW + 40 + 4 * i, 4, 0x100 + i);
    poke(NEW + 56, 4, STACK);
    for (u32 i = 0; i < 6; i++) poke(NEW + 72 + 4 * i, 4, i == 1 ? SEL_CODE : SEL_DATA);
    cpu = (struct task_cpu){.eip = 0x1111, .eflags = 0x4246, .cr3 = 0x5000, .paging = true};
    for (u32 i = 0; i < 8; i++) cpu.gpr[i] = 0x90000 + i;
    for (u32 i = 0; i < 6; i++) cpu.seg[i] = (struct segment){.selector = (u16)(0x50 + 8 * i), .usable = true};
    cpu.seg[VSEG_TR] = (struct segment){SEL_OLD, 0x8b, true, 0x67, OLD};
    cpu.seg[VSEG_GDTR] = (struct segment){.limit = 0x37, .base = GDT, .usable = true};
    request = (struct task_request){SEL_NEW, TASK_JMP, 0x1234, .use_cr3 = use_cr3};
    return 0;
}

static int run(void) { return task_switch(&cpu, &request, &bus, &switched, &fault); }

static void expect_fault(u8 vector, u32 error, bool in_new) {
    assert_int_equal(-E_FAULT, run());
    assert_int_equal(vector, fault.vector);
    assert_int_equal(error, fault.error);
    assert_int_equal(in_new, switched);
}

static void test_jump(void **state) {
    (void)state;
    assert_int_equal(0, run());
    assert_true(switched);
    assert_int_equal(0x1234, peek(OLD + 32, 4));
    assert_int_equal(0x4246, peek(OLD + 36, 4));
    for (u32 i = 0; i < 8; i++) assert_int_equal(0x90000 + i, peek(OLD + 40 + 4 * i, 4));
    for (u32 i = 0; i < 6; i++) assert_int_equal(0x50 + 8 * i, peek(OLD + 72 + 4 * i, 2));
    assert_int_equal(0x89, peek(GDT + SEL_OLD + 5, 1));
    assert_int_equal(0x8b, peek(GDT + SEL_NEW + 5, 1));
    assert_int_equal(0, peek(NEW, 2));
    assert_int_equal(0x4321, cpu.eip);
    assert_int_equal(0x202, cpu.eflags);
    assert_int_equal(0x77000, cpu.cr3);
    assert_int_equal(0x77000, cr3_seen);
    for (u32 i = 0; i < 8; i++) assert_int_equal(i == 4 ? STACK : 0x100 + i, cpu.gpr[i]);
    assert_int_equal(SEL_CODE, cpu.seg[VSEG_CS].selector);
    assert_int_equal(0xc09b, cpu.seg[VSEG_CS].attributes);
    assert_int_equal(0xffffffff, cpu.seg[VSEG_CS].limit);
    assert_int_equal(0xc093, cpu.seg[VSEG_SS].attributes);
    assert_int_equal(SEL_NEW, cpu.seg[VSEG_TR].selector);
    assert_int_equal(0x8b, cpu.seg[VSEG_TR].attributes);
    assert_int_equal(NEW, cpu.seg[VSEG_TR].base);
    assert_false(cpu.seg[VSEG_LDTR].usable);
    assert_false(cpu.debug_trap);
    assert_int_equal(0x9b, peek(GDT + SEL_CODE + 5, 1)); /* accessed */
}

static void test_call_and_return(void **state) {
    (void)state;
    request.source = TASK_CALL;
    poke(NEW + 100, 1, 1);
    cpu.paging = false;
    assert_int_equal(0, run());
    assert_int_equal(SEL_OLD, peek(NEW, 2));
    assert_int_equal(0x8b, peek(GDT + SEL_OLD + 5, 1));
    assert_int_equal(0x4202, cpu.eflags);
    assert_int_equal(0x5000, cpu.cr3);
    assert_true(cpu.debug_trap);
    /* IRET: NT does not stay in the image of the task that is left. */
    for (u32 i = 0; i < 6; i++) poke(OLD + 72 + 4 * i, 2, i == 1 ? SEL_CODE : 0);
    poke(OLD + 80, 2, SEL_DATA);
    request = (struct task_request){SEL_OLD, TASK_IRET, 0x9999, .use_cr3 = use_cr3};
    assert_int_equal(0, run());
    assert_int_equal(0x9999, peek(NEW + 32, 4));
    assert_int_equal(0x202, peek(NEW + 36, 4));
    assert_int_equal(0x89, peek(GDT + SEL_NEW + 5, 1));
    assert_int_equal(0x8b, peek(GDT + SEL_OLD + 5, 1));
    assert_int_equal(0x1234, cpu.eip);
    assert_false(cpu.seg[VSEG_DS].usable);
}

static void test_gate_with_error(void **state) {
    (void)state;
    request.source = TASK_GATE;
    request.has_error = true;
    request.error = 0x1238;
    assert_int_equal(0, run());
    assert_int_equal(STACK - 4, cpu.gpr[4]);
    assert_int_equal(0x1238, peek(STACK - 4, 4));
    assert_int_equal(SEL_OLD, peek(NEW, 2));
}

/* SDM Vol 3A, 16-Bit Task-State Segment. */
static void test_narrow(void **state) {
    static const u16 image[22] = {0, 0, 0,     0, 0, 0, 0,        0x777,    2,        1, 2,
                                  3, 4, STACK, 6, 7, 8, SEL_DATA, SEL_CODE, SEL_DATA, 0, SEL_LDT};

    (void)state;
    descriptor(SEL_NEW, NEW, 0x2b, 0x81);
    descriptor(SEL_DATA, 0, 0xffff, 0x92);
    memcpy(memory + NEW, image, sizeof(image));
    request.source = TASK_GATE;
    request.has_error = true;
    request.error = 0x10008;
    assert_int_equal(0, run());
    assert_int_equal(0x777, cpu.eip);
    assert_int_equal(0x4002, cpu.eflags);
    assert_int_equal(0x90001, cpu.gpr[0]);
    assert_int_equal(0x90000 + STACK - 2, cpu.gpr[4]);
    assert_int_equal(8, peek(STACK - 2, 2));
    assert_int_equal(0x5000, cpu.cr3);
    assert_int_equal(0x83, cpu.seg[VSEG_TR].attributes);
    assert_int_equal(GDT, cpu.seg[VSEG_LDTR].base);
    assert_false(cpu.seg[VSEG_FS].usable);
    /* And out of it: two bytes each. */
    request = (struct task_request){SEL_OLD, TASK_IRET, 0x888, .use_cr3 = use_cr3};
    poke(OLD + 76, 2, SEL_CODE);
    poke(OLD + 80, 2, SEL_DATA);
    for (u32 i = 0; i < 6; i++)
        if (i != 1 && i != 2) poke(OLD + 72 + 4 * i, 2, 0);
    assert_int_equal(0, run());
    assert_int_equal(0x888, peek(NEW + 14, 2));
    assert_int_equal(0x81, peek(GDT + SEL_NEW + 5, 1));
}

static void test_virtual_8086(void **state) {
    (void)state;
    poke(NEW + 36, 4, 0x20202);
    poke(NEW + 32, 4, 0x100);
    assert_int_equal(0, run());
    assert_int_equal(SEL_CODE << 4, cpu.seg[VSEG_CS].base);
    assert_int_equal(0xf3, cpu.seg[VSEG_DS].attributes);
    assert_int_equal(0xffff, cpu.seg[VSEG_SS].limit);
}

static void test_segment_faults(void **state) {
    static const struct {
        u32 field;
        u16 selector, attributes; /* of SEL_MORE */
        u8 vector;
    } rows[] = {
        {96, 4, 0, VEC_TS},
        {96, SEL_CODE, 0, VEC_TS},
        {96, SEL_FAR, 0, VEC_TS},
        {76, 0, 0, VEC_TS},
        {76, SEL_DATA, 0, VEC_TS},
        {76, SEL_MORE, 0xc01a, VEC_NP},
        {76, SEL_MORE, 0xc0fa, VEC_TS},
        {76, SEL_CODE + 1, 0, VEC_TS},
        {80, 0, 0, VEC_TS},
        {80, SEL_CODE, 0, VEC_TS},
        {80, SEL_MORE, 0xc090, VEC_TS},
        {80, SEL_MORE, 0xc012, VEC_SS},
        {80, SEL_DATA + 1, 0, VEC_TS},
        {84, SEL_NEW, 0, VEC_TS},
        {84, SEL_MORE, 0xc098, VEC_TS},
        {84, SEL_DATA + 3, 0, VEC_TS},
        {88, SEL_MORE, 0xc012, VEC_NP},
        {92, SEL_FAR, 0, VEC_TS},
        {92, SEL_MORE | 4, 0, VEC_TS},
    };

    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        setup(state);
        descriptor(SEL_MORE, 0, 0xfffff, rows[i].attributes);
        poke(NEW + rows[i].field, 2, rows[i].selector);
        expect_fault(rows[i].vector, rows[i].selector & ~3u, true);
    }
    /* Conforming code at a lower privilege level, as code and as data. */
    setup(state);
    descriptor(SEL_MORE, 0, 0xfffff, 0xc09e);
    poke(NEW + 76, 2, SEL_MORE);
    poke(NEW + 84, 2, SEL_MORE + 3);
    assert_int_equal(0, run());
    /* EIP beyond the code segment. */
    setup(state);
    descriptor(SEL_CODE, 0, 0x4320, 0x409b);
    expect_fault(VEC_GP, 0, true);
}

/* EXT, in each error code that names a selector or none; not in that of a page fault. SDM Vol 3A, Error Code. */
static void test_external(void **state) {
    setup(state);
    request.source = TASK_GATE;
    request.external = true;
    poke(NEW + 84, 2, SEL_FAR);
    expect_fault(VEC_TS, SEL_FAR | 1, true);
    setup(state);
    request.external = true;
    request.selector = SEL_FAR;
    expect_fault(VEC_TS, SEL_FAR | 1, false);
    setup(state);
    request.external = true;
    descriptor(SEL_MORE, 0, 0xfffff, 0xc012);
    poke(NEW + 80, 2, SEL_MORE);
    expect_fault(VEC_SS, SEL_MORE | 1, true);
    setup(state);
    request.external = true;
    poke(NEW + 28, 4, BAD_CR3);
    expect_fault(VEC_GP, 1, true);
    setup(state);
    request.external = true;
    broken = NEW + 32;
    expect_fault(VEC_PF, 0, false);
}

/* SDM Vol 2B, MOV: faults are #GP instead of #TS; all 64 bits of the table's address count in 64-bit mode. */
static void test_load_segment(void **state) {
    struct task_cpu c = {.eflags = 2};

    setup(state);
    c.seg[VSEG_GDTR] = cpu.seg[VSEG_GDTR];
    assert_int_equal(0, task_load_segment(&c, VSEG_DS, SEL_DATA, 0, false, &bus, &fault));
    assert_int_equal(0xc093, c.seg[VSEG_DS].attributes);
    assert_int_equal(0x93, peek(GDT + SEL_DATA + 5, 1));
    assert_int_equal(-E_FAULT, task_load_segment(&c, VSEG_DS, SEL_DATA + 3, 0, false, &bus, &fault));
    assert_int_equal(VEC_GP, fault.vector);
    assert_int_equal(SEL_DATA, fault.error);
    assert_int_equal(-E_FAULT, task_load_segment(&c, VSEG_DS, SEL_FAR, 0, false, &bus, &fault));
    assert_int_equal(-E_FAULT, task_load_segment(&c, VSEG_DS, SEL_DATA | 4, 0, false, &bus, &fault));
    assert_int_equal(-E_FAULT, task_load_segment(&c, VSEG_SS, SEL_CODE, 0, false, &bus, &fault));
    assert_int_equal(-E_FAULT, task_load_segment(&c, VSEG_SS, 0, 0, false, &bus, &fault));
    assert_true(fault.vector == VEC_GP && fault.error == 0);
    assert_int_equal(0, task_load_segment(&c, VSEG_SS, 0, 0, true, &bus, &fault));
    assert_false(c.seg[VSEG_SS].usable);
    descriptor(SEL_MORE, 0, 0xfffff, 0xc012);
    assert_int_equal(-E_FAULT, task_load_segment(&c, VSEG_SS, SEL_MORE, 0, false, &bus, &fault));
    assert_int_equal(VEC_SS, fault.vector);
    assert_int_equal(-E_FAULT, task_load_segment(&c, VSEG_ES, SEL_MORE, 0, false, &bus, &fault));
    assert_int_equal(VEC_NP, fault.vector);
    broken = 0xffff800000000000 + SEL_DATA;
    c.seg[VSEG_GDTR].base = 0xffff800000000000;
    assert_int_equal(-E_FAULT, task_load_segment(&c, VSEG_ES, SEL_DATA, 0, true, &bus, &fault));
    assert_int_equal(broken, fault.cr2);
    c.eflags |= RFLAGS_VM;
    assert_int_equal(0, task_load_segment(&c, VSEG_ES, 0x1234, 3, false, &bus, &fault));
    assert_int_equal(0x12340, c.seg[VSEG_ES].base);
}

/* A page that is missing is found before anything is switched. */
static void test_page_faults(void **state) {
    static const u64 early[] = {GDT + SEL_NEW, NEW + 32,          NEW + 100,        NEW + 28,
                                OLD + 40,      GDT + SEL_OLD + 5, GDT + SEL_NEW + 5};
    static const u64 late[] = {GDT + SEL_CODE, GDT + SEL_DATA + 5};

    for (u32 i = 0; i < ARRAY_SIZE(early); i++) {
        setup(state);
        broken = early[i];
        expect_fault(VEC_PF, 0, false);
        assert_int_equal(early[i], fault.cr2);
        assert_int_equal(0x1111, cpu.eip);
        assert_int_equal(SEL_OLD, cpu.seg[VSEG_TR].selector);
    }
    for (u32 i = 0; i < ARRAY_SIZE(late); i++) {
        setup(state);
        broken = late[i];
        expect_fault(VEC_PF, 0, true);
        assert_int_equal(0x4321, cpu.eip);
    }
    setup(state);
    request.source = TASK_CALL;
    broken = NEW;
    expect_fault(VEC_PF, 0, false);
    setup(state);
    poke(NEW + 96, 2, SEL_LDT);
    broken = GDT + SEL_LDT;
    expect_fault(VEC_PF, 0, true);
    setup(state);
    request.selector = SEL_FAR;
    expect_fault(VEC_TS, SEL_FAR, false);
    /* Tables that are not valid: the new task's fault, with all of its registers; not without paging. */
    setup(state);
    poke(NEW + 28, 4, BAD_CR3);
    expect_fault(VEC_GP, 0, true);
    assert_int_equal(0x4321, cpu.eip);
    assert_int_equal(0x107, cpu.gpr[7]);
    setup(state);
    poke(NEW + 28, 4, BAD_CR3);
    cpu.paging = false;
    assert_int_equal(0, run());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_jump, setup),
        cmocka_unit_test_setup(test_call_and_return, setup),
        cmocka_unit_test_setup(test_gate_with_error, setup),
        cmocka_unit_test_setup(test_narrow, setup),
        cmocka_unit_test_setup(test_virtual_8086, setup),
        cmocka_unit_test_setup(test_segment_faults, setup),
        cmocka_unit_test_setup(test_external, setup),
        cmocka_unit_test_setup(test_load_segment, setup),
        cmocka_unit_test_setup(test_page_faults, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
