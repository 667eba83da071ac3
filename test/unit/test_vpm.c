/* core/vdev/vpm.c against the ACPI specification, ACPI Hardware Specification; and vkbc.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/vdev/vclock.h"
#include "core/vdev/vkbc.h"
#include "core/base/bits.h"
#include "core/vdev/vpm.h"

#define TOGGLE_NS ((u64)599932015941) /* 2^31 / 3579545 Hz, rounded up */

static void on_power(void *ctx, enum power_request request) {
    u32 *calls = ctx;
    calls[request]++;
}

static u32 calls[3];
static const struct vdev_host host = {.ctx = calls, .power = on_power};

static int clear_calls(void **state) {
    (void)state;
    calls[POWER_RESET] = calls[POWER_OFF] = 0;
    return 0;
}

/* Power Management Timer. */
static void test_timer(void **state) {
    struct vpm p;

    (void)state;
    vpm_reset(&p);
    assert_int_equal(0, vpm_timer(0));
    assert_int_equal(VPM_TIMER_HZ, vpm_timer(NS_PER_SECOND));
    u64 now = 100000 * NS_PER_SECOND;
    u32 value = (u32)(100000ull * VPM_TIMER_HZ);
    assert_int_equal(value, vpm_timer(now));
    for (u16 i = 0; i < 4; i++) assert_int_equal(value >> (8 * i) & 0xff, vpm_read(&p, (u16)(VPM_TIMER_PORT + i), now));
    vpm_write(&p, VPM_TIMER_PORT, 0xff, now, &host);
    assert_int_equal(value, vpm_timer(now));
}

/* PM1 Status and Enable Registers: TMR_STS with every change of the MSB, SCI, write 1 to clear. */
static void test_timer_status(void **state) {
    struct vpm p;

    (void)state;
    vpm_reset(&p);
    assert_true(vpm_deadline(&p) == NEVER);
    vpm_write(&p, 0x602, 0xff, 0, &host);
    vpm_write(&p, 0x603, 0xff, 0, &host);
    assert_int_equal(0x21, vpm_read(&p, 0x602, 0));
    assert_int_equal(0x07, vpm_read(&p, 0x603, 0));
    assert_int_equal(TOGGLE_NS, vpm_deadline(&p));
    vpm_tick(&p, TOGGLE_NS - 1);
    assert_false(vpm_sci(&p));
    vpm_tick(&p, TOGGLE_NS);
    assert_true(vpm_sci(&p));
    assert_int_equal(0x80000000u, vpm_timer(TOGGLE_NS));
    assert_true(vpm_deadline(&p) == NEVER);
    assert_int_equal(0x01, vpm_read(&p, 0x600, TOGGLE_NS));
    vpm_write(&p, 0x601, 0xff, TOGGLE_NS, &host); /* the other byte */
    vpm_write(&p, 0x600, 0xfe, TOGGLE_NS, &host);
    assert_true(vpm_sci(&p));
    vpm_write(&p, 0x600, 0x01, TOGGLE_NS, &host);
    assert_false(vpm_sci(&p));
    u64 second = vpm_deadline(&p);
    assert_int_equal(0, vpm_timer(second));
    assert_int_equal(0xffffffffu, vpm_timer(second - 1));
    vpm_write(&p, 0x602, 0x00, second, &host); /* status without enable */
    assert_false(vpm_sci(&p));
    assert_int_equal(0x01, vpm_read(&p, 0x600, second));
}

/* PM1 Control Registers. */
static void test_control(void **state) {
    struct vpm p;

    (void)state;
    vpm_reset(&p);
    assert_int_equal(0x01, vpm_read(&p, 0x604, 0));
    vpm_write(&p, 0x604, 0x06, 0, &host); /* GBL_RLS reads as 0, SCI_EN stays */
    assert_int_equal(0x03, vpm_read(&p, 0x604, 0));
    vpm_write(&p, 0x605, 0x14, 0, &host); /* type 5 alone */
    assert_int_equal(0x14, vpm_read(&p, 0x605, 0));
    assert_int_equal(0, calls[POWER_OFF]);
    vpm_write(&p, 0x605, 0x20 | 0x04, 0, &host); /* type 1: not declared */
    assert_int_equal(0, calls[POWER_OFF]);
    vpm_write(&p, 0x605, 0x20 | VPM_S5_TYPE << 2, 0, &host);
    assert_int_equal(1, calls[POWER_OFF]);
    assert_int_equal(0x14, vpm_read(&p, 0x605, 0)); /* SLP_EN is write only */
    assert_int_equal(0, calls[POWER_RESET]);
}

/* ICH9, RST_CNT. */
static void test_reset_control(void **state) {
    struct vpm p;

    (void)state;
    vpm_reset(&p);
    vpm_reset_write(&p, 0x02, &host);
    assert_int_equal(0x02, vpm_reset_read(&p));
    assert_int_equal(0, calls[POWER_RESET]);
    vpm_reset_write(&p, RESET_VALUE, &host);
    assert_int_equal(1, calls[POWER_RESET]);
    vpm_reset_write(&p, 0xf6, &host); /* no rising edge */
    assert_int_equal(1, calls[POWER_RESET]);
    assert_int_equal(0x06, vpm_reset_read(&p));
    vpm_reset(&p);
    vpm_reset_write(&p, 0x0e, &host);
    assert_int_equal(2, calls[POWER_RESET]);
}

static u8 kbc_command(struct vkbc *k, u8 command) {
    vkbc_write(k, 0x64, command, &host);
    assert_int_equal(0x1d, vkbc_read(k, 0x64));
    u8 value = vkbc_read(k, 0x60);
    assert_int_equal(0x1c, vkbc_read(k, 0x64));
    return value;
}

/* PS/2 Hardware Interface Technical Reference, Keyboard and Auxiliary Device Controller: Commands, Status Register. */
static void test_keyboard_controller(void **state) {
    struct vkbc k;

    (void)state;
    vkbc_reset(&k);
    assert_int_equal(0x1c, vkbc_read(&k, 0x64));
    assert_int_equal(0x00, vkbc_read(&k, 0x60));
    assert_int_equal(0x55, kbc_command(&k, 0xaa));
    assert_int_equal(0x00, kbc_command(&k, 0xab));
    assert_int_equal(0x00, kbc_command(&k, 0xa9));
    assert_int_equal(0x80, kbc_command(&k, 0xc0));
    vkbc_write(&k, 0x64, 0x60, &host);
    vkbc_write(&k, 0x60, 0x47, &host);
    assert_int_equal(0x14, vkbc_read(&k, 0x64));
    assert_int_equal(0x47, kbc_command(&k, 0x20));
    vkbc_write(&k, 0x64, 0xd2, &host);
    vkbc_write(&k, 0x60, 0x99, &host);
    assert_int_equal(0x15, vkbc_read(&k, 0x64));
    assert_int_equal(0x99, vkbc_read(&k, 0x60));
    vkbc_write(&k, 0x64, 0xd3, &host);
    vkbc_write(&k, 0x60, 0x98, &host);
    assert_int_equal(0x35, vkbc_read(&k, 0x64));
    assert_int_equal(0x98, vkbc_read(&k, 0x60));
    vkbc_write(&k, 0x60, 0xf4, &host); /* to the absent keyboard: a time-out */
    assert_int_equal(0x55, vkbc_read(&k, 0x64));
    assert_int_equal(0xfe, vkbc_read(&k, 0x60));
    assert_int_equal(0x14, vkbc_read(&k, 0x64));
    vkbc_write(&k, 0x64, 0xd4, &host); /* to the absent mouse */
    vkbc_write(&k, 0x60, 0xf4, &host);
    assert_int_equal(0x75, vkbc_read(&k, 0x64));
    assert_int_equal(0xfe, vkbc_read(&k, 0x60));
    /* Devices on and off: bits of the command byte. */
    static const u8 switches[][2] = {{0xad, 0x57}, {0xa7, 0x77}, {0xae, 0x67}, {0xa8, 0x47}};
    for (u32 i = 0; i < ARRAY_SIZE(switches); i++) {
        vkbc_write(&k, 0x64, switches[i][0], &host);
        assert_int_equal(0x1c, vkbc_read(&k, 0x64));
        assert_int_equal(switches[i][1], kbc_command(&k, 0x20));
    }
    assert_int_equal(0, calls[POWER_RESET]);
}

static void test_a20_and_reset(void **state) {
    struct vkbc k;

    (void)state;
    vkbc_reset(&k);
    assert_int_equal(0xcf, kbc_command(&k, 0xd0));
    vkbc_write(&k, 0x64, 0xdd, &host);
    assert_int_equal(0xcd, kbc_command(&k, 0xd0));
    vkbc_write(&k, 0x64, 0xdf, &host);
    assert_int_equal(0xcf, kbc_command(&k, 0xd0));
    vkbc_write(&k, 0x64, 0xd1, &host);
    vkbc_write(&k, 0x60, 0xdd, &host);
    assert_int_equal(0xdd, kbc_command(&k, 0xd0));
    vkbc_write(&k, 0x64, 0xff, &host); /* pulses no line */
    assert_int_equal(0, calls[POWER_RESET]);
    vkbc_write(&k, 0x64, 0xfe, &host);
    assert_int_equal(1, calls[POWER_RESET]);
    vkbc_write(&k, 0x64, 0xd1, &host);
    vkbc_write(&k, 0x60, 0xde, &host);
    assert_int_equal(2, calls[POWER_RESET]);
    assert_int_equal(0x02, vkbc_read(&k, 0x92));
    vkbc_write(&k, 0x92, 0xfc, &host);
    assert_int_equal(0x00, vkbc_read(&k, 0x92));
    vkbc_write(&k, 0x92, 0x03, &host);
    assert_int_equal(3, calls[POWER_RESET]);
    vkbc_write(&k, 0x92, 0x03, &host); /* no rising edge */
    assert_int_equal(3, calls[POWER_RESET]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_timer, clear_calls),
        cmocka_unit_test_setup(test_timer_status, clear_calls),
        cmocka_unit_test_setup(test_control, clear_calls),
        cmocka_unit_test_setup(test_reset_control, clear_calls),
        cmocka_unit_test_setup(test_keyboard_controller, clear_calls),
        cmocka_unit_test_setup(test_a20_and_reset, clear_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
