/* The short way from rip to the bytes of an instruction that the processor has just fetched itself. Inline: it runs at
 * every exit of a processor that does not tell the next rip. Pure. Source: SDM Vol 3A, 4-Level Paging and
 * 5-Level Paging. */
#pragma once

#include "core/base/bits.h"
#include "core/base/types.h"

#define WALK_CODE_BYTES 20u               /* readable behind what walk_code returns */
#define WALK_CODE_SEEN  (BIT(0) | BIT(5)) /* present, accessed */
#define WALK_CODE_LARGE BIT(7)
#define WALK_CODE_FRAME (BIT(52) - PAGE_4K)

/* The guest memory in which code and page tables are looked for: one region, made ready at load. */
struct code_window {
    const u8 *host;
    u64 gpa, bytes;
};

/* Where the code at linear address `la` lies, if tables and code are in the window and have been used before, and the
 * page does not end too soon; else NULL, and walk.h has the long way. Rights and canonicality are not checked: the
 * processor did. five_levels: a constant, so that it costs nothing. */
static inline const u8 *walk_code(const struct code_window *w, u64 cr3, u64 la, bool five_levels) {
    u64 entry = cr3, seen = ~(u64)0, page = PAGE_4K, offset;

    if ((la & (PAGE_4K - 1)) > PAGE_4K - WALK_CODE_BYTES) return NULL;
        /* Each table is checked to lie in the window before it is read; whether all entries count is asked once, at the
         * end. */
#define WALK_CODE_STEP(shift)                                                                                          \
    offset = (entry & WALK_CODE_FRAME) - w->gpa;                                                                       \
    if (offset >= w->bytes) return NULL;                                                                               \
    entry = *(const volatile u64 *)(w->host + offset + (la >> ((shift)-3) & 0xff8));                                   \
    seen &= entry

    if (five_levels) {
        WALK_CODE_STEP(48);
    }
    WALK_CODE_STEP(39);
    WALK_CODE_STEP(30);
    if (entry & WALK_CODE_LARGE) {
        page = PAGE_1G;
    } else {
        WALK_CODE_STEP(21);
        if (entry & WALK_CODE_LARGE) {
            page = PAGE_2M;
        } else {
            WALK_CODE_STEP(12);
        }
    }
#undef WALK_CODE_STEP
    offset = (entry & WALK_CODE_FRAME & ~(page - 1)) + (la & (page - 1)) - w->gpa;
    if (offset >= w->bytes || (seen & WALK_CODE_SEEN) != WALK_CODE_SEEN) return NULL;
    return w->host + offset;
}
