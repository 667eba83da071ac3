/* Between the files of boot/. Boot core only. */
#pragma once

#include "core/boot_info.h"

/* Copies the start page below 1 MiB and starts every core that the MADT names, one after the other; each parks in
 * park.c. page: a free page below 1 MiB. A core that does not answer is logged and left out. */
void smp_start(struct boot_info *boot, hpa_t page);

/* Opens the console that info->options names, and the screen if it names none; COM1 in place of a UART that does not
 * answer. First of all: info->acpi is empty, memory below 4 GiB is mapped. mbi: NULL if it is malformed. */
void console_open(struct boot_info *info, const void *mbi);
/* What of it lies above 4 GiB; reach maps memory, and returns whether it could. */
void console_open_high(struct boot_info *info, bool (*reach)(u64 at, u64 bytes));

/* Says that this core is here, in *arrived, and waits until core releases it. */
void boot_park(struct boot_core *slot, u32 core, u32 *arrived) noreturn_fn;

extern const u8 start_page[], start_page_end[]; /* boot.S */
extern const u8 boot_pml4[];
extern const u8 image_start[], image_end[]; /* linker.ld */
void boot_main(u64 mbi, u64 image) noreturn_fn;
