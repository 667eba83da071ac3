#include "mm/region.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/string.h"

static const struct region *find(const struct gmem *mem, u64 at) {
    for (u32 i = 0; i < mem->count; i++)
        if (at - mem->regions[i].gpa.v < mem->regions[i].bytes) return &mem->regions[i];
    return NULL;
}

void *gmem_ptr(const struct gmem *mem, gpa_t at, u64 bytes, bool write) {
    const struct region *r = find(mem, at.v);
    u64 offset;

    if (!r || r->kind == REGION_DEVICE || (write && !(r->rights & RIGHT_WRITE))) return NULL;
    offset = at.v - r->gpa.v;
    if (bytes > r->bytes - offset) return NULL;
    return (void *)(r->hpa.v + offset + mem->hva_offset);
}

/* Bytes from `at` to the end of its region that an access may use, at most `bytes`; 0 if none. */
static u64 span(const struct gmem *mem, u64 at, u64 bytes, bool write) {
    const struct region *r = find(mem, at);

    if (!r || !gmem_ptr(mem, gpa(at), 1, write)) return 0;
    return min_u64(bytes, r->bytes - (at - r->gpa.v));
}

static bool covered(const struct gmem *mem, u64 at, u64 bytes, bool write) {
    if (at + bytes < at) return false;
    while (bytes) {
        u64 n = span(mem, at, bytes, write);

        if (n == 0) return false;
        at += n;
        bytes -= n;
    }
    return true;
}

/* Reads to `out`, else writes from `in`, else zeros. All or nothing. */
static int transfer(const struct gmem *mem, u64 at, u64 bytes, u8 *out, const u8 *in) {
    if (!covered(mem, at, bytes, !out)) return -E_RANGE;
    for (u64 done = 0, n; done < bytes; done += n) {
        void *ram;

        n = span(mem, at + done, bytes - done, !out);
        ram = gmem_ptr(mem, gpa(at + done), n, !out);
        if (out)
            memcpy(out + done, ram, n);
        else if (in)
            memcpy(ram, in + done, n);
        else
            memset(ram, 0, n);
    }
    return 0;
}

int gmem_read(const struct gmem *mem, gpa_t at, void *to, u64 bytes) { return transfer(mem, at.v, bytes, to, NULL); }

int gmem_write(const struct gmem *mem, gpa_t at, const void *from, u64 bytes) {
    return transfer(mem, at.v, bytes, NULL, from);
}

int gmem_zero(const struct gmem *mem, gpa_t at, u64 bytes) { return transfer(mem, at.v, bytes, NULL, NULL); }
