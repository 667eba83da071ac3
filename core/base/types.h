/* Fixed-width names, page sizes and the two address types. Layer 0: includes only compiler headers,
 * so that the same file serves the hypervisor, host tools, unit tests and fuzzers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned __int128 u128;

/* A guest-physical and a host-physical address: two types, so that mixing them does not compile. */
typedef struct {
    u64 v;
} gpa_t;
typedef struct {
    u64 v;
} hpa_t;

static inline gpa_t gpa(u64 v) { return (gpa_t){v}; }
static inline hpa_t hpa(u64 v) { return (hpa_t){v}; }

#define KIB(n) ((u64)(n) << 10)
#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)

#define PAGE_4K KIB(4)
#define PAGE_2M MIB(2)
#define PAGE_1G GIB(1)

#define NEVER (~(u64)0) /* a deadline that does not come */

#define must_check        __attribute__((warn_unused_result))
#define noreturn_fn       __attribute__((noreturn))
#define printf_like(f, a) __attribute__((format(printf, f, a)))
