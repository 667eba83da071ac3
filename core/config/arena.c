/* The bump allocator of the partition file: the table stays for good, so nothing is given back. */
#include "core/config/config.h"

#include "core/base/bits.h"
#include "core/base/string.h"

void *arena_alloc(struct arena *a, size_t bytes) {
    /* The base may be unaligned, so align the address and not the offset. */
    size_t start = align_up((uintptr_t)a->base + a->used, 16) - (uintptr_t)a->base;

    if (start > a->size || bytes > a->size - start) return NULL;
    a->used = start + bytes;
    return memset(a->base + start, 0, bytes);
}
