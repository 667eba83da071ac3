/* The four functions gcc may call, and bounded string helpers. Layer 0, pure.
 * In host builds libc provides mem*; only the str_* helpers come from here. */
#pragma once

#include "core/base/types.h"

void *memcpy(void *to, const void *from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *s);

#ifndef HOST_BUILD
/* A freestanding compiler expands the names themselves only when told to: small constant sizes become plain moves. */
#define memcpy  __builtin_memcpy
#define memmove __builtin_memmove
#define memset  __builtin_memset
#define memcmp  __builtin_memcmp
#endif

bool str_equal(const char *a, const char *b);
bool str_starts(const char *s, const char *prefix);
/* Copies at most size - 1 characters and always ends with NUL. size: bytes of `to`, at least 1.
 * Returns false if `from` was cut. */
bool str_copy(char *to, size_t size, const char *from);
