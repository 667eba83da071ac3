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
#define E820_MAX        128
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

struct placement {
    u64 kernel, initrd;
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
        return load_fail(error, -E_INVAL, "setup_sects: %llu sectors leave no kernel in a file of %llu bytes",
                         (unsigned long long)sectors, (unsigned long long)bytes);
    s->payload_bytes = bytes - s->setup_bytes;
    if (system > align_up(s->payload_bytes, 16))
        return load_fail(error, -E_INVAL, "syssize: 0x%llx bytes of kernel, the file holds 0x%llx: it is cut short",
                         (unsigned long long)system, (unsigned long long)s->payload_bytes);
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
        return load_fail(error, -E_INVAL, "kernel_alignment: 0x%llx is not a power of two",
                         (unsigned long long)s->alignment);
    return 0;
}

/* At pref_address if it is free. A relocatable kernel may lie higher, never lower: started below
 * pref_address it moves itself up to it (init_size in the protocol's text). */
static int place_kernel(const struct gmem *mem, const struct setup *s, u64 *at, struct image_error *error) {
    u32 cursor = 0;
    struct run run;

    if (s->pref < GUEST_HIGHMEM_BASE || s->pref >= BOOT_MAP_END)
        return load_fail(error, -E_INVAL, "pref_address: 0x%llx is not between 1 MiB and 4 GiB",
                         (unsigned long long)s->pref);
    while (run_next(mem, &cursor, &run)) {
        u64 end = min_u64(run.end, BOOT_MAP_END);

        *at = s->pref;
        if (*at < run.base && s->relocatable) *at = align_up(run.base, s->alignment);
        if (run.kind == REGION_RAM && *at >= run.base && *at < end && s->memory <= end - *at) return 0;
    }
    return load_fail(error, -E_RANGE,
                     "init_size: the kernel needs %llu KiB of memory from 0x%llx, give the "
                     "partition more",
                     (unsigned long long)(s->memory >> 10), (unsigned long long)s->pref);
}

/* The highest page in [base, end) from which `bytes` fit, if it beats *best. */
static void try_high(u64 base, u64 end, u64 bytes, u64 *best) {
    base = align_up(base, PAGE_4K);
    if (end > base && end - base >= bytes && align_down(end - bytes, PAGE_4K) >= base)
        *best = max_u64(*best, align_down(end - bytes, PAGE_4K));
}

/* As high as initrd_addr_max allows, out of the kernel's way. */
static int place_initrd(const struct gmem *mem, const struct setup *s, u64 bytes, struct placement *p,
                        struct image_error *error) {
    u32 cursor = 0;
    struct run run;

    p->initrd = 0;
    while (run_next(mem, &cursor, &run)) {
        u64 base = max_u64(run.base, GUEST_HIGHMEM_BASE);
        u64 end = min_u64(run.end, s->initrd_end_max);

        if (run.kind != REGION_RAM) continue;
        try_high(base, min_u64(end, p->kernel), bytes, &p->initrd);
        try_high(max_u64(base, p->kernel + s->memory), end, bytes, &p->initrd);
    }
    if (p->initrd) return 0;
    return load_fail(error, -E_RANGE, "initrd: no room for its %llu KiB beside the kernel and below 0x%llx",
                     (unsigned long long)((bytes + 1023) >> 10), (unsigned long long)s->initrd_end_max);
}

static void put(u8 *at, u64 value, u32 bytes) {
    for (u32 i = 0; i < bytes; i++) at[i] = (u8)(value >> (8 * i));
}

/* E820 from the region list: RAM is type 1, reserved is type 2; devices are no memory. */
static int write_e820(const struct gmem *mem, u8 *zp, struct image_error *error) {
    u32 cursor = 0, count = 0;
    struct run run;

    while (run_next(mem, &cursor, &run)) {
        u8 *entry = zp + ZP_E820_TABLE + count * E820_BYTES;

        if (count++ == E820_MAX) return load_fail(error, -E_RANGE, "memory: more than 128 separate ranges");
        put(entry, run.base, 8);
        put(entry + 8, run.end - run.base, 8);
        put(entry + 16, run.kind == REGION_RAM ? 1 : 2, 4);
    }
    zp[ZP_E820_ENTRIES] = (u8)count;
    return 0;
}

/* The rest of the page stays zero: no screen, no EFI, no disks. */
static int write_zero_page(const struct gmem *mem, const struct image_request *request, const struct setup *s,
                           const struct placement *p, struct image_error *error) {
    /* The boot area was written just before: the page is there and zero. */
    u8 *zp = gmem_ptr(mem, gpa(BOOT_ZERO_PAGE), PAGE_4K, true);

    memcpy(zp + HDR_SETUP_SECTS, (const u8 *)request->kernel + HDR_SETUP_SECTS, s->header_end - HDR_SETUP_SECTS);
    zp[HDR_TYPE_OF_LOADER] = 0xff; /* a loader without a number of its own */
    zp[HDR_LOADFLAGS] &= (u8)~CAN_USE_HEAP;
    put(zp + HDR_CODE32_START, p->kernel, 4);
    put(zp + HDR_RAMDISK_IMAGE, p->initrd, 4);
    put(zp + HDR_RAMDISK_SIZE, p->initrd ? request->initrd_bytes : 0, 4);
    put(zp + HDR_EXT_LOADER, 0, 2);
    put(zp + HDR_CMD_LINE_PTR, BOOT_CMDLINE, 4);
    memset(zp + HDR_SUBARCH, 0, 12); /* a PC, whatever the file says */
    put(zp + HDR_SETUP_DATA, 0, 8);  /* a pointer that the kernel would follow */
    put(zp + ZP_ACPI_RSDP, request->rsdp.v, 8);
    return write_e820(mem, zp, error);
}

int linux_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
               struct image_error *error) {
    struct placement p = {0};
    struct setup s = {0};
    int rc;

    rc = check_setup(request, &s, error);
    if (rc) return rc;
    rc = place_kernel(mem, &s, &p.kernel, error);
    if (rc) return rc;
    if (request->initrd && request->initrd_bytes) {
        rc = place_initrd(mem, &s, request->initrd_bytes, &p, error);
        if (rc) return rc;
    }
    rc = load_boot_area(mem, request->cmdline, s.cmdline_size, start, error);
    if (rc) return rc;
    rc = write_zero_page(mem, request, &s, &p, error);
    if (rc) return rc;
    rc = load_copy(mem, p.kernel, (const u8 *)request->kernel + s.setup_bytes, s.payload_bytes, s.payload_bytes, error);
    if (rc) return rc;
    start->rip = p.kernel + ENTRY_64;
    start->rsi = BOOT_ZERO_PAGE;
    return p.initrd ? load_copy(mem, p.initrd, request->initrd, request->initrd_bytes, request->initrd_bytes, error)
                    : 0;
}
