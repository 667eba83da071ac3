/* Self-checks of the PC around the program. A check returns true if all is well and may leave a
 * detail, which is printed behind the verdict. */
#pragma once

#include "guests/lib/guest.h"

struct check {
    const char *name;
    bool (*run)(void);
};

/* Each list ends with an empty entry. */
extern const struct check cpu_checks[], interrupt_checks[], shadow_checks[], device_checks[];

void detail(const char *format, ...) printf_like(1, 2);
/* True on an emulator that answers unknown MSRs with 0 where hardware faults (QEMU TCG). */
bool lenient_msrs(void);
/* Interrupts on until *counter reaches want or ms have passed. True if it did. */
bool wait_count(const u32 *counter, u32 want, u32 ms);
