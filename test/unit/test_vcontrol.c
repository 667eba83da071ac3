/* core/vdev/vcontrol.c: the language, flow control of long answers, lines that are too long, echoes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/vdev/vcontrol.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static struct {
    struct vcontrol c;
    struct control_view views[3];
    bool granted[3];
    u32 ordered, target; /* the last order */
    const char *refuse;
    u64 exits[100][EXIT_REASONS];
} f;

static bool look(void *ctx, u32 i, struct control_view *out) {
    assert_ptr_equal(&f, ctx);
    *out = f.views[i];
    return f.granted[i];
}
static const char *reason_name(enum exit_reason reason) {
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    return names[reason];
}
static const char *order(void *ctx, u32 i, enum control_order wish) {
    (void)ctx;
    f.ordered = wish;
    f.target = i;
    return f.refuse;
}
static const struct vcontrol_host host = {&f, 3, look, reason_name, order};

static int fresh(void **state) {
    (void)state;
    memset(&f, 0, sizeof(f));
    f.views[0] = (struct control_view){"one", CONTROL_RUNNING, ORDER_NONE, 1, 0, "never", NULL};
    f.views[1] = (struct control_view){"two", CONTROL_CRASHED, ORDER_NONE, 2, 7, "crashed", NULL};
    f.views[2] = (struct control_view){"three", CONTROL_RUNNING, ORDER_NONE, 1, 0, "never", NULL};
    f.granted[1] = f.granted[2] = true;
    for (u32 i = 0; i < 3; i++) f.views[i].exits = f.exits;
    for (u32 i = 0; i < 100; i++)
        for (u32 k = 0; k < 5; k += 2) f.exits[i][k] = 100 * i + k;
    vcontrol_reset(&f.c, &host);
    return 0;
}

/* As a program does it that polls. */
static void send(const char *text) {
    for (; *text; text++) {
        assert_true(vcontrol_read(&f.c, LSR) & 0x20);
        vcontrol_write(&f.c, DATA, (u8)*text);
    }
}
static const char *receive(void) {
    static char text[100000];
    u32 n = 0;

    while (vcontrol_read(&f.c, LSR) & 1) {
        assert_true(n < sizeof(text) - 1);
        text[n++] = (char)vcontrol_read(&f.c, DATA);
    }
    text[n] = 0;
    return text;
}
static void expect(const char *command, const char *answer) {
    send(command);
    assert_string_equal(answer, receive());
}

static void test_list(void **state) {
    (void)state;
    expect("list\n", "partition two crashed vcpus 2 restarts 7\npartition three running vcpus 1 restarts 0\nok\n");
    f.views[1].state = CONTROL_STOPPED;
    f.views[2].order = ORDER_STOP;
    expect("list\r\n", "partition two stopped vcpus 2 restarts 7\npartition three stopping vcpus 1 restarts 0\nok\n");
    f.granted[1] = false;
    f.views[2].order = ORDER_RESTART;
    expect("  list  \n", "partition three restarting vcpus 1 restarts 0\nok\n");
    f.granted[2] = false;
    expect("list\n", "ok\n");
}

static void test_status(void **state) {
    (void)state;
    f.views[1].order = ORDER_START;
    expect("status two\n", "partition two starting vcpus 2 restarts 7\nended crashed\n"
                           "vcpu 0 c 2\nvcpu 0 e 4\nvcpu 0 all 6\n"
                           "vcpu 1 a 100\nvcpu 1 c 102\nvcpu 1 e 104\nvcpu 1 all 306\nok\n");
    f.granted[1] = false;
    expect("status two\n", "error: there is no such partition to control; send list\n");
}

static void test_orders(void **state) {
    static const struct {
        const char *command;
        u32 order, target;
    } orders[] = {{"stop two\n", ORDER_STOP, 1},
                  {"start three\n", ORDER_START, 2},
                  {"restart two\n", ORDER_RESTART, 1},
                  {" stop   three \r", ORDER_STOP, 2}};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(orders); i++) {
        f.ordered = f.target = 0;
        expect(orders[i].command, "ok\n");
        assert_int_equal(orders[i].order, f.ordered);
        assert_int_equal(orders[i].target, f.target);
    }
    f.refuse = "not now; later";
    expect("stop two\n", "error: not now; later\n");
}

/* Nothing of these is an order, and what exists but is not granted is not told from what does not exist. */
static void test_refused(void **state) {
    static const char *const none[] = {"stop one\n",  "start one\n", "restart one\n", "status one\n",
                                       "stop zero\n", "stop Two\n",  "stop tw\n",     "stop two2\n"};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(none); i++)
        expect(none[i], "error: there is no such partition to control; send list\n");
    expect("stop\n", "error: one partition must be named; send help\n");
    expect("stop two three\n", "error: one partition must be named; send help\n");
    expect("list two\n", "error: nothing can follow this command; send help\n");
    expect("STOP two\n", "error: unknown command; send help\n");
    expect("stop\ttwo\n", "error: unknown command; send help\n");
    expect("st\x80p two\n", "error: unknown command; send help\n");
    expect("\n\r\n   \n", "");
    assert_int_equal(ORDER_NONE, f.ordered);
}

static void test_help(void **state) {
    (void)state;
    expect("help\n",
           "usage list\nusage status NAME\nusage stop NAME\nusage start NAME\nusage restart NAME\nusage help\n"
           "ok\n");
}

/* A terminal that echoes gives everything back; that has to come to rest. */
static void test_echo(void **state) {
    static const char *const commands[] = {"list\n", "status two\n", "help\n", "stop two\n", "nonsense\n"};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(commands); i++) {
        char said[1000];

        send(commands[i]);
        strcpy(said, receive());
        assert_true(strlen(said));
        expect(said, "");
    }
}

/* Of a line that is too long nothing is obeyed, not what it begins with either. */
static void test_long_lines(void **state) {
    char text[300];

    (void)state;
    memset(text, ' ', sizeof(text));
    memcpy(text, "stop two", 8);
    text[63] = '\n';
    text[64] = 0;
    expect(text, "ok\n");
    f.ordered = 0;
    text[63] = ' ';
    strcpy(text + 64, "\n");
    expect(text, "error: the line is longer than 63 characters; send help\n");
    memset(text, 'x', 290);
    strcpy(text + 290, "\nlist\n");
    send(text);
    assert_non_null(strstr(receive(), "send help\npartition two"));
    assert_int_equal(ORDER_NONE, f.ordered);
}

/* The answer is longer than all buffers: it waits for the reader, and so do the next commands, as THRE says. */
static void test_flow_control(void **state) {
    u32 sent = 0, lines = 0;
    const char *said;

    (void)state;
    f.views[2].vcpus = 100;
    send("status three\n");
    while (vcontrol_read(&f.c, LSR) & 0x20) {
        vcontrol_write(&f.c, DATA, '\n');
        sent++;
    }
    assert_true(sent >= VUART_FIFO && sent <= sizeof(f.c.in_data));
    assert_true(ring_used(&f.c.out) == sizeof(f.c.out_data));
    for (u32 i = 0; i < 1000; i++) vcontrol_write(&f.c, DATA, 'x'); /* against THRE: lost */
    said = receive();
    assert_non_null(strstr(said, "\nvcpu 99 e 9904\nvcpu 99 all 29706\nok\n"));
    for (; *said; said++) lines += *said == '\n';
    assert_int_equal(2 + 2 + 1 + 99 * 4 + 1, lines); /* vcpu 0 has no exit of the first kind */
    assert_true(vcontrol_read(&f.c, LSR) & 0x20);
    vcontrol_write(&f.c, DATA, '\n');
    receive();
    expect("list\n", "partition two crashed vcpus 2 restarts 7\npartition three running vcpus 100 restarts 0\nok\n");
}

/* The grant goes while an answer is being given: nothing more of it. */
static void test_reset(void **state) {
    (void)state;
    f.views[2].vcpus = 100;
    send("status three\nli");
    f.granted[2] = false;
    assert_null(strstr(receive(), "vcpu 99"));
    send("status two\nst");
    vcontrol_reset(&f.c, &host);
    assert_false(vcontrol_read(&f.c, LSR) & 1);
    expect("help\n",
           "usage list\nusage status NAME\nusage stop NAME\nusage start NAME\nusage restart NAME\nusage help\n"
           "ok\n");
}

static void test_interrupt(void **state) {
    (void)state;
    vcontrol_write(&f.c, IER, 1);
    assert_false(vuart_intr(&f.c.uart));
    send("stop two\n");
    assert_true(vuart_intr(&f.c.uart));
    receive();
    assert_false(vuart_intr(&f.c.uart));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_list, fresh),       cmocka_unit_test_setup(test_status, fresh),
        cmocka_unit_test_setup(test_orders, fresh),     cmocka_unit_test_setup(test_refused, fresh),
        cmocka_unit_test_setup(test_help, fresh),       cmocka_unit_test_setup(test_echo, fresh),
        cmocka_unit_test_setup(test_long_lines, fresh), cmocka_unit_test_setup(test_flow_control, fresh),
        cmocka_unit_test_setup(test_reset, fresh),      cmocka_unit_test_setup(test_interrupt, fresh),
    };

    return cmocka_run_group_tests_name("vcontrol", tests, NULL, NULL);
}
