/* The host's memory against a map with one byte per page. Input: room for ranges, then records of
 * six bytes. All addresses lie in the first 32 MiB or the last 1 MiB below 2^52. Holds: the ranges
 * are sorted, apart and equal to the map after each call; what is handed out was free, aligned, of
 * the size asked for and, by frames_alloc, the lowest; what fails changes nothing. */
#include <string.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "mm/frames.h"
#include "test/fuzz/fuzz.h"

#define LOW_PAGES  8192u
#define HIGH_PAGES 256u
#define PAGES      (LOW_PAGES + HIGH_PAGES)
#define HIGH_BASE  (BIT(52) - HIGH_PAGES * PAGE_4K)
#define RANGES_MAX 16u
#define PIECES_MAX 6u

static u8 is_free[PAGES]; /* the map */
static struct frames f;

static u32 page_of(u64 address) {
    if (address < HIGH_BASE) {
        REQUIRE(address / PAGE_4K < LOW_PAGES);
        return (u32)(address / PAGE_4K);
    }
    return LOW_PAGES + (u32)((address - HIGH_BASE) / PAGE_4K);
}

static void set(u64 base, u64 bytes, u8 value) { memset(is_free + page_of(base), value, bytes / PAGE_4K); }

static bool all_free(u64 base, u64 bytes) { return !memchr(is_free + page_of(base), 0, bytes / PAGE_4K); }

/* The ranges are the runs of the map, in order. */
static void check_equal(void) {
    u32 page = 0;
    u64 sum = 0;

    REQUIRE(f.count <= f.max);
    for (u32 i = 0; i < f.count; i++) {
        const struct frame_range *r = &f.ranges[i];
        u32 first, count = (u32)(r->bytes / PAGE_4K);

        REQUIRE(r->bytes && is_aligned(r->base | r->bytes, PAGE_4K));
        REQUIRE(i == 0 || r[-1].base + r[-1].bytes < r->base);
        first = page_of(r->base);
        REQUIRE(first >= page && !memchr(is_free + page, 1, first - page));
        REQUIRE(all_free(r->base, r->bytes));
        page = first + count;
        sum += r->bytes;
    }
    REQUIRE(!memchr(is_free + page, 1, PAGES - page));
    REQUIRE(frames_free_bytes(&f) == sum);
}

static void alloc(u64 base, u64 bytes, u64 how) {
    u64 align = PAGE_4K << (how & 15), low = how & 16 ? base : 0, taken = f.taken;
    u64 high = how & 32 ? low + bytes * 4 : ~0ull;
    bool room = f.count < f.max;
    hpa_t at;
    int rc = frames_alloc(&f, bytes, align, low, high, &at);

    if (bytes == 0 || !is_aligned(bytes, PAGE_4K)) {
        REQUIRE(rc == -E_INVAL);
    } else if (rc == 0) {
        REQUIRE(is_aligned(at.v, align) && at.v >= low && at.v <= high - bytes);
        REQUIRE(all_free(at.v, bytes) && f.taken == taken + bytes);
        for (u64 lower = align_up(low, align); room && lower < at.v && lower < MIB(32); lower += align)
            REQUIRE(lower + bytes > MIB(32) || !all_free(lower, bytes));
        set(at.v, bytes, 0);
    } else {
        REQUIRE(rc == -E_NOMEM && f.taken == taken);
    }
}

/* Anywhere, or on the first or the second node, whose border lies where the input says. */
static void place(u64 bytes, u64 how, u64 border) {
    const struct node_range nodes[] = {{0, border, 0}, {border, BIT(52) - border, 1}};
    u32 max = 1 + (u32)how % PIECES_MAX, node = how >> 5 & 1;
    struct piece pieces[PIECES_MAX];
    u64 sum = 0, taken = f.taken;
    int count =
        how & 64 ? frames_place_on(&f, nodes, 2, node, bytes, pieces, max) : frames_place(&f, bytes, pieces, max);

    if (count < 0) {
        REQUIRE(count == (bytes ? -E_NOMEM : -E_INVAL) && f.taken == taken);
        return;
    }
    REQUIRE(count > 0 && (u32)count <= max);
    for (int i = 0; i < count; i++) {
        REQUIRE(is_aligned(pieces[i].base.v, PAGE_2M) && pieces[i].bytes);
        REQUIRE(i == count - 1 || is_aligned(pieces[i].bytes, PAGE_2M));
        REQUIRE(all_free(pieces[i].base.v, pieces[i].bytes));
        REQUIRE(!(how & 64) || (node ? pieces[i].base.v >= border : pieces[i].base.v + pieces[i].bytes <= border));
        set(pieces[i].base.v, pieces[i].bytes, 0);
        sum += pieces[i].bytes;
    }
    REQUIRE(sum == align_up(bytes, PAGE_4K) && f.taken == taken + sum);
}

/* As the header says: added inward, reserved outward, both cut at 2^52. */
static void change(bool adds, u64 base, u64 bytes) {
    u64 end = base + bytes > BIT(52) ? BIT(52) : base + bytes;
    u64 from = adds ? align_up(base, PAGE_4K) : align_down(base, PAGE_4K);
    u64 to = adds ? align_down(end, PAGE_4K) : align_up(end, PAGE_4K);
    int rc = adds ? frames_add(&f, base, bytes) : frames_reserve(&f, base, bytes);

    REQUIRE(rc == 0 || (rc == -E_NOMEM && f.count == f.max));
    if (rc == 0 && from < to && bytes) set(from, to - from, adds);
}

static void step(struct input *in) {
    u64 what = take(in, 1), how = take(in, 1), base, bytes;

    base = take(in, 2) % LOW_PAGES * PAGE_4K;
    bytes = take(in, 2) * (how & 128 ? PAGE_4K : 512);
    if (what & 8) base = HIGH_BASE + base % (HIGH_PAGES * PAGE_4K);
    if (what & 16) base += how * 16;
    if (what & 32) base &= ~(PAGE_2M - 1);
    if (base < HIGH_BASE && base + bytes > MIB(32)) bytes = base < MIB(32) ? MIB(32) - base : 0;
    switch (what & 7) {
    case 0 ... 2: change(true, base, bytes); break;
    case 3: change(false, base, bytes); break;
    case 4:
        bytes = bytes > BIT(52) - base ? BIT(52) - base : bytes;
        base = align_down(base, PAGE_4K);
        REQUIRE(frames_is_free(&f, base, align_up(bytes, PAGE_4K)) ==
                (base < BIT(52) && (base < HIGH_BASE ? base < MIB(32) : true) &&
                 (bytes == 0 ? is_free[page_of(base)] : all_free(base, align_up(bytes, PAGE_4K)))));
        break;
    case 5: place(bytes, how, base); break;
    default: alloc(align_down(base, PAGE_4K), what & 64 ? bytes : align_up(bytes, PAGE_4K), how); break;
    }
    check_equal();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    u32 max = 1 + (u32)take(&in, 1) % RANGES_MAX;

    memset(is_free, 0, sizeof(is_free));
    f = (struct frames){.ranges = malloc(max * sizeof(*f.ranges)), .max = max};
    while (in.left) step(&in);
    free(f.ranges);
    return 0;
}
