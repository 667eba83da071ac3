/* A partition that controls another: `one` may see `two`, which has two vCPUs, and `bad`, whose image is none; `three`
 * is nobody's. */
#include "test/fake/core_fixture.h"
#include "core/base/layout.h"
#include "core/traps.h"
#include "drivers/lapic.h"

#define PARTITION(name, cpus, more)                                                                                    \
    "[partition." name "]\ncpus = " cpus "\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\nload = 0x100000\n" \
    "entry = 0x100000\n" more

static const char config[] = PARTITION("one", "[0]", "control = [\"two\", \"bad\"]\nrestart = { on = \"reset\" }\n")
    PARTITION("two", "[1, 3]", "restart = { on = \"crash\", limit = 1 }\n")
        PARTITION("three", "[2]", "") "[partition.bad]\ncpus = [4]\nmemory = \"2M\"\nkernel = \"bad\"\n";

static struct vcpu *two, *second, *three;

static int setup(void **state) {
    (void)state;
    hardware_make();
    if (fake_boot(config, 5, MIB(32)) != STOP_SCRIPT) return -1;
    two = fake_partition(1)->vcpus[0];
    second = fake_partition(1)->vcpus[1];
    three = fake_partition(2)->vcpus[0];
    return 0;
}

/* One command from `one`, and what it says. */
static const char *control(const char *command) {
    static char text[5000];
    u32 n = 0;

    fake_on_core(v->core);
    for (; *command; command++) partition_port_out(v, 0x2f8, 1, (u8)*command);
    while (partition_port_in(v, 0x2fd, 1) & 1) text[n++] = (char)partition_port_in(v, 0x2f8, 1);
    text[n] = 0;
    return text;
}

/* The interrupt of an order, taken by its core. */
static enum stop ordered(void) {
    const struct vm_exit exit = EXIT(INTERRUPT, .vector = VECTOR_CONTROL);

    if (two->state == VCPU_RUNNING) return fake_play(two, &exit, 1);
    fake_on_core(two->core);
    host_interrupt(VECTOR_CONTROL);
    return fake_play(two, NULL, 0);
}

static void obeys(const char *command) {
    assert_string_equal("ok\n", control(command));
    assert_int_equal(two->host_apic, fake_hw.kicked_apic);
}

/* A second for each start that was ordered. */
static void rest(void) { fake_hw.tsc += 20 * FAKE_TSC_HZ; }

static int begin(void **state) {
    rest();
    if (two->state == VCPU_PARKED) {
        obeys("start two\n");
        if (ordered() != STOP_SCRIPT) return -1;
    }
    fake_play(second, NULL, 0);
    fresh(state);
    rest();
    return 0;
}

static void test_stop_and_start(void **state) {
    const char secret[] = "secret";
    u32 resets = fake_of(&two->hw)->resets, restarts = machine.controls[1]->restarts, second_resets;

    (void)state;
    memcpy(gmem_ptr(&fake_partition(1)->memory, gpa(0x150000), 6, true), secret, 6);
    obeys("stop two\n");
    assert_true(strstr(control("list\n"), "partition two stopping vcpus 2 "));
    assert_int_equal(STOP_IDLE, ordered()); /* the second vCPU comes along */
    assert_true(two->state == VCPU_PARKED && second->state == VCPU_PARKED && fake_partition(1)->over);
    assert_true(fake_hw.timer == NEVER);
    assert_true(said("two: stopped by one") && !said("exits in all"));
    assert_true(strstr(control("list\n"), "partition two stopped vcpus 2 "));
    assert_true(strstr(control("status two\n"), "ended stopped\n"));
    assert_true(strstr(control("stop two\n"), "error: it does not run; "));
    fake_hw.tsc += 50 * FAKE_TSC_HZ;
    two->timer_due = true; /* a timer that was under way */
    two->requests = second->requests = REQUEST_EVENT | REQUEST_BOARD | REQUEST_STOP | REQUEST_FLUSH;
    two->lapic.events = second->lapic.events = VLAPIC_EVENT_INIT | VLAPIC_EVENT_SIPI;
    second_resets = fake_of(&second->hw)->resets;
    assert_int_equal(STOP_IDLE, fake_play(two, NULL, 0));
    assert_int_equal(STOP_IDLE, fake_play(second, NULL, 0));
    assert_int_equal(resets, fake_of(&two->hw)->resets);
    assert_int_equal(second_resets, fake_of(&second->hw)->resets);
    assert_true(two->state == VCPU_PARKED && second->state == VCPU_PARKED);

    obeys("start two\n");
    assert_true(strstr(control("list\n"), "partition two starting vcpus 2 "));
    assert_int_equal(STOP_SCRIPT, ordered());
    assert_true(said("two: started by one"));
    assert_int_equal(FAKE_KERNEL_AT, fake_of(&two->hw)->reg[REG_RIP]);
    assert_memory_not_equal(gmem_ptr(&fake_partition(1)->memory, gpa(0x150000), 6, false), secret, 6);
    assert_true(second->requests & REQUEST_START);
    assert_int_equal(STOP_IDLE, fake_play(second, NULL, 0));
    assert_int_equal(VCPU_WAIT_SIPI, second->state);
    assert_int_equal(restarts + 1, machine.controls[1]->restarts);
    fake_on_core(two->core);
    assert_true(vcpu_guest_ns(two) < 1000000000);
    assert_true(strstr(control("list\n"), "partition two running vcpus 2 "));
    go_on(); /* nobody else has noticed */
    assert_int_equal(STOP_SCRIPT, fake_play(three, NULL, 0));
    assert_false(fake_partition(0)->over || fake_partition(2)->over);
}

static void test_restart(void **state) {
    u32 generation = fake_partition(1)->generation;

    (void)state;
    obeys("restart two\n");
    assert_true(strstr(control("stop two\n"), "error: it is carrying out an order"));
    assert_true(strstr(control("status two\n"), "partition two restarting "));
    assert_int_equal(STOP_SCRIPT, ordered());
    assert_true(said("two: restarted by one"));
    assert_int_equal(generation + 1, fake_partition(1)->generation);
    assert_true(strstr(control("status two\n"), "partition two running vcpus 2 "));
    assert_true(strstr(control("start two\n"), "error: it runs already"));
    host_interrupt(VECTOR_CONTROL); /* one that is not there any more */
    assert_int_equal(STOP_SCRIPT, fake_play(two, NULL, 0));
    assert_int_equal(generation + 1, fake_partition(1)->generation);
}

/* Whatever it ended by, it can be started, and has its restarts again. */
static void test_crashed(void **state) {
    const struct vm_exit crash = EXIT(TRIPLE_FAULT), off = EXIT(IO, .length = 1, .io = {.port = 0x604, .size = 2});

    (void)state;
    for (u32 i = 0; i < 2; i++) {
        assert_int_equal(STOP_SCRIPT, fake_play(two, &crash, 1));
        assert_true(said("two: restart 1 of 1"));
        assert_int_equal(STOP_IDLE, fake_play(two, &crash, 1));
        assert_true(strstr(control("status two\n"), "partition two crashed vcpus 2 "));
        assert_int_equal(STOP_IDLE, fake_play(second, NULL, 0));
        obeys(i ? "start two\n" : "restart two\n");
        assert_int_equal(STOP_SCRIPT, ordered());
        hardware_forget_console();
        fake_play(second, NULL, 0);
    }
    two->hw.gpr[AX] = 5 << 10 | 1 << 13;
    assert_int_equal(STOP_IDLE, fake_play(two, &off, 1));
    assert_true(strstr(control("status two\n"), "partition two off vcpus 2 "));
    assert_true(strstr(control("status two\n"), "ended powered off\n"));
}

/* It crashes while the order is on its way: a stop is done by that, a restart goes on. */
static void test_crash_meanwhile(void **state) {
    const struct vm_exit crash = EXIT(TRIPLE_FAULT);

    (void)state;
    obeys("stop two\n");
    assert_int_equal(STOP_IDLE, fake_play(two, &crash, 1));
    assert_true(strstr(control("list\n"), "partition two crashed "));
    assert_int_equal(STOP_IDLE, ordered());
    obeys("start two\n");
    assert_int_equal(STOP_SCRIPT, ordered());
    fake_play(second, NULL, 0);
    obeys("restart two\n");
    assert_int_equal(STOP_SCRIPT, fake_play(two, &crash, 1));
    assert_true(strstr(control("list\n"), "partition two running "));
    assert_int_equal(0, fake_partition(1)->restarts | fake_partition(1)->crashes);
}

/* An order that comes after the last look: kept over a restart; at an end for good a restart becomes a start. */
static void test_late_orders(void **state) {
    struct partition *p = fake_partition(1);

    (void)state;
    obeys("stop two\n");
    fake_on_core(two->core);
    two->requests = 0;
    control_running(p, false);
    assert_true(two->requests & REQUEST_CONTROL);
    assert_int_equal(STOP_IDLE, fake_play(two, NULL, 0));
    assert_true(strstr(control("list\n"), "partition two stopped "));
    obeys("start two\n");
    assert_int_equal(STOP_SCRIPT, ordered());
    fake_play(second, NULL, 0);

    obeys("restart two\n");
    machine.controls[1]->word &= ~0xff00u; /* as finish has seen it */
    partition_end(p, END_POWER_OFF);
    fake_play(two, NULL, 0);
    assert_true(strstr(control("list\n"), "partition two off "));
    obeys("start two\n");
    machine.controls[1]->word = CONTROL_RUNNING | ORDER_RESTART << 8;
    fake_on_core(two->core);
    control_ended(p, CONTROL_OFF, false);
    assert_true(strstr(control("list\n"), "partition two starting "));
    assert_int_equal(STOP_SCRIPT, ordered());
    assert_true(strstr(control("list\n"), "partition two running "));
}

static void test_does_not_load(void **state) {
    struct image_module *image = fake_partition(1)->images;
    u64 bytes = image->bytes;

    (void)state;
    image->bytes = 0;
    obeys("restart two\n");
    assert_int_equal(STOP_IDLE, ordered());
    assert_true(said("two: not started again: "));
    assert_true(strstr(control("list\n"), "partition two failed "));
    obeys("start two\n");
    assert_int_equal(STOP_IDLE, ordered());
    assert_true(strstr(control("list\n"), "partition two failed "));
    image->bytes = bytes;
    obeys("start two\n");
    assert_int_equal(STOP_SCRIPT, ordered());
}

/* Eight starts at once, then one a second. */
static void test_flood(void **state) {
    u32 taken = 0;

    (void)state;
    for (u32 i = 0; i < 100; i++) {
        if (strcmp(control("restart two\n"), "ok\n")) break;
        taken++;
        assert_int_equal(STOP_SCRIPT, ordered());
    }
    assert_int_equal(8, taken);
    fake_hw.kicks = 0;
    assert_true(strstr(control("restart two\n"), "error: it was started too often; wait a second"));
    assert_int_equal(0, fake_hw.kicks);
    fake_hw.tsc += FAKE_TSC_HZ;
    obeys("restart two\n");
    assert_int_equal(STOP_SCRIPT, ordered());
    assert_true(strstr(control("restart two\n"), "error: it was started too often"));
    obeys("stop two\n"); /* that is always possible */
    assert_int_equal(STOP_IDLE, ordered());
    assert_true(strstr(control("start two\n"), "error: it was started too often"));
}

/* Default deny: what is not granted is not there. */
static void test_grants(void **state) {
    static const char *const commands[] = {"stop three\n",   "start three\n", "restart three\n",
                                           "status three\n", "stop one\n",    "status one\n"};
    u32 word = machine.controls[2]->word;

    (void)state;
    fake_hw.kicks = 0;
    for (u32 i = 0; i < ARRAY_SIZE(commands); i++)
        assert_string_equal("error: there is no such partition to control; send list\n", control(commands[i]));
    assert_null(strstr(control("list\n"), "three"));
    assert_null(strstr(control("list\n"), "one"));
    assert_int_equal(0, fake_hw.kicks);
    assert_int_equal(word, machine.controls[2]->word);
    for (u32 port = 0x2f8; port < 0x300; port++) {
        fake_on_core(two->core);
        partition_port_out(two, (u16)port, 1, 0);
        assert_int_equal(0xff, partition_port_in(two, (u16)port, 1));
        fake_on_core(three->core);
        assert_int_equal(0xff, partition_port_in(three, (u16)port, 1));
    }
}

/* Nobody is there to carry an order out. */
static void test_never_started(void **state) {
    (void)state;
    assert_true(strstr(control("list\n"), "partition bad broken vcpus 1 restarts 0\n"));
    fake_hw.kicks = 0;
    assert_true(strstr(control("start bad\n"), "error: it can never run; "));
    assert_true(strstr(control("stop bad\n"), "error: it can never run; "));
    assert_int_equal(0, fake_hw.kicks);
}

/* What the two share is a page of its own, on their cores only; nothing else of the one is on the other's. */
static void test_mapped(void **state) {
    const struct partition *p = fake_partition(1);
    u64 shared = (u64)p->control, from = p->block.v + DIRECT_BASE;

    (void)state;
    assert_true(is_aligned(shared, PAGE_4K));
    assert_int_equal(RIGHT_READ | RIGHT_WRITE, fake_lookup(v->core, shared).rights);
    assert_int_equal(RIGHT_READ | RIGHT_WRITE, fake_lookup(second->core, shared).rights);
    assert_int_equal(0, fake_lookup(three->core, shared).leaf_level);
    for (u64 at = from; at < from + p->block_bytes; at += PAGE_4K)
        assert_int_equal(at == shared, fake_lookup(v->core, at).leaf_level != 0);
    assert_int_equal(0, fake_lookup(two->core, (u64)fake_partition(0)->control).leaf_level);
    assert_int_equal(0, fake_lookup(v->core, (u64)fake_partition(2)->control).leaf_level);
    assert_true((u64)(p->vcpus[1]->exits + EXIT_REASONS) <= shared + PAGE_4K);
}

/* --- for good: the last test --- */

/* A partition that is stopped does not keep the machine on, nor does its end count twice. */
static void test_machine_ends(void **state) {
    const struct vm_exit exit = EXIT(IO, .length = 1, .io = {.port = 0x604, .size = 2});

    (void)state;
    three->hw.gpr[AX] = v->hw.gpr[AX] = 5 << 10 | 1 << 13;
    assert_int_equal(STOP_HALT, fake_play(three, &exit, 1));
    for (u32 i = 0; i < 3; i++) {
        rest();
        obeys("stop two\n");
        assert_int_equal(STOP_IDLE, ordered());
        go_on();
        if (i == 2) break;
        obeys("start two\n");
        assert_int_equal(STOP_SCRIPT, ordered());
        fake_play(second, NULL, 0);
    }
    assert_false(said("every partition has ended"));
    assert_int_equal(STOP_POWER_OFF, fake_play(v, &exit, 1));
    assert_true(said("every partition has ended, powering off"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_stop_and_start, begin), cmocka_unit_test_setup(test_restart, begin),
        cmocka_unit_test_setup(test_crashed, begin),        cmocka_unit_test_setup(test_crash_meanwhile, begin),
        cmocka_unit_test_setup(test_late_orders, begin),    cmocka_unit_test_setup(test_does_not_load, begin),
        cmocka_unit_test_setup(test_flood, begin),          cmocka_unit_test_setup(test_grants, begin),
        cmocka_unit_test_setup(test_mapped, begin),         cmocka_unit_test_setup(test_never_started, begin),
        cmocka_unit_test_setup(test_machine_ends, begin),
    };

    return cmocka_run_group_tests_name("core control", tests, setup, NULL);
}
