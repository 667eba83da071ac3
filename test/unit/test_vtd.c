/* drivers/vtd.c against made-up units: that all is closed, what is opened and for whom, that caches are told, and units
 * that lack something, disobey, or never complete an invalidation. */
#include "test/unit/vtd_fixture.h"

/* --- setup --- */

static void test_all_closed(void **state) {
    (void)state;
    fill_table(1);
    assert_int_equal(0, setup());
    assert_string_equal("2 units, 4-level tables, pages up to 1 GiB; interrupts remapped, 8-bit core ids, 1 regions of "
                        "firmware closed",
                        summary);
    assert_int_equal(2 * KIB(8), registers_mapped); /* fault records lie on the second page */
    for (u32 i = 0; i < UNITS; i++) {
        assert_int_equal(GCMD_TE | GCMD_QIE | GCMD_IRE, machines[i].gsts & (GCMD_TE | GCMD_QIE | GCMD_IRE | GCMD_CFI));
        for (u32 id = 0; id < 0x10000; id++) check_dma(i, id, 0, 0, 0);
        for (u32 handle = 0; handle < 0x10000; handle += 7)
            check_interrupt(i, NIC, (struct msi_message){MSI_REMAPPABLE(handle), 0x40}, 0, 0, false);
        check_interrupt(i, NIC, (struct msi_message){0xfee00000, 0x40}, 0, 0, false);
    }
    assert_int_equal(3, vtd_ops.max_leaf());
    assert_true(vtd_ops.remaps_interrupts());
    assert_ptr_equal(&pt_vtd, vtd_ops.tables());
}

/* What firmware left on stays closed throughout, and its own memory regions are given up. */
static void test_left_on(void **state) {
    (void)state;
    fill_table(1);
    machines[0].gsts = GCMD_TE | GCMD_QIE | GCMD_IRE | GCMD_CFI | GCMD_SRTP;
    machines[0].head = 0x120;
    machines[0].pmen = 0x80000001;
    machines[0].fsts = FSTS_OVERFLOW | 0x70;
    assert_int_equal(0, setup());
    assert_int_equal(0, machines[0].opened);
    assert_int_equal(0, machines[0].pmen);
    assert_int_equal(0, machines[0].gsts & GCMD_CFI);
    check_dma(0, NIC, 0, 0, 0);
}

static void test_capabilities(void **state) {
    static const struct {
        u64 no_cap, no_ecap;
        const char *why;
    } refused[] = {
        {~0ull, 0, "VT-d: the unit at 0xfed90000 is not there"},
        {CAP_LEVELS_4 | CAP_LEVELS_3, 0,
         "VT-d: the unit at 0xfed90000 has no tables of four or three levels that all others have"},
        {0, ECAP_QUEUE, "VT-d: the unit at 0xfed90000 has no queued invalidation"},
        {0, ECAP_COHERENT, "VT-d: the unit at 0xfed90000 needs CLFLUSH, which the processor lacks"},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(refused); i++) {
        fill_table(1);
        machines[0].cap &= ~refused[i].no_cap;
        machines[0].ecap &= ~refused[i].no_ecap;
        has_clflush = false;
        assert_int_equal(-E_UNSUPPORTED, setup());
        assert_string_equal(refused[i].why, why);
        assert_int_equal(0, machines[0].commands + machines[1].commands);
    }
    /* Registers that nobody answers. */
    fill_table(1);
    machines[0].cap = machines[0].ecap = ~0ull;
    assert_int_equal(-E_UNSUPPORTED, setup());
    assert_string_equal(refused[0].why, why);
    /* A table that is wrong. */
    t.bytes[48 + 2] = 1;
    assert_int_equal(-E_INVAL, setup());
    assert_string_equal("DMAR: offset 48: structure: impossible length", why);
}

/* The least that all units have. */
static void test_common(void **state) {
    (void)state;
    fill_table(1);
    machines[0].cap &= ~(CAP_LEVELS_4 | CAP_PAGES_1G);
    machines[1].ecap &= ~ECAP_COHERENT;
    env.x2apic = true;
    assert_int_equal(0, setup());
    assert_string_equal("2 units, 3-level tables, pages up to 2 MiB; interrupts remapped, not coherent, 1 regions of "
                        "firmware closed",
                        summary);
    assert_int_equal(2, vtd_ops.max_leaf());
    assert_ptr_equal(&pt_vtd_39, vtd_ops.tables());
    assert_int_equal(~0u, vtd_ops.max_apic());
    assert_int_equal(0, vtd_ops.prepare(NIC, 0));
    assert_int_equal(0, vtd_ops.attach(NIC, 1, hpa(TABLE)));
    check_dma(0, NIC, 1, TABLE, 3);

    fill_table(1);
    machines[1].ecap &= ~ECAP_EIM;
    assert_int_equal(0, setup());
    assert_int_equal(0xfe, vtd_ops.max_apic());
    fill_table(1);
    machines[0].cap &= ~CAP_LEVELS_4;
    machines[1].cap &= ~CAP_LEVELS_3;
    assert_int_equal(-E_UNSUPPORTED, setup());
    fill_table(1);
    machines[0].cap &= ~CAP_PAGES_2M;
    assert_int_equal(0, setup());
    assert_int_equal(1, vtd_ops.max_leaf());
}

/* Devices do not get past the caches where every unit can see to that: bit 11 of leaves, else reserved. */
static void test_snoop(void **state) {

    (void)state;
    for (u32 i = 0; i < 4; i++) {
        fill_table(1);
        machines[0].ecap |= ECAP_SNOOP;
        if (i & 1) machines[1].ecap |= ECAP_SNOOP;
        if (i & 2) machines[1].cap &= ~CAP_LEVELS_4;
        assert_int_equal(0, setup());
        assert_int_equal(i & 2 ? 3 : 4, vtd_ops.tables()->levels);
        assert_int_equal(i & 1 ? BIT(11) : 0, vtd_ops.tables()->cached);
        assert_int_equal(0, vtd_ops.tables()->table & BIT(11));
    }
}

static void test_no_interrupt_remapping(void **state) {
    struct msi_message m;

    (void)state;
    for (u32 i = 0; i < 2; i++) {
        fill_table(i == 0 ? 0 : 1); /* the platform says no; one unit says no */
        if (i) machines[1].ecap &= ~ECAP_INTERRUPTS;
        assert_int_equal(0, setup());
        assert_false(vtd_ops.remaps_interrupts());
        assert_non_null(strstr(summary, "no interrupt remapping"));
        assert_int_equal(0, (machines[0].gsts | machines[1].gsts) & GCMD_IRE);
        assert_int_equal(0, vtd_ops.prepare(NIC, 4));
        assert_int_equal(-E_UNSUPPORTED, vtd_ops.route(NIC, 0, 0x40, 0, false, &m));
        assert_int_equal(0, vtd_ops.attach(NIC, 1, hpa(TABLE)));
        assert_int_equal(0, vtd_ops.detach(NIC));
        check_dma(0, NIC, 0, 0, 0);
    }
}

/* --- DMA --- */

/* Coherent or not, in caching mode or not: a translation is there at once, and gone at once. */
static void test_attach(void **state) {
    (void)state;
    for (u32 i = 0; i < 4; i++) {
        fill_table(1);
        for (u32 k = 0; k < UNITS; k++) {
            machines[k].caching = i & 1;
            if (i & 2) machines[k].ecap &= ~ECAP_COHERENT;
        }
        assert_int_equal(0, setup());
        check_dma(0, NIC, 0, 0, 0); /* in caching mode the unit remembers that there is nothing */
        assert_int_equal(0, vtd_ops.prepare(NIC, 4));
        assert_int_equal(0, vtd_ops.prepare(DISK, 4));
        assert_int_equal(0, vtd_ops.prepare(GPU, 4));
        check_dma(0, NIC, 0, 0, 0);
        assert_int_equal(0, vtd_ops.attach(NIC, 5, hpa(TABLE)));
        assert_int_equal(0, vtd_ops.attach(GPU, 6, hpa(TABLE + PAGE_4K)));
        check_dma(0, NIC, 5, TABLE, 4);
        check_dma(1, GPU, 6, TABLE + PAGE_4K, 4);
        for (u32 id = 0; id < 0x10000; id++)
            for (u32 k = 0; k < UNITS; k++)
                if (id != (k ? GPU : NIC)) check_dma(k, id, 0, 0, 0);
        machines[0].logged = 0;
        assert_int_equal(0, vtd_ops.detach(NIC));
        check_dma(0, NIC, 0, 0, 0);
        check_dma(1, GPU, 6, TABLE + PAGE_4K, 4);
        assert_int_equal(3, machines[0].logged);
        assert_int_equal(0x500e2, machines[0].log[1]); /* IOTLB of domain 5, draining */
        assert_int_equal(0, vtd_ops.attach(NIC, 7, hpa(TABLE)));
        check_dma(0, NIC, 7, TABLE, 4);
        vtd_ops.publish();
        assert_true(!(i & 2) || memcmp(memory, seen, MEMORY_BYTES) == 0);
    }
}

static void test_refused(void **state) {
    struct msi_message m;

    (void)state;
    start();
    assert_int_equal(-E_NOENT, vtd_ops.attach(NIC + 1, 1, hpa(TABLE)));
    assert_int_equal(-E_NOENT, vtd_ops.detach(NIC + 1));
    assert_int_equal(-E_NOENT, vtd_ops.route(NIC + 1, 0, 0x40, 0, false, &m));
    assert_int_equal(-E_NOENT, vtd_ops.unroute(NIC + 1, 0));
    assert_int_equal(-E_RANGE, vtd_ops.attach(NIC, 0, hpa(TABLE)));
    assert_int_equal(-E_RANGE, vtd_ops.attach(NIC, 0x10000, hpa(TABLE)));
    assert_int_equal(-E_RANGE, vtd_ops.route(NIC, 4, 0x40, 0, false, &m));
    assert_int_equal(-E_RANGE, vtd_ops.route(NIC, 0, 0x40, 256, false, &m));
    assert_int_equal(-E_RANGE, vtd_ops.route(NIC, 0, 0x40, 255, false, &m)); /* that would be everybody */
    assert_int_equal(-E_RANGE, vtd_ops.unroute(NIC, 4));
    assert_int_equal(-E_OVERLAP, vtd_ops.prepare(NIC, 1));
    assert_int_equal(-E_NOENT, vtd_ops.prepare(PCI_ID(1, 3, 0, 1), 1));
    assert_int_equal(-E_UNSUPPORTED, vtd_ops.prepare(PCI_ID(0, 0, 0x14, 0), 1));
    assert_int_equal(-E_NOMEM, vtd_ops.prepare(NIC + 1, IRT_ENTRIES - 35));
    for (u32 i = 4; i < 256; i++) assert_int_equal(0, vtd_ops.prepare(PCI_ID(0, 4, 0, 0) + i, 0));
    assert_int_equal(-E_NOMEM, vtd_ops.prepare(NIC + 1, 0));
    /* The number of domains is the unit's. */
    fill_table(1);
    machines[0].cap &= ~7ull;
    assert_int_equal(0, setup());
    assert_int_equal(0, vtd_ops.prepare(NIC, IRT_ENTRIES));
    assert_int_equal(0, vtd_ops.attach(NIC, 15, hpa(TABLE)));
    assert_int_equal(-E_RANGE, vtd_ops.attach(NIC, 16, hpa(TABLE)));
    /* Large network cards, as many as a machine may have, and the last one's last interrupt. */
    fill_table(1);
    assert_int_equal(0, setup());
    for (u32 i = 0; i < 127; i++) assert_int_equal(0, vtd_ops.prepare(PCI_ID(0, 4, 0, 0) + i, 129));
    assert_int_equal(-E_NOMEM, vtd_ops.prepare(NIC, 129));
    assert_int_equal(0, vtd_ops.route(PCI_ID(0, 4, 0, 126), 128, 0x41, 3, false, &m));
    check_interrupt(0, PCI_ID(0, 4, 0, 126), m, 0x41, 3, false);
}

/* --- interrupts --- */

static void test_route(void **state) {
    struct msi_message first, second, disk, pin;

    (void)state;
    start();
    assert_int_equal(0, vtd_ops.route(NIC, 0, 0x41, 3, false, &first));
    assert_int_equal(0, vtd_ops.route(NIC, 1, 0x42, 0xfe, false, &second));
    assert_int_equal(0, vtd_ops.route(DISK, 7, 0x43, 1, false, &disk));
    check_interrupt(0, NIC, first, 0x41, 3, false);
    check_interrupt(0, NIC, second, 0x42, 0xfe, false);
    check_interrupt(0, DISK, disk, 0x43, 1, false);
    /* Several MSI vectors: the device adds to the message of index 0. */
    check_interrupt(0, NIC, (struct msi_message){first.address, first.data | 1}, 0x42, 0xfe, false);
    /* Nobody gets at another's entry, whatever the message says. */
    for (u32 handle = 0; handle < IRT_ENTRIES; handle++) {
        struct msi_message m = {MSI_REMAPPABLE(handle), 0};
        struct arrived a = interrupt(&machines[0], NIC, m);

        assert_true(a.vector == 0 || a.vector == 0x41 || a.vector == 0x42);
        assert_int_equal(0, interrupt(&machines[0], NIC + 1, m).vector);
    }
    check_interrupt(0, NIC, disk, 0, 0, false);
    check_interrupt(0, NIC, (struct msi_message){0xfee00000, 0x41}, 0, 0, false);
    /* Another core: the device keeps its message. */
    assert_int_equal(0, vtd_ops.route(NIC, 0, 0x51, 4, false, &pin));
    assert_int_equal(first.address, pin.address);
    assert_int_equal(first.data, pin.data);
    check_interrupt(0, NIC, first, 0x51, 4, false);
    assert_int_equal(0, vtd_ops.unroute(NIC, 0));
    check_interrupt(0, NIC, first, 0, 0, false);
    check_interrupt(0, NIC, second, 0x42, 0xfe, false);
    /* Detached: all of them. */
    assert_int_equal(0, vtd_ops.detach(NIC));
    check_interrupt(0, NIC, second, 0, 0, false);
    check_interrupt(0, DISK, disk, 0x43, 1, false);
    /* A pin: the message tells the vector as well, and no subhandle. */
    assert_int_equal(0, vtd_ops.ioapic_id(2, &pin.data));
    assert_int_equal(IOAPIC, pin.data);
    assert_int_equal(-E_NOENT, vtd_ops.ioapic_id(3, &pin.data));
    assert_int_equal(0, vtd_ops.route(IOAPIC, 9, 0x61, 2, true, &pin));
    assert_int_equal(0x61, pin.data);
    assert_int_equal(0, pin.address & MSI_SUBHANDLE);
    check_interrupt(0, IOAPIC, pin, 0x61, 2, true);
    check_interrupt(0, NIC, pin, 0, 0, false);
}

static void test_wide_ids(void **state) {
    struct msi_message m;

    (void)state;
    fill_table(1);
    machines[0].ecap &= ~ECAP_COHERENT;
    env.x2apic = true;
    assert_int_equal(0, setup());
    assert_null(strstr(summary, "8-bit"));
    assert_int_equal(0, vtd_ops.prepare(NIC, 1));
    assert_int_equal(0, vtd_ops.route(NIC, 0, 0xef, 0x12345678, false, &m));
    check_interrupt(0, NIC, m, 0xef, 0x12345678, false);
    assert_int_equal(0, vtd_ops.unroute(NIC, 0));
    check_interrupt(0, NIC, m, 0, 0, false);
}

/* The queue has 256 places: it goes round. */
static void test_queue_wraps(void **state) {
    struct msi_message m;

    (void)state;
    start();
    for (u32 i = 0; i < 1000; i++) {
        assert_int_equal(0, vtd_ops.route(NIC, i % 4, (u8)(0x20 + i % 200), i % 255, false, &m));
        check_interrupt(0, NIC, m, 0x20 + i % 200, i % 255, false);
    }
}

/* --- units that do not do as told --- */

static void test_disobedient(void **state) {
    static const u32 commands[] = {GCMD_QIE, GCMD_SRTP, GCMD_TE, GCMD_SIRTP, GCMD_IRE};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(commands); i++) {
        fill_table(1);
        machines[0].ignores = commands[i];
        assert_int_equal(-E_TIMEOUT, setup());
        assert_string_equal("VT-d: the unit at 0xfed90000 does not obey its command register", why);
        for (u32 k = 0; k < UNITS; k++) assert_int_equal(0, machines[k].gsts & (GCMD_TE | GCMD_IRE));
    }
    fill_table(1);
    machines[1].keeps_pmen = true;
    machines[1].pmen = 1;
    assert_int_equal(-E_TIMEOUT, setup());
    assert_string_equal("VT-d: the unit at 0xfed92000 keeps firmware's memory protected", why);
    assert_int_equal(0, machines[1].gsts & GCMD_TE);
    assert_int_equal(0, machines[0].commands); /* the table names the other one first */
    /* One that can be switched on and not off again. */
    fill_table(1);
    machines[0].gsts = GCMD_IRE;
    machines[0].ignores = GCMD_IRE;
    assert_int_equal(-E_TIMEOUT, setup());
}

static void test_invalidation_hangs_at_setup(void **state) {
    (void)state;
    for (u32 i = 0; i < 2; i++) {
        fill_table(1);
        machines[0].hangs = i == 0;
        machines[0].errs = i == 1; /* queue error: told at once */
        assert_int_equal(-E_TIMEOUT, setup());
        assert_string_equal("VT-d: the unit at 0xfed90000 does not complete an invalidation", why);
        for (u32 k = 0; k < UNITS; k++) assert_int_equal(0, machines[k].gsts & (GCMD_TE | GCMD_IRE | GCMD_QIE));
    }
}

/* Another core, that looks for faults while this one waits for a unit, does not wait. */
static void poll(void) {
    struct iommu_fault f;

    assert_false(vtd_ops.fault(&f));
}

/* The unit stops completing invalidations while it runs: what is opened stays closed, what is closed is closed in the
 * tables but counts as open, and nobody waits for that unit a second time. The other unit goes on. */
static void test_invalidation_hangs(void **state) {
    struct msi_message m;
    u64 before;

    (void)state;
    start();
    assert_int_equal(0, vtd_ops.attach(NIC, 1, hpa(TABLE)));
    check_dma(0, NIC, 1, TABLE, 4);
    machines[0].hangs = true;
    before = now;
    on_clock = poll;
    assert_int_equal(-E_TIMEOUT, vtd_ops.detach(NIC));
    on_clock = NULL;
    assert_in_range(now - before, BIT(31), BIT(31) + BIT(24));
    assert_string_equal(LOG_ERROR "VT-d: the unit at 0xfed90000 does not complete an invalidation, status 0x0: its "
                                  "devices stay closed",
                        said);
    said[0] = 0;
    memset(machines[0].contexts, 0, sizeof(machines[0].contexts));
    check_dma(0, NIC, 0, 0, 0);
    before = now;
    machines[0].hangs = false; /* too late */
    assert_int_equal(-E_TIMEOUT, vtd_ops.attach(DISK, 2, hpa(TABLE)));
    check_dma(0, DISK, 0, 0, 0);
    assert_int_equal(-E_TIMEOUT, vtd_ops.detach(NIC));
    assert_int_equal(-E_TIMEOUT, vtd_ops.route(NIC, 0, 0x41, 3, false, &m));
    assert_in_range(now - before, 0, BIT(24));
    assert_int_equal(0, vtd_ops.attach(GPU, 1, hpa(TABLE)));
    assert_int_equal(0, vtd_ops.detach(GPU));
    assert_string_equal("", said); /* once is enough */
}

static void test_write_buffer(void **state) {
    (void)state;
    fill_table(1);
    machines[0].cap |= CAP_RWBF;
    assert_int_equal(0, setup());
    assert_int_equal(2, machines[0].flushes);
    assert_int_equal(0, vtd_ops.prepare(NIC, 1));
    assert_int_equal(0, vtd_ops.attach(NIC, 1, hpa(TABLE)));
    assert_int_equal(3, machines[0].flushes);
    machines[0].ignores = GCMD_WBF;
    assert_int_equal(-E_TIMEOUT, vtd_ops.detach(NIC));
    assert_int_equal(0, machines[1].flushes);
}

/* --- faults --- */

static void record(struct machine *m, u32 i, u64 low, u64 high) {
    m->records[i][0] = low;
    m->records[i][1] = high | BIT(63);
}

static void test_faults(void **state) {
    struct iommu_fault f;

    (void)state;
    start();
    assert_false(vtd_ops.fault(&f));
    /* The oldest is number 2, then 3, then 0. What lies beside the fields is noise. */
    machines[0].fsts = 2 << 8 | FSTS_OVERFLOW;
    record(&machines[0], 2, 0x123456789000, 5ull << 32 | 0x0000ffff00000000ull << 8 | 0xabcd0319);
    record(&machines[0], 3, 0xfffff000, BIT(62) | 6ull << 32 | 0x0301);
    record(&machines[0], 0, 0x0007000000000000, 0x26ull << 32 | 0xf0f8);
    record(&machines[1], 0, 0x5000, 1ull << 32 | 0x10);
    assert_true(vtd_ops.fault(&f)); /* of the unit that the table names first */
    assert_int_equal(0x10, f.id);
    assert_true(vtd_ops.fault(&f));
    assert_int_equal(0x0319, f.id);
    assert_int_equal(0x123456789000, f.address);
    assert_int_equal(5, f.reason);
    assert_true(f.write && !f.interrupt);
    assert_true(vtd_ops.fault(&f));
    assert_int_equal(0x0301, f.id);
    assert_int_equal(0xfffff000, f.address);
    assert_true(!f.write && !f.interrupt);
    assert_true(vtd_ops.fault(&f));
    assert_int_equal(IOAPIC, f.id);
    assert_int_equal(7, f.address);
    assert_int_equal(0x26, f.reason);
    assert_true(f.interrupt);
    assert_false(vtd_ops.fault(&f));
    assert_int_equal(2 << 8, machines[0].fsts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_closed),
        cmocka_unit_test(test_left_on),
        cmocka_unit_test(test_capabilities),
        cmocka_unit_test(test_common),
        cmocka_unit_test(test_snoop),
        cmocka_unit_test(test_no_interrupt_remapping),
        cmocka_unit_test(test_attach),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_route),
        cmocka_unit_test(test_wide_ids),
        cmocka_unit_test(test_queue_wraps),
        cmocka_unit_test(test_disobedient),
        cmocka_unit_test(test_invalidation_hangs_at_setup),
        cmocka_unit_test(test_invalidation_hangs),
        cmocka_unit_test(test_write_buffer),
        cmocka_unit_test(test_faults),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(memory);
    free(seen);
    return failed;
}
