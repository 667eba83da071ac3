/* drivers/pci_scan.c: isolation groups, and the identities under which requests come. */
#include "test/unit/pci_spaces.h"

static void acs(u32 id, u32 able) {
    put(id, 0x100, 4, 0x140u << 20 | 1); /* advanced errors first */
    put(id, 0x140, 4, PCI_EXT_ACS);
    put(id, 0x144, 2, able);
}
static u32 group(u32 id) { return function(id)->group; }

static void test_multifunction(void **state) {
    (void)state;
    for (u32 i = 0; i < 3; i++) add(0x18 + i);
    put(0x18, 0xe, 1, 0x80);
    add(0x20);
    scan();
    assert_true(group(0x18) == 0x18 && group(0x19) == 0x18 && group(0x1a) == 0x18 && group(0x20) == 0x20);
    for (u32 i = 0; i < 3; i++) {
        express(0x18 + i, 0, true);
        acs(0x18 + i, i == 2 ? 0x04 : 0x0c); /* the last one cannot do it all */
    }
    scan();
    assert_int_equal(0x0c, space_of(0x18)->bytes[0x146]);
    assert_int_equal(0, space_of(0x1a)->bytes[0x146]);
    assert_true(group(0x18) == 0x18 && group(0x19) == 0x18 && group(0x1a) == 0x18); /* through the last one */
    acs(0x1a, 0x1f);
    scan();
    assert_true(group(0x18) == 0x18 && group(0x19) == 0x19 && group(0x1a) == 0x1a);
    assert_true(function(0x18)->flr && !function(0x18)->flr_by_af);
}

/* One device with more than eight functions behind a port, which do without those in between. */
static void test_many_functions(void **state) {
    static const u32 ids[] = {0x100, 0x109, 0x12a, 0x1ff};

    (void)state;
    bridge(0xe0, 1, 1);
    express(0xe0, ROOT_PORT, false);
    acs(0xe0, 0x1d);
    for (u32 i = 0; i < ARRAY_SIZE(ids); i++) {
        add(ids[i]);
        express(ids[i], 0, true);
        acs(ids[i], 0);
        put(ids[i], 0x140, 4, 0x180u << 20 | PCI_EXT_ACS);
        put(ids[i], 0x180, 4, PCI_EXT_ARI);
    }
    add(0x200); /* the next bus */
    scan();
    for (u32 i = 0; i < ARRAY_SIZE(ids); i++) assert_true(function(ids[i])->ari && group(ids[i]) == 0x100);
    assert_true(group(0xe0) == 0xe0 && group(0x200) == 0x200);
    for (u32 i = 0; i < ARRAY_SIZE(ids); i++) put(ids[i], 0x144, 2, 0x0c);
    scan();
    for (u32 i = 0; i < ARRAY_SIZE(ids); i++) assert_int_equal(ids[i], group(ids[i]));
    put(0x100, 0x180, 4, 0); /* without, there are eight of each device that has its first */
    count = 0;
    assert_int_equal(0, pci_scan(&access, 0, 0, 255, found, MAX, &count));
    assert_int_equal(3, count);
}

static void below(u32 type, u32 able) {
    fresh(NULL);
    bridge(0xe0, 1, 1);
    if (type) express(0xe0, type, false);
    if (able) acs(0xe0, able);
    add(0x100);
    add(0x108);
    add(0x18);
    scan();
    assert_int_equal(0x18, group(0x18));
}

static void test_ports(void **state) {
    (void)state;
    below(ROOT_PORT, 0x1d);
    assert_int_equal(0x1d, space_of(0xe0)->bytes[0x146]);
    assert_true(group(0xe0) == 0xe0 && group(0x100) == 0x100 && group(0x108) == 0x108);
    below(DOWN_PORT, 0x1f);
    assert_true(group(0xe0) == 0xe0 && group(0x100) == 0x100);
    below(ROOT_PORT, 0x0d); /* no forwarding upward */
    assert_true(group(0xe0) == 0xe0 && group(0x100) == 0xe0 && group(0x108) == 0xe0);
    below(ROOT_PORT, 0);
    assert_true(group(0x100) == 0xe0 && group(0x108) == 0xe0);
    below(TO_PCI, 0x1f); /* conventional PCI below: the bridge's name for all */
    assert_true(group(0x100) == 0xe0 && group(0x108) == 0xe0);
    below(0, 0);
    assert_true(group(0x100) == 0xe0 && group(0x108) == 0xe0);
}

/* PCI Express to PCI/PCI-X Bridge 1.0: who it is that asks. */
static void test_requesters(void **state) {
    (void)state;
    below(ROOT_PORT, 0);
    assert_true(function(0x100)->requester == 0x100 && function(0x18)->requester == 0x18);
    below(TO_PCI, 0);
    assert_true(function(0x100)->requester == 0x100 && function(0x108)->requester == 0x100);
    assert_int_equal(0xe0, function(0xe0)->requester);
    below(0, 0); /* no PCI Express: the bridge itself */
    assert_true(function(0x100)->requester == 0xe0 && function(0x108)->requester == 0xe0);
    below(8, 0);
    assert_int_equal(0xe0, function(0x108)->requester);
    /* Behind a port and two bridges: the upper bridge's. */
    fresh(NULL);
    bridge(0xe0, 1, 3);
    express(0xe0, ROOT_PORT, false);
    bridge(0x100, 2, 3);
    express(0x100, TO_PCI, false);
    bridge(0x208, 3, 3);
    add(0x310);
    scan();
    assert_true(function(0x310)->requester == 0x200 && function(0x208)->requester == 0x200);
    assert_int_equal(0x100, function(0x100)->requester);
    /* Bridges that claim each other's bus. */
    fresh(NULL);
    bridge(0x100, 2, 2);
    bridge(0x200, 1, 1);
    add(0x208);
    scan();
    assert_true(function(0x208)->requester == 0x100 || function(0x208)->requester == 0x200);
}

/* A chain joins all: bridge behind bridge. */
static void test_chain(void **state) {
    (void)state;
    bridge(0xe0, 1, 2);
    bridge(0x100, 2, 2);
    add(0x200);
    add(0x18);
    scan();
    assert_true(group(0xe0) == 0xe0 && group(0x100) == 0xe0 && group(0x200) == 0xe0 && group(0x18) == 0x18);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_multifunction, fresh), cmocka_unit_test_setup(test_many_functions, fresh),
        cmocka_unit_test_setup(test_ports, fresh),         cmocka_unit_test_setup(test_requesters, fresh),
        cmocka_unit_test_setup(test_chain, fresh),
    };

    return cmocka_run_group_tests_name("pci groups", tests, NULL, NULL);
}
