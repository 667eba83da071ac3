/* The text of the PCI ID Repository: which names it gives, and that no other text does harm. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/config/pci_ids.h"

static char name[PCI_IDS_NAME];

/* The name of one function by this text, which ends where its allocation does. */
static const char *look(const char *text, size_t length, u32 vendor, u32 device, bool plain) {
    struct pci_ids_entry entry = {.vendor = vendor, .device = device};
    char *copy = malloc(length ? length : 1);
    size_t said;

    memcpy(copy, text, length);
    pci_ids_find(copy, length, &entry, 1);
    said = pci_ids_text(&entry, plain, name, sizeof(name));
    assert_int_equal(said, strlen(name));
    free(copy);
    return name;
}
#define PLAIN(text, vendor, device) look(text, sizeof(text) - 1, vendor, device, true)
#define KNOWN(text, vendor, device) look(text, sizeof(text) - 1, vendor, device, false)

static const char ids[] = "# 8086  Comment\n"
                          "\n"
                          "8085  Before\n"
                          "\t10d3  Device of another\n"
                          "8086  Intel Corporation\n"
                          "\t10d2  Neighbour\n"
                          "# between\n"
                          "\t10d3  82574L Gigabit Network Connection\n"
                          "\t\t103c 1785  Subsystem\n"
                          "\t\t10d4  No subsystem\n"
                          "8087  Behind\n"
                          "\t10d5  Another one's\n"
                          "8086  Again\n"
                          "\t10d6  Behind a second line\n"
                          "C 02  Network controller\n"
                          "\t00  Ethernet controller";

static void test_names(void **state) {
    (void)state;
    assert_string_equal(PLAIN(ids, 0x8086, 0x10d3), "Intel Corporation 82574L Gigabit Network Connection");
    assert_string_equal(KNOWN(ids, 0x8086, 0x10d3), "Intel Corporation 82574L Gigabit Network Connection");
    assert_string_equal(PLAIN(ids, 0x8085, 0x10d3), "Before Device of another");
}

static void test_unknown(void **state) {
    static const u32 devices[] = {0x103c, 0x10d4, 0x10d5, 0x10d6, 0, 0xffff};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(devices); i++) {
        assert_string_equal(PLAIN(ids, 0x8086, devices[i]), "Intel Corporation Device");
        assert_string_equal(KNOWN(ids, 0x8086, devices[i]), "Intel Corporation");
    }
    assert_string_equal(PLAIN(ids, 0x1234, 0x10d3), "Device");
    assert_string_equal(KNOWN(ids, 0x1234, 0x10d3), "");
    assert_string_equal(PLAIN("", 0x8086, 0x10d3), "Device");
}

static void test_all_in_one_pass(void **state) {
    struct pci_ids_entry e[] = {{.vendor = 0x8087, .device = 0x10d5},
                                {.vendor = 0x8086, .device = 0x10d3},
                                {.vendor = 0x8086, .device = 0x10d2},
                                {.vendor = 0x1234, .device = 0x10d3},
                                {.vendor = 0x8086, .device = 0x10d3}};
    static const char *const want[] = {"Behind Another one's", "Intel Corporation 82574L Gigabit Network Connection",
                                       "Intel Corporation Neighbour", "Device",
                                       "Intel Corporation 82574L Gigabit Network Connection"};

    (void)state;
    pci_ids_find(ids, sizeof(ids) - 1, e, ARRAY_SIZE(e));
    for (u32 i = 0; i < ARRAY_SIZE(e); i++) {
        pci_ids_text(&e[i], true, name, sizeof(name));
        assert_string_equal(name, want[i]);
    }
}

static void test_malformed(void **state) {
    static const char *const texts[] = {"8086",        "8086 ",        "8086  ", "8086 x", "808G  Name", "8086\tName",
                                        " 8086  Name", "\t8086  Name", "\t\t\t", "\n\n\n", "C 80  86"};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(texts); i++)
        assert_string_equal(look(texts[i], strlen(texts[i]), 0x8086, 0x10d3, false), "");
    /* Lines of DOS; no end of the last line. */
    assert_string_equal(PLAIN("8086  Intel\r\n\t10d3  Card\r\n", 0x8086, 0x10d3), "Intel Card");
    assert_string_equal(PLAIN("8086  Intel\n\t10d3  C", 0x8086, 0x10d3), "Intel C");
}

/* What a terminal could take for a command. */
static void test_characters(void **state) {
    (void)state;
    assert_string_equal(PLAIN("8086  In\x1b[2Jt\0l\x7f\n\t10d3  \tCa\rrd", 0x8086, 0x10d3), "In?[2Jt?l? ?Ca?rd");
    assert_string_equal(KNOWN("8086  In\x1b[2Jt\0l\x7f\n\t10d3  \tCa\rrd", 0x8086, 0x10d3), "In?[2Jt?l? ?Ca?rd");
    assert_string_equal(PLAIN("8086  f\xc3\xbcr\n\t10d3  \x9b"
                              "2J \xe2\x82\xac",
                              0x8086, 0x10d3),
                        "f?r ?2J ?");
    assert_string_equal(KNOWN("8086  f\xc3\xbcr\n", 0x8086, 0x10d3), "f\xc3\xbcr");
}

static void test_cut(void **state) {
    static const char whole[] = "Intel Corporation 82574L Gigabit Network Connection";
    struct pci_ids_entry e = {.vendor = 0x8086, .device = 0x10d3};

    (void)state;
    pci_ids_find(ids, sizeof(ids) - 1, &e, 1);
    for (size_t size = 1; size <= sizeof(whole); size++) {
        char *out = malloc(size); /* ASan sees a byte too much */
        size_t said = pci_ids_text(&e, true, out, size);

        assert_int_equal(said, strlen(out));
        assert_true(strlen(out) + 2 >= size && !strncmp(out, whole, strlen(out)));
        free(out);
    }
    assert_string_equal(PLAIN("8086  12345\n", 0x8086, 1), "12345 Device");
}

static void test_length(void **state) {
    const size_t length = PCI_IDS_MAX + 100;
    char *text = malloc(length);

    (void)state;
    memset(text, '\n', length);
    memcpy(text + PCI_IDS_MAX - 20, "8086  Last", 10);
    memcpy(text + PCI_IDS_MAX - 5, "8087  Cut off", 13);
    memcpy(text + PCI_IDS_MAX + 10, "8088  Too far", 13);
    assert_string_equal(look(text, length, 0x8086, 1, false), "Last");
    assert_string_equal(look(text, length, 0x8087, 1, false), "");
    assert_string_equal(look(text, length, 0x8088, 1, false), "");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_unknown),    cmocka_unit_test(test_all_in_one_pass),
        cmocka_unit_test(test_malformed), cmocka_unit_test(test_characters), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
