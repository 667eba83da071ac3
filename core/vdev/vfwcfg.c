/* See vfwcfg.h. Numbers in the directory are big-endian, others little-endian. */
#include "core/vdev/vfwcfg.h"

#include "core/base/string.h"

#define ITEM_SIGNATURE 0x00
#define ITEM_FEATURES  0x01 /* 1: the two ports and no more */
#define ITEM_CPUS      0x05
#define ITEM_MENU      0x0e /* 1: the boot menu is offered */
#define ITEM_DIRECTORY 0x19
#define ITEM_FILES     0x20 /* the first file; the disks follow */

#define ENTRY_BYTES 64 /* size, 4 bytes; item, 2; nothing, 2; name */
#define ENTRY_NAME  8

#define SIGNATURE 0x554d4551 /* "QEMU" */
#define COM1_PORT 0x3f8

static const char console_file[] = "etc/sercon-port", disk_prefix[] = "floppyimg/";

void vfwcfg_select(struct vfwcfg *f, u32 item) {
    f->item = (u16)item;
    f->offset = 0;
}

/* Byte `n` of a number, the lowest is 0. */
static u8 byte_of(u64 value, u32 n) { return (u8)(n < 8 ? value >> (8 * n) : 0); }

static u8 name_byte(const struct vfwcfg *f, u32 file, u32 at) {
    const char *name = console_file;

    if (file) {
        if (at < sizeof(disk_prefix) - 1) return (u8)disk_prefix[at];
        name = f->disks[file - 1].name;
        at -= (u32)sizeof(disk_prefix) - 1;
    }
    return at < strlen(name) ? (u8)name[at] : 0;
}

static u8 directory_byte(const struct vfwcfg *f, u32 at) {
    u32 file = (at - 4) / ENTRY_BYTES;

    if (at < 4) return byte_of(f->disk_count + 1, 3 - at);
    at = (at - 4) % ENTRY_BYTES;
    if (file > f->disk_count || at == ENTRY_BYTES - 1) return 0; /* a name ends with NUL */
    if (at < 4) return byte_of(file ? f->disks[file - 1].bytes : 8, 3 - at);
    if (at < ENTRY_NAME) return byte_of((u64)(ITEM_FILES + file) << 16, 7 - at);
    return name_byte(f, file, at - ENTRY_NAME);
}

u8 vfwcfg_read(struct vfwcfg *f) {
    u32 at = f->offset++, disk = f->item - ITEM_FILES - 1u;

    switch (f->item) {
    case ITEM_SIGNATURE: return byte_of(SIGNATURE, at);
    case ITEM_FEATURES:
    case ITEM_MENU: return byte_of(1, at);
    case ITEM_CPUS: return byte_of(f->cpus, at);
    case ITEM_DIRECTORY: return directory_byte(f, at);
    case ITEM_FILES: return byte_of(COM1_PORT, at);
    default: return disk < f->disk_count && at < f->disks[disk].bytes ? *((const u8 *)f->disks[disk].data + at) : (u8)0;
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
