/* The keyboard controller under an arbitrary guest, beside a table of what its commands do. Input: records of two
 * bytes: operation, value. Holds: an answer waits exactly after a command that gives one, is read once and stays
 * readable; the status says so, whose it is, and which port was written last, and reading it changes nothing; a command
 * that takes a byte takes the next one and no other; the command byte, the output port and port 0x92 read as written; a
 * reset is asked for exactly by the writes that mean it. Source: IBM PS/2 Hardware Interface Technical Reference,
 * Keyboard and Auxiliary Device Controller; ICH9 datasheet, PORT92. */
#include <string.h>

#include "core/vdev/vkbc.h"
#include "test/fuzz/fuzz.h"

/* Status bits. */
enum { FULL = 0x01, INPUT_FULL = 0x02, SYSTEM = 0x04, COMMAND = 0x08, UNLOCKED = 0x10, MOUSE = 0x20, TIME_OUT = 0x40 };

static struct vkbc kbc;
static u32 asked;
/* The model's. waiting: the status bits of the answer; taker: the command that takes the next byte at 0x60. */
static u8 command_byte, output, answer, waiting, taker, port92;
static bool to_command;
static u32 resets;

static void on_power(void *ctx, enum power_request request) {
    (void)ctx;
    REQUIRE(request == POWER_RESET);
    asked++;
}
static const struct vdev_host host = {.power = on_power};

static void gives(u8 value, u8 status) {
    answer = value;
    waiting = FULL | status;
}

static void model_command(u8 value) {
    static const struct {
        u8 command, set, clear;
    } bits[] = {{0xa7, 0x20, 0}, {0xa8, 0, 0x20}, {0xad, 0x10, 0}, {0xae, 0, 0x10}};

    to_command = true;
    taker = value && strchr("\x60\xd1\xd2\xd3\xd4", value) ? value : 0;
    for (u32 i = 0; i < 4; i++)
        if (bits[i].command == value) command_byte = (u8)((command_byte | bits[i].set) & ~bits[i].clear);
    if (value == 0x20) gives(command_byte, 0);
    if (value == 0xa9 || value == 0xab) gives(0, 0); /* no line is stuck */
    if (value == 0xc0) gives(0x80, 0);               /* not inhibited */
    if (value == 0xd0) gives(output, 0);
    if (value == 0xaa) { /* passed: the system flag, and both devices disabled */
        command_byte = 0x34;
        gives(0x55, 0);
    }
    if (value == 0xdd) output &= (u8)~2;
    if (value == 0xdf) output |= 2;
    if (value >= 0xf0) resets += !(value & 1);
}

static void model_data(u8 value) {
    switch (taker) {
    case 0x60: command_byte = value; break;
    case 0xd1:
        output = value;
        resets += !(value & 1);
        break;
    case 0xd2: gives(value, 0); break;
    case 0xd3: gives(value, MOUSE); break;
    case 0xd4: gives(0xfe, MOUSE | TIME_OUT); break; /* nobody is there */
    default: gives(0xfe, TIME_OUT); break;
    }
    taker = 0;
    to_command = false;
}

static void write(u16 port, u8 value) {
    vkbc_write(&kbc, port, value, &host);
    if (port == VKBC_COMMAND_PORT) {
        model_command(value);
    } else if (port == VKBC_DATA_PORT) {
        model_data(value);
    } else {
        resets += value & ~port92 & 1;
        port92 = value & 3;
    }
}

static void check(void) {
    struct vkbc before = kbc;
    u8 status = vkbc_read(&kbc, VKBC_COMMAND_PORT);

    REQUIRE(status == (UNLOCKED | (command_byte & SYSTEM) | (to_command ? COMMAND : 0) | waiting));
    REQUIRE(vkbc_read(&kbc, VKBC_PORT92) == port92);
    REQUIRE(!memcmp(&before, &kbc, sizeof(kbc)));
    REQUIRE(asked == resets);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    static const u16 ports[] = {VKBC_COMMAND_PORT, VKBC_DATA_PORT, VKBC_COMMAND_PORT, VKBC_PORT92};
    struct input in = {data, size};

    vkbc_reset(&kbc);
    asked = resets = 0;
    command_byte = 0x34;
    output = 0xcf; /* no reset, A20, lines idle */
    port92 = 2;
    answer = waiting = taker = 0;
    to_command = true;
    check();
    while (in.left >= 2) {
        u32 what = (u32)take(&in, 1);
        u8 value = (u8)take(&in, 1);

        if (what & 4) {
            REQUIRE(vkbc_read(&kbc, VKBC_DATA_PORT) == answer);
            waiting = 0;
        } else {
            write(ports[what & 3], value);
        }
        check();
    }
    return 0;
}
