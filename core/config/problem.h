/* Collects the problems of a partition file and keeps the one that stands first in it, so that
 * checks may run in any order. Private to core/config. Pure. */
#pragma once

#include <stdarg.h>

#include "core/config/config.h"

struct problems {
    struct config_error *first; /* meaningful if `any` */
    bool any;
    u32 count; /* noted so far, kept or not */
};

static inline bool place_before(struct config_place a, struct config_place b) {
    return a.line < b.line || (a.line == b.line && a.column < b.column);
}

/* Notes a problem: "what is wrong\nwhat to write instead". Of two at one place the one noted first stays. */
void problem_add(struct problems *p, struct config_place at, const char *text, ...) printf_like(3, 4);
void problem_add_v(struct problems *p, struct config_place at, const char *text, va_list args) printf_like(3, 0);

/* Text of the file made fit for a message: printable ASCII, at most 40 characters. */
struct quoted {
    char text[44];
};
struct quoted problem_quote(const char *text, size_t length);
/* A size as the file would spell it: 512M, 4K, 4097. */
struct quoted problem_size(u64 bytes);
