/* drivers/srat.c and mm/numa.c: tables made up in a buffer, whole and damaged; nearest memory first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "drivers/srat.h"

#define ENABLED 1

static u8 table[0x4000];
static u32 length;
static struct node_range ranges[SRAT_MAX_RANGES];
static u32 count;
static char why[120];

static void put(u32 at, u64 v, u32 bytes) {
    for (u32 i = 0; i < bytes; i++) table[at + i] = (u8)(v >> (8 * i));
}

static void begin(u8 revision) {
    memset(table, 0, sizeof(table));
    table[8] = revision;
    length = ACPI_SRAT_ENTRIES;
}

static void memory(u32 node, u64 base, u64 bytes, u32 flags) {
    put(length, 1 | 40 << 8, 2);
    put(length + 2, node, 4);
    put(length + 8, base, 8);
    put(length + 16, bytes, 8);
    put(length + 28, flags, 4);
    length += 40;
}

static void lapic(u32 node, u8 id, u32 flags) {
    put(length, 16 << 8, 2);
    table[length + 2] = (u8)node;
    table[length + 3] = id;
    put(length + 4, flags, 4);
    put(length + 9, node >> 8, 3);
    length += 16;
}

static void x2apic(u32 node, u32 id, u32 flags) {
    put(length, 2 | 24 << 8, 2);
    put(length + 4, node, 4);
    put(length + 8, id, 4);
    put(length + 12, flags, 4);
    length += 24;
}

/* On a copy of exactly its length, so that the sanitizer sees what is read beyond. */
static int parse_max(u32 max) {
    u8 *exact = malloc(length);
    int rc;

    put(4, length, 4);
    memcpy(exact, table, length);
    why[0] = 0;
    memset(ranges, 0xee, sizeof(ranges));
    rc = srat_ranges((const void *)exact, ranges, max, &count, why, sizeof(why));
    free(exact);
    return rc;
}

static int parse(void) { return parse_max(SRAT_MAX_RANGES); }

static u32 node(u32 apic_id) {
    u8 *exact = malloc(length);
    u32 found;

    put(4, length, 4);
    memcpy(exact, table, length);
    found = srat_node((const void *)exact, apic_id);
    free(exact);
    return found;
}

static void is(u32 at, u64 base, u64 bytes, u32 number) {
    assert_int_equal(base, ranges[at].base);
    assert_int_equal(bytes, ranges[at].bytes);
    assert_int_equal(number, ranges[at].node);
}

static void test_ranges(void **state) {
    (void)state;
    begin(3);
    memory(1, GIB(4), GIB(4), ENABLED);
    lapic(0, 0, ENABLED);
    memory(0, MIB(1), GIB(2) - MIB(1), ENABLED);
    memory(7, GIB(8), GIB(8), 2);        /* hot-pluggable, and not there */
    memory(0x12345, GIB(16), GIB(1), 3); /* hot-pluggable, and there */
    memory(0, 0, 0xa0000, ENABLED);
    memory(0, GIB(2), GIB(1), ENABLED); /* adjacent, same node */
    memory(2, GIB(3), 0, ENABLED);      /* none */
    memory(3, BIT(52) - GIB(1), NEVER, ENABLED);
    memory(3, BIT(52), GIB(1), ENABLED);
    put(length, 99 | 2 << 8, 2); /* to come */
    length += 2;
    assert_int_equal(0, parse());
    assert_int_equal(5, count);
    is(0, 0, 0xa0000, 0);
    is(1, MIB(1), GIB(3) - MIB(1), 0);
    is(2, GIB(4), GIB(4), 1);
    is(3, GIB(16), GIB(1), 0x12345);
    is(4, BIT(52) - GIB(1), GIB(1), 3);
}

static void test_damaged(void **state) {
    (void)state;
    for (u8 type = 0; type < 3; type++)
        for (u32 bytes = 0; bytes < 16; bytes++) { /* too short for its type */
            begin(3);
            put(length, type | bytes << 8, 2);
            length += 48;
            assert_int_equal(-E_INVAL, parse());
            assert_non_null(strstr(why, "SRAT: the entry at offset 48"));
            length = 48 + (bytes ? bytes - 1 : 0); /* beyond the table */
            if (length > 48) assert_int_equal(-E_INVAL, parse());
        }
    begin(3);
    length = 47;
    assert_int_equal(-E_INVAL, parse());
    begin(3);
    memory(0, GIB(1), GIB(1), ENABLED);
    memory(1, GIB(2) - 1, GIB(1), ENABLED);
    assert_int_equal(-E_INVAL, parse());
    assert_non_null(strstr(why, "0x7fffffff belongs to two entries"));
    begin(3);
    memory(1, GIB(2), GIB(1), ENABLED);
    memory(0, GIB(1), GIB(1) + 1, ENABLED);
    assert_int_equal(-E_INVAL, parse());
    begin(3);
    for (u32 i = 0; i < 3; i++) memory(i, GIB(i), MIB(1), ENABLED);
    assert_int_equal(0, parse_max(3));
    assert_int_equal(-E_INVAL, parse_max(2));
    assert_non_null(strstr(why, "more than 2 ranges"));
    assert_int_equal(0, count);
}

static void test_cores(void **state) {
    (void)state;
    begin(3);
    lapic(0x010203, 4, ENABLED);
    lapic(9, 5, 0);
    x2apic(6, 5, ENABLED);
    x2apic(0x80000001, 0x1ff, ENABLED);
    x2apic(1, 0x200, 0);
    assert_int_equal(0x010203, node(4));
    assert_int_equal(6, node(5));
    assert_int_equal(0x80000001, node(0x1ff));
    assert_int_equal(NODE_NONE, node(0x200));
    assert_int_equal(NODE_NONE, node(0));
    /* Of revision 1 the upper bits are reserved. */
    table[8] = 1;
    assert_int_equal(3, node(4));
    memory(0xabcd01, 0, GIB(1), ENABLED);
    assert_int_equal(0, parse());
    is(0, 0, GIB(1), 1);
}

static const u8 *distances(u64 n, u32 bytes, u32 *localities) {
    static u8 *exact;

    free(exact);
    put(36, n, 8);
    put(4, bytes, 4);
    exact = malloc(bytes);
    memcpy(exact, table, bytes);
    return slit_distances((const void *)exact, localities);
}

static void test_slit(void **state) {
    static const u8 three[] = {10, 12, 40, 12, 10, 40, 40, 40, 10};
    u32 n = 9;

    (void)state;
    begin(1);
    memcpy(table + 44, three, sizeof(three));
    assert_int_equal(40, distances(3, 53, &n)[2]);
    assert_int_equal(3, n);
    assert_null(distances(3, 52, &n));
    assert_int_equal(0, n);
    assert_null(distances(3, 43, &n));
    assert_null(distances(BIT(32), 53, &n));
    assert_null(distances(NEVER, 53, &n));
    table[45] = 9; /* nearer than itself */
    assert_null(distances(3, 53, &n));
    assert_non_null(distances(0, 44, &n));
    assert_int_equal(0, n);
    distances(0, 44, &n);
}

/* Nodes 0 and 2 have 2 GiB each, node 5 has 4 GiB; node 1 has cores alone. */
static const struct node_range machine[] = {{0, GIB(2), 0}, {GIB(4), GIB(2), 2}, {GIB(8), GIB(4), 5}};
static const u8 matrix[] = {10, 15, 31, 15, 10, 21, 31, 21, 10};
static const u32 cores[] = {0, 1, NODE_NONE, 5};
static const struct numa numa = {machine, 3, cores, 4, matrix, 3};

static void test_numa(void **state) {
    const struct piece pieces[] = {{{GIB(1)}, GIB(4)}, {{GIB(9)}, GIB(1)}};
    const struct numa none = {0};

    (void)state;
    assert_true(numa_has(&numa, 5) && !numa_has(&numa, 1));
    assert_int_equal(0, numa_next(&numa, NODE_NONE));
    assert_int_equal(2, numa_next(&numa, 0));
    assert_int_equal(5, numa_next(&numa, 3));
    assert_int_equal(NODE_NONE, numa_next(&numa, 5));
    assert_int_equal(31, numa_distance(&numa, 0, 2));
    assert_int_equal(10, numa_distance(&numa, 5, 5));
    assert_int_equal(20, numa_distance(&numa, 0, 5));
    assert_int_equal(5, numa_node_of_core(&numa, 3));
    assert_int_equal(NODE_NONE, numa_node_of_core(&numa, 4));
    assert_int_equal(GIB(1), numa_bytes_on(&numa, 0, pieces, 2));
    assert_int_equal(GIB(1), numa_bytes_on(&numa, 2, pieces, 2));
    assert_int_equal(GIB(1), numa_bytes_on(&numa, 5, pieces, 2));
    assert_int_equal(0, numa_bytes_on(&numa, 1, pieces, 2));
    assert_int_equal(NODE_NONE, numa_node_of_core(&none, 0));
    assert_int_equal(NODE_NONE, numa_next(&none, NODE_NONE));
}

static struct frame_range room[16];
static struct frames f;
static struct piece p[8];

static void free_memory(void) {
    f = (struct frames){.ranges = room, .max = ARRAY_SIZE(room)};
    assert_int_equal(0, frames_add(&f, MIB(1), GIB(2) - MIB(1)));
    assert_int_equal(0, frames_add(&f, GIB(4), GIB(2)));
    assert_int_equal(0, frames_add(&f, GIB(8), GIB(4)));
}

/* Places and tells where the first piece lies. */
static u64 placed(u32 from, u64 bytes) {
    assert_true(numa_place(&numa, &f, from, bytes, p, 8) > 0);
    return p[0].base.v;
}

static void test_place(void **state) {
    const struct numa none = {0};

    (void)state;
    free_memory();
    assert_int_equal(GIB(1), placed(0, GIB(1)));
    assert_int_equal(GIB(5), placed(2, GIB(1)));
    assert_int_equal(GIB(11), placed(5, GIB(1)));
    assert_int_equal(MIB(512), placed(0, MIB(512)));
    /* What is left there is too little: the next nearest by the table, by number where it does not tell. */
    assert_int_equal(GIB(10), placed(0, GIB(1)));
    assert_int_equal(GIB(9), placed(5, GIB(1)));
    /* Node 1 has cores alone: 15 is nearest, then 20, then 21. */
    assert_int_equal(MIB(256), placed(1, MIB(256)));
    assert_int_equal(GIB(8), placed(1, GIB(1)));
    assert_int_equal(GIB(4) + MIB(512), placed(1, MIB(512)));
    /* Without a node, and without any nodes: the highest. */
    assert_int_equal(GIB(4), placed(NODE_NONE, MIB(512)));
    free_memory();
    assert_int_equal(1, numa_place(&none, &f, NODE_NONE, GIB(1), p, 8));
    assert_int_equal(GIB(11), p[0].base.v);
    /* No node has it all: together they have. */
    free_memory();
    assert_true(numa_place(&numa, &f, 0, GIB(6), p, 8) > 1);
    assert_int_equal(GIB(8), p[0].base.v);
    assert_int_equal(-E_NOMEM, numa_place(&numa, &f, 0, GIB(6), p, 8));
    assert_int_equal(-E_INVAL, numa_place(&numa, &f, 0, 0, p, 8));
    assert_int_equal(-E_INVAL, numa_place(&none, &f, NODE_NONE, 0, p, 8));
}

/* Two nodes meet inside one free range: no piece goes over the border, and what fails is undone. */
static void test_border(void **state) {
    static const struct node_range halves[] = {{0, GIB(1) + MIB(3), 0}, {GIB(1) + MIB(3), GIB(1) - MIB(3), 1}};
    struct frame_range before;

    (void)state;
    f = (struct frames){.ranges = room, .max = ARRAY_SIZE(room)};
    assert_int_equal(0, frames_add(&f, MIB(1), GIB(2) - MIB(1)));
    before = f.ranges[0];
    assert_int_equal(-E_NOMEM, frames_place_on(&f, halves, 2, 0, GIB(1) + MIB(2), p, 8));
    assert_int_equal(-E_NOMEM, frames_place_on(&f, halves, 2, 1, GIB(1), p, 8));
    assert_int_equal(-E_NOMEM, frames_place_on(&f, halves, 2, 2, MIB(2), p, 8));
    assert_int_equal(-E_NOMEM, frames_place_on(&f, halves, 0, 0, MIB(2), p, 8));
    assert_int_equal(-E_INVAL, frames_place_on(&f, halves, 2, 0, 0, p, 8));
    assert_true(f.count == 1 && f.taken == 0 && f.ranges[0].base == before.base && f.ranges[0].bytes == before.bytes);
    assert_int_equal(1, frames_place_on(&f, halves, 2, 0, MIB(2), p, 8));
    assert_int_equal(GIB(1), p[0].base.v);
    assert_int_equal(1, frames_place_on(&f, halves, 2, 1, GIB(1) - MIB(4), p, 8));
    assert_int_equal(GIB(1) + MIB(4), p[0].base.v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges), cmocka_unit_test(test_damaged), cmocka_unit_test(test_cores),
        cmocka_unit_test(test_slit),   cmocka_unit_test(test_numa),    cmocka_unit_test(test_place),
        cmocka_unit_test(test_border),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
