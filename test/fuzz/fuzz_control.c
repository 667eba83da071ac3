/* The control device as an access sequence. The first byte says which partitions are granted; of the others, one below
 * 0x80 is sent as a character, with regard to the transmitter; 0xff reads all that there is; the rest access a
 * register. Nothing is done to a partition that is not granted, an order comes of its own words only, answers are lines
 * of printable text and never more than their buffer. */
#include "core/vdev/vcontrol.h"

#include <string.h>

#include "test/fuzz/fuzz.h"

#define PARTITIONS 4
#define VCPUS      6

static struct {
    struct vcontrol c;
    u8 granted;
    char sent[200]; /* the characters of the last lines */
    u32 orders;
    u32 checked; /* of what was answered */
} f;

static const char *const names[PARTITIONS] = {"a", "two", "control-loop", "n234567890123456789012345678901"};

/* Of the one with most; the others have the last one's. */
static u64 exits[VCPUS][EXIT_REASONS];

static bool look(void *ctx, u32 i, struct control_view *out) {
    (void)ctx;
    REQUIRE(i < PARTITIONS);
    if (!(f.granted >> i & 1)) return false;
    *out = (struct control_view){names[i],
                                 (enum control_state)((f.orders + i) % 6),
                                 (enum control_order)(f.orders / 8 % 4),
                                 i == 2 ? VCPUS : 1,
                                 f.orders,
                                 "powered off",
                                 exits + (i == 2 ? 0 : VCPUS - 1)};
    return true;
}
static const char *reason_name(enum exit_reason reason) {
    REQUIRE(reason < EXIT_REASONS);
    return "intr-window";
}
static const char *order(void *ctx, u32 i, enum control_order wish) {
    static const char *const verbs[] = {"", "stop", "start", "restart"};

    (void)ctx;
    REQUIRE(i < PARTITIONS && (f.granted >> i & 1));
    REQUIRE(wish == ORDER_STOP || wish == ORDER_START || wish == ORDER_RESTART);
    REQUIRE(strstr(f.sent, verbs[wish]) && strstr(f.sent, names[i]));
    return f.orders++ % 3 ? NULL : "it does not run; start starts it";
}

static void check(void) {
    const struct ring *out = &f.c.out;

    REQUIRE(ring_used(out) <= out->size && ring_used(&f.c.in) <= f.c.in.size);
    REQUIRE(f.c.length <= VCONTROL_LINE + 1 && f.c.at <= strlen(f.c.text) && strlen(f.c.text) < VCONTROL_TEXT - 1);
    while (f.checked != out->head) {
        u8 byte = out->data[f.checked++ & (out->size - 1)];

        REQUIRE(byte == '\n' || (byte >= ' ' && byte <= '~'));
    }
    REQUIRE(f.c.uart.used <= VUART_FIFO);
}

/* One is recorded before it may be obeyed. */
static void sent(u8 byte) {
    memmove(f.sent, f.sent + 1, sizeof(f.sent) - 2);
    f.sent[sizeof(f.sent) - 2] = byte ? (char)byte : '?';
}

static void access_register(u8 what, u8 value) {
    if (!(what & 8)) {
        (void)vcontrol_read(&f.c, what & 7);
        return;
    }
    /* What arrives: not the divisor, not in loopback, not into a full buffer. */
    if ((what & 7) == 0 && !(f.c.uart.lcr & 0x80) && !(f.c.uart.mcr & 0x10) && ring_free(&f.c.in)) sent(value);
    vcontrol_write(&f.c, what & 7, value);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    static const struct vcontrol_host host = {NULL, PARTITIONS, look, reason_name, order};
    struct input in = {data, size};

    f.granted = (u8)take(&in, 1);
    f.orders = f.checked = 0;
    memset(f.sent, 0, sizeof(f.sent));
    memset(f.sent, '?', sizeof(f.sent) - 1);
    for (u32 i = 0; i < VCPUS; i++)
        for (u32 k = 0; k < EXIT_REASONS; k++) exits[i][k] = k % 5 ? ~0ull >> k : 0;
    vcontrol_reset(&f.c, &host);
    while (in.left) {
        u8 what = (u8)take(&in, 1);

        if (what == 0xff) {
            for (u32 i = 0; i < 600 && (vcontrol_read(&f.c, 5) & 1); i++) (void)vcontrol_read(&f.c, 0);
        } else if (what & 0x80) {
            access_register(what, (u8)take(&in, 1));
        } else if (vcontrol_read(&f.c, 5) & 0x20) {
            access_register(8, what);
        }
        check();
    }
    return 0;
}
