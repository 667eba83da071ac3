/* core/vdev/vmtrr.c against SDM Vol 3A, Memory Type Range Registers (MTRRs). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "core/base/errors.h"
#include "core/base/x86.h"
#include "core/vdev/vmtrr.h"

#define BITS 40u

static struct vmtrr m;

static int setup(void **state) {
    (void)state;
    vmtrr_set_up(&m, BITS);
    return 0;
}

static u64 read(u32 msr) {
    u64 value = 0;

    assert_int_equal(0, vmtrr_read(&m, msr, &value));
    return value;
}

/* Writes, and reads back what is there afterwards. */
static void kept(u32 msr, u64 value) {
    assert_int_equal(0, vmtrr_write(&m, msr, value, BITS));
    assert_int_equal(value, read(msr));
}
static void refused(u32 msr, u64 value) {
    u64 before = read(msr);

    assert_int_equal(-E_FAULT, vmtrr_write(&m, msr, value, BITS));
    assert_int_equal(before, read(msr));
}

/* MTRR Initialization: none is enabled. */
static void test_reset(void **state) {
    (void)state;
    vmtrr_reset(&m);
    assert_int_equal(0x508, read(MSR_MTRRCAP));
    assert_int_equal(0, read(MSR_MTRR_DEF_TYPE));
    for (u32 msr = 0x200; msr <= 0x20f; msr++) assert_int_equal(0, read(msr));
    assert_int_equal(0, read(0x250));
    assert_int_equal(0, read(0x258));
    assert_int_equal(0, read(0x259));
    for (u32 msr = 0x268; msr <= 0x26f; msr++) assert_int_equal(0, read(msr));
}

/* Memory write-back; uncached are 0xa0000 to 0xbffff and 3 GiB to 4 GiB. */
static void test_set_up(void **state) {
    (void)state;
    assert_int_equal(0x508, read(MSR_MTRRCAP));
    assert_int_equal(0xc06, read(MSR_MTRR_DEF_TYPE));
    assert_int_equal(0x0606060606060606, read(0x250));
    assert_int_equal(0x0606060606060606, read(0x258));
    assert_int_equal(0, read(0x259));
    for (u32 msr = 0x268; msr <= 0x26f; msr++) assert_int_equal(0x0606060606060606, read(msr));
    assert_int_equal(0xc0000000, read(0x200));
    assert_int_equal(0xffc0000800, read(0x201));
    for (u32 msr = 0x202; msr <= 0x20f; msr++) assert_int_equal(0, read(msr));
}

/* IA32_MTRRCAP MSR; IA32_MTRR_DEF_TYPE MSR */
static void test_cap_and_default(void **state) {
    (void)state;
    refused(MSR_MTRRCAP, 0x508);
    kept(MSR_MTRR_DEF_TYPE, 0);
    kept(MSR_MTRR_DEF_TYPE, 0x801);
    kept(MSR_MTRR_DEF_TYPE, 0xc05);
    refused(MSR_MTRR_DEF_TYPE, 0xc02);
    refused(MSR_MTRR_DEF_TYPE, 0xc03);
    refused(MSR_MTRR_DEF_TYPE, 0xc07);
    refused(MSR_MTRR_DEF_TYPE, 0xd06);
    refused(MSR_MTRR_DEF_TYPE, 0x1c06);
    refused(MSR_MTRR_DEF_TYPE, BIT(63) | 6);
}

/* Fixed Range MTRRs: a type in each byte */
static void test_fixed(void **state) {
    (void)state;
    kept(0x250, 0x0001040506000104);
    kept(0x259, 0x0101010101010101);
    for (u32 i = 0; i < 64; i += 8) refused(0x26f, 2ull << i);
    kept(0x268, 0x0404040404040404);
    assert_int_equal(0x0606060606060606, read(0x269));
}

/* Variable Range MTRRs: reserved bits of base and mask */
static void test_variable(void **state) {
    (void)state;
    for (u32 msr = 0x200; msr < 0x210; msr += 2) {
        kept(msr, 0xfffffff001);
        kept(msr + 1, 0xfffffff800);
        kept(msr + 1, 0);
    }
    refused(0x20e, 0x102);
    refused(0x20e, 0x106);
    refused(0x20e, 0x806);
    refused(0x20e, BIT(BITS));
    refused(0x20f, 0x801);
    refused(0x20f, 0x400);
    refused(0x20f, BIT(BITS) | 0x800);
    assert_int_equal(0, vmtrr_write(&m, 0x20f, BIT(51) | 0x800, 52));
}

static void test_nothing_else(void **state) {
    static const u32 none[] = {0xfd, 0xff, 0x1ff, 0x210, 0x24f, 0x251, 0x257, 0x25a, 0x267, 0x270, 0x277, 0x2fe, 0x300};
    u64 value;

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(none); i++) {
        assert_int_equal(-E_FAULT, vmtrr_read(&m, none[i], &value));
        assert_int_equal(-E_FAULT, vmtrr_write(&m, none[i], 0, BITS));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset, setup),           cmocka_unit_test_setup(test_set_up, setup),
        cmocka_unit_test_setup(test_cap_and_default, setup), cmocka_unit_test_setup(test_fixed, setup),
        cmocka_unit_test_setup(test_variable, setup),        cmocka_unit_test_setup(test_nothing_else, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
