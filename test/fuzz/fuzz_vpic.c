/* The 8259A pair under an arbitrary guest and arbitrary lines, beside a model that keeps each chip's priorities as a
 * list. Input: records of three bytes: operation, chip or line, value. Holds after each: a request stands until it is
 * acknowledged or its line falls, INTR is high exactly while one stands that no mask and nothing in service holds
 * back, an acknowledge gives the first of these in the order of priority, or a spurious 7 that marks nothing, and the
 * registers say so. */
#include "core/vdev/vpic.h"
#include "test/fuzz/fuzz.h"

#define NOBODY 8u

struct chip {
    u8 order[8]; /* inputs, the highest priority first */
    bool line[8], risen[8], level[8], masked[8], serving[8];
    bool single, auto_eoi, rotates, special_mask, nested;
    u8 base, awaits, icw4;
};

static struct vpic pic;
static struct chip model[2]; /* master, slave */
static bool pin;

static void on_intr(void *ctx, bool level) {
    (void)ctx;
    REQUIRE(level != pin);
    pin = level;
}
static void on_copy(void *ctx, bool level) {
    (void)ctx;
    (void)level;
}
static const struct vdev_host host = {.intr = on_intr}, quiet = {.intr = on_copy};

static bool asks(const struct chip *c, u32 i) { return (c->level[i] ? c->line[i] : c->risen[i]) && !c->masked[i]; }

/* The input to be acknowledged, or NOBODY. */
static u32 candidate(const struct chip *c) {
    for (u32 rank = 0; rank < 8 && !c->awaits; rank++) {
        u32 i = c->order[rank];
        bool holds = c->serving[i] && !(c->special_mask && c->masked[i]);

        if (asks(c, i) && (!holds || (c == model && c->nested && i == VPIC_CASCADE))) return i;
        if (holds) return NOBODY;
    }
    return NOBODY;
}

static void drive(struct chip *c, u32 i, bool level) {
    c->risen[i] = level && (c->risen[i] || !c->line[i]);
    c->line[i] = level;
}

/* Turns the list until the input stands last. */
static void lower(struct chip *c, u32 input) {
    while (c->order[7] != input) {
        u8 first = c->order[0];
        for (u32 i = 0; i < 7; i++) c->order[i] = c->order[i + 1];
        c->order[7] = first;
    }
}

/* Returns the input, NOBODY for a spurious one. */
static u32 acknowledge(struct chip *c) {
    u32 i = candidate(c);

    if (i != NOBODY) {
        c->risen[i] = false;
        c->serving[i] = c->serving[i] || !c->auto_eoi;
        if (c->auto_eoi && c->rotates) lower(c, i);
    }
    if (c != model) drive(model, VPIC_CASCADE, false);
    return i;
}

static u8 vector(const struct chip *c, u32 i) { return (u8)(c->base + (i == NOBODY ? 7 : i)); }

static u8 model_ack(void) {
    u32 i = acknowledge(&model[0]);

    return i == VPIC_CASCADE ? vector(&model[1], acknowledge(&model[1])) : vector(&model[0], i);
}

static void end_of_interrupt(struct chip *c, u8 value) {
    u32 input = value & 7;

    if (!(value & 0x40)) {
        u32 rank = 0;
        while (rank < 8 && (!c->serving[c->order[rank]] || (c->special_mask && c->masked[c->order[rank]]))) rank++;
        if (rank == 8) return;
        input = c->order[rank];
    }
    c->serving[input] = false;
    if (value & 0x80) lower(c, input);
}

static void initialise(struct chip *c, u8 value) {
    struct chip old = *c;

    *c = (struct chip){.base = old.base, .single = value & 2, .icw4 = value & 1, .awaits = 2};
    for (u32 i = 0; i < 8; i++) {
        c->order[i] = (u8)i;
        c->line[i] = old.line[i];
        c->level[i] = old.level[i];
    }
}

static void model_even(struct chip *c, u8 value) {
    if (value & 0x10)
        initialise(c, value);
    else if ((value & 0x48) == 0x48)
        c->special_mask = value & 0x20;
    else if ((value & 0x28) == 0x20)
        end_of_interrupt(c, value);
    else if ((value & 0xf8) == 0xc0)
        lower(c, value & 7);
    else if ((value & 0x78) == 0)
        c->rotates = value & 0x80;
}

static void model_odd(struct chip *c, u8 value) {
    if (c->awaits == 2) {
        c->base = value & 0xf8;
        c->awaits = c->single ? 4 : 3;
    } else if (c->awaits == 3) {
        c->awaits = 4;
    } else if (c->awaits == 4) {
        c->auto_eoi = value & 2;
        c->nested = value & 0x10;
        c->awaits = 0;
    } else {
        for (u32 i = 0; i < 8; i++) c->masked[i] = value >> i & 1;
    }
    if (c->awaits == 4 && !c->icw4) c->awaits = 0;
}

static u8 byte(const bool bits[8]) {
    u32 value = 0;

    for (u32 i = 0; i < 8; i++) value |= (u32)bits[i] << i;
    return (u8)value;
}

/* IRR, ISR and IMR by the ports, of a copy whose selection may change. */
static void check_registers(u32 which) {
    struct vpic copy = pic;
    const struct chip *c = &model[which];
    u16 port = which ? VPIC_SLAVE_PORT : VPIC_MASTER_PORT;
    bool request[8];

    for (u32 i = 0; i < 8; i++) request[i] = c->level[i] ? c->line[i] : c->risen[i];
    copy.chip[which].poll = false;
    vpic_write(&copy, port, 0x0a, &quiet);
    REQUIRE(vpic_read(&copy, port, &quiet) == byte(request));
    vpic_write(&copy, port, 0x0b, &quiet);
    REQUIRE(vpic_read(&copy, port, &quiet) == byte(c->serving));
    REQUIRE(vpic_read(&copy, port + 1, &quiet) == byte(c->masked));
    REQUIRE(vpic_read(&copy, VPIC_ELCR_PORT + (u16)which, &quiet) == byte(c->level));
}

static void check(void) {
    drive(model, VPIC_CASCADE, candidate(&model[1]) != NOBODY);
    REQUIRE(pin == pic.intr && pin == (candidate(&model[0]) != NOBODY));
    check_registers(0);
    check_registers(1);
}

static void poll(u32 which) {
    u16 port = which ? VPIC_SLAVE_PORT : VPIC_MASTER_PORT;
    u32 i;

    vpic_write(&pic, port, 0x0c, &host);
    i = acknowledge(&model[which]);
    REQUIRE(vpic_read(&pic, port, &host) == (i == NOBODY ? 0 : 0x80 | i));
}

static void step(struct input *in) {
    u32 what = (u32)take(in, 1), where = (u32)take(in, 1), which = where & 1;
    u8 value = (u8)take(in, 1);
    u16 port = which ? VPIC_SLAVE_PORT : VPIC_MASTER_PORT;
    static const u8 elcr[2] = {0xf8, 0xde}; /* the others are edge triggered */

    switch (what & 7) {
    case 0 ... 2:
        vpic_set_line(&pic, where & 31, value & 1, &host);
        if ((where & 31) < 16 && (where & 31) != VPIC_CASCADE) drive(&model[where >> 3 & 1], where & 7, value & 1);
        break;
    case 3: REQUIRE(vpic_ack(&pic, &host) == model_ack()); break;
    case 4:
        if ((value & 0x1c) == 0x0c) value &= (u8)~4u; /* polls are below */
        vpic_write(&pic, port, value, &host);
        model_even(&model[which], value);
        break;
    case 5:
        vpic_write(&pic, port + 1, value, &host);
        model_odd(&model[which], value);
        break;
    case 6: poll(which); break;
    default:
        vpic_write(&pic, VPIC_ELCR_PORT + (u16)which, value, &host);
        for (u32 i = 0; i < 8; i++) model[which].level[i] = value & elcr[which] & 1u << i;
        break;
    }
    check();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};

    vpic_reset(&pic, 0);
    pin = false;
    for (u32 which = 0; which < 2; which++) {
        model[which] = (struct chip){.base = which ? 0x70 : 0x08};
        for (u32 i = 0; i < 8; i++) {
            model[which].order[i] = (u8)i;
            model[which].masked[i] = true;
        }
    }
    check();
    while (in.left >= 3) step(&in);
    return 0;
}
