/* core/image: multiboot images of both versions; each refusal names its field.
 * Multiboot Specification 0.6.96 and Multiboot2 Specification 2.0: OS image format, Machine state, Boot information
 * format. */
#include "test/unit/image_world.h"

#define AT1 0x40 /* of the version 1 header in the file */
#define AT2 0x48

static void seal(u8 *header, u32 words) {
    u32 sum = 0;

    put32(header + 4 * (words - 1), 0);
    for (u32 i = 0; i < words; i++) sum += (u32)get(header + 4 * i, 4);
    put32(header + 4 * (words - 1), 0 - sum);
}

/* Address fields: the file from its offset 0x20 at 1 MiB, 0x400 bytes of it, 0x800 in memory. */
static void make1(struct world *w) {
    u8 *h = w->file + AT1;

    for (u32 i = 0; i < FILE_BYTES; i++) w->file[i] = (u8)(i * 13 + 1);
    put32(h, 0x1badb002);
    put32(h + 4, 0x10003);
    seal(h, 3);
    put32(h + 12, 0x100020);
    put32(h + 16, 0x100000);
    put32(h + 20, 0x100400);
    put32(h + 24, 0x100800);
    put32(h + 28, 0x100123);
    w->rq.format = IMAGE_AUTO;
    w->rq.kernel_bytes = FILE_BYTES;
    w->rq.module_count = 0;
}

/* An ELF file, 32 or 64 bits wide, one segment: 256 bytes in the file, 512 at 2 MiB; its entry virtual. */
static void make_elf_part(struct world *w, bool wide) {
    u8 *f = w->file;

    memset(f, 0, FILE_BYTES);
    memcpy(f, "\177ELF\1\1\1", 7);
    f[4] = wide ? 2 : 1;
    put16(f + 16, 2);
    put16(f + 18, wide ? 62 : 3);
    put32(f + 20, 1);
    put32(f + 24, 0xc0200010);
    put32(f + (wide ? 32 : 28), 0x400);
    put16(f + (wide ? 54 : 42), wide ? 56 : 32);
    put16(f + (wide ? 56 : 44), 1);
    f += 0x400;
    put32(f, 1);
    put32(f + (wide ? 8 : 4), 0x600);
    put32(f + (wide ? 16 : 8), 0xc0200000);
    put32(f + (wide ? 24 : 12), 0x200000);
    put32(f + (wide ? 32 : 16), 256);
    put32(f + (wide ? 40 : 20), 512);
    memset(w->file + 0x600, 0x90, 256);
    w->rq.format = IMAGE_AUTO;
    w->rq.kernel_bytes = FILE_BYTES;
    w->rq.module_count = 0;
}

static void check_start(const struct world *w, u32 magic) {
    assert_int_equal(START_PROTECTED, w->start.mode);
    assert_int_equal(magic, w->start.rax);
    assert_in_range(w->start.rbx, BOOT_AREA_BASE, BOOT_AREA_END);
    assert_int_equal(0, w->start.rsi | w->start.rdi);
    assert_int_equal(0x00cf9b000000ffff, get(w->host + w->start.gdt.v + 8, 8));
    assert_int_equal(0x00cf93000000ffff, get(w->host + w->start.gdt.v + 0x18, 8));
}

static void check_ranges(const u8 *map, u32 stride) {
    static const u64 want[3][3] = {{0, 0xa0000, 1}, {0xe0000, 0x20000, 2}, {MIB(1), MEMORY - MIB(1), 1}};

    for (u32 i = 0; i < 3; i++) {
        assert_int_equal(want[i][0], get(map + stride * i, 8));
        assert_int_equal(want[i][1], get(map + stride * i + 8, 8));
        assert_int_equal(want[i][2], get(map + stride * i + 16, 4));
    }
}

static void test_version1(void **state) {
    struct world *w = *state;
    u8 data[5000];
    const u8 *info, *list;

    memset(data, 0x5a, sizeof(data));
    make1(w);
    give(w, data, 5000);
    give(w, data, 10);
    w->modules[1].name = "second";
    assert_int_equal(0, load(w));
    check_start(w, 0x2badb002);
    assert_int_equal(0x100123, w->start.rip);
    assert_memory_equal(w->host + MIB(1), w->file + 0x20, 0x400);
    for (u32 i = 0x400; i < 0x800; i++) assert_int_equal(0, w->host[MIB(1) + i]);
    assert_int_equal(0xcc, w->host[MIB(1) + 0x800]);
    info = w->host + w->start.rbx;
    assert_int_equal(0x24d, get(info, 4));
    assert_int_equal(640, get(info + 4, 4));
    assert_int_equal((MEMORY - MIB(1)) >> 10, get(info + 8, 4));
    assert_string_equal("kernel.bin console=ttyS0", w->host + get(info + 16, 4));
    assert_int_equal(2, get(info + 20, 4));
    list = w->host + get(info + 24, 4);
    assert_int_equal(MEMORY - 8192, get(list, 4));
    assert_int_equal(MEMORY - 8192 + 5000, get(list + 4, 4));
    assert_string_equal("initrd", w->host + get(list + 8, 4));
    assert_memory_equal(w->host + MEMORY - 8192, data, 5000);
    assert_int_equal(MEMORY - 12288, get(list + 16, 4)); /* each on a page, one below the other */
    assert_int_equal(MEMORY - 12288 + 10, get(list + 20, 4));
    assert_string_equal("second", w->host + get(list + 24, 4));
    assert_int_equal(72, get(info + 44, 4));
    for (u32 i = 0; i < 3; i++) assert_int_equal(20, get(w->host + get(info + 48, 4) + 24 * i, 4));
    check_ranges(w->host + get(info + 48, 4) + 4, 24);
    assert_string_equal("Mullion", w->host + get(info + 64, 4));
}

static void test_version1_ends(void **state) {
    struct world *w = *state;
    u8 *h = w->file + AT1;

    make1(w);
    put32(h + 20, 0); /* to the end of the file */
    put32(h + 24, 0); /* and no bss */
    assert_int_equal(0, load(w));
    assert_memory_equal(w->host + MIB(1), w->file + 0x20, FILE_BYTES - 0x20);
    assert_int_equal(0xcc, w->host[MIB(1) + FILE_BYTES - 0x20]);
    put32(h + 4, 0x10007); /* a video mode is a wish only */
    seal(h, 3);
    assert_int_equal(0, load(w));
    /* In the first 8 KiB, at a multiple of 4. */
    memmove(w->file + 8180, h, 12);
    memset(h, 0, 12);
    put32(w->file + 8184, 3);
    seal(w->file + 8180, 3);
    w->rq.format = IMAGE_MULTIBOOT;
    refused(w, -E_INVAL, "e_ident");
    memmove(w->file + 8184, w->file + 8180, 12);
    refused(w, -E_INVAL, "magic");
    memmove(w->file + 4002, w->file + 8184, 12);
    refused(w, -E_INVAL, "magic");
}

static void test_elf_forms(void **state) {
    struct world *w = *state;

    for (u32 wide = 0; wide < 2; wide++) {
        u8 *h = w->file + 0x100;

        make_elf_part(w, wide);
        put32(h, 0x1badb002);
        seal(h, 3);
        assert_int_equal(0, load(w));
        check_start(w, 0x2badb002);
        assert_int_equal(0x200010, w->start.rip);
        assert_int_equal(0x90, w->host[0x2000ff]);
        assert_int_equal(0, w->host[0x2001ff]);
        assert_int_equal(0xcc, w->host[0x200200]);

        memset(h, 0, 16);
        put32(h, 0xe85250d6);
        put32(h + 8, 32 + 16);
        seal(h, 4);
        put32(h + 20, 8 + 4); /* an information request: the loader's name; */
        put16(h + 16, 1);
        put32(h + 24, 2);
        put32(h + 36, 8); /* the end */
        assert_int_equal(0, load(w));
        check_start(w, 0x36d76289);
        assert_int_equal(0x200010, w->start.rip);
        put16(h + 32, 3); /* an entry address instead of the file's */
        put32(h + 36, 12);
        put32(h + 40, 0x200020);
        refused(w, -E_INVAL, "no end tag");
        put32(h + 8, 32 + 24);
        seal(h, 4);
        assert_int_equal(0, load(w));
        assert_int_equal(0x200020, w->start.rip);
        put32(h + 40, 0x200200);
        refused(w, -E_INVAL, "entry address");
    }
}

/* Address fields and every tag. */
static u8 *make2(struct world *w) {
    static const u8 tags[] = {
        1,  0, 0, 0, 12, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0,                         /* request: memory map */
        5,  0, 1, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* framebuffer, optional */
        4,  0, 0, 0, 12, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,                         /* console: text is fine */
        6,  0, 0, 0, 8,  0, 0, 0,                                                 /* modules on pages */
        7,  0, 1, 0, 8,  0, 0, 0,                                                 /* EFI services, optional */
        9,  0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,                         /* entry for EFI */
        10, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* relocatable */
    };
    u8 *h = w->file + AT2, *t = h + 16;

    for (u32 i = 0; i < FILE_BYTES; i++) w->file[i] = (u8)(i * 13 + 1);
    memcpy(t, tags, sizeof(tags));
    t += sizeof(tags);
    memset(t, 0, 48);
    put16(t, 2);
    put32(t + 4, 24);
    put32(t + 8, 0x100048);
    put32(t + 12, 0xffffffff);
    put16(t + 24, 3);
    put32(t + 28, 12);
    put32(t + 32, 0x100200);
    put32(t + 44, 8);
    put32(h, 0xe85250d6);
    put32(h + 4, 0);
    put32(h + 8, (u32)(t + 48 - h));
    seal(h, 4);
    w->rq.format = IMAGE_AUTO;
    w->rq.kernel_bytes = FILE_BYTES;
    w->rq.module_count = 0;
    return t;
}

static void test_version2(void **state) {
    static const u32 order[] = {1, 2, 4, 21, 14, 15, 3, 6, 0};
    static const u32 sizes[] = {8 + 14, 16, 16, 12, 28, 44, 16 + 7, 16 + 72, 8};
    struct world *w = *state;
    u8 data[100];
    const u8 *info, *tag;

    memset(data, 0x5a, sizeof(data));
    make2(w);
    give(w, data, 100);
    memcpy(w->host + 0xe0000, "RSD PTR 123456789", 18);
    assert_int_equal(0, load(w));
    check_start(w, 0x36d76289);
    assert_int_equal(0x100200, w->start.rip);
    assert_memory_equal(w->host + MIB(1), w->file, FILE_BYTES);
    info = w->host + w->start.rbx;
    assert_int_equal(0, w->start.rbx % 8);
    assert_int_equal(0, get(info + 4, 4));
    tag = info + 8;
    for (u32 i = 0; i < ARRAY_SIZE(order); i++) {
        assert_int_equal(order[i], get(tag, 4));
        assert_int_equal(sizes[i], get(tag + 4, 4));
        if (order[i] == 1) assert_string_equal("console=ttyS0", tag + 8);
        if (order[i] == 2) assert_string_equal("Mullion", tag + 8);
        if (order[i] == 4) assert_int_equal(640 | ((MEMORY - MIB(1)) >> 10) << 32, get(tag + 8, 8));
        if (order[i] == 21) assert_int_equal(0x100000, get(tag + 8, 4));
        if (order[i] == 14 || order[i] == 15) assert_memory_equal("RSD PTR 123456789", tag + 8, 18);
        if (order[i] == 3) {
            assert_int_equal(MEMORY - 4096, get(tag + 8, 4));
            assert_int_equal(MEMORY - 4096 + 100, get(tag + 12, 4));
            assert_string_equal("initrd", tag + 16);
        }
        if (order[i] == 6) {
            assert_int_equal(24, get(tag + 8, 4));
            assert_int_equal(0, get(tag + 12, 4));
            check_ranges(tag + 16, 24);
        }
        tag += align_up(sizes[i], 8);
    }
    assert_int_equal(tag - info, get(info, 4));
}

static void test_bad(void **state) {
    static const struct {
        u32 version, at;
        u32 value;
        int code;
        const char *text;
    } bad[] = {
        {1, AT1 + 4, 0x10008, -E_INVAL, "flags"},
        {1, AT1 + 4, 0x18000, -E_INVAL, "flags"},
        {1, AT1 + 12, 0xfffff, -E_INVAL, "load_addr"},
        {1, AT1 + 12, 0x100041, -E_INVAL, "load_addr"},
        {1, AT1 + 20, 0xfffff, -E_INVAL, "load_end_addr"},
        {1, AT1 + 20, 0x100001 + FILE_BYTES - 0x20, -E_INVAL, "load_end_addr"},
        {1, AT1 + 24, 0x1003ff, -E_INVAL, "bss_end_addr"},
        {1, AT1 + 24, 0xfffff, -E_INVAL, "bss_end_addr"},
        {1, AT1 + 24, 0xffffffff, -E_RANGE, "load_addr"},
        {1, AT1 + 28, 0x100800, -E_INVAL, "entry_addr"},
        {1, AT1 + 28, 0xfffff, -E_INVAL, "entry_addr"},
        {2, AT2 + 4, 4, -E_INVAL, "architecture"},
        {2, AT2 + 8, FILE_BYTES, -E_INVAL, "header_length"},
        {2, AT2 + 8, 100, -E_INVAL, "header_length"},
        {2, AT2 + 20, 7, -E_INVAL, "size"},
        {2, AT2 + 20, 4000, -E_INVAL, "size"},
        {2, AT2 + 24, 9, -E_INVAL, "information request"},
        {2, AT2 + 24, 22, -E_INVAL, "information request"},
        {2, AT2 + 32, 5, -E_INVAL, "header tag 5: demands"},
        {2, AT2 + 56, 0x00000004, -E_INVAL, NULL},
        {2, AT2 + 64, 3, -E_INVAL, "header tag 4: demands"},
        {2, AT2 + 60, 8, -E_INVAL, "too small"},
        {2, AT2 + 80, 7, -E_INVAL, "header tag 7: demands"},
        {2, AT2 + 80, 11, -E_INVAL, "header tag 11: demands"},
    };
    struct world *w = *state;

    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
        if (bad[i].version == 1)
            make1(w);
        else
            make2(w);
        put32(w->file + bad[i].at, bad[i].value);
        seal(w->file + (bad[i].version == 1 ? AT1 : AT2), bad[i].version == 1 ? 3 : 4);
        w->rq.format = bad[i].version == 1 ? IMAGE_MULTIBOOT : IMAGE_MULTIBOOT2;
        if (bad[i].text)
            refused(w, bad[i].code, bad[i].text);
        else
            assert_int_equal(0, load(w));
    }
}

static void test_bad_more(void **state) {
    struct world *w = *state;
    u8 *big = calloc(1, MEMORY);

    for (u32 version = 1; version < 3; version++) {
        if (version == 1)
            make1(w);
        else
            put32(make2(w) + 12, 0x100000);
        give(w, big, MEMORY);
        refused(w, -E_RANGE, "module initrd");
        w->rq.module_count = 65;
        refused(w, -E_INVAL, "modules");
    }
    make1(w);
    w->rq.kernel_bytes = AT1 + 31;
    refused(w, -E_INVAL, "address fields");
    make2(w);
    memset(w->file + AT2 + 16 + 120 + 24, 0, 16); /* addresses, and no entry: the tags end before it */
    put32(w->file + AT2 + 16 + 120 + 28, 8);
    w->rq.format = IMAGE_MULTIBOOT2;
    assert_int_equal(-E_INVAL, load(w));
    w->file[AT1] = w->file[AT2] = 0;
    refused(w, -E_INVAL, "magic");
    free(big);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_version1), TEST(test_version1_ends), TEST(test_elf_forms),
        TEST(test_version2), TEST(test_bad),           TEST(test_bad_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
