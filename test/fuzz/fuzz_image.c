/* Arbitrary files as guest images. Input: format, flags, load address and entry, length of the
 * initrd, then the file. Flags: 1 an initrd, 2 an entry near the address, 4 no command line, 8 a second module, 16 and
 * 32 the mode of a flat image. The guest has 1.25 MiB; what lies between its regions is poisoned. Holds: an accepted
 * image starts inside memory that the partition has; its bytes are where a plain reading of the file puts them, and
 * outside of them and the boot area not one byte has changed; a refusal says why. */
#include <sanitizer/asan_interface.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/image/image.h"
#include "test/fuzz/fuzz.h"

#define MEMORY    (MIB(1) + KIB(256))
#define HOLE      (GUEST_BIOS_BASE - GUEST_LOWMEM_END)
#define UNTOUCHED 0xcc
#define ZERO_PAGE 0x87000u
#define INITRD    0x77

static u8 *host, *want, *clean; /* the guest's memory, what it should be, what it was */
static struct region regions[8];
static struct gmem mem;

static void prepare(void) {
    struct piece piece = {hpa(0), MEMORY};
    int count;

    if (!host) {
        host = aligned_alloc(PAGE_4K, MEMORY);
        want = malloc(MEMORY);
        clean = malloc(MEMORY);
        memset(clean, UNTOUCHED, MEMORY);
        count = region_list_build(&piece, 1, MEMORY, regions, ARRAY_SIZE(regions));
        REQUIRE(count > 0);
        mem = (struct gmem){regions, (u32)count, (u64)host, false};
    }
    ASAN_UNPOISON_MEMORY_REGION(host + GUEST_LOWMEM_END, HOLE);
    memcpy(host, clean, MEMORY);
    memcpy(want, clean, MEMORY);
    ASAN_POISON_MEMORY_REGION(host + GUEST_LOWMEM_END, HOLE);
}

static bool is_ram(u64 at, u64 bytes) {
    for (u32 i = 0; i < mem.count; i++)
        if (regions[i].kind == REGION_RAM && at >= regions[i].gpa.v && at - regions[i].gpa.v < regions[i].bytes &&
            bytes <= regions[i].bytes - (at - regions[i].gpa.v))
            return true;
    return false;
}

static void expect(u64 at, const void *bytes, u64 count, u64 total) {
    REQUIRE(total == 0 || is_ram(at, total));
    REQUIRE(!ranges_overlap(at, total, BOOT_AREA_BASE, BOOT_AREA_END - BOOT_AREA_BASE));
    memcpy(want + at, bytes, count);
    memset(want + at + count, 0, total - count);
}

static u64 field(const u8 *at, u32 bytes) {
    u64 value = 0;

    memcpy(&value, at, bytes);
    return value;
}

static void expect_elf(const u8 *file, const struct start_state *start) {
    u32 word = file[4] == 2 ? 8 : 4;
    bool entered = false;

    for (u64 i = 0; i < field(file + 32 + 3 * word, 2); i++) {
        const u8 *p = file + field(file + 24 + word, word) + (8 + 6 * word) * i;
        u64 at = field(p + 3 * word, word), bytes = field(p + 5 * word, word);

        if (field(p, 4) != 1 || bytes == 0) continue;
        expect(at, file + field(p + word, word), field(p + 4 * word, word), bytes);
        entered = entered || start->rip - at < bytes;
    }
    REQUIRE(entered);
}

/* The version 1 header with address fields, or NULL. */
static const u8 *addressed(const struct image_request *rq) {
    const u8 *file = rq->kernel;

    for (u64 at = 0; at + 12 <= min_u64(rq->kernel_bytes, 8192); at += 4)
        if (field(file + at, 4) == 0x1badb002 &&
            (u32)(field(file + at, 4) + field(file + at + 4, 4) + field(file + at + 8, 4)) == 0)
            return file[at + 6] & 1 ? file + at : NULL;
    return NULL;
}

static void expect_addressed(const struct image_request *rq, const u8 *h) {
    const u8 *file = rq->kernel;
    u64 at = field(h + 16, 4), end = field(h + 20, 4), bss = field(h + 24, 4);
    u64 from, bytes;

    if (at == 0xffffffff) at = field(h + 12, 4) - (u64)(h - file);
    from = (u64)(h - file) - (field(h + 12, 4) - at);
    bytes = end ? end - at : rq->kernel_bytes - from;
    expect(at, file + from, bytes, bss ? bss - at : bytes);
}

static void expect_module(u64 at, const struct image_module *m) {
    REQUIRE(is_aligned(at, PAGE_4K));
    for (u64 i = 0; i < m->bytes; i++) REQUIRE(want[at + i] == UNTOUCHED); /* nothing else is there */
    expect(at, m->data, m->bytes, m->bytes);
}

static void expect_multiboot(const struct image_request *rq, const struct start_state *start) {
    const u8 *info = host + start->rbx, *h = addressed(rq);

    if (start->rax == 0x2badb002) {
        if (h)
            expect_addressed(rq, h);
        else
            expect_elf(rq->kernel, start);
        for (u32 i = 0; i < rq->module_count; i++)
            expect_module(field(host + field(info + 24, 4) + 16 * i, 4), &rq->modules[i]);
        return;
    }
    /* Version 2: the tags lead to the end. What the image covers is left to its own test, but for the modules. */
    for (u64 at = 8; field(info + at, 4); at += align_up(field(info + at + 4, 4), 8))
        REQUIRE(field(info + at + 4, 4) >= 8 && at < field(info, 4));
    memcpy(want + GUEST_HIGHMEM_BASE, host + GUEST_HIGHMEM_BASE, MEMORY - GUEST_HIGHMEM_BASE);
    memcpy(want, host, GUEST_LOWMEM_END);
}

static void expect_pvh(const struct image_request *rq, const struct start_state *start) {
    const u8 *info = host + start->rbx;

    expect_elf(rq->kernel, start);
    REQUIRE(field(info, 4) == 0x336ec578 && field(info + 12, 4) == rq->module_count &&
            field(info + 48, 4) == 3u + mem.ecam);
    for (u32 i = 0; i < rq->module_count; i++)
        expect_module(field(host + field(info + 16, 8) + 32 * i, 8), &rq->modules[i]);
}

/* By the zero page: what Linux will read. */
static void expect_linux(const struct image_request *rq, const struct start_state *start) {
    const u8 *file = rq->kernel, *zp = host + ZERO_PAGE;
    u64 setup = 512 + 512 * (file[0x1f1] ? file[0x1f1] : 4ull);
    u64 kernel = field(zp + 0x214, 4), initrd = field(zp + 0x218, 4);

    REQUIRE(start->rsi == ZERO_PAGE && start->rip == kernel + 0x200);
    REQUIRE(is_ram(kernel, field(file + 0x260, 4)));
    REQUIRE(field(zp + 0x250, 8) == 0 && field(zp + 0x228, 4) == 0x88000);
    expect(kernel, file + setup, rq->kernel_bytes - setup, rq->kernel_bytes - setup);
    REQUIRE(field(zp + 0x21c, 4) == (rq->module_count ? rq->modules->bytes : 0));
    if (rq->module_count && rq->modules->bytes) {
        REQUIRE(is_aligned(initrd, PAGE_4K) && initrd + rq->modules->bytes - 1 <= field(file + 0x22c, 4));
        REQUIRE(!ranges_overlap(kernel, field(file + 0x260, 4), initrd, rq->modules->bytes));
        expect_module(initrd, rq->modules);
    }
    REQUIRE(zp[0x1e8] == 3 + mem.ecam); /* low memory, BIOS area, high memory; configuration space */
}

static void check_loaded(const struct image_request *rq, const struct start_state *start) {
    const u8 *file = rq->kernel;

    REQUIRE(start->gdt.v == 0x80000 && start->rsp == BOOT_AREA_END);
    REQUIRE(start->mode != START_LONG || start->cr3 == 0x81000);
    REQUIRE(!strcmp((char *)host + 0x88000, rq->cmdline));
    if (rq->format == IMAGE_FLAT) {
        expect(rq->load_address, file, rq->kernel_bytes, rq->kernel_bytes);
        REQUIRE(start->rip == rq->entry && start->mode == rq->mode);
    } else if (start->rax) {
        REQUIRE(start->mode == START_PROTECTED);
        expect_multiboot(rq, start);
    } else if (start->rbx) {
        REQUIRE(start->mode == START_PROTECTED);
        expect_pvh(rq, start);
    } else if (start->rsi != ZERO_PAGE) {
        expect_elf(file, start);
    } else {
        expect_linux(rq, start);
    }
    REQUIRE(is_ram(start->rip, 1));
}

static void load(const struct image_request *rq) {
    struct image_error error;
    struct start_state start;
    int rc;

    memset(&error, 0x55, sizeof(error));
    rc = image_load(&mem, rq, &start, &error);
    REQUIRE(rc == 0 || rc == -E_INVAL || rc == -E_RANGE);
    if (rc)
        REQUIRE(error.what[0] && memchr(error.what, 0, sizeof(error.what)));
    else
        check_loaded(rq, &start);
    ASAN_UNPOISON_MEMORY_REGION(host + GUEST_LOWMEM_END, HOLE);
    REQUIRE(rc || !memcmp(host, want, BOOT_AREA_BASE));
    REQUIRE(rc || !memcmp(host + BOOT_AREA_END, want + BOOT_AREA_END, MEMORY - BOOT_AREA_END));
    /* The BIOS area is another's, whatever happened. */
    REQUIRE(!memcmp(host + GUEST_LOWMEM_END, clean + GUEST_LOWMEM_END, GUEST_HIGHMEM_BASE - GUEST_LOWMEM_END));
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    struct image_request rq = {.name = "kernel", .format = (enum image_format)(take(&in, 1) & 7)};
    u64 flags = take(&in, 1), bytes;
    struct image_module modules[2];
    u8 *file, *initrd;

    prepare();
    mem.ecam = (flags >> 6 & 1) != 0;
    rq.load_address = take(&in, 4);
    rq.entry = flags & 2 ? rq.load_address + (take(&in, 4) & 0xfff) : take(&in, 4);
    bytes = take(&in, 2);
    rq.cmdline = flags & 4 ? "" : "console=ttyS0 root=/dev/ram0";
    rq.rsdp = gpa(GUEST_BIOS_BASE);
    rq.mode = (enum start_mode)min_u64(flags >> 4 & 3, START_REAL);
    initrd = malloc(bytes + 1);
    memset(initrd, INITRD, bytes + 1);
    modules[0] = (struct image_module){"initrd", initrd, bytes};
    modules[1] = (struct image_module){"second", initrd, bytes / 2};
    rq.modules = modules;
    rq.module_count = (flags & 1) + (flags >> 3 & 1);
    file = malloc(in.left ? in.left : 1);
    memcpy(file, in.at, in.left);
    rq.kernel = file;
    rq.kernel_bytes = in.left;
    load(&rq);
    free(file);
    free(initrd);
    return 0;
}
