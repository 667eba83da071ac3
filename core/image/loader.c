/* The boot area (GDT, identity page tables, command line) and the helpers that the loaders share.
 * Boot core, while the partition does not run. Never trusts a number out of an image. */
#include "core/image/loader.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"

/* Flat descriptors, accessed bit set so that the CPU need not write them. SDM Vol 3A, Segment
 * Descriptors. */
#define GDT_CODE32 0x00cf9b000000ffffull
#define GDT_CODE64 0x00af9b000000ffffull
#define GDT_DATA   0x00cf93000000ffffull

/* SDM Vol 3A, 4-Level Paging. */
#define PTE_TABLE 0x3ull  /* present, writable */
#define PTE_2M    0x83ull /* present, writable, page size */

int load_fail(struct image_error *error, int code, const char *format, ...) {
    va_list args;

    va_start(args, format);
    fmt_v(error->what, sizeof(error->what), format, args);
    va_end(args);
    return code;
}

u16 load_u16(const u8 *at) { return (u16)(at[0] | at[1] << 8); }

u32 load_u32(const u8 *at) { return load_u16(at) | (u32)load_u16(at + 2) << 16; }

u64 load_u64(const u8 *at) { return load_u32(at) | (u64)load_u32(at + 4) << 32; }

void load_store(u8 *at, u64 value, u32 bytes) {
    for (u32 i = 0; i < bytes; i++) at[i] = (u8)(value >> (8 * i));
}

bool run_next(const struct gmem *mem, u32 *cursor, struct run *out) {
    u32 i = *cursor;

    while (i < mem->count && mem->regions[i].kind == REGION_DEVICE) i++;
    if (i == mem->count) return false;
    *out = (struct run){mem->regions[i].gpa.v, mem->regions[i].gpa.v + mem->regions[i].bytes, mem->regions[i].kind};
    for (i++; i < mem->count; i++) {
        const struct region *r = &mem->regions[i];

        if (r->kind != out->kind || r->gpa.v != out->end) break;
        out->end += r->bytes;
    }
    *cursor = i;
    return true;
}

int load_check_range(const struct gmem *mem, u64 at, u64 bytes, const char *field, struct image_error *error) {
    u32 cursor = 0;
    struct run run;

    if (bytes > BOOT_MAP_END || at > BOOT_MAP_END - bytes)
        return load_fail(error, -E_RANGE, "%s: 0x%lx + 0x%lx bytes ends above 4 GiB", field, at, bytes);
    if (ranges_overlap(at, bytes, BOOT_AREA_BASE, BOOT_AREA_END - BOOT_AREA_BASE))
        return load_fail(error, -E_RANGE, "%s: 0x%lx + 0x%lx bytes covers the boot area 0x80000 to 0x8efff", field, at,
                         bytes);
    while (run_next(mem, &cursor, &run))
        if (run.kind == REGION_RAM && at >= run.base && at < run.end && bytes <= run.end - at) return 0;
    return load_fail(error, -E_RANGE, "%s: 0x%lx + 0x%lx bytes is not wholly in the partition's memory", field, at,
                     bytes);
}

int load_copy(const struct gmem *mem, u64 at, const void *from, u64 bytes, u64 total, struct image_error *error) {
    if ((bytes && gmem_write(mem, gpa(at), from, bytes)) ||
        (total > bytes && gmem_zero(mem, gpa(at + bytes), total - bytes)))
        return load_fail(error, -E_RANGE, "memory at 0x%lx + 0x%lx bytes cannot be written", at, total);
    return 0;
}

int load_memory_map(const struct gmem *mem, u8 *at, u32 stride, struct image_error *error) {
    bool ecam = mem->ecam, more;
    u32 cursor = 0;
    int count = 0;
    struct run run;

    for (; (more = run_next(mem, &cursor, &run)) || ecam; at += stride) {
        if (!more) {
            run = (struct run){GUEST_ECAM_BASE, GUEST_ECAM_BASE + GUEST_ECAM_BYTES, REGION_RESERVED};
            ecam = false;
        }
        if (count++ == BOOT_RANGES_MAX) return load_fail(error, -E_RANGE, "memory: more than 128 separate ranges");
        load_store(at, run.base, 8);
        load_store(at + 8, run.end - run.base, 8);
        load_store(at + 16, run.kind == REGION_RAM ? 1 : 2, 4);
    }
    return count;
}

/* The highest page in [base, end) from which `bytes` fit, if it beats *best. */
static void try_high(u64 base, u64 end, u64 bytes, u64 *best) {
    base = align_up(base, PAGE_4K);
    if (end > base && end - base >= bytes && align_down(end - bytes, PAGE_4K) >= base)
        *best = max_u64(*best, align_down(end - bytes, PAGE_4K));
}

int load_module(const struct gmem *mem, const struct image_module *module, const struct extent *image, u64 limit,
                u64 *at, struct image_error *error) {
    u32 cursor = 0;
    struct run run;

    *at = 0;
    while (run_next(mem, &cursor, &run)) {
        u64 base = max_u64(run.base, GUEST_HIGHMEM_BASE), end = min_u64(run.end, limit);

        if (run.kind != REGION_RAM) continue;
        try_high(base, min_u64(end, image->base), module->bytes, at);
        try_high(max_u64(base, image->end), end, module->bytes, at);
    }
    if (*at) return load_copy(mem, *at, module->data, module->bytes, module->bytes, error);
    return load_fail(error, -E_RANGE, "module %s: no room for its %lu KiB beside the kernel and below 0x%lx",
                     module->name, ((module->bytes + 1023) >> 10), limit);
}

int load_handover(const struct gmem *mem, const struct image_request *request, const struct extent *image,
                  struct handover *out, struct image_error *error) {
    u64 at = BOOT_MAP_END;
    int rc;

    out->info = gmem_ptr(mem, gpa(BOOT_INFO), BOOT_CMDLINE - BOOT_INFO, true);
    out->map = out->info + (BOOT_MAP - BOOT_INFO);
    rc = load_memory_map(mem, out->map, 24, error);
    out->ranges = (u32)rc;
    for (u32 i = 0; i < request->module_count && rc >= 0; i++) {
        rc = load_module(mem, &request->modules[i], image, at, &at, error);
        out->module[i] = at;
    }
    return rc < 0 ? rc : 0;
}

/* The area lies in the first 640 KiB, which one piece of host memory backs: a pointer will do. */
static void write_page_tables(u64 *area) {
    u64 *pml4 = area + (BOOT_PML4 - BOOT_AREA_BASE) / 8;
    u64 *pdpt = area + (BOOT_PDPT - BOOT_AREA_BASE) / 8;
    u64 *pd = area + (BOOT_PD - BOOT_AREA_BASE) / 8;

    pml4[0] = BOOT_PDPT | PTE_TABLE;
    for (u64 i = 0; i < 4; i++) pdpt[i] = (BOOT_PD + i * PAGE_4K) | PTE_TABLE;
    for (u64 i = 0; i < 4 * 512; i++) pd[i] = i * PAGE_2M | PTE_2M;
}

int load_boot_area(const struct gmem *mem, const char *cmdline, u64 limit, enum start_mode mode,
                   struct start_state *start, struct image_error *error) {
    static const u64 gdt[4] = {0, GDT_CODE32, GDT_CODE64, GDT_DATA};
    void *area = gmem_ptr(mem, gpa(BOOT_AREA_BASE), BOOT_AREA_END - BOOT_AREA_BASE, true);
    u64 length = strlen(cmdline);

    limit = min_u64(limit, BOOT_CMDLINE_MAX);
    if (length > limit)
        return load_fail(error, -E_INVAL, "cmdline: %lu characters, but the kernel takes at most %lu", length, limit);
    if (!area) return load_fail(error, -E_RANGE, "the partition has no memory at 0x80000 for the boot area");
    memset(area, 0, BOOT_AREA_END - BOOT_AREA_BASE);
    memcpy(area, gdt, sizeof(gdt));
    if (mode == START_LONG) write_page_tables(area);
    memcpy((u8 *)area + (BOOT_CMDLINE - BOOT_AREA_BASE), cmdline, length);
    *start = (struct start_state){
        .mode = mode,
        .rsp = BOOT_AREA_END,
        .cr3 = BOOT_PML4,
        .gdt = gpa(BOOT_GDT),
        .gdt_bytes = sizeof(gdt),
    };
    return 0;
}
