/* Arbitrary files as guest images. Input: format, flags, load address and entry, length of the
 * initrd, then the file. The guest has 1.25 MiB; what lies between its regions is poisoned. Holds:
 * an accepted image starts inside memory that the partition has; its bytes are where a plain
 * reading of the file puts them, and outside of them and the boot area not one byte has changed; a
 * refusal says why. */
#include <sanitizer/asan_interface.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/image/image.h"
#include "test/fuzz/fuzz.h"

#define MEMORY    (MIB(1) + KIB(256))
#define HOLE      (GUEST_BIOS_BASE - GUEST_LOWMEM_END)
#define UNTOUCHED 0xcc
#define ZERO_PAGE 0x8000u
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
        mem = (struct gmem){regions, (u32)count, (u64)host};
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
    bool entered = false;

    for (u64 i = 0; i < field(file + 56, 2); i++) {
        const u8 *p = file + field(file + 32, 8) + 56 * i;

        if (field(p, 4) != 1 || field(p + 40, 8) == 0) continue;
        expect(field(p + 24, 8), file + field(p + 8, 8), field(p + 32, 8), field(p + 40, 8));
        entered = entered || start->rip - field(p + 24, 8) < field(p + 40, 8);
    }
    REQUIRE(entered);
}

/* By the zero page: what Linux will read. */
static void expect_linux(const struct image_request *rq, const struct start_state *start) {
    const u8 *file = rq->kernel, *zp = host + ZERO_PAGE;
    u64 setup = 512 + 512 * (file[0x1f1] ? file[0x1f1] : 4ull);
    u64 kernel = field(zp + 0x214, 4), initrd = field(zp + 0x218, 4);

    REQUIRE(start->rsi == ZERO_PAGE && start->rip == kernel + 0x200);
    REQUIRE(is_ram(kernel, field(file + 0x260, 4)));
    REQUIRE(field(zp + 0x250, 8) == 0 && field(zp + 0x228, 4) == 0x9000);
    expect(kernel, file + setup, rq->kernel_bytes - setup, rq->kernel_bytes - setup);
    REQUIRE(field(zp + 0x21c, 4) == (rq->initrd ? rq->initrd_bytes : 0));
    if (rq->initrd_bytes) {
        REQUIRE(is_aligned(initrd, PAGE_4K) && initrd + rq->initrd_bytes - 1 <= field(file + 0x22c, 4));
        REQUIRE(!ranges_overlap(kernel, field(file + 0x260, 4), initrd, rq->initrd_bytes));
        expect(initrd, rq->initrd, rq->initrd_bytes, rq->initrd_bytes);
    }
    REQUIRE(zp[0x1e8] == 3); /* low memory, BIOS area, high memory */
}

static void check_loaded(const struct image_request *rq, const struct start_state *start) {
    const u8 *file = rq->kernel;

    REQUIRE(start->long_mode && start->cr3 == 0x2000 && start->gdt.v == 0x1000);
    REQUIRE(start->rsp == BOOT_AREA_END);
    REQUIRE(!strcmp((char *)host + 0x9000, rq->cmdline));
    if (rq->format == IMAGE_FLAT) {
        expect(rq->load_address, file, rq->kernel_bytes, rq->kernel_bytes);
        REQUIRE(start->rip == rq->entry);
    } else if (rq->format == IMAGE_ELF || (rq->format == IMAGE_AUTO && start->rsi != ZERO_PAGE)) {
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
    struct image_request rq = {.format = (enum image_format)(take(&in, 1) & 3)};
    u64 flags = take(&in, 1);
    u8 *file, *initrd = NULL;

    prepare();
    rq.load_address = take(&in, 4);
    rq.entry = flags & 2 ? rq.load_address + (take(&in, 4) & 0xfff) : take(&in, 4);
    rq.initrd_bytes = take(&in, 2);
    rq.cmdline = flags & 4 ? "" : "console=ttyS0 root=/dev/ram0";
    rq.rsdp = gpa(GUEST_BIOS_BASE);
    if (flags & 1) {
        initrd = malloc(rq.initrd_bytes + 1);
        memset(initrd, INITRD, rq.initrd_bytes + 1);
    } else {
        rq.initrd_bytes = 0;
    }
    file = malloc(in.left ? in.left : 1);
    memcpy(file, in.at, in.left);
    rq.kernel = file;
    rq.kernel_bytes = in.left;
    rq.initrd = initrd;
    load(&rq);
    free(file);
    free(initrd);
    return 0;
}
