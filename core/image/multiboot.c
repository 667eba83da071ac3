/* Multiboot images, versions 1 and 2: ELF or placed by the header's address fields. Every field is untrusted.
 * Source: Multiboot Specification 0.6.96 and Multiboot2 Specification 2.0, OS image format, Machine state, Boot
 * information format. */
#include "core/image/loader.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/string.h"

#define MB1_MAGIC  0x1badb002u
#define MB1_BOOTED 0x2badb002u
#define MB1_SEARCH 8192u /* the header lies in the first bytes of the file */
#define MB1_UNKNOWN                                                                                                    \
    0xfff8u /* requirements that this version does not know; page alignment and memory are always given */
#define MB1_ADDRESS  BIT(16)
#define MB1_MINIMUM  12u
#define MB1_COMPLETE 32u /* with address fields */

/* Flags of the information: memory, command line, modules, memory map, loader's name. */
#define MB1_INFO_FLAGS (BIT(0) | BIT(2) | BIT(3) | BIT(6) | BIT(9))
#define MB1_INFO_BYTES 120

#define MB2_MAGIC  0xe85250d6u
#define MB2_BOOTED 0x36d76289u
#define MB2_SEARCH 32768u

#define TAG_OPTIONAL BIT(0)

/* Header tags of version 2. */
#define HEADER_END          0
#define HEADER_REQUEST      1
#define HEADER_ADDRESS      2
#define HEADER_ENTRY        3
#define HEADER_CONSOLE      4
#define HEADER_MODULE_ALIGN 6
#define HEADER_EFI32_ENTRY  8
#define HEADER_EFI64_ENTRY  9
#define HEADER_RELOCATABLE  10

/* And of its information. */
#define INFO_END        0
#define INFO_CMDLINE    1
#define INFO_LOADER     2
#define INFO_MODULE     3
#define INFO_MEMORY     4
#define INFO_MEMORY_MAP 6
#define INFO_ELF        9
#define INFO_RSDP_OLD   14
#define INFO_RSDP_NEW   15
#define INFO_BASE       21

static const char loader_name[] = "Mullion";

/* What a header says, in either version. */
struct header {
    u64 at;              /* in the file */
    const u8 *addresses; /* header, load, load end and bss end address; NULL: an ELF file */
    u64 entry;           /* NEVER: the ELF file's */
    bool relocatable;
};

/* The header's offset in the file, or NEVER. `fields` words sum up to 0. */
static u64 find_header(const struct image_request *request, u32 magic, u64 search, u32 align, u32 fields) {
    const u8 *file = request->kernel;
    u64 end = min_u64(request->kernel_bytes, search);

    for (u64 at = 0; at + 4 * fields <= end; at += align) {
        u32 sum = 0;

        for (u32 i = 0; i < fields; i++) sum += load_u32(file + at + 4 * i);
        if (load_u32(file + at) == magic && sum == 0) return at;
    }
    return NEVER;
}

static u64 find_mb1(const struct image_request *request) { return find_header(request, MB1_MAGIC, MB1_SEARCH, 4, 3); }
static u64 find_mb2(const struct image_request *request) { return find_header(request, MB2_MAGIC, MB2_SEARCH, 8, 4); }

bool multiboot_detect(const struct image_request *request) { return find_mb1(request) != NEVER; }
bool multiboot2_detect(const struct image_request *request) { return find_mb2(request) != NEVER; }

/* The part of the file that the address fields name. Zero for an end means: of the file, and no bss. */
static int load_addressed(const struct gmem *mem, const struct image_request *request, const struct header *h,
                          struct extent *image, struct image_error *error) {
    u64 header = load_u32(h->addresses), base = load_u32(h->addresses + 4);
    u64 end = load_u32(h->addresses + 8), bss_end = load_u32(h->addresses + 12);
    u64 from, bytes, total;
    int rc;

    if (base == UINT32_MAX) base = header - h->at; /* all of the file */
    if (base > header || header - base > h->at)
        return load_fail(error, -E_INVAL, "load_addr: 0x%lx is no place for a header at 0x%lx", base, header);
    from = h->at - (header - base);
    bytes = end ? end - base : request->kernel_bytes - from;
    if (end && (end < base || bytes > request->kernel_bytes - from))
        return load_fail(error, -E_INVAL, "load_end_addr: 0x%lx is not in the file", end);
    total = bss_end ? bss_end - base : bytes;
    if (bss_end < base ? bss_end != 0 : total < bytes)
        return load_fail(error, -E_INVAL, "bss_end_addr: 0x%lx is below the end of the data", bss_end);
    rc = load_check_range(mem, base, total, "load_addr", error);
    if (rc) return rc;
    if (h->entry - base >= total) return load_fail(error, -E_INVAL, "entry_addr: 0x%lx is outside the image", h->entry);
    *image = (struct extent){base, base + total};
    return load_copy(mem, base, (const u8 *)request->kernel + from, bytes, total, error);
}

/* Everything but the information itself. */
static int load_image(const struct gmem *mem, const struct image_request *request, const struct header *h, u32 magic,
                      struct start_state *start, struct extent *image, struct handover *out,
                      struct image_error *error) {
    u64 entry = h->entry;
    int rc = load_boot_area(mem, request->cmdline, BOOT_CMDLINE_MAX - 256, START_PROTECTED, start, error);

    if (rc) return rc;
    rc =
        h->addresses ? load_addressed(mem, request, h, image, error) : elf_segments(mem, request, image, &entry, error);
    start->rip = entry;
    start->rax = magic;
    start->rbx = BOOT_INFO;
    return rc ? rc : load_handover(mem, request, image, out, error);
}

/* KiB from 1 MiB to the first hole. */
static u32 upper_memory(const struct gmem *mem) {
    u32 cursor = 0;
    struct run run;

    while (run_next(mem, &cursor, &run))
        if (run.kind == REGION_RAM && run.base == GUEST_HIGHMEM_BASE) return (u32)((run.end - run.base) >> 10);
    return 0;
}

/* --- version 1 --- */

/* Appends text with its NUL; returns where the guest finds it. */
static u32 add_text(u8 *info, u32 *used, const char *text) {
    u32 at = *used;

    memcpy(info + at, text, strlen(text) + 1);
    *used += (u32)strlen(text) + 1;
    return (u32)BOOT_INFO + at;
}

/* The information, the list of modules, then texts. As -kernel does it, the command line begins with the name of the
 * image. */
static void write_mb1_info(const struct gmem *mem, const struct image_request *request, const struct handover *h) {
    u8 *info = h->info;
    u32 list = MB1_INFO_BYTES, used = list + 16 * request->module_count;

    for (u32 i = 0; i < h->ranges; i++) load_store(h->map - 4 + 24 * i, 20, 4); /* its own size not counted */
    load_store(info, MB1_INFO_FLAGS, 4);
    load_store(info + 4, GUEST_LOWMEM_END >> 10, 4);
    load_store(info + 8, upper_memory(mem), 4);
    load_store(info + 16, add_text(info, &used, request->name), 4);
    info[used - 1] = ' ';
    add_text(info, &used, request->cmdline);
    load_store(info + 20, request->module_count, 4);
    load_store(info + 24, BOOT_INFO + list, 4);
    load_store(info + 44, 24 * h->ranges, 4);
    load_store(info + 48, BOOT_MAP - 4, 4);
    load_store(info + 64, add_text(info, &used, loader_name), 4);
    for (u32 i = 0; i < request->module_count; i++, list += 16) {
        load_store(info + list, h->module[i], 4);
        load_store(info + list + 4, h->module[i] + request->modules[i].bytes, 4);
        load_store(info + list + 8, add_text(info, &used, request->modules[i].name), 4);
    }
}

int multiboot_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
                   struct image_error *error) {
    struct header h = {.at = find_mb1(request), .entry = NEVER};
    struct handover out;
    struct extent image;
    const u8 *header;
    u32 flags;
    int rc;

    if (h.at == NEVER) return load_fail(error, -E_INVAL, "magic: no multiboot header in the first 8 KiB");
    header = (const u8 *)request->kernel + h.at;
    flags = load_u32(header + 4);
    /* Bit 2 only recommends a video mode. */
    if (flags & MB1_UNKNOWN) return load_fail(error, -E_INVAL, "flags: 0x%x demands what is not offered", flags);
    if (flags & MB1_ADDRESS) {
        if (h.at + MB1_COMPLETE > request->kernel_bytes)
            return load_fail(error, -E_INVAL, "flags: address fields behind the end of the file");
        h.addresses = header + MB1_MINIMUM;
        h.entry = load_u32(header + 28);
    }
    rc = load_image(mem, request, &h, MB1_BOOTED, start, &image, &out, error);
    if (!rc) write_mb1_info(mem, request, &out);
    return rc;
}

/* --- version 2 --- */

/* What a partition has, and what it lacks as a machine without that thing lacks it; not ELF sections, not what is
 * newer. */
static int check_requests(const u8 *tag, u32 bytes, struct image_error *error) {
    for (u32 i = 8; i + 4 <= bytes; i += 4)
        if (load_u32(tag + i) == INFO_ELF || load_u32(tag + i) > INFO_BASE)
            return load_fail(error, -E_INVAL, "information request: tag %u is not offered", load_u32(tag + i));
    return 0;
}

/* bytes: at least 8, and inside the file. */
static int read_tag(const u8 *tag, u32 bytes, struct header *h, struct image_error *error) {
    static const u8 least[] = {[HEADER_ADDRESS] = 24, [HEADER_ENTRY] = 12, [HEADER_CONSOLE] = 12};
    u32 type = load_u16(tag);
    bool required = !(load_u16(tag + 2) & TAG_OPTIONAL);

    if (type < sizeof(least) && bytes < least[type])
        return load_fail(error, -E_INVAL, "header tag %u: size %u is too small", type, bytes);
    switch (type) {
    case HEADER_REQUEST: return required ? check_requests(tag, bytes, error) : 0;
    case HEADER_ADDRESS: h->addresses = tag + 8; return 0;
    case HEADER_ENTRY: h->entry = load_u32(tag + 8); return 0;
    case HEADER_CONSOLE: required = required && (load_u32(tag + 8) & 1); break; /* bit 1: it can use EGA text */
    case HEADER_RELOCATABLE: h->relocatable = true; return 0;                   /* and is, by 0 */
    case HEADER_MODULE_ALIGN:
    case HEADER_EFI32_ENTRY:
    case HEADER_EFI64_ENTRY: return 0;
    default: break; /* a framebuffer, EFI boot services, what is newer */
    }
    if (!required) return 0;
    return load_fail(error, -E_INVAL, "header tag %u: demands what a partition does not have", type);
}

static int read_tags(const struct image_request *request, struct header *h, struct image_error *error) {
    const u8 *header = (const u8 *)request->kernel + h->at;
    u64 length = load_u32(header + 8);

    if (load_u32(header + 4) != 0)
        return load_fail(error, -E_INVAL, "architecture: %u, not 0 (i386)", load_u32(header + 4));
    if (length > request->kernel_bytes - h->at)
        return load_fail(error, -E_INVAL, "header_length: 0x%lx bytes end behind the file", length);
    for (u64 at = 16; at + 8 <= length;) {
        u64 bytes = load_u32(header + at + 4);
        int rc;

        if (load_u16(header + at) == HEADER_END) return 0;
        if (bytes < 8 || bytes > length - at)
            return load_fail(error, -E_INVAL, "header tag %u: size %lu is not inside the header", load_u16(header + at),
                             bytes);
        rc = read_tag(header + at, (u32)bytes, h, error);
        if (rc) return rc;
        at += align_up(bytes, 8);
    }
    return load_fail(error, -E_INVAL, "header_length: no end tag in 0x%lx bytes", length);
}

/* Opens a tag with room for `bytes` of data; returns where the data goes. */
static u8 *add_tag(u8 *info, u32 *used, u32 type, u32 bytes) {
    u8 *tag = info + *used;

    load_store(tag, type, 4);
    load_store(tag + 4, 8 + bytes, 4);
    *used += (u32)align_up(8 + bytes, 8);
    return tag + 8;
}

static void add_data(u8 *info, u32 *used, u32 type, const void *data, u64 bytes) {
    memcpy(add_tag(info, used, type, (u32)bytes), data, bytes);
}

static void write_mb2_info(const struct gmem *mem, const struct image_request *request, const struct handover *h,
                           const struct extent *image) {
    const void *rsdp = gmem_ptr(mem, request->rsdp, 36, false);
    const u32 memory[2] = {GUEST_LOWMEM_END >> 10, upper_memory(mem)}, entry[2] = {24};
    u8 *info = h->info;
    u32 used = 8;

    add_data(info, &used, INFO_CMDLINE, request->cmdline, strlen(request->cmdline) + 1);
    add_data(info, &used, INFO_LOADER, loader_name, sizeof(loader_name));
    add_data(info, &used, INFO_MEMORY, memory, 8);
    if (image) add_data(info, &used, INFO_BASE, &image->base, 4);
    if (rsdp) {
        add_data(info, &used, INFO_RSDP_OLD, rsdp, 20);
        add_data(info, &used, INFO_RSDP_NEW, rsdp, 36);
    }
    for (u32 i = 0; i < request->module_count; i++) {
        const struct image_module *m = &request->modules[i];
        u8 *data = add_tag(info, &used, INFO_MODULE, 8 + (u32)strlen(m->name) + 1);

        load_store(data, h->module[i], 4);
        load_store(data + 4, h->module[i] + m->bytes, 4);
        memcpy(data + 8, m->name, strlen(m->name));
    }
    memcpy(add_tag(info, &used, INFO_MEMORY_MAP, 8 + 24 * h->ranges), entry, 8);
    memcpy(info + used - 24 * h->ranges, h->map, 24 * h->ranges);
    add_tag(info, &used, INFO_END, 0);
    load_store(info, used, 4);
}

int multiboot2_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
                    struct image_error *error) {
    struct header h = {.at = find_mb2(request), .entry = NEVER};
    struct handover out;
    struct extent image;
    int rc;

    if (h.at == NEVER) return load_fail(error, -E_INVAL, "magic: no multiboot2 header in the first 32 KiB");
    rc = read_tags(request, &h, error);
    if (rc) return rc;
    rc = load_image(mem, request, &h, MB2_BOOTED, start, &image, &out, error);
    if (!rc) write_mb2_info(mem, request, &out, h.relocatable ? &image : NULL);
    return rc;
}
