/* core/policy/msr.c: the table is sorted, the search finds what the table says and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "core/base/x86.h"
#include "core/policy/msr.h"

static void check(u32 msr, enum msr_kind read, enum msr_kind write, u64 value) {
    const struct msr_entry *e = msr_find(msr, false);

    if (!e) e = msr_find(msr, true);
    assert_non_null(e);
    assert_in_range(msr, e->first, e->last);
    assert_int_equal(read, e->read);
    assert_int_equal(write, e->write);
    assert_int_equal(value, e->value);
}

static void test_sorted(void **state) {
    (void)state;
    for (u32 i = 0; i < msr_table_count; i++) {
        assert_true(msr_table[i].first <= msr_table[i].last);
        assert_true(i == 0 || msr_table[i - 1].last < msr_table[i].first);
        for (u32 amd = 0; amd < 2; amd++) {
            bool has = msr_table[i].maker != (amd ? MSR_INTEL : MSR_AMD);

            assert_ptr_equal(has ? &msr_table[i] : NULL, msr_find(msr_table[i].first, amd));
            assert_ptr_equal(has ? &msr_table[i] : NULL, msr_find(msr_table[i].last, amd));
        }
    }
}

static void test_entries(void **state) {
    (void)state;
    check(MSR_TSC, MSR_TSC_REG, MSR_TSC_REG, 0);
    check(MSR_TSC_ADJUST, MSR_TSC_REG, MSR_TSC_REG, 0);
    check(MSR_APIC_BASE, MSR_LAPIC, MSR_LAPIC, 0);
    check(MSR_FEATURE_CONTROL, MSR_CONST, MSR_CONST, 1);
    check(MSR_BIOS_SIGN_ID, MSR_CONST, MSR_IGNORE, 0);
    check(MSR_SYSENTER_ESP, MSR_DIRECT, MSR_DIRECT, 0);
    check(MSR_MISC_ENABLE, MSR_CONST, MSR_CONST, 0x1801);
    check(MSR_MTRRCAP, MSR_MTRR, MSR_MTRR, 0);
    check(0x20f, MSR_MTRR, MSR_MTRR, 0);
    check(0x250, MSR_MTRR, MSR_MTRR, 0);
    check(0x259, MSR_MTRR, MSR_MTRR, 0);
    check(0x26f, MSR_MTRR, MSR_MTRR, 0);
    check(MSR_MTRR_DEF_TYPE, MSR_MTRR, MSR_MTRR, 0);
    check(MSR_PAT, MSR_PAT_REG, MSR_PAT_REG, 0);
    check(MSR_TSC_DEADLINE, MSR_LAPIC, MSR_LAPIC, 0);
    check(0x80b, MSR_LAPIC, MSR_LAPIC, 0);
    check(0x4b564d00, MSR_CLOCK, MSR_CLOCK, 0);
    check(0x4b564d01, MSR_CLOCK, MSR_CLOCK, 0);
    check(MSR_EFER, MSR_EFER_REG, MSR_EFER_REG, 0);
    check(MSR_LSTAR, MSR_DIRECT, MSR_DIRECT, 0);
    check(MSR_GS_BASE, MSR_DIRECT, MSR_DIRECT, 0);
    check(MSR_TSC_AUX, MSR_DIRECT, MSR_DIRECT, 0);
    check(MSR_HWCR, MSR_CONST, MSR_IGNORE, BIT(24));
    check(0xc001001f, MSR_CONST, MSR_IGNORE, BIT(46));
    check(0xc0011029, MSR_CONST, MSR_IGNORE, 2);
}

/* What a guest must never have, whatever becomes of the table. */
static void test_denied(void **state) {
    static const u32 denied[] = {
        0,          0x48,       0x49,       0x79,       0x10a,      0x173,      0x177,      0x17b,
        0x1d8,      0x1da,      0x276,      0x278,      0x300,      0x400,      0x480,      0x6df,
        0x11,       0x12,       0x4b564cff, 0x4b564d02, 0x4b564d03, 0x4b564d04, 0x6e1,      0x7ff,
        0x900,      0xda0,      0xc000007f, 0xc0000085, 0xc00000ff, 0xc0000104, 0xc0010114, 0xc0010117,
        0xc0011028, 0xc001102a, 0xffffffff, 0xfd,       0xff,       0x1ff,      0x210,      0x24f,
        0x251,      0x257,      0x25a,      0x267,      0x270,      0x2fe,
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(denied); i++) assert_true(!msr_find(denied[i], false) && !msr_find(denied[i], true));
}

/* What only one maker's processors have: SDM Vol 4, and APM Vol 2, appendix A. */
static void test_makers(void **state) {
    static const u32 intel[] = {MSR_PLATFORM_ID, MSR_FEATURE_CONTROL, MSR_MISC_ENABLE};
    static const u32 amd[] = {MSR_SYSCFG, MSR_HWCR, 0xc001001f, 0xc0010055, 0xc0011029};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(intel); i++) assert_true(msr_find(intel[i], false) && !msr_find(intel[i], true));
    for (u32 i = 0; i < ARRAY_SIZE(amd); i++) assert_true(msr_find(amd[i], true) && !msr_find(amd[i], false));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorted),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_denied),
        cmocka_unit_test(test_makers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
