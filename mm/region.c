#include "mm/region.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/string.h"

static const struct region *find(const struct gmem *mem, u64 at) {
    for (u32 i = 0; i < mem->count; i++)
        if (at - mem->regions[i].gpa.v < mem->regions[i].bytes)
            return &mem->regions[i];
    return NULL;
}

void *gmem_ptr(const struct gmem *mem, gpa_t at, u64 bytes, bool write) {
    const struct region *r = find(mem, at.v);
    u64 offset;

    if (!r || r->kind == REGION_DEVICE || (write && !(r->rights & RIGHT_WRITE)))
        return NULL;
    offset = at.v - r->gpa.v;
    if (bytes > r->bytes - offset)
        return NULL;
    return (void *)(r->hpa.v + offset + mem->hva_offset);
}

/* Bytes from `at` to the end of its region that an access may use, at most `bytes`; 0 if none. */
static u64 span(const struct gmem *mem, u64 at, u64 bytes, bool write) {
    const struct region *r = find(mem, at);

    if (!r || !gmem_ptr(mem, gpa(at), 1, write))
        return 0;
    return min_u64(bytes, r->bytes - (at - r->gpa.v));
}

static bool covered(const struct gmem *mem, u64 at, u64 bytes, bool write) {
    if (at + bytes < at)
        return false;
    while (bytes) {
        u64 n = span(mem, at, bytes, write);

        if (n == 0)
            return false;
        at += n;
        bytes -= n;
    }
    return true;
}

int gmem_read(const struct gmem *mem, gpa_t at, void *to, u64 bytes) {
    u8 *out = to;

    if (!covered(mem, at.v, bytes, false))
        return -E_RANGE;
    while (bytes) {
        u64 n = span(mem, at.v, bytes, false);

        memcpy(out, gmem_ptr(mem, at, n, false), n);
        out += n;
        at.v += n;
        bytes -= n;
    }
    return 0;
}

int gmem_write(const struct gmem *mem, gpa_t at, const void *from, u64 bytes) {
    const u8 *in = from;

    if (!covered(mem, at.v, bytes, true))
        return -E_RANGE;
    while (bytes) {
        u64 n = span(mem, at.v, bytes, true);

        memcpy(gmem_ptr(mem, at, n, true), in, n);
        in += n;
        at.v += n;
        bytes -= n;
    }
    return 0;
}

int gmem_zero(const struct gmem *mem, gpa_t at, u64 bytes) {
    if (!covered(mem, at.v, bytes, true))
        return -E_RANGE;
    while (bytes) {
        u64 n = span(mem, at.v, bytes, true);

        memset(gmem_ptr(mem, at, n, true), 0, n);
        at.v += n;
        bytes -= n;
    }
    return 0;
}
