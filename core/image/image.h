/* Guest images into guest memory, and the start state of vCPU 0. Pure: the image and the guest's
 * memory are parameters; every field of an image is untrusted. Source: Linux x86 boot protocol,
 * 64-bit Boot Protocol; ELF-64 Object File Format.
 *
 * Every form starts in long mode, interrupts off, with the first 4 GiB mapped one to one and flat
 * segments. What the registers hold:
 *   Linux          rsi = zero page
 *   ELF and flat   rdi = command line, ended by NUL; rsi = RSDP; rsp = top of a 24 KiB stack
 * Tables, zero page, command line and stack lie in the boot area, which an image must not cover. */
#pragma once

#include "core/base/types.h"
#include "core/config/config.h"
#include "mm/region.h"

/* The boot area, guest-physical. Free for the guest as soon as it has its own tables and stack. */
#define BOOT_AREA_BASE 0x1000ull
#define BOOT_AREA_END  0x10000ull

/* How vCPU 0 starts. Long mode with identity page tables at cr3, or the 16/32-bit state that the
 * form demands. */
struct start_state {
    bool long_mode; /* else: 32-bit protected mode, flat segments, paging off */
    u64 rip, rsp, rsi, rdi, rbx, rax, cr3;
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

/* Loads and fills *start. mem must cover the partition; the regions serve as E820. The RAM that
 * the image does not cover is left as it is. Returns 0, or -E_INVAL (the image is malformed or of
 * another kind) or -E_RANGE (it does not fit into the memory) with *error; guest memory may then
 * be partly written. */
int image_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
               struct image_error *error) must_check;
