/* What the loaders of the single formats share: the boot area, placement in RAM, error texts. For
 * core/image only. Pure. */
#pragma once

#include "core/image/image.h"

/* Inside the boot area. */
#define BOOT_GDT       0x1000ull
#define BOOT_PML4      0x2000ull
#define BOOT_PDPT      0x3000ull
#define BOOT_PD        0x4000ull /* four pages: 2 MiB leaves for 4 GiB */
#define BOOT_ZERO_PAGE 0x8000ull
#define BOOT_CMDLINE   0x9000ull
#define BOOT_STACK_END 0xa000ull /* the stack grows down to here from BOOT_AREA_END */

#define BOOT_CMDLINE_MAX (BOOT_STACK_END - BOOT_CMDLINE - 1) /* characters, without the NUL */

/* The boot page tables reach this far; so must everything that the guest touches first. */
#define BOOT_MAP_END GIB(4)

/* A run of neighbouring regions of one kind. */
struct run {
    u64 base, end;
    enum region_kind kind;
};

/* The next run of RAM or reserved memory in address order. *cursor starts at 0. False at the end.
 */
bool run_next(const struct gmem *mem, u32 *cursor, struct run *out);

/* Checks that [at, at + bytes) is RAM below BOOT_MAP_END and clear of the boot area; `field` names
 * what is to be placed there. Returns 0 or -E_RANGE with *error. */
int load_check_range(const struct gmem *mem, u64 at, u64 bytes, const char *field,
                     struct image_error *error) must_check;
/* Copies and zeroes the rest: `bytes` of `from` and then zeroes up to `total`. Returns 0 or
 * -E_RANGE with *error. */
int load_copy(const struct gmem *mem, u64 at, const void *from, u64 bytes, u64 total,
              struct image_error *error) must_check;

/* Writes GDT, page tables and command line (at most `limit` characters) and sets the fields of
 * *start that all formats have in common; the others become 0. Returns 0, -E_INVAL or -E_RANGE with
 * *error. */
int load_boot_area(const struct gmem *mem, const char *cmdline, u64 limit, struct start_state *start,
                   struct image_error *error) must_check;

/* Fills *error and returns `code`. */
int load_fail(struct image_error *error, int code, const char *format, ...) printf_like(3, 4);

/* Little-endian fields at any alignment; the caller has checked that they lie within. */
u16 load_u16(const u8 *at);
u32 load_u32(const u8 *at);
u64 load_u64(const u8 *at);

bool linux_detect(const struct image_request *request);
bool elf_detect(const struct image_request *request);
int linux_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
               struct image_error *error) must_check;
int elf_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
             struct image_error *error) must_check;
int flat_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
              struct image_error *error) must_check;
