/* What the loaders of the single formats share: the boot area, placement in RAM, error texts. For
 * core/image only. Pure. */
#pragma once

#include "core/image/image.h"

/* Inside the boot area. */
#define BOOT_GDT       (BOOT_AREA_BASE + 0x0000)
#define BOOT_PML4      (BOOT_AREA_BASE + 0x1000)
#define BOOT_PDPT      (BOOT_AREA_BASE + 0x2000)
#define BOOT_PD        (BOOT_AREA_BASE + 0x3000) /* four pages: 2 MiB leaves for 4 GiB */
#define BOOT_ZERO_PAGE (BOOT_AREA_BASE + 0x7000)
#define BOOT_CMDLINE   (BOOT_AREA_BASE + 0x8000)
#define BOOT_STACK_END (BOOT_AREA_BASE + 0x9000) /* the stack grows down to here from BOOT_AREA_END */
/* Boot information of the 32-bit forms, where the others have page tables and zero page. Holds 128
 * ranges of memory (3 KiB, at BOOT_MAP and in a tag), 64 modules with names (10 KiB) and the command line (4 KiB). */
#define BOOT_INFO BOOT_PML4
#define BOOT_MAP  (BOOT_ZERO_PAGE + 8)

#define BOOT_CMDLINE_MAX (BOOT_STACK_END - BOOT_CMDLINE - 1) /* characters, without the NUL */
#define BOOT_RANGES_MAX  128                                 /* of E820 and its kin */

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

/* What an image covers in guest memory. */
struct extent {
    u64 base, end;
};

/* Checks that [at, at + bytes) is RAM below BOOT_MAP_END and clear of the boot area; `field` names
 * what is to be placed there. Returns 0 or -E_RANGE with *error. */
int load_check_range(const struct gmem *mem, u64 at, u64 bytes, const char *field,
                     struct image_error *error) must_check;
/* Copies and zeroes the rest: `bytes` of `from` and then zeroes up to `total`. Returns 0 or
 * -E_RANGE with *error. */
int load_copy(const struct gmem *mem, u64 at, const void *from, u64 bytes, u64 total,
              struct image_error *error) must_check;

/* Copies a module to the highest pages below `limit` that the image leaves free. Returns 0 and where
 * it is, or -E_RANGE with *error. */
int load_module(const struct gmem *mem, const struct image_module *module, const struct extent *image, u64 limit,
                u64 *at, struct image_error *error) must_check;
/* Writes base (8 bytes), length (8) and type (4; 1 RAM, 2 reserved; devices are no memory) of each run
 * every `stride` bytes, the configuration space of PCI as the last. Returns the number of runs, or -E_RANGE with
 * *error. */
int load_memory_map(const struct gmem *mem, u8 *at, u32 stride, struct image_error *error) must_check;

/* What the 32-bit forms hand over beside their own tables: modules in memory, and the map of it. */
struct handover {
    u8 *info;   /* BOOT_INFO */
    u8 *map;    /* as of load_memory_map, every 24 bytes; 4 bytes before it are free */
    u32 ranges; /* in the map */
    u64 module[IMAGE_MODULES_MAX];
};
/* After load_boot_area. Returns 0 or -E_RANGE with *error. */
int load_handover(const struct gmem *mem, const struct image_request *request, const struct extent *image,
                  struct handover *out, struct image_error *error) must_check;

/* Writes GDT, command line (at most `limit` characters) and for long mode page tables, and sets the
 * fields of *start that all formats have in common; the others become 0. Returns 0, -E_INVAL or
 * -E_RANGE with *error. */
int load_boot_area(const struct gmem *mem, const char *cmdline, u64 limit, enum start_mode mode,
                   struct start_state *start, struct image_error *error) must_check;

/* Fills *error and returns `code`. */
int load_fail(struct image_error *error, int code, const char *format, ...) printf_like(3, 4);

/* Little-endian fields at any alignment; the caller has checked that they lie within. */
u16 load_u16(const u8 *at);
u32 load_u32(const u8 *at);
u64 load_u64(const u8 *at);

void load_store(u8 *at, u64 value, u32 bytes);

/* The PT_LOAD segments of an ELF file into memory. *entry: in, an address of the guest, or NEVER for
 * e_entry; out, where in memory it is. Returns 0 and what the segments cover, or a negative error. */
int elf_segments(const struct gmem *mem, const struct image_request *request, struct extent *image, u64 *entry,
                 struct image_error *error) must_check;

bool linux_detect(const struct image_request *request);
bool elf_detect(const struct image_request *request);
bool pvh_detect(const struct image_request *request);
bool multiboot_detect(const struct image_request *request);
bool multiboot2_detect(const struct image_request *request);

typedef int image_loader(const struct gmem *mem, const struct image_request *request, struct start_state *start,
                         struct image_error *error) must_check;
image_loader linux_load, elf_load, flat_load, pvh_load, multiboot_load, multiboot2_load, firmware_load;
