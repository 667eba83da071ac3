/* mm/frames.c: against a page bitmap, and placement on machines as they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "mm/frames.h"

#define MAX_RANGES 16u

struct fixture {
    struct frame_range ranges[MAX_RANGES];
    struct frames f;
};

static void start(struct fixture *x, u32 max) {
    *x = (struct fixture){0};
    x->f = (struct frames){.ranges = x->ranges, .max = max};
}

static void check_ranges(const struct frames *f, const struct frame_range *want, u32 count) {
    assert_int_equal(count, f->count);
    for (u32 i = 0; i < count; i++) {
        assert_int_equal(want[i].base, f->ranges[i].base);
        assert_int_equal(want[i].bytes, f->ranges[i].bytes);
    }
}
#define CHECK_RANGES(f, ...)                                                                                           \
    check_ranges(f, (const struct frame_range[]){__VA_ARGS__}, ARRAY_SIZE(((const struct frame_range[]){__VA_ARGS__})))

static void test_add(void **state) {
    struct fixture x;

    (void)state;
    start(&x, 3);
    assert_int_equal(0, frames_add(&x.f, 0x10001, 0x3fff)); /* inward: 0x11000 to 0x14000 */
    assert_int_equal(0, frames_add(&x.f, 0x20fff, 0xfff));  /* nothing left of it */
    assert_int_equal(0, frames_add(&x.f, 0x8000, 0));
    assert_int_equal(0, frames_add(&x.f, BIT(60), PAGE_4K));
    CHECK_RANGES(&x.f, {0x11000, 0x3000});
    assert_int_equal(0, frames_add(&x.f, 0x30000, 0x1000));
    assert_int_equal(0, frames_add(&x.f, 0x20000, 0x1000));
    CHECK_RANGES(&x.f, {0x11000, 0x3000}, {0x20000, 0x1000}, {0x30000, 0x1000});
    assert_int_equal(-E_NOMEM, frames_add(&x.f, 0x40000, 0x1000));
    assert_int_equal(-E_NOMEM, frames_add(&x.f, 0, 0x1000));
    CHECK_RANGES(&x.f, {0x11000, 0x3000}, {0x20000, 0x1000}, {0x30000, 0x1000});
    assert_int_equal(0, frames_add(&x.f, 0x14000, 0xc000)); /* touches two: full, but it merges */
    CHECK_RANGES(&x.f, {0x11000, 0x10000}, {0x30000, 0x1000});
    assert_int_equal(0, frames_add(&x.f, 0x12000, 0x1000)); /* inside */
    assert_int_equal(0, frames_add(&x.f, 0x10000, 0x30000));
    CHECK_RANGES(&x.f, {0x10000, 0x30000});
    assert_int_equal(0, frames_add(&x.f, BIT(52) - 0x1000, NEVER));
    CHECK_RANGES(&x.f, {0x10000, 0x30000}, {BIT(52) - 0x1000, 0x1000});
    assert_int_equal(0x31000, frames_free_bytes(&x.f));
}

static void test_reserve(void **state) {
    struct fixture x;

    (void)state;
    start(&x, 3);
    assert_int_equal(0, frames_reserve(&x.f, 0, PAGE_4K));
    assert_int_equal(0, frames_add(&x.f, 0x10000, 0x10000));
    assert_int_equal(0, frames_reserve(&x.f, 0x14fff, 2)); /* outward: two pages */
    CHECK_RANGES(&x.f, {0x10000, 0x4000}, {0x16000, 0xa000});
    assert_int_equal(0, frames_reserve(&x.f, 0x18000, 0));
    assert_int_equal(0, frames_reserve(&x.f, BIT(52), PAGE_4K));
    assert_int_equal(0, frames_reserve(&x.f, 0x18000, 0x1000));
    assert_int_equal(-E_NOMEM, frames_reserve(&x.f, 0x1a000, 0x1000));
    CHECK_RANGES(&x.f, {0x10000, 0x4000}, {0x16000, 0x2000}, {0x19000, 0x7000});
    assert_int_equal(0, frames_reserve(&x.f, 0xf000, 0x2000));  /* the low edge */
    assert_int_equal(0, frames_reserve(&x.f, 0x1f000, 0x8000)); /* the high edge */
    CHECK_RANGES(&x.f, {0x11000, 0x3000}, {0x16000, 0x2000}, {0x19000, 0x6000});
    assert_int_equal(0, frames_reserve(&x.f, 0x13000, 0x7000)); /* across all three */
    CHECK_RANGES(&x.f, {0x11000, 0x2000}, {0x1a000, 0x5000});
    assert_int_equal(0, frames_reserve(&x.f, 0, NEVER));
    assert_int_equal(0, x.f.count);
    assert_int_equal(0, x.f.taken);
}

static void test_is_free(void **state) {
    struct fixture x;

    (void)state;
    start(&x, 3);
    assert_int_equal(0, frames_add(&x.f, 0x10000, 0x4000));
    assert_int_equal(0, frames_add(&x.f, 0x20000, 0x4000));
    assert_true(frames_is_free(&x.f, 0x10000, 0x4000));
    assert_true(frames_is_free(&x.f, 0x23fff, 1));
    assert_false(frames_is_free(&x.f, 0x10000, 0x4001));
    assert_false(frames_is_free(&x.f, 0x12000, NEVER));
    assert_false(frames_is_free(&x.f, 0x14000, 0x1000));
    assert_false(frames_is_free(&x.f, 0xf000, 0x2000));
}

static void test_alloc(void **state) {
    struct fixture x;
    hpa_t at;

    (void)state;
    start(&x, 2);
    assert_int_equal(0, frames_add(&x.f, 0x1000, 0x4000));
    assert_int_equal(0, frames_add(&x.f, MIB(1), MIB(8)));
    assert_int_equal(-E_INVAL, frames_alloc(&x.f, 0, PAGE_4K, 0, NEVER, &at));
    assert_int_equal(-E_INVAL, frames_alloc(&x.f, 1, PAGE_4K, 0, NEVER, &at));
    assert_int_equal(-E_INVAL, frames_alloc(&x.f, PAGE_4K, 1, 0, NEVER, &at));
    assert_int_equal(-E_INVAL, frames_alloc(&x.f, PAGE_4K, 0x3000, 0, NEVER, &at));
    assert_int_equal(-E_NOMEM, frames_alloc(&x.f, MIB(9), PAGE_4K, 0, NEVER, &at));
    assert_int_equal(-E_NOMEM, frames_alloc(&x.f, PAGE_4K, PAGE_4K, MIB(9), NEVER, &at));
    assert_int_equal(-E_NOMEM, frames_alloc(&x.f, 0x2000, PAGE_4K, 0, 0x2000, &at));
    assert_int_equal(-E_NOMEM, frames_alloc(&x.f, PAGE_4K, BIT(63), 0, NEVER, &at));
    assert_int_equal(-E_NOMEM, frames_alloc(&x.f, PAGE_4K, BIT(63), BIT(63) + 1, NEVER, &at));
    assert_int_equal(0, frames_alloc(&x.f, PAGE_4K, PAGE_4K, 0, NEVER, &at));
    assert_int_equal(0x1000, at.v);
    /* 0x3000 would split the first range, for which there is no room; 1 MiB starts the second. */
    assert_int_equal(0, frames_alloc(&x.f, PAGE_4K, PAGE_4K, 0x3000, NEVER, &at));
    assert_int_equal(MIB(1), at.v);
    assert_int_equal(0, frames_alloc(&x.f, 0x3000, PAGE_4K, 0, MIB(1), &at));
    assert_int_equal(0x2000, at.v);
    assert_int_equal(0, frames_alloc(&x.f, PAGE_2M, PAGE_2M, 0, NEVER, &at));
    assert_int_equal(MIB(2), at.v);
    assert_int_equal(PAGE_4K * 5 + PAGE_2M, x.f.taken);
    assert_int_equal(MIB(8) - PAGE_4K - PAGE_2M, frames_free_bytes(&x.f));
}

/* --- random calls against one flag per page --------------------------------------------------- */

#define PAGES 256u

static u64 seed;
static u32 draw(u32 below) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(seed >> 33) % below;
}

static void check_bitmap(const struct frames *f, const bool *free) {
    u64 total = 0;

    for (u32 i = 0; i < PAGES; i++) {
        assert_int_equal(free[i], frames_is_free(f, PAGE_4K * i, PAGE_4K));
        total += free[i] ? PAGE_4K : 0;
    }
    assert_int_equal(total, frames_free_bytes(f));
    for (u32 i = 1; i < f->count; i++) assert_true(f->ranges[i].base > f->ranges[i - 1].base + f->ranges[i - 1].bytes);
}

static void test_random(void **state) {
    bool free[PAGES] = {false};
    struct fixture x;

    (void)state;
    seed = 1;
    start(&x, 8);
    for (u32 n = 0; n < 20000; n++) {
        u32 base = draw(PAGES), count = draw(PAGES - base) / 4 + 1, what = draw(3);
        bool value = what == 0;
        hpa_t at = hpa(0);
        int err;

        if (what == 0)
            err = frames_add(&x.f, PAGE_4K * base, PAGE_4K * count);
        else if (what == 1)
            err = frames_reserve(&x.f, PAGE_4K * base, PAGE_4K * count);
        else
            err = frames_alloc(&x.f, PAGE_4K * count, PAGE_4K << draw(3), 0, NEVER, &at);
        if (what == 2) base = (u32)(at.v / PAGE_4K);
        for (u32 i = base; !err && i < base + count; i++) {
            assert_true(what != 2 || free[i]);
            free[i] = value;
        }
        assert_true(x.f.count <= 8);
        check_bitmap(&x.f, free);
    }
}

/* --- placement -------------------------------------------------------------------------------- */

/* A PC with `high` bytes above 4 GiB, as firmware leaves it. */
static void machine(struct fixture *x, u64 low_end, u64 high) {
    start(x, MAX_RANGES);
    assert_int_equal(0, frames_add(&x->f, 0, 0x9fc00));
    assert_int_equal(0, frames_add(&x->f, MIB(1), low_end - MIB(1)));
    assert_int_equal(0, frames_add(&x->f, GIB(4), high));
}

static void check_pieces(const struct piece *got, int count, const struct piece *want, int wanted) {
    assert_int_equal(wanted, count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(want[i].base.v, got[i].base.v);
        assert_int_equal(want[i].bytes, got[i].bytes);
    }
}
#define CHECK_PIECES(got, count, ...)                                                                                  \
    check_pieces(got, count, (const struct piece[]){__VA_ARGS__},                                                      \
                 (int)ARRAY_SIZE(((const struct piece[]){__VA_ARGS__})))

static void test_place(void **state) {
    struct piece p[8];
    struct fixture x;

    (void)state;
    machine(&x, GIB(3) - 0x20000, 0); /* the ACPI tables end the low memory */
    CHECK_PIECES(p, frames_place(&x.f, MIB(512), p, 8), {{GIB(3) - MIB(514)}, MIB(512)});
    CHECK_PIECES(p, frames_place(&x.f, MIB(16) + 5, p, 8), {{GIB(3) - MIB(532)}, MIB(16) + PAGE_4K});
    CHECK_PIECES(p, frames_place(&x.f, GIB(1), p, 8), {{GIB(1)}, GIB(1)});
    assert_int_equal(MIB(512) + MIB(16) + PAGE_4K + GIB(1), x.f.taken);
    /* No 1 GiB border is left: 2 MiB ones serve. */
    assert_int_equal(-E_NOMEM, frames_place(&x.f, GIB(3), p, 8));
    CHECK_PIECES(p, frames_place(&x.f, GIB(1), p, 8), {{MIB(2)}, GIB(1) - MIB(2)}, {{GIB(3) - MIB(534)}, MIB(2)});

    machine(&x, GIB(3), GIB(5)); /* 4 GiB to 9 GiB */
    CHECK_PIECES(p, frames_place(&x.f, GIB(2) + MIB(512), p, 8), {{GIB(6)}, GIB(2) + MIB(512)});
    /* One piece has no room: whole GiB together, then the rest on a 2 MiB border. */
    CHECK_PIECES(p, frames_place(&x.f, GIB(3) + MIB(64), p, 8), {{GIB(4)}, GIB(2)}, {{GIB(1)}, GIB(1) + MIB(64)});
    CHECK_PIECES(p, frames_place(&x.f, PAGE_4K, p, 8), {{GIB(9) - MIB(2)}, PAGE_4K});
    assert_int_equal(-E_INVAL, frames_place(&x.f, 0, p, 8));
    assert_int_equal(-E_NOMEM, frames_place(&x.f, NEVER, p, 8));
}

/* Fewer pieces are allowed than whole GiB need. */
static void test_place_max(void **state) {
    struct piece p[8];
    struct fixture x;

    (void)state;
    start(&x, MAX_RANGES);
    assert_int_equal(0, frames_add(&x.f, GIB(4) + MIB(512), GIB(1) + MIB(768)));
    CHECK_PIECES(p, frames_place(&x.f, GIB(1) + MIB(512), p, 1), {{GIB(4) + MIB(768)}, GIB(1) + MIB(512)});
    assert_int_equal(0, frames_add(&x.f, p[0].base.v, p[0].bytes));
    CHECK_PIECES(p, frames_place(&x.f, GIB(1) + MIB(512), p, 2), {{GIB(5)}, GIB(1)}, {{GIB(4) + MIB(512)}, MIB(512)});
    assert_int_equal(-E_NOMEM, frames_place(&x.f, MIB(2), p, 0));
}

static void check_unchanged(struct fixture *x, u64 memory, u32 max) {
    struct fixture before = *x;
    struct piece p[8];

    before.f.ranges = before.ranges;
    assert_int_equal(-E_NOMEM, frames_place(&x->f, memory, p, max));
    check_ranges(&x->f, before.ranges, before.f.count);
    assert_int_equal(before.f.taken, x->f.taken);
}

static void test_place_undo(void **state) {
    struct fixture x;
    struct piece p[8];

    (void)state;
    start(&x, MAX_RANGES);
    for (u32 i = 0; i < 4; i++) assert_int_equal(0, frames_add(&x.f, GIB(2) * i + MIB(3), GIB(1) + MIB(2 * i)));
    check_unchanged(&x, GIB(5), 8);
    check_unchanged(&x, GIB(4) + MIB(6), 8); /* free, but not on 2 MiB borders */
    check_unchanged(&x, GIB(2), 1);
    x.f.max = 4; /* no room for the split that a placement on a border needs */
    check_unchanged(&x, MIB(16), 8);
    x.f.max = 6; /* room for two */
    check_unchanged(&x, GIB(4), 8);
    x.f.max = MAX_RANGES;
    assert_int_equal(4, frames_place(&x.f, GIB(4) + MIB(5), p, 8));
}

/* Whatever is placed was free, lies on its border, does not overlap and sums up. */
static void test_place_random(void **state) {
    u32 placed = 0;

    (void)state;
    seed = 7;
    for (u32 n = 0; n < 5000; n++) {
        struct fixture x, before;
        struct piece p[4];
        u64 memory = MIB(1) * (1 + draw(3000)) + PAGE_4K * draw(3);
        int count;

        start(&x, MAX_RANGES);
        for (u32 i = 0; i < 6; i++) assert_int_equal(0, frames_add(&x.f, MIB(1) * draw(9000), MIB(1) * draw(2500)));
        before = x;
        before.f.ranges = before.ranges;
        count = frames_place(&x.f, memory, p, 4);
        if (count < 0) {
            check_ranges(&x.f, before.ranges, before.f.count);
            continue;
        }
        placed++;
        for (int i = 0; i < count; i++) {
            assert_true(is_aligned(p[i].base.v, PAGE_2M));
            assert_true(i == count - 1 || is_aligned(p[i].bytes, PAGE_2M));
            assert_true(frames_is_free(&before.f, p[i].base.v, p[i].bytes));
            assert_int_equal(0, frames_reserve(&before.f, p[i].base.v, p[i].bytes));
            memory -= p[i].bytes;
        }
        assert_int_equal(0, memory);
        check_ranges(&x.f, before.ranges, before.f.count);
    }
    assert_true(placed > 1000 && placed < 5000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),       cmocka_unit_test(test_reserve),    cmocka_unit_test(test_is_free),
        cmocka_unit_test(test_alloc),     cmocka_unit_test(test_random),     cmocka_unit_test(test_place),
        cmocka_unit_test(test_place_max), cmocka_unit_test(test_place_undo), cmocka_unit_test(test_place_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
