/* The host's free memory: a sorted array of ranges in memory of the caller. Boot core, before
 * start. Every range is a multiple of 4 KiB and ends at or below 2^52 (SDM Vol 3A, Physical
 * Address Space), so that sums of a base and a length never wrap. */
#include "mm/frames.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/string.h"

#define PHYSICAL_LIMIT BIT(52)

static u64 range_end(const struct frame_range *r) { return r->base + r->bytes; }

/* base + bytes, or the end of physical memory if that is lower. */
static u64 clamped_end(u64 base, u64 bytes) {
    if (base >= PHYSICAL_LIMIT || bytes > PHYSICAL_LIMIT - base) return PHYSICAL_LIMIT;
    return base + bytes;
}

/* Replaces ranges [first, first + old) by one. */
static void replace(struct frames *f, u32 first, u32 old, u64 base, u64 end) {
    struct frame_range *at = &f->ranges[first];

    memmove(at + 1, at + old, (f->count - first - old) * sizeof(*at));
    *at = (struct frame_range){base, end - base};
    f->count += 1 - old;
}

/* Adds [base, end), both multiples of 4 KiB. False: no room, nothing changed. */
static bool insert(struct frames *f, u64 base, u64 end) {
    u32 first = 0;
    u32 last;

    while (first < f->count && range_end(&f->ranges[first]) < base) first++;
    /* [first, last) are those that overlap or touch. */
    last = first;
    while (last < f->count && f->ranges[last].base <= end) last++;
    if (last == first && f->count == f->max) return false;
    if (last > first) {
        base = min_u64(base, f->ranges[first].base);
        end = max_u64(end, range_end(&f->ranges[last - 1]));
    }
    replace(f, first, last - first, base, end);
    return true;
}

/* Cuts [base, end), both multiples of 4 KiB, out of the free ranges. False: no room for the
 * split, nothing changed (a range that must be split is the only one that overlaps). */
static bool cut(struct frames *f, u64 base, u64 end) {
    u32 kept = 0;

    for (u32 i = 0; i < f->count; i++) {
        struct frame_range *r = &f->ranges[i];

        if (r->base < base && end < range_end(r)) {
            u64 upper_end = range_end(r);

            if (f->count == f->max) return false;
            r->bytes = base - r->base;
            replace(f, i + 1, 0, end, upper_end);
            return true;
        }
    }
    for (u32 i = 0; i < f->count; i++) {
        struct frame_range r = f->ranges[i];

        if (r.base < end && base < range_end(&r)) {
            if (r.base < base)
                r.bytes = base - r.base;
            else if (end < range_end(&r))
                r = (struct frame_range){end, range_end(&r) - end};
            else
                continue;
        }
        f->ranges[kept++] = r;
    }
    f->count = kept;
    return true;
}

int frames_add(struct frames *f, u64 base, u64 bytes) {
    u64 end = align_down(clamped_end(base, bytes), PAGE_4K);

    if (base >= PHYSICAL_LIMIT) return 0;
    base = align_up(base, PAGE_4K);
    if (base >= end) return 0;
    return insert(f, base, end) ? 0 : -E_NOMEM;
}

int frames_reserve(struct frames *f, u64 base, u64 bytes) {
    u64 end = align_up(clamped_end(base, bytes), PAGE_4K);

    if (bytes == 0 || base >= PHYSICAL_LIMIT) return 0;
    return cut(f, align_down(base, PAGE_4K), end) ? 0 : -E_NOMEM;
}

bool frames_is_free(const struct frames *f, u64 base, u64 bytes) {
    for (u32 i = 0; i < f->count; i++) {
        const struct frame_range *r = &f->ranges[i];

        if (base >= r->base && base < range_end(r) && bytes <= range_end(r) - base) return true;
    }
    return false;
}

int frames_alloc(struct frames *f, u64 bytes, u64 align, u64 low, u64 high, hpa_t *out) {
    if (bytes == 0 || !is_aligned(bytes | align, PAGE_4K) || (align & (align - 1))) return -E_INVAL;
    for (u32 i = 0; i < f->count; i++) {
        u64 end = min_u64(range_end(&f->ranges[i]), high);
        u64 from = max_u64(f->ranges[i].base, low);
        u64 base = align_up(from, align);

        /* base < from: aligning went past 2^64. */
        if (base < from || base >= end || end - base < bytes) continue;
        /* A split that does not fit is no reason to give up: the next range may need none. */
        if (!cut(f, base, base + bytes)) continue;
        f->taken += bytes;
        *out = hpa(base);
        return 0;
    }
    return -E_NOMEM;
}

u64 frames_free_bytes(const struct frames *f) {
    u64 sum = 0;

    for (u32 i = 0; i < f->count; i++) sum += f->ranges[i].bytes;
    return sum;
}

/* Where memory may come from: one node's, or, without ranges, anywhere. */
struct search {
    const struct node_range *nodes;
    u32 count, node;
};

static u32 part_count(const struct frames *f, const struct search *s) { return f->count * (s->nodes ? s->count : 1); }

/* Free memory in the order of addresses, cut at the borders of nodes. False: this part is empty. */
static bool part(const struct frames *f, const struct search *s, u32 index, struct frame_range *out) {
    const struct frame_range *r = &f->ranges[s->nodes ? index / s->count : index];
    const struct node_range *node = s->nodes ? &s->nodes[index % s->count] : NULL;
    u64 from, end;

    *out = *r;
    if (!node) return true;
    from = max_u64(r->base, align_up(node->base, PAGE_4K));
    end = min_u64(range_end(r), align_down(node->base + node->bytes, PAGE_4K));
    if (node->node != s->node || from >= end) return false;
    *out = (struct frame_range){from, end - from};
    return true;
}

/* The highest free range of that size and alignment. */
static bool find_highest(const struct frames *f, const struct search *s, u64 bytes, u64 align, struct piece *out) {
    for (u32 i = part_count(f, s); i-- > 0;) {
        struct frame_range r;
        u64 base;

        if (!part(f, s, i, &r) || r.bytes < bytes) continue;
        base = align_down(range_end(&r) - bytes, align);
        if (base < r.base) continue;
        *out = (struct piece){hpa(base), bytes};
        return true;
    }
    return false;
}

/* The largest free range made of whole units; of equal ones the highest. */
static bool find_largest(const struct frames *f, const struct search *s, u64 unit, struct piece *out) {
    out->bytes = 0;
    for (u32 i = 0; i < part_count(f, s); i++) {
        struct frame_range r;
        u64 base, end;

        if (!part(f, s, i, &r)) continue;
        base = align_up(r.base, unit);
        end = align_down(range_end(&r), unit);
        if (base < end && end - base >= out->bytes) *out = (struct piece){hpa(base), end - base};
    }
    return out->bytes > 0;
}

/* The next piece on a unit border: all of `left`, else as many whole units of it as lie together.
 * Every piece but the last is thus a multiple of a unit, and the one after it starts on a unit
 * border for the guest too. */
static bool find_piece(const struct frames *f, const struct search *s, u64 left, u64 unit, struct piece *out) {
    if (left >= unit)
        return find_highest(f, s, left, unit, out) || find_highest(f, s, align_down(left, unit), unit, out) ||
               find_largest(f, s, unit, out);
    return unit == PAGE_2M && find_highest(f, s, left, unit, out);
}

static void undo(struct frames *f, const struct piece *pieces, u32 count) {
    /* In reverse order, so that each state on the way was there before and has its room. */
    while (count-- > 0) {
        insert(f, pieces[count].base.v, pieces[count].base.v + pieces[count].bytes);
        f->taken -= pieces[count].bytes;
    }
}

/* With one upper bound on alignment. */
static int place(struct frames *f, const struct search *s, u64 bytes, u64 largest_unit, struct piece *out, u32 max) {
    u64 left = bytes;
    u32 count = 0;

    while (left > 0) {
        struct piece p;

        if (count == max || !(find_piece(f, s, left, largest_unit, &p) || find_piece(f, s, left, PAGE_2M, &p)) ||
            !cut(f, p.base.v, p.base.v + p.bytes)) {
            undo(f, out, count);
            return -E_NOMEM;
        }
        f->taken += p.bytes;
        left -= p.bytes;
        out[count++] = p;
    }
    return (int)count;
}

static int place_from(struct frames *f, const struct search *s, u64 memory, struct piece *out, u32 max) {
    int count;

    if (memory == 0) return -E_INVAL;
    if (memory > PHYSICAL_LIMIT) return -E_NOMEM;
    memory = align_up(memory, PAGE_4K);
    count = place(f, s, memory, PAGE_1G, out, max);
    /* Whole GiBs can need more pieces than `max`: rather smaller pages than no partition. */
    return count > 0 ? count : place(f, s, memory, PAGE_2M, out, max);
}

int frames_place(struct frames *f, u64 memory, struct piece *out, u32 max) {
    const struct search anywhere = {0};

    return place_from(f, &anywhere, memory, out, max);
}

int frames_place_on(struct frames *f, const struct node_range *nodes, u32 count, u32 node, u64 memory,
                    struct piece *out, u32 max) {
    const struct search s = {nodes, count, node};

    return count ? place_from(f, &s, memory, out, max) : memory ? -E_NOMEM : -E_INVAL;
}
