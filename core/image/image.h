/* Guest images into guest memory, and the start state of vCPU 0. Pure: the image and the guest's
 * memory are parameters; every field of an image is untrusted. Source: Linux x86 boot protocol,
 * 64-bit Boot Protocol; ELF-64 Object File Format. */
#pragma once

#include "core/base/types.h"
#include "core/config/config.h"
#include "mm/region.h"

/* How vCPU 0 starts. Long mode with identity page tables at cr3, or the 16/32-bit state that the
 * form demands. */
struct start_state {
    bool long_mode; /* else: 32-bit protected mode, flat segments, paging off */
    u64 rip, rsp, rsi, rbx, rax, cr3;
    gpa_t gdt; /* guest GDT: null, null, 64-bit code 0x10, data 0x18 */
    u32 gdt_bytes;
};

struct image_request {
    enum image_format format;
    const void *kernel;
    u64 kernel_bytes;
    const void *initrd; /* NULL if none */
    u64 initrd_bytes;
    const char *cmdline;     /* never NULL */
    u64 load_address, entry; /* IMAGE_FLAT */
    gpa_t rsdp;
};

struct image_error {
    char what[160]; /* names the field and what is wrong; the caller adds the file's name */
};

/* Loads and fills *start. mem must cover the partition; the regions serve as E820. Returns 0, or
 * -E_INVAL or -E_RANGE with *error. */
int image_load(const struct gmem *mem, const struct image_request *request,
               struct start_state *start, struct image_error *error) must_check;
