/* Which loader an image goes to. */
#include "core/image/image.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/image/loader.h"

/* Programs that carry several headers start as an emulator's -kernel starts them: multiboot before PVH. What that does
 * not know comes behind. */
static const struct {
    enum image_format format;
    bool (*detect)(const struct image_request *request); /* NULL: never found out */
    image_loader *load;
} forms[] = {
    {IMAGE_LINUX, linux_detect, linux_load}, {IMAGE_MULTIBOOT, multiboot_detect, multiboot_load},
    {IMAGE_PVH, pvh_detect, pvh_load},       {IMAGE_MULTIBOOT2, multiboot2_detect, multiboot2_load},
    {IMAGE_ELF, elf_detect, elf_load},       {IMAGE_FLAT, NULL, flat_load},
    {IMAGE_FIRMWARE, NULL, firmware_load},
};

int image_load(const struct gmem *mem, const struct image_request *request, struct start_state *start,
               struct image_error *error) {
    if (request->module_count > IMAGE_MODULES_MAX)
        return load_fail(error, -E_INVAL, "modules: %u, more than 64", request->module_count);
    for (u32 i = 0; i < ARRAY_SIZE(forms); i++)
        if (request->format == IMAGE_AUTO ? forms[i].detect && forms[i].detect(request)
                                          : request->format == forms[i].format)
            return forms[i].load(mem, request, start, error);
    return load_fail(error, -E_INVAL,
                     "neither Linux bzImage nor multiboot nor ELF; a flat binary has to be declared as one");
}
