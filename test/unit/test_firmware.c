/* Firmware images and the device that tells them of their machine.
 * QEMU documentation, Firmware Configuration (fw_cfg) Device; PCI Local Bus 3.0, Configuration Space. */
#include "core/vdev/board.h"
#include "test/unit/image_world.h"

#define ROM KIB(128)

static void test_load(void **state) {
    struct world *w = *state;
    u8 *rom = calloc(1, ROM);

    /* The ROM is backed by what follows the guest's memory. */
    w->host = realloc(w->host, MEMORY + ROM);
    w->mem.hva_offset = (u64)w->host;
    for (u32 i = 0; i < ROM; i++) rom[i] = (u8)(i * 7 + (i >> 8));
    w->rq.format = IMAGE_FIRMWARE;
    w->rq.kernel = rom;
    w->rq.kernel_bytes = ROM;
    refused(w, -E_INVAL, "size: firmware of 0x20000 bytes"); /* nothing is there */
    region_add_firmware(w->regions, w->mem.count, hpa(MEMORY), ROM);
    w->mem.count++;
    assert_int_equal(0xc0000, w->regions[1].gpa.v);
    assert_int_equal(0xc0000, w->regions[1].hpa.v);
    assert_int_equal(0x40000, w->regions[1].bytes);
    assert_int_equal(RIGHT_READ | RIGHT_EXEC, w->regions[3].rights);
    assert_int_equal(GIB(4) - ROM, w->regions[3].gpa.v);
    assert_int_equal(0, load(w));
    assert_int_equal(START_RESET, w->start.mode);
    assert_memory_equal(w->host + MEMORY, rom, ROM);
    assert_memory_equal(w->host + MIB(1) - ROM, rom, ROM);
    assert_int_equal(-E_RANGE, gmem_zero(&w->mem, gpa(GIB(4) - 4096), 1)); /* read-only */
    w->rq.kernel_bytes = ROM - 1;
    refused(w, -E_INVAL, "size");
    w->rq.kernel_bytes = KIB(60);
    refused(w, -E_INVAL, "size");
    w->rq.kernel_bytes = ROM;
    give(w, rom, 1);
    assert_int_equal(0, load(w));
    give(w, rom, 1);
    refused(w, -E_INVAL, "modules");
    free(rom);
}

/* The list stays sorted if memory goes on above 4 GiB; an image larger than the hole fills the hole. */
static void test_regions(void **state) {
    struct region r[8];
    struct piece piece = {hpa(GIB(8)), GIB(4)};
    int n = region_list_build(&piece, 1, GIB(4), r, 8);

    (void)state;
    assert_int_equal(4, n);
    region_add_firmware(r, (u32)n, hpa(GIB(16)), MIB(4));
    assert_int_equal(GIB(4) - MIB(4), r[3].gpa.v);
    assert_int_equal(GIB(16), r[3].hpa.v);
    assert_int_equal(GIB(4), r[4].gpa.v);
    assert_int_equal(GIB(1), r[4].bytes);
    assert_int_equal(GIB(8) + 0xc0000, r[1].hpa.v);
}

static void read_item(struct vboard *b, u16 item, u8 *out, u32 bytes) {
    vboard_out(b, 0x510, 2, item, 0);
    for (u32 i = 0; i < bytes; i++) out[i] = (u8)vboard_in(b, 0x511, 1, 0);
}

static bool nothing(void *ctx, const struct apic_msg *msg) {
    (void)ctx;
    (void)msg;
    return true;
}
static void no_intr(void *ctx, bool level) {
    (void)ctx;
    (void)level;
}
static void no_power(void *ctx, enum power_request request) {
    (void)ctx;
    (void)request;
}
static const struct vdev_host host = {NULL, nothing, no_intr, no_power, NULL};

static void test_items(void **state) {
    static const struct image_module disks[] = {
        {"a.img", "disk a", 6},
        {"a-name-of-a-disk-that-is-much-longer-than-the-directory-of-files-can-hold", "disk b", 6},
    };
    static const struct image_module file = {"etc/acpi/rsdp", "bytes", 5};
    struct vboard_config config = {.memory = MEMORY,
                                   .fwcfg = {.disks = disks, .disk_count = 2, .cpus = 0x102, .present = true}};
    struct vboard b;
    u8 out[300];

    (void)state;
    vboard_init(&b, &config, &host);
    read_item(&b, 0, out, 6);
    assert_memory_equal("QEMU\0\0", out, 6);
    read_item(&b, 1, out, 5);
    assert_memory_equal("\1\0\0\0\0", out, 5);
    read_item(&b, 14, out, 2);
    assert_memory_equal("\1\0", out, 2);
    read_item(&b, 5, out, 3);
    assert_memory_equal("\2\1\0", out, 3);
    read_item(&b, 0x19, out, 300);
    assert_memory_equal("\0\0\0\3", out, 4);
    assert_memory_equal("\0\0\0\10\0\x20\0\0etc/sercon-port\0", out + 4, 24);
    assert_memory_equal("\0\0\0\6\0\x21\0\0floppyimg/a.img\0", out + 68, 24);
    assert_memory_equal("\0\0\0\6\0\x22\0\0floppyimg/a-name-of", out + 132, 27);
    assert_int_equal(0, out[195]);
    for (u32 i = 196; i < 300; i++) assert_int_equal(0, out[i]);
    read_item(&b, 0x20, out, 9);
    assert_memory_equal("\xf8\3\0\0\0\0\0\0\0", out, 9);
    read_item(&b, 0x22, out, 8);
    assert_memory_equal("disk b\0\0", out, 8);
    read_item(&b, 0x23, out, 1);
    assert_int_equal(0, out[0]);
    read_item(&b, 0x1f, out, 1);
    assert_int_equal(0, out[0]);
    assert_int_equal(0xff, vboard_in(&b, 0x510, 1, 0)); /* write only */
    vboard_out(&b, 0x510, 1, 0, 0);                     /* whole or not at all */
    assert_int_equal(0, vboard_in(&b, 0x511, 1, 0));
    /* Files by their own names stand before the disks. */
    config.fwcfg.files = &file;
    config.fwcfg.file_count = 1;
    vboard_init(&b, &config, &host);
    read_item(&b, 0x19, out, 300);
    assert_memory_equal("\0\0\0\4", out, 4);
    assert_memory_equal("\0\0\0\5\0\x21\0\0etc/acpi/rsdp\0", out + 68, 22);
    assert_memory_equal("\0\0\0\6\0\x22\0\0floppyimg/a.img\0", out + 132, 24);
    read_item(&b, 0x21, out, 6);
    assert_memory_equal("bytes\0", out, 6);
    read_item(&b, 0x23, out, 8);
    assert_memory_equal("disk b\0\0", out, 8);
    read_item(&b, 0x24, out, 1);
    assert_int_equal(0, out[0]);
}

static void test_bridge(void **state) {
    struct vboard_config config = {.memory = MEMORY, .fwcfg = {.present = true}};
    struct vboard b;

    (void)state;
    vboard_init(&b, &config, &host);
    vboard_out(&b, 0xcf8, 4, 0x80000000, 0);
    assert_int_equal(0x00081b36, vboard_in(&b, 0xcfc, 4, 0));
    assert_int_equal(0x0008, vboard_in(&b, 0xcfe, 2, 0));
    vboard_out(&b, 0xcf8, 4, 0x80000008, 0);
    assert_int_equal(0x06, vboard_in(&b, 0xcff, 1, 0));
    vboard_out(&b, 0xcf8, 4, 0x8000002c, 0);
    assert_int_equal(0x11001af4, vboard_in(&b, 0xcfc, 4, 0));
    vboard_out(&b, 0xcf8, 4, 0x80000004, 0);
    assert_int_equal(0, vboard_in(&b, 0xcfc, 4, 0));
    vboard_out(&b, 0xcf8, 4, 0x80000100, 0); /* function 1 */
    assert_int_equal(0xffffffff, vboard_in(&b, 0xcfc, 4, 0));
    vboard_out(&b, 0xcf8, 4, 0x00000000, 0); /* not enabled */
    assert_int_equal(0xffffffff, vboard_in(&b, 0xcfc, 4, 0));
    /* Without firmware neither is there. */
    config.fwcfg.present = false;
    vboard_init(&b, &config, &host);
    vboard_out(&b, 0x510, 2, 0, 0);
    assert_int_equal(0xff, vboard_in(&b, 0x511, 1, 0));
    vboard_out(&b, 0xcf8, 4, 0x80000000, 0);
    assert_int_equal(0xffffffff, vboard_in(&b, 0xcfc, 4, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_load), cmocka_unit_test(test_regions), cmocka_unit_test(test_items),
                                       cmocka_unit_test(test_bridge)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
