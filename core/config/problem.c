#include "core/config/problem.h"

#include "core/base/bits.h"
#include "core/base/fmt.h"
#include "core/base/string.h"

void problem_add(struct problems *p, struct config_place at, const char *what, ...) {
    struct config_place first = {p->first->line, p->first->column};
    va_list args;

    p->count++;
    p->kept = !p->any || place_before(at, first);
    if (!p->kept) return;
    p->any = true;
    p->first->line = at.line;
    p->first->column = at.column;
    p->first->remedy[0] = 0;
    va_start(args, what);
    fmt_v(p->first->what, sizeof(p->first->what), what, args);
    va_end(args);
}

void problem_remedy(struct problems *p, const char *remedy, ...) {
    va_list args;

    if (!p->kept) return;
    va_start(args, remedy);
    fmt_v(p->first->remedy, sizeof(p->first->remedy), remedy, args);
    va_end(args);
}

struct quoted problem_quote(const char *text, size_t length) {
    const size_t most = 40;
    struct quoted q;
    size_t n = 0;

    for (size_t i = 0; i < length && n < most; i++) {
        u8 c = (u8)text[i];

        if ((c & 0xc0) == 0x80) /* the rest of a multi-byte character: one mark stands for it */
            continue;
        q.text[n++] = c < 0x20 || c >= 0x7f ? '?' : (char)c;
    }
    if (length > most)
        for (n = most - 3; n < most; n++) q.text[n] = '.';
    q.text[n] = 0;
    return q;
}

struct quoted problem_size(u64 bytes) {
    static const char suffix[] = "GMK";
    struct quoted q;

    for (u32 i = 0; i < 3; i++) {
        u32 shift = 30 - 10 * i;

        if (bytes && is_aligned(bytes, BIT(shift))) {
            fmt(q.text, sizeof(q.text), "%llu%c", (unsigned long long)(bytes >> shift), suffix[i]);
            /* cppcheck-suppress uninitvar ; fmt writes it */
            return q;
        }
    }
    fmt(q.text, sizeof(q.text), "%llu", (unsigned long long)bytes);
    return q;
}
