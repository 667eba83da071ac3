/* TOML booleans, integers, floats and dates: words that stand without quotes. Floats and dates are
 * checked and then only remembered as such, since no key of the partition file takes one. */
#include "core/config/toml_scan.h"

#include "core/base/errors.h"
#include "core/base/string.h"

/* The parser, as if the text ended behind the word. */
typedef struct toml_parser word;

static bool take(word *w, char c) {
    if (toml_peek(w, 0) != c) return false;
    w->pos++;
    return true;
}

static bool done(const word *w) { return w->pos == w->end; }

static bool is_word(const word *w, const char *text) {
    size_t n = strlen(text);

    return w->end - w->pos == n && !memcmp(w->text + w->pos, text, n);
}

/* Digits, with single underscores between them. False if malformed; *value saturates in *overflow. */
static bool digits(word *w, int base, u64 *value, bool *overflow) {
    do {
        int d = digit_of(toml_peek(w, 0), base);

        if (d < 0) return false;
        *overflow |= __builtin_mul_overflow(*value, (u64)base, value);
        *overflow |= __builtin_add_overflow(*value, (u64)d, value);
        w->pos++;
    } while (take(w, '_') || digit_of(toml_peek(w, 0), base) >= 0);
    return true;
}

/* Exactly n digits, as dates have them, from low to high. Returns the number, or -1. */
static int fixed(word *w, u32 n, int low, int high) {
    int value = 0;

    for (; n; n--, w->pos++) {
        if (!is_digit(toml_peek(w, 0))) return -1;
        value = value * 10 + toml_peek(w, 0) - '0';
    }
    return value >= low && value <= high ? value : -1;
}

static bool full_date(word *w) {
    int year = fixed(w, 4, 0, 9999), month = take(w, '-') ? fixed(w, 2, 1, 12) : -1;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int days = month == 2 ? (leap ? 29 : 28) : month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;

    return year >= 0 && month > 0 && take(w, '-') && fixed(w, 2, 1, days) > 0;
}

static bool partial_time(word *w) {
    /* 60: a leap second, RFC 3339, 5.6 */
    if (fixed(w, 2, 0, 23) < 0 || !take(w, ':') || fixed(w, 2, 0, 59) < 0 || !take(w, ':') || fixed(w, 2, 0, 60) < 0)
        return false;
    if (!take(w, '.')) return true;
    if (!is_digit(toml_peek(w, 0))) return false;
    while (is_digit(toml_peek(w, 0))) w->pos++;
    return true;
}

static bool date_or_time(word *w) {
    if (toml_peek(w, 2) == ':') return partial_time(w) && done(w);
    if (!full_date(w)) return false;
    if (done(w)) return true;
    if (!(take(w, 'T') || take(w, 't') || take(w, ' ')) || !partial_time(w)) return false;
    if (take(w, '+') || take(w, '-'))
        return fixed(w, 2, 0, 23) >= 0 && take(w, ':') && fixed(w, 2, 0, 59) >= 0 && done(w);
    return (take(w, 'Z') || take(w, 'z') || true) && done(w);
}

/* True for words that begin like a date or time: two or four digits, then ':' or '-'. */
static bool looks_like_date(const word *w) {
    u32 n = 0;

    while (n < 4 && is_digit(toml_peek(w, n))) n++;
    return (n == 2 && toml_peek(w, n) == ':') || (n == 4 && toml_peek(w, n) == '-');
}

/* The part of a float behind its integer digits. */
static bool float_rest(word *w) {
    bool overflow = false, any = false;
    u64 value = 0;

    if (take(w, '.')) {
        if (!digits(w, 10, &value, &overflow)) return false;
        any = true;
    }
    if (take(w, 'e') || take(w, 'E')) {
        if (!take(w, '+')) (void)take(w, '-');
        if (!digits(w, 10, &value, &overflow)) return false;
        any = true;
    }
    return any && done(w);
}

static const char malformed[] = "%s is neither a number nor text in quotes\nfor text write \"%s\"";

/* Reads the word. Returns NULL or the problem, a format for the word. */
static const char *number(word *w, struct toml_node *node) {
    bool minus = take(w, '-'), plain = !minus && !take(w, '+'), overflow = false;
    int second = toml_peek(w, 1), base = 10;
    u64 value = 0;

    node->kind = TOML_FLOAT;
    if (is_word(w, "inf") || is_word(w, "nan")) return NULL;
    if (toml_peek(w, 0) == '0') {
        if (is_digit(second) || second == '_')
            return "%s begins with a zero\nwrite it without the leading zero; octal is 0o17, hex is 0x1f";
        if (plain) base = second == 'x' ? 16 : second == 'o' ? 8 : second == 'b' ? 2 : 10;
        if (base != 10) w->pos += 2;
    }
    if (!digits(w, base, &value, &overflow)) return malformed;
    if (!done(w)) return base == 10 && float_rest(w) ? NULL : malformed;
    node->kind = TOML_INTEGER;
    if (overflow || value > (u64)INT64_MAX + (minus ? 1 : 0))
        return "%s does not fit in 64 bits\nwrite a number below 2^63";
    node->integer = (s64)(minus ? 0 - value : value);
    return NULL;
}

static const char *read_word(word *w, struct toml_node *node) {
    if (is_word(w, "true") || is_word(w, "false")) {
        node->kind = TOML_BOOLEAN;
        node->boolean = toml_peek(w, 0) == 't';
        return NULL;
    }
    if (!looks_like_date(w)) return number(w, node);
    node->kind = TOML_DATE;
    return date_or_time(w) ? NULL : "%s is no valid date or time\nput text in quotes";
}

/* Bytes up to the first that cannot belong to an unquoted value. */
static size_t word_length(const struct toml_parser *p) {
    size_t n = 0;

    for (int c = toml_peek(p, 0); c > ' ' && c != ',' && c != ']' && c != '}' && c != '#' && c != '[' && c != '{' &&
                                  c != '"' && c != '\'' && c != '=';
         c = toml_peek(p, n))
        n++;
    /* A space may part a date from its time. */
    if (n == 10 && toml_peek(p, 4) == '-' && toml_peek(p, 7) == '-' && toml_peek(p, n) == ' ' &&
        is_digit(toml_peek(p, n + 1)))
        for (int c = toml_peek(p, ++n);
             is_digit(c) || c == ':' || c == '.' || c == '+' || c == '-' || c == 'Z' || c == 'z'; c = toml_peek(p, n))
            n++;
    return n;
}

int toml_scalar(struct toml_parser *p, struct toml_node *node) {
    size_t length = word_length(p);
    struct quoted q = problem_quote(p->text + p->pos, length);
    const char *problem;
    word w = *p;
    int rc = 0;

    if (length == 0)
        return toml_error(p, toml_here(p), "the value is missing\nwrite a value: \"text\", a number, or a list in [ ]");
    w.end = w.pos + length;
    problem = read_word(&w, node);
    if (problem) rc = toml_error(p, toml_here(p), problem, q.text, q.text);
    toml_advance(p, length);
    return rc;
}
