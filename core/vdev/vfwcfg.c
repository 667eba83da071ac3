/* See vfwcfg.h. Numbers in the directory are big-endian, others little-endian. */
#include "core/vdev/vfwcfg.h"

#include "core/base/string.h"

#define ITEM_SIGNATURE 0x00
#define ITEM_FEATURES  0x01 /* 1: the two ports and no more */
#define ITEM_CPUS      0x05
#define ITEM_MENU      0x0e /* 1: the boot menu is offered */
#define ITEM_DIRECTORY 0x19
#define ITEM_FILES     0x20 /* the first file: where the console is; then those given by name, then the disks */

#define ENTRY_BYTES 64 /* size, 4 bytes; item, 2; nothing, 2; name */
#define ENTRY_NAME  8

#define SIGNATURE 0x554d4551 /* "QEMU" */

static const u8 com1_port[8] = {0xf8, 0x03};
static const struct image_module console_file = {"etc/sercon-port", com1_port, sizeof(com1_port)};
static const char disk_prefix[] = "floppyimg/";

void vfwcfg_select(struct vfwcfg *f, u32 item) {
    f->item = (u16)item;
    f->offset = 0;
}

/* Byte `n` of a number, the lowest is 0. */
static u8 byte_of(u64 value, u32 n) { return (u8)(n < 8 ? value >> (8 * n) : 0); }

/* NULL behind the last. */
static const struct image_module *file_of(const struct vfwcfg *f, u32 file, bool *disk) {
    *disk = file > f->file_count;
    if (!file) return &console_file;
    if (!*disk) return &f->files[file - 1];
    return file - f->file_count <= f->disk_count ? &f->disks[file - f->file_count - 1] : NULL;
}

static u8 name_byte(const char *name, bool disk, u32 at) {
    if (disk) {
        if (at < sizeof(disk_prefix) - 1) return (u8)disk_prefix[at];
        at -= (u32)sizeof(disk_prefix) - 1;
    }
    return at < strlen(name) ? (u8)name[at] : 0;
}

static u8 directory_byte(const struct vfwcfg *f, u32 at) {
    u32 number = (at - 4) / ENTRY_BYTES;
    const struct image_module *file;
    bool disk;

    if (at < 4) return byte_of(1 + f->file_count + f->disk_count, 3 - at);
    file = file_of(f, number, &disk);
    at = (at - 4) % ENTRY_BYTES;
    if (!file || at == ENTRY_BYTES - 1) return 0; /* a name ends with NUL */
    if (at < 4) return byte_of(file->bytes, 3 - at);
    if (at < ENTRY_NAME) return byte_of((u64)(ITEM_FILES + number) << 16, 7 - at);
    return name_byte(file->name, disk, at - ENTRY_NAME);
}

u8 vfwcfg_read(struct vfwcfg *f) {
    const struct image_module *file;
    u32 at = f->offset++;
    bool disk;

    switch (f->item) {
    case ITEM_SIGNATURE: return byte_of(SIGNATURE, at);
    case ITEM_FEATURES:
    case ITEM_MENU: return byte_of(1, at);
    case ITEM_CPUS: return byte_of(f->cpus, at);
    case ITEM_DIRECTORY: return directory_byte(f, at);
    default:
        file = f->item < ITEM_FILES ? NULL : file_of(f, f->item - ITEM_FILES, &disk);
        return file && at < file->bytes ? *((const u8 *)file->data + at) : (u8)0;
    }
}

/* A generic host bridge with the subsystem ids that say: a virtual machine with this device. */
bool vfwcfg_bridge(const struct vfwcfg *f, u32 address, u32 *value) {
    if (!f->present || (address & 0xffffff00) != 0x80000000) return false;
    switch (address & 0xfc) {
    case 0x00: *value = 0x00081b36; break;
    case 0x08: *value = 0x06000000; break;
    case 0x2c: *value = 0x11001af4; break;
    default: *value = 0; break;
    }
    return true;
}
