#include "core/config/problem.h"

#include "core/base/bits.h"
#include "core/base/fmt.h"
#include "core/base/string.h"

void problem_add_v(struct problems *p, struct config_place at, const char *text, va_list args) {
    struct config_error *e = p->first;
    char both[sizeof(e->what) + sizeof(e->remedy)], *remedy = both;

    p->count++;
    if (p->any && !place_before(at, (struct config_place){e->line, e->column})) return;
    p->any = true;
    e->line = at.line;
    e->column = at.column;
    fmt_v(both, sizeof(both), text, args);
    while (*remedy && *remedy != '\n') remedy++;
    if (*remedy) *remedy++ = 0;
    str_copy(e->what, sizeof(e->what), both);
    str_copy(e->remedy, sizeof(e->remedy), remedy);
}

void problem_add(struct problems *p, struct config_place at, const char *text, ...) {
    va_list args;

    va_start(args, text);
    problem_add_v(p, at, text, args);
    va_end(args);
}

struct quoted problem_quote(const char *text, size_t length) {
    const size_t most = 40;
    struct quoted q;
    size_t n = 0, i = 0;

    for (; i < length && n < most; i++) {
        u8 c = (u8)text[i];

        if ((c & 0xc0) == 0x80) /* the rest of a multi-byte character: one mark stands for it */
            continue;
        q.text[n++] = c < 0x20 || c >= 0x7f ? '?' : (char)c;
    }
    if (i < length)
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
