/* TOML booleans, integers, floats and dates: words that stand without quotes. Floats and dates are
 * checked and then only remembered as such, since no key of the partition file takes one. */
#include "core/config/toml_scan.h"

#include "core/base/errors.h"
#include "core/base/string.h"

/* The word as it is read; peeking behind its end gives -1. */
struct word {
    const char *text;
    size_t length, pos;
};

static int peek(const struct word *w, size_t ahead) {
    return ahead < w->length - w->pos ? (u8)w->text[w->pos + ahead] : -1;
}

static bool take(struct word *w, char c) {
    if (peek(w, 0) != c) return false;
    w->pos++;
    return true;
}

static bool done(const struct word *w) { return w->pos == w->length; }

static int digit_of(int c, u32 base) {
    int value = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;

    return value < (int)base ? value : -1;
}

/* Digits, with single underscores between them. Returns how many, 0 if malformed; *value saturates
 * in *overflow. */
static u32 digits(struct word *w, u32 base, u64 *value, bool *overflow) {
    u32 n = 0;

    for (;;) {
        int d = digit_of(peek(w, 0), base);

        if (d < 0) return 0;
        *overflow |= __builtin_mul_overflow(*value, (u64)base, value);
        *overflow |= __builtin_add_overflow(*value, (u64)d, value);
        n++;
        w->pos++;
        if (peek(w, 0) == '_')
            w->pos++;
        else if (digit_of(peek(w, 0), base) < 0)
            return n;
    }
}

static u32 skip_digits(struct word *w) {
    bool overflow = false;
    u64 value = 0;

    return digits(w, 10, &value, &overflow);
}

/* Exactly n digits, as dates have them. */
static bool fixed_digits(struct word *w, u32 n, u32 *value) {
    *value = 0;
    for (; n; n--, w->pos++) {
        if (!is_digit(peek(w, 0))) return false;
        *value = *value * 10 + (u32)(peek(w, 0) - '0');
    }
    return true;
}

static bool full_date(struct word *w) {
    static const u8 days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    u32 year, month, day;
    bool leap;

    if (!fixed_digits(w, 4, &year) || !take(w, '-') || !fixed_digits(w, 2, &month) || !take(w, '-') ||
        !fixed_digits(w, 2, &day))
        return false;
    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

static bool partial_time(struct word *w) {
    u32 hour, minute, second;

    if (!fixed_digits(w, 2, &hour) || !take(w, ':') || !fixed_digits(w, 2, &minute) || !take(w, ':') ||
        !fixed_digits(w, 2, &second))
        return false;
    if (take(w, '.')) {
        if (!is_digit(peek(w, 0))) return false;
        while (is_digit(peek(w, 0))) w->pos++;
    }
    return hour < 24 && minute < 60 && second <= 60; /* 60: a leap second, RFC 3339, 5.6 */
}

static bool date_or_time(struct word *w) {
    u32 hour, minute;

    if (peek(w, 2) == ':') return partial_time(w) && done(w);
    if (!full_date(w)) return false;
    if (done(w)) return true;
    if (!take(w, 'T') && !take(w, 't') && !take(w, ' ')) return false;
    if (!partial_time(w)) return false;
    if (take(w, 'Z') || take(w, 'z') || done(w)) return done(w);
    if (!take(w, '+') && !take(w, '-')) return false;
    return fixed_digits(w, 2, &hour) && take(w, ':') && fixed_digits(w, 2, &minute) && done(w) && hour < 24 &&
           minute < 60;
}

/* True for words that begin like a date or time: two or four digits, then ':' or '-'. */
static bool looks_like_date(const struct word *w) {
    bool two = is_digit(peek(w, 0)) && is_digit(peek(w, 1));

    return two && (peek(w, 2) == ':' || (is_digit(peek(w, 2)) && is_digit(peek(w, 3)) && peek(w, 4) == '-'));
}

/* The part of a float behind its integer digits. */
static bool float_rest(struct word *w) {
    bool any = false;

    if (take(w, '.')) {
        if (!skip_digits(w)) return false;
        any = true;
    }
    if (take(w, 'e') || take(w, 'E')) {
        if (!take(w, '+')) (void)take(w, '-');
        if (!skip_digits(w)) return false;
        any = true;
    }
    return any && done(w);
}

enum verdict { GOOD, MALFORMED, TOO_LARGE, LEADING_ZERO, BAD_DATE };

static enum verdict signed_value(u64 magnitude, bool negative, bool overflow, s64 *out) {
    if (overflow || magnitude > (u64)INT64_MAX + (negative ? 1 : 0)) return TOO_LARGE;
    *out = (s64)(negative ? 0 - magnitude : magnitude);
    return GOOD;
}

static enum verdict number(struct word *w, struct toml_node *node) {
    bool minus = take(w, '-'), plain = !minus && !take(w, '+'), overflow = false;
    size_t left = w->length - w->pos;
    u64 value = 0;
    u32 base = 10;

    node->kind = TOML_FLOAT;
    if (left == 3 && (!memcmp(w->text + w->pos, "inf", 3) || !memcmp(w->text + w->pos, "nan", 3))) return GOOD;
    if (plain && peek(w, 0) == '0') base = peek(w, 1) == 'x' ? 16 : peek(w, 1) == 'o' ? 8 : peek(w, 1) == 'b' ? 2 : 10;
    if (base != 10)
        w->pos += 2;
    else if (peek(w, 0) == '0' && (is_digit(peek(w, 1)) || peek(w, 1) == '_'))
        return LEADING_ZERO;
    if (!digits(w, base, &value, &overflow)) return MALFORMED;
    if (base == 10 && !done(w)) return float_rest(w) ? GOOD : MALFORMED;
    node->kind = TOML_INTEGER;
    return done(w) ? signed_value(value, minus, overflow, &node->integer) : MALFORMED;
}

static enum verdict judge(struct word *w, struct toml_node *node) {
    if (w->length == 4 && !memcmp(w->text, "true", 4)) {
        node->kind = TOML_BOOLEAN;
        node->boolean = true;
        return GOOD;
    }
    if (w->length == 5 && !memcmp(w->text, "false", 5)) {
        node->kind = TOML_BOOLEAN;
        return GOOD;
    }
    if (looks_like_date(w)) {
        node->kind = TOML_DATE;
        return date_or_time(w) ? GOOD : BAD_DATE;
    }
    return number(w, node);
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
    struct word w = {.text = p->text + p->pos, .length = word_length(p)};
    struct config_place at = toml_here(p);
    struct quoted q = problem_quote(w.text, w.length);
    int rc = 0;

    if (w.length == 0)
        return toml_error(p, at, "write a value: \"text\", a number, or a list in [ ]", "the value is missing");
    switch (judge(&w, node)) {
    case GOOD: break;
    case TOO_LARGE: rc = toml_error(p, at, "write a number below 2^63", "%s does not fit in 64 bits", q.text); break;
    case LEADING_ZERO:
        rc = toml_error(p, at, "write it without the leading zero; octal is 0o17, hex is 0x1f", "%s begins with a zero",
                        q.text);
        break;
    case BAD_DATE: rc = toml_error(p, at, "put text in quotes", "%s is no valid date or time", q.text); break;
    case MALFORMED:
        rc = toml_error(p, at, "", "%s is neither a number nor text in quotes", q.text);
        problem_remedy(p->problems, "for text write \"%s\"", q.text);
        break;
    }
    toml_advance(p, w.length);
    return rc;
}
