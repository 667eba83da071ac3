/* The 8254 under an arbitrary guest, beside a model that goes clock by clock: counting elements that step, load and
 * toggle. Input: records of four bytes: operation, channel and shift of the time, value, time. Holds after each: every
 * counter shows what the model's holds, so that none runs backwards but by a load, and a latched count stands until it
 * is read; OUT of each channel and the null flag, by the status; an edge of OUT0 comes at its clock and is told, one
 * for several, no earlier than the deadline and not later. */
#include "core/vdev/vclock.h"
#include "core/vdev/vpit.h"
#include "test/fuzz/fuzz.h"

struct channel {
    u32 mode, access, reload, element; /* element: in binary */
    u32 last;                          /* mode 3: the element at the end of this half */
    u32 shown;                         /* before the first load: the digits as they were */
    u32 latched;
    u8 low_byte;
    bool bcd, gate, out, null, written, counts, loads, write_upper, read_upper, is_latched, low_half, strobed;
    bool wild; /* it was given a count of which the datasheet does not say what it does */
};

static struct vpit pit;
static struct channel model[3];
static u64 now, at; /* ns, clock */
static bool rose;   /* OUT0 */

static u32 modulus(const struct channel *c) { return c->bcd ? 10000 : 65536; }

static u32 display(const struct channel *c) {
    u32 v = c->element % modulus(c);

    if (!c->counts) return c->shown;
    return c->bcd ? v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10 : v;
}

static void set_out(struct channel *c, bool out) {
    rose = rose || (c == model && out && !c->out);
    c->out = out;
}

/* Mode 3: a high half of an odd count is one clock longer than the low one. */
static void begin_half(struct channel *c, bool low) {
    c->low_half = low;
    c->last = c->reload % 2 && !low ? 0 : 2;
    c->element = c->reload & ~1u;
    set_out(c, !low);
}

static void load(struct channel *c) {
    c->loads = c->null = c->strobed = false;
    c->counts = true;
    c->element = c->reload;
    if (c->mode == 3)
        begin_half(c, false);
    else
        set_out(c, c->mode >= 2);
}

/* One clock of a channel that counts. 8254, Mode Definitions. */
static void count(struct channel *c) {
    if (c->mode == 3 && c->element > c->last) {
        c->element -= 2;
    } else if (c->mode == 3) {
        c->null = false;
        begin_half(c, !c->low_half);
    } else if (c->mode == 2 && c->element == 1) {
        load(c);
    } else {
        c->element = (c->element == 0 ? modulus(c) : c->element) - 1;
        if (c->mode == 2) set_out(c, c->element != 1);
        if (c->mode < 2 && c->element == 0) set_out(c, true);
        if (c->mode > 3) {
            set_out(c, c->element != 0 || c->strobed);
            c->strobed = c->strobed || !c->out;
        }
    }
}

static void run(struct channel *c, u64 clocks) {
    while (clocks && (c->loads || (c->counts && (c->gate || c->mode == 1 || c->mode == 5)))) {
        u64 n = c->element > 8 ? (c->element - 6) / 2 : 0; /* with these nothing happens but the count */

        if (n > clocks) n = clocks;
        if (c->loads) {
            load(c);
            n = 1;
        } else if (n > 1 && (c->mode < 4 || c->out)) {
            c->element -= (u32)n * (c->mode == 3 ? 2 : 1);
        } else {
            count(c);
            n = 1;
        }
        clocks -= n;
    }
}

static void control(struct channel *c, u8 value) {
    u32 mode = value >> 1 & 7, digits = display(c);

    *c = (struct channel){.mode = mode > 5 ? mode & 3 : mode,
                          .access = value >> 4 & 3,
                          .bcd = value & 1,
                          .gate = c->gate,
                          .out = c->out,
                          .null = true,
                          .wild = c->wild,
                          .shown = digits};
    set_out(c, c->mode != 0);
}

static void whole_count(struct channel *c, u32 raw) {
    bool first = !c->written;
    u32 value = raw;

    if (c->bcd) {
        value = 0;
        for (u32 shift = 16; shift; shift -= 4) {
            u32 digit = raw >> (shift - 4) & 15;
            c->wild = c->wild || digit > 9;
            value = 10 * value + digit;
        }
    }
    c->reload = value ? value : modulus(c);
    c->null = c->written = true;
    c->wild = c->wild || (c->reload == 1 && (c->mode == 2 || c->mode == 3));
    if (c->mode == 0 || c->mode == 4 || (first && (c->mode == 2 || c->mode == 3))) c->loads = true;
}

static void write_counter(struct channel *c, u8 value) {
    if (c->mode == 0) { /* half of a count stops it too */
        c->shown = display(c);
        c->counts = c->loads = false;
        set_out(c, false);
    }
    if (c->access == 1) whole_count(c, value);
    if (c->access == 2) whole_count(c, (u32)value << 8);
    if (c->access != 3) return;
    if (c->write_upper)
        whole_count(c, (u32)value << 8 | c->low_byte);
    else
        c->low_byte = value;
    c->write_upper = !c->write_upper;
}

static u8 read_counter(struct channel *c) {
    u32 value = c->is_latched ? c->latched : display(c);
    bool upper = c->access == 2 || c->read_upper;

    if (c->access == 3) c->read_upper = !c->read_upper;
    if (c->access != 3 || upper) c->is_latched = false;
    return (u8)(upper ? value >> 8 : value);
}

static void latch(struct channel *c) {
    if (!c->is_latched) c->latched = display(c);
    c->is_latched = true;
}

static void set_gate(struct channel *c, bool gate) {
    if (gate && !c->gate && c->written && c->mode != 0 && c->mode != 4) c->loads = true;
    if (!gate && (c->mode == 2 || c->mode == 3)) set_out(c, true);
    c->gate = gate;
}

/* Status and count of a copy, by the read-back command. */
static void check_channel(u32 i) {
    struct vpit copy = pit;
    struct channel *c = &model[i];
    u32 status, value = 0;

    copy.channel[i].count_latched = copy.channel[i].status_latched = copy.channel[i].read_msb = false;
    vpit_write(&copy, VPIT_CONTROL_PORT, (u8)(0xc0 | 2u << i), now);
    status = vpit_read(&copy, (u16)(VPIT_PORT + i), now);
    REQUIRE((status & 0x3f) == (c->access << 4 | c->mode << 1 | c->bcd));
    if (c->access != 2) value = vpit_read(&copy, (u16)(VPIT_PORT + i), now);
    if (c->access != 1) value |= (u32)vpit_read(&copy, (u16)(VPIT_PORT + i), now) << 8;
    if (!c->written && c->wild) { /* the control word ended it: from here on as the device has it */
        c->shown = value;
        if (c->access == 3) c->wild = false;
    }
    if (c->wild) return;
    REQUIRE(value == (display(c) & (c->access == 1 ? 0xffu : c->access == 2 ? 0xff00u : 0xffffu)));
    REQUIRE((status >> 7 != 0) == c->out && ((status & 0x40) != 0) == c->null);
}

static void check(bool wild) {
    bool edge = vpit_take_edge(&pit);

    REQUIRE(wild || model[0].wild || edge == rose);
    rose = false;
    for (u32 i = 0; i < 3; i++) check_channel(i);
    REQUIRE(model[0].wild || vpit_out0(&pit) == model[0].out);
    REQUIRE(model[2].wild || (vpit_read(&pit, VPIT_SYSTEM_PORT, now) >> 5 & 1) == model[2].out);
    REQUIRE(vpit_deadline(&pit) > now);
}

/* Lets time pass, with nobody at the registers. */
static void pass(u64 ns) {
    u64 deadline = vpit_deadline(&pit), clocks;

    now += ns;
    vpit_tick(&pit, now);
    clocks = clock_ticks(now, VPIT_HZ) - at;
    at += clocks;
    for (u32 i = 0; i < 3; i++)
        if (!model[i].wild) run(&model[i], clocks);
    if (!model[0].wild) REQUIRE(rose == (now >= deadline));
    check(false);
}

static void step(struct input *in) {
    u32 what = (u32)take(in, 1), where = (u32)take(in, 1), i = where % 3;
    u8 value = (u8)take(in, 1), got;
    struct channel *c = &model[i];
    bool wild = model[0].wild;

    pass(take(in, 1) << (where >> 2) % 15); /* up to 4 ms */
    switch (what & 7) {
    case 0 ... 1:
        value = (u8)((value & 0x3f) | i << 6 | (value & 0x30 ? 0 : 0x30));
        vpit_write(&pit, VPIT_CONTROL_PORT, value, now);
        control(c, value);
        break;
    case 2 ... 4:
        vpit_write(&pit, (u16)(VPIT_PORT + i), value, now);
        write_counter(c, value);
        break;
    case 5:
        vpit_write(&pit, VPIT_SYSTEM_PORT, value, now);
        set_gate(&model[2], value & 1);
        break;
    case 6:
        vpit_write(&pit, VPIT_CONTROL_PORT, (u8)(i << 6), now);
        latch(c);
        break;
    default:
        got = vpit_read(&pit, (u16)(VPIT_PORT + i), now);
        REQUIRE(read_counter(c) == got || c->wild);
        break;
    }
    check(wild);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};

    vpit_reset(&pit);
    now = at = 0;
    rose = false;
    for (u32 i = 0; i < 3; i++) model[i] = (struct channel){.mode = 2, .access = 3, .gate = i != 2, .out = true};
    check(false);
    while (in.left >= 4) step(&in);
    return 0;
}
