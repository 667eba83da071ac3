/* core/acpi/host_acpi.c and aml_s5.c: tables made up in a buffer, whole and damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "drivers/aml_s5.h"
#include "drivers/acpi.h"
#include "core/base/acpi_tables.h"
#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/layout.h"

#define BASE  0x7f000000ull /* host-physical address of space[0] */
#define BYTES 0x8000

/* Places of the tables in the buffer. */
enum {
    ROOT = 0x100,
    FADT = 0x400,
    MADT = 0x800,
    DSDT = 0x1000,
    HPET = 0x1400,
    SSDT = 0x1800,
    SRAT = 0x1c00,
    SLIT = 0x2000
};

static u8 space[BYTES];
static u8 rsdp[36];
static struct host_cpu cpus[4];
static struct host_acpi out;
static char why[160];

static void put(u8 *at, u64 v, u32 bytes) {
    for (u32 i = 0; i < bytes; i++) at[i] = (u8)(v >> (8 * i));
}

/* What map gave out, to be freed after the parse. */
static void *given[64];
static u32 given_count;

/* A copy of exactly the bytes asked for, so that the sanitizer sees what is read beyond. */
static const void *map(void *ctx, hpa_t at, u64 bytes) {
    void *copy;

    (void)ctx;
    if (at.v < BASE || at.v - BASE >= BYTES || bytes > BYTES - (at.v - BASE)) return NULL;
    copy = malloc(bytes);
    given[given_count++] = copy;
    return memcpy(copy, space + (at.v - BASE), bytes);
}

static void seal(u8 *table, const char *signature, u32 bytes) {
    u8 sum = 0;

    memcpy(table, signature, 4);
    put(table + 4, bytes, 4);
    table[9] = 0;
    for (u32 i = 0; i < bytes; i++) sum = (u8)(sum + table[i]);
    table[9] = (u8)-sum;
}

static void seal_rsdp(void) {
    u8 sum = 0;

    memcpy(rsdp, "RSD PTR ", 8);
    rsdp[8] = rsdp[32] = 0;
    for (u32 i = 0; i < 20; i++) sum = (u8)(sum + rsdp[i]);
    rsdp[8] = (u8)-sum;
    sum = 0;
    for (u32 i = 0; i < 36; i++) sum = (u8)(sum + rsdp[i]);
    rsdp[32] = (u8)-sum;
}

/* Root table of 4-byte (RSDT) or 8-byte (XSDT) entries. */
static void make_root(u32 width) {
    static const u32 tables[] = {0, 0x70000, FADT, MADT, HPET, SSDT, SRAT, SLIT};
    u8 *r = space + ROOT;

    memset(r, 0, 0x100);
    put(r + 36 + width, 0x70000, width); /* an address that nobody can read */
    for (u32 i = 2; i < 8; i++) put(r + 36 + i * width, BASE + tables[i], width);
    seal(r, width == 8 ? "XSDT" : "RSDT", 36 + 8 * width);
    memset(rsdp, 0, sizeof(rsdp));
    put(rsdp + 16, BASE + ROOT, 4);
    if (width == 8) {
        rsdp[15] = 2;
        put(rsdp + 20, 36, 4);
        put(rsdp + 24, BASE + ROOT, 8);
        put(rsdp + 16, 0, 4);
    }
    seal_rsdp();
}

static const u8 aml_s5[] = {
    0x10, 0x10, '_', 'S', '5', '_', /* the letters, but no Name */
    0x08, '_',  'S', '4', '_', 0x12, 0x04, 2, 0x0a, 6, 0, 0x08, 0x5c, '_', 'S', '5', '_', 0x12, 6, 4, 0x0a, 5, 1, 0, 0,
};

static const u8 madt_entries[] = {
    0,  8,  0,    0,    1, 0, 0,    0,                              /* cpu 0 */
    0,  8,  1,    2,    1, 0, 0,    0,                              /* cpu 2 */
    0,  8,  2,    4,    0, 0, 0,    0,                              /* disabled */
    0,  8,  3,    0xff, 1, 0, 0,    0,                              /* no id */
    9,  16, 0,    0,    2, 0, 0,    0,    1,   0, 0, 0, 1, 0, 0, 0, /* cpu 2 again */
    9,  16, 0,    0,    0, 1, 0,    0,    1,   0, 0, 0, 2, 0, 0, 0, /* cpu 256 */
    9,  16, 0,    0,    1, 1, 0,    0,    2,   0, 0, 0, 3, 0, 0, 0, /* online capable, not enabled */
    1,  12, 7,    0,    0, 0, 0xc0, 0xfe, 0,   0, 0, 0,             /* IOAPIC 7 */
    1,  12, 8,    0,    0, 0, 0xc1, 0xfe, 24,  0, 0, 0,             /* IOAPIC 8 from 24 on */
    2,  10, 0,    0,    2, 0, 0,    0,    0,   0,                   /* 0 -> 2, as the bus */
    2,  10, 0,    9,    9, 0, 0,    0,    0xf, 0,                   /* 9: level, low */
    2,  10, 0,    5,    5, 0, 0,    0,    0xd, 0,                   /* 5: level, high */
    2,  10, 0,    16,   1, 0, 0,    0,    0,   0,                   /* no ISA line */
    2,  10, 1,    3,    1, 0, 0,    0,    0,   0,                   /* no ISA bus */
    4,  6,  0xff, 0,    0, 1,                                       /* NMI */
    99, 2,                                                          /* to come */
};

static void make_fadt(u32 bytes) {
    u8 *f = space + FADT;

    memset(f, 0, 0x200);
    put(f + 40, BASE + DSDT, 4);
    put(f + 64, 0x404, 4);
    put(f + 76, 0x408, 4);
    f[91] = 4;
    if (bytes > 116) {
        put(f + 112, BIT(8) | BIT(10), 4);
        f[116] = 1;
        put(f + 120, 0xcf9, 8);
        f[128] = 0xe;
        put(f + 140, BASE + DSDT, 8);
        f[172] = 1;
        put(f + 176, 0x1804, 8);
        f[208] = 0; /* a timer in memory is not used: the old field is */
        put(f + 212, 0xfed00000, 8);
    }
    seal(f, "FACP", bytes);
}

static void make_madt(const u8 *entries, u32 bytes) {
    u8 *m = space + MADT;

    memset(m, 0, 0x800);
    put(m + 36, 0xfee00000, 4);
    memcpy(m + 44, entries, bytes);
    seal(m, "APIC", 44 + bytes);
}

static int setup(void **state) {
    (void)state;
    memset(space, 0, sizeof(space));
    make_root(8);
    make_fadt(276);
    make_madt(madt_entries, sizeof(madt_entries));
    memcpy(space + DSDT + 36, aml_s5, sizeof(aml_s5));
    seal(space + DSDT, "DSDT", 36 + sizeof(aml_s5));
    put(space + HPET + 44, 0xfed00000, 8);
    seal(space + HPET, "HPET", 56);
    seal(space + SSDT, "SSDT", 36);
    seal(space + SRAT, "SRAT", 48);
    seal(space + SLIT, "SLIT", 45);
    return 0;
}

static int parse(u64 bytes) {
    struct acpi_mem mem = {NULL, map};
    u8 *exact = malloc(bytes + 1);
    int rc;

    memcpy(exact, rsdp, bytes);
    memset(&out, 0xee, sizeof(out));
    out.cpus = cpus;
    out.cpu_max = 2;
    memset(why, 'x', sizeof(why));
    given_count = 0;
    rc = host_acpi_parse(exact, bytes, &mem, &out, why, sizeof(why));
    for (u32 i = 0; i < given_count; i++) free(given[i]);
    free(exact);
    return rc;
}

static void refused(int code, const char *text) {
    assert_int_equal(code, parse(36));
    if (!strstr(why, text)) fail_msg("'%s' does not name '%s'", why, text);
}

static void check_common(void) {
    assert_string_equal("", why);
    assert_int_equal(0xfee00000, out.lapic_address);
    assert_int_equal(2, out.cpu_count);
    assert_int_equal(3, out.cpus_seen);
    assert_int_equal(0, cpus[0].apic_id);
    assert_int_equal(2, cpus[1].apic_id);
    assert_int_equal(2, out.ioapic_count);
    assert_int_equal(7, out.ioapics[0].id);
    assert_int_equal(0xfec10000, out.ioapics[1].address);
    assert_int_equal(24, out.ioapics[1].gsi_base);
    assert_int_equal(2, out.isa[0].gsi);
    assert_false(out.isa[0].active_low || out.isa[0].level);
    assert_true(out.isa[9].active_low && out.isa[9].level);
    assert_true(!out.isa[5].active_low && out.isa[5].level);
    assert_int_equal(3, out.isa[3].gsi);
    assert_true(out.has_s5);
    assert_int_equal(5, out.s5_type_a);
    assert_int_equal(1, out.s5_type_b);
    assert_int_equal(0xfed00000, out.hpet_address);
    assert_int_equal(0x408, out.pm_timer_port);
    assert_true(out.srat && out.slit && given_count);
}

static void test_xsdt(void **state) {
    (void)state;
    assert_int_equal(0, parse(36));
    check_common();
    assert_int_equal(0x1804, out.pm1a_control);
    assert_int_equal(0, out.pm1b_control);
}

static void test_rsdt(void **state) {
    (void)state;
    make_root(4);
    make_fadt(116);
    assert_int_equal(0, parse(20));
    check_common();
    assert_int_equal(0x404, out.pm1a_control);
    rsdp[15] = 2; /* ACPI 2.0, but no XSDT */
    seal_rsdp();
    assert_int_equal(0, parse(36));
    check_common();
}

static void test_rsdp_bad(void **state) {
    (void)state;
    rsdp[35] ^= 1;
    refused(-E_CHECKSUM, "RSDP");
    rsdp[8]++;
    refused(-E_CHECKSUM, "RSDP");
    rsdp[0] = 'X';
    refused(-E_INVAL, "RSDP");
    assert_int_equal(-E_INVAL, parse(19));
    make_root(8);
    put(rsdp + 24, 0x1000, 8);
    seal_rsdp();
    refused(-E_INVAL, "XSDT: not readable");
    put(rsdp + 24, BASE + FADT, 8);
    seal_rsdp();
    refused(-E_INVAL, "XSDT: other signature");
    make_root(8);
    put(space + ROOT + 4, 35, 4);
    refused(-E_INVAL, "XSDT: a length of 35");
    put(space + ROOT + 4, 0xffffffff, 4);
    refused(-E_INVAL, "XSDT: a length");
    put(space + ROOT + 4, BYTES, 4);
    refused(-E_INVAL, "XSDT: its 32768 bytes");
}

static void test_tables_bad(void **state) {
    static const u8 nothing[1] = {0};

    (void)state;
    space[MADT + 40]++;
    refused(-E_CHECKSUM, "APIC");
    make_madt(nothing, 1); /* half an entry */
    refused(-E_INVAL, "offset 44");
    for (u32 type = 0; type < 10; type++) { /* entries that are too short or too long */
        make_madt((const u8[]){(u8)type, 1, 0, 0}, 4);
        refused(-E_INVAL, "APIC: the entry at offset 44");
        make_madt((const u8[]){(u8)type, 5, 0, 0}, 4);
        refused(-E_INVAL, "APIC: the entry at offset 44");
    }
    make_madt((const u8[]){1, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 11);
    refused(-E_INVAL, "APIC: the entry at offset 44");
    make_madt(nothing, 0);
    refused(-E_NOENT, "APIC: no processor");
    make_madt((const u8[]){0, 8, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0xff, 1, 0, 0, 0}, 16); /* disabled, and no id */
    refused(-E_NOENT, "APIC: no processor");
    space[MADT] = 'Z';
    refused(-E_NOENT, "MADT");
    space[FADT + 50]++;
    refused(-E_CHECKSUM, "FACP");
    make_fadt(115);
    refused(-E_INVAL, "FACP: a length");
}

static void test_madt_more(void **state) {
    u8 many[8 + 17 * 12] = {0, 8, 0, 0, 1};

    (void)state;
    make_madt((const u8[]){5,    12,   0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 16, 0, 0, 0xff, 0xff,
                           0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0,  1, 0, 0,    0},
              36);
    assert_int_equal(0, parse(36));
    assert_int_equal(0x100000000, out.lapic_address);
    assert_int_equal(1, out.cpus_seen);
    for (u32 i = 0; i < 17; i++) put(many + 8 + i * 12, 0x0c01, 2);
    make_madt(many, 8 + 16 * 12);
    assert_int_equal(0, parse(36));
    assert_int_equal(16, out.ioapic_count);
    make_madt(many, 8 + 17 * 12);
    refused(-E_INVAL, "more than 16 IOAPICs");
}

/* What is broken but not needed counts as absent; what is odd is not used. */
static void test_optional(void **state) {
    u8 *f = space + FADT;

    (void)state;
    space[HPET + 50]++;
    space[DSDT + 36]++;
    space[SRAT + 36]++;
    put(space + SLIT + 4, 35, 4);
    assert_int_equal(0, parse(36));
    assert_false(out.has_s5);
    assert_true(!out.srat && !out.slit);
    assert_string_equal("SLIT: a length of 35 bytes is impossible", out.affinity_why);
    put(space + SLIT, 0, 4);
    assert_int_equal(0, parse(36));
    assert_string_equal("SRAT: checksum of the table is wrong", out.affinity_why);
    assert_int_equal(0, out.hpet_address);
    memcpy(space + SSDT + 36, aml_s5, sizeof(aml_s5)); /* then the SSDT may have it */
    seal(space + SSDT, "SSDT", 36 + sizeof(aml_s5));
    space[HPET + 40] = 1;
    seal(space + HPET, "HPET", 56);
    assert_int_equal(0, parse(36));
    assert_true(out.has_s5);
    assert_int_equal(0, out.hpet_address); /* registers in I/O space */
    space[HPET + 40] = 0;
    put(space + HPET + 44, 0x100000000, 8);
    seal(space + HPET, "HPET", 56);
    assert_int_equal(0, parse(36));
    assert_int_equal(0, out.hpet_address); /* beyond what boot can reach */
    put(space + HPET + 44, 0xfffffc00, 8);
    seal(space + HPET, "HPET", 56);
    assert_int_equal(0, parse(36));
    assert_int_equal(0xfffffc00, out.hpet_address);
    assert_string_equal("", why);

    put(f + 76, 0x10408, 4);
    seal(f, "FACP", 276);
    assert_int_equal(0, parse(36));
    assert_int_equal(0, out.pm_timer_port);
    put(f + 112, BIT(20), 4); /* hardware-reduced */
    put(f + 40, 0, 4);
    put(f + 140, 0, 8);
    seal(f, "FACP", 276);
    assert_int_equal(0, parse(36));
    assert_int_equal(0, out.pm1a_control);
}

static void mcfg_range(u32 i, u64 address, u32 first, u32 last) {
    u8 *at = space + SSDT + ACPI_MCFG_RANGES + i * sizeof(struct mcfg_range);

    put(at, address, 8);
    put(at + 8, i, 2);
    at[10] = (u8)first;
    at[11] = (u8)last;
}

/* Ranges that cannot be are left out, as are more than there is room for, and half a range at the end. */
static void test_mcfg(void **state) {
    const u32 size = sizeof(struct mcfg_range);

    (void)state;
    mcfg_range(0, 0xb0000000, 0, 255);
    mcfg_range(1, 0xb0000000, 2, 1);
    mcfg_range(2, 0xb0080000, 0, 1);
    mcfg_range(3, DIRECT_BYTES - MIB(255), 0, 1);
    mcfg_range(4, DIRECT_BYTES - MIB(256), 16, 16);
    mcfg_range(5, 0xc0000000, 0, 0);
    seal(space + SSDT, "MCFG", (u32)ACPI_MCFG_RANGES + 6 * size - 1);
    assert_int_equal(0, parse(36));
    assert_int_equal(2, out.mcfg_count);
    assert_int_equal(0xb0000000, out.mcfg[0].address);
    assert_int_equal(255, out.mcfg[0].last);
    assert_int_equal(4, out.mcfg[1].segment);
    assert_int_equal(16, out.mcfg[1].first);
    for (u32 i = 0; i <= ACPI_MAX_SEGMENTS; i++) mcfg_range(i, MIB(256) * i, 0, 255);
    seal(space + SSDT, "MCFG", (u32)ACPI_MCFG_RANGES + (ACPI_MAX_SEGMENTS + 1) * size);
    assert_int_equal(0, parse(36));
    assert_int_equal(ACPI_MAX_SEGMENTS, out.mcfg_count);
    space[SSDT + 40]++; /* its checksum is wrong */
    assert_int_equal(0, parse(36));
    assert_int_equal(0, out.mcfg_count);
    seal(space + SSDT, "MCFG", 43); /* no room for what comes before the ranges */
    assert_int_equal(0, parse(36));
    assert_int_equal(0, out.mcfg_count);
}

static bool find(const u8 *aml, u64 bytes, u8 *a, u8 *b) {
    u8 *exact = malloc(bytes + 1);
    bool found;

    memcpy(exact + 1, aml, bytes);
    found = aml_find_s5(exact + 1, bytes, a, b);
    free(exact);
    return found;
}

static void test_s5(void **state) {
    /* PkgLength of two bytes; word and dword constants */
    static const u8 wide[] = {8, '_', 'S', '5', '_', 0x12, 0x4e, 0, 2, 0x0b, 6, 0, 0x0c, 7, 0, 0, 0};
    static const u8 packed[] = {8, '_', 'S', '5', '_', 0x12, 8, 1, 0x0c, 5, 3, 0, 0};
    static const u8 large[] = {8, '_', 'S', '5', '_', 0x12, 8, 2, 0x0a, 8, 0};
    static const u8 variable[] = {8, '_', 'S', '5', '_', 0x12, 8, 2, 'A', 'B', 'C', 'D', 0};
    static const u8 empty[] = {8, '_', 'S', '5', '_', 0x12, 2, 0, 0, 0};
    static const u8 method[] = {0x14, '_', 'S', '5', '_', 0x12, 4, 2, 0, 0};
    static const u8 rooted[] = {0x5c, '_', 'S', '5', '_', 0x12, 4, 2, 0, 0};
    u8 a, b;

    (void)state;
    for (u64 n = 0; n < sizeof(wide); n++) assert_false(find(wide, n, &a, &b));
    assert_true(find(wide, sizeof(wide), &a, &b));
    assert_int_equal(6, a);
    assert_int_equal(7, b);
    assert_true(find(packed, sizeof(packed), &a, &b));
    assert_int_equal(5, a);
    assert_int_equal(3, b);
    assert_false(find(large, sizeof(large), &a, &b));
    assert_false(find(variable, sizeof(variable), &a, &b));
    assert_false(find(empty, sizeof(empty), &a, &b));
    assert_false(find(method, sizeof(method), &a, &b));
    assert_false(find(rooted, sizeof(rooted), &a, &b));
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_xsdt),      TEST(test_rsdt),     TEST(test_rsdp_bad), TEST(test_tables_bad),
        TEST(test_madt_more), TEST(test_optional), TEST(test_mcfg),     TEST(test_s5),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
