/* drivers/dmar.c: tables made up in a buffer, whole, with each field wrong in turn, and cut at each byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "drivers/dmar.h"
#include "test/unit/dmar_table.h"

static struct table t;
static struct dmar out;
static char why[160];

/* 00:1c.0 leads to buses 2 to 5, 02:00.0 to 3 to 4; 00:1d.0 is a bridge that was not set up. */
static bool buses(u32 id, u8 *first, u8 *last) {
    if (id != PCI_ID(0, 0, 0x1c, 0) && id != PCI_ID(0, 2, 0, 0) && id != PCI_ID(0, 0, 0x1d, 0)) return false;
    *first = id == PCI_ID(0, 0, 0x1c, 0) ? 2 : id == PCI_ID(0, 2, 0, 0) ? 3 : 9;
    *last = id == PCI_ID(0, 0, 0x1c, 0) ? 5 : id == PCI_ID(0, 2, 0, 0) ? 4 : 0;
    return true;
}

/* A copy of exactly the table's bytes, so that the sanitizer sees what is read beyond. */
static int parse_with(bool (*lookup)(u32 id, u8 *first, u8 *last)) {
    u8 *copy = malloc(t.length);
    int rc;

    memcpy(copy, t.bytes, t.length);
    why[0] = 0;
    rc = dmar_parse(copy, lookup, &out, why, sizeof(why));
    free(copy);
    return rc;
}
static int parse(void) { return parse_with(buses); }

static void check_unit(u32 id, int unit) {
    bool ioapic = true;

    assert_int_equal(unit, dmar_find(&out, id, &ioapic));
    assert_int_equal(id == PCI_ID(0, 0xf0, 0x1f, 0), ioapic);
}

static void make_whole(void) {
    put_header(&t, 1);
    put_unit(&t, 0, 0, 0xfed90000);
    PUT_SCOPE(&t, 1, 0, 0, 0x0200);         /* graphics */
    PUT_SCOPE(&t, 2, 0, 0, 0x1c00, 0x0000); /* the bridge behind a bridge: buses 3 and 4 */
    PUT_SCOPE(&t, 1, 0, 0, 0x1c00, 0x0102); /* 02:01.2 */
    PUT_SCOPE(&t, 1, 0, 0, 0x0300, 0x0000); /* behind what is no bridge: left out */
    PUT_SCOPE(&t, 2, 0, 0, 0x1d00);         /* a bridge without buses */
    PUT_SCOPE(&t, 5, 0, 0, 0x1f00);         /* ACPI namespace device: left out */
    put_structure(&t, 3);                   /* RHSA */
    put(&t, 0, 8);
    put(&t, 0, 8);
    put_unit(&t, 1, 0, 0xfed91000);
    PUT_SCOPE(&t, 3, 7, 0xf0, 0x1f00);
    PUT_SCOPE(&t, 4, 0, 0, 0x0f00);
    put_region(&t, 0, 0x7d000000, 0x7d7fffff);
    PUT_SCOPE(&t, 1, 0, 0, 0x1400);
    PUT_SCOPE(&t, 3, 9, 0, 0x1500); /* no I/O APIC for being in an RMRR */
    put_unit(&t, 0, 1, 0xfed92000);
    PUT_SCOPE(&t, 1, 0, 0, 0x0500);
}

static void test_whole(void **state) {
    u32 id = 0;

    (void)state;
    make_whole();
    assert_int_equal(0, parse());
    assert_string_equal("", why);
    assert_true(out.interrupts);
    assert_int_equal(3, out.unit_count);
    assert_int_equal(0xfed91000, out.units[1].registers);
    assert_true(out.units[1].all && !out.units[0].all);
    assert_int_equal(1, out.units[2].segment);
    assert_int_equal(1, out.regions);
    check_unit(PCI_ID(0, 0, 2, 0), 0);
    check_unit(PCI_ID(0, 0, 2, 1), 1);
    check_unit(PCI_ID(0, 2, 0, 0), 0); /* the bridge itself */
    check_unit(PCI_ID(0, 3, 7, 1), 0);
    check_unit(PCI_ID(0, 4, 31, 7), 0);
    check_unit(PCI_ID(0, 5, 0, 0), 1);
    check_unit(PCI_ID(0, 2, 1, 2), 0);
    check_unit(PCI_ID(0, 0, 0x1d, 0), 0);
    check_unit(PCI_ID(0, 9, 0, 0), 1);
    check_unit(PCI_ID(0, 0, 0x14, 0), -E_UNSUPPORTED);
    check_unit(PCI_ID(0, 0, 0x15, 0), -E_UNSUPPORTED);
    check_unit(PCI_ID(1, 0, 5, 0), 2);
    check_unit(PCI_ID(1, 3, 0, 0), -E_NOENT);
    check_unit(PCI_ID(2, 0, 2, 0), -E_NOENT);
    assert_int_equal(0, dmar_ioapic(&out, 7, &id));
    assert_int_equal(PCI_ID(0, 0xf0, 0x1f, 0), id);
    check_unit(id, 1);
    assert_int_equal(-E_NOENT, dmar_ioapic(&out, 8, &id));
    assert_int_equal(-E_NOENT, dmar_ioapic(&out, 9, &id));
    /* Without knowledge of bridges paths through them are left out. */
    assert_int_equal(0, parse_with(NULL));
    check_unit(PCI_ID(0, 0, 2, 0), 0);
    check_unit(PCI_ID(0, 3, 7, 1), 1);
}

static void refused(u32 offset, const char *what) {
    char want[160];

    fmt(want, sizeof(want), "DMAR: offset %u: %s", offset, what);
    assert_int_equal(-E_INVAL, parse());
    assert_string_equal(want, why);
}

static void patch(u32 offset, u64 value, u32 bytes) { memcpy(t.bytes + offset, &value, bytes); }

/* One field of a small table after the other: unit at 48, its scope at 64, region at 72, its scope at 96. */
static void test_fields(void **state) {
    static const struct {
        u32 field, bytes;
        u64 value;
        u32 offset;
        const char *what;
    } rows[] = {
        {4, 4, 47, 0, "the table is too short"},
        {4, 4, 48, 48, "no remapping unit (DRHD) up to here"},
        {48, 2, 9, 104, "no remapping unit (DRHD) up to here"},
        {50, 2, 0, 48, "structure: impossible length"},
        {50, 2, 3, 48, "structure: impossible length"},
        {50, 2, 57, 48, "structure: impossible length"},
        {50, 2, 15, 48, "DRHD: impossible length"},
        {50, 2, 23, 64, "device scope: impossible length"},
        {50, 2, 21, 64, "device scope: impossible length"},
        {56, 8, 0, 48, "DRHD: impossible register address"},
        {56, 8, 0xfed90800, 48, "DRHD: impossible register address"},
        {56, 8, BIT(52), 48, "DRHD: impossible register address"},
        {65, 1, 5, 64, "device scope: impossible length"},
        {65, 1, 0, 64, "device scope: impossible length"},
        {65, 1, 10, 64, "device scope: impossible length"},
        {65, 1, 6, 64, "device scope: its path has an impossible length"},
        {65, 1, 7, 64, "device scope: its path has an impossible length"},
        {70, 1, 32, 64, "device scope: no such device or function number"},
        {71, 1, 8, 64, "device scope: no such device or function number"},
        {74, 2, 23, 72, "RMRR: impossible length"},
        {80, 8, 0x7e000000, 72, "RMRR: impossible memory region"},
        {80, 8, 0x7d000001, 72, "RMRR: impossible memory region"},
        {88, 8, 0x7d7ffffe, 72, "RMRR: impossible memory region"},
        {97, 1, 9, 96, "device scope: impossible length"},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        put_header(&t, 0);
        put_unit(&t, 0, 0, 0xfed90000);
        PUT_SCOPE(&t, 1, 0, 0, 0x0200);
        put_region(&t, 0, 0x7d000000, 0x7d7fffff);
        PUT_SCOPE(&t, 1, 0, 0, 0x1400);
        assert_int_equal(104, t.length);
        if (i == 0) assert_int_equal(0, parse());
        patch(rows[i].field, rows[i].value, rows[i].bytes);
        if (rows[i].field == 65 && rows[i].value == 7) patch(50, 23, 2);
        refused(rows[i].offset, rows[i].what);
        assert_false(i == 0 && out.interrupts);
    }
}

static void test_too_many(void **state) {
    (void)state;
    put_header(&t, 1);
    for (u32 i = 0; i < IOMMU_MAX_UNITS; i++) put_unit(&t, 0, 0, 0xfed00000 + i * PAGE_4K);
    assert_int_equal(0, parse());
    put_unit(&t, 0, 0, 0xfee00000);
    refused(48 + 16 * IOMMU_MAX_UNITS, "DRHD: more units than this program can hold");

    put_header(&t, 1);
    put_unit(&t, 0, 0, 0xfed00000);
    for (u32 i = 0; i < DMAR_SCOPES; i++) PUT_SCOPE(&t, 1, 0, 0, 0x0300);
    assert_int_equal(0, parse());
    PUT_SCOPE(&t, 1, 0, 0, 0x0300);
    refused(64 + 8 * DMAR_SCOPES, "device scope: more than this program can hold");
}

static void test_twice(void **state) {
    (void)state;
    put_header(&t, 1);
    put_unit(&t, 1, 0, 0xfed00000);
    put_unit(&t, 1, 1, 0xfed01000); /* another segment */
    assert_int_equal(0, parse());
    put_unit(&t, 1, 0, 0xfed02000);
    refused(80, "DRHD: two units have the rest of one segment");
    t.length = 80;
    t.structure = 0;
    put_unit(&t, 0, 0, 0xfed00000);
    refused(80, "DRHD: two units have the same registers");
}

static void test_cut(void **state) {
    u32 good = 0;

    (void)state;
    make_whole();
    for (; t.length >= 40; t.length--) {
        int rc;

        patch(4, t.length, 4);
        rc = parse();
        assert_true(rc == 0 || (rc == -E_INVAL && why[0]));
        good += rc == 0;
    }
    assert_int_equal(5, good); /* at the end of each of the five structures */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole), cmocka_unit_test(test_fields), cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_twice), cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
