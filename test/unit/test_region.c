/* mm/region.c: the region list of the small PC, and what guest memory access refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "mm/region.h"

#define MAX 16u

struct want {
    u64 gpa, hpa, bytes;
    enum region_kind kind;
};

static void check_list(const struct region *got, int count, const struct want *want, int wanted) {
    assert_int_equal(wanted, count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(want[i].gpa, got[i].gpa.v);
        assert_int_equal(want[i].hpa, got[i].hpa.v);
        assert_int_equal(want[i].bytes, got[i].bytes);
        assert_int_equal(want[i].kind, got[i].kind);
        assert_int_equal(RIGHTS_RWX, got[i].rights);
        assert_int_equal(MEM_WB, got[i].memtype);
    }
}
#define CHECK_LIST(got, count, ...)                                                                                    \
    check_list(got, count, (const struct want[]){__VA_ARGS__}, (int)ARRAY_SIZE(((const struct want[]){__VA_ARGS__})))

static void test_list(void **state) {
    const struct piece one = {{GIB(8)}, GIB(8)};
    struct region r[MAX];

    (void)state;
    CHECK_LIST(r, region_list_build(&one, 1, MIB(1), r, MAX), {0, GIB(8), 0xa0000, REGION_RAM},
               {0xe0000, GIB(8) + 0xe0000, 0x20000, REGION_RESERVED});
    CHECK_LIST(r, region_list_build(&one, 1, MIB(16), r, MAX), {0, GIB(8), 0xa0000, REGION_RAM},
               {0xe0000, GIB(8) + 0xe0000, 0x20000, REGION_RESERVED}, {MIB(1), GIB(8) + MIB(1), MIB(15), REGION_RAM});
    CHECK_LIST(r, region_list_build(&one, 1, GIB(3), r, MAX), {0, GIB(8), 0xa0000, REGION_RAM},
               {0xe0000, GIB(8) + 0xe0000, 0x20000, REGION_RESERVED},
               {MIB(1), GIB(8) + MIB(1), GIB(3) - MIB(1), REGION_RAM});
    CHECK_LIST(r, region_list_build(&one, 1, GIB(5), r, MAX), {0, GIB(8), 0xa0000, REGION_RAM},
               {0xe0000, GIB(8) + 0xe0000, 0x20000, REGION_RESERVED},
               {MIB(1), GIB(8) + MIB(1), GIB(3) - MIB(1), REGION_RAM}, {GIB(4), GIB(11), GIB(2), REGION_RAM});
}

static void test_pieces(void **state) {
    const struct piece two[] = {{{GIB(8)}, GIB(1)}, {{GIB(6)}, MIB(64)}};
    const struct piece hole[] = {{{GIB(8)}, GIB(2)}, {{GIB(32)}, GIB(2)}};
    const struct piece odd[] = {{{GIB(1)}, 0x80000}, {{GIB(2)}, 0x70000}, {{GIB(3)}, MIB(1)}};
    struct region r[MAX];

    (void)state;
    CHECK_LIST(r, region_list_build(two, 2, GIB(1) + MIB(64), r, MAX), {0, GIB(8), 0xa0000, REGION_RAM},
               {0xe0000, GIB(8) + 0xe0000, 0x20000, REGION_RESERVED},
               {MIB(1), GIB(8) + MIB(1), GIB(1) - MIB(1), REGION_RAM}, {GIB(1), GIB(6), MIB(64), REGION_RAM});
    CHECK_LIST(r, region_list_build(hole, 2, GIB(4), r, MAX), {0, GIB(8), 0xa0000, REGION_RAM},
               {0xe0000, GIB(8) + 0xe0000, 0x20000, REGION_RESERVED},
               {MIB(1), GIB(8) + MIB(1), GIB(2) - MIB(1), REGION_RAM}, {GIB(2), GIB(32), GIB(1), REGION_RAM},
               {GIB(4), GIB(33), GIB(1), REGION_RAM});
    /* Borders inside the low RAM and inside the BIOS area. */
    CHECK_LIST(r, region_list_build(odd, 3, 0x180000, r, MAX), {0, GIB(1), 0x80000, REGION_RAM},
               {0x80000, GIB(2), 0x20000, REGION_RAM}, {0xe0000, GIB(2) + 0x60000, 0x10000, REGION_RESERVED},
               {0xf0000, GIB(3), 0x10000, REGION_RESERVED}, {MIB(1), GIB(3) + 0x10000, 0x80000, REGION_RAM});
    for (u32 max = 0; max < 5; max++) assert_int_equal(-E_NOMEM, region_list_build(odd, 3, 0x180000, r, max));
}

static void test_refused(void **state) {
    const struct piece good = {{GIB(8)}, GIB(1)};
    const struct piece bad[] = {
        {{GIB(8) + 1}, GIB(1)}, {{GIB(8)}, GIB(1) + 1},       {{GIB(8)}, 0},
        {{GIB(8)}, BIT(50)},    {{BIT(52) - MIB(1)}, GIB(1)},
    };
    const struct piece many[] = {{{0}, BIT(47)}, {{0}, BIT(47)}, {{0}, BIT(47)}};
    struct region r[MAX];

    (void)state;
    assert_int_equal(-E_INVAL, region_list_build(&good, 1, MIB(1) - PAGE_4K, r, MAX));
    assert_int_equal(-E_INVAL, region_list_build(&good, 1, MIB(2) + 1, r, MAX));
    assert_int_equal(-E_INVAL, region_list_build(&good, 1, GIB(1) + PAGE_4K, r, MAX));
    assert_int_equal(-E_INVAL, region_list_build(&good, 0, MIB(1), r, MAX));
    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) assert_int_equal(-E_INVAL, region_list_build(&bad[i], 1, MIB(2), r, MAX));
    /* The guest's address space ends at 2^48. */
    assert_int_equal(5, region_list_build(many, 3, BIT(48) - GIB(1), r, MAX));
    assert_int_equal(BIT(48), r[4].gpa.v + r[4].bytes);
    assert_int_equal(-E_INVAL, region_list_build(many, 3, BIT(48), r, MAX));
}

static void test_access(void **state) {
    u8 *host = calloc(3, PAGE_4K);
    const struct region regions[] = {
        {.gpa = {0}, .hpa = {0}, .bytes = PAGE_4K, .rights = RIGHTS_RWX},
        {.gpa = {PAGE_4K}, .hpa = {2 * PAGE_4K}, .bytes = PAGE_4K, .rights = RIGHTS_RWX},
        {.gpa = {GIB(1)}, .bytes = PAGE_4K, .rights = RIGHTS_RWX, .kind = REGION_DEVICE},
        {.gpa = {GIB(2)}, .bytes = PAGE_4K, .rights = RIGHT_READ, .kind = REGION_RESERVED},
    };
    const struct gmem mem = {regions, 4, (u64)host, false};
    u8 out[4] = {1, 2, 3, 4};

    (void)state;
    assert_int_equal(0, gmem_write(&mem, gpa(PAGE_4K - 2), out, 4));
    assert_int_equal(2, host[PAGE_4K - 1]);
    assert_int_equal(3, host[2 * PAGE_4K]);
    assert_int_equal(0, gmem_zero(&mem, gpa(PAGE_4K - 1), 2));
    assert_int_equal(0, gmem_read(&mem, gpa(PAGE_4K - 2), out, 4));
    assert_int_equal(0, out[1] | out[2]);
    assert_int_equal(4, out[3]);
    assert_ptr_equal(host + 2 * PAGE_4K, gmem_ptr(&mem, gpa(PAGE_4K), PAGE_4K, true));
    /* Device memory is not ours to touch, and nothing is written before the whole is checked. */
    assert_null(gmem_ptr(&mem, gpa(GIB(1)), 1, false));
    assert_int_equal(-E_RANGE, gmem_read(&mem, gpa(GIB(1)), out, 1));
    assert_int_equal(-E_RANGE, gmem_zero(&mem, gpa(2 * PAGE_4K - 1), 2));
    assert_int_equal(-E_RANGE, gmem_zero(&mem, gpa(GIB(2)), 1));
    assert_non_null(gmem_ptr(&mem, gpa(GIB(2)), 1, false));
    free(host);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_access),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
