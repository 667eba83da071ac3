/* TOML strings: the four forms, escapes, and the check of the encoding. */
#include "core/config/toml_scan.h"

#include "core/base/errors.h"
#include "core/base/string.h"

/* Bytes of the well-formed UTF-8 character at `s`, 0 if it is broken: overlong forms, surrogates
 * and values above 0x10ffff included (Unicode Standard, table 3-7). */
static size_t utf8_bytes(const u8 *s, size_t left) {
    u8 low = 0x80, high = 0xbf;
    size_t n;

    if (s[0] < 0x80) return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (left < n) return 0;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    if (s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return n;
}

size_t toml_clean_prefix(const char *text, size_t length) {
    const u8 *s = (const u8 *)text;
    size_t i = 0;

    while (i < length) {
        size_t n = utf8_bytes(s + i, length - i);
        bool control = s[i] < 0x20 || s[i] == 0x7f;

        if (control && s[i] != '\t' && s[i] != '\n' && !(s[i] == '\r' && i + 1 < length && s[i + 1] == '\n')) break;
        if (n == 0) break;
        i += n;
    }
    return i;
}

static size_t utf8_put(char *out, u32 code) {
    size_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;

    out[0] = (char)(more ? 0xff00u >> (more + 1) | code >> 6 * more : code);
    for (size_t i = 1; i <= more; i++) out[i] = (char)(0x80 | (code >> 6 * (more - i) & 0x3f));
    return more + 1;
}

#define STEP_BYTES 8 /* more than one step of decode adds, and a NUL */

struct string {
    struct config_place at;
    char quote;
    bool multi;
    char *out; /* the rest of the arena */
    size_t length, room;
};

/* \uXXXX or \UXXXXXXXX, at the letter. */
static int unicode_escape(struct toml_parser *p, struct string *s, u32 digits, struct config_place at) {
    u32 code = 0;

    toml_advance(p, 1);
    for (u32 i = 0; i < digits; i++) {
        int value = digit_of(toml_peek(p, 0), 16);

        if (value < 0)
            return toml_error(
                p, at, "the escape needs %u hexadecimal digits\nwrite \\u and 4, or \\U and 8 hexadecimal digits",
                digits);
        code = code << 4 | (u32)value;
        toml_advance(p, 1);
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return toml_error(p, at, "0x%x is no Unicode character\nwrite the number of a Unicode character", code);
    s->length += utf8_put(s->out + s->length, code);
    return 0;
}

/* A backslash at the end of a line swallows it and all white space up to the next text. True if
 * that is what stands here; the position is behind the backslash. */
static bool line_continuation(struct toml_parser *p) {
    size_t n = 0;

    while (toml_peek(p, n) == ' ' || toml_peek(p, n) == '\t') n++;
    if (toml_peek(p, n) != '\n' && toml_peek(p, n) != '\r') return false;
    for (int c = toml_peek(p, 0); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = toml_peek(p, 0))
        toml_advance(p, 1);
    return true;
}

static int escape(struct toml_parser *p, struct string *s) {
    static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
    struct config_place at = toml_here(p);
    int c;

    toml_advance(p, 1);
    c = toml_peek(p, 0);
    if (c == 'u') return unicode_escape(p, s, 4, at);
    if (c == 'U') return unicode_escape(p, s, 8, at);
    for (u32 i = 0; from[i]; i++) {
        if (c == from[i]) {
            s->out[s->length++] = to[i];
            toml_advance(p, 1);
            return 0;
        }
    }
    if (s->multi && line_continuation(p)) return 0;
    return toml_error(p, at, "unknown escape after a backslash\nwrite \\\\ for a backslash, or use a 'literal' string");
}

/* The position is at quotes of the string's own kind. True if they close it. */
static bool closing(struct toml_parser *p, struct string *s) {
    size_t run = 1;

    if (!s->multi) {
        toml_advance(p, 1);
        return true;
    }
    while (run < 5 && toml_peek(p, run) == s->quote) run++;
    toml_advance(p, run);
    /* Of four or five quotes the last three close and the others are text. */
    for (size_t i = run >= 3 ? 3 : 0; i < run; i++) s->out[s->length++] = s->quote;
    return run >= 3;
}

static int decode(struct toml_parser *p, struct string *s) {
    int rc;

    for (;;) {
        int c = toml_peek(p, 0);

        if (s->room - s->length < STEP_BYTES) return toml_nomem(p);
        if (c < 0 || (!s->multi && (c == '\n' || c == '\r')))
            return toml_error(p, s->at,
                              s->multi
                                  ? "the string is never closed\nclose it with three quotes like those that open it"
                                  : "the string is not closed on its line\n"
                                    "write the closing quote before the end of the line");
        if (c == s->quote) {
            if (closing(p, s)) return 0;
        } else if (c == '\\' && s->quote == '"') {
            rc = escape(p, s);
            if (rc) return rc;
        } else {
            if (c != '\r') /* CRLF becomes LF, so that a file means the same however it is saved */
                s->out[s->length++] = (char)c;
            toml_advance(p, 1);
        }
    }
}

int toml_string(struct toml_parser *p, bool multi, const char **text, size_t *length) {
    struct string s = {.at = toml_here(p), .quote = (char)toml_peek(p, 0)};
    int rc;

    s.multi = multi && toml_peek(p, 1) == s.quote && toml_peek(p, 2) == s.quote;
    toml_advance(p, s.multi ? 3 : 1);
    if (s.multi) toml_newline(p); /* one that follows the opening quotes at once is not text */
    s.out = (char *)p->arena->base + p->arena->used;
    s.room = p->arena->size - p->arena->used;
    rc = decode(p, &s);
    if (rc) return rc;
    s.out[s.length] = 0;
    p->arena->used += s.length + 1;
    *text = s.out;
    *length = s.length;
    return 0;
}
