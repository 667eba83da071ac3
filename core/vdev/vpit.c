/* 8254. See vpit.h. Owns struct vpit; called by the board only. The counters are not stepped: each
 * value is a function of the clock at which the count was loaded. */
#include "core/vdev/vpit.h"

#include "core/vdev/vclock.h"

/* 8254, Control Word Format and Read-Back Command. */
#define CW_BCD          0x01u
#define READ_BACK       3u
#define READ_BACK_COUNT 0x20u /* active low */
#define READ_BACK_STAT  0x10u /* active low */
#define STATUS_OUT      0x80u
#define STATUS_NULL     0x40u

/* ICH9, NMI_SC: refresh cycle toggle (every 15 us, 18 clocks, the count that firmware gives channel
 * 1) and OUT2. */
#define SYSTEM_GATE2   0x01u
#define SYSTEM_WRITE   0x0fu
#define SYSTEM_REFRESH 0x10u
#define SYSTEM_OUT2    0x20u
#define REFRESH_CLOCKS 18u

/* Takes over the pending count if its clock has come. */
static void channel_sync(struct vpit_channel *c, u64 clock) {
    if (c->load_at == NEVER || clock < c->load_at) return;
    c->count = c->next;
    c->start = c->load_at;
    if (c->low_half) /* may wrap below 0; elapsed time wraps back */
        c->start -= (c->count + 1) / 2;
    c->low_half = false;
    c->stopped = 0;
    c->load_at = NEVER;
    c->loaded = true;
    c->triggered = false;
    c->null = false;
}

/* In modes 1 and 5 the gate only triggers; in 2 and 3 counting goes on with the load that the trigger brings. 8254,
 * Gate Pin Operations Summary. */
static bool channel_stopped(const struct vpit_channel *c) {
    return (!c->gate || c->triggered) && c->mode != 1 && c->mode != 5;
}

/* Clocks since the count was loaded. The channel is loaded and in step with the clock. */
static u64 channel_elapsed(const struct vpit_channel *c, u64 clock) {
    return channel_stopped(c) ? c->stopped : clock - c->start;
}

/* OUT at this clock. 8254, Mode Definitions. */
static bool channel_out(const struct vpit_channel *c, u64 clock) {
    if (!c->loaded) return c->mode != 0;
    u64 elapsed = channel_elapsed(c, clock);
    switch (c->mode) {
    case 0:
    case 1: return elapsed >= c->count;
    case 2: return channel_stopped(c) || elapsed % c->count != c->count - 1;
    case 3: return channel_stopped(c) || elapsed % c->count < (c->count + 1) / 2;
    default: return elapsed != c->count;
    }
}

/* What the counting element shows, in binary, before the wrap to 16 bits or four digits. */
static u64 channel_binary(const struct vpit_channel *c, u64 clock) {
    u64 elapsed = channel_elapsed(c, clock);
    u64 modulus = c->bcd ? 10000 : 65536;

    if (c->mode == 2) return c->count - elapsed % c->count;
    if (c->mode == 3) {
        /* Counts by two, from the even number at or below the count, twice per period; the high
         * half of an odd count is one clock longer. */
        u64 high = (c->count + 1) / 2;
        u64 phase = elapsed % c->count;
        return (c->count & ~1u) - 2 * (phase < high ? phase : phase - high);
    }
    return (c->count + modulus - elapsed % modulus) % modulus;
}

static u16 channel_value(const struct vpit_channel *c, u64 clock) {
    if (!c->loaded) return c->idle;
    u32 value = (u32)channel_binary(c, clock);
    if (!c->bcd) return (u16)value;
    value %= 10000;
    return (u16)(value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10);
}

/* Clock of the first rising edge of OUT after `clock` if the loaded count stays, or NEVER. */
static u64 loaded_rise(const struct vpit_channel *c, u64 clock) {
    if (!c->loaded || channel_stopped(c)) return NEVER;
    u64 end = c->start + c->count;
    switch (c->mode) {
    case 0:
    case 1: return end > clock ? end : NEVER;
    case 2:
    case 3:
        /* A count of 1 is illegal in both modes and gives no edges here. */
        return c->count == 1 ? NEVER : clock + c->count - (clock - c->start) % c->count;
    default: return end + 1 > clock ? end + 1 : NEVER;
    }
}

static u64 channel_rise(const struct vpit_channel *c, u64 clock) {
    u64 rise = loaded_rise(c, clock);
    if (c->load_at == NEVER || rise <= c->load_at) return rise;
    struct vpit_channel later = *c;
    channel_sync(&later, c->load_at);
    return loaded_rise(&later, c->load_at);
}

/* Brings all channels to now; every access begins here. */
static void sync(struct vpit *p, u64 now) {
    u64 clock = clock_ticks(now, VPIT_HZ);

    if (clock > p->clock) p->clock = clock;
    if (p->clock >= p->rise) p->edge = true;
    for (u32 i = 0; i < 3; i++) channel_sync(&p->channel[i], p->clock);
    p->rise = channel_rise(&p->channel[0], p->clock);
}

/* A whole count was written. When it is loaded depends on the mode: 8254, Mode Definitions, and
 * Operations Common to All Modes. */
static void channel_count(struct vpit_channel *c, u16 raw, u64 clock) {
    u32 count = raw;
    if (c->bcd) count = (raw >> 12) * 1000u + (raw >> 8 & 15u) * 100u + (raw >> 4 & 15u) * 10u + (raw & 15u);
    if (count == 0) count = c->bcd ? 10000 : 65536;
    bool first = !c->written;
    c->next = count;
    c->written = true;
    c->null = true;

    switch (c->mode) {
    case 0:
    case 4: c->load_at = clock + 1; break;
    case 1:
    case 5: /* at the next trigger */ break;
    default:
        if (first) {
            c->load_at = clock + 1;
        } else if (c->loaded && !channel_stopped(c)) {
            /* At the end of the period, or in mode 3 of the half period. */
            u64 phase = (clock - c->start) % c->count, half = (c->count + 1) / 2;
            u64 left = c->mode == 3 && phase < half ? half - phase : c->count - phase;
            c->load_at = clock + left;
            c->low_half = c->mode == 3 && phase < half;
        }
        break;
    }
}

static void channel_write(struct vpit_channel *c, u8 value, u64 clock) {
    /* In mode 0 a new count, even half of it, stops counting and lowers OUT at once. */
    if (c->mode == 0) {
        c->idle = channel_value(c, clock);
        c->loaded = false;
        c->load_at = NEVER;
    }
    switch (c->access) {
    case 1: channel_count(c, value, clock); break;
    case 2: channel_count(c, (u16)(value << 8), clock); break;
    default:
        if (!c->write_msb)
            c->write_lsb = value;
        else
            channel_count(c, (u16)(value << 8 | c->write_lsb), clock);
        c->write_msb = !c->write_msb;
        break;
    }
}

static void channel_latch_count(struct vpit_channel *c, u64 clock) {
    if (c->count_latched) /* a second latch before the first is read is ignored */
        return;
    c->count_latched = true;
    c->latched_count = channel_value(c, clock);
}

static void channel_latch_status(struct vpit_channel *c, u64 clock) {
    if (c->status_latched) return;
    c->status_latched = true;
    c->latched_status = (u8)((channel_out(c, clock) ? STATUS_OUT : 0) | (c->null ? STATUS_NULL : 0) |
                             (u32)c->access << 4 | (u32)c->mode << 1 | (c->bcd ? CW_BCD : 0));
}

static u8 channel_read(struct vpit_channel *c, u64 clock) {
    if (c->status_latched) {
        c->status_latched = false;
        return c->latched_status;
    }
    u16 value = c->count_latched ? c->latched_count : channel_value(c, clock);
    bool upper = c->access == 2 || (c->access == 3 && c->read_msb);
    if (c->access == 3) c->read_msb = !c->read_msb;
    if (c->access != 3 || upper) c->count_latched = false;
    return (u8)(upper ? value >> 8 : value);
}

static void write_control(struct vpit *p, u8 value) {
    u32 select = value >> 6, access = value >> 4 & 3u;

    if (select == READ_BACK) {
        for (u32 i = 0; i < 3; i++) {
            if (!(value >> (i + 1) & 1)) continue;
            if (!(value & READ_BACK_COUNT)) channel_latch_count(&p->channel[i], p->clock);
            if (!(value & READ_BACK_STAT)) channel_latch_status(&p->channel[i], p->clock);
        }
        return;
    }
    struct vpit_channel *c = &p->channel[select];
    if (access == 0) {
        channel_latch_count(c, p->clock);
        return;
    }
    u32 mode = value >> 1 & 7u;
    *c = (struct vpit_channel){
        .mode = (u8)(mode > 5 ? mode - 4 : mode), /* bit 2 is "don't care" in modes 2 and 3 */
        .access = (u8)access,
        .bcd = (value & CW_BCD) != 0,
        .gate = c->gate,
        .null = true,
        .load_at = NEVER,
        .idle = channel_value(c, p->clock),
    };
}

/* 8254, Gate Pin Operations Summary. */
static void set_gate(struct vpit_channel *c, bool gate, u64 clock) {
    if (gate == c->gate) return;
    if (!gate && c->loaded) c->stopped = channel_elapsed(c, clock);
    c->gate = gate;
    if (c->mode == 0 || c->mode == 4) {
        if (gate) c->start = clock - c->stopped;
    } else if (gate) {
        c->low_half = false;
        if (c->written) c->load_at = clock + 1;
        c->triggered = c->loaded;
    } else if (c->mode == 2 || c->mode == 3) {
        /* No end of the period comes any more: the next trigger loads. One that has come still does. */
        if (c->loaded && !c->triggered) c->load_at = NEVER;
    }
}

u8 vpit_read(struct vpit *p, u16 port, u64 now) {
    sync(p, now);
    if (port == VPIT_SYSTEM_PORT) {
        u32 refresh = p->clock / REFRESH_CLOCKS % 2 ? SYSTEM_REFRESH : 0;
        u32 out2 = channel_out(&p->channel[2], p->clock) ? SYSTEM_OUT2 : 0;
        return (u8)(p->system | refresh | out2);
    }
    if (port == VPIT_CONTROL_PORT) /* 8254, Read/Write Logic: no operation, the bus floats */
        return 0xff;
    return channel_read(&p->channel[port & 3u], p->clock);
}

void vpit_write(struct vpit *p, u16 port, u8 value, u64 now) {
    sync(p, now);
    bool before = vpit_out0(p);
    if (port == VPIT_SYSTEM_PORT) {
        p->system = value & SYSTEM_WRITE;
        set_gate(&p->channel[2], (value & SYSTEM_GATE2) != 0, p->clock);
    } else if (port == VPIT_CONTROL_PORT) {
        write_control(p, value);
    } else {
        channel_write(&p->channel[port & 3u], value, p->clock);
    }
    if (!before && vpit_out0(p)) /* a control word can raise OUT */
        p->edge = true;
    p->rise = channel_rise(&p->channel[0], p->clock);
}

u64 vpit_deadline(const struct vpit *p) { return p->rise == NEVER ? NEVER : clock_ns(p->rise, VPIT_HZ); }

void vpit_tick(struct vpit *p, u64 now) { sync(p, now); }

bool vpit_take_edge(struct vpit *p) {
    bool edge = p->edge;
    p->edge = false;
    return edge;
}

bool vpit_out0(const struct vpit *p) { return channel_out(&p->channel[0], p->clock); }

void vpit_reset(struct vpit *p) {
    *p = (struct vpit){.rise = NEVER};
    for (u32 i = 0; i < 3; i++)
        p->channel[i] = (struct vpit_channel){.mode = 2, .access = 3, .gate = i != 2, .load_at = NEVER};
}
