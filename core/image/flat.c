/* A flat binary: copied to its address and entered there. */
#include "core/image/loader.h"

#include "core/base/errors.h"

int flat_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
              struct image_error *error) {
    int rc;

    if (request->kernel_bytes == 0) return load_fail(error, -E_INVAL, "the flat image is empty");
    rc = load_check_range(mem, request->load_address, request->kernel_bytes, "load address", error);
    if (rc) return rc;
    if (request->entry - request->load_address >= request->kernel_bytes)
        return load_fail(error, -E_RANGE, "entry: 0x%llx is outside the image", (unsigned long long)request->entry);
    rc = load_boot_area(mem, request->cmdline, BOOT_CMDLINE_MAX, start, error);
    if (rc) return rc;
    start->rip = request->entry;
    start->rdi = BOOT_CMDLINE;
    start->rsi = request->rsdp.v;
    return load_copy(mem, request->load_address, request->kernel, request->kernel_bytes, request->kernel_bytes, error);
}
