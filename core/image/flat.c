/* Images without a header: flat binaries, copied to their address and entered there, and firmware. */
#include "core/image/loader.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/string.h"

int flat_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
              struct image_error *error) {
    u64 entry = request->entry;
    int rc;

    if (request->kernel_bytes == 0) return load_fail(error, -E_INVAL, "the flat image is empty");
    if (request->module_count) return load_fail(error, -E_INVAL, "modules: a flat image takes none");
    rc = load_check_range(mem, request->load_address, request->kernel_bytes, "load", error);
    if (rc) return rc;
    if (entry - request->load_address >= request->kernel_bytes)
        return load_fail(error, -E_RANGE, "entry: 0x%lx is outside the image", entry);
    if (request->mode == START_REAL && entry >= GUEST_HIGHMEM_BASE)
        return load_fail(error, -E_RANGE, "entry: 0x%lx is above 1 MiB, which real mode does not reach", entry);
    rc = load_boot_area(mem, request->cmdline, BOOT_CMDLINE_MAX, request->mode, start, error);
    if (rc) return rc;
    start->rip = entry;
    start->rdi = BOOT_CMDLINE;
    start->rsi = request->rsdp.v;
    return load_copy(mem, request->load_address, request->kernel, request->kernel_bytes, request->kernel_bytes, error);
}

/* At the end of the first 4 GiB, where the reset vector is, and what a real machine's bridge shows or copies below 1
 * MiB: as much of it as fits there. */
int firmware_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
                  struct image_error *error) {
    u64 bytes = request->kernel_bytes, low = min_u64(bytes, GUEST_HIGHMEM_BASE - GUEST_ROM_SHADOW);
    const u8 *image = request->kernel;
    void *rom = gmem_ptr(mem, gpa(GIB(4) - bytes), bytes, false);

    if (bytes < KIB(64) || !is_aligned(bytes, PAGE_4K) || !rom)
        return load_fail(error, -E_INVAL, "size: firmware of 0x%lx bytes, not pages, 64 KiB to 16 MiB", bytes);
    if (request->module_count > 1) return load_fail(error, -E_INVAL, "modules: firmware takes one floppy disk");
    memcpy(rom, image, bytes);
    *start = (struct start_state){.mode = START_RESET};
    return load_copy(mem, GUEST_HIGHMEM_BASE - low, image + bytes - low, low, low, error);
}
