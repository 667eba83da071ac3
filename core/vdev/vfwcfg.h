/* What a firmware image learns about its machine: a read-only configuration device at ports 0x510 and 0x511, and the
 * host bridge by which the firmware knows that it has one. Only a partition that starts a firmware image has it. Pure,
 * under the board lock. Source: QEMU documentation, Firmware Configuration (fw_cfg) Device; SeaBIOS documentation,
 * Runtime configuration. */
#pragma once

#include "core/base/types.h"
#include "core/image/image.h"

#define VFWCFG_SELECTOR_PORT 0x510 /* 16 bits, write only */
#define VFWCFG_DATA_PORT     0x511

struct vfwcfg {
    const struct image_module *files; /* by their names */
    const struct image_module *disks; /* each the image of a floppy disk, floppyimg/NAME */
    u32 file_count, disk_count;
    u16 cpus;
    bool present;
    u16 item;
    u32 offset; /* of the next byte in the item */
};

void vfwcfg_select(struct vfwcfg *f, u32 item);
/* The next byte of the item; zero behind its end. */
u8 vfwcfg_read(struct vfwcfg *f);
/* The configuration space of 00:00.0 as `address`, the register at 0xcf8, points to it. False if it points elsewhere.
 */
bool vfwcfg_bridge(const struct vfwcfg *f, u32 address, u32 *value);
