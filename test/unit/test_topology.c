/* core/policy/topology.c: what made-up processors say of the threads of a core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/policy/topology.h"

struct cpu {
    struct {
        u32 leaf;
        struct cpuid_regs regs;
    } answers[6];
    u32 max_basic, max_ext;
};

/* A leaf beyond the highest answers as Intel's do: with the highest basic leaf, here with ones. */
static void host(void *ctx, u32 leaf, u32 sub, struct cpuid_regs *out) {
    const struct cpu *c = ctx;

    assert_int_equal(0, sub);
    *out = (struct cpuid_regs){0};
    if (leaf == 0) out->eax = c->max_basic;
    if (leaf == 0x80000000) out->eax = c->max_ext;
    if (leaf != 0x80000000 && leaf > (leaf >> 31 ? c->max_ext : c->max_basic))
        *out = (struct cpuid_regs){0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};
    for (u32 i = 0; i < ARRAY_SIZE(c->answers); i++)
        if (c->answers[i].leaf && c->answers[i].leaf == leaf) *out = c->answers[i].regs;
}

static u32 bits(struct cpu cpu) { return topology_smt_bits(host, &cpu); }
#define BITS(basic, ext, ...) bits((struct cpu){.max_basic = (basic), .max_ext = (ext), .answers = {__VA_ARGS__}})

static void test_leaves(void **state) {
    (void)state;
    /* 1FH before 0BH; each only if its first level is the threads'. */
    assert_int_equal(2, BITS(0x1f, 0, {0x1f, {2, 4, 0x100, 0}}, {0xb, {1, 2, 0x100, 0}}));
    assert_int_equal(1, BITS(0x1f, 0, {0x1f, {0, 0, 0, 0}}, {0xb, {1, 2, 0x100, 0}}));
    assert_int_equal(1, BITS(0x16, 0, {0xb, {1, 2, 0x100, 0}}));
    assert_int_equal(0, BITS(0x16, 0, {0xb, {0, 1, 0x100, 0}}));
    assert_int_equal(0, BITS(0x16, 0, {0xb, {4, 2, 0x200, 0}}));
    assert_int_equal(0, BITS(0x16, 0, {0xb, {31, 2, 0x100, 0}})); /* not believed */
    /* AMD: threads of a core, less one; only with topology extensions. */
    assert_int_equal(1, BITS(0xd, 0x8000001e, {0x80000001, {0, 0, BIT(22), 0}}, {0x8000001e, {9, 0x105, 1, 0}}));
    assert_int_equal(2, BITS(0xd, 0x8000001e, {0x80000001, {0, 0, BIT(22), 0}}, {0x8000001e, {9, 0x205, 1, 0}}));
    assert_int_equal(0, BITS(0xd, 0x8000001e, {0x8000001e, {9, 0x105, 1, 0}}));
    /* Before 0BH: logical processors of a package by cores. */
    assert_int_equal(1, BITS(4, 0, {1, {0, 4 << 16, 0, BIT(28)}}, {4, {1 | 1u << 26, 0, 0, 0}}));
    assert_int_equal(1, BITS(4, 0, {1, {0, 2 << 16, 0, BIT(28)}}, {4, {1, 0, 0, 0}}));
    assert_int_equal(0, BITS(4, 0, {1, {0, 2 << 16, 0, 0}}, {4, {1, 0, 0, 0}}));
    assert_int_equal(0, BITS(4, 0, {1, {0, 2 << 16, 0, BIT(28)}}));
    assert_int_equal(0, BITS(4, 0, {1, {0, 2 << 16, 0, BIT(28)}}, {4, {1 | 3u << 26, 0, 0, 0}}));
    assert_int_equal(0, BITS(2, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_leaves)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
