#include "core/base/string.h"

#ifndef HOST_BUILD
#undef memcpy
#undef memmove
#undef memset
#undef memcmp

/* By words as far as they go: each iteration of a string instruction counts, in an emulator as on hardware without fast
 * strings. */
void *memcpy(void *to, const void *from, size_t bytes) {
    void *start = to;
    size_t words = bytes / 8, rest = bytes % 8;

    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words)::"memory");
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(rest)::"memory");
    return start;
}

void *memmove(void *to, const void *from, size_t bytes) {
    u8 *t = to;
    const u8 *f = from;

    if (t <= f || t >= f + bytes) return memcpy(to, from, bytes);
    while (bytes--) t[bytes] = f[bytes];
    return to;
}

void *memset(void *to, int value, size_t bytes) {
    void *start = to;
    size_t words = bytes / 8, rest = bytes % 8;

    __asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"((u8)value * 0x0101010101010101ull) : "memory");
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(rest) : "a"(value) : "memory");
    return start;
}

int memcmp(const void *a, const void *b, size_t bytes) {
    const u8 *x = a, *y = b;

    for (size_t i = 0; i < bytes; i++)
        if (x[i] != y[i]) return x[i] - y[i];
    return 0;
}

size_t strlen(const char *s) {
    size_t n = 0;

    while (s[n]) n++;
    return n;
}
#endif

bool str_equal(const char *a, const char *b) {
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool str_starts(const char *s, const char *prefix) {
    while (*prefix)
        if (*s++ != *prefix++) return false;
    return true;
}

bool str_copy(char *to, size_t size, const char *from) {
    size_t n = 0;

    for (; n + 1 < size && from[n]; n++) to[n] = from[n];
    to[n] = 0;
    return from[n] == 0;
}
