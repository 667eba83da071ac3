/* core/image: bzImage, ELF64 and flat loaders; each refusal names its field. */
#include "test/unit/image_world.h"

#define SETUP  1024 /* bytes in front of the kernel in the made-up bzImage */
#define KERNEL (FILE_BYTES - SETUP)
#define INIT   MIB(4)

static void make_linux(struct world *w) {
    u8 *f = w->file;

    memset(f, 0, SETUP + KERNEL);
    f[0x1f1] = 1;
    put32(f + 0x1f4, KERNEL / 16);
    put16(f + 0x1fe, 0xaa55);
    f[0x200] = 0xeb;
    f[0x201] = 0x6a;
    memcpy(f + 0x202, "HdrS", 4);
    put16(f + 0x206, 0x20f);
    f[0x211] = 0x81;
    put32(f + 0x22c, 0x7fffffff);
    put32(f + 0x230, MIB(2));
    f[0x234] = 1;
    put16(f + 0x236, 1);
    put32(f + 0x238, 64);
    put32(f + 0x23c, 7); /* a subarchitecture */
    put64(f + 0x250, 0x1234);
    put64(f + 0x258, MIB(16));
    put32(f + 0x260, INIT);
    for (u32 i = 0; i < KERNEL; i++) f[SETUP + i] = (u8)(i * 7);
    w->rq.format = IMAGE_AUTO;
}

static void check_e820(const u8 *zp, u32 i, u64 base, u64 bytes, u32 type) {
    const u8 *e = zp + 0x2d0 + i * 20;

    assert_int_equal(base, get(e, 8));
    assert_int_equal(bytes, get(e + 8, 8));
    assert_int_equal(type, get(e + 16, 4));
}

static void test_linux(void **state) {
    struct world *w = *state;
    u8 initrd[5000];
    const u8 *zp;

    make_linux(w);
    memset(initrd, 0x5a, sizeof(initrd));
    give(w, initrd, sizeof(initrd));
    assert_int_equal(0, load(w));
    check_boot_area(w);
    assert_int_equal(MIB(16) + 0x200, w->start.rip);
    assert_memory_equal(w->host + MIB(16), w->file + SETUP, KERNEL);
    zp = w->host + w->start.rsi;
    assert_memory_equal(zp + 0x202, "HdrS", 4);
    assert_int_equal(1, zp[0x1f1]);
    assert_int_equal(0xff, zp[0x210]);
    assert_int_equal(0x01, zp[0x211]);
    assert_int_equal(MIB(16), get(zp + 0x214, 4));
    assert_int_equal(MEMORY - 8192, get(zp + 0x218, 4));
    assert_int_equal(5000, get(zp + 0x21c, 4));
    assert_memory_equal(w->host + MEMORY - 8192, initrd, sizeof(initrd));
    assert_string_equal("console=ttyS0", w->host + get(zp + 0x228, 4));
    assert_int_equal(0, get(zp + 0x23c, 4));
    assert_int_equal(0, get(zp + 0x250, 8));
    assert_int_equal(0xe0000, get(zp + 0x70, 8));
    assert_int_equal(0, get(zp, 8)); /* screen_info */
    assert_int_equal(0, zp[0x1ef]);  /* sentinel */
    assert_int_equal(3, zp[0x1e8]);
    check_e820(zp, 0, 0, 0xa0000, 1);
    check_e820(zp, 1, 0xe0000, 0x20000, 2);
    check_e820(zp, 2, MIB(1), MEMORY - MIB(1), 1);
    assert_int_equal(0, get(zp + 0x2d0 + 60, 8));
    w->mem.ecam = true;
    assert_int_equal(0, load(w));
    assert_int_equal(4, zp[0x1e8]);
    check_e820(zp, 2, MIB(1), MEMORY - MIB(1), 1);
    check_e820(zp, 3, GUEST_ECAM_BASE, GUEST_ECAM_BYTES, 2);
}

static void test_linux_header(void **state) {
    struct world *w = *state;
    static const struct {
        u32 at, bytes;
        u64 value;
        const char *text;
    } bad[] = {
        {0x206, 2, 0x20b, "version"},
        {0x1f1, 1, 18, "setup_sects"},
        {0x1f4, 4, KERNEL / 16 + 1, "syssize"},
        {0x201, 1, 0x61, "jump"},
        {0x201, 1, 0x8f, "jump"},
        {0x211, 1, 0, "LOADED_HIGH"},
        {0x236, 2, 2, "XLF_KERNEL_64"},
        {0x230, 4, 3 << 20, "kernel_alignment"},
        {0x230, 4, 0x800, "kernel_alignment"},
        {0x258, 8, 0xff000, "pref_address"},
        {0x258, 8, GIB(4), "pref_address"},
        {0x258, 8, ~0ull, "pref_address"},
        {0x1fe, 2, 0x55aa, "header"},
        {0x202, 4, 0, "header"},
        {0x238, 4, 4, "cmdline"},
    };

    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
        make_linux(w);
        w->rq.format = IMAGE_LINUX;
        for (u32 b = 0; b < bad[i].bytes; b++) w->file[bad[i].at + b] = (u8)(bad[i].value >> (8 * b));
        refused(w, -E_INVAL, bad[i].text);
    }
    make_linux(w);
    w->rq.format = IMAGE_LINUX;
    for (w->rq.kernel_bytes = 0; w->rq.kernel_bytes < SETUP + KERNEL - 16; w->rq.kernel_bytes += 9)
        refused(w, -E_INVAL, "");
    w->rq.kernel_bytes = SETUP + KERNEL;
    w->file[0x1f1] = 0; /* means 4: then the file holds less kernel than syssize says */
    refused(w, -E_INVAL, "syssize");
    put32(w->file + 0x1f4, 100);
    assert_int_equal(0, load(w));
    assert_memory_equal(w->host + MIB(16), w->file + 2560, SETUP + KERNEL - 2560);
}

static void test_linux_place(void **state) {
    struct world *w = *state;

    make_linux(w);
    put32(w->file + 0x260, (u32)(MEMORY - MIB(16)));
    assert_int_equal(0, load(w));
    put32(w->file + 0x260, (u32)(MEMORY - MIB(16) + 1));
    refused(w, -E_RANGE, "init_size");
    put32(w->file + 0x260, 0); /* never less than what is copied */
    put64(w->file + 0x258, MEMORY - KERNEL);
    assert_int_equal(0, load(w));
    put64(w->file + 0x258, MEMORY - KERNEL + PAGE_4K);
    refused(w, -E_RANGE, "init_size");

    /* A hole at the preferred address: up, if it may be moved. */
    make_linux(w);
    w->regions[2].bytes = MIB(9);
    w->regions[3] = w->regions[2];
    w->regions[3].gpa = gpa(MIB(17));
    w->regions[3].hpa = hpa(MIB(17));
    w->mem.count = 4;
    w->regions[3].bytes = MIB(15);
    assert_int_equal(0, load(w));
    assert_int_equal(MIB(18) + 0x200, w->start.rip);
    assert_memory_equal(w->host + MIB(18), w->file + SETUP, KERNEL);
    w->file[0x234] = 0;
    refused(w, -E_RANGE, "init_size");
    /* A device in between is no memory and not in E820. */
    w->file[0x234] = 1;
    w->regions[4] = w->regions[3];
    w->regions[3] = (struct region){.gpa = gpa(MIB(12)), .bytes = MIB(1), .rights = RIGHTS_RWX, .kind = REGION_DEVICE};
    w->mem.count = 5;
    assert_int_equal(0, load(w));
    assert_int_equal(4, w->host[w->start.rsi + 0x1e8]);
    /* Memory that the loader cannot write. */
    w->regions[4].rights = RIGHT_READ;
    refused(w, -E_RANGE, "cannot be written");
}

static void test_initrd(void **state) {
    struct world *w = *state;
    u8 *big = calloc(1, MIB(16));

    make_linux(w);
    give(w, big, MIB(12)); /* just fits between kernel and top */
    assert_int_equal(0, load(w));
    assert_int_equal(MIB(20), get(w->host + 0x87218, 4));
    w->modules[0].bytes++; /* then below the kernel */
    assert_int_equal(0, load(w));
    assert_int_equal(MIB(4) - PAGE_4K, get(w->host + 0x87218, 4));
    put32(w->file + 0x22c, MIB(14) - 1); /* initrd_addr_max is the last usable byte */
    assert_int_equal(0, load(w));
    assert_int_equal(MIB(2) - PAGE_4K, get(w->host + 0x87218, 4));
    w->modules[0].bytes = MIB(16);
    refused(w, -E_RANGE, "initrd");
    put32(w->file + 0x22c, 0);
    w->modules[0].bytes = 1;
    refused(w, -E_RANGE, "initrd");
    w->modules[0].bytes = 0; /* an empty module is none */
    assert_int_equal(0, load(w));
    assert_int_equal(0, get(w->host + 0x87218, 4));
    free(big);
}

static void test_limits(void **state) {
    struct world *w = *state;
    char *line = malloc(5000);

    make_linux(w);
    memset(line, 'a', 5000);
    line[4096] = 0;
    w->rq.cmdline = line;
    refused(w, -E_INVAL, "cmdline");
    put32(w->file + 0x238, 0xffffffff); /* the page that holds it is the limit then */
    refused(w, -E_INVAL, "cmdline");
    line[4095] = 0;
    assert_int_equal(0, load(w));
    assert_int_equal(4095, strlen((char *)w->host + 0x88000));
    /* More ranges than E820 holds. */
    for (u32 i = 0; i < 130; i++)
        w->regions[2 + i] = (struct region){.gpa = gpa(MIB(16) + i * 2 * PAGE_4K),
                                            .hpa = hpa(MIB(16) + i * 2 * PAGE_4K),
                                            .bytes = PAGE_4K,
                                            .rights = RIGHTS_RWX};
    w->regions[2].bytes = 0;
    w->regions[3] = (struct region){.gpa = gpa(MIB(20)), .hpa = hpa(MIB(8)), .bytes = MIB(8), .rights = RIGHTS_RWX};
    w->mem.count = 132;
    refused(w, -E_RANGE, "128");
    w->mem.count = 128;
    assert_int_equal(0, load(w));
    w->mem.ecam = true;
    refused(w, -E_RANGE, "128");
    w->regions[0].bytes = 0x88000;
    refused(w, -E_RANGE, "boot area");
    free(line);
}

/* One segment of 256 bytes in the file, 512 in memory, and a note that is skipped. */
static void make_elf(struct world *w) {
    u8 *f = w->file, *p = f + 64;

    memset(f, 0, SETUP + KERNEL);
    memcpy(f,
           "\x7f"
           "ELF\2\1\1",
           7);
    put16(f + 16, 2);
    put16(f + 18, 62);
    put32(f + 20, 1);
    put64(f + 24, 0x100010);
    put64(f + 32, 64);
    put16(f + 54, 56);
    put16(f + 56, 3);
    put32(p, 4); /* PT_NOTE */
    p += 56;
    put32(p, 1);
    put64(p + 8, 0x200);
    put64(p + 16, 0xffffffff80100000);
    put64(p + 24, 0x100000);
    put64(p + 32, 256);
    put64(p + 40, 512);
    put32(p + 56, 1); /* an empty PT_LOAD, with fields that make no sense */
    put64(p + 56 + 24, ~0ull);
    for (u32 i = 0; i < 256; i++) f[0x200 + i] = (u8)(i + 1);
    w->rq.format = IMAGE_AUTO;
    w->rq.kernel_bytes = SETUP + KERNEL;
}

static void test_elf(void **state) {
    struct world *w = *state;

    make_elf(w);
    assert_int_equal(0, load(w));
    check_boot_area(w);
    assert_int_equal(0x100010, w->start.rip);
    assert_string_equal("console=ttyS0", w->host + w->start.rdi);
    assert_int_equal(0xe0000, w->start.rsi);
    assert_memory_equal(w->host + 0x100000, w->file + 0x200, 256);
    for (u32 i = 256; i < 512; i++) assert_int_equal(0, w->host[0x100000 + i]);
    assert_int_equal(0xcc, w->host[0x100000 + 512]);
    put64(w->file + 24, 0xffffffff80100020); /* a virtual entry */
    assert_int_equal(0, load(w));
    assert_int_equal(0x100020, w->start.rip);
}

static void test_elf_bad(void **state) {
    struct world *w = *state;
    static const struct {
        u32 at, bytes;
        u64 value;
        int code;
        const char *text;
    } bad[] = {
        {0, 1, 0, -E_INVAL, "e_ident"},
        {4, 1, 3, -E_INVAL, "e_ident"},
        {5, 1, 2, -E_INVAL, "e_ident"},
        {6, 1, 0, -E_INVAL, "e_version"},
        {20, 4, 2, -E_INVAL, "e_version"},
        {16, 2, 3, -E_INVAL, "e_type"},
        {18, 2, 3, -E_INVAL, "e_machine"},
        {54, 2, 32, -E_INVAL, "e_phentsize"},
        {56, 2, 0, -E_INVAL, "e_phnum"},
        {56, 2, 65, -E_INVAL, "e_phnum"},
        {32, 8, ~0ull - 100, -E_INVAL, "e_phoff"},
        {32, 8, SETUP + KERNEL - 167, -E_INVAL, "e_phoff"},
        {24, 8, 0x100200, -E_INVAL, "e_entry"},
        {120 + 8, 8, SETUP + KERNEL - 255, -E_INVAL, "p_offset"},
        {120 + 8, 8, ~0ull, -E_INVAL, "p_offset"},
        {120 + 32, 8, 513, -E_INVAL, "p_filesz"},
        {120 + 40, 8, ~0ull, -E_RANGE, "p_paddr"},
        {120 + 40, 8, MEMORY, -E_RANGE, "p_paddr"},
        {120 + 24, 8, 0x8eff0, -E_RANGE, "boot area"},
        {120 + 24, 8, 0x7fff0, -E_RANGE, "boot area"},
        {120 + 24, 8, 0xe0000, -E_RANGE, "p_paddr"},
        {120 + 24, 8, ~0ull, -E_RANGE, "4 GiB"},
        {120 + 24, 8, GIB(1), -E_RANGE, "p_paddr"},
    };
    char *line = calloc(1, 5000);

    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
        make_elf(w);
        w->rq.format = IMAGE_ELF;
        for (u32 b = 0; b < bad[i].bytes; b++) w->file[bad[i].at + b] = (u8)(bad[i].value >> (8 * b));
        refused(w, bad[i].code, bad[i].text);
    }
    make_elf(w);
    w->rq.kernel_bytes = 63;
    refused(w, -E_INVAL, "ELF header");
    make_elf(w);
    give(w, line, 1);
    refused(w, -E_INVAL, "modules");
    w->rq.module_count = 0;
    memset(line, 'b', 4096);
    w->rq.cmdline = line;
    refused(w, -E_INVAL, "cmdline");
    free(line);
}

static void test_flat(void **state) {
    struct world *w = *state;
    char *line = calloc(1, 5000);

    memset(w->file, 0x90, SETUP + KERNEL);
    refused(w, -E_INVAL, "flat binary has to be declared");
    w->rq.format = IMAGE_FLAT;
    w->rq.load_address = 0x20000;
    w->rq.entry = 0x20000 + SETUP + KERNEL - 1;
    assert_int_equal(0, load(w));
    check_boot_area(w);
    assert_int_equal(w->rq.entry, w->start.rip);
    assert_int_equal(0xe0000, w->start.rsi);
    assert_string_equal("console=ttyS0", w->host + w->start.rdi);
    assert_memory_equal(w->host + 0x20000, w->file, SETUP + KERNEL);
    w->rq.entry++;
    refused(w, -E_RANGE, "entry");
    w->rq.entry = 0x1ffff;
    refused(w, -E_RANGE, "entry");
    w->rq.load_address = 0x9f000;
    refused(w, -E_RANGE, "load");
    w->rq.load_address = w->rq.entry = 0x20000;
    memset(line, 'b', 4096);
    w->rq.cmdline = line;
    refused(w, -E_INVAL, "cmdline");
    w->rq.kernel_bytes = 0;
    refused(w, -E_INVAL, "empty");
    w->rq.format = IMAGE_AUTO;
    refused(w, -E_INVAL, "neither");
    free(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_linux),  TEST(test_linux_header), TEST(test_linux_place), TEST(test_initrd),
        TEST(test_limits), TEST(test_elf),          TEST(test_elf_bad),     TEST(test_flat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
