/* core/vdev/vpci_ext.c: the list of extended capabilities, by the sections of PCI Express Base 4.0. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "test/unit/vpci_fixture.h"

static struct machine m;

static u32 by_port(u32 f, u32 reg, u32 size) {
    vpci_address_write(&m.bus, 0x80000000 | (reg & 0xf00) << 16 | (f + 1) << 11 | (reg & 0xfc));
    return vpci_data_read(&m.bus, reg & 3, size);
}

static void put_ext(u32 f, u32 at, u32 id, u32 version, u32 next) {
    poke32(&m, f, at, id | version << 16 | next << 20);
}

/* All bits set behind the header of everything that is there, so that nothing is 0 because the machine has 0. */
static void fill(u32 f) { memset(&m.space[f][PCI_REG_EXTENDED], 0xff, PCI_EXTENDED_BYTES - PCI_REG_EXTENDED); }

static void scan_again(void) { vpci_init(&m.bus, m.fn, FUNCTIONS, &m.host); }

/* Extended Capabilities in Configuration Space: what a guest finds, by either way, and nothing between. */
static void check_ext(u32 f, const u32 *headers, const u32 *places) {
    u32 at = 0x100, count = 0;

    for (; *headers; headers++, places++, count++) {
        u32 header = rd(&m, f, at);

        if (count == 0 && (header & 0xfffff) == 0) header = rd(&m, f, at = header >> 20);
        assert_int_equal(*places, at);
        assert_int_equal(*headers, header & 0xfffff);
        at = header >> 20;
    }
    assert_int_equal(0, count ? at : rd(&m, f, 0x100));
}

static void assert_zero(u32 f, u32 from, u32 to) {
    for (u32 at = from; at < to; at += 4) assert_int_equal(0, rd(&m, f, at));
}

/* QEMU's 82574: errors, serial number, and ACS, which is hidden at the end of the list. */
static void test_list(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    check_ext(E1000E, (const u32[]){0x20001, 0x10003, 0}, (const u32[]){0x100, 0x140});
    assert_int_equal(0x12345678, rd(&m, E1000E, 0x144));
    assert_int_equal(0x9abcdef0, rd(&m, E1000E, 0x148));
    poke32(&m, E1000E, 0x144, 0x11111111); /* as the device has it now */
    assert_int_equal(0x11111111, rd(&m, E1000E, 0x144));
    assert_int_equal(0x1111, vpci_ecam_read(&m.bus, cfg(E1000E, 0x146), 2));
    assert_zero(E1000E, 0x12c, 0x140);
    assert_zero(E1000E, 0x14c, PCI_EXTENDED_BYTES);
    poke32(&m, E1000E, 0x140, 0xffffffff); /* what was shown stays what it was */
    assert_int_equal(0x00010003, rd(&m, E1000E, 0x140));
    check_ext(NVME, (const u32[]){0}, NULL); /* SR-IOV alone: as if there were no list */
    assert_zero(NVME, 0x100, PCI_EXTENDED_BYTES);
    check_ext(VF, (const u32[]){0}, NULL);
}

/* The same registers, by PCI Express's window and by AMD's bits of 0xcf8. */
static void test_both_ways(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    for (u32 f = 0; f < FUNCTIONS; f++)
        for (u32 at = 0; at < PCI_EXTENDED_BYTES; at++)
            for (u32 size = 1; size <= 4; size *= 2)
                if (at % size == 0) assert_int_equal(vpci_ecam_read(&m.bus, cfg(f, at), size), by_port(f, at, size));
    assert_int_equal(0x14020001, by_port(E1000E, 0x100, 4));
    assert_int_equal(0x81000800, vpci_address_read(&m.bus));
    (void)by_port(E1000E, 0x108, 4);
    vpci_data_write(&m.bus, 1, 1, 0xff); /* a mask, one byte of it */
    assert_int_equal(0x0040f000, rd(&m, E1000E, 0x108));
    assert_int_equal(0x10d38086, rd(&m, E1000E, 0));
    vpci_address_write(&m.bus, 0xf1000804); /* bits 30:28 mean nothing */
    vpci_data_write(&m.bus, 0, 2, 0xffff);
    assert_int_equal(0, rd(&m, E1000E, 0x04) & 0xffff);
    assert_int_equal(0, m.writes);
}

/* PCI Express to PCI/PCI-X Bridge 1.0: an extended register of conventional PCI is an unsupported request. */
static void test_conventional(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    put_ext(VIRTIO, 0x100, PCI_EXT_SERIAL, 1, 0);
    scan_again();
    for (u32 at = 0x100; at < PCI_EXTENDED_BYTES; at += 4) {
        wr(&m, VIRTIO, at, 0);
        assert_int_equal(0xffffffff, rd(&m, VIRTIO, at));
        assert_int_equal(0xffffffff, rd(&m, LEGACY, at));
    }
    for (u32 at = 0x100; at < PCI_EXTENDED_BYTES; at += 4) poke32(&m, XHCI, at, 0xffffffff);
    scan_again(); /* Express on a machine without the window: no list */
    assert_zero(XHCI, 0x100, PCI_EXTENDED_BYTES);
}

/* Every id there may be: the known three are shown, each with its own version. A hidden first leaves a null one. */
static void test_kinds(void **state) {
    (void)state;
    for (u32 id = 0; id <= 0xffff; id += id < 0x60 ? 1 : id < 0xffc0 ? 0x31 : 1) {
        bool shown = id == PCI_EXT_AER || id == PCI_EXT_SERIAL || id == PCI_EXT_VENDOR;

        start_machine(&m, FUNCTIONS);
        fill(NVME);
        put_ext(NVME, 0x100, id, 3, 0x200);
        poke32(&m, NVME, 0x104, 0x10 << 20); /* length of a vendor's */
        put_ext(NVME, 0x200, PCI_EXT_SRIOV, 1, 0x300);
        put_ext(NVME, 0x300, PCI_EXT_VENDOR, 4, 0);
        poke32(&m, NVME, 0x304, 0x00c10001);
        scan_again();
        assert_int_equal(shown ? id | 0x30030000 : 0x30000000, rd(&m, NVME, 0x100));
        if (!shown) assert_zero(NVME, 0x104, 0x300);
        assert_zero(NVME, 0x200, 0x300);
        assert_int_equal(0x0004000b, rd(&m, NVME, 0x300));
        assert_int_equal(0x00c10001, rd(&m, NVME, 0x304));
        assert_int_equal(0xffffffff, rd(&m, NVME, 0x308));
        assert_zero(NVME, 0x30c, PCI_EXTENDED_BYTES);
        if (id != PCI_EXT_AER) {
            wr(&m, NVME, 0x108, 0);
            assert_int_equal(id == PCI_EXT_SERIAL || id == PCI_EXT_VENDOR ? 0xffffffff : 0, rd(&m, NVME, 0x108));
        }
        assert_int_equal(0, m.writes);
    }
}

/* Advanced Error Reporting: masks and severity are the guest's, nothing else can be written, and nothing is real. */
static void test_errors(void **state) {
    static const struct {
        u32 power_up, kept;
    } wanted[0x2c / 4] = {[2] = {0x00400000, 0x005ff010}, [3] = {0x00462010, 0x005ff010}, [5] = {0xe000, 0xf1c1}};

    (void)state;
    start_machine(&m, FUNCTIONS);
    fill(E1000E);
    put_ext(E1000E, 0x100, PCI_EXT_AER, 2, 0);
    scan_again();
    for (u32 i = 1; i < ARRAY_SIZE(wanted); i++) {
        assert_int_equal(wanted[i].power_up, rd(&m, E1000E, 0x100 + 4 * i));
        wr(&m, E1000E, 0x100 + 4 * i, 0xffffffff);
        assert_int_equal(wanted[i].kept, rd(&m, E1000E, 0x100 + 4 * i));
        wr16(&m, E1000E, 0x102 + 4 * i, 0);
        assert_int_equal(wanted[i].kept & 0xffff, rd(&m, E1000E, 0x100 + 4 * i));
    }
    wr(&m, E1000E, 0x100, 0);
    assert_int_equal(0x00020001, rd(&m, E1000E, 0x100));
    assert_zero(E1000E, 0x12c, PCI_EXTENDED_BYTES);
    m.real[E1000E].flr = true; /* sticky bits stay over a reset of the function, not over one of the partition */
    wr16(&m, E1000E, 0xe8, 0x8000);
    assert_int_equal(1, m.resets);
    assert_int_equal(0xf010, rd(&m, E1000E, 0x108));
    vpci_reset(&m.bus);
    for (u32 i = 1; i < ARRAY_SIZE(wanted); i++) assert_int_equal(wanted[i].power_up, rd(&m, E1000E, 0x100 + 4 * i));
}

/* Lists that no device should have: each ends, and nothing that is hidden is seen through another. */
static void test_malformed(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    put_ext(E1000E, 0x140, PCI_EXT_SERIAL, 1, 0x140); /* to itself */
    put_ext(NVME, 0x100, PCI_EXT_SRIOV, 1, 0x200);
    put_ext(NVME, 0x200, PCI_EXT_SERIAL, 1, 0x100); /* to the first */
    put_ext(XHCI, 0x100, PCI_EXT_SERIAL, 1, 0x0fc); /* out of the space */
    put_cap(&m, XHCI, 0xfc, PCI_EXT_AER, 0, 1);
    put_ext(VF, 0x100, PCI_EXT_ACS, 1, 0x203); /* bits 1:0 are reserved */
    put_ext(VF, 0x200, PCI_EXT_SERIAL, 1, 0x001);
    scan_again();
    check_ext(E1000E, (const u32[]){0x20001, 0x10003, 0}, (const u32[]){0x100, 0x140});
    check_ext(NVME, (const u32[]){0x10003, 0}, (const u32[]){0x200});
    check_ext(XHCI, (const u32[]){0x10003, 0}, (const u32[]){0x100});
    check_ext(VF, (const u32[]){0x10003, 0}, (const u32[]){0x200});

    fill(NVME); /* a vendor's that claims all there is has what is before the next begin, which is hidden */
    put_ext(NVME, 0x100, PCI_EXT_VENDOR, 1, 0x180);
    poke32(&m, NVME, 0x104, 0xfff00000);
    put_ext(NVME, 0x180, PCI_EXT_SRIOV, 1, 0x110);
    put_ext(NVME, 0x110, PCI_EXT_AER, 1, 0x140); /* one back, and one within this one */
    put_ext(NVME, 0x118, 0xffff, 0xf, 0xfff);
    put_ext(NVME, 0x140, PCI_EXT_AER, 2, 0x118); /* a second one */
    scan_again();
    check_ext(NVME, (const u32[]){0x1000b, 0x10001, 0}, (const u32[]){0x100, 0x110});
    assert_int_equal(0xffffffff, rd(&m, NVME, 0x10c));
    assert_int_equal(0, rd(&m, NVME, 0x114));
    wr(&m, NVME, 0x118, 0xffffffff); /* its mask would be here */
    assert_zero(NVME, 0x118, PCI_EXTENDED_BYTES);

    fill(NVME);
    put_ext(NVME, 0x100, PCI_EXT_VENDOR, 1, 0xff8);
    poke32(&m, NVME, 0x104, 0);                     /* shorter than its own header */
    put_ext(NVME, 0xff8, PCI_EXT_SERIAL, 1, 0xffc); /* over the end, and no room for its length */
    put_ext(NVME, 0xffc, PCI_EXT_VENDOR, 1, 0);
    scan_again();
    check_ext(NVME, (const u32[]){0x1000b, 0x10003, 0}, (const u32[]){0x100, 0xff8});
    assert_zero(NVME, 0x104, 0xff8);
    assert_int_equal(0, rd(&m, NVME, 0xffc));
}

/* As many as there is room for; the list may be as long as it likes. */
static void test_many(void **state) {
    u32 count = 0;

    (void)state;
    start_machine(&m, FUNCTIONS);
    for (u32 at = 0x100; at < PCI_EXTENDED_BYTES; at += 8) {
        put_ext(NVME, at, at % 16 ? PCI_EXT_VENDOR : PCI_EXT_ACS, 1, at + 8 < PCI_EXTENDED_BYTES ? at + 8 : 0);
        poke32(&m, NVME, at + 4, 0x00800000 | at);
    }
    scan_again();
    assert_int_equal(0x10800000, rd(&m, NVME, 0x100));
    for (u32 at = 0x108; at; at = rd(&m, NVME, at) >> 20, count++) {
        assert_int_equal(0x108 + 16 * count, at);
        assert_int_equal(0x00800000 | at, rd(&m, NVME, at + 4));
    }
    assert_int_equal(VPCI_EXTENDED, count);
    assert_zero(NVME, 0x108 + 16 * VPCI_EXTENDED, PCI_EXTENDED_BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),  cmocka_unit_test(test_both_ways), cmocka_unit_test(test_conventional),
        cmocka_unit_test(test_kinds), cmocka_unit_test(test_errors),    cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
