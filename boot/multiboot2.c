/* Reads the Multiboot2 boot information in place. Called by boot alone; never touches hardware,
 * never writes to the structure and never reads past a length that was not checked. */
#include "boot/multiboot2.h"

#include "core/base/bits.h"
#include "core/base/errors.h"

/* Multiboot2 Specification, Boot Information Format: Basic Tags Structure. Tags start on 8-byte
 * borders. */
#define MB2_ALIGN 8u

struct info_header {
    u32 total_size;
    u32 reserved;
};

struct module_tag {
    struct mb2_tag tag;
    u32 start, end;
    char string[];
};

struct memory_map_tag {
    struct mb2_tag tag;
    u32 entry_size; /* a multiple of 8; later versions may append to an entry */
    u32 entry_version;
};

struct memory_entry {
    u64 base, bytes;
    u32 type, reserved;
};

/* Framebuffer info. The specification has one reserved byte, GRUB's own header two: the colours begin at 32. */
struct framebuffer_tag {
    struct mb2_tag tag;
    u64 address;
    u32 pitch, width, height;
    u8 bits, type;
    u16 reserved;
    struct {
        u8 position, size;
    } colors[3]; /* red, green, blue: of direct colour only */
};
#define FRAMEBUFFER_DIRECT 1u
#define FRAMEBUFFER_TEXT   2u
#define FRAMEBUFFER_MOST   GIB(1) /* bytes */
_Static_assert(offsetof(struct framebuffer_tag, colors) == 32, "framebuffer tag");

_Static_assert(sizeof(struct info_header) == 8, "fixed part");
_Static_assert(sizeof(struct mb2_tag) == 8, "tag header");
_Static_assert(offsetof(struct module_tag, string) == 16, "module tag");
_Static_assert(sizeof(struct memory_map_tag) == 16, "memory map tag");
_Static_assert(sizeof(struct memory_entry) == 24, "memory map entry");

#define RSDP_OLD_BYTES 20u
#define RSDP_NEW_BYTES 36u

static u64 total_of(const void *mbi) { return ((const struct info_header *)mbi)->total_size; }

/* The tag `offset` bytes into a structure of `total` bytes, or NULL if it does not lie inside. */
static const struct mb2_tag *tag_at(const void *mbi, u64 total, u64 offset) {
    const struct mb2_tag *tag = (const void *)((const u8 *)mbi + offset);

    if (offset > total || total - offset < sizeof(*tag)) return NULL;
    if (tag->size < sizeof(*tag) || tag->size > total - offset) return NULL;
    return tag;
}

static u64 offset_behind(const void *mbi, const struct mb2_tag *tag) {
    return align_up((u64)((const u8 *)tag - (const u8 *)mbi) + tag->size, MB2_ALIGN);
}

int mb2_check(const void *mbi, u64 limit, u64 *total) {
    u64 offset = sizeof(struct info_header);
    const struct mb2_tag *tag;

    if (!mbi || !is_aligned((u64)mbi, MB2_ALIGN)) return -E_INVAL;
    if (limit < sizeof(struct info_header)) return -E_TRUNCATED;
    if (total_of(mbi) > limit) return -E_TRUNCATED;
    do {
        tag = tag_at(mbi, total_of(mbi), offset);
        if (!tag) return -E_INVAL;
        offset = offset_behind(mbi, tag);
    } while (tag->type != MB2_TAG_END);
    *total = total_of(mbi);
    return 0;
}

const struct mb2_tag *mb2_find(const void *mbi, u32 type, const struct mb2_tag *after) {
    u64 offset = after ? offset_behind(mbi, after) : sizeof(struct info_header);

    for (;;) {
        const struct mb2_tag *tag = tag_at(mbi, total_of(mbi), offset);

        if (!tag || tag->type == MB2_TAG_END) return NULL;
        if (tag->type == type) return tag;
        offset = offset_behind(mbi, tag);
    }
}

/* The text from `offset` to the end of the tag, or NULL if no NUL ends it there. */
static const char *text_at(const struct mb2_tag *tag, u64 offset) {
    const char *text = (const char *)tag + offset;

    for (u64 i = offset; i < tag->size; i++)
        if (text[i - offset] == '\0') return text;
    return NULL;
}

const char *mb2_string(const struct mb2_tag *tag) { return text_at(tag, sizeof(*tag)); }

const char *mb2_cmdline(const void *mbi) {
    const struct mb2_tag *tag = mb2_find(mbi, MB2_TAG_CMDLINE, NULL);
    const char *text = tag ? mb2_string(tag) : NULL;

    return text ? text : "";
}

int mb2_module(const struct mb2_tag *tag, struct mb2_module *out) {
    const struct module_tag *module = (const void *)tag;
    const char *text = text_at(tag, offsetof(struct module_tag, string));

    if (!text || module->end < module->start) return -E_INVAL;
    *out = (struct mb2_module){hpa(module->start), module->end - module->start, text};
    return 0;
}

int mb2_memory(const struct mb2_tag *tag, u32 index, struct mb2_memory *out) {
    const struct memory_map_tag *map = (const void *)tag;
    const struct memory_entry *entry;

    if (tag->size < sizeof(*map) || map->entry_size < sizeof(*entry) || !is_aligned(map->entry_size, MB2_ALIGN))
        return -E_INVAL;
    if (index >= (tag->size - sizeof(*map)) / map->entry_size) return -E_NOENT;
    entry = (const void *)((const u8 *)(map + 1) + (u64)index * map->entry_size);
    *out = (struct mb2_memory){entry->base, entry->bytes, entry->type};
    return 0;
}

int mb2_collect_memory(const struct mb2_tag *tag, u64 limit, struct frames *usable, struct frames *all,
                       struct mb2_memory_sum *sum) {
    struct mb2_memory m;

    *sum = (struct mb2_memory_sum){0};
    for (u32 i = 0; mb2_memory(tag, i, &m) == 0; i++) {
        u64 bytes = m.base < limit ? min_u64(m.bytes, limit - m.base) : 0;

        if (m.type != MB2_MEMORY_RAM && m.type != MB2_MEMORY_TABLES && m.type != MB2_MEMORY_KEPT) continue;
        if (frames_add(all, m.base, m.bytes)) return -E_NOMEM;
        if (m.type != MB2_MEMORY_RAM) continue;
        sum->beyond += m.bytes - bytes;
        if (!bytes) continue;
        sum->top = max_u64(sum->top, m.base + bytes);
        if (frames_add(usable, m.base, bytes)) return -E_NOMEM;
    }
    for (u32 i = 0; mb2_memory(tag, i, &m) == 0; i++)
        if (m.type != MB2_MEMORY_RAM && frames_reserve(usable, m.base, m.bytes)) return -E_NOMEM;
    return 0;
}

int mb2_framebuffer(const struct mb2_tag *tag, struct mb2_screen *out) {
    const struct framebuffer_tag *f = (const void *)tag;
    const bool text = tag->size >= offsetof(struct framebuffer_tag, colors) && f->type == FRAMEBUFFER_TEXT;
    const u32 cell = text ? 2 : 4; /* bytes */
    u32 ink = 0;

    if (tag->size < (text ? offsetof(struct framebuffer_tag, colors) : offsetof(struct framebuffer_tag, colors[3])))
        return -E_INVAL;
    if (!text && (f->type != FRAMEBUFFER_DIRECT || f->bits != 32)) return -E_UNSUPPORTED;
    for (u32 i = 0; i < ARRAY_SIZE(f->colors) && !text; i++) {
        if (f->colors[i].size != 8 || f->colors[i].position > 24) return -E_UNSUPPORTED;
        ink |= 0xffu << f->colors[i].position;
    }
    if (!f->address || !is_aligned(f->address, cell) || !is_aligned(f->pitch, cell) || !f->width || !f->height ||
        (u64)f->width * cell > f->pitch || (u64)f->pitch * f->height > FRAMEBUFFER_MOST ||
        f->address > BIT(52) - FRAMEBUFFER_MOST)
        return -E_INVAL;
    *out = (struct mb2_screen){.at = hpa(f->address),
                               .bytes = (u64)f->pitch * f->height,
                               .width = f->width,
                               .height = f->height,
                               .pitch = f->pitch,
                               .text = text,
                               .ink = ink};
    return 0;
}

const void *mb2_rsdp(const void *mbi, u64 *bytes) {
    static const struct {
        u32 type, least;
    } forms[] = {{MB2_TAG_RSDP_NEW, RSDP_NEW_BYTES}, {MB2_TAG_RSDP_OLD, RSDP_OLD_BYTES}};

    for (u32 i = 0; i < ARRAY_SIZE(forms); i++) {
        const struct mb2_tag *tag = mb2_find(mbi, forms[i].type, NULL);

        if (!tag || tag->size - sizeof(*tag) < forms[i].least) continue;
        *bytes = tag->size - sizeof(*tag);
        return tag + 1;
    }
    return NULL;
}
