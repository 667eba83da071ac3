/* Bits, masks and alignment. Layer 0, pure. */
#pragma once

#include "core/base/types.h"

#define BIT(n)                          ((u64)1 << (n))
#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* The field of `width` bits that starts at bit `low`. width: 1 to 63. */
static inline u64 bits_get(u64 value, u32 low, u32 width) { return (value >> low) & (BIT(width) - 1); }

/* `value` rounded down or up to a multiple of `align`, a power of two. */
static inline u64 align_down(u64 value, u64 align) { return value & ~(align - 1); }
static inline u64 align_up(u64 value, u64 align) { return (value + align - 1) & ~(align - 1); }
static inline bool is_aligned(u64 value, u64 align) { return (value & (align - 1)) == 0; }

static inline u64 min_u64(u64 a, u64 b) { return a < b ? a : b; }
static inline u64 max_u64(u64 a, u64 b) { return a > b ? a : b; }

/* True if [a, a + a_len) and [b, b + b_len) share a byte. Neither range may wrap. */
static inline bool ranges_overlap(u64 a, u64 a_len, u64 b, u64 b_len) { return a < b + b_len && b < a + a_len; }

/* True if bits 63:bits - 1 of a linear address are equal: 48 with four-level paging, 57 with five levels. SDM Vol 1,
 * Canonical Addressing. */
static inline bool is_canonical(u64 la, u32 bits) { return (u64)((s64)(la << (64 - bits)) >> (64 - bits)) == la; }
