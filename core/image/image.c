/* Which loader an image goes to. */
#include "core/image/image.h"

#include "core/base/errors.h"
#include "core/image/loader.h"

static enum image_format detect(const struct image_request *request) {
    if (linux_detect(request)) return IMAGE_LINUX;
    if (elf_detect(request)) return IMAGE_ELF;
    return IMAGE_AUTO;
}

int image_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
               struct image_error *error) {
    enum image_format format = request->format;

    if (format == IMAGE_AUTO) format = detect(request);
    if ((format == IMAGE_ELF || format == IMAGE_FLAT) && request->initrd)
        return load_fail(error, -E_INVAL, "initrd: only a Linux image takes one");
    switch (format) {
    case IMAGE_LINUX: return linux_load(mem, request, start, error);
    case IMAGE_ELF: return elf_load(mem, request, start, error);
    case IMAGE_FLAT: return flat_load(mem, request, start, error);
    case IMAGE_AUTO: break;
    }
    return load_fail(error, -E_INVAL,
                     "neither a Linux bzImage nor an ELF file; a flat binary has to be declared as "
                     "one");
}
