/* core/acpi/guest_acpi.c: walks the tables as an operating system does, from the RSDP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "drivers/aml_s5.h"
#include "core/acpi/guest_acpi.h"
#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/vdev/vhpet.h"

#define MEMORY MIB(2)

static u8 *host;
static struct region regions[4];
static struct gmem mem;

static int setup(void **state) {
    struct piece piece = {hpa(0), MEMORY};
    int n;

    (void)state;
    host = malloc(MEMORY);
    memset(host, 0xcc, MEMORY);
    n = region_list_build(&piece, 1, MEMORY, regions, 4);
    mem = (struct gmem){regions, (u32)n, (u64)host, false};
    return n == 3 ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    free(host);
    return 0;
}

static u64 get(const u8 *at, u32 bytes) {
    u64 v = 0;

    memcpy(&v, at, bytes);
    return v;
}

static void check_sum(const u8 *at, u64 bytes) {
    u8 sum = 0;

    for (u64 i = 0; i < bytes; i++) sum = (u8)(sum + at[i]);
    assert_int_equal(0, sum);
}

static const u8 *table(u64 at, const char *signature) {
    assert_in_range(at, 0xe0000, 0xfffff);
    assert_memory_equal(host + at, signature, 4);
    assert_true(at + get(host + at + 4, 4) <= 0x100000);
    check_sum(host + at, get(host + at + 4, 4));
    return host + at;
}

/* ACPI 6.4, 5.2.7 Root System Description Table: the same tables as in the XSDT, by 32-bit addresses. */
static void check_rsdt(const u8 *r, const u8 *x) {
    assert_int_equal(36 + 8, get(r + 4, 4));
    assert_int_equal(1, r[8]);
    assert_int_equal(get(x + 36, 8), get(r + 36, 4));
    assert_int_equal(get(x + 44, 8), get(r + 40, 4));
}

static const u8 *xsdt(gpa_t rsdp) {
    const u8 *r = host + rsdp.v, *x;

    assert_true(is_aligned(rsdp.v, 16));
    assert_in_range(rsdp.v, 0xe0000, 0xfffff);
    assert_memory_equal(r, "RSD PTR ", 8);
    check_sum(r, 20);
    check_sum(r, 36);
    assert_int_equal(2, r[15]);
    assert_int_equal(36, get(r + 20, 4));
    x = table(get(r + 24, 8), "XSDT");
    assert_int_equal(36 + 16, get(x + 4, 4));
    check_rsdt(table(get(r + 16, 4), "RSDT"), x);
    return x;
}

static void check_gas(const u8 *gas, u32 port, u32 bits) {
    assert_int_equal(1, gas[0]);
    assert_int_equal(bits, gas[1]);
    assert_int_equal(0, gas[2]);
    assert_int_equal(port, get(gas + 4, 8));
}

static void test_fadt(void **state) {
    const u32 ids[] = {0, 1};
    const u8 *f, *facs, *dsdt;
    u8 a, b;
    gpa_t rsdp;

    (void)state;
    assert_int_equal(0, guest_acpi_build(&mem, ids, 2, 2, NULL, false, &rsdp));
    f = table(get(xsdt(rsdp) + 36, 8), "FACP");
    assert_int_equal(276, get(f + 4, 4));
    assert_int_equal(6, f[8]);
    assert_int_equal(9, get(f + 46, 2)); /* SCI */
    assert_int_equal(0, get(f + 48, 4)); /* no SMI command port */
    assert_int_equal(0x600, get(f + 56, 4));
    assert_int_equal(0x604, get(f + 64, 4));
    assert_int_equal(0x608, get(f + 76, 4));
    assert_int_equal(4, f[88]);
    assert_int_equal(2, f[89]);
    assert_int_equal(0x32, f[108]); /* the clock's century */
    assert_int_equal(4, f[91]);
    assert_int_equal(0x5, get(f + 109, 2)); /* legacy devices, no 8042, no VGA */
    assert_int_equal(0x575, get(f + 112, 4));
    check_gas(f + 116, 0xcf9, 8);
    assert_int_equal(6, f[128]);
    check_gas(f + 148, 0x600, 32);
    check_gas(f + 172, 0x604, 16);
    check_gas(f + 208, 0x608, 32);
    facs = host + get(f + 36, 4);
    assert_true(is_aligned(get(f + 36, 4), 64));
    assert_memory_equal(facs, "FACS", 4);
    assert_int_equal(64, get(facs + 4, 4));
    assert_int_equal(0, get(f + 132, 8)); /* one of the two FACS addresses only */
    assert_int_equal(get(f + 40, 4), get(f + 140, 8));
    dsdt = table(get(f + 140, 8), "DSDT");
    assert_true(aml_find_s5(dsdt + 36, get(dsdt + 4, 4) - 36, &a, &b));
    assert_int_equal(5, a);
    assert_int_equal(5, b);
    assert_int_equal(0, host[0xfffff]); /* what an earlier run left is gone */
}

static void test_madt(void **state) {
    const u32 ids[] = {0, 254, 255, 1000};
    static const u8 tail[] = {
        1,  12, 4,    0, 0,    0,    0xc0, 0xfe, 0,  0, 0, 0, /* IOAPIC */
        2,  10, 0,    0, 2,    0,    0,    0,    5,  0,       /* 0 is pin 2, edge, high */
        2,  10, 0,    9, 9,    0,    0,    0,    13, 0,       /* SCI: level, high */
        4,  6,  0xff, 0, 0,    1,                             /* LINT1 is NMI */
        10, 12, 0,    0, 0xff, 0xff, 0xff, 0xff, 1,  0, 0, 0,
    };
    const u8 *m;
    gpa_t rsdp;

    (void)state;
    regions[1].rights = RIGHT_READ; /* the guest's right, not the firmware's */
    assert_int_equal(0, guest_acpi_build(&mem, ids, 4, 4, NULL, false, &rsdp));
    m = table(get(xsdt(rsdp) + 44, 8), "APIC");
    assert_int_equal(44 + 2 * 8 + 2 * 16 + sizeof(tail), get(m + 4, 4));
    assert_int_equal(0xfee00000, get(m + 36, 4));
    assert_int_equal(1, get(m + 40, 4));
    assert_memory_equal(m + 44, ((u8[]){0, 8, 0, 0, 1, 0, 0, 0}), 8);
    assert_memory_equal(m + 52, ((u8[]){0, 8, 1, 254, 1, 0, 0, 0}), 8);
    assert_memory_equal(m + 60, ((u8[]){9, 16, 0, 0, 255, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0}), 16);
    assert_int_equal(1000, get(m + 76 + 4, 4));
    assert_memory_equal(m + 92, tail, sizeof(tail));
}

static void test_range(void **state) {
    u32 *ids = calloc(20000, sizeof(*ids)), n = 8000;
    const struct guest_pci pci = {0, 0};
    gpa_t rsdp;

    (void)state;
    for (u32 i = 0; i < 20000; i++) ids[i] = i;
    assert_int_equal(0, guest_acpi_build(&mem, ids, 8000, 0, NULL, false, &rsdp));
    assert_int_equal(-E_RANGE, guest_acpi_build(&mem, ids, 8400, 0, NULL, false, &rsdp));
    assert_int_equal(-E_RANGE, guest_acpi_build(&mem, ids, 20000, 0, NULL, false, &rsdp));
    mem.count = 1;
    assert_int_equal(-E_RANGE, guest_acpi_build(&mem, ids, 1, 0, NULL, false, &rsdp));
    mem.count = 3;
    while (guest_acpi_build(&mem, ids, n, 0, &pci, false, &rsdp) == 0) n++;
    assert_int_equal(0, guest_acpi_build(&mem, ids, n, 0, NULL, false, &rsdp)); /* MCFG and SSDT were too much */
    free(ids);
}

static u64 xsdt_entry(gpa_t rsdp, u32 i) { return get(host + get(host + rsdp.v + 24, 8) + 36 + 8 * i, 8); }

/* PCI Firmware Specification, MCFG Table Description; ACPI, QWord Address Space Descriptor. */
static void test_pci(void **state) {
    const struct guest_pci wide = {0x1000000000, 0x4000000000}, narrow = {0, 0};
    const u32 ids[] = {0};
    const u8 *m, *s, *window = NULL;
    gpa_t rsdp;

    (void)state;
    assert_int_equal(0, guest_acpi_build(&mem, ids, 1, 1, &wide, false, &rsdp));
    assert_int_equal(36 + 32, get(table(get(host + rsdp.v + 24, 8), "XSDT") + 4, 4));
    m = table(xsdt_entry(rsdp, 2), "MCFG");
    assert_int_equal(60, get(m + 4, 4));
    assert_int_equal(1, m[8]);
    assert_true(get(m + 36, 8) == 0 && get(m + 44, 8) == 0xfe900000 && get(m + 52, 8) == 0); /* segment 0, bus 0 */
    s = table(xsdt_entry(rsdp, 3), "SSDT");
    for (u32 i = 36; i < get(s + 4, 4) - 4; i++)
        if (get(s + i, 4) == 0x00002b8a) window = s + i;
    assert_non_null(window);
    assert_true(get(window + 6, 8) == 0); /* granularity */
    assert_true(get(window + 14, 8) == 0x1000000000);
    assert_true(get(window + 22, 8) == 0x4fffffffff);
    assert_true(get(window + 30, 8) == 0); /* translation */
    assert_true(get(window + 38, 8) == 0x4000000000);
    assert_int_equal(0x79, window[46]);
    assert_int_equal(0, guest_acpi_build(&mem, ids, 1, 1, &narrow, false, &rsdp));
    assert_true(table(xsdt_entry(rsdp, 3), "SSDT") == s);
    assert_int_equal(0x0079, get(window, 2)); /* the resources end where the window was */
}

/* IA-PC HPET Specification 1.0a, The ACPI 2.0 HPET Description Table. */
static void test_hpet(void **state) {
    const struct guest_pci pci = {0, 0};
    const u32 ids[] = {0};
    const u8 *t;
    gpa_t rsdp;

    (void)state;
    assert_int_equal(0, guest_acpi_build(&mem, ids, 1, 1, &pci, true, &rsdp));
    assert_int_equal(36 + 40, get(table(get(host + rsdp.v + 24, 8), "XSDT") + 4, 4));
    t = table(xsdt_entry(rsdp, 2), "HPET");
    assert_int_equal(56, get(t + 4, 4));
    assert_int_equal(1, t[8]);
    assert_int_equal(VHPET_ID, get(t + 36, 4));
    assert_true(t[40] == 0 && t[41] == 64 && get(t + 44, 8) == 0xfed00000);
    assert_true(t[52] == 0 && get(t + 53, 2) > 0 && t[55] == 0);
    assert_non_null(table(xsdt_entry(rsdp, 3), "MCFG"));
    assert_non_null(table(xsdt_entry(rsdp, 4), "SSDT"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* --- as files for a firmware image, which this plays --- */

#define TABLES_AT 0x40000ull
#define RSDP_AT   0xf5000ull

/* Where a file of that name is loaded, and how many bytes it has. */
static u64 place_of(const struct image_module *files, const u8 *name, u64 *bytes) {
    bool is_rsdp = strcmp((const char *)name, "etc/acpi/rsdp") == 0;

    if (!is_rsdp) assert_string_equal("etc/acpi/tables", (const char *)name);
    *bytes = files[is_rsdp ? 0 : 1].bytes;
    return is_rsdp ? RSDP_AT : TABLES_AT;
}

static void run_script(const struct image_module *files) {
    const u8 *at = files[2].data, *end = at + files[2].bytes;
    u32 allocated = 0;

    assert_string_equal("etc/table-loader", files[2].name);
    assert_int_equal(0, files[2].bytes % 128);
    for (; at < end; at += 128) {
        u64 bytes, target_bytes, place = place_of(files, at + 4, &bytes), value, offset, size;
        u8 sum = 0;

        switch (get(at, 4)) {
        case 1:
            assert_int_equal(place == RSDP_AT ? 16 : 64, get(at + 60, 4)); /* FACS wants 64 */
            assert_int_equal(place == RSDP_AT ? 2 : 1, at[64]);            /* where the RSDP is looked for; anywhere */
            memcpy(host + place, files[place == RSDP_AT ? 0 : 1].data, bytes);
            allocated++;
            break;
        case 2:
            offset = get(at + 116, 4);
            size = at[120];
            assert_int_equal(2, allocated);
            assert_true((size == 4 || size == 8) && offset + size <= bytes);
            value = get(host + place + offset, (u32)size);
            assert_int_equal(TABLES_AT, place_of(files, at + 60, &target_bytes));
            assert_in_range(value, 1, target_bytes - 1);
            value += TABLES_AT;
            memcpy(host + place + offset, &value, size);
            break;
        case 3:
            offset = get(at + 60, 4);
            assert_true(offset < bytes && get(at + 64, 4) + get(at + 68, 4) <= bytes);
            for (u64 i = 0; i < get(at + 68, 4); i++) sum = (u8)(sum + host[place + get(at + 64, 4) + i]);
            host[place + offset] = (u8)(host[place + offset] - sum);
            break;
        default: fail();
        }
    }
}

static void test_files(void **state) {
    static const u32 ids[] = {0, 1};
    struct guest_pci pci = {GIB(4), GIB(1)};
    struct image_module files[GUEST_ACPI_FILES];
    const u8 *r = host + RSDP_AT, *x;
    gpa_t rsdp;

    (void)state;
    assert_int_equal(0, guest_acpi_build(&mem, ids, 2, 2, &pci, true, &rsdp));
    assert_int_equal(0, guest_acpi_files(host + 0xe0000, 0x20000, files));
    run_script(files);
    check_sum(r, 20);
    check_sum(r, 36);
    for (u32 wide = 0; wide < 2; wide++) {
        static const char *const names[] = {"FACP", "APIC", "HPET", "MCFG", "SSDT"};

        x = host + (wide ? get(r + 24, 8) : get(r + 16, 4));
        assert_memory_equal(wide ? "XSDT" : "RSDT", x, 4);
        assert_int_equal(36 + 5 * (wide ? 8 : 4), get(x + 4, 4));
        check_sum(x, get(x + 4, 4));
        for (u32 i = 0; i < 5; i++) {
            const u8 *t = host + (wide ? get(x + 36 + 8 * i, 8) : get(x + 36 + 4 * i, 4));

            assert_memory_equal(names[i], t, 4);
            check_sum(t, get(t + 4, 4));
            if (i) continue;
            assert_memory_equal("FACS", host + get(t + 36, 4), 4);
            assert_int_equal(0, get(t + 36, 4) % 64);
            assert_memory_equal("DSDT", host + get(t + 40, 4), 4);
            assert_int_equal(get(t + 40, 4), get(t + 140, 8));
        }
    }
    /* What is to be done with them finds no room behind them. */
    assert_int_equal(0, guest_acpi_build(&mem, ids, 2, 2, NULL, false, &rsdp));
    assert_int_equal(-E_RANGE, guest_acpi_files(host + 0xe0000, 0x1000, files));
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_fadt), TEST(test_madt), TEST(test_range),
                                       TEST(test_pci),  TEST(test_hpet), TEST(test_files)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
