#include "tools/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/config/problem.h"
#include "core/image/image.h"
#include "tools/files.h"

/* Loaders stay below 4 GiB; of memory above it only that there is some is told to the guest. */
#define MEMORY_MAX GIB(6)
#define REGIONS    8

/* A guest's memory, of which only what is written takes any. */
struct space {
    void *host;
    u64 bytes;
    struct region regions[REGIONS];
    struct gmem mem;
};

/* rom: bytes of a firmware image, or 0. */
static int open_space(struct space *s, u64 memory, u64 rom) {
    struct piece piece = {hpa(0), min_u64(memory, MEMORY_MAX)};
    int n = region_list_build(&piece, 1, piece.bytes, s->regions, REGIONS - 1);

    if (n < 0) return n;
    s->bytes = piece.bytes + rom;
    s->host = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->host == MAP_FAILED) {
        fputs("mullion-check: out of memory\n", stderr);
        return -E_NOMEM;
    }
    if (rom) region_add_firmware(s->regions, (u32)n++, hpa(piece.bytes), rom);
    s->mem = (struct gmem){s->regions, (u32)n, (u64)s->host, false};
    return 0;
}

static int load(const struct image_request *request, u64 memory, struct image_error *error) {
    bool firmware = request->format == IMAGE_FIRMWARE && request->kernel_bytes <= GUEST_ROM_MAX;
    struct start_state start;
    struct space s;
    int rc = open_space(&s, memory, firmware ? align_down(request->kernel_bytes, PAGE_4K) : 0);

    if (rc) return rc == -E_NOMEM ? -E_NOMEM : 0; /* not even a partition: the parser has said so */
    rc = image_load(&s.mem, request, &start, error);
    munmap(s.host, s.bytes);
    return rc;
}

static const struct module_file *find(const struct module_file *files, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (files[i].path && !strcmp(files[i].name, name)) return &files[i];
    return NULL;
}

/* Reads one more module. Returns 0, -E_NOENT, or -E_INVAL if its file is not known. */
static int take(struct image_module *list, u32 *n, const struct module_file *files, size_t count, const char *name) {
    const struct module_file *file = find(files, count, name);
    size_t bytes;
    void *data;

    if (!file) return -E_INVAL;
    data = file_read(file->path, SIZE_MAX - 1, &bytes);
    if (!data) return -E_NOENT;
    list[(*n)++] = (struct image_module){name, data, bytes};
    return 0;
}

static void add_mistake(struct problems *problems, const struct config_partition *p, const char *path, int code,
                        const char *what) {
    problem_add(problems, p->kernel_at, "module %s: %s\ncorrect %s, or the file, which is %s",
                problem_quote(p->kernel, strlen(p->kernel)).text, what, code == -E_RANGE ? "memory" : "format", path);
}

/* Returns 0, with a mistake noted or not, or -E_NOENT or -E_NOMEM. */
static int check_partition(const struct config_partition *p, const struct module_file *files, size_t count,
                           struct problems *problems) {
    struct image_module *list = file_grow(NULL, (2 + (size_t)p->module_count) * sizeof(*list));
    struct image_request request = {.format = p->format,
                                    .name = p->kernel,
                                    .modules = list + 1,
                                    .cmdline = p->cmdline ? p->cmdline : "",
                                    .mode = p->mode,
                                    .load_address = p->load_address,
                                    .entry = p->entry,
                                    .rsdp = gpa(GUEST_BIOS_BASE)};
    struct image_error error;
    u32 n = 0;
    int rc = take(list, &n, files, count, p->kernel);

    if (!rc && p->initrd) rc = take(list, &n, files, count, p->initrd);
    for (u32 i = 0; i < p->module_count && !rc; i++) rc = take(list, &n, files, count, p->modules[i]);
    if (!rc) {
        request.kernel = list->data;
        request.kernel_bytes = list->bytes;
        request.module_count = n - 1;
        rc = load(&request, p->memory, &error);
        if (rc && rc != -E_NOMEM) add_mistake(problems, p, find(files, count, p->kernel)->path, rc, error.what);
    }
    for (u32 i = 0; i < n; i++) free((void *)list[i].data);
    free(list);
    return rc == -E_NOENT || rc == -E_NOMEM ? rc : 0;
}

int kernels_check(const struct config *config, const struct module_file *files, size_t count,
                  struct config_error *error) {
    struct problems problems = {.first = error};

    for (u32 i = 0; i < config->partition_count; i++) {
        int rc = check_partition(&config->partitions[i], files, count, &problems);

        if (rc) return rc;
    }
    return problems.any ? -E_INVAL : 0;
}

int kernels_check_hypervisor(const char *path) {
    struct image_request request = {
        .format = IMAGE_MULTIBOOT2, .name = "", .cmdline = "", .rsdp = gpa(GUEST_BIOS_BASE)};
    struct image_error error;
    size_t bytes;
    char *data = file_read(path, SIZE_MAX - 1, &bytes);
    int rc;

    if (!data) return -E_NOENT;
    request.kernel = data;
    request.kernel_bytes = bytes;
    rc = load(&request, MIB(512), &error);
    free(data);
    if (!rc || rc == -E_NOMEM) return rc;
    fprintf(stderr, "mullion-check: %s: %s\n", path, error.what);
    return -E_INVAL;
}
