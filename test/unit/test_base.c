/* core/base and mm/region.c: text formatting, strings, guest memory access. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/ring.h"
#include "core/base/string.h"
#include "mm/region.h"

static void check_fmt(const char *expected, const char *actual) {
    assert_string_equal(expected, actual);
}

static void test_fmt(void **state) {
    char out[64];

    (void)state;
    fmt(out, sizeof(out), "%d %u %x %#x", -5, 7u, 0xabcu, 0xabcu);
    check_fmt("-5 7 abc 0xabc", out);
    fmt(out, sizeof(out), "%016llx|%-4u|%4u|%04u", 0x1234ull, 9u, 9u, 9u);
    check_fmt("0000000000001234|9   |   9|0009", out);
    fmt(out, sizeof(out), "%s %.2s %c %%", "abc", "abc", 'z');
    check_fmt("abc ab z %", out);
    fmt(out, sizeof(out), "%lld", (long long)INT64_MIN);
    check_fmt("-9223372036854775808", out);
    assert_int_equal(10, (int)fmt(out, 4, "%s", "0123456789"));
    check_fmt("012", out);
}

static void test_ring(void **state) {
    u8 data[4], byte;
    struct ring r;

    (void)state;
    ring_init(&r, data, sizeof(data));
    r.head = r.tail = 0xfffffffe; /* the counters may wrap */
    for (u8 i = 0; i < 4; i++)
        assert_true(ring_put(&r, i));
    assert_false(ring_put(&r, 9));
    for (u8 i = 0; i < 4; i++) {
        assert_true(ring_get(&r, &byte));
        assert_int_equal(i, byte);
    }
    assert_false(ring_get(&r, &byte));
}

static void test_gmem(void **state) {
    u8 *host = calloc(4, PAGE_4K);
    struct region regions[] = {
        {.gpa = {0}, .hpa = {0}, .bytes = PAGE_4K, .rights = RIGHTS_RWX},
        {.gpa = {PAGE_4K}, .hpa = {2 * PAGE_4K}, .bytes = PAGE_4K, .rights = RIGHT_READ},
    };
    struct gmem mem = {regions, 2, (u64)host};
    u8 out[8];

    (void)state;
    host[PAGE_4K - 1] = 1;
    host[2 * PAGE_4K] = 2;
    assert_int_equal(0, gmem_read(&mem, gpa(PAGE_4K - 1), out, 2));
    assert_int_equal(1, out[0]);
    assert_int_equal(2, out[1]);
    assert_int_equal(-E_RANGE, gmem_write(&mem, gpa(PAGE_4K - 1), out, 2));
    assert_int_equal(-E_RANGE, gmem_read(&mem, gpa(2 * PAGE_4K - 1), out, 2));
    assert_int_equal(-E_RANGE, gmem_read(&mem, gpa(~0ull), out, 2));
    assert_null(gmem_ptr(&mem, gpa(PAGE_4K - 1), 2, false));
    assert_int_equal(0, gmem_zero(&mem, gpa(PAGE_4K - 1), 1));
    assert_int_equal(0, host[PAGE_4K - 1]);
    free(host);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fmt),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_gmem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
