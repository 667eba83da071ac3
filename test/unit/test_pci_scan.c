/* drivers/pci_scan.c: BARs, capabilities, buses. */
#include "test/unit/pci_spaces.h"

static void set_bar(u32 id, u32 number, u32 value, u32 mask) {
    put(id, 0x10 + 4 * number, 4, value);
    hold(id, 0x10 + 4 * number, 4, mask);
}

/* --- BARs --- */

static void assert_bar(const struct pci_bar *b, u64 base, u64 bytes, bool io, bool wide, bool prefetch) {
    assert_int_equal(base, b->base);
    assert_int_equal(bytes, b->bytes);
    assert_int_equal(io, b->io);
    assert_int_equal(wide, b->wide);
    assert_int_equal(prefetch, b->prefetch);
}

static void test_bars(void **state) {
    struct space before;

    (void)state;
    add(0x18);
    set_bar(0x18, 0, 0xfeb00000, 0xfffe0000);
    set_bar(0x18, 1, 0x0000c041, 0x0000ffc0); /* upper half hardwired to 0 */
    set_bar(0x18, 2, 0x0000000c, 0x00000000); /* 8 GiB, prefetchable */
    set_bar(0x18, 3, 0x00000038, 0xfffffffe);
    set_bar(0x18, 4, 0xe0000004, 0xfffff000); /* 64 bits, 4 KiB */
    set_bar(0x18, 5, 0x00000001, 0xffffffff);
    put(0x18, 0x30, 4, 0xfea00001);
    hold(0x18, 0x30, 4, 0xfffc0001);
    add(0x20);
    hold(0x20, 0x30, 4, 0xfffc0001);
    before = spaces[0];
    scan();
    assert_bar(&found[0].bars[0], 0xfeb00000, KIB(128), false, false, false);
    assert_bar(&found[0].bars[1], 0xc040, 64, true, false, false);
    assert_bar(&found[0].bars[2], 0x3800000000, GIB(8), false, true, true);
    assert_bar(&found[0].bars[3], 0, 0, false, false, false);
    assert_bar(&found[0].bars[4], 0x1e0000000, KIB(4), false, true, false);
    assert_bar(&found[0].bars[5], 0, 0, false, false, false);
    assert_bar(&found[0].rom, 0xfea00000, KIB(256), false, false, false);
    assert_int_equal(0, found[1].rom.bytes); /* left out by the firmware */
    before.bytes[0x30] = 0;                  /* the ROM is no longer decoded, nothing else has changed */
    assert_memory_equal(before.bytes, spaces[0].bytes, PCI_EXTENDED_BYTES);
    assert_false(decoding);
}

static void test_odd_bars(void **state) {
    (void)state;
    add(0x18);
    set_bar(0x18, 0, 0x00000001, 0x00000000); /* an I/O BAR without an address bit */
    set_bar(0x18, 1, 0x0000e001, 0xffffff00); /* with 32 of them */
    set_bar(0x18, 2, 0x00000004, 0x00000000); /* 64 bits, none of which holds */
    set_bar(0x18, 5, 0xfe000004, 0xff000000); /* whose upper half would be another register */
    scan();
    assert_int_equal(0, found[0].bars[0].bytes);
    assert_bar(&found[0].bars[1], 0xe000, 256, true, false, false);
    assert_int_equal(0, found[0].bars[2].bytes);
    assert_int_equal(0xfe000000, (u32)found[0].bars[5].base);
    assert_int_equal(0, found[0].rom.bytes);
}

/* --- functions and buses --- */

static void test_functions(void **state) {
    struct pci_function few[2];
    u32 n = 0;

    (void)state;
    add(0x00);
    add(0x10);
    put(0x10, 0xe, 1, 0x80);
    add(0x12);
    add(0x17);
    add(0x20);
    bridge(0x28, 1, 2);
    bridge(0x100, 2, 2);
    add(0x208);
    add(0xff00);
    put(0xff00, 0x3d, 1, 2);
    scan();
    assert_true(function(0x10)->multifunction && !function(0x20)->multifunction);
    assert_int_equal(0x8086, found[0].vendor);
    assert_int_equal(0x1234, found[0].device);
    assert_int_equal(0x020000, found[0].class_code);
    assert_int_equal(5, found[0].revision);
    assert_int_equal(1, found[0].subsystem_vendor);
    assert_int_equal(2, found[0].subsystem);
    assert_int_equal(1, function(0x28)->secondary);
    assert_int_equal(2, function(0x28)->subordinate);
    assert_int_equal(1, function(0x28)->header);
    assert_int_equal(2, function(0xff00)->pin);
    assert_null(pci_parent(found, count, function(0x20)));
    assert_ptr_equal(function(0x28), pci_parent(found, count, function(0x100)));
    assert_ptr_equal(function(0x100), pci_parent(found, count, function(0x208)));
    assert_int_equal(7, space_of(0x28)->bytes[4]); /* bridges decode on */
    few[1].id = 77;
    assert_int_equal(-E_NOMEM, pci_scan(&access, 0, 0, 255, few, 1, &n));
    assert_int_equal(9, n);
    assert_true(few[0].id == 0 && few[1].id == 77);
    n = 0;
    assert_int_equal(-E_NOMEM, pci_scan(&access, 0, 0, 255, NULL, 0, &n));
    assert_int_equal(9, n);
    n = 0;
    assert_int_equal(0, pci_scan(&access, 0, 1, 2, found, MAX, &n));
    assert_int_equal(2, n);
}

/* Without function 0 a device is not there; others of a single-function device are not looked at. */
static void test_absent(void **state) {
    (void)state;
    add(0x19);
    add(0x20);
    add(0x21);
    count = 0;
    assert_int_equal(0, pci_scan(&access, 0, 0, 255, found, MAX, &count));
    assert_int_equal(1, count);
    put(0x20, 0xe, 1, 2); /* CardBus: only its name */
    set_bar(0x20, 0, 0xfe000000, 0xfffff000);
    count = 0;
    assert_int_equal(0, pci_scan(&access, 0, 0, 255, found, MAX, &count));
    assert_true(found[0].header == 2 && found[0].bars[0].bytes == 0);
}

/* --- capabilities --- */

static void test_capabilities(void **state) {
    (void)state;
    add(0x18);
    set_bar(0x18, 1, 0xfe000000, 0xffffc000);
    list(0x18, 0x40);
    put(0x18, 0x40, 4, 0x00005001);
    put(0x18, 0x50, 4, 0x01867005); /* 64 bits, maskable, 8 vectors */
    put(0x18, 0x70, 4, 0x00078011);
    put(0x18, 0x74, 4, 0x00002001);
    put(0x18, 0x78, 4, 0x00003001);
    put(0x18, 0x80, 4, 0x00029010);
    put(0x18, 0x84, 4, 0);
    put(0x18, 0x88, 2, 0x595f);     /* which reports errors */
    put(0x18, 0x90, 4, 0x03060013); /* FLR by advanced features */
    put(0x18, 0x100, 4, 0x00010010);
    scan();
    assert_true(found[0].pm == 0x40 && found[0].msi == 0x50 && found[0].msix == 0x70);
    assert_true(found[0].pcie == 0x80 && found[0].af == 0x90 && found[0].sriov == 0x100);
    assert_true(found[0].msi_64 && found[0].msi_maskable && found[0].msi_vectors == 8);
    assert_true(found[0].flr && found[0].flr_by_af);
    assert_int_equal(0x5950, found[0].control);
    assert_true(found[0].msix_entries == 8 && found[0].msix_bar == 1 && found[0].msix_offset == 0x2000);
    assert_true(found[0].msix_pba_bar == 1 && found[0].msix_pba_offset == 0x3000);
    put(0x18, 6, 2, 0); /* no list */
    scan();
    assert_true(!found[0].pm && !found[0].msix && !found[0].flr);
}

static void test_resizable_bars(void **state) {
    (void)state;
    add(0x18);
    express(0x18, 0, true);
    put(0x18, 0x100, 4, 0x00010015);
    put(0x18, 0x108, 4, 0x00000c40); /* two: BAR 0 of 4 GiB, */
    put(0x18, 0x110, 4, 0x00000a02); /* BAR 2 of 1 GiB */
    put(0x18, 0x118, 4, 0x00000004);
    scan();
    assert_true(found[0].rbar == 0x100 && found[0].rbars == 2);
    assert_true(found[0].sizes[0] == 0xc40 && found[0].sizes[1] == 0xa02 && found[0].sizes[2] == 0);
    put(0x18, 0x108, 4, 0x000000e0); /* more than there are BARs */
    scan();
    assert_int_equal(0, found[0].rbars);
    put(0x18, 0x100, 4, 0xff010001);
    put(0x18, 0xff0, 4, 0x00010015);
    put(0x18, 0xff8, 4, 0x00000040); /* the second one beyond the end */
    scan();
    assert_int_equal(0, found[0].rbars);
}

/* A table in no BAR, in an I/O BAR, or beyond the end: it would be looked for elsewhere. */
static void test_wrong_msix(void **state) {
    static const u32 wrong[][2] = {{6, 0x800}, {7, 0x800},      {0x1000, 0x800}, {0xfd0, 0x800}, {1, 0x800},
                                   {2, 0x800}, {0, 0xfffffff8}, {0, 0x1000},     {0, 7},         {0xfffffff8, 0}};

    (void)state;
    add(0x18);
    set_bar(0x18, 0, 0xfe000000, 0xfffff000);
    set_bar(0x18, 2, 0x0000c001, 0x0000ff00);
    list(0x18, 0x70);
    put(0x18, 0x70, 4, 0x00030011);
    for (u32 i = 0; i < ARRAY_SIZE(wrong); i++) {
        put(0x18, 0x74, 4, wrong[i][0]);
        put(0x18, 0x78, 4, wrong[i][1]);
        scan();
        assert_int_equal(0, found[0].msix);
        assert_int_equal(0, found[0].msix_entries);
    }
    put(0x18, 0x74, 4, 0xfc0);
    put(0x18, 0x78, 4, 0xff8 - 0x38);
    scan();
    assert_int_equal(0x70, found[0].msix);
}

static void test_loops(void **state) {
    (void)state;
    add(0x18);
    list(0x18, 0x40);
    put(0x18, 0x40, 4, 0x00005009);
    put(0x18, 0x50, 4, 0x00004009);
    assert_int_equal(0, pci_find_capability(&access, 0x18, PCI_CAP_MSI));
    assert_int_equal(0x40, pci_find_capability(&access, 0x18, PCI_CAP_VENDOR));
    list(0x18, 0x3c); /* into the header */
    assert_int_equal(0, pci_find_capability(&access, 0x18, PCI_CAP_VENDOR));
    put(0x18, 0x100, 4, 0x20010001);
    put(0x18, 0x200, 4, 0x10010002);
    assert_int_equal(0, pci_find_extended(&access, 0x18, PCI_EXT_ACS));
    assert_int_equal(0x200, pci_find_extended(&access, 0x18, 2));
    put(0x18, 0x200, 4, 0x0fc10002); /* back into the first 256 bytes */
    assert_int_equal(0, pci_find_extended(&access, 0x18, PCI_EXT_ACS));
    assert_int_equal(0, pci_find_extended(&access, 0x20, PCI_EXT_ACS)); /* nobody there */
    put(0x18, 0x100, 4, 0);
    assert_int_equal(0, pci_find_extended(&access, 0x18, 2));
    /* One that goes on in the next function's space. */
    put(0x18, 0x100, 4, 0xffc10001);
    put(0x18, 0xffc, 4, 0x0001000d);
    assert_int_equal(0, pci_find_extended(&access, 0x18, PCI_EXT_ACS));
    put(0x18, 0x100, 4, 0xfc410001);
    put(0x18, 0xfc4, 4, 0x00010010);
    assert_int_equal(0, pci_find_extended(&access, 0x18, PCI_EXT_SRIOV));
    put(0x18, 0x100, 4, 0xfc010001);
    put(0x18, 0xfc0, 4, 0x00010010);
    assert_int_equal(0xfc0, pci_find_extended(&access, 0x18, PCI_EXT_SRIOV));
}

/* Whatever the registers say: it ends, and what it says can be used. */
static void test_noise(void **state) {
    (void)state;
    srand(1);
    add(0x18);
    for (u32 i = 0; i < 20000; i++) {
        for (u32 k = 0; k < 256; k++) {
            spaces[0].bytes[k] = (u8)rand();
            spaces[0].holds[k] = (u8)rand();
        }
        put(0x18, 0xe, 1, rand() & 1);
        put(0x18, 0, 4, 0x12348086);
        count = 0;
        if (pci_scan(&access, 0, 0, 0, found, MAX, &count)) fail();
        assert_int_equal(1, count);
        for (u32 k = 0; k < PCI_BARS; k++) assert_int_equal(0, found[0].bars[k].bytes & (found[0].bars[k].bytes - 1));
        if (!found[0].msix) continue;
        assert_true(found[0].msix_bar < PCI_BARS && found[0].msix_pba_bar < PCI_BARS);
        assert_true(found[0].msix_offset + 16u * found[0].msix_entries <= found[0].bars[found[0].msix_bar].bytes);
    }
}

/* For a console before anything else is known. */
static void test_first_bar(void **state) {
    struct pci_bar bar;

    (void)state;
    spaces_used = 0;
    assert_false(pci_first_bar(&access, 0x20, &bar));
    add(0x20);
    put(0x20, 4, 2, 0);
    assert_false(pci_first_bar(&access, 0x20, &bar));
    set_bar(0x20, 0, 0x00000004, ~0u); /* 64 bits, without an address */
    set_bar(0x20, 1, 0, ~0u);
    set_bar(0x20, 2, 0x0000e001, ~0u);
    assert_true(pci_first_bar(&access, 0x20, &bar));
    assert_true(bar.io && bar.base == 0xe000);
    assert_int_equal(1, space_of(0x20)->bytes[4]);
    set_bar(0x20, 1, 0x38, ~0u);
    assert_true(pci_first_bar(&access, 0x20, &bar));
    assert_true(!bar.io && bar.wide && bar.base == 0x3800000000);
    assert_int_equal(3, space_of(0x20)->bytes[4] & 3);
    set_bar(0x20, 0, 0xfebff008, ~0u); /* prefetchable */
    assert_true(pci_first_bar(&access, 0x20, &bar));
    assert_true(!bar.io && !bar.wide && bar.base == 0xfebff000);
    bridge(0x28, 1, 1);
    set_bar(0x28, 0, 0xfebff000, ~0u);
    assert_false(pci_first_bar(&access, 0x28, &bar));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_bars, fresh),         cmocka_unit_test_setup(test_odd_bars, fresh),
        cmocka_unit_test_setup(test_functions, fresh),    cmocka_unit_test_setup(test_absent, fresh),
        cmocka_unit_test_setup(test_capabilities, fresh), cmocka_unit_test_setup(test_resizable_bars, fresh),
        cmocka_unit_test_setup(test_wrong_msix, fresh),   cmocka_unit_test_setup(test_loops, fresh),
        cmocka_unit_test_setup(test_noise, fresh),        cmocka_unit_test_setup(test_first_bar, fresh),
    };

    return cmocka_run_group_tests_name("pci scan", tests, NULL, NULL);
}
