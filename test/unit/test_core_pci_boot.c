/* Functions given by the partition file: which are meant, what is refused with its place in the file, and partitions
 * that do not start while others do. Each boot in a process of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/layout.h"
#include "core/hostspace.h"
#include "core/pass_impl.h"
#include "test/fake/child.h"
#include "test/fake/pci.h"

/* Eight lines each; what is given begins in line 8. */
#define PARTITION(name, core, more)                                                                                    \
    "[partition." name "]\ncpus = [" core "]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\n"                \
    "load = 0x100000\nentry = 0x100000\n" more "\n"
#define ONE(more) PARTITION("one", "1", more)
#define TWO(more) PARTITION("two", "0", more)
#define RAM(at)   (MIB(40) + (at))
#define LARGE_ONE                                                                                                      \
    "[partition.one]\ncpus = [1]\nmemory = \"8M\"\nkernel = \"guest\"\nformat = \"flat\"\nload = 0x100000\n"           \
    "entry = 0x100000\npci = [\"00:03.0\"]\n"

#define NIC   0x18u /* 00:03.0: FLR */
#define DISK  0x20u /* 00:04.0: by its power state */
#define LEFT  0x28u /* 00:05.0 and 1: one device */
#define RIGHT 0x29u
#define PORT  0xe0u  /* 00:1c.0: the bridge above bus 1 */
#define FIRST 0x100u /* 01:00.0 and 1: by their bus only */
#define OTHER 0x101u

#define MUST(truth)                                                                                                    \
    do {                                                                                                               \
        if (!(truth)) {                                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                                                \
            _exit(99);                                                                                                 \
        }                                                                                                              \
    } while (0)

struct boot {
    const char *config;
    void (*before)(void), (*after)(void); /* in the child: another machine; once it runs */
    bool no_iommu;
};

static struct fake_function *add(u32 id, u16 device, u64 base) {
    struct fake_function *f = fake_pci_add(id, 0x1234, device, 0x020000);

    fake_pci_bar(f, 0, PAGE_4K, 0, base);
    return f;
}

static void make_bus(void) {
    fake_pci_add(0, 0x8086, 0x29c0, 0x060000);
    fake_pci_flr(add(NIC, 1, RAM(0)));
    fake_pci_msix(fake_pci_at(NIC), 2, 0, 0x800);
    fake_pci_pm(add(DISK, 2, RAM(0x1000)));
    fake_pci_flr(add(LEFT, 3, RAM(0x2000)));
    fake_pci_flr(add(RIGHT, 3, RAM(0x3000)));
    fake_pci_bridge(fake_pci_add(PORT, 0x8086, 0x3420, 0x060400), 1, 1);
    add(FIRST, 4, RAM(0x4000));
    add(OTHER, 4, RAM(0x5000));
}

static void in_child(const void *what, int out) {
    const struct boot *b = what;
    enum stop why;

    hardware_make();
    fake_iommu.present = !b->no_iommu;
    make_bus();
    if (b->before) b->before();
    why = fake_boot(b->config, 2, MIB(32));
    if (why == STOP_SCRIPT && b->after) b->after();
    child_end(out, why);
}

static void boot(struct boot b) { child_run(in_child, &b); }
#define BOOT(text, ...) boot((struct boot){.config = (text), __VA_ARGS__})

static void assert_said(const char *text) {
    if (!strstr(console, text)) fail_msg("no `%s` in: %s", text, console);
}

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
static void assert_boots(void) {
    if (outcome != STOP_SCRIPT || strstr(console, "start:") || strstr(console, "not started"))
        fail_msg("it did not start: %s", console);
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
    assert_said("pci: 00:03.0 Ethernet controller [0200]: [1234:0001] (rev 03), group 00:03.0, msi-x, flr, owner one");
    assert_said("pci: 00:05.1 Ethernet controller [0200]: [1234:0003] (rev 03), group 00:05.0, flr\r\n");
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
    BOOT(ONE("pci = [\"00:03.0 irq 20\"]") TWO("pci = [\"00:04.0 irq 20\"]"));
    assert_refused("mullion.toml:16:8: pci: this interrupt line is another function's already");
}

/* --- a partition does not start --- */

static void refuse_iommu(void) { fake_iommu.refuse = true; }
static void no_remapping(void) { fake_iommu.no_remapping = true; }
static void no_address(void) { fake_pci_bar(fake_pci_at(NIC), 0, PAGE_4K, 0, 0); }
static void shared_page(void) {
    fake_pci_bar(fake_pci_at(NIC), 0, 2048, 0, RAM(0x8000));
    fake_pci_bar(fake_pci_at(LEFT), 0, 2048, 0, RAM(0x8800));
    fake_pci_at(NIC)->msix = 0;
}
static void nic_dies(void) { fake_pci_at(NIC)->dies = true; }
static void disk_refused(void) { fake_iommu.refuse_attach = DISK; }
static void disk_unknown(void) { fake_iommu.refuse_prepare = DISK; }
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
    BOOT(ONE("pci = [\"00:03.0\", \"00:04.0\"]") TWO(""), .before = disk_unknown);
    assert_left_out("one: does not start: the IOMMU does not take its functions");
    BOOT("[partition.one]\ncpus = [1]\nmemory = \"2M\"\nkernel = \"bad\"\npci = [\"00:03.0 irq 20\"]\n" TWO(""),
         .after = nothing_open);
    assert_left_out("one: not started: module bad: ");
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
static void with_payloads(void) {
    fake_pci_express(fake_pci_at(DISK), 0x5950, 0x0009);
    fake_pci_express(fake_pci_at(FIRST), 0x2930, 0);
    fake_pci_express(fake_pci_at(OTHER), 0x5857, 0x0400);
}
/* What the firmware set for the ports above: payload sizes, time-outs. */
static void check_payloads(void) {
    static const struct {
        u32 id, control, control2;
    } as_before[] = {{DISK, 0x5950, 9}, {FIRST, 0x2930, 0}, {OTHER, 0x5857, 0x400}};

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

static void play_fault(void) {
    struct partition *p = fake_partition(0);
    u32 i;

    fake_iommu.faults[0] = (struct iommu_fault){NIC, 0x5000, true, false, false, 7};
    fake_iommu.fault_count = 1;
    for (i = 0; i < 3 && !p->over; i++) {
        fake_hw.tsc += 2 * PASS_POLL_NS;
        p->vcpus[0]->timer_due = true;
        fake_play(p->vcpus[0], NULL, 0);
    }
    MUST(p->over && !fake_partition(1)->over && fake_iommu.attached_count == 0);
}

static void test_unprotected(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"00:03.0\"]\ndma = \"unprotected\"") TWO(""), .no_iommu = true, .after = check_unprotected);
    assert_boots();
    assert_said("one: WARNING: dma = \"unprotected\"");
    BOOT(ONE("pci = [\"00:03.0\"]\ndma = \"unprotected\"") TWO(""), .before = no_remapping, .after = check_unprotected);
    assert_boots();
}

static void test_stop_on_fault(void **state) {
    (void)state;
    BOOT(ONE("pci = [\"00:03.0\"]\npci-fault = \"stop\"") TWO(""), .after = play_fault);
    assert_said("iommu: 00:03.0 of one: write at 0x5000 refused, reason 0x7");
    assert_said("one: stopped for a refused access of its device");
    assert_said("one: crashed");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_left_out),         cmocka_unit_test(test_misplaced),
        cmocka_unit_test(test_resets),           cmocka_unit_test(test_tables),
        cmocka_unit_test(test_unprotected),      cmocka_unit_test(test_stop_on_fault),
        cmocka_unit_test(test_console_function), cmocka_unit_test(test_far),
    };

    return cmocka_run_group_tests_name("core pci boot", tests, NULL, NULL);
}
