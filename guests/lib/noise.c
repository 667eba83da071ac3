#include "guests/lib/noise.h"

u64 noise(void) {
    static u64 x = 0x9e3779b97f4a7c15; /* xorshift64: Marsaglia, Xorshift RNGs */

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}
