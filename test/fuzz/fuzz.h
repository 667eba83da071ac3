/* What the fuzzers share: an assertion that survives -DNDEBUG, and a reader of the input that
 * gives zeros behind its end. Host only. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "core/base/types.h"

/* Never a value out of range, a leak or an undefined operation: those are the sanitizers' work. */
#define REQUIRE(truth)                                                                                                 \
    do {                                                                                                               \
        if (!(truth)) {                                                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #truth);                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

struct input {
    const u8 *at;
    size_t left;
};

static inline u64 take(struct input *in, u32 bytes) {
    u64 value = 0;

    for (u32 i = 0; i < bytes && in->left; i++, in->left--) value |= (u64)*in->at++ << (8 * i);
    return value;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
