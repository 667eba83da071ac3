/* Controls another partition by the control device, and tells what it saw: a list, a stop, a start, a restart, orders
 * that are refused, noise on the port, a flood of orders; at the end the other one is stopped.
 *
 * Options: target= the partition to control; other= one that is there and not granted; floods= orders of the flood
 * (200); noise= bytes (5000). */
#include "core/base/bits.h"
#include "core/base/string.h"
#include "guests/lib/guest.h"
#include "guests/lib/noise.h"

#define PORT     0x2f8
#define LSR      (PORT + 5)
#define LSR_DR   0x01
#define LSR_THRE 0x20

static char target[32], other[32], answer[8192];
static u32 checks, failed;

static void port_init(void) {
    out8(PORT + 4, 0x03);
    out8(PORT + 3, 0x03);
    out8(PORT + 1, 0);
    out8(PORT + 2, 0x07);
}

static void send(const char *text) {
    for (; *text; text++) {
        while (!(in8(LSR) & LSR_THRE)) cpu_pause();
        out8(PORT, (u8)*text);
    }
}

/* Sends a command and reads up to its last line. Returns that one, which begins with `ok` or `error:`. */
static const char *command(const char *verb, const char *name) {
    u32 n = 0, line = 0;

    send(verb);
    send(" ");
    send(name);
    send("\n");
    for (;;) {
        while (!(in8(LSR) & LSR_DR)) cpu_pause();
        answer[n] = (char)in8(PORT);
        if (n < sizeof(answer) - 2) n++;
        if (answer[n - 1] != '\n') continue;
        answer[n] = 0;
        if (str_starts(answer + line, "ok") || str_starts(answer + line, "error:")) return answer + line;
        line = n;
    }
}

static void check(bool good, const char *what) {
    checks++;
    failed += !good;
    print("control: %s %s\n", what, good ? "ok" : "FAIL");
    if (!good) print("control: the last answer was: %s\n", answer);
}

static bool says(const char *verb, const char *name, const char *end) { return str_starts(command(verb, name), end); }

/* The answer to `status target` has a line that begins so. */
static const char *status_line(const char *begin) {
    char *text = answer;

    (void)command("status", target);
    for (; *text; text++)
        if ((text == answer || text[-1] == '\n') && str_starts(text, begin)) return text + strlen(begin);
    return NULL;
}

/* For ever, if it never is: the test has the patience. */
static void wait_state(const char *state) {
    char begin[80];

    fmt(begin, sizeof(begin), "partition %s %s ", target, state);
    while (!status_line(begin)) delay_us(1000);
}

static u64 port_exits(void) {
    const char *text = status_line("vcpu 0 io ");
    u64 count = 0;

    for (; text && *text >= '0' && *text <= '9'; text++) count = count * 10 + (u64)(*text - '0');
    return count;
}

/* Until it has printed its first line: some 60 characters, two exits each. */
static void wait_first_line(u64 before) {
    while (port_exits() < before + 100) delay_us(1000);
}

static void cycle(void) {
    u64 count;

    wait_state("running");
    wait_first_line(0);
    print("control: list: %s\n", says("list", "", "ok") ? answer : "nothing");
    check(says("stop", target, "ok"), "stop");
    wait_state("stopped");
    check(status_line("ended stopped") != NULL, "stopped");
    count = port_exits();
    delay_us(50000);
    check(port_exits() == count, "silent");
    check(says("stop", target, "error: it does not run"), "stop again");
    check(says("start", target, "ok"), "start");
    wait_state("running");
    wait_first_line(count);
    check(says("start", target, "error: it runs already"), "start again");
    count = port_exits();
    check(says("restart", target, "ok"), "restart");
    wait_state("running");
    wait_first_line(count);
    check(status_line("ended restarted") != NULL, "restarted");
}

static void denied(void) {
    static const char *const verbs[] = {"stop", "start", "restart", "status"};
    bool all = true;

    for (u32 i = 0; i < ARRAY_SIZE(verbs); i++)
        all &= says(verbs[i], other, "error: there is no such partition") &&
               says(verbs[i], "none", "error: there is no such partition");
    check(all, "not granted");
    (void)command("list", "");
    check(str_starts(answer, "partition ") && str_starts(answer + 10, target), "not seen");
}

static void drain(void) {
    while (in8(LSR) & LSR_DR) (void)in8(PORT);
}

/* Noise to every register, of which the data register has most. */
static void make_noise(u64 bytes) {
    for (u64 i = 0; i < bytes; i++) {
        u64 n = noise();

        if (i % 16 == 0)
            out8((u16)(PORT + (n & 7)), (u8)(n >> 8));
        else
            out8(PORT, n & 0xf00 ? (u8)n : '\n');
        if (n >> 16 & 1) (void)in8((u16)(PORT + (n >> 24 & 7)));
    }
    port_init();
    drain(); /* until its answers have been read, the device takes nothing */
    send("\n");
    drain();
    check(says("list", "", "ok"), "after noise");
}

static void flood(u64 orders) {
    u64 taken = 0;

    for (u64 i = 0; i < orders; i++) taken += says(i % 2 ? "start" : "stop", target, "ok");
    print("control: flood orders %lu taken %lu\n", orders, taken);
    while (!says("stop", target, "ok") && !status_line("ended stopped")) delay_us(1000);
    wait_state("stopped");
    check(taken > 0 && taken < orders, "flood");
}

void guest_main(void) {
    (void)option_text("target", target, sizeof(target));
    (void)option_text("other", other, sizeof(other));
    port_init();
    cycle();
    denied();
    make_noise(option_number("noise", 5000));
    flood(option_number("floods", 200));
    print("control: done checks %u failed %u\n", checks, failed);
}
