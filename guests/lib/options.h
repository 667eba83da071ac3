/* The command line as words `key=value` or `key`, separated by spaces. Read-only after start. */
#pragma once

#include "core/base/types.h"

/* Keeps a copy of the first 511 characters. text: may be NULL. */
void options_init(const char *text);
/* The whole line. */
const char *options_line(void);
bool option_given(const char *key);
/* True if the word `key=value` is there; `out` (size: bytes, at least 1) gets the value, cut to
 * fit. Without it `out` is unchanged. */
bool option_text(const char *key, char *out, size_t size);
bool option_is(const char *key, const char *value);
/* Decimal or 0x hex, with an optional suffix K, M or G (powers of 1024). */
u64 option_number(const char *key, u64 fallback);
