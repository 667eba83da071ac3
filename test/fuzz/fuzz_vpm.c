/* Random accesses to the PM registers and the reset control. Input: records of four bytes: operation, port, value,
 * time. Holds: the PM timer never runs backwards but at its 32nd bit, and goes as far as the time; TMR_STS is set
 * exactly by a change of its uppermost bit and cleared by writing a one only; the SCI is its status and enable, rises
 * no earlier than the deadline and not later; sleep and reset are asked for exactly by the writes that mean it. */
#include "core/vdev/vpm.h"
#include "test/fuzz/fuzz.h"

static struct vpm pm;
static u64 now;
static u32 asked_off, asked_reset;

static void on_power(void *ctx, enum power_request request) {
    (void)ctx;
    if (request == POWER_OFF)
        asked_off++;
    else
        asked_reset++;
}
static const struct vdev_host host = {.power = on_power};

static u32 read(u16 port, u32 bytes) {
    u32 value = 0;

    for (u32 i = 0; i < bytes; i++) value |= (u32)vpm_read(&pm, (u16)(port + i), now) << (8 * i);
    return value;
}

/* Lets time pass. */
static void pass(u64 ns) {
    u32 before = read(VPM_TIMER_PORT, 4), status = read(VPM_EVENT_PORT, 2), after;
    u64 deadline = vpm_deadline(&pm), ticks;
    bool sci = vpm_sci(&pm);

    now += ns;
    vpm_tick(&pm, now);
    after = read(VPM_TIMER_PORT, 4);
    ticks = (u64)((__uint128_t)ns * VPM_TIMER_HZ / 1000000000);
    REQUIRE(after - before - (u32)ticks <= 1);
    if (ticks < 1u << 31)
        REQUIRE(read(VPM_EVENT_PORT, 2) == (status | ((before ^ after) >> 31)));
    else
        REQUIRE(read(VPM_EVENT_PORT, 2) == (status | 1));
    REQUIRE(vpm_sci(&pm) == (sci || now >= deadline));
    REQUIRE(vpm_deadline(&pm) > now);
}

static void write(u16 port, u8 value) {
    u32 status = read(VPM_EVENT_PORT, 2), enable = read(VPM_EVENT_PORT + 2, 2), off = asked_off;
    u32 offset = (u32)port - VPM_EVENT_PORT, shift = 8 * (offset & 1), timer = read(VPM_TIMER_PORT, 4);

    vpm_write(&pm, port, value, now, &host);
    if (offset < 2) status &= ~((u32)value << shift);
    REQUIRE(read(VPM_EVENT_PORT, 2) == status); /* only its bit 0 is ever set */
    if (offset == 2 || offset == 3) enable = (enable & (0xff00u >> shift)) | ((u32)value << shift & 0x0721);
    REQUIRE(read(VPM_EVENT_PORT + 2, 2) == enable);
    REQUIRE((read(VPM_CONTROL_PORT, 2) & ~0x1c02u) == 1);
    REQUIRE(asked_off == off || (offset == 5 && (value & 0x3c) == 0x34));
    REQUIRE(asked_off != off || offset != 5 || (value & 0x3c) != 0x34);
    REQUIRE(read(VPM_TIMER_PORT, 4) == timer);
}

static void reset_control(u8 value) {
    u8 before = vpm_reset_read(&pm);
    u32 asked = asked_reset;

    vpm_reset_write(&pm, value, &host);
    REQUIRE(asked_reset - asked == (~before & value & 4) >> 2);
    REQUIRE(vpm_reset_read(&pm) == (value & 0x0e));
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};

    vpm_reset(&pm);
    now = 0;
    asked_off = asked_reset = 0;
    while (in.left >= 4) {
        u32 what = (u32)take(&in, 1);
        u16 port = (u16)(VPM_EVENT_PORT + take(&in, 1) % 12);
        u8 value = (u8)take(&in, 1);

        pass(take(&in, 1) << (what >> 2) % 40);
        if ((what & 3) == 1)
            write(port, value);
        else if ((what & 3) == 2)
            reset_control(value);
        REQUIRE(vpm_sci(&pm) == ((read(VPM_EVENT_PORT, 2) & read(VPM_EVENT_PORT + 2, 2)) != 0));
    }
    return 0;
}
