/* Functions of a running partition: its BARs in stage 2, its interrupts, resets, the end and the start of its DMA. */
#include <stdio.h>

#include "core/console.h"
#include "core/base/layout.h"
#include "core/traps.h"
#include "test/fake/core_fixture.h"
#include "drivers/lapic.h"
#include "test/fake/pci.h"

static const char config[] =
    "[machine]\nconsole = \"com1\"\n"
    "[partition.one]\ncpus = [0, 2]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\nload = 0x100000\n"
    "entry = 0x100000\nrestart = { on = \"always\" }\npci = [\"00:03.0 irq 20\", \"00:04.0\", \"8086:10d3#1 irq 21\"]\n"
    "[partition.two]\ncpus = [1]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\n"
    "load = 0x100000\nentry = 0x100000\ncontrol = [\"one\"]\n";

#define NIC      0x18u /* 00:03.0, the guest's device 1 */
#define DISK     0x20u /* 00:04.0, 2 */
#define LINED    0x29u /* 00:05.1, 3 */
#define RAM(at)  (MIB(40) + (at))
#define TABLE    RAM(0x11000)
#define NIC_PINS 17u
#define CONTROL  0x02

static struct fake_function *nic, *disk;
static struct partition *p;

static void make_bus(void) {
    struct fake_function *lined;

    fake_pci_add(0, 0x8086, 0x29c0, 0x060000);

    nic = fake_pci_add(NIC, 0x1234, 1, 0x020000);
    fake_pci_bar(nic, 0, KIB(16), 0, RAM(0));
    fake_pci_bar(nic, 1, KIB(16), 4, RAM(0x10000)); /* and 2 */
    fake_pci_bar(nic, 3, 32, 1, 0xc000);
    fake_pci_bar(nic, PCI_BARS, KIB(64), 0, RAM(0x20000));
    fake_pci_msi(nic, true, false);
    fake_pci_msix(nic, 4, 1, 0x1000);
    fake_pci_flr(nic);
    disk = fake_pci_add(DISK, 0x1234, 2, 0x010802);
    fake_pci_bar(disk, 0, MIB(2), 0, MIB(42));
    fake_pci_bar(disk, PCI_BARS, KIB(64), 0, 0); /* which the firmware left out */
    fake_pci_msi(disk, false, true);
    fake_pci_pm(disk);
    for (u32 i = 0; i < 2; i++) {
        lined = fake_pci_add(LINED - 1 + i, 0x8086, 0x10d3, 0x020000);
        fake_pci_bar(lined, 0, PAGE_4K, 0, RAM(0x40000 + i * PAGE_4K));
        fake_pci_flr(lined);
    }
}

static int setup(void **state) {
    (void)state;
    hardware_make();
    fake_iommu.present = true;
    make_bus();
    if (fake_boot(config, 3, MIB(32)) != STOP_SCRIPT) return -1;
    p = fake_partition(0);
    return 0;
}

/* --- what the guest does --- */

static u64 ecam(u32 device, u32 offset) { return GUEST_ECAM_BASE + (device << 15) + offset; }
static u32 get(u32 device, u32 offset, u32 size) { return partition_memory_read(v, ecam(device, offset), size); }
static void set(u32 device, u32 offset, u32 size, u32 value) {
    partition_memory_write(v, ecam(device, offset), size, value);
}
static u64 home(u32 device, u32 bar) { return p->pci->guest[device - 1].home[bar]; }
static struct pt_lookup seen(u64 at) { return pt_lookup(&p->pci->stage2, at); }
static void assert_seen(u64 guest, u64 real) {
    assert_int_equal(1, !!seen(guest).leaf_level);
    assert_int_equal(real, seen(guest).at.v);
    assert_int_equal(RIGHT_READ | RIGHT_WRITE, seen(guest).rights);
}
#define assert_hidden(at) assert_int_equal(0, seen(at).leaf_level)
static u32 real_entry(u32 entry, u32 word) { return ((u32 *)(TABLE + DIRECT_BASE))[entry * 4 + word]; }
static void entry(u32 number, u32 address, u32 data, u32 mask) {
    u64 at = home(1, 1) + 0x1000 + 16 * number;

    partition_memory_write(v, at, 4, address);
    partition_memory_write(v, at + 4, 4, 0);
    partition_memory_write(v, at + 8, 4, data);
    partition_memory_write(v, at + 12, 4, mask);
}
static void assert_interrupts(u8 host_vector, u8 vector) {
    play(EXIT(INTERRUPT, .vector = host_vector));
    assert_int_equal(vector, vlapic_pending(&v->lapic));
    vlapic_ack(&v->lapic, vector);
    partition_eoi(v, vector);
    v->lapic.isr_banks = v->lapic.irr_banks = 0;
}

/* --- start --- */

static void test_start(void **state) {
    (void)state;
    assert_int_equal(3, fake_iommu.attached_count);
    for (u32 i = 0; i < 3; i++) {
        struct pt dma = {
            .format = &pt_vtd, .mem = &p->pci->pool_mem, .max_leaf = 3, .root = fake_iommu.attached[i].root};

        assert_int_equal(1, fake_iommu.attached[i].domain);
        assert_int_equal(p->pieces[0].base.v + 0x100000, pt_lookup(&dma, 0x100000).at.v);
        assert_int_equal(0, pt_lookup(&dma, 0xfee00000).leaf_level);
        assert_int_equal(0, pt_lookup(&dma, MIB(2)).leaf_level);
    }
    assert_int_equal(1, fake_iommu.published);
    assert_true(nic->resets >= 1 && disk->resets >= 1);
    assert_int_equal(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_OFF, fake_pci_get(nic, 4, 2));
    assert_int_equal(RAM(0), fake_pci_get(nic, 0x10, 4));
    assert_true(fake_lines[20].routed && !fake_lines[20].masked && fake_lines[20].apic == v->host_apic);
    assert_int_equal(0, fake_pci_get(fake_pci_at(LINED - 1), 4, 2) & PCI_COMMAND_MASTER); /* nobody's */
    assert_int_equal(0, fake_pci_at(LINED - 1)->resets);
    assert_int_equal(0x00011234, get(1, 0, 4));
    assert_int_equal(0x10d38086, get(3, 0, 4));
    assert_int_equal(0xffffffff, get(4, 0, 4));
    /* What is used after the start is mapped on the partition's cores, and only there. */
    for (u32 core = 0; core < 3; core++) {
        assert_int_equal(core != 1, fake_lookup(core, p->pci->block.v + DIRECT_BASE).leaf_level != 0);
        assert_int_equal(core != 1, fake_lookup(core, TABLE + DIRECT_BASE).leaf_level != 0);
        assert_int_equal(0, fake_lookup(core, RAM(0) + DIRECT_BASE).leaf_level);
    }
}

/* --- BARs --- */

static void test_bars(void **state) {
    u64 low = home(1, 0), table = home(1, 1);

    (void)state;
    assert_hidden(low);
    set(1, 4, 2, PCI_COMMAND_MEMORY);
    assert_seen(low + 0x3000, RAM(0x3000));
    assert_seen(table, RAM(0x10000));
    assert_hidden(table + 0x1000); /* the MSI-X table */
    assert_seen(table + 0x2000, RAM(0x12000));
    set(1, 0x10, 4, 0xd0000000);
    assert_hidden(low);
    assert_seen(0xd0000000, RAM(0));
    assert_true(v->requests & REQUEST_FLUSH && fake_vcpu(1)->requests & REQUEST_FLUSH);
    go_on();
    assert_true(f->flushes > 0 && !(v->requests & REQUEST_FLUSH));
    set(1, 0x10, 4, 0x100000); /* over memory */
    assert_hidden(0xd0000000);
    assert_int_equal(p->pieces[0].base.v + 0x100000, seen(0x100000).at.v);
    set(1, 0x10, 4, GUEST_ECAM_BASE - KIB(8));
    set(1, 0x10, 4, 0xfec00000);
    set(1, 0x10, 4, 0xfee00000);
    set(1, 0x10, 4, 0xffffc000);
    assert_hidden(0xfec00000);
    assert_hidden(0xfee00000);
    assert_hidden(0xffffc000);
    set(1, 0x18, 4, 1); /* above 4 GiB, where there is no window */
    assert_hidden(table);
    assert_hidden(GIB(4) + (u32)table);
    set(1, 0x18, 4, 0);
    assert_seen(table, RAM(0x10000));
    set(1, 4, 2, 0);
    assert_hidden(table);
}

static void test_overlap(void **state) {
    u64 at = home(1, 0);

    (void)state;
    set(1, 4, 2, PCI_COMMAND_MEMORY);
    set(3, 4, 2, PCI_COMMAND_MEMORY);
    set(3, 0x10, 4, (u32)at + 0x1000);
    assert_seen(at + 0x1000, RAM(0x1000)); /* the first one stays */
    assert_hidden(home(3, 0));
    set(1, 0x10, 4, 0xe0000000);
    assert_seen(at + 0x1000, RAM(0x41000)); /* now the other one answers */
    set(3, 0x10, 4, 0xe0000000);
    assert_seen(0xe0000000, RAM(0));
}

static void test_rom(void **state) {
    u64 at = home(1, VPCI_ROM);

    (void)state;
    set(1, 4, 2, PCI_COMMAND_MEMORY);
    set(1, 0x30, 4, (u32)at | 1);
    assert_seen(at, RAM(0x20000));
    assert_int_equal(RAM(0x20000) | 1, fake_pci_get(nic, 0x30, 4));
    set(1, 0x30, 4, (u32)at);
    assert_hidden(at);
    assert_int_equal(RAM(0x20000), fake_pci_get(nic, 0x30, 4));
    /* Behind the address 0 is memory of the hypervisor. */
    set(2, 4, 2, PCI_COMMAND_MEMORY);
    set(2, 0x30, 4, 0xd0000001);
    assert_hidden(0xd0000000);
    assert_seen(home(2, 0), MIB(42));
}

/* A guest that uses up the tables harms itself until its restart, no longer. */
static void test_pool(void **state) {
    u64 at;

    (void)state;
    set(1, 4, 2, PCI_COMMAND_MEMORY);
    for (at = GUEST_PCI_HOLE; at < GUEST_ECAM_BASE - MIB(2); at += MIB(2)) set(1, 0x10, 4, (u32)at);
    assert_int_equal(p->pci->pool_pages, p->pci->pool_used);
    assert_hidden(at - MIB(2));
    fresh(NULL);
    for (u32 device = 1; device <= 3; device++) {
        set(device, 4, 2, PCI_COMMAND_MEMORY);
        assert_int_equal(1, !!seen(home(device, 0)).leaf_level);
    }
}

/* --- interrupts --- */

static void test_msix(void **state) {
    const struct fake_route *r;
    u32 apic;

    (void)state;
    v->lapic.svr |= 0x100;
    set(1, 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    entry(2, 0xfee00000, 0x41, 0);
    assert_null(fake_route_of(NIC, 2)); /* MSI-X is not enabled */
    set(1, nic->msix + CONTROL, 2, 0x8000);
    r = fake_route_of(NIC, 2);
    assert_non_null(r);
    assert_null(fake_route_of(NIC, 1));
    assert_int_equal(v->host_apic, r->apic);
    assert_int_equal(r->vector, fake_pci_deliver(real_entry(2, 0), real_entry(2, 2), &apic));
    assert_int_equal(0, real_entry(2, 3));
    assert_int_equal(1, real_entry(1, 3));
    assert_int_equal(0x8000, fake_pci_get(nic, nic->msix + CONTROL, 2) & 0xc000);
    assert_interrupts(r->vector, 0x41);
    {
        u8 vector = r->vector;

        entry(2, 0xfee01000, 0x42, 0); /* to the other vCPU */
        assert_int_equal(vector, r->vector);
        assert_int_equal(fake_vcpu(1)->host_apic, r->apic);
        fake_vcpu(1)->lapic.svr |= 0x100;
        play(EXIT(INTERRUPT, .vector = vector)); /* one that was on its way */
        assert_int_equal(-1, vlapic_pending(&v->lapic));
        assert_int_equal(0x42, vlapic_pending(&fake_vcpu(1)->lapic));
    }
    set(1, nic->msix + CONTROL, 2, 0xc000); /* the function's mask */
    assert_int_equal(1, real_entry(2, 3));
    set(1, nic->msix + CONTROL, 2, 0x8000);
    assert_int_equal(0, real_entry(2, 3));
    entry(2, 0x00100000, 0x42, 0); /* not a message to a local APIC */
    assert_int_equal(1, real_entry(2, 3));
}

static void test_trapped(void **state) {
    u64 table = home(1, 1) + 0x1000;
    u8 *real = (u8 *)(TABLE + DIRECT_BASE);
    u32 first = real_entry(0, 0), pending = 0x1234;

    (void)state;
    set(1, 4, 2, PCI_COMMAND_MEMORY);
    partition_memory_write(v, table + 8, 4, 0x55);
    assert_int_equal(0x55, partition_memory_read(v, table + 8, 4));
    assert_int_equal(0x55, partition_memory_read(v, table + 8, 1));
    partition_memory_write(v, table, 2, 0xffff);
    assert_int_equal(0, partition_memory_read(v, table, 4));
    memcpy(real + 0x40, &pending, 4); /* behind the table: the device's own */
    assert_int_equal(0x1234, partition_memory_read(v, table + 0x40, 4));
    assert_int_equal(0x12, partition_memory_read(v, table + 0x41, 1));
    partition_memory_write(v, table + 0x42, 2, 0xabcd);
    partition_memory_write(v, table + 0x80, 1, 0x99);
    assert_int_equal(0xabcd1234, partition_memory_read(v, table + 0x40, 4));
    assert_int_equal(0x99, real[0x80]);
    partition_memory_write(v, table + 0x3e, 4, 0xffffffff); /* across the table's end */
    assert_int_equal(0x1234, *(u16 *)(real + 0x40));
    assert_int_equal(0xffffffff, partition_memory_read(v, table + 0x3e, 4));
    assert_int_equal(first, real_entry(0, 0));
    set(1, 4, 2, 0);
    assert_int_equal(0xffffffff, partition_memory_read(v, table + 0x40, 4)); /* not decoded */
}

/* A function with both kinds: what is disabled is off at the device. */
static void test_msi(void **state) {
    u32 apic;

    (void)state;
    v->lapic.svr |= 0x100;
    set(1, 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    set(1, nic->msi + 4, 4, 0xfee00000);
    set(1, nic->msi + 12, 2, 0x51);
    set(1, nic->msi + CONTROL, 2, 1);
    assert_int_equal(1, fake_pci_get(nic, nic->msi + CONTROL, 2) & 1);
    assert_interrupts(fake_pci_deliver(fake_pci_get(nic, nic->msi + 4, 4), fake_pci_get(nic, nic->msi + 12, 2), &apic),
                      0x51);
    set(1, nic->msi + CONTROL, 2, 0);
    assert_int_equal(0, fake_pci_get(nic, nic->msi + CONTROL, 2) & 1);
    entry(0, 0xfee00000, 0x52, 0);
    set(1, nic->msix + CONTROL, 2, 0x8000);
    set(1, nic->msi + CONTROL, 2, 1); /* which nobody should do */
    assert_int_equal(0, fake_pci_get(nic, nic->msi + CONTROL, 2) & 1);
    assert_int_equal(0, real_entry(0, 3));
    set(1, nic->msix + CONTROL, 2, 0);
    assert_int_equal(0, fake_pci_get(nic, nic->msix + CONTROL, 2) & 0x8000);
    /* Maskable by itself: masked, it stays enabled, and pends there. */
    set(2, disk->msi + 4, 4, 0xfee00000);
    set(2, disk->msi + 8, 2, 0x53);
    set(2, disk->msi + CONTROL, 2, 1);
    assert_int_equal(0, fake_pci_get(disk, disk->msi + 12, 4));
    set(2, disk->msi + 12, 4, 1);
    assert_int_equal(1, fake_pci_get(disk, disk->msi + CONTROL, 2) & 1);
    assert_int_equal(0xffffffff, fake_pci_get(disk, disk->msi + 12, 4));
}

static void test_line(void **state) {
    u8 vector = fake_lines[20].vector;

    (void)state;
    v->lapic.svr |= 0x100;
    set(1, 4, 2, PCI_COMMAND_MASTER);
    assert_int_equal(0, fake_pci_get(nic, 4, 2) & PCI_COMMAND_INTX_OFF);
    set(2, 4, 2, PCI_COMMAND_MASTER); /* a function without a line cannot assert one */
    assert_int_equal(PCI_COMMAND_INTX_OFF, fake_pci_get(disk, 4, 2) & PCI_COMMAND_INTX_OFF);
    partition_ioapic_write(v, 0, 4, 0x10 + 2 * NIC_PINS);
    partition_ioapic_write(v, 0x10, 4, 0xa061); /* level, active low */
    play(EXIT(INTERRUPT, .vector = vector));
    assert_true(fake_lines[20].masked && !fake_lines[21].masked);
    assert_int_equal(fake_hw.eois, fake_lines[20].masked_at + 1); /* before it is ended: it would come again */
    assert_int_equal(0x61, vlapic_pending(&v->lapic));
    vlapic_ack(&v->lapic, 0x61);
    partition_eoi(v, 0x61);
    assert_false(fake_lines[20].masked);
    play(EXIT(INTERRUPT, .vector = 0x90)); /* of nobody */
    assert_false(fake_lines[20].masked || fake_lines[21].masked);
}

/* --- resets --- */

static void test_guest_reset(void **state) {
    u32 resets = nic->resets;

    (void)state;
    set(1, 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    set(1, 0x10, 4, 0xd0000000);
    entry(1, 0xfee00000, 0x41, 0);
    set(1, nic->msix + CONTROL, 2, 0x8000);
    set(1, nic->pcie + 8, 2, 0x8000);
    assert_int_equal(resets + 1, nic->resets);
    assert_hidden(0xd0000000);
    assert_int_equal(home(1, 0), get(1, 0x10, 4));
    assert_int_equal(1, real_entry(1, 3));
    assert_false(fake_pci_get(nic, nic->msix + CONTROL, 2) & 0x8000 || fake_pci_get(nic, 4, 2) & PCI_COMMAND_MASTER);
    assert_int_equal(RAM(0), fake_pci_get(nic, 0x10, 4));
    assert_true(fake_lines[20].routed && !fake_lines[20].masked); /* its line works as before */
    assert_int_equal(3, fake_iommu.attached_count);
}

static char trace[64];
static bool secret(void) { return !memcmp(gmem_ptr(&p->memory, gpa(0x50000), 6, false), "secret", 6); }
static void on_detach(u32 id) { snprintf(trace + strlen(trace), 16, "-%x%c", id, secret() ? 's' : 'c'); }
static void on_attach(u32 id) { snprintf(trace + strlen(trace), 16, "+%x%c", id, secret() ? 's' : 'c'); }

/* A function at work and something to hide, before the partition ends. Returns the vector of the function's message. */
static u8 leave_traces(void) {
    set(1, 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    entry(1, 0xfee00000, 0x41, 0);
    set(1, nic->msix + CONTROL, 2, 0x8000);
    put(0x50000, "secret", 6);
    trace[0] = 0;
    fake_iommu.on_detach = on_detach;
    fake_iommu.on_attach = on_attach;
    fake_forget();
    return fake_route_of(NIC, 1)->vector;
}
static void assert_no_traces(void) {
    fake_iommu.on_detach = fake_iommu.on_attach = NULL;
    assert_string_equal("-18s-20s-29s+18c+20c+29c", trace);
    assert_hidden(home(1, 0));
    assert_null(fake_route_of(NIC, 1));
    assert_int_equal(-1, vlapic_pending(&v->lapic));
}

static void test_restart(void **state) {
    u8 vector = leave_traces();

    (void)state;
    fresh(NULL);
    assert_non_null(strstr(fake_done, "reset 18, detach 18, reset 20, detach 20, reset 29, detach 29, reset 18"));
    v->lapic.svr |= 0x100;
    play(EXIT(INTERRUPT, .vector = vector)); /* left over */
    assert_no_traces();
}

static void order(const char *text) {
    struct vcpu *two = fake_partition(1)->vcpus[0];

    fake_on_core(1);
    for (; *text; text++) partition_port_out(two, 0x2f8, 1, (u8)*text);
    while (partition_port_in(two, 0x2fd, 1) & 1) (void)partition_port_in(two, 0x2f8, 1);
    fake_on_core(0);
}

/* Another partition stops this one: DMA is closed then, and not when it is started again. */
static void test_ordered(void **state) {
    const struct vm_exit kick = EXIT(INTERRUPT, .vector = VECTOR_CONTROL);
    u8 vector = leave_traces();

    (void)state;
    order("stop one\n");
    assert_int_equal(STOP_IDLE, fake_play(v, &kick, 1));
    assert_string_equal("-18s-20s-29s", trace);
    assert_true(!fake_iommu.attached_count && !(fake_pci_get(nic, 4, 2) & PCI_COMMAND_MASTER));
    fake_hw.tsc += 2 * PASS_POLL_NS;
    host_interrupt(vector);
    host_interrupt(VECTOR_TIMER), assert_int_equal(STOP_IDLE, fake_play(v, NULL, 0));
    order("start one\n");
    host_interrupt(VECTOR_CONTROL);
    assert_int_equal(STOP_SCRIPT, fake_play(v, NULL, 0));
    assert_no_traces();
    fake_play(p->vcpus[1], NULL, 0);
}

/* --- the rest of the machine --- */

/* The console's line goes through the IOMMU: the core of a partition without devices can route it all the same. */
static void test_console(void **state) {
    struct vcpu *two = fake_partition(1)->vcpus[0];

    (void)state;
    fake_on_core(1);
    console_set_focus(fake_partition(1)->input);
    assert_int_equal(two->host_apic, fake_hw.routed_to);
    console_set_focus(p->input);
    fake_on_core(0);
}

static void poll(void) {
    fake_hw.tsc += 2 * PASS_POLL_NS;
    go_on_for(40);
}

static void test_faults(void **state) {
    u32 told = fake_iommu.faults_told, restarts = p->restarts;

    (void)state;
    for (u32 i = 0; i < 16; i++)
        fake_iommu.faults[i] = (struct iommu_fault){i & 1 ? DISK : 0x28, 0x123000 + i, i & 2, i == 3, false, 5};
    fake_iommu.faults[1].lost = true;
    fake_iommu.fault_count += 10;
    poll();
    assert_true(said("iommu: 00:05.0 of nobody: read at 0x123000 refused, reason 0x5\r\n"));
    assert_true(said("00:04.0 of one: read at 0x123001 refused, reason 0x5; others after it are not recorded\r\n"));
    assert_true(said("iommu: 00:04.0 of one: interrupt at 0x123003 refused"));
    assert_false(said("at 0x123008") || said("at 0x123009"));
    assert_true(said("iommu: 1 more refused to one\r\n") && said("iommu: 1 more refused to nobody\r\n"));
    assert_int_equal(told + 10, fake_iommu.faults_told); /* all of them count */
    fake_iommu.fault_count += 100;
    go_on();
    assert_int_equal(told + 10, fake_iommu.faults_told); /* not before it is time, nor without end */
    poll();
    assert_int_equal(told + 74, fake_iommu.faults_told);
    assert_int_equal(restarts, p->restarts);
    /* And those that the hardware still has when the partition ends. */
    fake_iommu.fault_count = fake_iommu.faults_told + 166;
    partition_end(p, END_RESET);
    go_on();
    assert_true(said("one: 00:04.0: refused 60 reads, 45 writes, 15 interrupts\r\n"));
    hardware_forget_console();
    partition_end(p, END_RESET);
    go_on();
    assert_false(said("refused"));
}

/* The last one: the IOMMU does not confirm that it has closed. */
static void test_stuck(void **state) {
    (void)state;
    put(0x50000, "secret", 6);
    fake_iommu.stuck = DISK;
    partition_end(p, END_RESET);
    assert_int_equal(STOP_HALT, fake_play(v, NULL, 0));
    assert_true(said("one: 00:04.0: the IOMMU does not confirm that its DMA is closed\r\n"));
    assert_true(p->over && secret());
    assert_int_equal(CONTROL_BROKEN, p->control->word); /* nor can another partition start it */
    assert_false(fake_partition(1)->over);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_start, fresh),   cmocka_unit_test_setup(test_bars, fresh),
        cmocka_unit_test_setup(test_overlap, fresh), cmocka_unit_test_setup(test_rom, fresh),
        cmocka_unit_test_setup(test_pool, fresh),    cmocka_unit_test_setup(test_msix, fresh),
        cmocka_unit_test_setup(test_trapped, fresh), cmocka_unit_test_setup(test_msi, fresh),
        cmocka_unit_test_setup(test_line, fresh),    cmocka_unit_test_setup(test_guest_reset, fresh),
        cmocka_unit_test_setup(test_restart, fresh), cmocka_unit_test_setup(test_ordered, fresh),
        cmocka_unit_test_setup(test_console, fresh), cmocka_unit_test_setup(test_faults, fresh),
        cmocka_unit_test_setup(test_stuck, fresh),
    };

    return cmocka_run_group_tests_name("core pci", tests, setup, NULL);
}
