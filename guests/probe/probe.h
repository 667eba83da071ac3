/* Self-checks of the PC around the program. A check returns true if all is well and may leave a
 * detail, which is printed behind the verdict. */
#pragma once

#include "guests/lib/guest.h"

struct check {
    const char *name;
    bool (*run)(void);
};

/* Each list ends with an empty entry. */
extern const struct check cpu_checks[], msr_checks[], mode_checks[], level_checks[], user_checks[], interrupt_checks[],
    apic_checks[], shadow_checks[], mmio_checks[], device_checks[], timer_checks[], pic_checks[], smp_checks[],
    last_checks[];

/* What is compared with the bare machine: may be called several times. */
void value(const char *format, ...) printf_like(1, 2);
/* What is not. */
void detail(const char *format, ...) printf_like(1, 2);
/* Runs it and adds the exception it raised to the values, "ok" if none: "#GP(0)". */
struct fault value_of_try(void (*run)(void *), void *argument);
/* True on an emulator that answers unknown MSRs with 0 where hardware faults. */
bool lenient_msrs(void);
/* QEMU TCG: it minds few reserved bits, and leaves a guest's mode over some of them even where there is none. */
bool bare_qemu(void);
/* The 8254's channel 0, which is line 0: its output is high while mode 0 has counted down. */
void pit_line(bool high);
/* A millisecond in HLT. */
void nap(void);
/* Interrupts on until *counter reaches want or ms have passed. True if it did. */
bool wait_count(const u32 *counter, u32 want, u32 ms);
