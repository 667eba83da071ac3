/* Arbitrary bytes as Multiboot2 boot information. Holds: the structure and each tag lie inside the
 * bytes that were declared readable (the copy ends where its allocation ends); tags of one type
 * come in rising order; text ends inside its tag; a structure cut short is refused. */
#include <string.h>

#include "boot/multiboot2.h"
#include "core/base/bits.h"
#include "core/base/errors.h"
#include "test/fuzz/fuzz.h"

struct bounds {
    const u8 *from, *to;
};

static void require_inside(const struct bounds *b, const void *at, u64 bytes) {
    const u8 *p = at;

    REQUIRE(p >= b->from && p <= b->to && bytes <= (u64)(b->to - p));
}

static void read_memory(const struct mb2_tag *tag) {
    struct mb2_memory memory;
    u32 index = 0;
    int rc;

    while ((rc = mb2_memory(tag, index, &memory)) == 0) index++;
    REQUIRE(rc == -E_NOENT || (rc == -E_INVAL && index == 0));
    REQUIRE(index <= tag->size / 24);
    /* Far behind the end, where a product of 32 bits would wrap. */
    REQUIRE(mb2_memory(tag, ~0u, &memory) == rc);
}

/* What is free is below the limit and no other entry's. */
static void collect(const struct mb2_tag *tag) {
    struct frame_range ranges[16], all_ranges[16];
    struct frames f = {.ranges = ranges, .max = 16}, all = {.ranges = all_ranges, .max = 16};
    struct mb2_memory_sum sum;
    struct mb2_memory m;

    if (mb2_collect_memory(tag, 1ull << 46, &f, &all, &sum)) return;
    REQUIRE(sum.top <= 1ull << 46);
    for (u32 i = 0; i < f.count; i++) {
        u64 end = ranges[i].base + ranges[i].bytes;

        REQUIRE(ranges[i].base < end && end <= sum.top);
        for (u32 k = 0; mb2_memory(tag, k, &m) == 0; k++)
            REQUIRE(m.type == MB2_MEMORY_RAM || !m.bytes || m.base >= end ||
                    (m.bytes <= ranges[i].base - m.base && m.base <= ranges[i].base));
    }
}

static void read_tag(const struct bounds *b, const struct mb2_tag *tag) {
    const struct bounds inside = {(const u8 *)tag, (const u8 *)tag + tag->size};
    struct mb2_module module;
    struct mb2_screen screen;
    const char *text;
    int rc;

    require_inside(b, tag, tag->size);
    text = mb2_string(tag);
    if (text) require_inside(&inside, text, strlen(text) + 1);
    if (tag->type == MB2_TAG_MODULE && tag->size >= 16) {
        rc = mb2_module(tag, &module);
        REQUIRE(rc == 0 || rc == -E_INVAL);
        if (rc == 0) {
            require_inside(&inside, module.string, strlen(module.string) + 1);
            REQUIRE(module.bytes <= 0xffffffff - module.start.v);
        }
    }
    if (tag->type == MB2_TAG_MEMORY_MAP) read_memory(tag);
    if (tag->type == MB2_TAG_MEMORY_MAP) collect(tag);
    if (tag->type == MB2_TAG_FRAMEBUFFER) {
        rc = mb2_framebuffer(tag, &screen);
        REQUIRE(rc == 0 || rc == -E_INVAL || rc == -E_UNSUPPORTED);
        if (rc == 0) {
            REQUIRE(screen.bytes && screen.bytes <= GIB(1) && screen.at.v + screen.bytes <= (u64)1 << 52);
            REQUIRE((u64)screen.width * (screen.text ? 2 : 4) <= screen.pitch);
            REQUIRE((u64)screen.pitch * screen.height == screen.bytes);
        }
    }
}

static void read_all(const void *mbi, u64 total) {
    const struct bounds b = {mbi, (const u8 *)mbi + total};
    u64 bytes;
    const void *rsdp;

    for (u32 type = 1; type < 32; type++) {
        const struct mb2_tag *tag = NULL, *next;

        while ((next = mb2_find(mbi, type, tag))) {
            REQUIRE(next > tag && next->type == type);
            tag = next;
            read_tag(&b, tag);
        }
    }
    require_inside(&b, mbi, strlen(mb2_cmdline(mbi)) ? strlen(mb2_cmdline(mbi)) : 0);
    rsdp = mb2_rsdp(mbi, &bytes);
    if (rsdp) {
        REQUIRE(bytes >= 20);
        require_inside(&b, rsdp, bytes);
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    u64 total = 0, less;
    u8 *copy = malloc(size + 1);
    int rc;

    memcpy(copy, data, size);
    /* The loader's word about the length is often right. */
    if (size >= 16 && data[4] & 1) memcpy(copy, &(u32){(u32)size}, 4);
    copy = realloc(copy, size ? size : 1);
    rc = mb2_check(copy, size, &total);
    REQUIRE(rc == 0 || rc == -E_INVAL || rc == -E_TRUNCATED);
    if (rc == 0) {
        REQUIRE(total >= 16 && total <= size);
        read_all(copy, total);
        REQUIRE(mb2_check(copy, total - 1, &less) == -E_TRUNCATED);
    }
    free(copy);
    return 0;
}
