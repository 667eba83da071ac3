/* ACPI fixed hardware. See vpm.h. Owns struct vpm; called by the board only. */
#include "core/vdev/vpm.h"

#include "core/vdev/vclock.h"

/* ACPI, PM1 Status, Enable and Control Registers. */
#define TMR_STS      0x0001u
#define STATUS_CLEAR 0x8f31u /* bits that software clears by writing 1 */
#define ENABLE_WRITE 0x0721u /* TMR, GBL, PWRBTN, SLPBTN, RTC */
#define SCI_EN       0x0001u /* fixed: there is no SMI mode to leave */
#define BM_RLD       0x0002u
#define SLP_TYP_LOW  10
#define SLP_TYP      0x1c00u
#define SLP_EN       0x2000u /* write only, reads as 0 */

/* ICH9, RST_CNT: SYS_RST, RST_CPU, FULL_RST. */
#define RST_CPU       0x04u
#define RST_CNT_WRITE 0x0eu

u32 vpm_timer(u64 now) { return (u32)clock_ticks(now, VPM_TIMER_HZ); }

/* ACPI, Power Management Timer: TMR_STS is set whenever the most significant bit changes. */
void vpm_tick(struct vpm *p, u64 now) {
    u64 half = clock_ticks(now, VPM_TIMER_HZ) >> 31;
    if (half > p->half) {
        p->half = half;
        p->status |= TMR_STS;
    }
}

u8 vpm_read(struct vpm *p, u16 port, u64 now) {
    u32 offset = (u32)port - VPM_EVENT_PORT, value = 0;

    vpm_tick(p, now);
    if (offset < 4)
        value = p->status | (u32)p->enable << 16;
    else if (offset < 8)
        value = p->control;
    else
        value = vpm_timer(now);
    return (u8)(value >> (offset % 4 * 8));
}

/* `old` with the byte at `shift` (0 or 8) replaced. */
static u32 with_byte(u32 old, u32 shift, u8 value) { return (old & ~(0xffu << shift)) | (u32)value << shift; }

static void write_control(struct vpm *p, u32 value, const struct vdev_host *host) {
    p->control = (u16)((value & (BM_RLD | SLP_TYP)) | SCI_EN);
    if ((value & SLP_EN) && (value & SLP_TYP) == VPM_S5_TYPE << SLP_TYP_LOW) host->power(host->ctx, POWER_OFF);
}

void vpm_write(struct vpm *p, u16 port, u8 value, u64 now, const struct vdev_host *host) {
    u32 offset = (u32)port - VPM_EVENT_PORT, shift = offset % 2 * 8;

    vpm_tick(p, now);
    switch (offset) {
    case 0:
    case 1: p->status &= (u16) ~(((u32)value << shift) & STATUS_CLEAR); break;
    case 2:
    case 3: p->enable = (u16)(with_byte(p->enable, shift, value) & ENABLE_WRITE); break;
    case 4:
    case 5: write_control(p, with_byte(p->control, shift, value), host); break;
    default: /* the timer is read only */ break;
    }
}

u8 vpm_reset_read(const struct vpm *p) { return p->reset_control; }

void vpm_reset_write(struct vpm *p, u8 value, const struct vdev_host *host) {
    bool rises = (value & RST_CPU) && !(p->reset_control & RST_CPU);
    p->reset_control = value & RST_CNT_WRITE;
    if (rises) host->power(host->ctx, POWER_RESET);
}

bool vpm_sci(const struct vpm *p) { return (p->status & p->enable) != 0; }

u64 vpm_deadline(const struct vpm *p) {
    if (!(p->enable & TMR_STS) || (p->status & TMR_STS)) return NEVER;
    return clock_ns((p->half + 1) << 31, VPM_TIMER_HZ);
}

void vpm_reset(struct vpm *p) { *p = (struct vpm){.control = SCI_EN}; }
