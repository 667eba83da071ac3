/* boot/multiboot2.c: a structure as GRUB makes it, each length wrong in turn, and random bytes. The
 * structure under test ends where its allocation ends, so that ASan sees a read past it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "boot/multiboot2.h"
#include "core/base/bits.h"
#include "core/base/errors.h"

struct builder {
    u8 bytes[24576];
    u32 used;
};

static void put(struct builder *b, const void *data, u32 bytes) {
    assert_true(b->used + bytes <= sizeof(b->bytes));
    memcpy(b->bytes + b->used, data, bytes);
    b->used += bytes;
}

static void put32(struct builder *b, u32 value) { put(b, &value, sizeof(value)); }

static void put64(struct builder *b, u64 value) { put(b, &value, sizeof(value)); }

static void start(struct builder *b) {
    memset(b, 0, sizeof(*b));
    b->used = 8;
}

/* Begins a tag on its border; size: with the header. */
static void tag(struct builder *b, u32 type, u32 size) {
    b->used = (u32)align_up(b->used, 8);
    put32(b, type);
    put32(b, size);
}

static void text_tag(struct builder *b, u32 type, const char *text) {
    u32 bytes = (u32)strlen(text) + 1;

    tag(b, type, 8 + bytes);
    put(b, text, bytes);
}

static void module_tag(struct builder *b, u32 from, u32 to, const char *text) {
    u32 bytes = (u32)strlen(text) + 1;

    tag(b, MB2_TAG_MODULE, 16 + bytes);
    put32(b, from);
    put32(b, to);
    put(b, text, bytes);
}

/* Ends the structure and hands out a copy of exactly its length. */
static void *finish(struct builder *b) {
    void *copy;

    tag(b, MB2_TAG_END, 8);
    memcpy(b->bytes, &b->used, sizeof(b->used));
    copy = malloc(b->used);
    memcpy(copy, b->bytes, b->used);
    return copy;
}

static void typical(struct builder *b, u32 entry_size) {
    u8 rsdp[36] = "RSD PTR ";

    start(b);
    text_tag(b, MB2_TAG_CMDLINE, "console=com1");
    text_tag(b, MB2_TAG_LOADER_NAME, "GRUB 2.06");
    module_tag(b, 0x200000, 0x200123, "mullion.toml");
    module_tag(b, 0x300000, 0x300000, "");
    tag(b, MB2_TAG_MEMORY_MAP, 16 + 2 * entry_size);
    put32(b, entry_size);
    put32(b, 0);
    for (u32 i = 0; i < 2; i++) {
        put64(b, GIB(4) * i);
        put64(b, GIB(1) + i);
        put32(b, 1 + i);
        put32(b, 0);
        b->used += entry_size - 24;
    }
    tag(b, MB2_TAG_RSDP_OLD, 8 + 20);
    put(b, rsdp, 20);
    tag(b, MB2_TAG_RSDP_NEW, 8 + 36);
    put(b, rsdp, 36);
}

static void check_typical(const void *mbi, u64 used) {
    const struct mb2_tag *t;
    struct mb2_module module;
    struct mb2_memory memory;
    u64 total, bytes;

    assert_int_equal(0, mb2_check(mbi, used + 100, &total));
    assert_int_equal(used, total);
    assert_string_equal("console=com1", mb2_cmdline(mbi));
    assert_string_equal("GRUB 2.06", mb2_string(mb2_find(mbi, MB2_TAG_LOADER_NAME, NULL)));

    t = mb2_find(mbi, MB2_TAG_MODULE, NULL);
    assert_int_equal(0, mb2_module(t, &module));
    assert_int_equal(0x200000, module.start.v);
    assert_int_equal(0x123, module.bytes);
    assert_string_equal("mullion.toml", module.string);
    t = mb2_find(mbi, MB2_TAG_MODULE, t);
    assert_int_equal(0, mb2_module(t, &module));
    assert_int_equal(0, module.bytes);
    assert_string_equal("", module.string);
    assert_null(mb2_find(mbi, MB2_TAG_MODULE, t));

    t = mb2_find(mbi, MB2_TAG_MEMORY_MAP, NULL);
    for (u32 i = 0; i < 2; i++) {
        assert_int_equal(0, mb2_memory(t, i, &memory));
        assert_int_equal(GIB(4) * i, memory.base);
        assert_int_equal(GIB(1) + i, memory.bytes);
        assert_int_equal(1 + i, memory.type);
    }
    assert_int_equal(-E_NOENT, mb2_memory(t, 2, &memory));
    assert_int_equal(-E_NOENT, mb2_memory(t, ~0u, &memory));

    assert_memory_equal("RSD PTR ", mb2_rsdp(mbi, &bytes), 8);
    assert_int_equal(36, bytes);
}

static void test_typical(void **state) {
    struct builder b;

    (void)state;
    for (u32 entry_size = 24; entry_size <= 48; entry_size += 8) {
        void *mbi;

        typical(&b, entry_size);
        mbi = finish(&b);
        check_typical(mbi, b.used);
        free(mbi);
    }
}

static void test_empty(void **state) {
    struct builder b;
    u64 total, bytes;
    void *mbi;

    (void)state;
    start(&b);
    mbi = finish(&b);
    assert_int_equal(0, mb2_check(mbi, b.used, &total));
    assert_int_equal(16, total);
    assert_string_equal("", mb2_cmdline(mbi));
    assert_null(mb2_find(mbi, MB2_TAG_END, NULL)); /* the end is no tag to find */
    assert_null(mb2_rsdp(mbi, &bytes));
    free(mbi);
}

static void test_check_refuses(void **state) {
    static const u32 sizes[] = {0, 7, 25, 0x7fffffff, 0xfffffff8, 0xffffffff};
    struct builder b;
    u64 total = 0;
    u32 *mbi;

    (void)state;
    start(&b);
    tag(&b, MB2_TAG_LOADER_NAME, 16);
    put64(&b, 0);
    mbi = finish(&b);
    assert_int_equal(32, b.used);
    assert_int_equal(-E_INVAL, mb2_check(NULL, 32, &total));
    assert_int_equal(-E_INVAL, mb2_check((u8 *)mbi + 4, 28, &total));
    for (u64 limit = 0; limit < 32; limit++) assert_int_equal(-E_TRUNCATED, mb2_check(mbi, limit, &total));
    /* A total that cuts the end tag off, or the first tag short. */
    for (u32 cut = 0; cut < 32; cut++) {
        mbi[0] = cut;
        assert_int_equal(-E_INVAL, mb2_check(mbi, 32, &total));
        assert_null(mb2_find(mbi, MB2_TAG_MODULE, NULL));
    }
    mbi[0] = 0xffffffff;
    assert_int_equal(-E_TRUNCATED, mb2_check(mbi, 32, &total));
    mbi[0] = 32;
    for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
        mbi[3] = sizes[i];
        assert_int_equal(-E_INVAL, mb2_check(mbi, 32, &total));
    }
    mbi[3] = 24; /* steps over the end tag */
    assert_int_equal(-E_INVAL, mb2_check(mbi, 32, &total));
    assert_int_equal(0, total);
    mbi[3] = 9; /* padded to 16: sound */
    assert_int_equal(0, mb2_check(mbi, 32, &total));
    free(mbi);
}

/* A tag of its own in an allocation of exactly its size. */
static struct mb2_tag *lone(u32 type, u32 size, const void *data) {
    struct mb2_tag *t = malloc(size);

    *t = (struct mb2_tag){type, size};
    memcpy(t + 1, data, size - sizeof(*t));
    return t;
}

static void test_bad_tags(void **state) {
    static const u32 module[] = {0x2000, 0x1000, 'a'}, open_text[] = {0, 0, 0x61616161};
    static const struct {
        u32 size, entry_size;
        int err;
    } maps[] = {
        {8, 24, -E_INVAL},  {15, 24, -E_INVAL},         {40, 0, -E_INVAL},  {40, 23, -E_INVAL},
        {40, 25, -E_INVAL}, {40, 16, -E_INVAL},         {16, 24, -E_NOENT}, {39, 24, -E_NOENT},
        {40, 32, -E_NOENT}, {40, 0xfffffff8, -E_NOENT}, {40, 24, 0},
    };
    struct mb2_module out;
    struct mb2_memory entry;
    struct mb2_tag *t;

    (void)state;
    for (u32 size = 8; size < 17; size++) {
        t = lone(MB2_TAG_MODULE, size, open_text);
        assert_int_equal(-E_INVAL, mb2_module(t, &out));
        free(t);
    }
    t = lone(MB2_TAG_MODULE, 20, module);
    assert_int_equal(-E_INVAL, mb2_module(t, &out)); /* ends before it starts */
    free(t);
    t = lone(MB2_TAG_MODULE, 20, open_text);
    assert_int_equal(-E_INVAL, mb2_module(t, &out));
    assert_non_null(mb2_string(t));
    free(t);
    t = lone(MB2_TAG_CMDLINE, 12, &open_text[2]);
    assert_null(mb2_string(t));
    t->size = 8;
    assert_null(mb2_string(t));
    free(t);
    for (u32 i = 0; i < ARRAY_SIZE(maps); i++) {
        u32 data[8] = {maps[i].entry_size};

        t = lone(MB2_TAG_MEMORY_MAP, maps[i].size, data);
        assert_int_equal(maps[i].err, mb2_memory(t, 0, &entry));
        free(t);
    }
}

/* Tags that are too short for what they should hold count as absent. */
static void test_short_tags(void **state) {
    struct builder b;
    u64 total, bytes;
    void *mbi;

    (void)state;
    start(&b);
    tag(&b, MB2_TAG_CMDLINE, 12);
    put32(&b, 0x61616161);
    tag(&b, MB2_TAG_RSDP_NEW, 8 + 35);
    b.used += 35;
    tag(&b, MB2_TAG_RSDP_OLD, 8 + 20);
    put(&b, "RSD PTR 012345678901", 20);
    mbi = finish(&b);
    assert_int_equal(0, mb2_check(mbi, b.used, &total));
    assert_string_equal("", mb2_cmdline(mbi));
    assert_memory_equal("RSD PTR ", mb2_rsdp(mbi, &bytes), 8);
    assert_int_equal(20, bytes);
    free(mbi);
}

static u64 seed = 1;
static u32 draw(u32 below) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(seed >> 33) % below;
}

/* Reads everything that can be read; sums it so that nothing is left out. */
static u64 read_all(const void *mbi) {
    u64 sum = strlen(mb2_cmdline(mbi)), bytes = 0;
    const struct mb2_tag *t = NULL;
    struct mb2_module module;
    struct mb2_memory memory;
    const u8 *rsdp = mb2_rsdp(mbi, &bytes);

    while ((t = mb2_find(mbi, MB2_TAG_MODULE, t)) != NULL)
        if (mb2_module(t, &module) == 0) sum += strlen(module.string) + module.bytes;
    while ((t = mb2_find(mbi, MB2_TAG_MEMORY_MAP, t)) != NULL)
        for (u32 i = 0; mb2_memory(t, i, &memory) == 0; i++) sum += memory.base + memory.type;
    for (u64 i = 0; rsdp && i < bytes; i++) sum += rsdp[i];
    return sum;
}

struct map_entry {
    u64 base, bytes;
    u32 type;
};

static const struct mb2_tag *memory_map(struct builder *b, const struct map_entry *entries, u32 count) {
    start(b);
    tag(b, MB2_TAG_MEMORY_MAP, 16 + 24 * count);
    put32(b, 24);
    put32(b, 0);
    for (u32 i = 0; i < count; i++) {
        put64(b, entries[i].base);
        put64(b, entries[i].bytes);
        put32(b, entries[i].type);
        put32(b, 0);
    }
    return (const void *)(b->bytes + 8);
}

static void is_free(const struct frames *f, u32 index, u64 base, u64 bytes) {
    assert_true(index < f->count);
    assert_int_equal(base, f->ranges[index].base);
    assert_int_equal(bytes, f->ranges[index].bytes);
}

/* Memory below 1 MiB and above 4 GiB, a hot spot in the middle, in no order, entries that overlap and that wrap. */
static void test_collect(void **state) {
    static const struct map_entry entries[] = {
        {GIB(4), GIB(60), 1},    {0, 0x9fc00, 1},      {0x9fc00, 0x400, 2},      {MIB(1), GIB(2), 1},
        {GIB(1), MIB(2) + 1, 5}, {GIB(2), MIB(1), 3},  {GIB(3), GIB(1), 2},      {0x5000, 0x1000, 4},
        {BIT(46), GIB(4), 1},    {BIT(47), GIB(8), 1}, {NEVER - 4095, NEVER, 1}, {0, 0, 1},
    };
    struct frame_range ranges[8], all_ranges[5];
    struct frames f = {.ranges = ranges, .max = 8}, all = {.ranges = all_ranges, .max = 5};
    struct mb2_memory_sum sum;
    struct builder b;

    (void)state;
    assert_int_equal(0, mb2_collect_memory(memory_map(&b, entries, 10), BIT(46) + GIB(1), &f, &all, &sum));
    assert_int_equal(6, f.count);
    is_free(&f, 0, 0, 0x5000);
    is_free(&f, 1, 0x6000, 0x99000);
    is_free(&f, 2, MIB(1), GIB(1) - MIB(1));
    is_free(&f, 3, GIB(1) + MIB(2) + PAGE_4K, GIB(1) - MIB(2) - PAGE_4K);
    is_free(&f, 4, GIB(4), GIB(60));
    is_free(&f, 5, BIT(46), GIB(1));
    assert_int_equal(BIT(46) + GIB(1), sum.top);
    assert_int_equal(GIB(3) + GIB(8), sum.beyond);
    assert_int_equal(5, all.count); /* the tables and what lies beyond the limit as well */
    is_free(&all, 0, 0, 0x9f000);
    is_free(&all, 1, MIB(1), GIB(2));
    is_free(&all, 2, GIB(4), GIB(60));
    is_free(&all, 3, BIT(46), GIB(4));
    is_free(&all, 4, BIT(47), GIB(8));
    f.count = all.count = 0;
    all.max = 4; /* one too few */
    assert_int_equal(-E_NOMEM, mb2_collect_memory(memory_map(&b, entries, 10), BIT(46) + GIB(1), &f, &all, &sum));
    all.max = 5;
    f.count = 0;
    f.max = 5; /* one too few */
    assert_int_equal(-E_NOMEM, mb2_collect_memory(memory_map(&b, entries, 10), BIT(46) + GIB(1), &f, &all, &sum));
    f.count = 0;
    f.max = 3; /* too few before anything is taken out */
    assert_int_equal(-E_NOMEM, mb2_collect_memory(memory_map(&b, entries, 10), BIT(46) + GIB(1), &f, &all, &sum));
    f = (struct frames){.ranges = ranges, .max = 8};
    assert_int_equal(0, mb2_collect_memory(memory_map(&b, entries + 10, 2), BIT(46), &f, &all, &sum));
    assert_true(f.count == 0 && sum.top == 0);
}

/* As EFI firmware has them: hundreds of entries, of which neighbours join. */
static void test_collect_many(void **state) {
    static struct map_entry entries[900];
    static struct frame_range ranges[1024], all_ranges[1024];
    static struct builder b;
    struct frames f = {.ranges = ranges, .max = 1024}, all = {.ranges = all_ranges, .max = 1024};
    struct mb2_memory_sum sum;

    (void)state;
    for (u32 i = 0; i < 900; i++) entries[899 - i] = (struct map_entry){MIB(i), MIB(1), i % 3 == 2 ? 2 : 1};
    assert_int_equal(0, mb2_collect_memory(memory_map(&b, entries, 900), GIB(4), &f, &all, &sum));
    assert_int_equal(300, f.count);
    for (u32 i = 0; i < 300; i++) is_free(&f, i, MIB(3 * i), MIB(2));
    assert_int_equal(MIB(899), sum.top);
}

static void test_mutations(void **state) {
    volatile u64 sum = 0;
    u32 sound = 0;
    struct builder b;
    u64 total;

    (void)state;
    for (u32 n = 0; n < 20000; n++) {
        u8 *mbi;

        typical(&b, 24);
        mbi = finish(&b);
        for (u32 i = draw(4); i < 4; i++) mbi[draw(b.used)] = (u8)draw(draw(2) ? 256 : 32);
        if (mb2_check(mbi, b.used, &total) == 0) {
            sound++;
            sum += read_all(mbi);
        }
        free(mbi);
    }
    assert_true(sound > 1000 && sound < 20000);
}

/* --- the framebuffer --- */

struct picture {
    u64 at;
    u32 pitch, width, height;
    u8 bits, type;
    u8 colors[6];
    u32 size; /* of the tag; 0: what the type has */
};

static int read_picture(const struct picture *p, struct mb2_screen *out) {
    struct builder b;
    u64 total;
    void *mbi;
    int rc;

    start(&b);
    tag(&b, MB2_TAG_FRAMEBUFFER, p->size ? p->size : p->type == 2 ? 32 : 38);
    put64(&b, p->at);
    put32(&b, p->pitch);
    put32(&b, p->width);
    put32(&b, p->height);
    put32(&b, (u32)p->bits | (u32)p->type << 8 | 0x5a5a0000);
    put(&b, p->colors, p->size ? p->size - 32 : p->type == 2 ? 0 : 6);
    mbi = finish(&b);
    assert_int_equal(0, mb2_check(mbi, b.used, &total));
    rc = mb2_framebuffer(mb2_find(mbi, MB2_TAG_FRAMEBUFFER, NULL), out);
    free(mbi);
    return rc;
}

static const struct picture direct = {0x380000000000, 4096, 1024, 768, 32, 1, {16, 8, 8, 8, 0, 8}, 0};
static struct picture changed;
/* Direct colour, but for this. */
#define WITH(change) (changed = direct, changed.change, read_picture(&changed, &s))

static void test_framebuffer(void **state) {
    struct mb2_screen s = {0};
    struct builder b;
    u64 total;
    void *mbi;

    (void)state;
    assert_int_equal(0, read_picture(&direct, &s));
    assert_int_equal(0x380000000000, s.at.v);
    assert_true(s.width == 1024 && s.height == 768 && s.pitch == 4096 && s.bytes == MIB(3) && !s.text);
    assert_int_equal(0xffffff, s.ink);
    assert_int_equal(
        0, (changed = direct, memcpy(changed.colors, (u8[]){0, 8, 8, 8, 24, 8}, 6), read_picture(&changed, &s)));
    assert_int_equal(0xff00ffff, s.ink);
    assert_int_equal(0, read_picture(&(struct picture){0xb8000, 160, 80, 25, 16, 2, {0}, 0}, &s));
    assert_true(s.text && s.at.v == 0xb8000 && s.width == 80 && s.height == 25 && s.bytes == 4000);

    assert_int_equal(-E_UNSUPPORTED, WITH(type = 0)); /* a palette */
    assert_int_equal(-E_UNSUPPORTED, WITH(type = 3));
    assert_int_equal(-E_UNSUPPORTED, WITH(bits = 24));
    assert_int_equal(-E_UNSUPPORTED, (changed = direct, memcpy(changed.colors, (u8[]){16, 8, 8, 8, 0, 7}, 6),
                                      read_picture(&changed, &s)));
    assert_int_equal(-E_UNSUPPORTED, (changed = direct, memcpy(changed.colors, (u8[]){25, 8, 8, 8, 0, 8}, 6),
                                      read_picture(&changed, &s)));
    assert_int_equal(-E_INVAL, WITH(at = 0));
    assert_int_equal(-E_INVAL, WITH(at = 0x380000000002));
    assert_int_equal(-E_INVAL, WITH(at = BIT(52) - MIB(3)));
    assert_int_equal(-E_INVAL, WITH(at = ~3ull));
    assert_int_equal(-E_INVAL, WITH(pitch = 4092));
    assert_int_equal(-E_INVAL, WITH(pitch = 4098));
    assert_int_equal(-E_INVAL, WITH(width = 0));
    assert_int_equal(-E_INVAL, WITH(height = 0));
    assert_int_equal(-E_INVAL, WITH(width = 0x40000001));
    assert_int_equal(-E_INVAL, WITH(height = 0xffffffff));
    assert_int_equal(-E_INVAL, WITH(size = 37));
    assert_int_equal(-E_INVAL, WITH(size = 32));
    start(&b);
    tag(&b, MB2_TAG_FRAMEBUFFER, 8);
    mbi = finish(&b);
    assert_int_equal(0, mb2_check(mbi, b.used, &total));
    assert_int_equal(-E_INVAL, mb2_framebuffer(mb2_find(mbi, MB2_TAG_FRAMEBUFFER, NULL), &s));
    free(mbi);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_typical),  cmocka_unit_test(test_empty),        cmocka_unit_test(test_check_refuses),
        cmocka_unit_test(test_bad_tags), cmocka_unit_test(test_short_tags),   cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_collect),  cmocka_unit_test(test_collect_many), cmocka_unit_test(test_framebuffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
