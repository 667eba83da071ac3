/* Functions of a partition that starts: how they are reset, the tables of their BARs and their DMA, what is accepted
 * without protection, and refused accesses that end the partition. Each boot in a process of its own. */
#include "core/base/errors.h"
#include "drivers/pci_vf.h"
#include "test/unit/core_pci_boot.h"

/* --- resets --- */

static void check_bus_reset(void) {
    /* Each was reset twice, for the other's sake: both have their BARs again. */
    MUST(fake_pci_at(FIRST)->resets == 2 && fake_pci_at(OTHER)->resets == 2);
    MUST(fake_pci_get(fake_pci_at(FIRST), 0x10, 4) == RAM(0x4000));
    MUST(fake_pci_get(fake_pci_at(OTHER), 0x10, 4) == RAM(0x5000));
    MUST(fake_pci_get(fake_pci_at(FIRST), 4, 2) == (PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_OFF));
    MUST(fake_iommu.attached_count == 2);
}
static void check_no_reset(void) { MUST(fake_pci_at(FIRST)->resets == 0 && fake_iommu.attached_count == 1); }
static void check_power_reset(void) { MUST(fake_pci_at(DISK)->resets == 1); }
static void keeps_state(void) { fake_pci_at(DISK)->config[fake_pci_at(DISK)->pm + 4] = 8; }
static void with_payloads(void) {
    fake_pci_express(fake_pci_at(DISK), 0x5950, 0x0009);
    fake_pci_express(fake_pci_at(FIRST), 0x2930, 0);
    fake_pci_express(fake_pci_at(OTHER), 0x5857, 0x0400);
}
/* What the firmware set for the ports above: payload sizes, time-outs; not that errors are reported. */
static void check_payloads(void) {
    static const struct {
        u32 id, control, control2;
    } as_before[] = {{DISK, 0x5950, 9}, {FIRST, 0x2930, 0}, {OTHER, 0x5850, 0x400}};

    for (u32 i = 0; i < ARRAY_SIZE(as_before); i++) {
        const struct fake_function *f = fake_pci_at(as_before[i].id);

        MUST(f->resets && fake_pci_get(f, f->pcie + PCI_PCIE_CONTROL, 2) == as_before[i].control);
        MUST(fake_pci_get(f, f->pcie + PCI_PCIE_CONTROL2, 2) == as_before[i].control2);
    }
}
/* More tables than small BARs ever want. */
static void large_bar(void) {
    fake_cpu.small_leaves = true;
    fake_pci_bar(fake_pci_at(NIC), 2, GIB(64), 4, GIB(128));
}
static void check_large_bar(void) {
    struct partition *p = fake_partition(0);
    u64 home = p->pci->guest[0].home[2];

    fake_on_core(1);
    p->pci->host.place(p, 0, 2, home);
    for (u64 at = 0; at < GIB(64); at += GIB(1)) MUST(pt_lookup(&p->pci->stage2, home + at).at.v == GIB(128) + at);
}

/* Memory of 8 MiB in DMA tables: pages of 2 MiB wherever the unit has them, but for where a PC has its hole. */
static void small_pages(void) { fake_iommu.max_leaf = 1; }
static void two_mib_pages(void) { fake_iommu.max_leaf = 2; }
static void check_pages(u32 level) {
    struct pt dma = {.format = &pt_vtd, .mem = &hostspace_mem, .max_leaf = 3, .root = fake_iommu.attached[0].root};

    MUST(pt_lookup(&dma, 0).leaf_level == 1);
    for (u64 at = MIB(2); at < MIB(8); at += PAGE_4K) MUST(pt_lookup(&dma, at).leaf_level == level);
    MUST(pt_lookup(&dma, MIB(8)).leaf_level == 0);
}
static void check_small_pages(void) { check_pages(1); }
static void check_large_pages(void) { check_pages(2); }

/* Two of them: the first lies at 4 GiB, and the window holds both. */
static void two_large_bars(void) {
    fake_pci_bar(fake_pci_at(NIC), 2, MIB(256), 4, GIB(128));
    fake_pci_bar(fake_pci_at(NIC), 4, MIB(256), 4, GIB(129));
}
static void check_two_large_bars(void) {
    const struct passthrough *t = fake_partition(0)->pci;

    MUST(t->guest[0].home[2] == GIB(4) && t->guest[0].home[4] == GIB(4) + MIB(256));
    MUST(t->window64.base == GIB(4) && t->window64.bytes == MIB(512));
}

static void test_resets(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"01:00.*\"]") TWO(""), .after = check_bus_reset);
    assert_boots();
    assert_said("one: 01:00.1: reset: bus\r\n");
    BOOT(ONE("pci = [\"01:00.0\"]\npci-reset = \"optional\"") TWO(""), .after = check_no_reset);
    assert_boots();
    assert_said("one: 01:00.0: reset: none\r\n");
    BOOT(ONE("pci = [\"00:04.0\"]") TWO(""), .after = check_power_reset);
    assert_boots();
    assert_said("one: 00:04.0: reset: power state\r\n");
    assert_said("group 00:04.0, pm, pm-reset, owner one\r\n");
    BOOT(ONE("pci = [\"00:04.0\"]\npci-reset = \"optional\"") TWO(""), .before = keeps_state);
    assert_boots();
    assert_said("one: 00:04.0: reset: none\r\n");
    assert_said("group 00:04.0, pm, owner one\r\n");
    BOOT(ONE("pci = [\"00:04.0\", \"01:00.*\"]") TWO(""), .before = with_payloads, .after = check_payloads);
    assert_boots();
}

static void test_tables(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = large_bar, .after = check_large_bar);
    assert_boots();
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = two_large_bars, .after = check_two_large_bars);
    assert_boots();
    BOOT(LARGE_ONE TWO(""), .after = check_large_pages);
    assert_boots();
    BOOT(LARGE_ONE TWO(""), .before = two_mib_pages, .after = check_large_pages);
    assert_boots();
    BOOT(LARGE_ONE TWO(""), .before = small_pages, .after = check_small_pages);
    assert_boots();
}

/* --- I/O BARs --- */

static void with_ports(void) { fake_pci_bar(fake_pci_at(NIC), 3, sizeof(fake_ports), 1, FAKE_PORTS); }
static void set_nic(u32 offset, u32 size, u32 value) {
    partition_memory_write(fake_partition(0)->vcpus[0], GUEST_ECAM_BASE + (1 << 15) + offset, size, value);
}
/* The guest moves one about: it answers there while it is decoded, and nobody else's ports are reached. */
static void move_ports(void) {
    struct vcpu *v = fake_partition(0)->vcpus[0];

    fake_on_core(1);
    memset(fake_ports, 0x11, sizeof(fake_ports));
    set_nic(PCI_REG_BAR0 + 12, 4, 0xd000);
    partition_port_out(v, 0xd003, 1, 0x5a); /* not decoded */
    MUST(partition_port_in(v, 0xd003, 1) == 0xff && fake_ports[3] == 0x11);
    set_nic(PCI_REG_COMMAND, 2, PCI_COMMAND_IO);
    partition_port_out(v, 0xd003, 1, 0x5a);
    partition_port_out(v, 0xd01c, 4, 0x12345678);
    partition_port_out(v, 0xd004, 2, 0xabcd);
    MUST(fake_ports[3] == 0x5a && fake_ports[4] == 0xcd && fake_ports[5] == 0xab && fake_ports[28] == 0x78);
    MUST(partition_port_in(v, 0xd003, 2) == 0xcd5a && partition_port_in(v, 0xd01c, 4) == 0x12345678);
    MUST(partition_port_in(v, 0xd01e, 4) == 0xffffffff && partition_port_in(v, 0xcfff, 1) == 0xff);
    MUST(partition_port_in(v, 0xd020, 1) == 0xff);
    set_nic(PCI_REG_BAR0 + 12, 4, 0xffff); /* its size is asked for */
    MUST(partition_port_in(v, 0xd003, 1) == 0xff && partition_port_in(v, 0xffe3, 1) == 0x5a);
    set_nic(PCI_REG_BAR0 + 12, 4, 0x60); /* over the PC's own */
    MUST(partition_port_in(v, 0x64, 1) != fake_ports[4]);
    set_nic(PCI_REG_BAR0 + 12, 4, 0xd000);
    set_nic(PCI_REG_COMMAND, 2, 0);
    MUST(partition_port_in(v, 0xd003, 1) == 0xff);
}
static void low_ports(void) { fake_pci_bar(fake_pci_at(NIC), 3, 32, 1, 0xc00); } /* closed */
static void move_low_ports(void) {
    fake_on_core(1);
    set_nic(PCI_REG_BAR0 + 12, 4, 0xd000);
    set_nic(PCI_REG_COMMAND, 2, PCI_COMMAND_IO);
    MUST(partition_port_in(fake_partition(0)->vcpus[0], 0xd003, 1) == 0xff);
}

static void test_ports(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = with_ports, .after = move_ports);
    assert_boots();
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = low_ports, .after = move_low_ports);
    assert_boots();
}

/* --- virtual functions --- */

#define ECAM     MIB(41)
#define PHYSICAL 32u /* as many as the file may name */

/* Configuration space in memory, each byte of which holds what is written: nothing but what they need to have one
 * virtual function each, and the ids that the ports show. */
static void with_physical(void) {
    fake_acpi.mcfg[fake_acpi.mcfg_count++] = (struct host_mcfg){.address = ECAM};
    for (u32 slot = 0; slot < PHYSICAL; slot++) {
        const struct fake_function *shown = fake_pci_at(slot << 3);
        u8 *space = (u8 *)(ECAM + (slot << 15) + DIRECT_BASE);
        const u32 ids = shown ? fake_pci_get(shown, PCI_REG_VENDOR, 4) : 0x11111234;
        const u16 sriov[] = {PCI_EXT_SRIOV, 1}, express[] = {PCI_CAP_PCIE, 2};

        memset(space, 0, 2 * PCI_EXTENDED_BYTES);
        memcpy(space, &ids, sizeof(ids));
        space[PCI_REG_STATUS] = PCI_STATUS_CAPABILITY;
        space[PCI_REG_CAPABILITIES] = 0x40;
        memcpy(space + 0x40, express, sizeof(express));
        memcpy(space + PCI_REG_EXTENDED, sriov, sizeof(sriov));
        space[PCI_REG_EXTENDED + SRIOV_TOTAL] = space[PCI_REG_EXTENDED + SRIOV_OFFSET] = 1;
        space[PCI_REG_EXTENDED + SRIOV_PAGE_SIZES] = SRIOV_PAGES_4K;
    }
}
static void check_physical(void) {
    MUST(pass.count == 2 * PHYSICAL);
    for (u32 i = 0; i < PHYSICAL; i++) {
        const struct pci_function *f = &pass.functions[PHYSICAL + i];

        MUST(f->virtual && f->id == ((i << 3) | 1) && f->physical == i << 3 && f->vfs.number == i);
    }
    /* Every core sees them. */
    for (u32 core = 0; core < 2; core++) MUST(fake_lookup(core, (u64)&pass.functions[2 * PHYSICAL - 1]).leaf_level);
}

/* The virtual function of one is in use when its owner starts. */
static void in_use(void) {
    u8 *space = (u8 *)(ECAM + (DISK << 12) + DIRECT_BASE);

    with_physical();
    for (u32 i = 0; i < PCI_BARS; i++) {
        const u32 bar = (u32)RAM(0x10000 + i * PAGE_4K);

        memcpy(space + PCI_REG_BAR0 + 4 * i, &bar, sizeof(bar));
    }
    space[PCI_EXTENDED_BYTES + PCI_REG_COMMAND] = PCI_COMMAND_MASTER;
}

static void test_left_out(void **state) {
    (void)state;
    BOOT("[machine]\nsriov = { function = \"00:04.0\", vfs = 1 }\n" ONE("pci = [\"00:04.0\"]") TWO(""),
         .before = in_use);
    assert_boots();
    assert_said("one: WARNING: 00:04.0 is as it was left: not reset, since a virtual function of it is in use\r\n");
}

static void test_virtual(void **state) {
    char config[4096] = "[machine]\nsriov = [";

    (void)state;
    for (u32 i = 0; i < PHYSICAL; i++)
        sprintf(config + strlen(config), "{ function = \"00:%02x.0\", vfs = 1 },%s", i, i % 8 ? " " : "\n");
    strcat(config, "]\n" ONE("") TWO(""));
    BOOT(config, .before = with_physical, .after = check_physical);
    assert_boots();
    assert_said("pci: 00:1f.0: 1 virtual functions enabled, memory from 0x");
}

/* --- without protection; faults that end a partition --- */

static void check_unprotected(void) {
    struct partition *p = fake_partition(0);
    u32 *entry = (u32 *)(RAM(0x800) + DIRECT_BASE), apic;

    fake_on_core(1);
    p->pci->host.place(p, 0, 0, p->pci->guest[0].home[0]);
    partition_memory_write(p->vcpus[0], p->pci->guest[0].home[0] + 0x800, 4, 0xfee00000);
    partition_memory_write(p->vcpus[0], p->pci->guest[0].home[0] + 0x808, 4, 0x41);
    partition_memory_write(p->vcpus[0], p->pci->guest[0].home[0] + 0x80c, 4, 0);
    partition_memory_write(p->vcpus[0], GUEST_ECAM_BASE + (1 << 15) + fake_pci_at(NIC)->msix + 2, 2, 0x8000);
    MUST(fake_pci_deliver(entry[0] | (u64)entry[1] << 32, entry[2], &apic) >= PASS_FIRST_VECTOR);
    MUST(apic == p->vcpus[0]->host_apic && entry[3] == 0);
}

static void no_routes(u32 id) {
    (void)id;
    fake_iommu.no_route = -E_TIMEOUT;
}
static void closed_line(void) { fake_iommu.on_attach = no_routes; }
/* Two interrupts that cannot be routed. */
static void play_unroutable(void) {
    struct partition *p = fake_partition(0);
    u64 entry = p->pci->guest[0].home[0] + 0x800;

    fake_on_core(1);
    fake_iommu.no_route = -E_RANGE;
    p->pci->host.place(p, 0, 0, p->pci->guest[0].home[0]);
    partition_memory_write(p->vcpus[0], GUEST_ECAM_BASE + (1 << 15) + fake_pci_at(NIC)->msix + 2, 2, 0x8000);
    for (u32 i = 0; i < 2; i++) {
        partition_memory_write(p->vcpus[0], entry + 16 * i, 4, 0xfee00000);
        partition_memory_write(p->vcpus[0], entry + 16 * i + 12, 4, 0);
        MUST(((u32 *)(RAM(0x800) + DIRECT_BASE))[4 * i + 3] == 1);
    }
}
static void far_core(void) { fake_apic_gap = 0xfd; }
static void farther_core(void) {
    fake_apic_gap = 0xff;
    fake_iommu.max_apic = 0xfe;
}

static void test_unreachable(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"00:03.0 irq 20\"]") TWO(""), .before = closed_line);
    assert_said("one: 00:03.0: interrupt line 20 stays closed: no answer in time\r\n");
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .after = play_unroutable);
    assert_said("one: 00:03.0: interrupt 0 stays masked: out of range\r\n");
    assert_null(strstr(console, "interrupt 1 stays masked"));
    BOOT(ONE("pci = [\"00:03.0\"]\ndma = \"unprotected\"") TWO(""), .no_iommu = true, .before = far_core);
    assert_said(
        "one: does not start: its devices' interrupts do not reach core 1, whose APIC id is 0xff; give it cores up "
        "to 0xfe\r\n");
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = farther_core);
    assert_said("one: does not start: its devices' interrupts do not reach core 1, whose APIC id is 0x101; give it ");
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = far_core);
    assert_boots();
}

static void play_fault_of(u32 id) {
    struct partition *p = fake_partition(0);
    u32 i;

    fake_iommu.faults[0] = (struct iommu_fault){id, 0x5000, true, false, false, 7};
    fake_iommu.fault_count = 1;
    for (i = 0; i < 3 && !p->over; i++) {
        fake_hw.tsc += 2 * PASS_POLL_NS;
        p->vcpus[0]->timer_due = true;
        fake_play(p->vcpus[0], NULL, 0);
    }
    MUST(p->over && !fake_partition(1)->over && fake_iommu.attached_count == 0);
}

/* Partition i looks for faults, and its output has a few milliseconds. */
static void look_for_faults(u32 i) {
    struct vcpu *v = fake_partition(i)->vcpus[0];

    fake_hw.tsc += 2 * PASS_POLL_NS;
    for (u32 k = 0; k < 20; k++) {
        fake_hw.tsc += 2000000;
        v->timer_due = true;
        fake_play(v, NULL, 0);
    }
}

/* Two finds what was refused to one: it counts that, says nothing, and waits for nobody. One tells it, and does not
 * wait for the UART either. */
static void play_faults_of_others(void) {
    struct vcpu *one = fake_partition(0)->vcpus[0], *two = fake_partition(1)->vcpus[0];
    u32 waits;

    for (u32 i = 0; i < 10; i++) fake_iommu.faults[i] = (struct iommu_fault){NIC, 0x5000 + i, true, false, false, 7};
    fake_iommu.fault_count = 10;
    hardware_forget_console();
    waits = fake_hw.waits;
    fake_hw.uart_blocked = true;
    look_for_faults(1);
    MUST(fake_iommu.faults_told == 10 && !*hardware_console() && !two->console_left && fake_hw.waits == waits);
    look_for_faults(0);
    MUST(!*hardware_console() && one->console_left && fake_hw.waits == waits);
    fake_hw.uart_blocked = false;
    look_for_faults(1);
    MUST(!*hardware_console());
    look_for_faults(0);
    MUST(strstr(hardware_console(), "00:03.0 of one: write at 0x5003 refused") &&
         !strstr(hardware_console(), "0x5004"));
    MUST(strstr(hardware_console(), "iommu: 6 more refused to one\r\n"));
    MUST(!one->console_left && fake_hw.waits == waits);
}

/* Without end: after a thousand lines it is quiet until the partition starts anew. */
static void play_many_faults(void) {
    struct partition *p = fake_partition(0);

    for (u32 i = 0; i < 16; i++) fake_iommu.faults[i] = (struct iommu_fault){NIC, 0x5000, true, false, false, 7};
    for (u32 i = 0; i < 250; i++) {
        MUST(!strstr(hardware_console(), "no more is told"));
        hardware_forget_console();
        fake_iommu.fault_count += 16;
        look_for_faults(0);
        MUST(strstr(hardware_console(), "at 0x5000 refused"));
    }
    MUST(strstr(hardware_console(), "iommu: of one no more is told in this run\r\n"));
    hardware_forget_console();
    fake_iommu.fault_count += 16;
    look_for_faults(0);
    MUST(!*hardware_console());
    partition_end(p, END_RESET);
    fake_play(p->vcpus[0], NULL, 0);
    MUST(strstr(hardware_console(), "one: 00:03.0: refused 0 reads, 4016 writes"));
    fake_iommu.fault_count += 16;
    look_for_faults(0);
    MUST(strstr(hardware_console(), "at 0x5000 refused"));
}

static void play_fault(void) { play_fault_of(NIC); }
static void play_bridge(void) { play_fault_of(PORT); }
static void play_forwarded(void) { play_fault_of(OTHER); }

static void test_unprotected(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"00:03.0\"]\ndma = \"unprotected\"") TWO(""), .no_iommu = true, .after = check_unprotected);
    assert_boots();
    assert_said("one: WARNING: dma = \"unprotected\"");
    BOOT(ONE("pci = [\"00:03.0\"]\ndma = \"unprotected\"") TWO(""), .before = no_remapping, .after = check_unprotected);
    assert_boots();
    assert_said("one: WARNING: dma = \"unprotected\": its devices can send any interrupt to any core");
}

static void test_faults(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"00:03.0\"]") TWO("pci = [\"00:04.0\"]"), .after = play_faults_of_others);
    assert_boots();
    BOOT(ONE("pci = [\"00:03.0\"]\nrestart = { on = \"reset\" }") TWO(""), .after = play_many_faults);
    assert_boots();
}

/* What was open when its start failed cannot be closed: nobody may start it over its memory again. */
static void stick(u32 id) { fake_iommu.refuse_attach = fake_iommu.stuck = id; }
static void play_stuck_restart(void) {
    struct partition *p = fake_partition(0);

    fake_iommu.on_attach = stick;
    partition_end(p, END_RESET);
    (void)fake_play(p->vcpus[0], NULL, 0);
    MUST(p->over && p->control->word == CONTROL_BROKEN && !p->controlled);
    MUST(!fake_partition(1)->over);
}
static void play_stuck_start(void) {
    struct partition *p = fake_partition(0);

    partition_end(p, END_STOP);
    (void)fake_play(p->vcpus[0], NULL, 0);
    MUST(p->over && p->control->word == CONTROL_STOPPED);
    fake_iommu.on_attach = stick;
    machine_partition_started();
    fake_on_core(1);
    partition_start(p, "two");
    MUST(p->over && p->control->word == CONTROL_BROKEN);
}

static void test_stuck(void **state) {
    const char *config = ONE("pci = [\"00:03.0\"]\nrestart = { on = \"always\" }") TWO("control = [\"one\"]");

    (void)state;
    BOOT(config, .after = play_stuck_restart);
    assert_said("one: 00:03.0: the IOMMU does not confirm that its DMA is closed");
    assert_said("one: not started again: 00:03.0: the IOMMU does not open its DMA: no answer in time");
    BOOT(config, .after = play_stuck_start);
    assert_said("one: started by two");
    assert_said("one: not started again: 00:03.0: the IOMMU does not open its DMA: no answer in time");
}

static void test_stop_on_fault(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"00:03.0\"]\npci-fault = \"stop\"") TWO(""), .after = play_fault);
    assert_said("iommu: 00:03.0 of one: write at 0x5000 refused, reason 0x7");
    assert_said("one: stopped for a refused access of its device");
    assert_said("one: crashed");
    /* Behind a conventional bridge: under its identity, or under a device's own that it forwards (PCI-X). */
    BOOT(ONE("pci = [\"01:00.*\"]\npci-fault = \"stop\"") TWO(""), .after = play_bridge);
    assert_said("one: 01:00.0: refused 0 reads, 1 writes, 0 interrupts");
    BOOT(ONE("pci = [\"01:00.*\"]\npci-fault = \"stop\"") TWO(""), .after = play_forwarded);
    assert_said("one: 01:00.1: refused 0 reads, 1 writes, 0 interrupts");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resets),      cmocka_unit_test(test_tables),        cmocka_unit_test(test_unprotected),
        cmocka_unit_test(test_faults),      cmocka_unit_test(test_stop_on_fault), cmocka_unit_test(test_virtual),
        cmocka_unit_test(test_unreachable), cmocka_unit_test(test_stuck),         cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_ports),
    };

    return cmocka_run_group_tests_name("core pci start", tests, NULL, NULL);
}
