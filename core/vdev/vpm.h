/* ACPI fixed hardware: PM1a event and control blocks, PM timer, and the reset control register.
 * Pure, under the board lock. The port numbers are also what the guest's FADT says.
 * Source: ACPI specification, ACPI Hardware Specification; ICH9 datasheet, Power Management I/O
 * Registers and RST_CNT. */
#pragma once

#include "core/base/types.h"
#include "core/vdev/vdev.h"

#define VPM_EVENT_PORT   0x600 /* PM1a_EVT_BLK: status, enable; 4 bytes */
#define VPM_CONTROL_PORT 0x604 /* PM1a_CNT_BLK, 2 bytes */
#define VPM_TIMER_PORT   0x608 /* PM_TMR_BLK, 4 bytes, 32 bits wide (TMR_VAL_EXT) */
#define VPM_TIMER_HZ     3579545u
#define VPM_S5_TYPE      5 /* SLP_TYPa of \_S5 */
#define RESET_PORT       0xcf9
#define RESET_VALUE      0x06

struct vpm {
    u16 status, enable, control; /* PM1 registers */
    u64 half;                    /* PM timer periods of 2^31 seen: the MSB toggles with each */
    u8 reset_control;            /* 0xcf9 */
};

void vpm_reset(struct vpm *p);
/* One byte of the blocks above. Ports between them read as 0. now: guest ns. */
u8 vpm_read(struct vpm *p, u16 port, u64 now);
/* SLP_EN with the type of S5 asks the host to power off; other sleep types are dropped. */
void vpm_write(struct vpm *p, u16 port, u8 value, u64 now, const struct vdev_host *host);
/* The PM timer, all 32 bits. */
u32 vpm_timer(u64 now);

/* 0xcf9. A rising RST_CPU bit asks the host for a reset, whatever its kind. */
u8 vpm_reset_read(const struct vpm *p);
void vpm_reset_write(struct vpm *p, u8 value, const struct vdev_host *host);

/* The SCI line. */
bool vpm_sci(const struct vpm *p);
/* Guest ns at which the timer raises the SCI, or NEVER; and the call that makes it happen. */
u64 vpm_deadline(const struct vpm *p);
void vpm_tick(struct vpm *p, u64 now);
