/* Functions given by the partition file: which are meant, what is refused with its place in the file, and partitions
 * that do not start while others do. Each boot in a process of its own. */
#include "core/base/errors.h"
#include "test/unit/core_pci_boot.h"

static void assert_refused(const char *why) {
    assert_int_equal(STOP_HALT, outcome);
    assert_said(why);
    assert_said("mullion: remedy: ");
}

/* One does not start for this reason; two does. */
static void assert_left_out(const char *why) {
    assert_int_equal(STOP_SCRIPT, outcome);
    assert_said(why);
    assert_said("starting the partitions");
}

static u8 owner(u32 id) {
    for (u32 i = 0; i < pass.count; i++)
        if (pass.functions[i].id == id) return pass.owner[i];
    return 99;
}

/* --- which are meant --- */

static void owns_nic(void) { MUST(owner(NIC) == 1 && owner(DISK) == 0 && owner(LEFT) == 0); }
static void owns_both(void) {
    MUST(owner(LEFT) == 1 && owner(RIGHT) == 1 && owner(NIC) == 0);
    MUST(fake_partition(0)->pci->count == 2 && fake_iommu.attached_count == 2);
}
static void owns_right(void) { MUST(owner(LEFT) == 0 && owner(RIGHT) == 1); }
static void has_line(void) {
    MUST(fake_lines[20].routed && !fake_lines[20].masked);
    MUST(fake_lines[20].apic == fake_partition(0)->vcpus[0]->host_apic);
}

/* Registers that four levels of the hypervisor's tables cannot reach. */
static void far_bar(void) { fake_pci_bar(fake_pci_at(NIC), 0, PAGE_4K, 4, BIT(47)); }

static void test_far(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = far_bar);
    assert_refused("a device's registers lie at 0x800000000000, above 127 TiB");
    BOOT(ONE("pci = [\"00:04.0\"]") TWO(""), .before = far_bar); /* nobody's */
    assert_boots();
}

static void test_patterns(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .after = owns_nic);
    assert_boots();
    assert_said("one: 00:03.0: reset: flr\r\n");
    assert_said(
        "pci: 00:03.0 Ethernet controller [0200]: [1234:0001] (rev 03), group 00:03.0, msi-x, flr, express, owner one");
    assert_said("pci: 00:05.1 Ethernet controller [0200]: [1234:0003] (rev 03), group 00:05.0, flr, express\r\n");
    BOOT(ONE("pci = [\"1234:0001\"]") TWO(""), .after = owns_nic);
    assert_boots();
    BOOT(ONE("pci = [\"00:05.*\"]") TWO(""), .after = owns_both);
    assert_boots();
    BOOT(ONE("pci = [\"1234:0003\"]") TWO(""), .after = owns_both);
    assert_boots();
    BOOT(ONE("pci = [\"1234:0003#1\"]") TWO(""), .after = owns_right);
    assert_boots();
    BOOT(ONE("pci = [\"00:03.0 irq 20\"]") TWO(""), .after = has_line);
    assert_boots();
    BOOT(ONE("pci = [\"00:03.0 irq 99\"]") TWO(""));
    assert_said("one: 00:03.0: interrupt line 99 is not there");
    BOOT(ONE("") TWO(""));
    assert_boots();
}

/* --- their names --- */

/* The module is read at start, and is nobody's: on no core's tables. */
static void ids_unmapped(void) {
    for (u32 core = 0; core < 2; core++) {
        MUST(!fake_lookup(core, FAKE_PCI_IDS_AT + DIRECT_BASE).leaf_level);
        MUST(!fake_lookup(core, FAKE_PCI_IDS_AT + DIRECT_BASE + PAGE_4K).leaf_level);
    }
    MUST(fake_lookup(1, FAKE_RAM - KIB(64) + DIRECT_BASE).leaf_level); /* unlike the image */
}

static void test_names(void **state) {
    char text[2600] = "1234  Acme\n\t0001  Net 1\x1b[2J\n\t0003  Net 3\n1235  Other\n\t0002  Not this\n";

    (void)state;
    fake_pci_ids = text;
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .after = ids_unmapped);
    assert_boots();
    assert_said(
        "pci: 00:03.0 Ethernet controller [0200]: Acme Net 1?[2J [1234:0001] (rev 03), group 00:03.0, msi-x, flr, "
        "express, owner one\r\n");
    assert_said("pci: 00:04.0 Ethernet controller [0200]: Acme Device [1234:0002] (rev 03), group ");
    assert_said("pci: 00:05.0 Ethernet controller [0200]: Acme Net 3 [1234:0003] (rev 03), group ");
    assert_said("pci: 00:05.1 Ethernet controller [0200]: Acme Net 3 [1234:0003] (rev 03), group ");
    assert_said("pci: 00:1c.0 PCI bridge [0604]: Device [8086:3420] (rev ");
    /* A name without end takes nothing else out of the line. */
    memset(text + 20, 'x', sizeof(text) - 21);
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""));
    assert_boots();
    assert_said("xxxx [1234:0001] (rev 03), group 00:03.0, msi-x, flr, express, owner one\r\n");
    fake_options.inventory = true;
    fake_pci_ids = "1234  Acme\n\t0001  Net 1\n";
    BOOT("");
    assert_int_equal(STOP_POWER_OFF, outcome);
    assert_said(
        "#: pci 00:03.0 1234:0001 class 020000 group 00:03.0 msi-x flr express # Ethernet controller: Acme Net 1\r\n");
    assert_said("#: pci 00:1c.0 8086:3420 class 060400 group 00:1c.0 bridge # PCI bridge: Device\r\n");
    assert_said("#     \"00:03.0\", # 1234:0001 Ethernet controller: Acme Net 1\r\n");
    fake_pci_ids = NULL;
    BOOT("");
    assert_said(" # Ethernet controller\r\n");
    fake_options.inventory = false;
    fake_pci_ids = "";
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""));
    assert_boots();
    assert_said("pci: 00:03.0 Ethernet controller [0200]: Device [1234:0001] (rev 03), ");
    fake_pci_ids = NULL;
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""));
    assert_said("pci: 00:03.0 Ethernet controller [0200]: [1234:0001] (rev 03), ");
}

/* --- the file is refused --- */

static void shared_group(void) { MUST(owner(LEFT) == 1 && owner(RIGHT) == 2 && fake_iommu.attached_count == 2); }

/* The UART or the framebuffer of the console lies in a function. */
static void test_console_function(void **state) {
    const struct console_choice usual = fake_options.console;

    (void)state;
    fake_options.console = (struct console_choice){.given = true, .uart = UART_PCI, .at = NIC};
    BOOT(ONE("pci = [\"00:04.0\", \"00:03.0\"]") TWO(""));
    assert_refused("mullion.toml:8:19: pci: 00:03.0 is the hypervisor's console");
    fake_options.console = (struct console_choice){.given = true, .screen = true};
    fake_console[CONSOLE_SCREEN] = (struct boot_window){RAM(0x1800), 0x100};
    BOOT(ONE("pci = [\"00:04.0\"]") TWO(""));
    assert_refused("mullion.toml:8:8: pci: 00:04.0 is the hypervisor's console");
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""));
    assert_boots();
    fake_options.console = usual;
    BOOT(ONE("pci = [\"00:04.0\"]") TWO("")); /* the screen is left before the start */
    assert_boots();
    fake_console[CONSOLE_SCREEN] = (struct boot_window){0};
}

static void test_refused(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"00:03.0\", \"00:09.0\"]") TWO(""));
    assert_refused("mullion.toml:8:19: pci: the machine has no such function");
    BOOT(ONE("pci = [\"1234:0003#2\"]") TWO(""));
    assert_refused("mullion.toml:8:8: pci: the machine has no such function");
    BOOT(ONE("pci = [\"00:1c.0\"]") TWO(""));
    assert_refused("mullion.toml:8:8: pci: 00:1c.0 is a bridge");
    BOOT(ONE("pci = [\"00:03.0\"]") TWO("pci = [\"1234:0001\"]"));
    assert_refused("mullion.toml:16:8: pci: 00:03.0 belongs to partition one already");
    BOOT(ONE("pci = [\"00:05.0\"]") TWO("pci = [\"00:05.1\"]"));
    assert_refused("mullion.toml:16:8: pci: 00:05.0 and 00:05.1 can reach each other");
    BOOT(ONE("pci = [\"00:05.0\"]\npci-groups = \"split\"") TWO("pci = [\"00:05.1\"]"));
    assert_refused("mullion.toml:17:8: pci: 00:05.0 and 00:05.1 can reach each other");
    BOOT(ONE("pci = [\"01:00.0\"]\npci-reset = \"optional\"") TWO("pci = [\"01:00.1\"]"));
    assert_refused("01:00.0 and 01:00.1 can reach each other");
    BOOT(ONE("pci = [\"00:05.0\"]\npci-groups = \"split\"") TWO("pci = [\"00:05.1\"]\npci-groups = \"split\""),
         .after = shared_group);
    assert_boots();
    assert_said("pci: WARNING: pci-groups = \"split\": 00:05.0 and 00:05.1 can reach each other without the IOMMU, yet "
                "belong to one and two\r\n");
    BOOT(ONE("pci = [\"00:03.0 irq 20\"]") TWO("pci = [\"00:04.0 irq 20\"]"));
    assert_refused("mullion.toml:16:8: pci: this interrupt line is another function's already");
}

/* --- a partition does not start --- */

static void refuse_iommu(void) { fake_iommu.refuse = true; }
static void no_address(void) { fake_pci_bar(fake_pci_at(NIC), 0, PAGE_4K, 0, 0); }
static void shared_page(void) {
    fake_pci_bar(fake_pci_at(NIC), 0, 2048, 0, RAM(0x8000));
    fake_pci_bar(fake_pci_at(LEFT), 0, 2048, 0, RAM(0x8800));
    fake_pci_at(NIC)->msix = 0;
}
static void nic_dies(void) { fake_pci_at(NIC)->dies = true; }
static void disk_refused(void) { fake_iommu.refuse_attach = DISK; }
static void disk_untaken(int error) {
    fake_iommu.refuse_prepare = DISK;
    fake_iommu.refusal = error;
}
static void disk_unknown(void) { disk_untaken(-E_NOENT); }
static void disk_reserved(void) { disk_untaken(-E_UNSUPPORTED); }
static void disk_many(void) { disk_untaken(-E_NOMEM); }
static void disk_twice(void) { disk_untaken(-E_OVERLAP); }
static void disk_late(void) { disk_untaken(-E_TIMEOUT); }
static void nothing_open(void) {
    MUST(fake_iommu.attached_count == 0 && (!fake_lines[20].routed || fake_lines[20].masked));
    for (u32 i = 0; i < pass.count; i++)
        MUST(!(fake_pci_get(fake_pci_at(pass.functions[i].id), 4, 2) & PCI_COMMAND_MASTER) || pass.functions[i].header);
}

static void test_left_out(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .no_iommu = true);
    assert_left_out("one: does not start: the machine has no IOMMU; dma = \"unprotected\" would");
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = refuse_iommu);
    assert_left_out("one: does not start: the fake refuses; dma");
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = no_remapping);
    assert_left_out("one: does not start: the IOMMU does not remap interrupts");
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = no_address);
    assert_left_out("one: does not start: 00:03.0: its BAR 0 has no address; update");
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = shared_page);
    assert_left_out("one: does not start: 00:03.0: its BAR 0 shares a page of 4 KiB with 00:05.0; update");
    BOOT(ONE("pci = [\"01:00.0\"]") TWO(""), .after = nothing_open);
    assert_left_out("one: not started: 01:00.0 has no way to be reset; pci-reset");
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = nic_dies);
    assert_left_out("one: not started: 00:03.0 stays busy after its reset");
    BOOT(ONE("pci = [\"00:03.0\"]\npci-reset = \"optional\"") TWO(""), .before = nic_dies);
    assert_left_out("one: not started: 00:03.0 stays busy after its reset");
    BOOT(ONE("pci = [\"00:03.0 irq 20\", \"00:04.0\"]") TWO(""), .before = disk_refused, .after = nothing_open);
    assert_left_out("one: not started: 00:04.0: the IOMMU does not open its DMA");
    BOOT("[partition.one]\ncpus = [1]\nmemory = \"2M\"\nkernel = \"bad\"\npci = [\"00:03.0 irq 20\"]\n" TWO(""),
         .after = nothing_open);
    assert_left_out("one: not started: module bad: ");
}

static void test_untaken(void **state) {
    static const struct {
        void (*before)(void);
        const char *why;
    } cases[] = {
        {disk_unknown, "no IOMMU translates it, by the firmware's table; update the firmware"},
        {disk_reserved,
         "the firmware keeps memory open for it (RMRR); switch its use by the firmware off, or give another "},
        {disk_many, "more interrupts than the IOMMU's table has room for; give fewer functions"},
        {disk_twice, "its identity is another function's; leave one of them out"},
        {disk_late, "no answer in time"},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[160];

        snprintf(text, sizeof(text), "one: does not start: 00:04.0: %s", cases[i].why);
        BOOT(ONE("pci = [\"00:03.0\", \"00:04.0\"]") TWO(""), .before = cases[i].before, .after = nothing_open);
        assert_left_out(text);
    }
}

/* --- BARs that the firmware must not have placed so --- */

static void put_bar(u64 base) { fake_pci_bar(fake_pci_at(NIC), 1, PAGE_4K, 4, base); }
static void over_memory(void) { put_bar(MIB(16)); }
static void over_the_end(void) {
    fake_pci_bar(fake_pci_at(NIC), 1, MIB(16), 4, MIB(32)); /* the last MiB of memory is its first */
}
static void over_lapic(void) { put_bar(0xfee00000); }
static void over_messages(void) { put_bar(0xfee54000); }
static void over_ioapic(void) { put_bar(0xfec00000); }
static void over_iommu(void) { put_bar(0xfed90000); }
static void over_iommu_by_far(void) { fake_pci_bar(fake_pci_at(NIC), 1, MIB(64), 0, 0xfc000000); }
static void over_hpet(void) {
    put_bar(0xfed00000);
    fake_acpi.hpet_address = 0xfed00000;
}
static void over_other(void) { put_bar(RAM(0x2000)); }
static void over_nobodys(void) { put_bar(RAM(0x5000)); }
static void above_all(void) { put_bar(BIT(52)); }
static void in_the_middle(void) { fake_pci_bar(fake_pci_at(NIC), 1, 16, 0, RAM(0x8010)); }
static void rom_over_memory(void) { fake_pci_bar(fake_pci_at(NIC), PCI_BARS, KIB(4), 0, MIB(16)); }
static void put_ports(u32 bytes, u64 base) { fake_pci_bar(fake_pci_at(NIC), 1, bytes, 1, base); }
static void ports_of_other(void) {
    put_ports(32, 0xc000);
    fake_pci_bar(fake_pci_at(LEFT), 1, 16, 1, 0xc010);
}
static void ports_of_timer(void) {
    put_ports(32, 0x1800);
    fake_acpi.pm_timer_port = 0x1808;
}
static void ports_of_power(void) {
    put_ports(32, 0x1800);
    fake_acpi.pm1a_control = 0x1804;
}
static void ports_beyond(void) { put_ports(256, 0x10000); }
static void ports_below(void) { put_ports(256, 0xc00); }
static void beside_all(void) {
    put_bar(0xfebff000);
    fake_pci_bar(fake_pci_at(NIC), 3, 32, 1, 0xc000);
    fake_pci_bar(fake_pci_at(LEFT), 1, 32, 1, 0xc020);
    fake_acpi.pm_timer_port = 0x608;
}

static void test_misplaced(void **state) {
    static const struct {
        void (*before)(void);
        const char *why;
    } cases[] = {
        {over_memory, "its BAR 1 lies over memory"},
        {over_the_end, "its BAR 1 lies over memory"},
        {over_lapic, "its BAR 1 lies over the local APIC"},
        {over_messages, "its BAR 1 lies over the local APIC"},
        {over_ioapic, "its BAR 1 lies over an I/O APIC"},
        {over_iommu, "its BAR 1 lies over an IOMMU"},
        {over_iommu_by_far, "its BAR 1 lies over "},
        {over_hpet, "its BAR 1 lies over the HPET"},
        {over_other, "its BAR 1 shares a page of 4 KiB with 00:05.0"},
        {over_nobodys, "its BAR 1 shares a page of 4 KiB with 01:00.1"},
        {above_all, "its BAR 1 lies beyond all addresses"},
        {in_the_middle, "its BAR 1 does not begin at a page of 4 KiB"},
        {rom_over_memory, "its BAR 6 lies over memory"},
        {ports_of_other, "its BAR 1 lies over ports of 00:05.0"},
        {ports_of_timer, "its BAR 1 lies over the PM timer"},
        {ports_of_power, "its BAR 1 lies over the power management"},
        {ports_beyond, "its BAR 1 lies at ports that there are not"},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[120];

        snprintf(text, sizeof(text), "one: does not start: 00:03.0: %s", cases[i].why);
        BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = cases[i].before, .after = nothing_open);
        assert_left_out(text);
        assert_said("; update or set up the firmware");
    }
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = beside_all);
    assert_boots();
    BOOT(ONE("pci = [\"00:03.0\"]") TWO(""), .before = ports_below);
    assert_boots();
    /* With the same owner they may lie side by side. */
    BOOT(ONE("pci = [\"00:03.0\", \"00:05.*\"]") TWO(""), .before = ports_of_other);
    assert_boots();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns), cmocka_unit_test(test_refused),   cmocka_unit_test(test_console_function),
        cmocka_unit_test(test_left_out), cmocka_unit_test(test_misplaced), cmocka_unit_test(test_far),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_untaken),
    };

    return cmocka_run_group_tests_name("core pci boot", tests, NULL, NULL);
}
