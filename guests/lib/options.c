#include "guests/lib/options.h"

#include "core/base/string.h"

static char line[512];

void options_init(const char *text) {
    if (text) (void)str_copy(line, sizeof(line), text);
}

const char *options_line(void) { return line; }

/* The text after `key`, at '=', ' ' or the end; NULL if the key is not there. */
static const char *find(const char *key) {
    for (const char *p = line; *p;) {
        while (*p == ' ') p++;
        if (str_starts(p, key)) {
            const char *end = p + strlen(key);
            if (*end == '=' || *end == ' ' || !*end) return end;
        }
        while (*p && *p != ' ') p++;
    }
    return NULL;
}

bool option_given(const char *key) { return find(key) != NULL; }

bool option_text(const char *key, char *out, size_t size) {
    const char *p = find(key);
    size_t n = 0;

    if (!p || *p != '=') return false;
    for (p++; *p && *p != ' ' && n + 1 < size; p++) out[n++] = *p;
    out[n] = 0;
    return true;
}

bool option_is(const char *key, const char *value) {
    char text[64];

    return option_text(key, text, sizeof(text)) && str_equal(text, value);
}

static u32 digit(char c) {
    if (c >= '0' && c <= '9') return (u32)(c - '0');
    if (c >= 'a' && c <= 'f') return (u32)(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return (u32)(c - 'A' + 10);
    return 99;
}

u64 option_number(const char *key, u64 fallback) {
    char text[32];
    const char *p = text;
    u64 value = 0;
    u32 base = 10;

    if (!option_text(key, text, sizeof(text))) return fallback;
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
        base = 16;
        p += 2;
    }
    for (; digit(*p) < base; p++) value = value * base + digit(*p);
    if (*p == 'K')
        value <<= 10;
    else if (*p == 'M')
        value <<= 20;
    else if (*p == 'G')
        value <<= 30;
    return value;
}
