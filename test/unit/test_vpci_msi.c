/* core/vdev/vpci_cap.c: MSI, MSI-X, and what a message means, by PCI 3.0, Message Signaled Interrupts, and SDM Vol 3A,
 * Message Signalled Interrupts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "test/unit/vpci_fixture.h"

#define ENABLE (1u << 31)
#define MASK   (1u << 30)

static struct machine m;

/* Calls of host->vector since the last look. */
static u32 told(void) {
    u32 count = m.vectors;

    m.vectors = 0;
    return count;
}

/* MSI Capability Structure, 64-bit form without masks. */
static void test_msi_64(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    assert_int_equal(0x0080e005, rd(&m, E1000E, 0xd0)); /* one vector, 64-bit addresses, off */
    wr(&m, E1000E, 0xd4, 0xfee0100f);
    wr(&m, E1000E, 0xd8, 0x00000001);
    wr(&m, E1000E, 0xdc, 0xffff4031);
    assert_int_equal(0, told()); /* off: nobody need know */
    assert_int_equal(0xfee0100c, rd(&m, E1000E, 0xd4));
    assert_int_equal(0x00000001, rd(&m, E1000E, 0xd8));
    assert_int_equal(0x00004031, rd(&m, E1000E, 0xdc));
    wr(&m, E1000E, 0xd0, 0xffffffff); /* multiple message enable and the rest stay 0 */
    assert_int_equal(0x0081e005, rd(&m, E1000E, 0xd0));
    assert_int_equal(1, told());
    assert_true(m.open[E1000E][0]);
    assert_true(m.message[E1000E][0].address == 0x1fee0100c);
    assert_int_equal(0x4031, m.message[E1000E][0].data);
    wr(&m, E1000E, 0xd0, 0x00010000);
    assert_int_equal(0, told());
    wr(&m, E1000E, 0xd8, 0);
    vpci_ecam_write(&m.bus, cfg(E1000E, 0xdc), 1, 0x77);
    assert_int_equal(2, told());
    assert_int_equal(0x4077, m.message[E1000E][0].data);
    wr(&m, E1000E, 0xe0, 0xffffffff); /* the next capability */
    wr(&m, E1000E, 0xd0, 0);
    assert_int_equal(1, told());
    assert_false(m.open[E1000E][0]);
    assert_int_equal(0, m.writes);
}

/* The same, 32-bit form with Mask Bits and Pending Bits. */
static void test_msi_masked(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    assert_int_equal(0x01006805, rd(&m, LEGACY, 0x50));
    assert_int_equal(0, rd(&m, LEGACY, 0x54)); /* not what the machine has there */
    wr(&m, LEGACY, 0x54, 0xfee02000);
    wr(&m, LEGACY, 0x58, 0x45);
    wr(&m, LEGACY, 0x5c, 0xffffffff);
    assert_int_equal(0x45, rd(&m, LEGACY, 0x58));
    assert_int_equal(1, rd(&m, LEGACY, 0x5c)); /* one vector, one bit */
    assert_int_equal(1, rd(&m, LEGACY, 0x60)); /* pending is real */
    wr(&m, LEGACY, 0x60, 0);
    wr16(&m, LEGACY, 0x52, 1);
    assert_int_equal(1, told());
    assert_false(m.open[LEGACY][0]); /* masked still */
    wr(&m, LEGACY, 0x5c, 0);
    assert_int_equal(1, told());
    assert_true(m.open[LEGACY][0]);
    assert_true(m.message[LEGACY][0].address == 0xfee02000);
    wr(&m, LEGACY, 0x5c, 1);
    assert_int_equal(1, told());
    assert_false(m.open[LEGACY][0]);
    assert_false(vpci_vector_open(&m.fn[LEGACY], 1));
}

/* MSI-X Capability Structure: table and PBA are where they really are. */
static void test_msix_capability(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    assert_int_equal(0x00408011, rd(&m, NVME, 0x40)); /* 65 entries */
    assert_int_equal(0x00002000, rd(&m, NVME, 0x44));
    assert_int_equal(0x00003000, rd(&m, NVME, 0x48));
    assert_int_equal(0x00000003, rd(&m, E1000E, 0xa4));
    assert_int_equal(0x00002003, rd(&m, E1000E, 0xa8));
    wr(&m, NVME, 0x44, 0xffffffff);
    wr(&m, NVME, 0x48, 0xffffffff);
    assert_int_equal(0x00002000, rd(&m, NVME, 0x44));
    assert_int_equal(0x00003000, rd(&m, NVME, 0x48));
    wr(&m, NVME, 0x40, 0xffffffff);
    assert_int_equal(0xc0408011, rd(&m, NVME, 0x40));
    assert_int_equal(65, told());
    wr(&m, NVME, 0x40, 0xffffffff);
    assert_int_equal(0, told());
}

/* MSI-X Table: Message Address, Upper Address, Data, Vector Control. */
static void test_msix_table(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    for (u32 i = 0; i < 65; i++) {
        for (u32 word = 0; word < 3; word++) assert_int_equal(0, vpci_msix_read(&m.bus, NVME, 16 * i + 4 * word));
        assert_int_equal(1, vpci_msix_read(&m.bus, NVME, 16 * i + 12)); /* masked at reset */
        vpci_msix_write(&m.bus, NVME, 16 * i, 0xfee00003);
        vpci_msix_write(&m.bus, NVME, 16 * i + 4, i);
        vpci_msix_write(&m.bus, NVME, 16 * i + 8, 0x10000 + i);
        vpci_msix_write(&m.bus, NVME, 16 * i + 12, 0xfffffffe | (i & 1));
    }
    assert_int_equal(0, told());
    for (u32 i = 0; i < 65; i++) {
        assert_int_equal(0xfee00000, vpci_msix_read(&m.bus, NVME, 16 * i));
        assert_int_equal(i, vpci_msix_read(&m.bus, NVME, 16 * i + 4));
        assert_int_equal(0x10000 + i, vpci_msix_read(&m.bus, NVME, 16 * i + 8));
        assert_int_equal(i & 1, vpci_msix_read(&m.bus, NVME, 16 * i + 12));
    }
    assert_int_equal(0, vpci_msix_read(&m.bus, NVME, 65 * 16)); /* behind the table */
    vpci_msix_write(&m.bus, NVME, 65 * 16 + 12, 0);
    vpci_msix_write(&m.bus, NVME, 0xfffffffc, 0);
    assert_int_equal(0, vpci_msix_read(&m.bus, NVME, 0xfffffffc));
    assert_true(m.table[NVME][65].message.address == 0 && !m.table[NVME][65].masked);
}

/* MSI-X Enable, Function Mask, and the mask of an entry: when an interrupt may be sent, and that the host is told. */
static void test_msix_opening(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    vpci_msix_write(&m.bus, VIRTIO, 12, 0);
    vpci_msix_write(&m.bus, VIRTIO, 16 + 12, 0);
    wr(&m, VIRTIO, 0x98, ENABLE | MASK);
    assert_int_equal(3, told());
    assert_false(m.open[VIRTIO][0]);
    vpci_msix_write(&m.bus, VIRTIO, 8, 0x51);
    assert_int_equal(0, told());
    wr(&m, VIRTIO, 0x98, ENABLE);
    assert_int_equal(3, told());
    assert_true(m.open[VIRTIO][0] && m.open[VIRTIO][1] && !m.open[VIRTIO][2]);
    vpci_msix_write(&m.bus, VIRTIO, 0, 0xfee01000); /* moved while open */
    assert_int_equal(1, told());
    assert_int_equal(0, m.last_vector);
    assert_true(m.message[VIRTIO][0].address == 0xfee01000);
    vpci_msix_write(&m.bus, VIRTIO, 2 * 16 + 8, 0x52); /* closed before and after */
    assert_int_equal(0, told());
    vpci_msix_write(&m.bus, VIRTIO, 2 * 16 + 12, 0);
    assert_int_equal(1, told());
    assert_int_equal(2, m.last_vector);
    assert_true(m.open[VIRTIO][2]);
    vpci_msix_write(&m.bus, VIRTIO, 16 + 12, 1);
    assert_false(m.open[VIRTIO][1]);
    wr(&m, VIRTIO, 0x98, 0);
    assert_false(m.open[VIRTIO][0] || m.open[VIRTIO][2]);
    assert_false(vpci_vector_open(&m.fn[VIRTIO], 3));
    assert_int_equal(VIRTIO, m.last_f);
}

/* Both at once is forbidden to software; MSI-X then holds. */
static void test_both(void **state) {
    (void)state;
    start_machine(&m, FUNCTIONS);
    wr16(&m, E1000E, 0xd2, 1);
    assert_true(m.open[E1000E][0]);
    wr(&m, E1000E, 0xa0, ENABLE);
    assert_false(m.open[E1000E][0]);
    vpci_msix_write(&m.bus, E1000E, 12, 0);
    assert_true(m.open[E1000E][0]);
    assert_false(vpci_vector_open(&m.fn[E1000E], 5));
}

static bool decode(u64 address, u32 data, bool wide, struct apic_msg *out) {
    struct msi_message message = {address, data};

    return vpci_decode_message(&message, wide, out);
}

/* Message Address Register Format, Message Data Register Format. */
static void test_decode(void **state) {
    struct apic_msg a;

    (void)state;
    assert_true(decode(0xfee05000, 0x0041, false, &a));
    assert_int_equal(5, a.dest);
    assert_int_equal(0x41, a.vector);
    assert_true(a.assert && !a.logical && !a.x2apic && !a.level);
    assert_int_equal(APIC_FIXED, a.delivery);
    assert_int_equal(APIC_DEST, a.shorthand);
    assert_true(decode(0xfeeff00c, 0x0041, false, &a)); /* redirection hint, logical */
    assert_int_equal(0xff, a.dest);
    assert_true(a.logical);
    assert_int_equal(APIC_LOWEST, a.delivery);
    assert_true(decode(0xfee01004, 0x0441, false, &a)); /* logical without the hint; NMI */
    assert_true(a.logical);
    assert_int_equal(APIC_NMI, a.delivery);
    assert_true(decode(0xfee01008, 0x0141, false, &a)); /* a hint that means nothing for one destination */
    assert_int_equal(APIC_LOWEST, a.delivery);
    assert_true(decode(0xfee01008, 0x0041, false, &a));
    assert_int_equal(APIC_FIXED, a.delivery);
    assert_true(decode(0xfee01000, 0xc541, false, &a)); /* INIT, level, assert */
    assert_true(a.level && a.assert);
    assert_true(decode(0xfee01000, 0x8541, false, &a));
    assert_true(a.level && !a.assert);
    assert_true(decode(0xfee01000, 0x0741, false, &a));
    assert_int_equal(APIC_EXTINT, a.delivery);
    assert_false(decode(0xfee01000, 0x0241, false, &a)); /* SMI */
    assert_false(decode(0xfee01000, 0x0341, false, &a)); /* reserved */
    assert_false(decode(0xfee01000, 0x0641, false, &a)); /* start-up is not for messages */
    assert_false(decode(0xfed01000, 0x0041, false, &a));
    assert_false(decode(0xfef01000, 0x0041, false, &a));
    assert_false(decode(0, 0x0041, false, &a));
    assert_false(decode(0x1fee01000, 0x0041, false, &a));
    assert_false(decode(0x1fee01000, 0x0041, true, &a));
    assert_true(decode(0x12300fee01000, 0x0041, true, &a));
    assert_int_equal(0x12301, a.dest);
    assert_true(a.x2apic);
    assert_true(decode(0xfeeff000, 0x0041, true, &a));
    assert_false(a.x2apic);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_msi_64),     cmocka_unit_test(test_msi_masked),   cmocka_unit_test(test_msix_capability),
        cmocka_unit_test(test_msix_table), cmocka_unit_test(test_msix_opening), cmocka_unit_test(test_both),
        cmocka_unit_test(test_decode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
