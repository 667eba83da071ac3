/* drivers/pci.c: what a reset takes and what comes back, and that the reset of a physical function does not come in
 * between when another core starts to use a virtual one. Configuration space is made up; each function has 256 bytes of
 * it, behind the ports, with what is an extended capability elsewhere among them. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "drivers/pci.c"

#define PHYSICAL PCI_ID(0, 0, 5, 0)
#define VIRTUAL  PCI_ID(0, 0, 5, 1) /* and the next one */
#define VFS      2u
#define BRIDGE   PCI_ID(0, 0, 6, 0)
#define BELOW    PCI_ID(0, 1, 0, 0)
#define PCIE     0x40u
#define MSI      0x70u
#define MSIX     0x88u
#define ACS      0x98u
#define AF       0x80u
#define SRIOV    0xa0u
#define RBAR     0xa0u /* of the one below a bridge */

enum { AT_PHYSICAL, AT_VIRTUAL, AT_BRIDGE = AT_VIRTUAL + VFS, AT_BELOW, SPACES };

static struct space {
    u32 id, resets;
    u8 config[PCI_CONFIG_BYTES];
} spaces[SPACES];
static u32 address;
static u64 waited;
static void (*on_wait)(void); /* once, while something is waited for */

static u32 see(u32 i, u32 offset, u32 size) {
    u32 value = 0;

    memcpy(&value, &spaces[i].config[offset], size);
    return value;
}
static void set(u32 i, u32 offset, u32 size, u32 value) { memcpy(&spaces[i].config[offset], &value, size); }

static void reset_space(u32 i) {
    const u32 ids = see(i, PCI_REG_VENDOR, 4);

    memset(spaces[i].config, 0, PCI_CONFIG_BYTES);
    set(i, PCI_REG_VENDOR, 4, ids);
    spaces[i].resets++;
    for (u32 n = 0; i == AT_PHYSICAL && n < VFS; n++) reset_space(AT_VIRTUAL + n);
}

/* Virtual functions are there while they are enabled. */
static struct space *selected(void) {
    for (u32 i = 0; i < SPACES; i++) {
        if (spaces[i].id != (address >> 8 & 0xffff)) continue;
        if (i >= AT_VIRTUAL && i < AT_BRIDGE && !(see(AT_PHYSICAL, SRIOV + SRIOV_CONTROL, 2) & SRIOV_ENABLE)) break;
        return &spaces[i];
    }
    return NULL;
}

u32 fake_port_in(u16 port, u32 size) {
    const struct space *s = selected();
    u32 value = ~0u >> (32 - 8 * size);

    if (s) value = see((u32)(s - spaces), (address & 0xfc) + (port & 3), size);
    return value;
}

void fake_port_out(u16 port, u32 size, u32 value) {
    struct space *s = selected();
    u32 offset = (address & 0xfc) + (port & 3), i = (u32)(s - spaces);

    if (port == ADDRESS) {
        address = value;
        return;
    }
    if (!s) return;
    /* PCI Express Base 4.0, Resizable BAR Control Register: the BAR's address is undefined after a change of its size.
     */
    if (i == AT_BELOW && offset == RBAR + 8) set(i, PCI_REG_BAR0, 4, 0);
    set(i, offset, size, value);
    if (i == AT_PHYSICAL && offset == PCIE + PCI_PCIE_CONTROL && (value & PCIE_START_FLR)) reset_space(i);
    if (i == AT_BELOW && offset == AF + AF_CONTROL && (value & 1)) reset_space(i);
    if (i == AT_BRIDGE && offset == PCI_REG_BRIDGE_CONTROL && (value & BUS_RESET)) reset_space(AT_BELOW);
}

void cpu_pause(void) { usleep(100); }

void clock_wait_us(u64 us) {
    void (*now)(void) = on_wait;

    waited += us;
    on_wait = NULL;
    if (now) now();
}

/* --- the functions as discovery found them --- */

static const struct host_acpi acpi;
static struct pci_function physical, virtual, bridge, below;

static int begin(void **unused) {
    static const u32 ids[SPACES] = {PHYSICAL, VIRTUAL, VIRTUAL + 1, BRIDGE, BELOW};

    (void)unused;
    memset(spaces, 0, sizeof(spaces));
    for (u32 i = 0; i < SPACES; i++) {
        spaces[i].id = ids[i];
        set(i, PCI_REG_VENDOR, 4, 0x11111234);
    }
    waited = 0;
    on_wait = NULL;
    pci_setup(&acpi, true);
    physical = (struct pci_function){.id = PHYSICAL,
                                     .bars = {{.base = 0xe0000000, .bytes = KIB(16), .wide = true}},
                                     .pcie = PCIE,
                                     .flr = true,
                                     .sriov = SRIOV,
                                     .vfs = {.first = VIRTUAL, .stride = 1, .count = VFS}};
    physical.vfs.acs = ACS;
    physical.vfs.bars[0] = (struct pci_bar){.base = 0xe0100000, .bytes = KIB(16)};
    virtual = (struct pci_function){.id = VIRTUAL, .virtual = true, .physical = PHYSICAL};
    bridge = (struct pci_function){.id = BRIDGE, .header = 1, .secondary = 1, .subordinate = 1};
    below = (struct pci_function){
        .id = BELOW,
        .bars = {{.base = 0xe0200000, .bytes = KIB(4)}, {.base = 0xc000, .bytes = 32, .io = true}},
        .rom = {.base = 0xe0300000, .bytes = KIB(64)},
        .pcie = PCIE,
        .acs = ACS,
        .rbar = RBAR,
        .rbars = 2,
        .sizes = {0xc40, 0xa02},
        .control = 0x5957,
        .control2 = 0x0409,
        .msi = MSI,
        .msix = MSIX};
    pci_sriov_enable(&pci_machine, &physical);
    return 0;
}

/* --- a bus --- */

static void test_bus(void **unused) {
    (void)unused;
    set(AT_BELOW, MSI + 2, 2, 1);
    assert_int_equal(0, pci_reset(&below, &bridge));
    assert_int_equal(1, spaces[AT_BELOW].resets);
    assert_int_equal(0, see(AT_BRIDGE, PCI_REG_BRIDGE_CONTROL, 2));
    assert_true(waited >= RESET_US);
    assert_int_equal(0xe0200000, see(AT_BELOW, PCI_REG_BAR0, 4));
    assert_int_equal(0xc40, see(AT_BELOW, RBAR + 8, 4));
    assert_int_equal(0xa02, see(AT_BELOW, RBAR + 16, 4));
    assert_int_equal(0xc000, see(AT_BELOW, PCI_REG_BAR0 + 4, 4));
    assert_int_equal(0xe0300000, see(AT_BELOW, PCI_REG_ROM, 4));
    assert_int_equal(0x5957, see(AT_BELOW, PCIE + PCI_PCIE_CONTROL, 2));
    assert_int_equal(0x0409, see(AT_BELOW, PCIE + PCI_PCIE_CONTROL2, 2));
    assert_int_equal(PCI_ACS_FUNCTION, see(AT_BELOW, ACS + PCI_ACS_CONTROL, 2));
    assert_int_equal(0, see(AT_BELOW, MSI + 2, 2));
    assert_int_equal(PCI_COMMAND_INTX_OFF | PCI_COMMAND_IO | PCI_COMMAND_MEMORY, see(AT_BELOW, PCI_REG_COMMAND, 2));
    /* A bridge that carries others resets nobody. */
    assert_int_equal(-E_UNSUPPORTED, pci_reset(&below, NULL));
    assert_int_equal(1, spaces[AT_BELOW].resets);
}

/* One that asks to come again, and goes on to ask. */
static void test_busy(void **unused) {
    (void)unused;
    set(AT_BELOW, PCI_REG_VENDOR, 4, 0xffff0001);
    assert_int_equal(-E_TIMEOUT, pci_reset(&below, &bridge));
    assert_in_range(waited, READY_US, 2 * READY_US);
    assert_int_equal(0, see(AT_BELOW, PCI_REG_BAR0, 4)); /* left alone */
}

/* Advanced Features, of a function whose PCI Express has no such reset; first comes what it still waits for. */
static void has_got_all(void) { set(AT_BELOW, AF + AF_STATUS, 1, 0); }

static void test_advanced_features(void **unused) {
    (void)unused;
    below.af = AF;
    below.flr = below.flr_by_af = true;
    set(AT_BELOW, AF + AF_STATUS, 1, AF_PENDING);
    on_wait = has_got_all;
    assert_int_equal(0, pci_reset(&below, NULL));
    assert_int_equal(1, spaces[AT_BELOW].resets);
    assert_int_equal(STEP_US + RESET_US, waited);
    set(AT_BELOW, AF + AF_STATUS, 1, AF_PENDING); /* that never ends */
    assert_int_equal(0, pci_reset(&below, NULL));
    assert_int_equal(2, spaces[AT_BELOW].resets);
}

/* --- virtual functions --- */

static void assert_enabled(u32 command) {
    assert_int_equal(SRIOV_ENABLE | SRIOV_MEMORY, see(AT_PHYSICAL, SRIOV + SRIOV_CONTROL, 2));
    assert_int_equal(VFS, see(AT_PHYSICAL, SRIOV + SRIOV_NUMBER, 2));
    assert_int_equal(0xe0100000, see(AT_PHYSICAL, SRIOV + SRIOV_BARS, 4));
    assert_int_equal(command, see(AT_VIRTUAL, PCI_REG_COMMAND, 2));
}

static void use(void) { put(VIRTUAL, PCI_REG_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER); }

/* They come back, unless one is in use: then it is left alone. */
static void test_physical(void **unused) {
    (void)unused;
    assert_int_equal(0, pci_reset(&physical, NULL));
    assert_int_equal(1, spaces[AT_PHYSICAL].resets);
    assert_enabled(PCI_COMMAND_INTX_OFF | PCI_COMMAND_MEMORY);
    for (u32 n = 0; n < VFS; n++) assert_int_equal(PCI_ACS_FUNCTION, see(AT_VIRTUAL + n, ACS + PCI_ACS_CONTROL, 2));
    use();
    assert_int_equal(PCI_LEFT_OUT, pci_reset(&physical, NULL));
    assert_int_equal(1, spaces[AT_PHYSICAL].resets);
    assert_enabled(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* A virtual function without ids: what its status is tells. */
static void test_virtual(void **unused) {
    (void)unused;
    virtual.flr = true;
    virtual.pcie = PCIE;
    set(AT_VIRTUAL, PCI_REG_VENDOR, 4, ~0u);
    assert_int_equal(0, pci_reset(&virtual, NULL));
    assert_true(waited < READY_US);
    set(AT_VIRTUAL, PCI_REG_VENDOR, 4, 0xffff0001); /* retry */
    assert_int_equal(-E_TIMEOUT, pci_reset(&virtual, NULL));
    set(AT_VIRTUAL, PCI_REG_VENDOR, 4, ~0u);
    set(AT_PHYSICAL, SRIOV + SRIOV_CONTROL, 2, 0); /* it is gone */
    assert_int_equal(-E_TIMEOUT, pci_reset(&virtual, NULL));
    assert_int_equal(0, holders[0]);
}

static pthread_t other;
static volatile u32 begun, done;
static u32 header;
static int result;

static void *on_other(void *what) {
    begun = 1;
    if (what) {
        result = pci_reset(&physical, NULL);
    } else {
        header = pci_read(&virtual, MSIX, 4); /* a loader looks for capabilities */
        pci_write(&virtual, PCI_REG_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    }
    done = 1;
    return NULL;
}

/* Another core, which has had time to go on if nothing keeps it. */
static void start_other(bool resets) {
    begun = done = 0;
    assert_int_equal(0, pthread_create(&other, NULL, on_other, resets ? &physical : NULL));
    while (!begun) usleep(100);
    usleep(50000);
    assert_int_equal(0, done);
}
static void start_use(void) { start_other(false); }

static void test_use_waits(void **unused) {
    (void)unused;
    on_wait = start_use;
    assert_int_equal(0, pci_reset(&physical, NULL));
    pthread_join(other, NULL);
    assert_int_equal(0, header); /* not the ones of a function that is not there */
    assert_int_equal(1, spaces[AT_PHYSICAL].resets);
    assert_enabled(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void test_reset_waits(void **unused) {
    struct pci_function second = virtual;

    (void)unused;
    second.id++;
    hold(&virtual);
    hold(&second); /* which are nothing to each other */
    let_go(&second);
    hold(&below); /* nor is any other */
    let_go(&below);
    start_other(true);
    use();
    let_go(&virtual);
    pthread_join(other, NULL);
    assert_int_equal(PCI_LEFT_OUT, result);
    assert_int_equal(0, spaces[AT_PHYSICAL].resets);
    assert_enabled(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* Another device is nothing to it; and who comes while a reset waits for holders waits behind that. */
static void test_other_device(void **unused) {
    struct pci_function second = virtual, third = virtual;

    (void)unused;
    third.vfs.number = 1;
    hold(&third);
    hold(&virtual);
    start_other(true);
    assert_int_equal(ALONE | 1, holders[0]);
    hold(&third);
    let_go(&third);
    let_go(&third);
    let_go(&virtual);
    pthread_join(other, NULL);
    hold(&second);
    let_go(&second);
    assert_int_equal(0, result);
    assert_int_equal(1, spaces[AT_PHYSICAL].resets);
    assert_int_equal(0, holders[0] | holders[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_bus, begin),
        cmocka_unit_test_setup(test_physical, begin),
        cmocka_unit_test_setup(test_busy, begin),
        cmocka_unit_test_setup(test_use_waits, begin),
        cmocka_unit_test_setup(test_virtual, begin),
        cmocka_unit_test_setup(test_reset_waits, begin),
        cmocka_unit_test_setup(test_advanced_features, begin),
        cmocka_unit_test_setup(test_other_device, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
