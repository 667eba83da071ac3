/* Memory that ends at every allocation of a boot with all that takes memory: PCI functions, an IOMMU, virtual
 * functions, NUMA nodes, a control device, a firmware image. From one page to enough, each size ends in a message or
 * starts. */
#include "test/unit/core_pci_boot.h"

#include "drivers/pci_vf.h"

#define FIRMWARE                                                                                                       \
    "[partition.rom]\ncpus = [2]\nmemory = \"2M\"\nkernel = \"rom\"\nformat = \"firmware\"\ncontrol = [\"*\"]\n"

#define ECAM     MIB(50)
#define PHYSICAL 0x30u /* 00:06.0; its virtual functions follow */
#define SRIOV    0x100u
#define EXPRESS  0x40u

static bool said(const char *text) { return strstr(console, text) != NULL; }

static u32 sizes; /* that were refused */

/* Boots with one page more each time. after_each: looks at a refusal. */
static void grow(struct boot b, void (*after_each)(void)) {
    sizes = 0;
    for (b.ram = PAGE_4K;; b.ram += PAGE_4K, sizes++) {
        boot(b);
        if (said("panic") || said("does not start")) fail_msg("at %llu: %s", (unsigned long long)b.ram, console);
        if (outcome == STOP_SCRIPT) return;
        if (outcome != STOP_HALT || !said("mullion: cannot start: too little memory") || !said("mullion: remedy: ") ||
            !said("mullion: halted"))
            fail_msg("at %llu, %d: %s", (unsigned long long)b.ram, outcome, console);
        if (after_each) after_each();
        if (b.ram > MIB(24)) fail_msg("24 MiB are not enough: %s", console);
    }
}

/* --- functions, an IOMMU, nodes, a firmware --- */

static bool iommu, behind_iommu, rom, home, tables;

static void look(void) {
    iommu |= said("iommu: pretends") && !said("partition one");
    behind_iommu |= said("one: 00:03.0: reset: flr");
    home |= said("memory for partition one");
    rom |= said("memory for the firmware of partition rom");
    tables |= said("rom: 1 vcpus");
}

static void test_devices(void **state) {
    static const struct node_range halves[] = {{0, MIB(16), 0}, {MIB(16), MIB(48), 1}};
    static const u32 cores[4] = {0, 0, 1, 1};

    (void)state;
    fake_numa = (struct numa){.ranges = halves, .range_count = 2, .core_nodes = cores, .core_count = 4};
    grow((struct boot){.config = ONE("pci = [\"00:03.0\", \"00:05.*\"]") TWO("pci = [\"00:04.0\"]") FIRMWARE,
                       .cores = 4},
         look);
    fake_numa = (struct numa){0};
    assert_true(iommu && behind_iommu && rom && home && tables);
    assert_said("rom: 1 vcpus");
}

/* --- virtual functions: their capability needs ECAM, which here is plain memory --- */

static u8 *space_of(u32 id) { return (u8 *)(DIRECT_BASE + ECAM + ((u64)id << 12)); }

static void put(u32 id, u32 offset, u32 size, u32 value) { memcpy(space_of(id) + offset, &value, size); }

static void make_ecam(void) {
    struct fake_function *bridge = fake_pci_at(0);

    /* Nothing else is on this bus: BARs of memory would be measured as 16 bytes each. */
    memset((void *)(DIRECT_BASE + ECAM), 0xff, MIB(1));
    for (u32 id = 0; id <= 0xff; id++) {
        struct fake_function *f = fake_pci_at(id);

        if (f && f != bridge) f->dead = true;
    }
    memset(space_of(0), 0, PCI_EXTENDED_BYTES);
    memcpy(space_of(0), bridge->config, PCI_CONFIG_BYTES);
    for (u32 n = 0; n <= 2; n++) {
        u32 id = PHYSICAL + n;

        memset(space_of(id), 0, PCI_EXTENDED_BYTES);
        put(id, PCI_REG_VENDOR, 4, n ? ~0u : 0x56781234);
        put(id, PCI_REG_REVISION, 4, 0x01080203);
        put(id, PCI_REG_STATUS, 2, PCI_STATUS_CAPABILITY);
        put(id, PCI_REG_CAPABILITIES, 1, EXPRESS);
        put(id, EXPRESS, 4, PCI_CAP_PCIE | 2 << 16);
        put(id, EXPRESS + 4, 4, 1 << 28); /* FLR */
    }
    put(PHYSICAL, SRIOV, 4, PCI_EXT_SRIOV | 1 << 16);
    put(PHYSICAL, SRIOV + SRIOV_TOTAL, 2, 2);
    put(PHYSICAL, SRIOV + SRIOV_OFFSET, 2, 1);
    put(PHYSICAL, SRIOV + SRIOV_STRIDE, 2, 1);
    put(PHYSICAL, SRIOV + SRIOV_PAGE_SIZES, 4, SRIOV_PAGES_4K);
    for (u32 i = 0; i < PCI_BARS; i++) { /* I/O space: virtual functions have none */
        put(PHYSICAL, SRIOV + SRIOV_BARS + 4 * i, 4, 1);
        put(PHYSICAL, PCI_REG_BAR0 + 4 * i, 4, 1);
        put(0, PCI_REG_BAR0 + 4 * i, 4, 1);
    }
    fake_acpi.mcfg[0] = (struct host_mcfg){.address = ECAM, .segment = 0, .first = 0, .last = 0};
    fake_acpi.mcfg_count = 1;
}

static bool before_virtual, behind_virtual;

static void look_virtual(void) {
    before_virtual |= !said("2 virtual functions enabled");
    behind_virtual |= said("2 virtual functions enabled");
}

static void owns_virtual(void) {
    MUST(fake_partition(0)->pci->count == 1 && fake_partition(1)->pci->count == 1);
    MUST(fake_partition(0)->pci->functions[0].real->virtual);
}

static void test_virtual(void **state) {
    (void)state;
    grow((struct boot){.config = "[machine]\nsriov = [{ function = \"00:06.0\", vfs = 2 }]\n" ONE("pci = [\"00:06.1\"]")
                           TWO("pci = [\"00:06.2\"]"),
                       .before = make_ecam,
                       .after = owns_virtual},
         look_virtual);
    assert_true(before_virtual && behind_virtual);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_virtual),
    };

    return cmocka_run_group_tests_name("core boot memory", tests, NULL, NULL);
}
