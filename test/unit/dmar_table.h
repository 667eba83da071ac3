/* Writes a DMAR table piece by piece, for tests. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "core/base/types.h"

struct table {
    u8 bytes[4096];
    u32 length, structure; /* where the last structure starts */
};

static inline void put(struct table *t, u64 value, u32 bytes) {
    for (u32 i = 0; i < bytes; i++) t->bytes[t->length++] = (u8)(value >> (8 * i));
    memcpy(t->bytes + 4, &t->length, 4);
    if (t->structure) {
        u16 length = (u16)(t->length - t->structure);

        memcpy(t->bytes + t->structure + 2, &length, 2);
    }
}

/* flags: 1 interrupt remapping. */
static inline void put_header(struct table *t, u8 flags) {
    memset(t, 0, sizeof(*t));
    memcpy(t->bytes, "DMAR", 4);
    t->length = 36;
    put(t, 47, 1);
    put(t, flags, 1);
    put(t, 0, 8);
    put(t, 0, 2);
}

static inline void put_structure(struct table *t, u16 type) {
    t->structure = t->length;
    put(t, type, 2);
    put(t, 0, 2); /* set as it grows */
}

/* flags: 1 the rest of the segment. */
static inline void put_unit(struct table *t, u8 flags, u16 segment, u64 registers) {
    put_structure(t, 0);
    put(t, flags, 1);
    put(t, 0, 1);
    put(t, segment, 2);
    put(t, registers, 8);
}

static inline void put_region(struct table *t, u16 segment, u64 base, u64 limit) {
    put_structure(t, 1);
    put(t, 0, 2);
    put(t, segment, 2);
    put(t, base, 8);
    put(t, limit, 8);
}

/* path: device << 8 | function, `hops` of them. */
static inline void put_scope(struct table *t, u8 type, u8 id, u8 bus, u32 hops, const u16 *path) {
    put(t, type, 1);
    put(t, 6 + 2 * hops, 1);
    put(t, 0, 2);
    put(t, id, 1);
    put(t, bus, 1);
    for (u32 i = 0; i < hops; i++) {
        put(t, path[i] >> 8, 1);
        put(t, path[i] & 0xff, 1);
    }
}
#define PUT_SCOPE(t, type, id, bus, ...)                                                                               \
    put_scope(t, type, id, bus, sizeof((const u16[]){__VA_ARGS__}) / 2, (const u16[]){__VA_ARGS__})
