/* MC146818 real-time clock and 128 bytes of CMOS RAM. Pure, under the board lock. The line is
 * level, high from an enabled event until register C is read.
 * Source: Motorola MC146818A datasheet; ICH9 datasheet, Real Time Clock Registers. */
#pragma once

#include "core/base/types.h"

#define VRTC_PORT 0x70 /* index and NMI mask; 0x71 is the data */

/* The memory-size registers call what lies below "low" and the rest "above 4 GiB". */
#define VRTC_LOW_MEMORY GIB(3)

/* Cells. The century cell is where the guest's FADT says (CENTURY = 0x32). */
enum vrtc_cell {
    RTC_SECONDS,
    RTC_SECONDS_ALARM,
    RTC_MINUTES,
    RTC_MINUTES_ALARM,
    RTC_HOURS,
    RTC_HOURS_ALARM,
    RTC_WEEKDAY,
    RTC_DAY,
    RTC_MONTH,
    RTC_YEAR,
    RTC_A,
    RTC_B,
    RTC_C,
    RTC_D,
    CMOS_SHUTDOWN = 0x0f,
    CMOS_EQUIPMENT = 0x14,
    CMOS_BASE_KIB = 0x15,
    CMOS_EXTENDED_KIB = 0x17,
    CMOS_CHECKSUM = 0x2e,
    CMOS_EXTENDED_KIB_2 = 0x30,
    RTC_CENTURY = 0x32,
    CMOS_ABOVE_16M = 0x34, /* in 64 KiB */
    CMOS_ABOVE_4G = 0x5b,  /* in 64 KiB, three bytes */
};

struct vrtc {
    u8 index;
    bool nmi_masked;
    u8 cell[128];
    u64 seconds; /* since 400 years before the year 0; what the time cells show */
    u64 base;    /* guest ns at which `seconds` began */
    u32 weekday; /* how far the day of the week, a counter of its own, is ahead of the calendar's, 0 to 6 */
    bool edited; /* the time cells were written: they count, not `seconds` */
    u64 seen;    /* guest ns up to which flags in register C are complete */
};

/* wall_clock: seconds since 1970-01-01 UTC at guest time 0. memory: bytes. 24 hours, BCD. */
void vrtc_reset(struct vrtc *r, u64 wall_clock, u64 memory);
u8 vrtc_read(struct vrtc *r, u16 port, u64 now);
void vrtc_write(struct vrtc *r, u16 port, u8 value, u64 now);
/* Level of the interrupt line. */
bool vrtc_line(const struct vrtc *r);
/* Guest ns at which the line rises by itself, or NEVER; and the call that makes it happen. */
u64 vrtc_deadline(const struct vrtc *r);
void vrtc_tick(struct vrtc *r, u64 now);
