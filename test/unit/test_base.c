/* core/base and mm/region.c: text formatting, strings, error names, guest memory access. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/ring.h"
#include "core/base/spinlock.h"
#include "core/base/string.h"
#include "mm/region.h"

static void check_fmt(const char *expected, const char *actual) { assert_string_equal(expected, actual); }

static void test_fmt(void **state) {
    char out[64];

    (void)state;
    fmt(out, sizeof(out), "%d %u %x", -5, 7u, 0xabcu);
    check_fmt("-5 7 abc", out);
    fmt(out, sizeof(out), "%016llx|%-4u|%4u|%04u", 0x1234ull, 9u, 9u, 9u);
    check_fmt("0000000000001234|9   |   9|0009", out);
    fmt(out, sizeof(out), "%s %5s %c %%", "abc", "abc", 'z');
    check_fmt("abc   abc z %", out);
    fmt(out, sizeof(out), "%lld", (long long)INT64_MIN);
    check_fmt("-9223372036854775808", out);
    assert_int_equal(10, (int)fmt(out, 4, "%s", "0123456789"));
    check_fmt("012", out);
}

static void test_fmt_lengths(void **state) {
    char out[64];

    (void)state;
    fmt(out, sizeof(out), "%lu %zu", ~0ul, (size_t)7);
    check_fmt("18446744073709551615 7", out);
    fmt(out, sizeof(out), "%d %ld", -32768, -1l);
    check_fmt("-32768 -1", out);
    fmt(out, sizeof(out), "%-3c|%-5s|", 'z', "abc");
    check_fmt("z  |abc  |", out);
    fmt(out, sizeof(out), "%06d %06x %-6d| %08x", -42, 0xau, -42, 0xffffffffu);
    check_fmt("-00042 00000a -42   | ffffffff", out);
}

/* A format that is wrong must show itself, never read past its end. */
static void test_fmt_odd(void **state) {
    const char *const bad[] = {"%q", "50%", "%5", "%-0d|"};
    const char *volatile none = NULL;
    char out[8] = "before";

    (void)state;
    fmt(out, sizeof(out), bad[0], 1);
    check_fmt("%q", out);
    fmt(out, sizeof(out), bad[1], 1);
    check_fmt("50%", out);
    fmt(out, sizeof(out), bad[2], 1);
    check_fmt("%", out);
    fmt(out, sizeof(out), bad[3], 7);
    check_fmt("7|", out);
    fmt(out, sizeof(out), "%s", none);
    check_fmt("(null)", out);
    assert_int_equal(3, (int)fmt(NULL, 0, "%s", "abc"));
    assert_int_equal(3, (int)fmt(out, 1, "%s", "abc"));
    check_fmt("", out);
}

/* Every code has a phrase of its own, with either sign. */
static void test_error_names(void **state) {
    (void)state;
    assert_string_equal("no error", error_name(0));
    assert_string_equal("unknown error", error_name(1000));
    assert_string_equal("unknown error", error_name(-1000));
    for (int code = E_INVAL; code <= E_TIMEOUT; code++) {
        assert_string_equal(error_name(code), error_name(-code));
        for (int other = 0; other < code; other++) assert_string_not_equal(error_name(code), error_name(other));
        assert_string_not_equal("unknown error", error_name(code));
    }
}

static void test_strings(void **state) {
    char out[4];

    (void)state;
    assert_true(str_equal("", "") && str_equal("ab", "ab"));
    assert_false(str_equal("ab", "abc") || str_equal("abc", "ab") || str_equal("ab", "ac"));
    assert_true(str_starts("abc", "") && str_starts("abc", "ab") && str_starts("abc", "abc"));
    assert_false(str_starts("ab", "abc") || str_starts("", "a") || str_starts("xb", "a"));
    assert_true(str_copy(out, sizeof(out), "abc"));
    assert_string_equal("abc", out);
    assert_false(str_copy(out, sizeof(out), "abcd"));
    assert_string_equal("abc", out);
    assert_true(str_copy(out, 1, ""));
    assert_false(str_copy(out, 1, "a"));
    assert_string_equal("", out);
}

static void test_ring(void **state) {
    u8 data[4], byte;
    struct ring r;

    (void)state;
    ring_init(&r, data, sizeof(data));
    r.head = r.tail = 0xfffffffe; /* the counters may wrap */
    for (u8 i = 0; i < 4; i++) assert_true(ring_put(&r, i));
    assert_false(ring_put(&r, 9));
    for (u8 i = 0; i < 4; i++) {
        assert_true(ring_get(&r, &byte));
        assert_int_equal(i, byte);
    }
    assert_false(ring_get(&r, &byte));
}

/* What is written at once comes out at once or not at all, over the ring's end as well. */
static void test_ring_write(void **state) {
    u8 data[8], byte;
    struct ring r = {.data = data, .size = 8};

    (void)state;
    for (u32 turn = 0; turn < 5; turn++) {
        assert_true(ring_write(&r, "abcde", 5));
        assert_false(ring_write(&r, "xyzt", 4));
        assert_int_equal(5, ring_used(&r));
        for (u32 i = 0; i < 5; i++) {
            assert_true(ring_get(&r, &byte));
            assert_int_equal("abcde"[i], byte);
        }
    }
    assert_true(ring_write(&r, "12345678", 8));
    assert_false(ring_write(&r, "9", 1));
    assert_true(ring_write(&r, "", 0));
}

static void test_gmem(void **state) {
    u8 *host = calloc(4, PAGE_4K);
    struct region regions[] = {
        {.gpa = {0}, .hpa = {0}, .bytes = PAGE_4K, .rights = RIGHTS_RWX},
        {.gpa = {PAGE_4K}, .hpa = {2 * PAGE_4K}, .bytes = PAGE_4K, .rights = RIGHT_READ},
    };
    struct gmem mem = {regions, 2, (u64)host, false};
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

/* --- spin lock --- */

static struct spinlock lock;
static u32 waiting, has_it;

static void *wait_in_line(void *unused) {
    (void)unused;
    __atomic_store_n(&waiting, 1, __ATOMIC_RELEASE);
    spin_lock(&lock);
    __atomic_store_n(&has_it, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&waiting, __ATOMIC_ACQUIRE)) (void)sched_yield();
    spin_unlock(&lock);
    return NULL;
}

/* Who gives it back and asks again comes behind the one who waited. */
static void test_lock_order(void **state) {
    pthread_t other;

    (void)state;
    assert_true(spin_try(&lock));
    assert_false(spin_try(&lock));
    assert_int_equal(0, pthread_create(&other, NULL, wait_in_line, NULL));
    while (!__atomic_load_n(&waiting, __ATOMIC_ACQUIRE)) (void)sched_yield();
    for (u32 i = 0; i < 3000000 && __atomic_load_n(&lock.next, __ATOMIC_ACQUIRE) < 2; i++) (void)sched_yield();
    assert_int_equal(2, lock.next); /* it has a ticket */
    spin_unlock(&lock);
    assert_false(spin_try(&lock));
    while (!__atomic_load_n(&has_it, __ATOMIC_ACQUIRE)) (void)sched_yield();
    assert_false(spin_try(&lock));
    __atomic_store_n(&waiting, 0, __ATOMIC_RELEASE);
    spin_lock(&lock);
    spin_unlock(&lock);
    assert_int_equal(0, pthread_join(other, NULL));
    assert_true(spin_try(&lock));
    spin_init(&lock);
    assert_true(spin_try(&lock));
    spin_unlock(&lock);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fmt),         cmocka_unit_test(test_fmt_lengths), cmocka_unit_test(test_fmt_odd),
        cmocka_unit_test(test_error_names), cmocka_unit_test(test_strings),     cmocka_unit_test(test_ring),
        cmocka_unit_test(test_ring_write),  cmocka_unit_test(test_gmem),        cmocka_unit_test(test_lock_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
