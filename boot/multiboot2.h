/* The boot information of a Multiboot2 loader, read in place (Multiboot2 Specification, Boot
 * Information Format). Boot core, before start; nothing is copied or kept. Every length is the
 * loader's word and is checked: first mb2_check, then the rest, with the same `mbi`. Pure. */
#pragma once

#include "core/base/types.h"
#include "mm/frames.h"

enum mb2_tag_type {
    MB2_TAG_END = 0,
    MB2_TAG_CMDLINE = 1,
    MB2_TAG_LOADER_NAME = 2,
    MB2_TAG_MODULE = 3,
    MB2_TAG_MEMORY_MAP = 6,
    MB2_TAG_FRAMEBUFFER = 8,
    MB2_TAG_RSDP_OLD = 14, /* copy of an ACPI 1.0 RSDP, 20 bytes */
    MB2_TAG_RSDP_NEW = 15, /* copy of an ACPI 2.0 or later RSDP, 36 bytes */
};

/* Types: memory that may be used; with ACPI tables; kept over sleep. Others are no memory. */
#define MB2_MEMORY_RAM    1u
#define MB2_MEMORY_TABLES 3u
#define MB2_MEMORY_KEPT   4u

/* The header of every tag; its data follows. */
struct mb2_tag {
    u32 type;
    u32 size; /* bytes with this header, without the padding to the next tag */
};

struct mb2_memory {
    u64 base;
    u64 bytes; /* base + bytes may wrap: firmware is not to be trusted */
    u32 type;
};

struct mb2_module {
    hpa_t start;
    u64 bytes;
    const char *string; /* the module's name and arguments, inside the tag */
};

/* A screen whose memory can be drawn on as drivers/screen.h does it. */
struct mb2_screen {
    hpa_t at;
    u64 bytes;
    u32 width, height; /* pixels, or characters if `text` */
    u32 pitch;         /* bytes */
    bool text;         /* a VGA's text memory; else 32 bits for each pixel */
    u32 ink;           /* the pixel that is lightest in all its colours */
};

/* Follows the tags from the first to the end tag, without a step outside the `limit` readable bytes
 * at mbi. total: bytes of the whole structure. Returns 0, -E_INVAL (not aligned to 8 bytes, a size
 * that cannot be, no end tag) or -E_TRUNCATED (longer than limit). */
int mb2_check(const void *mbi, u64 limit, u64 *total) must_check;

/* The first tag of this type behind `after` (NULL: from the start), or NULL. */
const struct mb2_tag *mb2_find(const void *mbi, u32 type, const struct mb2_tag *after);

/* The text of a CMDLINE or LOADER_NAME tag, or NULL if it does not end inside the tag. */
const char *mb2_string(const struct mb2_tag *tag);
/* The text of the first such tag, "" if there is none or it is malformed. */
const char *mb2_cmdline(const void *mbi);

/* Reads a MODULE tag. Returns 0 or -E_INVAL (too short, ends before it starts, no end of text). */
int mb2_module(const struct mb2_tag *tag, struct mb2_module *out) must_check;

/* Reads entry `index` of a MEMORY_MAP tag. Returns 0, -E_NOENT (behind the last one) or -E_INVAL
 * (the tag is malformed; so is every entry). */
int mb2_memory(const struct mb2_tag *tag, u32 index, struct mb2_memory *out) must_check;

/* What a map tells in all. */
struct mb2_memory_sum {
    u64 top;    /* end of the highest usable memory that was taken */
    u64 beyond; /* bytes of usable memory that were not, because they lie at or above the limit */
};
/* Adds the usable memory below `limit` to `usable`, and takes out again what any other entry claims as well: firmware
 * maps overlap. Adds all memory, whatever its use, to `all`. Returns 0 or -E_NOMEM: more pieces than one of them has
 * room for.
 */
int mb2_collect_memory(const struct mb2_tag *tag, u64 limit, struct frames *usable, struct frames *all,
                       struct mb2_memory_sum *sum) must_check;
/* Reads a FRAMEBUFFER tag. Returns 0, -E_INVAL (too short, rows that overlap, beyond 52 address bits) or
 * -E_UNSUPPORTED (neither text nor direct colour of 8 bits each in 32). */
int mb2_framebuffer(const struct mb2_tag *tag, struct mb2_screen *out) must_check;

/* The loader's copy of the RSDP, the newer form if it gave both; NULL if none. bytes: of the
 * copy, at least 20 (old) or 36 (new). Its checksums are still to be verified. */
const void *mb2_rsdp(const void *mbi, u64 *bytes);
