/* drivers/ivrs.c: tables made up in a buffer, whole and damaged in each field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "drivers/ivrs.h"

#define BYTES 0x8000u

static u8 space[BYTES];
static u32 end, block; /* the table so far, and the block under way */
static struct ivrs out;
static char why[160];

static void put(u32 at, u64 v, u32 bytes) {
    for (u32 i = 0; i < bytes; i++) space[at + i] = (u8)(v >> (8 * i));
}

static void begin(u32 info) {
    memset(space, 0, sizeof(space));
    memcpy(space, "IVRS", 4);
    put(36, info, 4);
    end = 48;
}

static void ivhd(u8 type, u8 flags, u32 segment, u16 id, u64 base) {
    block = end;
    space[block] = type;
    space[block + 1] = flags;
    put(block + 4, id, 2);
    put(block + 8, base, 8);
    put(block + 16, segment, 2);
    end += type == 0x10 ? 24 : 40;
}

static void entry4(u8 type, u16 id) {
    space[end] = type;
    put(end + 1, id, 2);
    end += 4;
}

static void entry8(u8 type, u16 id, u8 handle, u16 source, u8 variety) {
    entry4(type, id);
    space[end] = handle;
    put(end + 1, source, 2);
    space[end + 3] = variety;
    end += 4;
}

static void close_block(void) { put(block + 2, end - block, 2); }

static void ivmd(u8 type, u16 first, u16 last) {
    block = end;
    space[block] = type;
    put(block + 4, first, 2);
    put(block + 6, last, 2);
    end += 32;
    close_block();
}

/* A copy of exactly the table's length, so that the sanitizer sees what is read beyond. */
static int parse_bytes(u32 bytes) {
    void *copy = malloc(bytes);
    int rc;

    put(4, bytes, 4);
    memcpy(copy, space, bytes);
    memset(&out, 0, sizeof(out));
    why[0] = 0;
    rc = ivrs_parse(copy, &out, why, sizeof(why));
    free(copy);
    return rc;
}
static int parse(void) { return parse_bytes(end); }

static void found(u32 id, u32 want_unit, u32 want_requester) {
    u32 unit = 99, requester = 99;

    assert_int_equal(0, ivrs_find(&out, id, &unit, &requester));
    assert_int_equal(want_unit, unit);
    assert_int_equal(want_requester, requester);
}

static void refused(const char *text) {
    assert_int_equal(-E_INVAL, parse());
    if (!strstr(why, text) || strncmp(why, "IVRS: offset 0x", 15)) fail_msg("said \"%s\", not \"%s\"", why, text);
}

/* As QEMU 7.2 describes its machine. */
static void test_qemu(void **state) {
    (void)state;
    begin(0x2800);
    ivhd(0x10, 0xd1, 0, 0x0008, 0xfed80000);
    put(block + 20, 0x44, 4);
    entry4(2, 0x0000);
    entry4(2, 0x0010);
    entry4(2, 0x00f8);
    entry8(72, 0, 0, 0x00a0, 1);
    close_block();
    assert_int_equal(0, parse());
    assert_int_equal(1, out.unit_count);
    assert_int_equal(0xfed80000, out.units[0].registers);
    assert_int_equal(8, out.units[0].id);
    assert_int_equal(0xd1, out.units[0].flags);
    assert_false(out.units[0].efr);
    assert_int_equal(BIT(7), out.units[0].features);
    assert_int_equal(1, out.ioapic_count);
    assert_int_equal(0xa0, out.ioapics[0].id);
    assert_int_equal(0, out.ioapics[0].acpi_id);
    found(0x10, 0, 0x10);
    found(0xa0, 0, 0xa0);
    found(0x11, 0, 0x11); /* left out: the only unit */
}

static void test_features(void **state) {
    (void)state;
    begin(1);
    ivhd(0x10, 0, 0, 8, 0xfed80000);
    put(block + 20, 0x61, 4);
    close_block();
    assert_int_equal(0, parse());
    assert_true(out.units[0].efr);
    assert_int_equal(BIT(2) | BIT(6) | BIT(7), out.units[0].features);
}

/* Two units; ranges, aliases, special devices, ACPI devices, in the highest type of each. */
static void test_types(void **state) {
    u32 unit, requester;

    (void)state;
    begin(0);
    ivhd(0x10, 0x11, 0, 0x0002, 0xfeb80000);
    entry4(1, 0);
    close_block();
    ivhd(0x40, 0x44, 0, 0x0002, 0xfec80000);
    entry4(0, 0);
    entry4(3, 0x0008);
    entry4(4, 0x00ff);
    entry8(66, 0x0300, 0, 0x0200, 0);
    entry8(67, 0x0400, 0, 0x0280, 0);
    entry4(4, 0x0407);
    entry8(70, 0x0500, 0, 0, 0);
    entry8(71, 0x0600, 0, 0, 0);
    entry4(4, 0x06ff);
    entry8(72, 0, 33, 0x00a0, 1);
    entry8(72, 0, 0, 0x00a0, 2); /* HPET */
    entry4(240, 0x0701);         /* an ACPI device with a UID of 3 bytes */
    space[end + 17] = 3;
    end += 22 - 4 + 3;
    entry8(72, 0, 34, 0x6000, 1);
    close_block();
    ivhd(0x11, 0x22, 0, 0x0002, 0xfed80000);
    entry4(1, 0);
    close_block();
    ivhd(0x11, 0, 1, 0x0002, 0xfee80000);
    entry4(1, 0);
    close_block();
    ivhd(0x11, 0, 1, 0x0802, 0xfef80000);
    entry4(2, 0x0900);
    close_block();
    block = end; /* a block of a type to come */
    space[end] = 0x50;
    end += 8;
    close_block();
    assert_int_equal(0, parse());
    assert_int_equal(3, out.unit_count);
    assert_int_equal(0xfec80000, out.units[0].registers);
    assert_int_equal(0x44, out.units[0].flags);
    assert_true(out.units[0].efr);
    assert_int_equal(2, out.ioapic_count);
    assert_int_equal(33, out.ioapics[0].acpi_id);
    assert_int_equal(0x6000, out.ioapics[1].id);
    found(0x0008, 0, 0x0008);
    found(0x00ff, 0, 0x00ff);
    found(0x0300, 0, 0x0200);
    found(0x0407, 0, 0x0280);
    found(0x0500, 0, 0x0500);
    found(0x06aa, 0, 0x06aa);
    found(0x0100, 0, 0x0100); /* left out, one unit in segment 0 */
    found(0x10001, 1, 1);
    found(0x10900, 2, 0x900);
    assert_int_equal(-E_NOENT, ivrs_find(&out, 0x20000, &unit, &requester));
}

/* What an I/O APIC's entry has to let pass; functions are not given any of it. */
static void test_settings(void **state) {
    (void)state;
    begin(0);
    ivhd(0x40, 0x44, 0, 0x0002, 0xfec80000);
    space[end + 3] = 0xff;
    entry4(3, 0x0008);
    entry4(4, 0x00ff);
    space[end + 3] = 0xff;
    entry8(66, 0x0300, 0, 0x0200, 0);
    space[end + 3] = 0xd7;
    entry8(72, 0, 33, 0x00a0, 1);
    close_block();
    assert_int_equal(0, parse());
    assert_int_equal(3, out.range_count);
    assert_true(out.ranges[0].settings == 0 && out.ranges[1].settings == 0);
    assert_true(out.ranges[2].first == 0xa0 && out.ranges[2].settings == 0xd7);
}

static void test_left_out_of_two(void **state) {
    u32 unit, requester;

    (void)state;
    begin(0);
    for (u32 i = 0; i < 2; i++) {
        ivhd(0x11, 0, 0, (u16)(2 + i), 0xfed80000 + 0x4000 * i);
        entry4(2, (u16)(0x100 + i));
        close_block();
    }
    assert_int_equal(0, parse());
    found(0x101, 1, 0x101);
    assert_int_equal(-E_NOENT, ivrs_find(&out, 0x102, &unit, &requester));
}

/* Memory definitions are skipped, wherever they stand. */
static void test_memory(void **state) {
    (void)state;
    begin(0);
    ivmd(0x21, 0x0010, 0);
    ivhd(0x10, 0, 0, 2, 0xfed80000);
    entry4(1, 0);
    close_block();
    ivmd(0x22, 0x0100, 0x0107);
    assert_int_equal(0, parse());
    assert_int_equal(1, out.range_count);
    found(0x10, 0, 0x10);
}

static void test_broken_blocks(void **state) {
    (void)state;
    begin(0);
    assert_int_equal(-E_INVAL, parse_bytes(40));
    assert_non_null(strstr(why, "table is too short"));
    refused("no unit is described");
    end += 3;
    refused("block of impossible length");
    begin(0);
    ivhd(0x10, 0, 0, 2, 0xfed80000);
    refused("block of impossible length"); /* 0 */
    put(block + 2, 3, 2);
    refused("block of impossible length");
    put(block + 2, end - block + 1, 2);
    refused("block of impossible length");
    put(block + 2, 20, 2);
    space[block + 20] = 0x50;
    put(block + 22, 4, 2);
    refused("hardware definition is too short");
    for (u32 i = 0; i < 3; i++) {
        static const u64 bases[] = {0, 0xfed82000, 1ull << 52};

        begin(0);
        ivhd(0x11, 0, 0, 2, bases[i]);
        close_block();
        refused("impossible address of registers");
    }
    begin(0);
    ivhd(0x11, 0, 0, 2, 0xfed80000);
    close_block();
    ivhd(0x11, 0, 0, 3, 0xfed80000);
    close_block();
    refused("two units with the same registers");
    begin(0);
    for (u32 i = 0; i <= IOMMU_MAX_UNITS; i++) {
        ivhd(0x11, 0, 0, (u16)i, 0xfe000000 + 0x4000 * i);
        close_block();
        if (i < IOMMU_MAX_UNITS) assert_int_equal(0, parse());
    }
    refused("too many units");
}

static void one_unit(void) {
    begin(0);
    ivhd(0x11, 0, 0, 2, 0xfed80000);
}

static void test_broken_entries(void **state) {
    (void)state;
    one_unit();
    entry4(66, 1); /* cut off */
    close_block();
    refused("device entry of impossible type or length");
    one_unit();
    entry4(0x80, 1);
    close_block();
    refused("device entry of impossible type or length");
    one_unit();
    entry4(240, 1);
    end += 17; /* one byte less than its fixed part */
    close_block();
    refused("device entry of impossible type or length");
    one_unit();
    entry4(240, 1);
    end += 18;
    space[end - 1] = 1;
    close_block();
    refused("device entry of impossible type or length");
    one_unit();
    entry4(4, 1);
    close_block();
    refused("range without begin or end");
    one_unit();
    entry4(3, 1);
    entry4(2, 2);
    close_block();
    refused("range without begin or end");
    one_unit();
    entry4(3, 1);
    close_block();
    refused("range without end");
    one_unit();
    entry4(3, 2);
    entry4(4, 1);
    close_block();
    refused("ends before it begins");
    one_unit();
    for (u32 i = 0; i <= IVRS_RANGES; i++) entry4(2, (u16)i);
    close_block();
    refused("too many device entries");
    one_unit();
    for (u32 i = 0; i <= IVRS_IOAPICS; i++) entry8(72, 0, (u8)i, 0xa0, 1);
    close_block();
    refused("too many I/O APICs");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qemu),          cmocka_unit_test(test_features),        cmocka_unit_test(test_types),
        cmocka_unit_test(test_settings),      cmocka_unit_test(test_left_out_of_two), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_broken_blocks), cmocka_unit_test(test_broken_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
