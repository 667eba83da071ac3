/* ELF executables, 32 and 64 bits wide: PT_LOAD segments at their physical addresses, entered in long mode or by the
 * PVH note. Every field is untrusted. Source: Tool Interface Standard, ELF Specification; ELF-64 Object File Format;
 * System V ABI, AMD64 Supplement (machine number); Xen, public/elfnote.h and public/arch-x86/hvm/start_info.h. */
#include "core/image/loader.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/string.h"

#define ELF_SEGMENTS_MAX 64u /* far more than a linker makes; bounds the work */

#define ELF_CLASS_32     1
#define ELF_CLASS_64     2
#define ELF_DATA_LITTLE  1
#define ELF_VERSION      1
#define ELF_TYPE_EXEC    2
#define ELF_MACHINE_386  3
#define ELF_MACHINE_X64  62
#define ELF_SEGMENT_LOAD 1
#define ELF_SEGMENT_NOTE 4

#define NOTE_PHYS32_ENTRY 18

/* The two classes hold the same fields in the same order (but for p_flags); those of an address's width are 4 or 8
 * bytes, and all offsets follow from that. */
struct elf {
    const u8 *file;
    u64 bytes;
    u32 word; /* 4 or 8 */
    u64 table;
    u32 count; /* program headers */
};
#define ELF_HEADER_BYTES(e)  (40 + 3 * (e)->word)
#define ELF_PHENTSIZE(e)     (30 + 3 * (e)->word)
#define ELF_PHNUM(e)         (32 + 3 * (e)->word)
#define ELF_SEGMENT_BYTES(e) (8 + 6 * (e)->word)

struct segment_header {
    u32 type;
    u64 offset, vaddr, paddr, file_bytes, mem_bytes;
};

static u64 word_at(const struct elf *e, const u8 *at) { return e->word == 8 ? load_u64(at) : load_u32(at); }

bool elf_detect(const struct image_request *request) {
    return request->kernel_bytes >= 4 && memcmp(request->kernel, "\177ELF", 4) == 0;
}

static int check_ident(const struct elf *e, struct image_error *error) {
    const u8 *file = e->file;
    u32 machine = e->word == 8 ? ELF_MACHINE_X64 : ELF_MACHINE_386;

    if (file[5] != ELF_DATA_LITTLE) return load_fail(error, -E_INVAL, "e_ident: not a little-endian file");
    if (e->bytes < ELF_HEADER_BYTES(e)) return load_fail(error, -E_INVAL, "ELF header: the file is too short");
    if (file[6] != ELF_VERSION || load_u32(file + 20) != ELF_VERSION)
        return load_fail(error, -E_INVAL, "e_version: not 1");
    if (load_u16(file + 16) != ELF_TYPE_EXEC)
        return load_fail(error, -E_INVAL, "e_type: %u, not a fixed executable (2); link with -no-pie",
                         load_u16(file + 16));
    if (load_u16(file + 18) != machine)
        return load_fail(error, -E_INVAL, "e_machine: %u, not %u (x86)", load_u16(file + 18), machine);
    return 0;
}

static int open_elf(const struct image_request *request, struct elf *e, struct image_error *error) {
    const u8 *file = request->kernel;
    int rc;

    if (!elf_detect(request)) return load_fail(error, -E_INVAL, "e_ident: not an ELF file");
    if (request->kernel_bytes < 40) return load_fail(error, -E_INVAL, "ELF header: the file is too short");
    if (file[4] != ELF_CLASS_32 && file[4] != ELF_CLASS_64)
        return load_fail(error, -E_INVAL, "e_ident: class %u is neither 32 nor 64 bits", file[4]);
    *e = (struct elf){.file = file, .bytes = request->kernel_bytes, .word = file[4] == ELF_CLASS_64 ? 8 : 4};
    rc = check_ident(e, error);
    if (rc) return rc;
    if (load_u16(file + ELF_PHENTSIZE(e)) != ELF_SEGMENT_BYTES(e))
        return load_fail(error, -E_INVAL, "e_phentsize: %u, not %u", load_u16(file + ELF_PHENTSIZE(e)),
                         ELF_SEGMENT_BYTES(e));
    e->count = load_u16(file + ELF_PHNUM(e));
    if (e->count == 0 || e->count > ELF_SEGMENTS_MAX)
        return load_fail(error, -E_INVAL, "e_phnum: %u, not 1 to 64", e->count);
    e->table = word_at(e, file + 24 + e->word);
    if (e->table > e->bytes || e->count * ELF_SEGMENT_BYTES(e) > e->bytes - e->table)
        return load_fail(error, -E_INVAL, "e_phoff: the program headers lie outside the file (0x%lx)", e->table);
    return 0;
}

static struct segment_header segment_at(const struct elf *e, u32 index) {
    const u8 *p = e->file + e->table + index * ELF_SEGMENT_BYTES(e);

    return (struct segment_header){
        .type = load_u32(p),
        .offset = word_at(e, p + e->word),
        .vaddr = word_at(e, p + 2 * e->word),
        .paddr = word_at(e, p + 3 * e->word),
        .file_bytes = word_at(e, p + 4 * e->word),
        .mem_bytes = word_at(e, p + 5 * e->word),
    };
}

static bool in_file(const struct elf *e, const struct segment_header *s) {
    return s->offset <= e->bytes && s->file_bytes <= e->bytes - s->offset;
}

static int load_segment(const struct gmem *mem, const struct elf *e, const struct segment_header *s,
                        struct image_error *error) {
    int rc;

    if (s->file_bytes > s->mem_bytes)
        return load_fail(error, -E_INVAL, "p_filesz: 0x%lx is above p_memsz 0x%lx", s->file_bytes, s->mem_bytes);
    if (!in_file(e, s))
        return load_fail(error, -E_INVAL, "p_offset: 0x%lx + 0x%lx bytes lies outside the file", s->offset,
                         s->file_bytes);
    rc = load_check_range(mem, s->paddr, s->mem_bytes, "p_paddr", error);
    if (rc) return rc;
    return load_copy(mem, s->paddr, e->file + s->offset, s->file_bytes, s->mem_bytes, error);
}

/* e_entry is physical in files linked one to one and in some that are not (a Linux vmlinux); otherwise it is virtual
 * and means the same byte at its physical address. */
static bool entry_in(const struct segment_header *s, u64 entry, u64 *at) {
    if (entry - s->paddr < s->mem_bytes)
        *at = entry;
    else if (entry - s->vaddr < s->mem_bytes)
        *at = entry - s->vaddr + s->paddr;
    else
        return false;
    return true;
}

int elf_segments(const struct gmem *mem, const struct image_request *request, struct extent *image, u64 *entry,
                 struct image_error *error) {
    bool given = *entry != NEVER, entered = false;
    u64 wanted = *entry;
    struct elf e;
    int rc = open_elf(request, &e, error);

    if (rc) return rc;
    if (!given) wanted = word_at(&e, e.file + 24);
    *image = (struct extent){NEVER, 0};
    for (u32 i = 0; i < e.count; i++) {
        struct segment_header s = segment_at(&e, i);

        if (s.type != ELF_SEGMENT_LOAD || s.mem_bytes == 0) continue;
        rc = load_segment(mem, &e, &s, error);
        if (rc) return rc;
        *image = (struct extent){min_u64(image->base, s.paddr), max_u64(image->end, s.paddr + s.mem_bytes)};
        entered = entered || entry_in(&s, wanted, entry);
    }
    if (entered) return 0;
    return load_fail(error, -E_INVAL, "%s: 0x%lx is in no PT_LOAD segment", given ? "entry address" : "e_entry",
                     wanted);
}

int elf_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
             struct image_error *error) {
    struct extent image;
    u64 entry = NEVER;
    struct elf e;
    int rc = open_elf(request, &e, error);

    if (rc) return rc;
    if (e.word != 8) return load_fail(error, -E_INVAL, "e_ident: a 32-bit file without multiboot header or PVH note");
    if (request->module_count)
        return load_fail(error, -E_INVAL, "modules: a plain ELF image takes no initrd, no modules");
    rc = load_boot_area(mem, request->cmdline, BOOT_CMDLINE_MAX, START_LONG, start, error);
    if (rc) return rc;
    rc = elf_segments(mem, request, &image, &entry, error);
    start->rip = entry;
    start->rdi = BOOT_CMDLINE;
    start->rsi = request->rsdp.v;
    return rc;
}

/* --- PVH --- */

/* Looks through one PT_NOTE segment: name size, description size, type, name, description, each at 4 bytes. */
static bool note_in(const struct elf *e, const struct segment_header *s, u64 *entry) {
    const u8 *at = e->file + s->offset;
    u64 left = s->file_bytes;

    while (left >= 12) {
        u64 name = load_u32(at), description = load_u32(at + 4),
            total = 12 + align_up(name, 4) + align_up(description, 4);

        if (load_u32(at + 8) == NOTE_PHYS32_ENTRY && name == 4 && description >= 4 && total <= left &&
            memcmp(at + 12, "Xen", 4) == 0) {
            *entry = description >= 8 ? load_u64(at + 16) : load_u32(at + 16);
            return true;
        }
        if (total > left) return false;
        at += total;
        left -= total;
    }
    return false;
}

static bool find_note(const struct elf *e, u64 *entry) {
    for (u32 i = 0; i < e->count; i++) {
        struct segment_header s = segment_at(e, i);

        if (s.type == ELF_SEGMENT_NOTE && in_file(e, &s) && note_in(e, &s, entry)) return true;
    }
    return false;
}

bool pvh_detect(const struct image_request *request) {
    struct image_error ignored;
    struct elf e;
    u64 entry;

    return elf_detect(request) && open_elf(request, &e, &ignored) == 0 && find_note(&e, &entry);
}

/* Version 1: 56 bytes; then 32 for each module. */
static void write_start_info(const struct image_request *request, const struct handover *h) {
    u8 *info = h->info, *list = info + 56;

    load_store(info, 0x336ec578, 4);
    load_store(info + 4, 1, 4);
    load_store(info + 12, request->module_count, 4);
    load_store(info + 16, request->module_count ? BOOT_INFO + 56 : 0, 8);
    load_store(info + 24, BOOT_CMDLINE, 8);
    load_store(info + 32, request->rsdp.v, 8);
    load_store(info + 40, BOOT_MAP, 8);
    load_store(info + 48, h->ranges, 4);
    for (u32 i = 0; i < request->module_count; i++, list += 32) {
        load_store(list, h->module[i], 8);
        load_store(list + 8, request->modules[i].bytes, 8);
    }
}

int pvh_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
             struct image_error *error) {
    struct handover h;
    struct extent image;
    struct elf e;
    u64 entry;
    int rc = open_elf(request, &e, error);

    if (rc) return rc;
    if (!find_note(&e, &entry)) return load_fail(error, -E_INVAL, "PT_NOTE: no note XEN_ELFNOTE_PHYS32_ENTRY");
    rc = load_boot_area(mem, request->cmdline, BOOT_CMDLINE_MAX, START_PROTECTED, start, error);
    if (rc) return rc;
    rc = elf_segments(mem, request, &image, &entry, error);
    if (rc) return rc;
    rc = load_handover(mem, request, &image, &h, error);
    if (rc) return rc;
    write_start_info(request, &h);
    start->rip = entry;
    start->rbx = BOOT_INFO;
    return 0;
}
