/* An IOAPIC under an arbitrary guest, alone. Input: records of four bytes: operation, pin or
 * register, and a value. Holds: no message from a masked pin, at most one per pin and call, and
 * each says what the entry says; an entry keeps its reserved bits clear; remote IRR stands in level
 * entries only, is set by a message that a local APIC accepts and cleared by an EOI of the vector;
 * an asserted, open level pin never stays without a message, and one that nobody has accepted comes
 * again when its entry is written. */
#include "core/base/bits.h"
#include "core/vdev/vioapic.h"
#include "test/fuzz/fuzz.h"

#define RED_IRR    BIT(14)
#define RED_LEVEL  BIT(15)
#define RED_MASKED BIT(16)
#define RESERVED   0x00fffffffffe1000ull /* with delivery status, which is always idle */

static struct vioapic io;
static u32 sent[256]; /* messages of the current call by vector */
static bool refusing; /* the local APICs accept nothing */
static u32 served;    /* pins with remote IRR, before the current call */

static bool is_level(u64 entry) {
    u64 mode = entry >> 8 & 7;

    return (entry & RED_LEVEL) && mode < 2;
}

static bool on_message(void *ctx, const struct apic_msg *msg) {
    bool found = false;

    (void)ctx;
    for (u32 pin = 0; pin < VIOAPIC_PINS; pin++) {
        u64 entry = io.redirection[pin];

        found = found || (!(entry & RED_MASKED) && (u8)entry == msg->vector && entry >> 56 == msg->dest &&
                          (entry >> 8 & 7) == (u64)msg->delivery && !(entry & BIT(11)) == !msg->logical &&
                          is_level(entry) == msg->level);
    }
    REQUIRE(found);
    REQUIRE(msg->delivery != APIC_SMI && msg->assert && msg->shorthand == APIC_DEST);
    sent[msg->vector]++;
    return !refusing;
}

/* The pin is idle already, and no longer in service. */
static void on_eoi(void *ctx, u32 pin) {
    (void)ctx;
    REQUIRE((io.pci & BIT(pin)) && (io.edge & BIT(pin)) && !(io.redirection[pin] & RED_IRR));
}

static const struct vdev_host host = {.apic_msg = on_message, .eoi = on_eoi};

static void check(void) {
    u32 now = 0;

    for (u32 pin = 0; pin < VIOAPIC_PINS; pin++) {
        u64 entry = io.redirection[pin], mode = entry >> 8 & 7;
        bool asserted = (io.line >> pin & 1) != 0;

        REQUIRE((entry & RESERVED) == 0);
        REQUIRE(!(entry & RED_IRR) || is_level(entry));
        REQUIRE(asserted == (!(io.edge >> pin & 1) == !!(entry & BIT(13))));
        if (is_level(entry) && asserted && !(entry & RED_MASKED) && mode < 2 && !refusing) REQUIRE(entry & RED_IRR);
        now |= entry & RED_IRR ? (u32)BIT(pin) : 0;
    }
    if (refusing) REQUIRE((now & ~served) == 0);
    served = now;
    REQUIRE(io.line >> VIOAPIC_PINS == 0 && io.edge >> VIOAPIC_PINS == 0);
    for (u32 i = 0; i < ARRAY_SIZE(sent); i++) {
        REQUIRE(sent[i] <= VIOAPIC_PINS);
        sent[i] = 0;
    }
}

static void write_window(u32 reg, u32 value) {
    vioapic_write(&io, 0, reg, &host);
    REQUIRE(vioapic_read(&io, 0) == (reg & 0xff));
    vioapic_write(&io, 0x10, value, &host);
    if (reg == 0) REQUIRE(vioapic_read(&io, 0x10) == (value & 0x0f000000));
}

static void step(struct input *in) {
    u32 what = (u32)take(in, 1), which = (u32)take(in, 1), value = (u32)take(in, 2);

    switch (what & 7) {
    case 0 ... 1: /* vector, mode, polarity, trigger; the mask by a bit of its own */
        write_window(0x10 + 2 * (which % 26), value | (what & 8 ? 0x10000 : 0));
        break;
    case 2: write_window(0x11 + 2 * (which % 26), value << 16); break;
    case 3: write_window(which, value << 16 | value); break;
    case 4 ... 5: vioapic_set_line(&io, which % 32, value & 1, &host); break;
    case 6:
        vioapic_eoi(&io, (u8)value, &host);
        if (!(what & 8)) break;
        check();
        /* Ready again: each entry is written as it is. */
        refusing = !refusing;
        for (u32 pin = 0; pin < VIOAPIC_PINS && !refusing; pin++) {
            write_window(0x10 + 2 * pin, (u32)io.redirection[pin]);
            for (u32 i = 0; i < ARRAY_SIZE(sent); i++) sent[i] = 0;
        }
        break;
    default:
        vioapic_write(&io, which, value, &host);
        (void)vioapic_read(&io, value & 0xfff);
        break;
    }
    check();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};

    refusing = false;
    served = 0;
    vioapic_reset(&io, (u32)take(&in, 1));
    io.pci = (u32)take(&in, 1) << 16;
    /* Inputs start low, and so does the model after reset. */
    while (in.left >= 4) step(&in);
    return 0;
}
