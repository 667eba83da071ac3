/* Keyboard controller to which neither keyboard nor mouse is connected, and the fast A20 and reset port 0x92. Pure,
 * under the board lock. No interrupt, and A20 is remembered but not enforced. Source: IBM PS/2 Hardware Interface
 * Technical Reference, Keyboard and Auxiliary Device Controller; ICH9 datasheet, Processor Interface Registers
 * (PORT92). */
#pragma once

#include "core/base/types.h"
#include "core/vdev/vdev.h"

#define VKBC_DATA_PORT    0x60
#define VKBC_COMMAND_PORT 0x64
#define VKBC_PORT92       0x92

struct vkbc {
    u8 command;         /* command that waits for its data byte at 0x60, or 0 */
    u8 control, output; /* command byte, output port */
    u8 data;            /* output buffer */
    u8 full;            /* status bits of the answer that waits in it, or 0 */
    bool last_command;  /* the last write went to 0x64 */
    u8 port92;
};

void vkbc_reset(struct vkbc *k);
u8 vkbc_read(struct vkbc *k, u16 port);
/* Resets go to host->power. */
void vkbc_write(struct vkbc *k, u16 port, u8 value, const struct vdev_host *host);
