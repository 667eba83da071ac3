/* Guest images into guest memory, and the start state of vCPU 0. Pure: the image and the guest's
 * memory are parameters; every field of an image is untrusted. Source: Linux x86 boot protocol,
 * 64-bit Boot Protocol; ELF object file format; Xen, PVH start information (start_info.h);
 * Multiboot Specification 0.6.96; Multiboot2 Specification 2.0.
 *
 * Interrupts are off and segments flat. What the registers hold:
 *   Linux         long mode; rsi = zero page
 *   ELF, flat     long mode (flat: as the file says); rdi = command line, ended by NUL; rsi = RSDP;
 *                 rsp = top of a 24 KiB stack
 *   PVH           protected mode; ebx = start information
 *   Multiboot     protected mode; eax = magic number, ebx = boot information
 *   firmware      as after a reset
 * Tables, boot information, command line and stack lie in the boot area, which an image must not
 * cover. Flat images in real mode have CS:IP = entry, the other segments as CS, and SS:SP below the
 * area's end. */
#pragma once

#include "core/base/types.h"
#include "core/config/config.h"
#include "mm/region.h"

/* The boot area, guest-physical: out of the way of boot sectors and of what loads below 512 KiB. Free
 * for the guest as soon as it has its own tables and stack. */
#define BOOT_AREA_BASE 0x80000ull
#define BOOT_AREA_END  0x8f000ull

/* How vCPU 0 starts; a register that is not listed is 0. */
struct start_state {
    enum start_mode mode;
    u64 rip, rsp, rsi, rdi, rbx, rax;
    u64 cr3;   /* long mode */
    gpa_t gdt; /* null, 32-bit code 0x08, 64-bit code 0x10, data 0x18 */
    u32 gdt_bytes;
};

/* A GRUB module that goes to the guest as it is. */
struct image_module {
    const char *name;
    const void *data;
    u64 bytes;
};
#define IMAGE_MODULES_MAX 64

struct image_request {
    enum image_format format;
    enum start_mode mode; /* IMAGE_FLAT */
    const char *name;     /* of the kernel's module */
    const void *kernel;
    u64 kernel_bytes;
    const struct image_module *modules; /* the initrd is the first */
    u32 module_count;
    const char *cmdline;     /* never NULL, at most BOOT_CMDLINE_MAX characters reach a guest */
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
