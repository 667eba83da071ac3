/* drivers/vtd.c: functions that are known under another identity than their own. */
#include "test/unit/vtd_fixture.h"

/* A virtual function belongs to the unit of the physical one (VT-d 4.1, Device Scope Structure). */
static u32 physical_gpu(u32 id) { return id == GPU + 1 ? GPU : id; }

static void test_virtual_function(void **state) {
    (void)state;
    fill_table(1);
    assert_int_equal(0, setup());
    assert_int_equal(0, vtd_ops.prepare(GPU + 1, 1)); /* nobody says so: the unit of all others */
    assert_int_equal(0, vtd_ops.attach(GPU + 1, 6, hpa(TABLE)));
    check_dma(1, GPU + 1, 0, 0, 0);
    fill_table(1);
    env.physical = physical_gpu;
    assert_int_equal(0, setup());
    env.physical = NULL;
    assert_int_equal(0, vtd_ops.prepare(GPU, 1));
    assert_int_equal(0, vtd_ops.prepare(GPU + 1, 1));
    assert_int_equal(0, vtd_ops.attach(GPU, 5, hpa(TABLE + PAGE_4K)));
    assert_int_equal(0, vtd_ops.attach(GPU + 1, 6, hpa(TABLE)));
    check_dma(1, GPU + 1, 6, TABLE, 4);
    check_dma(1, GPU, 5, TABLE + PAGE_4K, 4);
    check_dma(0, GPU + 1, 0, 0, 0);
    assert_int_equal(0, vtd_ops.detach(GPU));
    check_dma(1, GPU + 1, 6, TABLE, 4);
}

/* Behind conventional PCI all requests are the bridge's: it is opened as well, for one domain, and may interrupt. */
#define ALIAS PCI_ID(0, 9, 0, 0)
static u32 alias(u32 id) { return id == ALIAS + 8 || id == ALIAS + 16 ? ALIAS : id; }

static void test_behind_a_bridge(void **state) {
    struct msi_message m;

    (void)state;
    fill_table(1);
    env.requester = alias;
    assert_int_equal(0, setup());
    env.requester = NULL;
    assert_int_equal(0, vtd_ops.prepare(ALIAS + 8, 2));
    assert_int_equal(0, vtd_ops.prepare(ALIAS + 16, 2));
    check_dma(0, ALIAS, 0, 0, 0);
    assert_int_equal(0, vtd_ops.attach(ALIAS + 8, 5, hpa(TABLE)));
    check_dma(0, ALIAS, 5, TABLE, 4);
    check_dma(0, ALIAS + 8, 5, TABLE, 4);
    assert_int_equal(-E_OVERLAP, vtd_ops.attach(ALIAS + 16, 6, hpa(TABLE + PAGE_4K)));
    assert_int_equal(0, vtd_ops.detach(ALIAS + 16)); /* of a start that has failed */
    assert_int_equal(-E_OVERLAP, vtd_ops.attach(ALIAS + 16, 6, hpa(TABLE + PAGE_4K)));
    check_dma(0, ALIAS, 5, TABLE, 4);
    check_dma(0, ALIAS + 16, 0, 0, 0);
    assert_int_equal(0, vtd_ops.route(ALIAS + 8, 1, 0x44, 3, false, &m));
    check_interrupt(0, ALIAS, m, 0x44, 3, false);
    check_interrupt(0, ALIAS + 16, m, 0, 0, false);
    assert_int_equal(0, vtd_ops.detach(ALIAS + 8));
    check_dma(0, ALIAS, 0, 0, 0);
    check_dma(0, ALIAS + 8, 0, 0, 0);
    check_interrupt(0, ALIAS, m, 0, 0, false);
    assert_int_equal(0, vtd_ops.attach(ALIAS + 16, 6, hpa(TABLE + PAGE_4K)));
    check_dma(0, ALIAS, 6, TABLE + PAGE_4K, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_virtual_function),
        cmocka_unit_test(test_behind_a_bridge),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(memory);
    free(seen);
    return failed;
}
