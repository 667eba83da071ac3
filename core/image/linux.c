/* Linux bzImage by the 64-bit boot protocol: checks the setup header, places kernel and initrd,
 * writes the zero page. Every field of the file is untrusted.
 * Source: Linux kernel documentation, The Linux/x86 Boot Protocol, The Real-Mode Kernel Header and
 * 64-bit Boot Protocol; Zero Page. */
#include "core/image/loader.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/string.h"

/* Setup header: offsets in the file and in the zero page alike. */
#define HDR_SETUP_SECTS    0x1f1
#define HDR_SYSSIZE        0x1f4
#define HDR_BOOT_FLAG      0x1fe
#define HDR_JUMP_LENGTH    0x201 /* the header ends this many bytes behind 0x202 */
#define HDR_MAGIC          0x202
#define HDR_VERSION        0x206
#define HDR_TYPE_OF_LOADER 0x210
#define HDR_LOADFLAGS      0x211
#define HDR_CODE32_START   0x214
#define HDR_RAMDISK_IMAGE  0x218
#define HDR_RAMDISK_SIZE   0x21c
#define HDR_EXT_LOADER     0x226 /* version and type, one byte each */
#define HDR_CMD_LINE_PTR   0x228
#define HDR_INITRD_MAX     0x22c
#define HDR_ALIGNMENT      0x230
#define HDR_RELOCATABLE    0x234
#define HDR_XLOADFLAGS     0x236
#define HDR_CMDLINE_SIZE   0x238
#define HDR_SUBARCH        0x23c /* subarchitecture and its data, 12 bytes */
#define HDR_SETUP_DATA     0x250
#define HDR_PREF_ADDRESS   0x258
#define HDR_INIT_SIZE      0x260
#define HDR_END_MIN        0x264 /* init_size is the last field that is needed */
#define HDR_END_MAX        0x290 /* what follows in the zero page is not the header's */

#define LOADED_HIGH   BIT(0)
#define CAN_USE_HEAP  BIT(7)
#define XLF_KERNEL_64 BIT(0)
#define VERSION_2_12  0x20c

#define ENTRY_64 0x200 /* from the start of the protected-mode kernel */

/* Zero page beside the header. */
#define ZP_ACPI_RSDP    0x70
#define ZP_E820_ENTRIES 0x1e8
#define ZP_E820_TABLE   0x2d0
#define E820_BYTES      20

struct setup {
    u64 setup_bytes;    /* boot sector and setup code: the kernel follows */
    u64 payload_bytes;  /* protected-mode kernel in the file */
    u64 pref, memory;   /* preferred address; bytes it needs there (init_size) */
    u64 alignment;      /* if relocatable */
    u64 initrd_end_max; /* first address that the initrd may not reach */
    u32 cmdline_size, header_end;
    bool relocatable;
};

bool linux_detect(const struct image_request *request) {
    const u8 *file = request->kernel;

    return request->kernel_bytes >= HDR_VERSION && load_u16(file + HDR_BOOT_FLAG) == 0xaa55 &&
           memcmp(file + HDR_MAGIC, "HdrS", 4) == 0;
}

static int check_sizes(const u8 *file, u64 bytes, struct setup *s, struct image_error *error) {
    u64 sectors = file[HDR_SETUP_SECTS] ? file[HDR_SETUP_SECTS] : 4; /* 0 means 4 */
    u64 system = load_u32(file + HDR_SYSSIZE) * 16ull;

    s->setup_bytes = (sectors + 1) * 512;
    if (s->setup_bytes + ENTRY_64 >= bytes)
        return load_fail(error, -E_INVAL, "setup_sects: %lu sectors leave no kernel in a file of %lu bytes", sectors,
                         bytes);
    s->payload_bytes = bytes - s->setup_bytes;
    if (system > align_up(s->payload_bytes, 16))
        return load_fail(error, -E_INVAL, "syssize: 0x%lx bytes of kernel, the file holds 0x%lx: it is cut short",
                         system, s->payload_bytes);
    return 0;
}

static int check_flags(const u8 *file, struct setup *s, struct image_error *error) {
    u32 version = load_u16(file + HDR_VERSION);

    if (version < VERSION_2_12)
        return load_fail(error, -E_INVAL, "version: boot protocol %u.%u, at least 2.12 is needed", version >> 8,
                         version & 0xff);
    s->header_end = HDR_MAGIC + file[HDR_JUMP_LENGTH];
    if (s->header_end < HDR_END_MIN || s->header_end > HDR_END_MAX)
        return load_fail(error, -E_INVAL, "jump: a setup header that ends at 0x%x is impossible", s->header_end);
    if (!(file[HDR_LOADFLAGS] & LOADED_HIGH))
        return load_fail(error, -E_INVAL, "loadflags: not LOADED_HIGH, so not a bzImage");
    if (!(load_u16(file + HDR_XLOADFLAGS) & XLF_KERNEL_64))
        return load_fail(error, -E_INVAL, "xloadflags: no 64-bit entry point (XLF_KERNEL_64)");
    return 0;
}

static int check_setup(const struct image_request *request, struct setup *s, struct image_error *error) {
    const u8 *file = request->kernel;
    int rc;

    if (!linux_detect(request)) return load_fail(error, -E_INVAL, "header: not a Linux bzImage (no HdrS magic)");
    rc = check_sizes(file, request->kernel_bytes, s, error);
    if (rc) return rc;
    /* At least two sectors are there now, which is all of the header. */
    rc = check_flags(file, s, error);
    if (rc) return rc;
    s->pref = load_u64(file + HDR_PREF_ADDRESS);
    s->memory = max_u64(load_u32(file + HDR_INIT_SIZE), s->payload_bytes);
    s->relocatable = file[HDR_RELOCATABLE] != 0;
    s->alignment = load_u32(file + HDR_ALIGNMENT);
    s->initrd_end_max = load_u32(file + HDR_INITRD_MAX) + 1ull;
    s->cmdline_size = load_u32(file + HDR_CMDLINE_SIZE);
    if (s->relocatable && (s->alignment < PAGE_4K || (s->alignment & (s->alignment - 1))))
        return load_fail(error, -E_INVAL, "kernel_alignment: 0x%lx is not a power of two", s->alignment);
    return 0;
}

/* At pref_address if it is free. A relocatable kernel may lie higher, never lower: started below
 * pref_address it moves itself up to it (init_size in the protocol's text). */
static int place_kernel(const struct gmem *mem, const struct setup *s, u64 *at, struct image_error *error) {
    u32 cursor = 0;
    struct run run;

    if (s->pref < GUEST_HIGHMEM_BASE || s->pref >= BOOT_MAP_END)
        return load_fail(error, -E_INVAL, "pref_address: 0x%lx is not between 1 MiB and 4 GiB", s->pref);
    while (run_next(mem, &cursor, &run)) {
        u64 end = min_u64(run.end, BOOT_MAP_END);

        *at = s->pref;
        if (*at < run.base && s->relocatable) *at = align_up(run.base, s->alignment);
        if (run.kind == REGION_RAM && *at >= run.base && *at < end && s->memory <= end - *at) return 0;
    }
    return load_fail(error, -E_RANGE,
                     "init_size: the kernel needs %lu KiB of memory from 0x%lx, give the "
                     "partition more",
                     (s->memory >> 10), s->pref);
}

/* The rest of the page stays zero: no screen, no EFI, no disks. */
static int write_zero_page(const struct gmem *mem, const struct image_request *request, const struct setup *s,
                           u64 kernel, u64 initrd, struct image_error *error) {
    int ranges;

    /* The boot area was written just before: the page is there and zero. */
    u8 *zp = gmem_ptr(mem, gpa(BOOT_ZERO_PAGE), PAGE_4K, true);

    memcpy(zp + HDR_SETUP_SECTS, (const u8 *)request->kernel + HDR_SETUP_SECTS, s->header_end - HDR_SETUP_SECTS);
    zp[HDR_TYPE_OF_LOADER] = 0xff; /* a loader without a number of its own */
    zp[HDR_LOADFLAGS] = (u8)(zp[HDR_LOADFLAGS] & ~CAN_USE_HEAP);
    load_store(zp + HDR_CODE32_START, kernel, 4);
    load_store(zp + HDR_RAMDISK_IMAGE, initrd, 4);
    load_store(zp + HDR_RAMDISK_SIZE, initrd ? request->modules->bytes : 0, 4);
    load_store(zp + HDR_EXT_LOADER, 0, 2);
    load_store(zp + HDR_CMD_LINE_PTR, BOOT_CMDLINE, 4);
    memset(zp + HDR_SUBARCH, 0, 12);       /* a PC, whatever the file says */
    load_store(zp + HDR_SETUP_DATA, 0, 8); /* a pointer that the kernel would follow */
    load_store(zp + ZP_ACPI_RSDP, request->rsdp.v, 8);
    ranges = load_memory_map(mem, zp + ZP_E820_TABLE, E820_BYTES, error);
    zp[ZP_E820_ENTRIES] = (u8)ranges;
    return ranges < 0 ? ranges : 0;
}

int linux_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
               struct image_error *error) {
    u64 kernel = 0, initrd = 0;
    struct setup s = {0};
    int rc;

    rc = check_setup(request, &s, error);
    if (rc) return rc;
    if (request->module_count > 1) return load_fail(error, -E_INVAL, "modules: a Linux bzImage takes an initrd only");
    rc = place_kernel(mem, &s, &kernel, error);
    if (rc) return rc;
    if (request->module_count && request->modules->bytes) {
        rc = load_module(mem, request->modules, &(struct extent){kernel, kernel + s.memory}, s.initrd_end_max, &initrd,
                         error);
        if (rc) return rc;
    }
    rc = load_boot_area(mem, request->cmdline, s.cmdline_size, START_LONG, start, error);
    if (rc) return rc;
    rc = write_zero_page(mem, request, &s, kernel, initrd, error);
    if (rc) return rc;
    start->rip = kernel + ENTRY_64;
    start->rsi = BOOT_ZERO_PAGE;
    return load_copy(mem, kernel, (const u8 *)request->kernel + s.setup_bytes, s.payload_bytes, s.payload_bytes, error);
}
