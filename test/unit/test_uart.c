/* drivers/uart.c by ports and by memory: what it writes to a 16550 and what it believes of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/cpu.h"
#include "drivers/uart.h"

#define PORT 0x2f8

static u8 ports[8]; /* registers as they were written; the line status is the test's */
static u32 writes[8];
static u8 debug_answer = 0xff, debug_byte;
static u32 debug_writes, pauses;
static bool deaf;

u32 fake_port_in(u16 port, u32 size) {
    assert_int_equal(1, size);
    if (port == 0xe9) return debug_answer;
    assert_true(port >= PORT && port < PORT + 8);
    return deaf ? 0xff : ports[port - PORT];
}

void fake_port_out(u16 port, u32 size, u32 value) {
    assert_int_equal(1, size);
    if (port == 0xe9) {
        debug_byte = (u8)value;
        debug_writes++;
        return;
    }
    assert_true(port >= PORT && port < PORT + 8);
    ports[port - PORT] = (u8)value;
    writes[port - PORT]++;
}

/* While somebody waits, the transmitter gets empty. */
void cpu_pause(void) {
    pauses++;
    ports[5] |= 0x40;
}

static int fresh(void **state) {
    (void)state;
    memset(ports, 0, sizeof(ports));
    memset(writes, 0, sizeof(writes));
    debug_answer = 0xff;
    debug_writes = pauses = 0;
    deaf = false;
    return 0;
}

static void assert_set_up(const u8 *registers) {
    assert_int_equal(1, registers[0]); /* divisor: 115200 */
    assert_int_equal(0, registers[1]);
    assert_int_equal(0x07, registers[2]);
    assert_int_equal(0x03, registers[3]); /* 8N1, divisor latch closed */
    assert_int_equal(0x0b, registers[4]);
}

static void test_ports(void **state) {
    u8 byte = 0;

    (void)state;
    assert_true(uart_init(PORT, NULL));
    assert_set_up(ports);
    assert_int_equal(PORT, uart_port());
    assert_true(uart_present());
    assert_int_equal(0, uart_room());
    ports[5] = 0x20;
    assert_int_equal(16, uart_room());
    uart_put('a');
    assert_int_equal('a', ports[0]);
    assert_int_equal(0, debug_writes);
    assert_false(uart_get(&byte));
    ports[5] = 1;
    ports[0] = 'b';
    assert_true(uart_get(&byte));
    assert_int_equal('b', byte);
    uart_receive_interrupt(true);
    assert_int_equal(1, ports[1]);
    uart_receive_interrupt(false);
    assert_int_equal(0, ports[1]);
    uart_flush();
    assert_int_equal(1, pauses);
}

static void test_memory(void **state) {
    u8 registers[10] = {0}, byte = 0;

    (void)state;
    registers[8] = registers[9] = 0x77;
    assert_true(uart_init(0, registers));
    assert_set_up(registers);
    assert_int_equal(0, uart_port());
    assert_true(uart_present());
    registers[5] = 0x21;
    assert_int_equal(16, uart_room());
    uart_put('c');
    assert_true(uart_get(&byte));
    assert_int_equal('c', byte);
    uart_receive_interrupt(true);
    assert_int_equal(1, registers[1]);
    registers[5] = 0x40;
    uart_flush();
    for (u32 i = 0; i < 8; i++) assert_int_equal(0, writes[i]);
    assert_int_equal(0x77, registers[8]);
    assert_int_equal(0x77, registers[9]);
}

/* Nobody there, by ports or at all: nothing is written to it, and nobody waits. The debug port is no part of it. */
static void test_absent(void **state) {
    u8 byte;

    (void)state;
    deaf = true;
    assert_false(uart_init(PORT, NULL));
    memset(writes, 0, sizeof(writes));
    for (u32 i = 0; i < 2; i++) {
        assert_false(uart_present());
        assert_int_equal(0, uart_port());
        assert_int_equal(16, uart_room());
        uart_put('a');
        assert_false(uart_get(&byte));
        uart_receive_interrupt(true);
        uart_flush();
        assert_false(uart_init(0, NULL));
    }
    for (u32 i = 0; i < 8; i++) assert_int_equal(0, writes[i]);
    assert_int_equal(0, debug_writes);
    debug_answer = 0xe9;
    assert_false(uart_init(0, NULL));
    uart_put('z');
    assert_int_equal('z', debug_byte);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ports, fresh),
        cmocka_unit_test_setup(test_memory, fresh),
        cmocka_unit_test_setup(test_absent, fresh),
    };

    return cmocka_run_group_tests_name("uart", tests, NULL, NULL);
}
