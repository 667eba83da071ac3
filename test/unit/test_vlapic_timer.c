/* core/vdev/vlapic_timer.c. SDM Vol 3A, APIC Timer, and TSC-Deadline Mode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/x86.h"
#include "core/vdev/vlapic.h"

#define ONE_SHOT 0x00000u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u
#define RESERVED 0x60000u
#define MASKED   0x10000u
#define VECTOR   0x40u

static struct vlapic l;
static struct vlapic_effect fx;
static u64 now;

static u32 rd(u32 offset) { return vlapic_read(&l, offset, now); }
static void wr(u32 offset, u32 value) { vlapic_write(&l, offset, value, now, &fx); }
static u64 deadline_msr(void) {
    u64 value = 0;

    assert_int_equal(0, vlapic_msr_read(&l, MSR_TSC_DEADLINE, &value, now));
    return value;
}
static void set_deadline_msr(u64 value) {
    assert_int_equal(0, vlapic_msr_write(&l, MSR_TSC_DEADLINE, value, now, &fx));
}
/* Divide by 1, at TSC 1000. */
static void fresh(u32 lvt) {
    vlapic_reset(&l, 0, true);
    now = 1000;
    wr(0xf0, 0x1ff);
    wr(0x3e0, 0xb);
    wr(0x320, lvt);
}
/* Runs the timer at `at`; true if it fired. */
static bool fires(u64 at) {
    int vector;

    now = at;
    vlapic_tick(&l, now);
    vector = vlapic_pending(&l);
    if (vector < 0) return false;
    assert_int_equal(VECTOR, vector);
    vlapic_ack(&l, VECTOR);
    wr(0xb0, 0);
    return true;
}

/* Divide Configuration Register */
static void test_divide(void **state) {
    static const struct {
        u32 value, divider;
    } table[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(table); i++) {
        u64 d = table[i].divider;

        fresh(VECTOR | ONE_SHOT);
        wr(0x3e0, table[i].value);
        wr(0x380, 10);
        assert_int_equal(10, rd(0x390));
        assert_int_equal(1000 + 10 * d, vlapic_deadline(&l));
        now += d;
        assert_int_equal(9, rd(0x390));
        now += 9 * d - 1;
        assert_int_equal(1, rd(0x390));
        assert_false(fires(now));
        assert_true(fires(now + 1));
    }
    fresh(VECTOR | ONE_SHOT); /* a change on the way: the count goes on */
    wr(0x380, 100);
    now += 40;
    wr(0x3e0, 0);
    assert_int_equal(60, rd(0x390));
    assert_int_equal(1040 + 120, vlapic_deadline(&l));
}

static void test_one_shot(void **state) {
    (void)state;
    fresh(VECTOR | ONE_SHOT);
    assert_int_equal(0, rd(0x390));
    wr(0x380, 500);
    assert_false(fires(1499));
    assert_true(fires(1500));
    assert_true(vlapic_deadline(&l) == NEVER);
    assert_int_equal(500, rd(0x380));
    assert_int_equal(0, rd(0x390));
    assert_false(fires(2000));
    wr(0x380, 500);
    now += 100;
    wr(0x380, 300); /* counting restarts */
    assert_int_equal(2400, vlapic_deadline(&l));
    wr(0x380, 0); /* stops */
    assert_int_equal(0, rd(0x390));
    assert_false(fires(99999));
    wr(0x380, 0xffffffff);
    wr(0x3e0, 0xa);
    assert_int_equal(99999 + 0xffffffffull * 128, vlapic_deadline(&l));
    assert_int_equal(0xffffffff, rd(0x390));
    wr(0x390, 5); /* read-only */
    assert_int_equal(0xffffffff, rd(0x390));
}

static void test_periodic(void **state) {
    (void)state;
    fresh(VECTOR | PERIODIC);
    wr(0x380, 100);
    assert_true(fires(1100));
    assert_int_equal(100, rd(0x390));
    assert_true(fires(1230)); /* late, and no drift */
    assert_int_equal(1300, vlapic_deadline(&l));
    assert_int_equal(70, rd(0x390));
    assert_true(fires(1555)); /* missed periods become one */
    assert_int_equal(1600, vlapic_deadline(&l));
    assert_false(fires(1599));
    now = 1620; /* read before the tick: the count has wrapped already */
    assert_int_equal(80, rd(0x390));
    assert_true(fires(1620));
    assert_true(fires(NEVER - 50)); /* the end of time */
    assert_true(vlapic_deadline(&l) == NEVER || vlapic_deadline(&l) > NEVER - 50);
}

/* Masked: it counts, but nobody needs to wait for it. */
static void test_masked(void **state) {
    (void)state;
    fresh(VECTOR | PERIODIC | MASKED);
    wr(0x380, 100);
    assert_true(vlapic_deadline(&l) == NEVER);
    assert_false(fires(1150));
    assert_int_equal(50, rd(0x390));
    now = 1270;
    wr(0x320, VECTOR | PERIODIC); /* what passed while masked is lost */
    assert_int_equal(-1, vlapic_pending(&l));
    assert_int_equal(1300, vlapic_deadline(&l));
    fresh(VECTOR | ONE_SHOT | MASKED);
    wr(0x380, 100);
    now = 1200;
    assert_int_equal(0, rd(0x390));
    wr(0x320, VECTOR | ONE_SHOT);
    assert_false(fires(1300));
}

/* An expiry before a write belongs to the old setting, even if the tick comes after. */
static void test_expiry_before_write(void **state) {
    (void)state;
    fresh(VECTOR | ONE_SHOT);
    wr(0x380, 100);
    now = 1200;
    wr(0x320, VECTOR | MASKED);
    assert_int_equal(VECTOR, vlapic_pending(&l));
    fresh(VECTOR | ONE_SHOT);
    wr(0x380, 100);
    now = 1200;
    wr(0x380, 1000);
    assert_int_equal(VECTOR, vlapic_pending(&l));
    assert_int_equal(2200, vlapic_deadline(&l));
}

static void test_tsc_deadline(void **state) {
    (void)state;
    fresh(VECTOR | DEADLINE);
    assert_int_equal(0, deadline_msr());
    set_deadline_msr(5000);
    assert_int_equal(5000, deadline_msr());
    assert_int_equal(5000, vlapic_deadline(&l));
    wr(0x380, 77); /* ignored */
    assert_int_equal(0, rd(0x380));
    assert_int_equal(0, rd(0x390));
    assert_false(fires(4999));
    assert_true(fires(5000));
    assert_int_equal(0, deadline_msr()); /* disarmed and cleared */
    set_deadline_msr(4000);              /* in the past: at once */
    assert_int_equal(VECTOR, vlapic_pending(&l));
    assert_int_equal(0, deadline_msr());
    assert_true(fires(5001));
    set_deadline_msr(9000);
    set_deadline_msr(0); /* disarms */
    assert_true(vlapic_deadline(&l) == NEVER);
    set_deadline_msr(NEVER);
    assert_true(deadline_msr() == NEVER);
    assert_false(fires(NEVER));
    now = 6000;
    set_deadline_msr(7000);
    now = 7000; /* read at the deadline, before the tick */
    assert_int_equal(0, deadline_msr());
    assert_int_equal(VECTOR, vlapic_pending(&l));
}

static void test_mode_changes_disarm(void **state) {
    static const u32 modes[] = {ONE_SHOT, PERIODIC, DEADLINE, RESERVED};

    (void)state;
    for (u32 from = 0; from < 3; from++)
        for (u32 to = 0; to < 4; to++) {
            fresh(VECTOR | modes[from]);
            wr(0x380, 100);
            set_deadline_msr(1100);
            assert_int_equal(modes[from] == DEADLINE ? 1100 : 0, deadline_msr());
            wr(0x320, VECTOR | modes[to]);
            if (from == to) {
                assert_int_equal(1100, vlapic_deadline(&l));
                continue;
            }
            assert_true(vlapic_deadline(&l) == NEVER);
            assert_int_equal(0, rd(0x390));
            assert_int_equal(0, deadline_msr());
            assert_false(fires(1100));
        }
    wr(0x320, VECTOR | RESERVED); /* no mode: nothing starts it */
    wr(0x380, 10);
    set_deadline_msr(10);
    assert_false(fires(99999));
}

/* The guest writes its TSC: counts go on, a deadline is absolute. */
static void test_tsc_moved(void **state) {
    (void)state;
    fresh(VECTOR | ONE_SHOT);
    vlapic_tsc_moved(&l, 500); /* not armed */
    assert_true(vlapic_deadline(&l) == NEVER);
    wr(0x380, 100);
    vlapic_tsc_moved(&l, (u64)-900);
    now -= 900;
    assert_int_equal(100, rd(0x390));
    assert_true(fires(200));
    fresh(VECTOR | DEADLINE);
    set_deadline_msr(5000);
    vlapic_tsc_moved(&l, 500);
    assert_int_equal(5000, vlapic_deadline(&l));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_divide),
        cmocka_unit_test(test_one_shot),
        cmocka_unit_test(test_periodic),
        cmocka_unit_test(test_masked),
        cmocka_unit_test(test_expiry_before_write),
        cmocka_unit_test(test_tsc_deadline),
        cmocka_unit_test(test_mode_changes_disarm),
        cmocka_unit_test(test_tsc_moved),
    };

    return cmocka_run_group_tests_name("vlapic_timer", tests, NULL, NULL);
}
