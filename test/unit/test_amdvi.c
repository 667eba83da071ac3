/* drivers/amdvi.c against the units of amdvi_fake.h. */
#include "test/unit/amdvi_fake.h"

#define ALL_FEATURES (FEATURE_XT | FEATURE_INVALIDATE | FEATURE_GA)

static void test_setup(void **unused) {
    u32 id;

    (void)unused;
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    assert_string_equal("2 unit(s), pages up to 1 GiB, interrupts remapped by 128-bit entries", summary);
    assert_int_equal(BIT(0) | BIT(1) | BIT(2) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(17) | BIT(50),
                     fakes[0].regs[REG_CONTROL / 8]);
    assert_int_equal(BIT(0) | BIT(2) | BIT(10) | BIT(12) | BIT(17) | BIT(50), fakes[1].regs[REG_CONTROL / 8]);
    for (u32 i = 0; i < UNITS; i++) {
        assert_int_equal(1, fakes[i].commands[8]);
        assert_int_equal(NONE, dma(i, EDU, 0x1000, false));
        assert_int_equal(NONE, dma(i, EDU, 0x1000, true));
        assert_int_equal(NONE, message(i, EDU, 0));
    }
    assert_int_equal(3, amdvi_ops.max_leaf());
    assert_int_equal(~0u, amdvi_ops.max_apic());
    assert_true(amdvi_ops.remaps_interrupts());
    assert_int_equal(0, amdvi_ops.ioapic_id(7, &id));
    assert_int_equal(IOAPIC, id);
    assert_int_equal(-E_NOENT, amdvi_ops.ioapic_id(0, &id));
}

/* 48882, DTE Setting: an I/O APIC's entry lets pass what the firmware wants, also once its pins are routed. */
static void test_settings(void **unused) {
    const u64 pass = 7ull << 56 | 3ull << 62;
    struct msi_message m;
    u64 *entry;

    (void)unused;
    ivrs[special + 3] = 0xd7; /* INIT, ExtInt, NMI, SysMgt 01, LINT0 and 1 */
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    for (u32 id = 0; id < IDS; id++) {
        entry = state->units[0].devices[id];
        assert_true(entry[1] == (id == IOAPIC ? 1ull << 40 : 0) && entry[2] == (BIT(0) | (id == IOAPIC ? pass : 0)));
    }
    assert_int_equal(BIT(0), state->units[1].devices[IOAPIC][2]); /* of another segment */
    assert_int_equal(0, amdvi_ops.prepare(IOAPIC, 24));
    assert_int_equal(0, amdvi_ops.route(IOAPIC, 2, 0x41, 3, true, &m));
    assert_int_equal(3 << 8 | 0x41, message(0, IOAPIC, m.data));
    entry = state->units[0].devices[IOAPIC];
    assert_true(entry[1] == 1ull << 40 && (entry[2] & pass) == pass);
    assert_int_equal(NONE, dma(0, IOAPIC, 0x1000, true));
    /* A partition's function with the identity of the HPET has none of it; nothing is remapped here. */
    end(NULL);
    begin(NULL);
    put(special, 8, 72, 0, 0, 0xd7, 0, EDU & 0xff, EDU >> 8, 2);
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    entry = state->units[0].devices[EDU];
    assert_true(entry[1] == 1ull << 40 && entry[2] == pass);
    assert_int_equal(0, amdvi_ops.prepare(EDU, 1));
    assert_true(entry[1] == 0 && entry[2] == 0);
}

/* Firmware has left a unit on, with a table of its own, closed but for one function: translation stays on, and what the
 * unit remembers of that table is gone. */
static void test_left_on(void **unused) {
    const u64 left = CONTROL_ENABLE | CONTROL_COMMANDS | CONTROL_EVENT_LOG;

    (void)unused;
    for (u32 i = 0; i < 2; i++) {
        u64 *devices;

        end(NULL);
        begin(NULL);
        devices = take_pages(0x10000 * 32);
        for (u32 id = 0; id < 0x10000; id++) devices[4 * id] = DTE_CLOSED, devices[4 * id + 2] = DTE_INTERRUPTS;
        devices[4 * EDU] = devices[4 * EDU + 2] = 0;
        fakes[0].regs[REG_DEVICES / 8] = (u64)devices | 0x1ff;
        fakes[0].regs[REG_EXCLUSION / 8] = 0x5001;
        fakes[0].regs[REG_CONTROL / 8] = left | (i ? CONTROL_GA : 0);
        fakes[0].regs[REG_STATUS / 8] = STATUS_RUNNING;
        assert_int_equal(0x1000, dma(0, EDU, 0x1000, true));
        assert_int_equal(NONE, dma(0, EDU + 1, 0x1000, true));
        assert_int_equal(0, set_up(i ? ALL_FEATURES : 0, true));
        assert_int_equal(0, fakes[0].opened);
        assert_int_equal(0, fakes[0].regs[REG_EXCLUSION / 8]);
        assert_int_equal(i ? CONTROL_GA | CONTROL_XT : 0, fakes[0].regs[REG_CONTROL / 8] & (CONTROL_GA | CONTROL_XT));
        assert_int_equal(NONE, dma(0, EDU, 0x1000, true));
        assert_int_equal(NONE, dma(0, EDU + 1, 0x1000, true));
        assert_int_equal(NONE, message(0, EDU, 0));
    }
    /* One that is on and does not answer. */
    end(NULL);
    begin(NULL);
    fakes[0].regs[REG_CONTROL / 8] = left;
    fakes[0].hangs = true;
    assert_int_equal(-E_TIMEOUT, set_up(ALL_FEATURES, true));
    assert_int_equal(0, fakes[0].regs[REG_CONTROL / 8]);
}

/* A unit without INVALIDATE_IOMMU_ALL forgets what each id and each domain had. */
static void test_setup_one_by_one(void **unused) {
    (void)unused;
    assert_int_equal(0, set_up(0, true));
    assert_non_null(strstr(summary, "32-bit entries for 8-bit ids"));
    assert_int_equal(0xfe, amdvi_ops.max_apic());
    assert_int_equal(0, fakes[0].commands[8]);
    assert_int_equal(0x10000, fakes[0].commands[2]);
    assert_int_equal(0x10000, fakes[0].commands[3]);
    assert_int_equal(0x10000, fakes[0].commands[5]);
}

static void test_setup_refused(void **unused) {
    (void)unused;
    ivrs[48 + 9] = 0x10; /* registers that are not aligned */
    assert_int_equal(-E_INVAL, set_up(ALL_FEATURES, true));
    assert_non_null(strstr(why, "IVRS: offset 0x30: "));
    assert_int_equal(0, writes);
}

static void test_setup_timeout(void **unused) {
    (void)unused;
    fakes[1].hangs = true;
    assert_int_equal(-E_TIMEOUT, set_up(ALL_FEATURES, true));
    assert_string_equal("the unit at 0xfec00000 does not answer", why);
    for (u32 i = 0; i < UNITS; i++) assert_int_equal(0, fakes[i].regs[REG_CONTROL / 8]);
    end(unused);
    begin(unused);
    fakes[0].runs_on = true;
    fakes[0].regs[REG_STATUS / 8] = BIT(4);
    assert_int_equal(-E_TIMEOUT, set_up(ALL_FEATURES, true));
    assert_string_equal("the unit at 0xfeb80000 does not answer", why);
    for (u32 i = 0; i < UNITS; i++) assert_int_equal(0, fakes[i].regs[REG_CONTROL / 8]);
}

/* --- DMA --- */

static int table_page(void *ctx, hpa_t *page) {
    (void)ctx;
    *page = hpa((u64)take_pages(PAGE_4K));
    return 0;
}
static u64 *table_virt(void *ctx, hpa_t page) {
    (void)ctx;
    return (u64 *)page.v;
}
static const struct pt_mem mem = {.alloc = table_page, .virt = table_virt};

/* A page at 1 GiB, 2 MiB at 2 GiB; both at `at` and above. */
static hpa_t table(u64 at) {
    struct pt pt;

    assert_int_equal(0, pt_init(&pt, amdvi_ops.tables(), &mem, amdvi_ops.max_leaf()));
    assert_int_equal(0, pt_map(&pt, GIB(1), hpa(at), PAGE_4K, RIGHT_READ | RIGHT_WRITE, MEM_WB));
    assert_int_equal(0, pt_map(&pt, GIB(2), hpa(at), PAGE_2M, RIGHT_READ, MEM_WB));
    return pt.root;
}

static void test_dma(void **unused) {
    hpa_t one, two;

    (void)unused;
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    one = table(MIB(16));
    two = table(MIB(32));
    assert_int_equal(-E_NOENT, amdvi_ops.attach(EDU, 1, one));
    assert_int_equal(-E_NOENT, amdvi_ops.detach(EDU));
    assert_int_equal(0, amdvi_ops.prepare(EDU, 4));
    assert_int_equal(-E_OVERLAP, amdvi_ops.prepare(EDU, 4));
    assert_int_equal(-E_NOENT, amdvi_ops.prepare(0x20010, 4));
    assert_int_equal(NONE, dma(0, EDU, GIB(1), false));
    assert_int_equal(0, amdvi_ops.attach(EDU, 1, one));
    assert_int_equal(MIB(16) + 8, dma(0, EDU, GIB(1) + 8, true));
    assert_int_equal(MIB(16) + 0x12345, dma(0, EDU, GIB(2) + 0x12345, false));
    assert_int_equal(NONE, dma(0, EDU, GIB(2), true));
    assert_int_equal(NONE, dma(0, EDU, GIB(1) + PAGE_4K, false));
    assert_int_equal(NONE, dma(0, EDU + 1, GIB(1), false));
    assert_int_equal(NONE, dma(1, OTHER, GIB(1), false));
    assert_int_equal(0, amdvi_ops.detach(EDU));
    assert_int_equal(NONE, dma(0, EDU, GIB(1) + 8, true));
    /* To the same domain with other tables, as after a restart: nothing of the old ones is left. */
    assert_int_equal(0, amdvi_ops.attach(EDU, 1, two));
    assert_int_equal(MIB(32), dma(0, EDU, GIB(1), true));
    assert_int_equal(0, amdvi_ops.detach(EDU));
    assert_string_equal("", said);
}

static void test_alias(void **unused) {
    hpa_t one;
    struct msi_message m;

    (void)unused;
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    one = table(MIB(16));
    assert_int_equal(0, amdvi_ops.prepare(BEHIND, 3));
    assert_int_equal(0, amdvi_ops.prepare(BEHIND + 1, 8));
    assert_int_equal(0, amdvi_ops.attach(BEHIND, 5, one));
    assert_int_equal(MIB(16), dma(0, BEHIND, GIB(1), true));
    assert_int_equal(MIB(16), dma(0, BRIDGE, GIB(1), true));
    assert_int_equal(-E_OVERLAP, amdvi_ops.attach(BEHIND + 1, 6, one));
    assert_int_equal(0, amdvi_ops.detach(BEHIND + 1)); /* of a start that has failed */
    assert_int_equal(-E_OVERLAP, amdvi_ops.attach(BEHIND + 1, 6, one));
    assert_int_equal(MIB(16), dma(0, BRIDGE, GIB(1), true));
    assert_int_equal(0, amdvi_ops.attach(BEHIND + 1, 5, one));
    assert_int_equal(0, amdvi_ops.route(BEHIND, 2, 0x40, 1, false, &m));
    assert_int_equal(2, m.data);
    assert_int_equal(0x140, message(0, BRIDGE, m.data));
    assert_int_equal(0, amdvi_ops.route(BEHIND + 1, 0, 0x41, 2, false, &m));
    assert_int_equal(32, m.data);
    assert_int_equal(0x241, message(0, BRIDGE, m.data));
    assert_int_equal(0, amdvi_ops.detach(BEHIND));
    assert_int_equal(NONE, message(0, BRIDGE, 2));
    assert_int_equal(0x241, message(0, BRIDGE, 32));
    assert_int_equal(NONE, dma(0, BRIDGE, GIB(1), true));
    assert_int_equal(0, amdvi_ops.detach(BEHIND + 1));
    assert_int_equal(0, amdvi_ops.attach(BEHIND + 1, 6, one));
}

/* A virtual function is of the unit of the physical one, whatever the IVRS says of its own number, and has an alias
 * only where that has one. */
static u32 physical_of(u32 id) { return id == BEHIND + 2 ? EDU : id == EDU + 8 ? BEHIND : id; }

static void test_virtual_function(void **unused) {
    hpa_t one;

    (void)unused;
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    physical = physical_of;
    one = table(MIB(16));
    assert_int_equal(0, amdvi_ops.prepare(EDU, 3));
    assert_int_equal(0, amdvi_ops.prepare(BEHIND + 2, 3));
    assert_int_equal(0, amdvi_ops.attach(BEHIND + 2, 5, one));
    assert_int_equal(MIB(16), dma(0, BEHIND + 2, GIB(1), true));
    assert_int_equal(NONE, dma(0, BRIDGE, GIB(1), true));
    assert_int_equal(NONE, dma(0, EDU, GIB(1), true));
    assert_int_equal(0, amdvi_ops.detach(BEHIND + 2));
    assert_int_equal(NONE, dma(0, BEHIND + 2, GIB(1), true));
    assert_int_equal(0, amdvi_ops.prepare(EDU + 8, 3));
    assert_int_equal(0, amdvi_ops.attach(EDU + 8, 6, one));
    assert_int_equal(MIB(16), dma(0, BRIDGE, GIB(1), true));
    assert_int_equal(NONE, dma(0, EDU, GIB(1), true));
}

/* Where the IVRS knows no alias, the bridge that the bus knows counts. */
static u32 behind_edu(u32 id) { return id == EDU + 8 ? EDU + 16 : id; }

static void test_requester(void **unused) {
    hpa_t one;

    (void)unused;
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    requester = behind_edu;
    one = table(MIB(16));
    assert_int_equal(0, amdvi_ops.prepare(EDU + 8, 3));
    assert_int_equal(0, amdvi_ops.prepare(BEHIND, 3));
    assert_int_equal(0, amdvi_ops.attach(EDU + 8, 5, one));
    assert_int_equal(MIB(16), dma(0, EDU + 16, GIB(1), true));
    assert_int_equal(NONE, dma(0, BRIDGE, GIB(1), true));
    assert_int_equal(0, amdvi_ops.attach(BEHIND, 6, one)); /* its alias is another */
    assert_int_equal(0, amdvi_ops.detach(EDU + 8));
    assert_int_equal(NONE, dma(0, EDU + 16, GIB(1), true));
    assert_int_equal(MIB(16), dma(0, BRIDGE, GIB(1), true));
}

/* --- interrupts --- */

static void check_interrupts(u32 top_id) {
    struct msi_message m;

    assert_int_equal(-E_NOENT, amdvi_ops.route(EDU, 0, 0x50, 1, false, &m));
    assert_int_equal(-E_NOENT, amdvi_ops.unroute(EDU, 0));
    assert_int_equal(0, amdvi_ops.prepare(EDU, 4));
    for (u32 i = 0; i < 0x800; i += 0x55) assert_int_equal(NONE, message(0, EDU, i));
    assert_int_equal(0, amdvi_ops.route(EDU, 3, 0x50, 1, false, &m));
    assert_int_equal(0xfee00000, m.address);
    assert_int_equal(3, m.data);
    assert_int_equal(0x150, message(0, EDU, 3));
    assert_int_equal(NONE, message(0, EDU, 2));
    assert_int_equal(NONE, message(0, EDU, 0x50));
    assert_int_equal(NONE, message(0, EDU + 1, 3));
    /* To another core: the message stays. */
    assert_int_equal(0, amdvi_ops.route(EDU, 3, 0x51, top_id, false, &m));
    assert_int_equal(3, m.data);
    assert_int_equal((u64)top_id << 8 | 0x51, message(0, EDU, 3));
    assert_int_equal(-E_RANGE, amdvi_ops.route(EDU, 4, 0x50, 1, false, &m));
    assert_int_equal(-E_RANGE, amdvi_ops.unroute(EDU, 4));
    assert_int_equal(0, amdvi_ops.unroute(EDU, 3));
    assert_int_equal(NONE, message(0, EDU, 3));
    assert_int_equal(0, amdvi_ops.route(EDU, 0, 0x52, 1, false, &m));
    assert_int_equal(0, amdvi_ops.detach(EDU));
    assert_int_equal(NONE, message(0, EDU, 0));
    assert_int_equal(0, amdvi_ops.prepare(IOAPIC, 24));
    assert_int_equal(0, amdvi_ops.route(IOAPIC, 23, 0xf2, 0, true, &m));
    assert_int_equal(0xf2, message(0, IOAPIC, m.data));
    assert_int_equal(-E_NOMEM, amdvi_ops.prepare(EDU + 1, 513));
    assert_int_equal(-E_NOMEM, amdvi_ops.prepare(EDU + 1, ~0u));
    assert_int_equal(0, amdvi_ops.prepare(EDU + 1, 512));
    assert_int_equal(0, amdvi_ops.route(EDU + 1, 511, 0x60, 1, false, &m));
    assert_int_equal(0x160, message(0, EDU + 1, 511));
    assert_int_equal(NONE, message(0, EDU + 1, 512));
}

static void test_interrupts_x2apic(void **unused) {
    (void)unused;
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    check_interrupts(0x89abcdef);
}

static void test_interrupts_wide(void **unused) {
    struct msi_message m;

    (void)unused;
    assert_int_equal(0, set_up(FEATURE_GA | FEATURE_INVALIDATE, true));
    check_interrupts(0xfe);
    assert_int_equal(-E_RANGE, amdvi_ops.route(EDU, 0, 0x50, 0xff, false, &m));
}

static void test_interrupts_narrow(void **unused) {
    struct msi_message m;

    (void)unused;
    assert_int_equal(0, set_up(FEATURE_INVALIDATE, true));
    check_interrupts(0xfe);
    assert_int_equal(-E_RANGE, amdvi_ops.route(EDU, 0, 0x50, 0x100, false, &m));
}

/* 128-bit entries need a processor that replaces them at one stroke. */
static void test_interrupts_old_cpu(void **unused) {
    (void)unused;
    features_of_cpu = 0;
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    features_of_cpu = BIT(13);
    assert_non_null(strstr(summary, "32-bit entries for 8-bit ids"));
    assert_int_equal(0, fakes[0].regs[REG_CONTROL / 8] & (CONTROL_GA | CONTROL_XT));
    check_interrupts(0xfe);
}

/* No I/O APIC is named, so the machine cannot remap: interrupts pass as they are, DMA is confined all the same. */
static void test_no_remapping(void **unused) {
    struct msi_message m;

    (void)unused;
    describe(false);
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    assert_non_null(strstr(summary, "remapped by nothing"));
    assert_false(amdvi_ops.remaps_interrupts());
    assert_int_equal(0, amdvi_ops.prepare(EDU, 1));
    assert_int_equal(-E_UNSUPPORTED, amdvi_ops.route(EDU, 0, 0x50, 1, false, &m));
    assert_int_equal(0x4041, message(0, EDU, 0x4041));
    assert_int_equal(NONE, dma(0, EDU, GIB(1), false));
}

static void test_many(void **unused) {
    (void)unused;
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    for (u32 i = 0; i < MAX_FUNCTIONS; i++) assert_int_equal(0, amdvi_ops.prepare(0x10400 + i, 1));
    assert_int_equal(-E_NOMEM, amdvi_ops.prepare(EDU, 1));
}

/* --- faults --- */

/* Another core, that looks for faults while this one waits for a unit, does not wait. */
static void poll(void) {
    struct iommu_fault f;

    assert_false(amdvi_ops.fault(&f));
}

/* A unit that stops to answer loses its devices, and only those; nobody waits for it twice. */
static void test_hang(void **unused) {
    struct msi_message m;
    u64 before;
    hpa_t one;

    (void)unused;
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    one = table(MIB(16));
    assert_int_equal(0, amdvi_ops.prepare(EDU, 4));
    assert_int_equal(0, amdvi_ops.prepare(EDU + 1, 4));
    assert_int_equal(0, amdvi_ops.prepare(OTHER, 4));
    assert_int_equal(0, amdvi_ops.attach(EDU, 1, one));
    fakes[0].hangs = true;
    before = now;
    on_clock = poll;
    assert_int_equal(-E_TIMEOUT, amdvi_ops.attach(EDU + 1, 1, one));
    on_clock = NULL;
    assert_true(now - before < 2 * BIT(32));
    assert_string_equal(
        LOG_ERROR "amd-vi: the unit at 0xfeb80000 does not complete an invalidation: its devices stay closed", said);
    fakes[0].hangs = false;
    before = now;
    for (u32 i = 0; i < 1000; i++) {
        assert_int_equal(-E_TIMEOUT, amdvi_ops.attach(EDU + 1, 1, one));
        assert_int_equal(-E_TIMEOUT, amdvi_ops.route(EDU, 0, 0x50, 1, false, &m));
    }
    assert_int_equal(-E_TIMEOUT, amdvi_ops.unroute(EDU, 0));
    assert_int_equal(-E_TIMEOUT, amdvi_ops.detach(EDU));
    assert_true(now - before < 1000 * BIT(24));
    assert_int_equal(DTE_CLOSED, pointer(fakes[0].regs[REG_DEVICES / 8])[4 * EDU]);
    assert_int_equal(DTE_CLOSED, pointer(fakes[0].regs[REG_DEVICES / 8])[4 * (EDU + 1)]);
    assert_int_equal(0, amdvi_ops.attach(OTHER, 2, one));
    assert_int_equal(MIB(16), dma(1, OTHER, GIB(1), true));
    assert_int_equal(0, amdvi_ops.detach(OTHER));
}

static void event(u32 unit, u64 low, u64 address) {
    u64 *tail = &fakes[unit].regs[REG_EVENT_TAIL / 8], *at = pointer(fakes[unit].regs[REG_EVENTS / 8]) + *tail / 8;

    at[0] = low;
    at[1] = address;
    *tail = (*tail + 16) % PAGE_4K;
}

static void test_events(void **unused) {
    struct iommu_fault fault;

    (void)unused;
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    assert_false(amdvi_ops.fault(&fault));
    event(1, 2ull << 60 | BIT(53) | 5ull << 32 | 0x10, 0x123456789abcdef0);
    assert_true(amdvi_ops.fault(&fault));
    assert_int_equal(OTHER, fault.id);
    assert_true(fault.address == 0x123456789abcdef0 && fault.write && !fault.interrupt);
    assert_int_equal(0x2020, fault.reason);
    assert_false(amdvi_ops.fault(&fault));
    /* More than the ring holds, one after the other; commands' errors name no function. */
    for (u32 i = 0; i < 600; i++) {
        event(0, 5ull << 60, 0);
        event(0, 6ull << 60, 0);
        event(0, 2ull << 60 | BIT(51) | i, i);
        assert_true(amdvi_ops.fault(&fault));
        assert_true(fault.id == i && fault.address == i && !fault.write && fault.interrupt);
        assert_false(amdvi_ops.fault(&fault));
        assert_true(fakes[0].regs[REG_EVENT_HEAD / 8] == fakes[0].regs[REG_EVENT_TAIL / 8]);
    }
    /* The tail is there before the event. */
    event(0, 0, 0);
    assert_false(amdvi_ops.fault(&fault));
    event(0, 2ull << 60 | 0x11, 1);
    assert_false(amdvi_ops.fault(&fault));
}

static void test_overflow(void **unused) {
    struct iommu_fault fault;

    (void)unused;
    assert_int_equal(0, set_up(ALL_FEATURES, true));
    for (u32 i = 0; i < 255; i++) event(0, 2ull << 60 | i, i);
    fakes[0].regs[REG_STATUS / 8] |= STATUS_OVERFLOW;
    for (u32 i = 0; i < 255; i++) {
        assert_true(amdvi_ops.fault(&fault));
        assert_int_equal(i, fault.id);
    }
    assert_int_equal(STATUS_OVERFLOW, fakes[0].regs[REG_STATUS / 8]);
    writes = 0;
    assert_false(amdvi_ops.fault(&fault));
    assert_int_equal(0, fakes[0].regs[REG_STATUS / 8]);
    assert_int_equal(3, writes);
    assert_true(fakes[0].regs[REG_CONTROL / 8] & CONTROL_EVENT_LOG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_setup),
        TEST(test_settings),
        TEST(test_left_on),
        TEST(test_setup_one_by_one),
        TEST(test_setup_refused),
        TEST(test_setup_timeout),
        TEST(test_dma),
        TEST(test_virtual_function),
        TEST(test_requester),
        TEST(test_alias),
        TEST(test_interrupts_x2apic),
        TEST(test_interrupts_wide),
        TEST(test_interrupts_narrow),
        TEST(test_interrupts_old_cpu),
        TEST(test_no_remapping),
        TEST(test_many),
        TEST(test_hang),
        TEST(test_events),
        TEST(test_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
