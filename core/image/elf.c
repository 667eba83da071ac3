/* ELF64 executables: PT_LOAD segments at their physical addresses. Every field is untrusted.
 * Source: ELF-64 Object File Format; System V ABI, AMD64 Supplement (machine number). */
#include "core/image/loader.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/string.h"

#define ELF_HEADER_BYTES  64u
#define ELF_SEGMENT_BYTES 56u
#define ELF_SEGMENTS_MAX  64u /* far more than a linker makes; bounds the work */

#define ELF_CLASS_64     2
#define ELF_DATA_LITTLE  1
#define ELF_VERSION      1
#define ELF_TYPE_EXEC    2
#define ELF_MACHINE_X64  62
#define ELF_SEGMENT_LOAD 1

struct segment_header {
    u32 type;
    u64 offset, vaddr, paddr, file_bytes, mem_bytes;
};

static const u8 elf_magic[4] = {0x7f, 'E', 'L', 'F'};

bool elf_detect(const struct image_request *request) {
    return request->kernel_bytes >= sizeof(elf_magic) && memcmp(request->kernel, elf_magic, sizeof(elf_magic)) == 0;
}

static int check_header(const u8 *file, u64 bytes, struct image_error *error) {
    u64 table, count;

    if (bytes < ELF_HEADER_BYTES) return load_fail(error, -E_INVAL, "ELF header: the file is too short");
    if (file[4] != ELF_CLASS_64 || file[5] != ELF_DATA_LITTLE)
        return load_fail(error, -E_INVAL, "e_ident: not a 64-bit little-endian file");
    if (file[6] != ELF_VERSION || load_u32(file + 20) != ELF_VERSION)
        return load_fail(error, -E_INVAL, "e_version: not 1");
    if (load_u16(file + 16) != ELF_TYPE_EXEC)
        return load_fail(error, -E_INVAL, "e_type: %u, not a fixed executable (2); link with -no-pie",
                         load_u16(file + 16));
    if (load_u16(file + 18) != ELF_MACHINE_X64)
        return load_fail(error, -E_INVAL, "e_machine: %u, not x86-64 (62)", load_u16(file + 18));
    if (load_u16(file + 54) != ELF_SEGMENT_BYTES)
        return load_fail(error, -E_INVAL, "e_phentsize: %u, not 56", load_u16(file + 54));
    count = load_u16(file + 56);
    if (count == 0 || count > ELF_SEGMENTS_MAX)
        return load_fail(error, -E_INVAL, "e_phnum: %llu, not 1 to 64", (unsigned long long)count);
    table = load_u64(file + 32);
    if (table > bytes || count * ELF_SEGMENT_BYTES > bytes - table)
        return load_fail(error, -E_INVAL, "e_phoff: the program headers lie outside the file (0x%llx)",
                         (unsigned long long)table);
    return 0;
}

static struct segment_header segment_at(const u8 *file, u32 index) {
    const u8 *p = file + load_u64(file + 32) + index * ELF_SEGMENT_BYTES;

    return (struct segment_header){
        .type = load_u32(p),
        .offset = load_u64(p + 8),
        .vaddr = load_u64(p + 16),
        .paddr = load_u64(p + 24),
        .file_bytes = load_u64(p + 32),
        .mem_bytes = load_u64(p + 40),
    };
}

static int load_segment(const struct gmem *mem, const struct image_request *request, const struct segment_header *s,
                        struct image_error *error) {
    int rc;

    if (s->file_bytes > s->mem_bytes)
        return load_fail(error, -E_INVAL, "p_filesz: 0x%llx is above p_memsz 0x%llx", (unsigned long long)s->file_bytes,
                         (unsigned long long)s->mem_bytes);
    if (s->offset > request->kernel_bytes || s->file_bytes > request->kernel_bytes - s->offset)
        return load_fail(error, -E_INVAL, "p_offset: 0x%llx + 0x%llx bytes lies outside the file",
                         (unsigned long long)s->offset, (unsigned long long)s->file_bytes);
    rc = load_check_range(mem, s->paddr, s->mem_bytes, "p_paddr", error);
    if (rc) return rc;
    return load_copy(mem, s->paddr, (const u8 *)request->kernel + s->offset, s->file_bytes, s->mem_bytes, error);
}

/* e_entry is physical in files linked one to one and in some that are not (a Linux vmlinux);
 * otherwise it is virtual and means the same byte at its physical address. */
static bool entry_in(const struct segment_header *s, u64 entry, u64 *rip) {
    if (entry - s->paddr < s->mem_bytes)
        *rip = entry;
    else if (entry - s->vaddr < s->mem_bytes)
        *rip = entry - s->vaddr + s->paddr;
    else
        return false;
    return true;
}

int elf_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
             struct image_error *error) {
    const u8 *file = request->kernel;
    bool entered = false;
    int rc;

    if (!elf_detect(request)) return load_fail(error, -E_INVAL, "e_ident: not an ELF file");
    rc = check_header(file, request->kernel_bytes, error);
    if (rc) return rc;
    rc = load_boot_area(mem, request->cmdline, BOOT_CMDLINE_MAX, start, error);
    if (rc) return rc;
    start->rdi = BOOT_CMDLINE;
    start->rsi = request->rsdp.v;
    for (u32 i = 0; i < load_u16(file + 56); i++) {
        struct segment_header s = segment_at(file, i);

        if (s.type != ELF_SEGMENT_LOAD || s.mem_bytes == 0) continue;
        rc = load_segment(mem, request, &s, error);
        if (rc) return rc;
        entered = entered || entry_in(&s, load_u64(file + 24), &start->rip);
    }
    if (!entered)
        return load_fail(error, -E_INVAL, "e_entry: 0x%llx is in no PT_LOAD segment",
                         (unsigned long long)load_u64(file + 24));
    return 0;
}
