/* What boot hands to core: the one call upward to downward at start. Everything in it lives until power-off. */
#pragma once

#include "drivers/acpi.h"
#include "core/base/types.h"
#include "core/config/options.h"
#include "mm/frames.h"
#include "mm/numa.h"

struct boot_module {
    const char *name; /* the string after the file in GRUB's module2 line */
    hpa_t at;
    u64 bytes;
};

/* A core that boot has started and parked. To release it, core fills cr3, stack and entry, then sets go. */
struct boot_core {
    u32 apic_id;
    u64 cr3, stack;
    void (*entry)(u32 core);
    bool go; /* atomic; the parked core spins on it */
};

/* Machine memory that the console is in; bytes 0: it is not. */
struct boot_window {
    u64 at, bytes;
};
enum { CONSOLE_UART, CONSOLE_SCREEN, CONSOLE_WINDOWS };

struct boot_info {
    hpa_t image;
    struct boot_options options;
    struct boot_window console[CONSOLE_WINDOWS];
    struct frames *frames;       /* what is free: the image, modules, boot data and low memory are already taken out */
    const struct frames *memory; /* all that there is, the firmware's tables too */
    u64 memory_top;              /* end of the highest usable memory */
    const struct boot_module *modules;
    u32 module_count;
    struct host_acpi *acpi;
    struct numa numa;
    struct boot_core *cores; /* [0] is the boot core */
    u32 core_count;
    u64 tsc_hz, wall_clock;
};

/* Takes over on the boot core and does not return. */
void core_start(struct boot_info *boot) noreturn_fn;
