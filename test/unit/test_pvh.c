/* core/image: PVH ELF files, and flat binaries by mode; each refusal names its field.
 * Xen, public/elfnote.h and public/arch-x86/hvm/start_info.h. */
#include "test/unit/image_world.h"

/* Notes at 0x200 of the file, 256 bytes at 2 MiB from 0x300. Returns the second note, the entry. */
static u8 *make_pvh(struct world *w, bool wide) {
    u8 *f = w->file, *p = f + 0x100;
    u32 word = wide ? 8 : 4;

    memset(f, 0, FILE_BYTES);
    memcpy(f, "\177ELF\1\1\1", 7);
    f[4] = wide ? 2 : 1;
    put16(f + 16, 2);
    put16(f + 18, wide ? 62 : 3);
    put32(f + 20, 1);
    put32(f + 24, 0x12345678); /* not used */
    put32(f + 24 + word, 0x100);
    put16(f + 30 + 3 * word, 8 + 6 * word);
    put16(f + 32 + 3 * word, 2);
    put32(p, 4);
    put32(p + word, 0x200);
    put32(p + 4 * word, 64);
    put32(p + 5 * word, 64);
    p += 8 + 6 * word;
    put32(p, 1);
    put32(p + word, 0x300);
    put32(p + 2 * word, 0x80000000);
    put32(p + 3 * word, MIB(2));
    put32(p + 4 * word, 256);
    put32(p + 5 * word, 512);
    p = f + 0x200;
    put32(p, 5);
    put32(p + 4, 3);
    put32(p + 8, 18); /* the right type, another name */
    memcpy(p + 12, "XenX", 5);
    p += 24;
    put32(p, 4);
    put32(p + 4, word);
    put32(p + 8, 18);
    memcpy(p + 12, "Xen", 4);
    put32(p + 16, MIB(2) + 0x10);
    w->rq.format = IMAGE_AUTO;
    w->rq.module_count = 0;
    w->rq.kernel_bytes = FILE_BYTES;
    return p;
}

static void test_pvh(void **state) {
    struct world *w = *state;
    const u8 *info, *map;
    u8 data[100] = {1, 2, 3};

    for (u32 wide = 0; wide < 2; wide++) {
        make_pvh(w, wide);
        give(w, data, 100);
        assert_int_equal(0, load(w));
        assert_int_equal(START_PROTECTED, w->start.mode);
        assert_int_equal(MIB(2) + 0x10, w->start.rip);
        assert_int_equal(0, w->start.rax | w->start.rsi | w->start.rdi);
        info = w->host + w->start.rbx;
        assert_int_equal(0x336ec578, get(info, 4));
        assert_int_equal(1, get(info + 4, 4));
        assert_int_equal(0, get(info + 8, 4));
        assert_int_equal(1, get(info + 12, 4));
        assert_string_equal("console=ttyS0", w->host + get(info + 24, 8));
        assert_int_equal(0xe0000, get(info + 32, 8));
        assert_int_equal(3, get(info + 48, 8));
        map = w->host + get(info + 40, 8);
        assert_int_equal(0xa0000, get(map + 8, 8));
        assert_int_equal(1, get(map + 16, 8));
        assert_int_equal(2, get(map + 24 + 16, 8));
        assert_int_equal(MIB(1), get(map + 48, 8));
        assert_int_equal(MEMORY - 4096, get(w->host + get(info + 16, 8), 8));
        assert_int_equal(100, get(w->host + get(info + 16, 8) + 8, 8));
        assert_int_equal(0, get(w->host + get(info + 16, 8) + 16, 8));
        assert_memory_equal(w->host + MEMORY - 4096, data, 100);
        w->rq.module_count = 0;
        assert_int_equal(0, load(w));
        assert_int_equal(0, get(info + 16, 8));
    }
}

static void test_pvh_bad(void **state) {
    struct world *w = *state;
    u8 *note = make_pvh(w, false);
    u8 *big = calloc(1, MEMORY);

    w->rq.format = IMAGE_PVH;
    put32(note + 16, MIB(2) + 512);
    refused(w, -E_INVAL, "entry address");
    put32(note + 16, MIB(2));
    put32(note + 4, 0xffffffff); /* longer than the segment */
    refused(w, -E_INVAL, "PT_NOTE");
    put32(note + 4, 3); /* too short for an address */
    refused(w, -E_INVAL, "PT_NOTE");
    put32(note + 4, 4);
    put32(note + 8, 17);
    refused(w, -E_INVAL, "PT_NOTE");
    w->rq.format = IMAGE_AUTO; /* then it is a plain ELF file */
    refused(w, -E_INVAL, "32-bit");
    put32(note + 8, 18);
    put32(w->file + 0x104, FILE_BYTES - 63); /* the notes lie outside */
    w->rq.format = IMAGE_PVH;
    refused(w, -E_INVAL, "PT_NOTE");
    make_pvh(w, true);
    give(w, big, MEMORY);
    refused(w, -E_RANGE, "module initrd");
    w->rq.module_count = 0;
    put32(w->file + 0x100 + 56 + 24, 0x80000);
    refused(w, -E_RANGE, "boot area");
    w->rq.format = IMAGE_PVH;
    w->rq.kernel_bytes = 39;
    refused(w, -E_INVAL, "ELF header");
    w->rq.kernel_bytes = 3;
    refused(w, -E_INVAL, "e_ident");
    w->rq.format = IMAGE_AUTO;
    refused(w, -E_INVAL, "neither");
    free(big);
}

static void test_flat_modes(void **state) {
    struct world *w = *state;
    u8 data[1] = {0};

    w->rq.format = IMAGE_FLAT;
    w->rq.kernel_bytes = 512;
    w->rq.load_address = w->rq.entry = 0x7c00;
    w->rq.mode = START_REAL;
    assert_int_equal(0, load(w));
    assert_int_equal(START_REAL, w->start.mode);
    assert_int_equal(0x7c00, w->start.rip);
    assert_int_equal(BOOT_AREA_END, w->start.rsp);
    w->rq.mode = START_PROTECTED;
    assert_int_equal(0, load(w));
    assert_int_equal(START_PROTECTED, w->start.mode);
    assert_string_equal("console=ttyS0", w->host + w->start.rdi);
    assert_int_equal(0xe0000, w->start.rsi);
    w->rq.load_address = w->rq.entry = MIB(1);
    assert_int_equal(0, load(w));
    w->rq.mode = START_REAL;
    refused(w, -E_RANGE, "real mode");
    w->rq.load_address = w->rq.entry = 0x7ff00;
    refused(w, -E_RANGE, "boot area");
    give(w, data, 1);
    refused(w, -E_INVAL, "modules");
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_pvh), TEST(test_pvh_bad), TEST(test_flat_modes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
