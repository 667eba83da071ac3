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
