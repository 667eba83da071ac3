/* See vhpet.h. The counter is computed from the time, never counted; the ticks of the next matches as well. */
#include "core/vdev/vhpet.h"

#include "core/base/bits.h"

#define TICK_NS   10u
#define PERIOD_FS 10000000ull
#define ROUTES    (BIT(10) | BIT(11))

/* IA-PC HPET 1.0a, 2.3: Register Definitions. */
#define REG_ID         0x00
#define REG_CONFIG     0x10
#define REG_STATUS     0x20
#define REG_COUNTER    0xf0
#define REG_TIMERS     0x100
#define TIMER_BYTES    0x20
#define REG_COMPARATOR 8

#define ENABLE 1ull
#define LEGACY 2ull

#define T_LEVEL     BIT(1)
#define T_INTERRUPT BIT(2)
#define T_PERIODIC  BIT(3)
#define T_CAPS      (BIT(4) | BIT(5) | ROUTES << 32) /* periodic, 64 bits */
#define T_SET       BIT(6)
#define T_32        BIT(8)
#define T_ROUTE     9
#define T_ROUTES    (31ull << T_ROUTE)

static u64 counter_of(const struct vhpet *h) { return h->config & ENABLE ? h->seen + h->counter : h->counter; }

static u64 mask_of(const struct vhpet_timer *t) { return t->config & T_32 ? 0xffffffff : ~0ull; }

/* h->seen and some more, or NEVER. */
static u64 after(const struct vhpet *h, u64 ticks) { return ticks > NEVER - h->seen ? NEVER : h->seen + ticks; }

/* 2.3.9.2: a timer matches when the counter is equal to its comparator. */
static void arm(const struct vhpet *h, struct vhpet_timer *t) {
    t->fires = h->config & ENABLE ? after(h, (t->comparator - counter_of(h)) & mask_of(t)) : NEVER;
}

static void fire(struct vhpet *h, u32 i) {
    struct vhpet_timer *t = &h->timer[i];
    /* A one-shot timer of 32 bits matches again when the counter has gone round. */
    u64 step = t->config & T_PERIODIC && t->period ? t->period : t->config & T_32 ? BIT(32) : 0;
    u64 late = h->seen - t->fires;

    t->fires = step ? after(h, step - late % step) : NEVER;
    /* Periods that were missed altogether are one interrupt; the accumulator stays on its grid. */
    if (t->config & T_PERIODIC && step) t->comparator = (t->comparator + (late / step + 1) * step) & mask_of(t);
    if (t->config & T_LEVEL) {
        h->status |= 1u << i;
    } else if (t->config & T_INTERRUPT) {
        h->held |= 1u << i;
        h->rose |= 1u << i;
    }
}

void vhpet_tick(struct vhpet *h, u64 now) {
    h->seen = max_u64(h->seen, now / TICK_NS);
    for (u32 i = 0; i < VHPET_TIMERS; i++)
        if (h->timer[i].fires != NEVER && h->timer[i].fires <= h->seen) fire(h, i);
}

void vhpet_reset(struct vhpet *h) {
    *h = (struct vhpet){0};
    for (u32 i = 0; i < VHPET_TIMERS; i++) h->timer[i] = (struct vhpet_timer){.comparator = ~0ull, .fires = NEVER};
}

/* The timer whose register this is, or NULL. */
static struct vhpet_timer *timer_at(struct vhpet *h, u32 reg) {
    return reg - REG_TIMERS < VHPET_TIMERS * TIMER_BYTES ? &h->timer[(reg - REG_TIMERS) / TIMER_BYTES] : NULL;
}

static u64 read_register(struct vhpet *h, u32 reg) {
    const struct vhpet_timer *t = timer_at(h, reg);

    if (t) return reg % TIMER_BYTES == 0 ? t->config | T_CAPS : reg % TIMER_BYTES == REG_COMPARATOR ? t->comparator : 0;
    switch (reg) {
    case REG_ID: return PERIOD_FS << 32 | VHPET_ID;
    case REG_CONFIG: return h->config;
    case REG_STATUS: return h->status;
    case REG_COUNTER: return counter_of(h);
    default: return 0;
    }
}

u64 vhpet_read(struct vhpet *h, u32 offset, u32 size, u64 now) {
    vhpet_tick(h, now);
    return read_register(h, offset & ~7u) >> (offset % 8 * 8) & ~0ull >> (64 - 8 * size);
}

static void write_config(struct vhpet *h, u64 value) {
    u64 changed = (h->config ^ value) & (ENABLE | LEGACY), counter = counter_of(h);

    h->config ^= changed;
    if (changed & LEGACY) h->held = h->rose = 0;
    if (!(changed & ENABLE)) return;
    h->counter = h->config & ENABLE ? counter - h->seen : counter;
    for (u32 i = 0; i < VHPET_TIMERS; i++) arm(h, &h->timer[i]);
}

static void write_timer_config(struct vhpet *h, struct vhpet_timer *t, u64 value) {
    u32 bit = 1u << (t - h->timer);
    u64 changed = (t->config ^ value) & (T_LEVEL | T_INTERRUPT | T_PERIODIC | T_SET | T_32 | T_ROUTES);

    /* 2.3.8, Tn_INT_ROUTE_CNF: a line that the timer does not have is not taken. */
    if (!(ROUTES >> bits_get(value, T_ROUTE, 5) & 1)) changed &= ~T_ROUTES;
    t->config ^= changed;
    if (changed & ~T_SET) h->held &= ~bit;
    if (!(t->config & T_LEVEL)) h->status &= ~bit;
    t->comparator &= mask_of(t);
    t->period &= mask_of(t);
    if (changed & T_32) arm(h, t);
}

/* 2.3.9.2.2: of a periodic timer this is the period, and with Tn_VAL_SET_CNF, once, the next match too. */
static void write_comparator(struct vhpet *h, struct vhpet_timer *t, u64 value, u64 half) {
    bool period = t->config & T_PERIODIC, match = !period || t->config & T_SET;

    value = ((value & half) | ((match ? t->comparator : t->period) & ~half)) & mask_of(t);
    if (period) t->period = value;
    t->config &= ~T_SET;
    if (!match) return;
    t->comparator = value;
    arm(h, t);
}

void vhpet_write(struct vhpet *h, u32 offset, u32 size, u64 value, u64 now) {
    u32 reg = offset & ~7u, shift = offset % 8 * 8;
    u64 half = (~0ull >> (64 - 8 * size)) << shift, old;
    struct vhpet_timer *t = timer_at(h, reg);

    if (size < 4 || offset % size) return;
    vhpet_tick(h, now);
    value = value << shift & half;
    old = read_register(h, reg) & ~half;
    if (t && reg % TIMER_BYTES == 0) write_timer_config(h, t, value | old);
    if (t && reg % TIMER_BYTES == REG_COMPARATOR) write_comparator(h, t, value, half);
    if (reg == REG_CONFIG) write_config(h, value | old);
    if (reg == REG_STATUS) h->status &= ~(u32)value;
    if (reg == REG_COUNTER && !(h->config & ENABLE)) h->counter = value | old; /* 2.3.7: only while halted */
    vhpet_tick(h, now);
}

bool vhpet_legacy(const struct vhpet *h) { return h->config & LEGACY; }

u32 vhpet_lines(struct vhpet *h, u32 *edges) {
    u32 up = 0;

    *edges = 0;
    for (u32 i = 0; i < VHPET_TIMERS; i++) {
        u64 config = h->timer[i].config;
        u32 line = (u32)(1ull << bits_get(config, T_ROUTE, 5) & ROUTES);

        if (vhpet_legacy(h) && i < 2) line = i ? 1u << 8 : 1;
        if (h->rose >> i & 1) *edges |= line;
        if (config & T_LEVEL ? config & T_INTERRUPT && h->status >> i & 1 : h->held >> i & 1) up |= line;
    }
    h->rose = 0;
    return up;
}

u64 vhpet_deadline(const struct vhpet *h) {
    u64 first = NEVER;

    for (u32 i = 0; i < VHPET_TIMERS; i++)
        if (h->timer[i].config & T_INTERRUPT) first = min_u64(first, h->timer[i].fires);
    return first > NEVER / TICK_NS ? NEVER : first * TICK_NS;
}
