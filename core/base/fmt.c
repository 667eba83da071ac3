#include "core/base/fmt.h"

struct sink {
    char *out;
    size_t size, length;
};

struct spec {
    bool left, zero, alternate, upper;
    int width, precision;
    int longs; /* -2 hh, -1 h, 0 int, 1 long, 2 long long, 1 for z */
};

static void put(struct sink *s, char c) {
    if (s->length + 1 < s->size) s->out[s->length] = c;
    s->length++;
}

static void put_padded(struct sink *s, const char *text, size_t n, const struct spec *spec) {
    int pad = spec->width - (int)n;

    if (!spec->left)
        for (; pad > 0; pad--) put(s, ' ');
    for (size_t i = 0; i < n; i++) put(s, text[i]);
    for (; pad > 0; pad--) put(s, ' ');
}

static void put_number(struct sink *s, u64 value, bool negative, u32 base, const struct spec *spec) {
    const char *digits = spec->upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[40];
    size_t n = sizeof(text);
    size_t prefix = (negative ? 1u : 0u) + (spec->alternate && base == 16 ? 2u : 0u);

    do text[--n] = digits[value % base];
    while ((value /= base) != 0);
    if (spec->zero && !spec->left)
        while (sizeof(text) - n + prefix < (size_t)(spec->width > 0 ? spec->width : 0) && n > prefix) text[--n] = '0';
    if (spec->alternate && base == 16) {
        text[--n] = 'x';
        text[--n] = '0';
    }
    if (negative) text[--n] = '-';
    put_padded(s, text + n, sizeof(text) - n, spec);
}

static u64 get_unsigned(va_list *args, int longs) {
    switch (longs) {
    case -2: return (u8)va_arg(*args, unsigned);
    case -1: return (u16)va_arg(*args, unsigned);
    case 0: return va_arg(*args, unsigned);
    default: return va_arg(*args, unsigned long long);
    }
}

static s64 get_signed(va_list *args, int longs) {
    switch (longs) {
    case -2: return (s8)va_arg(*args, int);
    case -1: return (s16)va_arg(*args, int);
    case 0: return va_arg(*args, int);
    default: return va_arg(*args, long long);
    }
}

static const char *parse_spec(const char *f, struct spec *spec, va_list *args) {
    *spec = (struct spec){.precision = -1};
    for (;; f++) {
        if (*f == '-')
            spec->left = true;
        else if (*f == '0')
            spec->zero = true;
        else if (*f == '#')
            spec->alternate = true;
        else
            break;
    }
    for (; *f >= '0' && *f <= '9'; f++) spec->width = spec->width * 10 + (*f - '0');
    if (*f == '.') {
        spec->precision = 0;
        f++;
        if (*f == '*') {
            spec->precision = va_arg(*args, int);
            f++;
        }
        for (; *f >= '0' && *f <= '9'; f++) spec->precision = spec->precision * 10 + (*f - '0');
    }
    for (;; f++) {
        if (*f == 'l')
            spec->longs++;
        else if (*f == 'h')
            spec->longs--;
        else if (*f == 'z')
            spec->longs = 1;
        else
            return f;
    }
}

static void put_string(struct sink *s, const char *text, const struct spec *spec) {
    size_t n = 0;

    if (!text) text = "(null)";
    while (text[n] && (spec->precision < 0 || n < (size_t)spec->precision)) n++;
    put_padded(s, text, n, spec);
}

static void put_verb(struct sink *s, char verb, struct spec *spec, va_list *args) {
    s64 number;
    char c;

    switch (verb) {
    case 'd':
    case 'i':
        number = get_signed(args, spec->longs);
        put_number(s, number < 0 ? 0 - (u64)number : (u64)number, number < 0, 10, spec);
        break;
    case 'u': put_number(s, get_unsigned(args, spec->longs), false, 10, spec); break;
    case 'X':
    case 'x':
        spec->upper = verb == 'X';
        put_number(s, get_unsigned(args, spec->longs), false, 16, spec);
        break;
    case 'p':
        spec->alternate = true;
        put_number(s, (u64)va_arg(*args, void *), false, 16, spec);
        break;
    case 'c':
        c = (char)va_arg(*args, int);
        put_padded(s, &c, 1, spec);
        break;
    case 's': put_string(s, va_arg(*args, const char *), spec); break;
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
        f = parse_spec(f + 1, &spec, &args);
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
