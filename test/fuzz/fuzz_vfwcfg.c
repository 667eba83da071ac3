/* The configuration device of a firmware, through the board's ports, beside the bytes that its items have. Input: what
 * there is (files, disks, names and sizes), then records of four bytes: operation, size, number. Holds: the selector
 * chooses an item and goes to its beginning, takes 16 bits only, and cannot be read; the data port gives the item's
 * bytes in order, whatever the size of the access, and zeros behind its end and where there is no item; a write to it
 * changes nothing; the directory names each file once, with size and item; DMA, which is not offered, is not there; and
 * nothing of all this without a firmware.
 * Source: QEMU documentation, Firmware Configuration (fw_cfg) Device; SeaBIOS documentation, Runtime configuration. */
#include <string.h>

#include "core/vdev/board.h"
#include "test/fuzz/fuzz.h"

#define FILES_MAX 6u
#define BYTES_MAX 40u
#define NAME_MAX  80u
#define DMA_PORT  0x514
#define IN_NAME   55u /* and NUL */

static struct vboard board;
static struct image_module files[FILES_MAX];
static char names[FILES_MAX][NAME_MAX];
static u8 bytes[FILES_MAX][BYTES_MAX];
static u32 file_count, disk_count;
static bool present;

/* The model: every item that is not empty, and where the next read is. */
static struct item {
    u16 key;
    u32 length;
    u8 data[4 + 64 * (FILES_MAX + 1)];
} items[FILES_MAX + 6];
static u32 item_count, offset;
static u16 selected;

static void on_intr(void *ctx, bool level) { (void)ctx, (void)level; }
static bool on_message(void *ctx, const struct apic_msg *msg) { return (void)ctx, (void)msg, true; }
static void on_power(void *ctx, enum power_request request) {
    (void)ctx, (void)request;
    REQUIRE(false);
}
static const struct vdev_host host = {.intr = on_intr, .apic_msg = on_message, .power = on_power};

static struct item *add(u16 key, const void *data, u32 length) {
    struct item *i = &items[item_count++];

    i->key = key;
    i->length = length;
    memcpy(i->data, data, length);
    return i;
}

/* struct FWCfgFile: size and item with the highest byte first, nothing, a name that ends with NUL. */
static void list(struct item *directory, const char *prefix, const char *name, u64 size, u16 key) {
    u8 *entry = directory->data + directory->length;
    char whole[NAME_MAX + 16];

    memset(entry, 0, 64);
    for (u32 i = 0; i < 4; i++) entry[i] = (u8)(size >> (24 - 8 * i));
    entry[4] = (u8)(key >> 8);
    entry[5] = (u8)key;
    snprintf(whole, sizeof(whole), "%s%s", prefix, name);
    memcpy(entry + 8, whole, strlen(whole) < IN_NAME ? strlen(whole) : IN_NAME);
    directory->length += 64;
    directory->data[3]++;
}

static void make_items(u16 cpus) {
    struct item *directory;

    item_count = 0;
    add(0x00, "QEMU", 4);
    add(0x01, "\1\0\0", 4); /* bit 0: the two ports; bit 1, DMA, is clear */
    add(0x05, (u8[]){(u8)cpus, (u8)(cpus >> 8)}, 2);
    add(0x0e, "\1", 2);
    directory = add(0x19, "\0\0\0", 4);
    add(0x20, "\xf8\3\0\0\0\0\0", 8);
    list(directory, "etc/", "sercon-port", 8, 0x20);
    for (u32 i = 0; i < file_count + disk_count; i++) {
        add((u16)(0x21 + i), bytes[i], (u32)files[i].bytes);
        list(directory, i < file_count ? "" : "floppyimg/", names[i], files[i].bytes, (u16)(0x21 + i));
    }
}

static u8 next_byte(void) {
    u32 at = offset++;

    for (u32 i = 0; i < item_count; i++)
        if (items[i].key == selected && at < items[i].length) return items[i].data[at];
    return 0;
}

/* Only the lowest byte of an access to the data port is its; the ports above it are nobody's. */
static void read(u32 size) {
    u32 value = vboard_in(&board, VFWCFG_DATA_PORT, size, 0), nobody = size == 4 ? ~0xffu : (1u << 8 * size) - 0x100;

    REQUIRE(value == ((present ? next_byte() : 0xff) | (size == 1 ? 0 : nobody)));
}

static void step(struct input *in) {
    static const u32 sizes[] = {1, 2, 4, 2};
    u32 what = (u32)take(in, 1), size = sizes[take(in, 1) & 3], number = (u32)take(in, 2);

    switch (what & 7) {
    case 0: /* any item, but no flags: bit 14 is for writing, 15 for the architecture's */
        vboard_out(&board, VFWCFG_SELECTOR_PORT, size, number & 0x3fff, 0);
        if (size == 2) {
            selected = number & 0x3fff;
            offset = 0;
        }
        break;
    case 1: /* one that is there, or the next */
        selected = items[number % item_count].key + (number >> 15);
        vboard_out(&board, VFWCFG_SELECTOR_PORT, 2, selected, 0);
        offset = 0;
        break;
    case 2: vboard_out(&board, VFWCFG_DATA_PORT, size, number, 0); break;
    case 3: REQUIRE(vboard_in(&board, DMA_PORT + number % 8, size, 0) == 0xffffffffu >> (32 - 8 * size)); break;
    case 4: vboard_out(&board, (u16)(DMA_PORT + number % 8), size, number, 0); break;
    case 5: REQUIRE((vboard_in(&board, VFWCFG_SELECTOR_PORT, 1, 0) & 0xff) == 0xff); break;
    default:
        for (u32 i = 0; i < 1 + number % 100; i++) read(1);
        if (number & 0x8000) read(size);
        break;
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    u32 head = (u32)take(&in, 1);
    u16 cpus = (u16)take(&in, 2);
    struct vboard_config config = {.memory = MIB(64)};

    present = head & 0x80;
    file_count = head % (FILES_MAX + 1);
    disk_count = (head >> 3) % (FILES_MAX + 1 - file_count);
    for (u32 i = 0; i < file_count + disk_count; i++) {
        u32 length = (u32)take(&in, 1) % NAME_MAX;

        files[i] = (struct image_module){names[i], bytes[i], take(&in, 1) % (BYTES_MAX + 1)};
        for (u32 k = 0; k < BYTES_MAX; k++) bytes[i][k] = (u8)(0x40 * i + k + 1);
        for (u32 k = 0; k < length; k++) names[i][k] = (char)('a' + (i + k) % 26);
        names[i][length] = 0;
    }
    config.fwcfg = (struct vfwcfg){.files = files,
                                   .disks = files + file_count,
                                   .file_count = file_count,
                                   .disk_count = disk_count,
                                   .cpus = cpus,
                                   .present = present};
    vboard_init(&board, &config, &host);
    make_items(cpus);
    selected = 0;
    offset = 0;
    while (in.left >= 4) step(&in);
    return 0;
}
