/* A small printf into a bounded buffer. Layer 0, pure.
 * Verbs: %s %c %d %u %x %%; lengths l, ll, z; flags 0, -; width. */
#pragma once

#include <stdarg.h>

#include "core/base/types.h"

/* Writes at most size - 1 characters and a NUL. Returns the length that the whole text would have.
 */
size_t fmt(char *out, size_t size, const char *format, ...) printf_like(3, 4);
size_t fmt_v(char *out, size_t size, const char *format, va_list args) printf_like(3, 0);
