/* A byte ring with one writer and one reader, each on any core, without a lock. Layer 0, pure.
 * The writer owns head, the reader owns tail; both only grow and are taken modulo size. */
#pragma once

#include "core/base/types.h"

struct ring {
    u8 *data;
    u32 size; /* bytes, a power of two */
    u32 head; /* written by the writer only */
    u32 tail; /* written by the reader only */
};

static inline void ring_init(struct ring *r, void *data, u32 size) { *r = (struct ring){.data = data, .size = size}; }

/* Bytes that wait to be read. Exact for the reader, a lower bound for others. */
static inline u32 ring_used(const struct ring *r) {
    return __atomic_load_n(&r->head, __ATOMIC_ACQUIRE) - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
}
static inline u32 ring_free(const struct ring *r) { return r->size - ring_used(r); }

/* Writer only. False if full: nothing was written. */
static inline bool ring_put(struct ring *r, u8 byte) {
    if (ring_free(r) == 0) return false;
    r->data[r->head & (r->size - 1)] = byte;
    __atomic_store_n(&r->head, r->head + 1, __ATOMIC_RELEASE);
    return true;
}

/* Writer only. All of it, which a reader sees at once or not at all; false if there is no room: nothing was written. */
static inline bool ring_write(struct ring *r, const char *text, u32 length) {
    if (ring_free(r) < length) return false;
    for (u32 i = 0; i < length; i++) r->data[(r->head + i) & (r->size - 1)] = (u8)text[i];
    __atomic_store_n(&r->head, r->head + length, __ATOMIC_RELEASE);
    return true;
}

/* Reader only. False if empty: *byte is unchanged. */
static inline bool ring_get(struct ring *r, u8 *byte) {
    if (ring_used(r) == 0) return false;
    *byte = r->data[r->tail & (r->size - 1)];
    __atomic_store_n(&r->tail, r->tail + 1, __ATOMIC_RELEASE);
    return true;
}
