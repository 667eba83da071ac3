/* drivers/pci_sriov.c and pci_vf.c: virtual functions of a made-up network card, on the root bus and behind a port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "drivers/pci_scan.h"
#include "drivers/pci_sriov.h"
#include "drivers/pci_vf.h"

#define PORT   PCI_ID(0, 0, 2, 0)
#define ROOT   PCI_ID(0, 0, 5, 0) /* the card, on the root bus */
#define BEHIND PCI_ID(0, 3, 0, 0) /* or behind the port */
#define CAP    0x140u
#define ARI    0x100u
#define PCIE   0x80u
#define VFS    8u

enum { CARD, BRIDGE, FIRST_VF, SPACES = FIRST_VF + VFS };

static struct space {
    u32 id;
    u8 config[PCI_EXTENDED_BYTES], holds[PCI_EXTENDED_BYTES];
} spaces[SPACES];
static bool enabled;
static u32 count, order; /* of functions; of writes to the card's control register */
static u32 controls[16];
static struct pci_function functions[4];
static const struct pci_room room = {.low = 0xc0000000, .high = 0xfec00000, .low64 = GIB(8), .high64 = GIB(64)};
static char why[160];

static struct space *at(u32 id) {
    for (u32 i = 0; i < SPACES; i++)
        if (spaces[i].id == id && (i < FIRST_VF || enabled)) return &spaces[i];
    return NULL;
}

static void set(u32 i, u32 offset, u32 size, u32 value) { memcpy(&spaces[i].config[offset], &value, size); }
static u32 see(u32 i, u32 offset, u32 size) {
    u32 value = 0;

    memcpy(&value, &spaces[i].config[offset], size);
    return value;
}
static void hold(u32 i, u32 offset, u32 size, u32 bits) { memcpy(&spaces[i].holds[offset], &bits, size); }

static u32 on_read(void *ctx, u32 id, u32 offset, u32 size) {
    struct space *s = at(id);
    u32 value = 0;

    (void)ctx;
    if (!s) return 0xffffffffu >> (32 - 8 * size);
    memcpy(&value, &s->config[offset], size);
    return value;
}

static void on_write(void *ctx, u32 id, u32 offset, u32 size, u32 value) {
    struct space *s = at(id);

    (void)ctx;
    if (!s) return;
    for (u32 i = 0; i < size; i++) {
        u8 bits = s->holds[offset + i];

        s->config[offset + i] = (u8)((s->config[offset + i] & ~bits) | (value >> 8 * i & bits));
    }
    if (s != &spaces[CARD] || offset != CAP + SRIOV_CONTROL) return;
    assert_true(order < ARRAY_SIZE(controls));
    controls[order++] = value;
    /* With ARI they follow at once; without, another device number is used. */
    set(CARD, CAP + SRIOV_OFFSET, 2, value & SRIOV_ARI || id == ROOT ? 1 : 0x80);
    enabled = (value & SRIOV_ENABLE) != 0;
}

static const struct pci_access access = {.read = on_read, .write = on_write};

static void vf_bar(u32 i, u64 bytes, u32 type) {
    set(CARD, CAP + SRIOV_BARS + 4 * i, 4, type);
    hold(CARD, CAP + SRIOV_BARS + 4 * i, 4, (u32)(0 - bytes) & ~0xfu);
    if (type & 4) hold(CARD, CAP + SRIOV_BARS + 4 * i + 4, 4, (u32)((0 - bytes) >> 32));
}

static void prepare(u32 id) {
    memset(spaces, 0, sizeof(spaces));
    memset(functions, 0, sizeof(functions));
    memset(controls, 0, sizeof(controls));
    enabled = false;
    order = 0;
    spaces[CARD].id = id;
    set(CARD, ARI, 4, PCI_EXT_ARI | 1 << 16 | CAP << 20);
    set(CARD, CAP, 4, PCI_EXT_SRIOV | 1 << 16);
    set(CARD, CAP + 0x0c, 2, VFS);
    set(CARD, CAP + SRIOV_TOTAL, 2, VFS);
    set(CARD, CAP + SRIOV_STRIDE, 2, 1);
    set(CARD, CAP + SRIOV_DEVICE, 2, 0x10ca);
    set(CARD, CAP + SRIOV_PAGE_SIZES, 4, 0x553);
    set(CARD, CAP + SRIOV_PAGE_SIZE, 4, 2);
    hold(CARD, CAP + SRIOV_PAGE_SIZE, 4, 0x553);
    hold(CARD, CAP + SRIOV_NUMBER, 2, 0xffff);
    hold(CARD, CAP + SRIOV_CONTROL, 2, 0x1f);
    vf_bar(0, KIB(16), 0xc);
    vf_bar(3, KIB(16), 0);
    spaces[BRIDGE].id = PORT;
    set(BRIDGE, PCIE + 0x24, 4, 0x20);
    hold(BRIDGE, PCIE + 0x28, 2, 0xffff);
    set(BRIDGE, 0x20, 4, 0xfd0ffd00); /* 0xfd000000 to 0xfd0fffff */
    set(BRIDGE, 0x24, 4, 0x00110001); /* 64-bit, 0x4_0000_0000 to 0x4_001f_ffff */
    set(BRIDGE, 0x28, 4, 4);
    set(BRIDGE, 0x2c, 4, 4);
    functions[0] = (struct pci_function){.id = id, .vendor = 0x8086, .device = 0x10c9, .sriov = CAP};
    functions[1] = (struct pci_function){.id = PORT, .header = 1, .secondary = 3, .subordinate = 3, .pcie = PCIE};
    functions[2] = (struct pci_function){.id = PCI_ID(0, 0, 9, 0)};
    count = 3;
    for (u32 n = 0; n < VFS; n++) {
        u32 i = FIRST_VF + n;

        spaces[i].id = id + 1 + n;
        set(i, 0, 4, 0xffffffff); /* SR-IOV 1.1, VF Configuration Space: ids are the physical function's */
        set(i, PCI_REG_REVISION, 4, 0x02000001);
        set(i, PCI_REG_SUBSYSTEM, 4, 0xa03c8086);
        set(i, PCI_REG_STATUS, 2, PCI_STATUS_CAPABILITY);
        set(i, PCI_REG_CAPABILITIES, 1, 0x70);
        set(i, 0x70, 4, PCI_CAP_MSIX | 0xa0 << 8 | 2 << 16);
        set(i, 0x74, 4, 3);
        set(i, 0x78, 4, 0x2003);
        set(i, 0xa0, 4, PCI_CAP_PCIE);
        set(i, 0xa4, 4, BIT(28));
        hold(i, PCI_REG_COMMAND, 2, PCI_COMMAND_MASTER);
    }
}

static int plan(u32 vfs) {
    why[0] = 0;
    return pci_sriov_plan(&access, &functions[0], vfs, functions, count, &room, why, sizeof(why));
}

static void test_root_bus(void **state) {
    const struct pci_vfs *v = &functions[0].vfs;

    (void)state;
    prepare(ROOT);
    assert_int_equal(0, plan(4));
    assert_int_equal(4, v->count);
    assert_int_equal(ROOT + 1, v->first);
    assert_int_equal(1, v->stride);
    assert_int_equal(0x10ca, v->device);
    assert_false(v->ari);
    assert_true(v->bars[0].bytes == KIB(16) && v->bars[0].wide && v->bars[0].prefetch && !v->bars[0].io);
    assert_true(v->bars[3].bytes == KIB(16) && !v->bars[3].wide && !v->bars[3].prefetch);
    assert_true(!v->bars[1].bytes && !v->bars[2].bytes && !v->bars[4].bytes && !v->bars[5].bytes);
    assert_true(v->bars[0].base == 0xfec00000 - KIB(64)); /* of four */
    assert_true(v->bars[3].base == 0xfec00000 - KIB(128));
    assert_false(enabled);
}

/* SR-IOV 1.1, VF Enable: number, page size and BARs are set before. */
static void test_enable(void **state) {
    (void)state;
    prepare(ROOT);
    assert_int_equal(0, plan(4));
    functions[0].pcie = PCIE;
    functions[0].control = 0x5950;
    set(CARD, PCIE + PCI_PCIE_CONTROL, 2, 0x595f);
    hold(CARD, PCIE + PCI_PCIE_CONTROL, 2, 0xffff);
    pci_sriov_enable(&access, &functions[0]);
    assert_true(enabled);
    assert_int_equal(0x5950, see(CARD, PCIE + PCI_PCIE_CONTROL, 2)); /* no errors are reported for them */
    assert_int_equal(SRIOV_ENABLE | SRIOV_MEMORY, controls[order - 1]);
    for (u32 i = 0; i + 1 < order; i++) assert_int_equal(0, controls[i]);
    assert_int_equal(4, see(CARD, CAP + SRIOV_NUMBER, 2));
    assert_int_equal(1, see(CARD, CAP + SRIOV_PAGE_SIZE, 4));
    assert_int_equal(0xfebf000c, see(CARD, CAP + SRIOV_BARS, 4));
    assert_int_equal(0, see(CARD, CAP + SRIOV_BARS + 4, 4));
    assert_int_equal(0xfebe0000, see(CARD, CAP + SRIOV_BARS + 12, 4));
    /* A reset of the card ends them; then again. */
    enabled = false;
    set(CARD, CAP + SRIOV_NUMBER, 2, 0);
    set(CARD, CAP + SRIOV_BARS, 4, 0xc);
    pci_sriov_enable(&access, &functions[0]);
    assert_true(enabled);
    assert_int_equal(4, see(CARD, CAP + SRIOV_NUMBER, 2));
    assert_int_equal(0xfebf000c, see(CARD, CAP + SRIOV_BARS, 4));
}

static void test_function(void **state) {
    struct pci_function f;

    (void)state;
    prepare(ROOT);
    assert_int_equal(0, plan(4));
    pci_sriov_enable(&access, &functions[0]);
    set(FIRST_VF + 2, ARI, 4, PCI_EXT_ACS | 1 << 16);
    set(FIRST_VF + 2, ARI + 4, 2, PCI_ACS_FUNCTION);
    pci_sriov_function(&access, &functions[0], 2, &f);
    assert_int_equal(ARI, functions[0].vfs.acs);
    assert_int_equal(ROOT + 3, f.id);
    assert_true(f.virtual && f.physical == ROOT && f.header == 0 && !f.multifunction && f.pin == 0);
    assert_true(f.vendor == 0x8086 && f.device == 0x10ca);
    assert_true(f.subsystem_vendor == 0x8086 && f.subsystem == 0xa03c);
    assert_true(f.class_code == 0x020000 && f.revision == 1);
    assert_true(f.flr && f.pcie == 0xa0 && f.msix == 0x70 && f.msix_entries == 3 && f.msix_bar == 3);
    assert_true(f.bars[0].base == 0xfebf0000 + 2 * KIB(16) && f.bars[0].bytes == KIB(16) && f.bars[0].wide);
    assert_true(f.bars[3].base == 0xfebe0000 + 2 * KIB(16));
    assert_true(!f.bars[1].bytes && f.bars[1].base == 0 && !f.rom.bytes && !f.vfs.count);
}

static void test_in_use(void **state) {
    (void)state;
    prepare(ROOT);
    assert_false(pci_sriov_in_use(&access, &functions[0])); /* none */
    assert_int_equal(0, plan(4));
    assert_false(pci_sriov_in_use(&access, &functions[0])); /* nobody answers: ones */
    pci_sriov_enable(&access, &functions[0]);
    assert_false(pci_sriov_in_use(&access, &functions[0]));
    set(FIRST_VF + 4, PCI_REG_COMMAND, 2, PCI_COMMAND_MASTER); /* of those not wanted */
    assert_false(pci_sriov_in_use(&access, &functions[0]));
    set(FIRST_VF + 3, PCI_REG_COMMAND, 2, PCI_COMMAND_MASTER);
    assert_true(pci_sriov_in_use(&access, &functions[0]));
}

/* ARI: the port is told to forward all function numbers, the card that it does. */
static void test_behind_port(void **state) {
    const struct pci_vfs *v = &functions[0].vfs;

    (void)state;
    prepare(BEHIND);
    assert_int_equal(0, plan(8));
    assert_true(v->ari && v->first == BEHIND + 1);
    assert_int_equal(0x20, see(BRIDGE, PCIE + 0x28, 2));
    assert_true(v->bars[0].base == 0x400200000 - KIB(128)); /* in the port's windows */
    assert_true(v->bars[3].base == 0xfd100000 - KIB(128));
    pci_sriov_enable(&access, &functions[0]);
    assert_int_equal(SRIOV_ENABLE | SRIOV_MEMORY | SRIOV_ARI, controls[order - 1]);
    /* What may be prefetched goes into the other window as well. */
    prepare(BEHIND);
    set(BRIDGE, 0x24, 4, 0x0000fff0);
    assert_int_equal(0, plan(8));
    assert_true(v->bars[0].base == 0xfd100000 - KIB(128));
    assert_true(v->bars[3].base == 0xfd100000 - KIB(256));
    prepare(BEHIND);
    vf_bar(0, KIB(256), 4); /* not prefetchable */
    assert_int_equal(-E_NOMEM, plan(8));
    assert_string_equal("there is no room for 2097152 bytes of memory of its virtual functions", why);
    assert_int_equal(0, v->count);
    /* Without ARI, the numbers are what the card says then. */
    prepare(BEHIND);
    set(BRIDGE, PCIE + 0x24, 4, 0);
    assert_int_equal(0, plan(2));
    assert_true(!v->ari && v->first == BEHIND + 0x80);
    prepare(BEHIND);
    set(BRIDGE, 0x20, 4, 0x0000fff0); /* base above limit: closed */
    set(BRIDGE, 0x24, 4, 0x0000fff0);
    assert_int_equal(-E_NOMEM, plan(1));
}

static void test_room(void **state) {
    const struct pci_bar ecam = {.base = 0xe0000000, .bytes = MIB(256)};
    struct pci_vfs *v = &functions[0].vfs;
    struct pci_room small = room;

    (void)state;
    /* Around BARs, ROMs, bridges' windows, virtual functions of others. */
    prepare(ROOT);
    functions[2].bars[1] = (struct pci_bar){.base = 0xfebff000, .bytes = KIB(4)};
    functions[2].bars[2] = (struct pci_bar){.base = 0xfebe0000, .bytes = KIB(4), .io = true};
    functions[2].rom = (struct pci_bar){.base = 0xfebc0000, .bytes = KIB(64)};
    assert_int_equal(0, plan(1));
    assert_true(v->bars[0].base == 0xfebf8000 && v->bars[3].base == 0xfebf4000);
    prepare(ROOT);
    functions[2].bars[1] = (struct pci_bar){.base = 0xfd100000, .bytes = 0x1b00000};
    functions[2].vfs = (struct pci_vfs){.count = 4, .bars = {{.base = 0xfcfe0000, .bytes = KIB(32)}}};
    assert_int_equal(0, plan(1)); /* the port's window ends at 0xfd100000 */
    assert_true(v->bars[0].base == 0xfcfdc000 && v->bars[3].base == 0xfcfd8000);
    /* Wide ones go above everything if they must, others cannot. */
    prepare(ROOT);
    functions[2].bars[1] = (struct pci_bar){.base = 0xc0000000, .bytes = 0x20000000};
    functions[2].bars[2] = (struct pci_bar){.base = 0xf0000000, .bytes = 0xec00000 - KIB(32)};
    small.taken = &ecam;
    small.taken_count = 1;
    assert_int_equal(0, pci_sriov_plan(&access, &functions[0], 1, functions, count, &small, why, sizeof(why)));
    assert_true(v->bars[0].base == 0xfebfc000 && v->bars[3].base == 0xfebf8000);
    prepare(ROOT);
    vf_bar(0, KIB(64), 0xc);
    small.low = 0xfebf8000;
    assert_int_equal(0, pci_sriov_plan(&access, &functions[0], 2, functions, count, &small, why, sizeof(why)));
    assert_true(v->bars[0].base == GIB(64) - KIB(128) && v->bars[3].base == 0xfebf8000);
    prepare(ROOT);
    assert_int_equal(-E_NOMEM, pci_sriov_plan(&access, &functions[0], 3, functions, count, &small, why, sizeof(why)));
    small.low = small.high = small.low64 = small.high64 = 0;
    assert_int_equal(-E_NOMEM, pci_sriov_plan(&access, &functions[0], 1, functions, count, &small, why, sizeof(why)));
}

/* What firmware has placed stays, unless it is in the way. */
static void test_placed(void **state) {
    struct pci_vfs *v = &functions[0].vfs;
    struct pci_room small = room;

    (void)state;
    prepare(ROOT);
    set(CARD, CAP + SRIOV_BARS, 4, 0xd000000c);
    set(CARD, CAP + SRIOV_BARS + 12, 4, 0xd0004000);
    assert_int_equal(0, plan(2));
    assert_true(v->bars[0].base == 0xd0000000 && v->bars[3].base == 0xfec00000 - KIB(32));
    /* Not over memory, whoever has left it there; nor behind a port's windows, if there is one. */
    small.memory_top = GIB(6);
    for (u32 i = 0; i < 2; i++) {
        prepare(ROOT);
        set(CARD, CAP + SRIOV_BARS, 4, i ? 0xc : 0x0010000c);
        set(CARD, CAP + SRIOV_BARS + 4, 4, i); /* 1 MiB, then 4 GiB */
        assert_int_equal(0, pci_sriov_plan(&access, &functions[0], 2, functions, count, &small, why, sizeof(why)));
        assert_true(v->bars[0].base >= small.low && v->bars[0].base < GIB(4));
    }
    prepare(ROOT);
    set(CARD, CAP + SRIOV_BARS + 4, 4, 2); /* 8 GiB: behind it */
    assert_int_equal(0, pci_sriov_plan(&access, &functions[0], 2, functions, count, &small, why, sizeof(why)));
    assert_true(v->bars[0].base == GIB(8));
    prepare(BEHIND);
    set(CARD, CAP + SRIOV_BARS, 4, 0xd000000c);
    assert_int_equal(0, plan(2));
    assert_true(v->bars[0].base == 0x400200000 - KIB(32));
    prepare(ROOT);
    set(CARD, CAP + SRIOV_BARS, 4, 1); /* ports: none of a virtual function's */
    assert_int_equal(0, plan(2));
    assert_true(v->bars[0].bytes == 0);
}

static void test_refused(void **state) {
    (void)state;
    prepare(ROOT);
    assert_int_equal(-E_RANGE, plan(9));
    assert_string_equal("it has at most 8 virtual functions", why);
    assert_int_equal(-E_RANGE, plan(0));
    set(CARD, CAP + SRIOV_STRIDE, 2, 0);
    assert_int_equal(-E_OVERLAP, plan(2));
    assert_int_equal(0, plan(1));
    prepare(ROOT);
    functions[2].id = ROOT + 3; /* somebody is there */
    assert_int_equal(-E_OVERLAP, plan(3));
    assert_string_equal("the numbers of its virtual functions are taken, or on another bus", why);
    assert_int_equal(0, plan(2));
    prepare(ROOT);
    set(CARD, CAP + SRIOV_STRIDE, 2, 0xd7); /* the second is on the next bus */
    assert_int_equal(-E_OVERLAP, plan(2));
    prepare(ROOT);
    set(CARD, CAP + SRIOV_PAGE_SIZES, 4, 2);
    assert_int_equal(-E_UNSUPPORTED, plan(2));
    functions[0].sriov = 0;
    assert_int_equal(-E_UNSUPPORTED, plan(2));
    assert_string_equal("it has no SR-IOV capability", why);
    assert_int_equal(0, functions[0].vfs.count);
}

/* The IOMMU tells them apart; what shares a bus that does not isolate stays together. */
static void test_groups(void **state) {
    struct pci_function all[5];

    (void)state;
    prepare(ROOT);
    assert_int_equal(0, plan(2));
    pci_sriov_enable(&access, &functions[0]);
    memcpy(all, functions, sizeof(functions[0]) * 3);
    for (u32 n = 0; n < 2; n++) pci_sriov_function(&access, &all[0], n, &all[3 + n]);
    pci_group(all, 5);
    for (u32 i = 0; i < 5; i++) assert_int_equal(all[i].id, all[i].group);
    prepare(BEHIND);
    assert_int_equal(0, plan(2));
    pci_sriov_enable(&access, &functions[0]);
    memcpy(all, functions, sizeof(functions[0]) * 3);
    for (u32 n = 0; n < 2; n++) pci_sriov_function(&access, &all[0], n, &all[3 + n]);
    pci_group(all, 5);
    for (u32 i = 0; i < 5; i++) assert_int_equal(i == 2 ? all[2].id : PORT, all[i].group);
    all[1].acs = 0x148; /* a root port with access control */
    all[1].pcie_type = 4;
    pci_group(all, 5);
    for (u32 i = 0; i < 5; i++) assert_int_equal(all[i].id, all[i].group);
}

/* What the firmware has placed stays, unless eight of them do not fit there. */
static void test_placed_already(void **state) {
    (void)state;
    prepare(ROOT);
    set(CARD, CAP + SRIOV_BARS + 12, 4, 0xfe000000);
    assert_int_equal(0, plan(VFS));
    assert_int_equal(0xfe000000, functions[0].vfs.bars[3].base);
    prepare(ROOT);
    set(CARD, CAP + SRIOV_BARS + 12, 4, 0xffff0000); /* the fifth would begin at 4 GiB */
    assert_int_equal(0, plan(VFS));
    assert_true(functions[0].vfs.bars[3].base + VFS * KIB(16) <= 0xfec00000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root_bus), cmocka_unit_test(test_placed_already), cmocka_unit_test(test_enable),
        cmocka_unit_test(test_function), cmocka_unit_test(test_in_use),         cmocka_unit_test(test_behind_port),
        cmocka_unit_test(test_room),     cmocka_unit_test(test_refused),        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_placed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
