/* The paravirtual clock's two MSRs under an arbitrary guest. Input: records of 22 bytes: operation, place, the TSC's
 * frequency, its value at guest time 0, seconds. Holds: a write succeeds exactly if it asks for nothing or names an
 * aligned structure that lies in one piece of the guest's own writable memory, and otherwise changes nothing; no other
 * byte of memory is written; the version is even and another than before; the factor is the largest that fits and the
 * exact quotient for the frequency; what the guest computes from it starts at the time that the structure says, never
 * runs backwards, and is right to a part in a thousand million.
 * Source: Linux, KVM-specific MSRs; the guest's side is Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW. */
#include <string.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/vdev/vpvclock.h"
#include "test/fuzz/fuzz.h"

#define PIECES 4u
#define S      1000000000ull

static struct region regions[PIECES] = {
    {.gpa = {0x1000}, .rights = RIGHT_READ | RIGHT_WRITE},
    {.gpa = {0x2000}, .rights = RIGHT_READ | RIGHT_WRITE | RIGHT_EXEC}, /* follows, but elsewhere on the machine */
    {.gpa = {0x3000}, .rights = RIGHT_READ},
    {.gpa = {0xfffff000}, .rights = RIGHT_READ | RIGHT_WRITE, .kind = REGION_DEVICE},
};
static u8 *ram[PIECES]; /* each with the sanitizer's guard around it */
static u8 shadow[PIECES][PAGE_4K];
static const struct gmem mem = {regions, PIECES, 0, false};
static struct vpvclock clock_;
static u32 versions[PIECES][PAGE_4K / 4]; /* last seen where a structure was */

static u64 field(const u8 *structure, u32 at, u32 bytes) {
    u64 value = 0;

    memcpy(&value, structure + at, bytes);
    return value;
}

/* What the guest computes. */
static u64 ns_of(const u8 *t, u64 tsc) {
    u64 ticks = tsc - field(t, 8, 8);
    s8 shift = (s8)t[28];

    ticks = shift < 0 ? ticks >> -shift : ticks << shift;
    return field(t, 16, 8) + (u64)((u128)ticks * field(t, 24, 4) >> 32);
}

static void check_time(const u8 *t, u64 hz, u64 tsc0) {
    s8 shift = (s8)t[28];
    u64 mul = field(t, 24, 4), scaled = shift < 0 ? hz >> -shift : hz << shift, last = 0;

    REQUIRE(field(t, 8, 8) == tsc0 && field(t, 16, 8) == 0);
    REQUIRE(t[29] == 1); /* PVCLOCK_TSC_STABLE_BIT; not GUEST_STOPPED */
    REQUIRE(shift > -64 && shift < 64 && scaled && (shift < 0 || scaled >> shift == hz));
    REQUIRE(mul == (u64)(((u128)S << 32) / scaled)); /* fits, or the read 32 bits would differ */
    REQUIRE(mul >= 0x7ffffffe);                      /* and no bit of it is wasted: scaled is at most 2 S + 1 */
    for (u64 ticks = 0; ticks < min_u64(hz, BIT(40)) * 3600; ticks = ticks * 2 + 1) {
        u64 ns = ns_of(t, tsc0 + ticks), exact = (u64)((u128)ticks * S / hz);
        u64 error = ns > exact ? ns - exact : exact - ns;

        REQUIRE(ns >= last && ns_of(t, tsc0 + ticks + 1) >= ns);
        REQUIRE(error <= exact / S + 2);
        last = ns;
    }
}

/* The structure at `at`, or NULL if a guest may not name it. */
static u8 *place(u64 at, u32 bytes, u32 *piece) {
    if (at % 4) return NULL;
    for (*piece = 0; *piece < PIECES; (*piece)++) {
        u64 in = at - regions[*piece].gpa.v;

        if (in < PAGE_4K && in + bytes <= PAGE_4K && (regions[*piece].rights & RIGHT_WRITE) &&
            regions[*piece].kind != REGION_DEVICE)
            return ram[*piece] + in;
    }
    return NULL;
}

static void step(struct input *in) {
    u32 what = (u32)take(in, 1), spot = (u32)take(in, 2), which = (u32)take(in, 1), piece = 0, *version;
    u64 hz = take(in, 8) >> (which & 63), tsc0 = take(in, 8), seconds = take(in, 2), at, value;
    bool wall = what & 1, enabled = wall || (what & 2);
    u32 length = wall ? 12 : 32;
    struct vpvclock before = clock_;
    u8 *to;
    int rc;

    if (!hz) hz = 2400000000;
    at = regions[what >> 2 & 3].gpa.v + (what & 0x10 ? spot & 0xfff : (spot & 0x3f) * 4);
    if ((what & 0xe0) == 0xe0) at = tsc0; /* anywhere */
    if ((what & 0xe0) == 0xc0) at = regions[what >> 2 & 3].gpa.v + PAGE_4K - (spot & 0x3f);
    value = wall ? at : (at & ~1ull) | enabled;
    if (!wall) at &= ~1ull;
    rc = vpvclock_write(&clock_, &mem, wall ? MSR_PVCLOCK_WALL : MSR_PVCLOCK_TIME, value, hz, tsc0, seconds);
    to = place(at, length, &piece);
    REQUIRE(rc == (!enabled || to ? 0 : -E_FAULT));
    REQUIRE(clock_.wall == (wall && !rc ? value : before.wall));
    REQUIRE(clock_.time == (!wall && !rc ? value : before.time));
    if (enabled && to) {
        version = &versions[piece][(u64)(to - ram[piece]) / 4];
        REQUIRE(field(to, 0, 4) % 2 == 0 && field(to, 0, 4) != 0);
        if (wall) {
            REQUIRE(field(to, 4, 4) == seconds && field(to, 8, 4) == 0);
        } else {
            REQUIRE((u32)field(to, 0, 4) > *version);
            *version = (u32)field(to, 0, 4);
            check_time(to, hz, tsc0);
        }
        memcpy(shadow[piece] + (to - ram[piece]), to, length);
    }
    for (u32 i = 0; i < PIECES; i++) REQUIRE(!memcmp(ram[i], shadow[i], PAGE_4K));
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};

    for (u32 i = 0; i < PIECES; i++) {
        if (!ram[i]) ram[i] = malloc(PAGE_4K);
        regions[i].hpa.v = (u64)ram[i];
        regions[i].bytes = PAGE_4K;
        memset(ram[i], 0xee, PAGE_4K);
        memset(shadow[i], 0xee, PAGE_4K);
    }
    memset(versions, 0, sizeof(versions));
    clock_ = (struct vpvclock){0};
    while (in.left >= 4) step(&in);
    return 0;
}
