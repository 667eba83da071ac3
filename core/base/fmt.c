#include "core/base/fmt.h"

struct sink {
    char *out;
    size_t size, length;
};

struct spec {
    bool left, zero, wide; /* wide: an argument of 64 bits */
    size_t width;
};

static void put(struct sink *s, char c) {
    if (s->length + 1 < s->size) s->out[s->length] = c;
    s->length++;
}

static void put_padded(struct sink *s, const char *text, size_t n, const struct spec *spec) {
    size_t pad = spec->width > n ? spec->width - n : 0;

    for (; pad && !spec->left; pad--) put(s, ' ');
    for (size_t i = 0; i < n; i++) put(s, text[i]);
    for (; pad; pad--) put(s, ' ');
}

static void put_number(struct sink *s, u64 value, bool negative, u32 base, const struct spec *spec) {
    char text[40];
    size_t n = sizeof(text), sign = negative ? 1 : 0;

    do text[--n] = "0123456789abcdef"[value % base];
    while ((value /= base) != 0);
    while (spec->zero && !spec->left && n > 1 && sizeof(text) - n + sign < spec->width) text[--n] = '0';
    if (negative) text[--n] = '-';
    put_padded(s, text + n, sizeof(text) - n, spec);
}

static const char *parse_spec(const char *f, struct spec *spec) {
    *spec = (struct spec){0};
    for (; *f == '-' || *f == '0'; f++) *(*f == '-' ? &spec->left : &spec->zero) = true;
    for (; *f >= '0' && *f <= '9'; f++) spec->width = spec->width * 10 + (size_t)(*f - '0');
    for (; *f == 'l' || *f == 'z'; f++) spec->wide = true;
    return f;
}

static void put_verb(struct sink *s, char verb, const struct spec *spec, va_list *args) {
    const char *text;
    size_t n = 0;
    s64 number;
    char c;

    switch (verb) {
    case 'd':
        number = spec->wide ? va_arg(*args, long long) : va_arg(*args, int);
        put_number(s, number < 0 ? 0 - (u64)number : (u64)number, number < 0, 10, spec);
        break;
    case 'u':
    case 'x':
        put_number(s, spec->wide ? va_arg(*args, unsigned long long) : va_arg(*args, unsigned), false,
                   verb == 'u' ? 10 : 16, spec);
        break;
    case 'c':
        c = (char)va_arg(*args, int);
        put_padded(s, &c, 1, spec);
        break;
    case 's':
        text = va_arg(*args, const char *);
        if (!text) text = "(null)";
        while (text[n]) n++;
        put_padded(s, text, n, spec);
        break;
    case '%': put(s, '%'); break;
    default: /* an unknown verb shows itself */
        put(s, '%');
        if (verb) put(s, verb);
    }
}

size_t fmt_v(char *out, size_t size, const char *format, va_list list) {
    struct sink s = {.out = out, .size = size};
    struct spec spec;
    va_list args;

    va_copy(args, list);
    for (const char *f = format; *f; f++) {
        if (*f != '%') {
            put(&s, *f);
            continue;
        }
        f = parse_spec(f + 1, &spec);
        put_verb(&s, *f, &spec, &args);
        if (!*f) break;
    }
    va_end(args);
    if (size) out[s.length < size ? s.length : size - 1] = 0;
    return s.length;
}

size_t fmt(char *out, size_t size, const char *format, ...) {
    va_list args;
    size_t n;

    va_start(args, format);
    n = fmt_v(out, size, format, args);
    va_end(args);
    return n;
}
