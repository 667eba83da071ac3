/* core/vdev/vpci.c and the list of capabilities in vpci_cap.c, by the sections of the specifications. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "test/unit/vpci_fixture.h"

static struct machine m;

/* PCI, Configuration Space Decoding; PCI Express, Enhanced Configuration Access Mechanism. */
static void test_decoding(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    vpci_address_write(&m.bus, 0xffffffff);
    assert_int_equal(0x8ffffffc, vpci_address_read(&m.bus));
    vpci_address_write(&m.bus, 0x00000800); /* not enabled */
    assert_int_equal(0xffffffff, vpci_data_read(&m.bus, 0, 4));
    vpci_data_write(&m.bus, 0, 4, 0);
    vpci_address_write(&m.bus, 0x80000800);
    assert_int_equal(0x10d38086, vpci_data_read(&m.bus, 0, 4));
    assert_int_equal(0xd380, vpci_data_read(&m.bus, 1, 2));
    assert_int_equal(0x10d3, vpci_data_read(&m.bus, 2, 2));
    assert_int_equal(0x10, vpci_data_read(&m.bus, 3, 1));
    vpci_address_write(&m.bus, 0x8f0008fc);
    assert_int_equal(rd(&m, E1000E, 0xffc), vpci_data_read(&m.bus, 0, 4));
    vpci_address_write(&m.bus, 0x81000800);
    assert_int_equal(rd(&m, E1000E, 0x100), vpci_data_read(&m.bus, 0, 4));
    vpci_address_write(&m.bus, 0x8000083c);
    vpci_data_write(&m.bus, 0, 1, 0x0b);
    vpci_data_write(&m.bus, 1, 2, 0xffff); /* the pin is read-only, the rest is not there */
    assert_int_equal(0x0000010b, vpci_data_read(&m.bus, 0, 4));
    assert_int_equal(0x0000010b, rd(&m, E1000E, 0x3c));
    assert_int_equal(0x01, vpci_ecam_read(&m.bus, cfg(E1000E, 0x3d), 1));
    assert_int_equal(0xffff, vpci_ecam_read(&m.bus, cfg(E1000E, 0x3d), 2)); /* not aligned */
    vpci_ecam_write(&m.bus, cfg(E1000E, 0x3b), 2, 0);
    assert_int_equal(0x0000010b, rd(&m, E1000E, 0x3c));
}

/* PCI, Configuration Cycles: nobody there, a master abort. */
static void test_nobody(void **state) {
    static const u32 absent[] = {0x80000100, 0x80000900, 0x80003800, 0x8000f800,
                                 0x80010800, 0x80ff0000, 0x81000100, 0x8f00f800};

    (void)state;
    start_machine(&m, FUNCTIONS);
    for (u32 i = 0; i < ARRAY_SIZE(absent); i++) {
        vpci_address_write(&m.bus, absent[i]);
        vpci_data_write(&m.bus, 0, 4, 0);
        assert_int_equal(0xffffffff, vpci_data_read(&m.bus, 0, 4));
        assert_int_equal(0xff, vpci_data_read(&m.bus, 3, 1));
        assert_int_equal(0xffff, vpci_ecam_read(&m.bus, (absent[i] & 0xffff00) << 4, 2));
    }
    assert_int_equal(0xffffffff, vpci_ecam_read(&m.bus, 0xfffff000, 4));
    vpci_ecam_write(&m.bus, 0xfffff000, 4, 0);
    assert_int_equal(0, m.writes + m.placements + m.vectors + m.resets);
    start_machine(&m, 0); /* no functions: no host bridge either */
    vpci_address_write(&m.bus, 0x80000000);
    assert_int_equal(0xffffffff, vpci_data_read(&m.bus, 0, 4));
    assert_int_equal(0xff, vpci_ecam_read(&m.bus, 0, 1));
}

static void test_host_bridge(void **state) {
    (void)state;
    start_machine(&m, 1);
    for (u32 reg = 0; reg < PCI_EXTENDED_BYTES; reg += 4) vpci_ecam_write(&m.bus, reg, 4, 0xffffffff);
    for (u32 reg = 0; reg < PCI_EXTENDED_BYTES; reg += 4)
        assert_int_equal(reg == 0 ? 0x00081b36 : reg == 8 ? 0x06000000 : 0, vpci_ecam_read(&m.bus, reg, 4));
    assert_int_equal(0x06, vpci_ecam_read(&m.bus, 0x0b, 1));
    assert_int_equal(0xffffffff, vpci_ecam_read(&m.bus, 1 << 12, 4)); /* 00:00.1 */
    assert_int_equal(0, m.writes);
}

/* PCI, Device Identification: read-only. */
static void test_identity(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    for (u32 f = 0; f < FUNCTIONS; f++) {
        for (u32 reg = 0; reg < 0x40; reg += 4)
            if (reg < 4 || (reg >= 8 && reg < 0x10) || (reg > 0x24 && reg != 0x30 && reg != 0x3c))
                wr(&m, f, reg, 0xffffffff);
        assert_int_equal(m.real[f].vendor | m.real[f].device << 16, rd(&m, f, 0x00));
        assert_int_equal(m.real[f].class_code << 8 | m.real[f].revision, rd(&m, f, 0x08));
        assert_int_equal(0, rd(&m, f, 0x0c)); /* header type 0, one function; no BIST, cache line, latency */
        assert_int_equal(m.real[f].subsystem_vendor | (u32)m.real[f].subsystem << 16, rd(&m, f, 0x2c));
        assert_int_equal(0, rd(&m, f, 0x28));
        assert_int_equal(0, rd(&m, f, 0x38));
    }
    assert_int_equal(0x00101b36, rd(&m, VF, 0)); /* although the machine reads ones */
    assert_int_equal(0, m.writes);
}

/* PCI, Device Control: which bits are kept, and which of them reach the function. */
static void test_command(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    assert_int_equal(0, rd(&m, E1000E, 0x04) & 0xffff);
    wr16(&m, E1000E, 0x04, 0xffff);
    assert_int_equal(0x0547, rd(&m, E1000E, 0x04) & 0xffff);
    assert_int_equal(0x0407, peek32(&m, E1000E, 0x04) & 0xffff); /* the machine's decoding stays on, too */
    assert_int_equal(1, m.writes);
    wr16(&m, E1000E, 0x04, 0x0004);
    assert_int_equal(0x0007, peek32(&m, E1000E, 0x04) & 0xffff);
    wr16(&m, E1000E, 0x04, 0x0000);
    assert_int_equal(0x0003, peek32(&m, E1000E, 0x04) & 0xffff);
    wr16(&m, E1000E, 0x04, 0x0003); /* decoding alone: nothing for the machine */
    assert_int_equal(3, m.writes);
    wr16(&m, VF, 0x04, 0x0006); /* no line: its INTx stays off */
    assert_int_equal(0x0404, peek32(&m, VF, 0x04) & 0xffff);
}

/* PCI, Device Status. */
static void test_status(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    assert_int_equal(0x00b0, rd(&m, E1000E, 0x04) >> 16); /* no error bits */
    poke32(&m, E1000E, 0x04, 0xfeff0003);
    assert_int_equal(0x06b8, rd(&m, E1000E, 0x04) >> 16); /* INTx status, DEVSEL */
    wr16(&m, E1000E, 0x06, 0xffff);
    assert_int_equal(0xfeff0003, peek32(&m, E1000E, 0x04));
    assert_int_equal(0, m.writes);
    poke32(&m, E1000E, 0x04, 0x00000003); /* without the bit there is no list */
    vpci_init(&m.bus, m.fn, FUNCTIONS, &m.host);
    assert_int_equal(0, rd(&m, E1000E, 0x04) >> 16);
    assert_int_equal(0, rd(&m, E1000E, 0x34));
}

/* PCI, Address Maps: sizing, and what the low bits say. */
static void test_bar_sizes(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    for (u32 f = 0; f < FUNCTIONS; f++)
        for (u32 reg = 0x10; reg <= 0x30; reg += 4)
            if (reg <= 0x24 || reg == 0x30) wr(&m, f, reg, 0xffffffff);
    assert_int_equal(0xfffe0000, rd(&m, E1000E, 0x10));
    assert_int_equal(0xfffe0000, rd(&m, E1000E, 0x14));
    assert_int_equal(0x0000ffe1, rd(&m, E1000E, 0x18));
    assert_int_equal(0xffffc000, rd(&m, E1000E, 0x1c));
    assert_int_equal(0, rd(&m, E1000E, 0x20));
    assert_int_equal(0xfffc0001, rd(&m, E1000E, 0x30)); /* enable */
    assert_int_equal(0xffffc004, rd(&m, NVME, 0x10));
    assert_int_equal(0xffffffff, rd(&m, NVME, 0x14));
    assert_int_equal(0, rd(&m, NVME, 0x18));
    assert_int_equal(0, rd(&m, NVME, 0x30)); /* no ROM, no enable */
    assert_int_equal(0xffffc00c, rd(&m, VIRTIO, 0x20));
    assert_int_equal(0xffffffff, rd(&m, VIRTIO, 0x24));
    assert_int_equal(0, rd(&m, VIRTIO, 0x10));
    assert_int_equal(0xfffff000, rd(&m, LEGACY, 0x10)); /* 256 bytes have their page alone */
    assert_int_equal(0x0000fff9, rd(&m, LEGACY, 0x24));
    assert_int_equal(0xffffc004, rd(&m, VF, 0x10));
    assert_int_equal(256, m.real[LEGACY].bars[0].bytes);
    assert_int_equal(4096, vpci_bar_bytes(&m.real[LEGACY], 0));
    assert_int_equal(8, vpci_bar_bytes(&m.real[LEGACY], 5));
    assert_int_equal(0, vpci_bar_bytes(&m.real[LEGACY], 1));
    assert_int_equal(0, m.placements + m.writes); /* nothing decodes, nothing moves, the real BARs stay */
}

static void test_bar_homes(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    assert_int_equal(0xc1000000, rd(&m, E1000E, 0x10));
    assert_int_equal(0xc1200000, rd(&m, E1000E, 0x14));
    assert_int_equal(0x0000c001, rd(&m, E1000E, 0x18));
    assert_int_equal(0xc1c00000, rd(&m, E1000E, 0x30));
    m.fn[NVME].home[0] = 0x1234abc0000;
    vpci_reset(&m.bus);
    assert_int_equal(0x4abc0004, rd(&m, NVME, 0x10));
    assert_int_equal(0x00000123, rd(&m, NVME, 0x14));
    assert_int_equal(0, m.placements);
}

/* PCI, Memory Space and I/O Space enable: where BARs answer, and that the host learns of it. */
static void test_decode(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    wr16(&m, E1000E, 0x04, PCI_COMMAND_MEMORY);
    assert_int_equal(3, m.placements);
    assert_int_equal(0xc1000000, m.placed[E1000E][0]);
    assert_int_equal(0xc1200000, m.placed[E1000E][1]);
    assert_true(m.placed[E1000E][2] == NEVER);
    assert_int_equal(0xc1600000, m.placed[E1000E][3]);
    assert_true(m.placed[E1000E][VPCI_ROM] == NEVER);
    wr16(&m, E1000E, 0x04, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
    assert_int_equal(4, m.placements);
    assert_int_equal(0xc000, m.placed[E1000E][2]);
    wr(&m, E1000E, 0x30, 0xd0000001);
    assert_int_equal(0xd0000000, m.placed[E1000E][VPCI_ROM]);
    wr(&m, E1000E, 0x30, 0xd0000000);
    assert_true(m.placed[E1000E][VPCI_ROM] == NEVER);
    wr16(&m, E1000E, 0x04, 0);
    for (u32 i = 0; i <= VPCI_ROM; i++) assert_true(m.placed[E1000E][i] == NEVER);
    assert_int_equal(10, m.placements);
}

static void test_moves(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    wr16(&m, NVME, 0x04, PCI_COMMAND_MEMORY);
    wr(&m, NVME, 0x14, 0x00000012); /* the halves are registers of their own */
    assert_int_equal(0x12c2000000, m.placed[NVME][0]);
    wr(&m, NVME, 0x10, 0xd0001234);
    assert_int_equal(0x12d0000000, m.placed[NVME][0]);
    vpci_ecam_write(&m.bus, cfg(NVME, 0x13), 1, 0xd8); /* a byte of one */
    assert_int_equal(0x12d8000000, m.placed[NVME][0]);
    wr(&m, NVME, 0x10, 0xd8000000); /* the same again: nothing moves */
    assert_int_equal(4, m.placements);
    wr16(&m, E1000E, 0x04, PCI_COMMAND_IO);
    wr(&m, E1000E, 0x18, 0xffffd03f);
    assert_int_equal(0xd020, m.placed[E1000E][2]);
    assert_int_equal(0xd021, rd(&m, E1000E, 0x18));
    wr16(&m, NVME, 0x04, 0);
    wr(&m, NVME, 0x10, 0xe0000000);
    assert_true(m.placed[NVME][0] == NEVER);
}

/* PCI, Interrupt Line, Interrupt Pin. */
static void test_line(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    assert_int_equal(0x01ff, rd(&m, NVME, 0x3c));
    assert_int_equal(0x00ff, rd(&m, VF, 0x3c));
    wr(&m, NVME, 0x3c, 0xffffff0b);
    assert_int_equal(0x010b, rd(&m, NVME, 0x3c));
    for (u32 f = 0; f < FUNCTIONS; f++) assert_int_equal(17 + f, m.fn[f].intx_pin);
    assert_int_equal(16, vpci_intx_pin(8));
}

/* PCI, Capabilities List: the ids that a guest finds, in order, each where it really is. */
static void check_list(u32 f, const u8 *places) {
    u32 at = rd(&m, f, 0x34);

    for (; *places; places++) {
        assert_int_equal(*places, at);
        assert_int_equal(m.space[f][at], vpci_ecam_read(&m.bus, cfg(f, at), 1));
        at = vpci_ecam_read(&m.bus, cfg(f, at + 1), 1);
    }
    assert_int_equal(0, at);
}

static void test_capabilities(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    check_list(E1000E, (const u8[]){0xc8, 0xd0, 0xe0, 0xa0, 0});
    check_list(NVME, (const u8[]){0x40, 0x80, 0x60, 0});
    check_list(VIRTIO, (const u8[]){0x98, 0x70, 0x60, 0x50, 0x40, 0});
    check_list(XHCI, (const u8[]){0x90, 0xa0, 0});
    check_list(LEGACY, (const u8[]){0x50, 0x68, 0x70, 0});
    check_list(VF, (const u8[]){0x40, 0x80, 0});
    put_cap(&m, XHCI, 0xfc, PCI_CAP_VENDOR, 0x20, 0); /* at the very end; and a link into the header ends the list */
    put_cap(&m, XHCI, 0xa0, PCI_CAP_PCIE, 0xfc, 2);
    m.real[E1000E].msix = 0; /* what discovery did not take for one is none */
    vpci_init(&m.bus, m.fn, FUNCTIONS, &m.host);
    check_list(XHCI, (const u8[]){0x90, 0xa0, 0xfc, 0});
    check_list(E1000E, (const u8[]){0xc8, 0xd0, 0xe0, 0});
}

/* What is hidden reads 0, and as far as it may reach; what only a driver knows can be read; nothing can be written. */
static void test_hidden(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    for (u32 at = 0x40; at < 0x50; at += 4) assert_int_equal(0, rd(&m, LEGACY, at));
    for (u32 at = 0x80; at < 0x100; at += 4) assert_int_equal(0, rd(&m, LEGACY, at));
    for (u32 at = 0x84; at < 0x98; at += 4) assert_int_equal(0, rd(&m, VIRTIO, at));
    assert_int_equal(0x5a5a5a5a, rd(&m, E1000E, 0x60));
    assert_int_equal(0x30, vpci_ecam_read(&m.bus, cfg(XHCI, 0x60), 1));
    assert_int_equal(0x3000, rd(&m, VIRTIO, 0x78));
    assert_int_equal(0x02146009, rd(&m, VIRTIO, 0x70));
    assert_int_equal(0x05100009, rd(&m, LEGACY, 0x70)); /* the last that is seen */
    for (u32 f = 0; f < FUNCTIONS; f++)
        for (u32 at = 0x40; at < PCI_EXTENDED_BYTES; at += 4) wr(&m, f, at, 0x5a5a5a5a);
    assert_int_equal(0, m.writes);
}

/* PCI Power Management, Power Management Control/Status. */
static void test_power(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    assert_int_equal(0x0037d001, rd(&m, E1000E, 0xc8)); /* no D1, D2, PME */
    assert_int_equal(0x00000008, rd(&m, E1000E, 0xcc));
    wr(&m, E1000E, 0xcc, 0xffffffff);
    assert_int_equal(0x0000000b, rd(&m, E1000E, 0xcc));
    wr16(&m, E1000E, 0xcc, 1);
    assert_int_equal(0x0000000b, rd(&m, E1000E, 0xcc));
    wr16(&m, E1000E, 0xcc, 0);
    assert_int_equal(0x00000008, rd(&m, E1000E, 0xcc));
    wr(&m, E1000E, 0xc8, 0xffffffff);
    assert_int_equal(0x0037d001, rd(&m, E1000E, 0xc8));
    assert_int_equal(0, m.writes);
}

/* PCI Express, PCI Express Capability Structure. */
static void test_pcie(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    assert_int_equal(0x0092a010, rd(&m, E1000E, 0xe0)); /* integrated: the root bus has no links */
    assert_int_equal(0x00920010, rd(&m, XHCI, 0xa0));
    assert_int_equal(0x00008021, rd(&m, E1000E, 0xe4));
    assert_int_equal(0x10008021, rd(&m, NVME, 0x84));
    assert_int_equal(0x00302810, rd(&m, E1000E, 0xe8));
    wr(&m, E1000E, 0xe8, 0xffffffff);
    assert_int_equal(0x00307fff, rd(&m, E1000E, 0xe8));
    assert_int_equal(0, m.resets); /* has no FLR */
    for (u32 at = 0x8c; at < 0xbc; at += 4) {
        wr(&m, NVME, at, 0xffffffff);
        assert_int_equal(0, rd(&m, NVME, at)); /* link, slot, root, second device registers */
    }
    poke32(&m, NVME, 0xbc, 0x77777777);
    assert_int_equal(0x77777777, rd(&m, NVME, 0xbc));
    put_cap(&m, NVME, 0x80, PCI_CAP_PCIE, 0x60, 1); /* version 1 ends with the slot's registers */
    vpci_init(&m.bus, m.fn, FUNCTIONS, &m.host);
    assert_int_equal(0, rd(&m, NVME, 0x90));
    assert_int_equal(0x000d3c1f, rd(&m, NVME, 0xa4));
    assert_int_equal(0, m.writes);
}

static void check_power_up(u32 f) {
    assert_int_equal(0, rd(&m, f, 0x04) & 0xffff);
    assert_int_equal(0xff, rd(&m, f, 0x3c) & 0xff);
    for (u32 i = 0; i <= VPCI_ROM; i++) {
        assert_true(m.fn[f].bars[i] == m.fn[f].home[i]);
        assert_true(m.placed[f][i] == NEVER);
    }
    for (u32 i = 0; i < MSIX_MAX; i++) assert_false(m.open[f][i]);
}

/* PCI Express, Function Level Reset: everything is at power-up, and DMA is off before it begins. */
static void test_flr(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    wr16(&m, NVME, 0x04, 0x0406);
    wr(&m, NVME, 0x10, 0xd0000000);
    wr16(&m, NVME, 0x3c, 5);
    vpci_msix_write(&m.bus, NVME, 12, 0);
    wr(&m, NVME, 0x40, 1u << 31);
    assert_true(m.open[NVME][0]);
    wr16(&m, NVME, 0x88, 0x8000);
    assert_int_equal(1, m.resets);
    assert_int_equal(NVME, m.last_reset);
    check_power_up(NVME);
    assert_true(m.table[NVME][0].masked);
    assert_int_equal(0x2810, rd(&m, NVME, 0x88) & 0xffff);
    assert_int_equal(3, peek32(&m, NVME, 0x04) & 0xffff);
    wr16(&m, NVME, 0x88, 0x7fff);
    assert_int_equal(1, m.resets);
}

/* PCI, Advanced Features. */
static void test_af(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    assert_int_equal(0x03067013, rd(&m, LEGACY, 0x68));
    assert_int_equal(0x00000100, rd(&m, LEGACY, 0x6c)); /* transactions pending */
    wr(&m, LEGACY, 0x68, 0xffffffff);
    wr(&m, LEGACY, 0x6c, 0xfffffffe);
    assert_int_equal(0, m.resets);
    wr16(&m, LEGACY, 0x04, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
    wr(&m, LEGACY, 0x50, 1u << 16);
    assert_true(m.open[LEGACY][0]);
    vpci_ecam_write(&m.bus, cfg(LEGACY, 0x6c), 1, 1);
    assert_int_equal(1, m.resets);
    check_power_up(LEGACY);
    m.real[LEGACY].flr = false;
    assert_int_equal(0x01067013, rd(&m, LEGACY, 0x68));
    wr(&m, LEGACY, 0x6c, 1);
    assert_int_equal(1, m.resets);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decoding),  cmocka_unit_test(test_nobody),    cmocka_unit_test(test_host_bridge),
        cmocka_unit_test(test_identity),  cmocka_unit_test(test_command),   cmocka_unit_test(test_status),
        cmocka_unit_test(test_bar_sizes), cmocka_unit_test(test_bar_homes), cmocka_unit_test(test_decode),
        cmocka_unit_test(test_moves),     cmocka_unit_test(test_line),      cmocka_unit_test(test_capabilities),
        cmocka_unit_test(test_hidden),    cmocka_unit_test(test_power),     cmocka_unit_test(test_pcie),
        cmocka_unit_test(test_flr),       cmocka_unit_test(test_af),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
