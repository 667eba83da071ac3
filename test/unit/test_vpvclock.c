/* core/vdev/vpvclock.c against Linux, KVM-specific MSRs: the structures, their versions and the conversion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/vdev/vpvclock.h"

#define RAM 0x200000ull

static _Alignas(16) u8 ram[256];
static struct region regions[2];
static struct gmem mem;
static struct vpvclock clock;

static int setup(void **state) {
    (void)state;
    memset(ram, 0xee, sizeof(ram));
    regions[0] = (struct region){.gpa = gpa(RAM), .hpa = hpa((u64)ram), .bytes = sizeof(ram), .rights = RIGHT_READ};
    regions[0].rights |= RIGHT_WRITE;
    regions[1] = (struct region){.gpa = gpa(RAM + 4096), .hpa = hpa((u64)ram), .bytes = 256, .rights = RIGHT_READ};
    mem = (struct gmem){regions, 2, 0, false};
    clock = (struct vpvclock){0};
    return 0;
}

static u64 field(u32 at, u32 bytes) {
    u64 value = 0;

    memcpy(&value, ram + at, bytes);
    return value;
}

static int write_time(u64 value, u64 hz, u64 tsc0) {
    return vpvclock_write(&clock, &mem, MSR_PVCLOCK_TIME, value, hz, tsc0, 77);
}

/* What the guest computes. */
static u64 ns_of(u64 tsc) {
    u64 ticks = tsc - field(8, 8);
    s8 shift = (s8)field(28, 1);

    ticks = shift < 0 ? ticks >> -shift : ticks << shift;
    return field(16, 8) + (u64)((u128)ticks * field(24, 4) >> 32);
}

static void test_time(void **state) {
    static const u64 rates[] = {1000000,    999999999,  1000000000, 1000000001,
                                2000000001, 3000123456, 4294967296, 9000000000};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(rates); i++) {
        u64 hz = rates[i], ns;

        assert_int_equal(0, write_time((RAM + 4) | 1, hz, 0)); /* anywhere on 4 bytes */
        assert_int_equal(0, write_time((RAM + 0) | 1, hz, 5000));
        assert_int_equal(4 * (i + 1), field(0, 4));
        assert_int_equal(5000, field(8, 8));
        assert_int_equal(0, field(16, 8));
        assert_true(field(24, 4) > 0x7fffff00); /* its bits are used */
        assert_int_equal(1, field(29, 1));      /* PVCLOCK_TSC_STABLE_BIT */
        ns = ns_of(5000 + 1000 * hz);
        assert_in_range(ns, 1000000000000 - 2000, 1000000000000 + 2000); /* 2 in a thousand million */
        assert_int_equal(0, ns_of(5000));
    }
    assert_int_equal(0xeeeeeeee, field(36, 4)); /* of the write at RAM + 4: nothing behind it */
    assert_int_equal(RAM | 1, clock.time);
}

static void test_disabled(void **state) {
    (void)state;
    assert_int_equal(0, write_time(RAM, 1000000000, 0));
    assert_int_equal(0, write_time(0, 1000000000, 0));
    assert_int_equal(0, write_time(0x123456789abcdef0, 1000000000, 0)); /* nobody goes there */
    assert_int_equal(0xee, ram[0]);
    assert_int_equal(0, clock.version);
}

static void test_wall(void **state) {
    (void)state;
    assert_int_equal(0, vpvclock_write(&clock, &mem, MSR_PVCLOCK_WALL, RAM + 8, 1000000000, 0, 1700000000));
    assert_int_equal(2, field(8, 4));
    assert_int_equal(1700000000, field(12, 4));
    assert_int_equal(0, field(16, 4));
    assert_int_equal(0xeeeeeeee, field(4, 4));
    assert_int_equal(0xeeeeeeee, field(20, 4));
    assert_int_equal(RAM + 8, clock.wall);
}

/* Nothing outside the guest's own writable memory, and nothing unaligned. */
static void test_refused(void **state) {
    static const u64 bad[] = {RAM - 4, RAM + 256 - 28, RAM + 2, RAM + 4096, 0, ~0ull, ~0ull - 30, 0xfee00000};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) assert_int_equal(-E_FAULT, write_time(bad[i] | 1, 1000000000, 0));
    assert_int_equal(-E_FAULT, vpvclock_write(&clock, &mem, MSR_PVCLOCK_WALL, RAM + 1, 1, 0, 0));
    assert_int_equal(-E_FAULT, vpvclock_write(&clock, &mem, MSR_PVCLOCK_WALL, RAM + 248, 1, 0, 0));
    assert_int_equal(0, write_time((RAM + 256 - 32) | 1, 1000000000, 0));
    assert_int_equal(0xee, ram[0]);
    assert_int_equal(0, clock.wall);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_time, setup),
        cmocka_unit_test_setup(test_disabled, setup),
        cmocka_unit_test_setup(test_wall, setup),
        cmocka_unit_test_setup(test_refused, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
