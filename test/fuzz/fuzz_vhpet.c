/* Random accesses to the HPET, with what must hold after each: the counter never runs backwards while it counts, no
 * match is lost, and none is waited for in the past. Input: records of eight bytes. */
#include <stdint.h>
#include <stdlib.h>

#include "core/vdev/vhpet.h"

#define CONFIG  0x10
#define STATUS  0x20
#define COUNTER 0xf0

static void require(bool holds) {
    if (!holds) abort();
}

static u64 timer_config(struct vhpet *h, u32 i, u64 now) { return vhpet_read(h, 0x100 + 0x20 * i, 8, now); }

/* A one-shot timer of 64 bits that the time has just gone past: its edge or its status is there. */
static void check_matches(struct vhpet *h, u64 from, u64 to, u32 edges, u64 now) {
    for (u32 i = 0; i < VHPET_TIMERS; i++) {
        u64 config = timer_config(h, i, now), at = h->timer[i].comparator;
        u32 line = 1u << (config >> 9 & 31) & 0xc00;

        if (config & 0x108 || at <= from || at > to) continue; /* periodic, 32 bits */
        if (vhpet_legacy(h) && i < 2) line = i ? 1u << 8 : 1;
        if (config & 2)
            require(h->status >> i & 1);
        else if (config & 4 && line)
            require(edges & line);
    }
}

/* Lets time pass, with nobody at the registers. */
static void pass(struct vhpet *h, u64 *now, u64 ns) {
    bool counts = h->config & 1;
    u64 from = vhpet_read(h, COUNTER, 8, *now), to, deadline = vhpet_deadline(h);
    u32 edges, before, up;

    before = vhpet_lines(h, &edges);
    *now += ns;
    vhpet_tick(h, *now);
    to = vhpet_read(h, COUNTER, 8, *now);
    require(counts ? to - from <= ns / 10 + 1 : to == from);
    up = vhpet_lines(h, &edges);
    require((edges & ~up) == 0 && (before & ~up) == 0); /* nothing falls by itself */
    if (*now < deadline) require(edges == 0 && up == before);
    if (counts && to >= from) check_matches(h, from, to, edges, *now);
    require(!(edges & ~0xd01u) && !(up & ~0xd01u));
}

static void step(struct vhpet *h, const u8 *r, u64 *now) {
    static const u32 sizes[4] = {8, 4, 8, 4};
    static const u16 registers[16] = {CONFIG, STATUS, COUNTER, 0x100, 0x108,  0x120, 0x128, 0x140,
                                      0x148,  0x108,  0x110,   0,     CONFIG, 0x100, 0x128, 0x3f8};
    u32 offset = registers[r[1] & 15], size = sizes[r[1] >> 4 & 3];
    u64 value = r[2] | (u64)r[3] << 8 | (u64)r[4] << 16 | (u64)r[5] << 24, before;
    bool counted = h->config & 1;

    if (size == 4) offset += r[1] >> 6 & 4;
    if (r[0] & 0x80) value = ~value; /* the upper half too */
    pass(h, now, (u64)r[6] << (r[7] & 31));
    before = vhpet_read(h, COUNTER, 8, *now);
    if (r[0] & 1)
        vhpet_write(h, offset, size, value, *now);
    else
        require(size == 8 || vhpet_read(h, offset, size, *now) >> 32 == 0);
    if (counted) require(vhpet_read(h, COUNTER, 8, *now) == before); /* not by a write either */
    require(vhpet_deadline(h) > *now);
    for (u32 i = 0; i < VHPET_TIMERS; i++) {
        require((timer_config(h, i, *now) & ~0x00000c0000003f7eull) == 0);
        require(!(timer_config(h, i, *now) & 0x100) || h->timer[i].comparator >> 32 == 0);
        require(!(h->status >> i & 1) || timer_config(h, i, *now) & 2);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vhpet h;
    u64 now = 0;

    vhpet_reset(&h);
    for (; size >= 8; size -= 8, data += 8) step(&h, data, &now);
    return 0;
}
