/* Two partitions on five cores, one of three vCPUs: start of the others, messages between them, end and restart, the
 * console's focus. */
#include "test/fake/core_fixture.h"
#include "core/base/log.h"
#include "core/console.h"
#include "core/traps.h"
#include "drivers/lapic.h"
#include "drivers/screen.h"

static const char config[] =
    "[machine]\nconsole = \"com1\"\nfocus = \"two\"\n"
    "[partition.one]\ncpus = [0, 2, 3]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\nload = 0x100000\n"
    "entry = 0x100000\nrestart = { on = \"always\" }\n"
    "[partition.two]\ncpus = [1]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\n"
    "load = 0x100000\nentry = 0x100000\nrestart = { on = \"crash\", limit = 2 }\n";

static int setup(void **state) {
    (void)state;
    hardware_make();
    return fake_boot(config, 5, MIB(32)) == STOP_SCRIPT ? 0 : -1;
}

static void icr(struct vcpu *from, u32 dest, u32 low) {
    const struct vm_exit exit = EXIT(WRMSR, .length = 2);

    from->hw.gpr[CX] = 0x830;
    from->hw.gpr[AX] = low;
    from->hw.gpr[DX] = dest;
    assert_int_equal(STOP_SCRIPT, fake_play(from, &exit, 1));
}
static void use_x2apic(struct vcpu *vcpu) {
    const struct vm_exit exit = EXIT(WRMSR, .length = 2);

    vcpu->hw.gpr[CX] = MSR_APIC_BASE;
    vcpu->hw.gpr[AX] = 0xfee00c00 | (vcpu->index ? 0 : 0x100);
    vcpu->hw.gpr[DX] = 0;
    assert_int_equal(STOP_SCRIPT, fake_play(vcpu, &exit, 1));
}
static struct fake_vcpu *started(u32 index) {
    struct vcpu *other = fake_vcpu(index);

    use_x2apic(v);
    icr(v, index, 0x4500);
    icr(v, index, 0x4608);
    assert_int_equal(STOP_SCRIPT, fake_play(other, NULL, 0));
    return fake_of(&other->hw);
}

static void test_sipi(void **state) {
    struct fake_vcpu *other;
    u32 resets;

    (void)state;
    assert_int_equal(VCPU_WAIT_SIPI, fake_vcpu(1)->state);
    assert_int_equal(STOP_IDLE, fake_play(fake_vcpu(1), NULL, 0));
    use_x2apic(v);
    icr(v, 1, 0x4500); /* INIT */
    assert_int_equal(1, fake_hw.kicks);
    assert_int_equal(fake_vcpu(1)->host_apic, fake_hw.kicked_apic);
    assert_int_equal(STOP_IDLE, fake_play(fake_vcpu(1), NULL, 0));
    icr(v, 1, 0x4608); /* STARTUP at 8 << 12 */
    assert_int_equal(STOP_SCRIPT, fake_play(fake_vcpu(1), NULL, 0));
    other = fake_of(&fake_vcpu(1)->hw);
    assert_int_equal(0, other->reg[REG_RIP]);
    assert_int_equal(0x8000, other->seg[VSEG_CS].base);
    assert_int_equal(0x800, other->seg[VSEG_CS].selector);
    resets = other->resets;
    other->reg[REG_RIP] = 0x1234;
    icr(v, 1, 0x4609); /* a second one says nothing to a vCPU that runs */
    assert_int_equal(STOP_SCRIPT, fake_play(fake_vcpu(1), NULL, 0));
    assert_int_equal(0x1234, other->reg[REG_RIP]);
    icr(v, 1, 0x4500); /* INIT stops it */
    assert_int_equal(STOP_IDLE, fake_play(fake_vcpu(1), NULL, 0));
    assert_int_equal(resets + 1, other->resets);
    assert_int_equal(VCPU_WAIT_SIPI, fake_vcpu(1)->state);
}

static void test_messages(void **state) {
    struct fake_vcpu *other = started(2);

    (void)state;
    other->taken.type = EVENT_NONE;
    icr(v, 2, 0x4400); /* NMI */
    assert_int_equal(STOP_SCRIPT, fake_play(fake_vcpu(2), NULL, 0));
    assert_int_equal(EVENT_NMI, other->taken.type);
    set_firmware(true);
    icr(v, 0xffffffff, 0x4500); /* INIT to all: the first vCPU too */
    go_on();
    assert_int_equal(0xfff0, f->reg[REG_RIP]);
    assert_int_equal(STOP_IDLE, fake_play(fake_vcpu(2), NULL, 0));
    icr(v, 77, 0x4400); /* nobody */
    assert_int_equal(0, fake_of(&fake_partition(1)->vcpus[0]->hw)->taken_count);
}

/* A board's device, used by another vCPU than the one that keeps its timers. */
static void test_board_deadline(void **state) {
    const struct vm_exit exits[] = {EXIT(IO, .length = 1, .io = {.port = 0x21, .size = 1}), /* opens line 0 */
                                    EXIT(IO, .length = 1, .io = {.port = 0x43, .size = 1}),
                                    EXIT(IO, .length = 1, .io = {.port = 0x40, .size = 1}),
                                    EXIT(IO, .length = 1, .io = {.port = 0x40, .size = 1})};

    (void)state;
    started(1);
    go_on();
    assert_int_equal(0, v->requests);
    fake_vcpu(1)->hw.gpr[AX] = 0x34;
    assert_int_equal(STOP_SCRIPT, fake_play(fake_vcpu(1), exits, 4));
    assert_true(v->requests & REQUEST_BOARD);
    go_on();
    assert_int_equal(0, v->requests);
    assert_true(fake_hw.timer != NEVER);
}

/* A level interrupt that ends at a local APIC reaches the IOAPIC. */
static void test_eoi(void **state) {
    const struct vm_exit exit = EXIT(WRMSR, .length = 2);

    (void)state;
    use_x2apic(v);
    partition_ioapic_write(v, 0, 4, 0x10 + 2 * 4);
    partition_ioapic_write(v, 0x10, 4, 0x8041); /* pin 4, level, vector 0x41 */
    assert_int_equal(0, partition_ioapic_read(v, 0x10, 4) & 0x4000);
    v->lapic.svr |= 0x100;
    vlapic_post(&v->lapic, 0x41, true);
    vlapic_ack(&v->lapic, 0x41);
    v->hw.gpr[CX] = 0x80b;
    v->hw.gpr[AX] = v->hw.gpr[DX] = 0;
    assert_int_equal(STOP_SCRIPT, fake_play(v, &exit, 1));
    assert_int_equal(-1, vlapic_pending(&v->lapic));
}

/* --- end and restart --- */

static void fill(u64 at) { put(at, "secret", 6); }
static bool filled(u64 at) { return !memcmp(gmem_ptr(&fake_partition(0)->memory, gpa(at), 6, false), "secret", 6); }

static void test_restart(void **state) {
    u32 before = fake_partition(0)->restarts, generation = fake_partition(0)->generation;

    (void)state;
    started(1);
    fill(0x50000);
    fill(0x150000);
    v->hw.gpr[BX] = 99;
    v->lapic.tpr = 0x55;
    play(EXIT(IO, .length = 1, .io = {.port = 0x3ff, .size = 1})); /* the UART's scratch register */
    v->hw.gpr[AX] = 6;
    play(EXIT(IO, .length = 1, .io = {.port = 0xcf9, .size = 1}));
    assert_int_equal(before + 1, fake_partition(0)->restarts);
    assert_int_equal(generation + 1, fake_partition(0)->generation);
    assert_true(said("one: reset") && said("exits in all: ") && said("one: restart "));
    assert_false(filled(0x50000) || filled(0x150000));
    assert_int_equal(FAKE_KERNEL_AT, f->reg[REG_RIP]);
    assert_true(v->hw.gpr[BX] == 0 && v->lapic.tpr == 0);
    assert_int_equal(VCPU_WAIT_SIPI, fake_vcpu(1)->state);
    assert_int_equal(VCPU_WAIT_SIPI, fake_vcpu(2)->state);
    assert_true(vcpu_guest_ns(v) < 1000000);
    vcpu_poke(v, REQUEST_STOP); /* one that comes too late */
    go_on();
    assert_int_equal(before + 1, fake_partition(0)->restarts);
}

/* A crash loop: the first ones are told with registers and exits, the others by a line; after a run of a minute, all
 * again. */
static void test_crash_loop(void **state) {
    (void)state;
    for (u32 i = 1; i <= 2 * ENDS_EXPLAINED; i++) {
        bool told = i <= ENDS_EXPLAINED;

        hardware_forget_console();
        play(EXIT(TRIPLE_FAULT));
        assert_int_equal(told, said("one: rip 0x"));
        assert_int_equal(told, said("exits in all: "));
        assert_int_equal(i == 2 * ENDS_EXPLAINED, said(", crash 16 in a row: no report\r\n"));
        assert_true(said("stopped: ") && told != said("one: crashed\r\n[mullion] one: restart "));
    }
    fake_hw.tsc += 60 * FAKE_TSC_HZ;
    hardware_forget_console();
    play(EXIT(TRIPLE_FAULT));
    assert_true(said("one: rip 0x") && said("exits in all: ") && !said("in a row"));
}

/* A reset loop, the same; a crash in its midst is told all the same. */
static void test_reset_loop(void **state) {
    struct partition *p = fake_partition(0);

    (void)state;
    p->resets = 0;
    for (u32 i = 1; i <= 2 * ENDS_EXPLAINED; i++) {
        hardware_forget_console();
        partition_end(p, END_RESET);
        go_on();
        assert_int_equal(i <= ENDS_EXPLAINED, said("exits in all: "));
        assert_true(said("one: reset\r\n") && said("one: restart "));
    }
    hardware_forget_console();
    play(EXIT(TRIPLE_FAULT));
    assert_true(said("one: rip 0x") && said("exits in all: ") && !said("in a row"));
    fake_hw.tsc += 60 * FAKE_TSC_HZ;
    hardware_forget_console();
    partition_end(p, END_RESET);
    go_on();
    assert_true(said("exits in all: "));
    fake_hw.tsc += 60 * FAKE_TSC_HZ; /* after a run of a minute that did not end by a crash, all anew */
    for (u32 i = 0; i <= 2 * ENDS_EXPLAINED; i++) {
        hardware_forget_console();
        play(EXIT(TRIPLE_FAULT));
    }
    assert_true(said("in a row"));
    fake_hw.tsc += 60 * FAKE_TSC_HZ;
    partition_end(p, END_RESET);
    go_on();
    hardware_forget_console();
    play(EXIT(TRIPLE_FAULT));
    assert_true(said("one: rip 0x") && !said("in a row"));
}

/* The first reason is kept, and the wall clock goes on. */
static void test_first_reason(void **state) {
    struct partition *p = fake_partition(0);
    u64 clock = p->wall_clock;

    (void)state;
    fake_hw.tsc += 5 * FAKE_TSC_HZ;
    partition_end(p, END_CRASH);
    partition_end(p, END_POWER_OFF);
    go_on();
    assert_true(said("one: crashed") && !said("powered off"));
    assert_true(p->wall_clock >= clock + 5);
}

/* --- console --- */

static void receive(struct vcpu *vcpu, const char *keys) {
    const struct vm_exit exit = EXIT(INTERRUPT, .vector = VECTOR_UART);

    fake_hw.keys = keys;
    fake_play(vcpu, &exit, 1);
}

static u64 read_key(struct vcpu *vcpu) {
    const struct vm_exit exit = EXIT(IO, .length = 1, .io = {.port = 0x3f8, .size = 1, .in = true});

    fake_play(vcpu, NULL, 0);
    fake_play(vcpu, &exit, 1);
    return vcpu->hw.gpr[AX] & 0xff;
}

static void test_focus(void **state) {
    struct vcpu *two = fake_partition(1)->vcpus[0];

    (void)state;
    assert_int_equal(two->host_apic, fake_hw.routed_to);
    receive(v, "a"); /* the interrupt of somebody else's core: left alone */
    assert_int_equal(0, ring_used(&fake_partition(0)->console_rx));
    receive(two, "ab\x1d"
                 "c");
    assert_int_equal('a', read_key(two));
    assert_int_equal('b', read_key(two));
    assert_int_equal(v->host_apic, fake_hw.routed_to);
    receive(v, fake_hw.keys);
    assert_int_equal('c', read_key(v));
    receive(v, "\x1d");
    assert_int_equal(two->host_apic, fake_hw.routed_to);
}

static void say(struct vcpu *vcpu, const char *text) {
    const struct vm_exit exit = EXIT(IO, .length = 1, .io = {.port = 0x3f8, .size = 1});

    for (; *text; text++) {
        vcpu->hw.gpr[AX] = (u8)*text;
        assert_int_equal(STOP_SCRIPT, fake_play(vcpu, &exit, 1));
    }
}

static void test_lines(void **state) {
    struct vcpu *two = fake_partition(1)->vcpus[0];

    (void)state;
    say(two, "abc");
    say(v, "de"); /* not the focus: waits for its end of line */
    assert_false(said("de"));
    say(v, "f\n");
    fake_hw.tsc = v->console_retry; /* it is tried again in a millisecond */
    v->timer_due = true;
    go_on();
    assert_true(said("[two] abc\r\n[one] def\r\n"));
    say(two, "d\bD\rxy\n");
    assert_true(said("[two] abcd\bD"));
    assert_true(said("xy\r\n"));
    log_line("%s", "line");
    assert_true(said("[mullion] line\r\n"));
    fake_hw.uart_blocked = true;
    say(two, "z\n");
    assert_true(two->console_left);
    fake_hw.uart_blocked = false;
    console_flush(&fake_partition(1)->console);
    assert_true(said("[two] z\r\n"));
}

/* Another core has always more to write, faster than the screen is drawn, and gets in between whenever this one waits.
 */
static void flood(void) {
    static u32 n;
    char line[100];

    for (u32 i = 0; i < sizeof(line); i++) line[i] = (char)('A' + (n = n * 1103515245 + 12345) / 65536 % 26);
    line[sizeof(line) - 1] = '\n';
    while (ring_write(&fake_partition(1)->console_tx, line, sizeof(line)))
        ;
    (void)console_pump(&fake_partition(1)->console);
}

/* Who waits for its own output does not wait for another's, nor draw it to the end, nor send it on for ever. */
static void test_flood(void **state) {
    static u16 memory[64 * 160];
    struct console_source *one = &fake_partition(0)->console;
    volatile u32 rounds = 0;

    (void)state;
    screen_open(&(struct screen_mode){.memory = memory, .width = 160, .height = 64, .pitch = 320, .text = true});
    fake_hw.pauses = 0;
    fake_hw.on_pause = flood;
    if (setjmp(machine_out)) fail_msg("it does not come to an end");
    for (u32 i = 0; i < 10; i++) {
        for (u32 k = 0; k < 200; k++) flood(); /* more than the screen has lines */
        assert_true(ring_write(&fake_partition(0)->console_tx, "all of it\n", 10));
        console_flush(one);
        assert_int_equal(0, ring_used(&fake_partition(0)->console_tx));
    }
    assert_in_range(fake_hw.pauses, 1, 10 * 1000);
    assert_true(said("[one] all of it\r\n"));
    log_line("another");
    assert_true(said("[mullion] another\r\n"));
    fake_hw.on_pause = NULL;
    do flood();
    while (console_pump(one) && ++rounds < 1000);
    assert_in_range(rounds, 0, 5);
    assert_true(console_pump(&fake_partition(1)->console));
    screen_close();
    while (console_pump(&fake_partition(1)->console))
        ;
}

/* --- for good: the last tests --- */

static void test_limit(void **state) {
    struct vcpu *two = fake_partition(1)->vcpus[0];
    const struct vm_exit crash = EXIT(TRIPLE_FAULT);

    (void)state;
    for (u32 i = 1; i <= 2; i++) {
        assert_int_equal(STOP_SCRIPT, fake_play(two, &crash, 1));
        assert_int_equal(i, fake_partition(1)->restarts);
    }
    assert_true(said("two: restart 2 of 2"));
    hardware_forget_console();
    fake_hw.mark = "two: crashed";
    assert_int_equal(STOP_HALT, fake_play(two, &crash, 1));
    assert_true(fake_partition(1)->over);
    assert_int_equal(v->host_apic, fake_hw.routed_then); /* the focus moves on before the line that tells of the end */
    assert_int_equal(v->host_apic, fake_hw.routed_to);
    go_on(); /* nobody else noticed */
}

static void test_power_off(void **state) {
    const struct vm_exit exit = EXIT(IO, .length = 1, .io = {.port = 0x604, .size = 2});

    (void)state;
    v->hw.gpr[AX] = 5 << 10 | 1 << 13;
    assert_int_equal(STOP_POWER_OFF, fake_play(v, &exit, 1));
    assert_true(said("one: powered off") && said("every partition has ended, powering off"));
    assert_true(fake_partition(0)->over);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sipi, fresh),           cmocka_unit_test_setup(test_messages, fresh),
        cmocka_unit_test_setup(test_board_deadline, fresh), cmocka_unit_test_setup(test_eoi, fresh),
        cmocka_unit_test_setup(test_restart, fresh),        cmocka_unit_test_setup(test_first_reason, fresh),
        cmocka_unit_test_setup(test_crash_loop, fresh),     cmocka_unit_test_setup(test_reset_loop, fresh),
        cmocka_unit_test_setup(test_focus, fresh),          cmocka_unit_test_setup(test_lines, fresh),
        cmocka_unit_test_setup(test_flood, fresh),          cmocka_unit_test_setup(test_limit, fresh),
        cmocka_unit_test_setup(test_power_off, fresh),
    };

    return cmocka_run_group_tests_name("core life", tests, setup, NULL);
}
