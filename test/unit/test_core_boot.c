/* core_start to the first guest instruction on a fake machine: what it builds, what it refuses, and memory that ends at
 * every allocation of the way. Each boot in a process of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/layout.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/local.h"
#include "core/traps.h"
#include "test/fake/child.h"

#define ONE(memory, more)                                                                                              \
    "[partition.one]\ncpus = [0]\nmemory = \"" memory "\"\nkernel = \"guest\"\nformat = \"flat\"\nload = 0x100000\n"   \
    "entry = 0x100000\n" more
#define TWO                                                                                                            \
    "[partition.two]\ncpus = [2]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\nload = 0x100000\n"           \
    "entry = 0x100000\n"

struct boot {
    const char *config;
    u32 cores;
    u64 ram;
    void (*after)(void); /* in the child, once it has started */
    bool refuse_probe, refuse_enable;
};

static void in_child(const void *what, int out) {
    const struct boot *b = what;
    enum stop why;

    hardware_make();
    fake_cpu.refuse_probe = b->refuse_probe;
    fake_cpu.refuse_enable = b->refuse_enable;
    log_set_level(fake_options.level ? fake_options.level : LOG_LEVEL_INFO);
    why = fake_boot(b->config, b->cores, b->ram);
    if (why == STOP_SCRIPT && b->after) b->after();
    child_end(out, why);
}

static void boot(struct boot b) {
    if (!b.cores) b.cores = 1;
    if (!b.ram) b.ram = MIB(16);
    child_run(in_child, &b);
}
#define BOOT(text, ...) boot((struct boot){.config = (text), __VA_ARGS__})

static bool said(const char *text) { return strstr(console, text) != NULL; }

static void assert_refused(const char *why) {
    assert_int_equal(STOP_HALT, outcome);
    if (!said(why)) fail_msg("no `%s` in: %s", why, console);
    assert_true(said("mullion: cannot start: ") && said("mullion: remedy: ") && said("mullion: halted"));
    assert_false(said("panic"));
}

/* --- what it builds --- */

#define MUST(truth)                                                                                                    \
    do {                                                                                                               \
        if (!(truth)) {                                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                                                \
            _exit(99);                                                                                                 \
        }                                                                                                              \
    } while (0)

/* From outside the tables are looked at by test/boot/test_hygiene.py; here is what can be said of every page. */
static void check_spaces(void) {
    for (u32 core = 0; core < 4; core++) {
        const u64 image[] = {LOCAL_BASE + PAGE_4K, LOCAL_BASE + LOCAL_STACK_PAGE * PAGE_4K};

        MUST(!fake_lookup(core, IMAGE_BASE).leaf_level); /* start-up code */
        MUST(fake_lookup(core, IMAGE_BASE + PAGE_4K).rights == (RIGHT_READ | RIGHT_EXEC));
        MUST(fake_lookup(core, IMAGE_BASE + 2 * PAGE_4K).rights == RIGHT_READ);
        MUST(fake_lookup(core, IMAGE_BASE + 3 * PAGE_4K).rights == RIGHT_READ); /* .late */
        MUST(fake_lookup(core, IMAGE_BASE + 4 * PAGE_4K).rights == (RIGHT_READ | RIGHT_WRITE));
        for (u32 i = 0; i < ARRAY_SIZE(image); i++) MUST(fake_lookup(core, image[i]).leaf_level);
        MUST(!fake_lookup(core, LOCAL_BASE + (LOCAL_STACK_PAGE - 1) * PAGE_4K).leaf_level);
        MUST(!fake_lookup(core, LOCAL_STACK_TOP).leaf_level);
        for (u64 at = 0; at < FAKE_RAM; at += PAGE_4K) MUST(!(fake_lookup(core, DIRECT_BASE + at).rights & RIGHT_EXEC));
        for (u32 i = 0; i < machine.config->partition_count; i++) {
            const struct partition *p = machine.partitions[i];
            bool mine = core == p->config->cpus[0].base;
            u64 kernel = (u64)p->images->data, memory = p->pieces[0].base.v + DIRECT_BASE;

            MUST(!!fake_lookup(core, p->block.v + DIRECT_BASE).leaf_level == mine);
            for (u64 at = 0; at < p->pieces[0].bytes; at += PAGE_4K)
                MUST(!!fake_lookup(core, memory + at).leaf_level == mine);
            if (mine) MUST(fake_lookup(core, kernel).rights == RIGHT_READ);
        }
    }
    MUST(fake_hw.cr4 & (1ull << 20) && fake_hw.cr4 & (1ull << 21) && fake_hw.cr4 & (1ull << 11));
    MUST(fake_hw.cr0 & (1ull << 16));
    MUST(machine.xcr0 == 7);
}

static void test_boots(void **state) {
    (void)state;
    BOOT(ONE("4M", "") TWO, .cores = 4, .ram = MIB(32), .after = check_spaces);
    assert_int_equal(STOP_SCRIPT, outcome);
    assert_true(said("all cores are in host mode, starting the partitions"));
    assert_true(said("one: 1 vcpus, 4 MiB") && said("two: 1 vcpus, 2 MiB"));
    BOOT("[machine]\nconsole = \"none\"\n" ONE("3M", "address = 0x400000\n"));
    assert_int_equal(STOP_SCRIPT, outcome);
}

/* --- nodes --- */

/* Memory comes from the node of the cores, which is not where it would come from otherwise. */
static void on_node_0(void) { MUST(machine.partitions[0]->pieces[0].base.v < MIB(8)); }
static void on_node_1(void) { MUST(machine.partitions[0]->pieces[0].base.v >= MIB(8)); }

static void test_nodes(void **state) {
    static const struct node_range halves[] = {{0, MIB(8), 0}, {MIB(8), MIB(56), 1}};
    static const u32 cores[] = {0, 1, 1, NODE_NONE};
    const char *spread = "[partition.one]\ncpus = [0, 1, 2]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\n";

    (void)state;
    fake_numa = (struct numa){.ranges = halves, .range_count = 2, .core_nodes = cores, .core_count = 4};
    BOOT(ONE("2M", ""), .cores = 4, .ram = MIB(32), .after = on_node_0);
    assert_int_equal(STOP_SCRIPT, outcome);
    assert_true(said("one: 2 of 2 MiB lie on node 0, where its cores are") && !said("WARNING"));
    BOOT(ONE("2M", "node = 1\n"), .cores = 4, .ram = MIB(32), .after = on_node_1);
    assert_int_equal(STOP_SCRIPT, outcome);
    assert_true(said("one: 0 of 2 MiB lie on node 0, where its cores are; WARNING: the rest is farther away"));
    BOOT(ONE("8M", ""), .cores = 4, .ram = MIB(32), .after = on_node_1); /* node 0 has no 8 MiB: it falls back */
    assert_int_equal(STOP_SCRIPT, outcome);
    assert_true(said("one: 0 of 8 MiB lie on node 0, where its cores are; WARNING: the rest is farther away"));
    BOOT(spread, .cores = 4, .ram = MIB(32), .after = on_node_1);
    assert_int_equal(STOP_SCRIPT, outcome);
    assert_true(said("one: 2 of 2 MiB lie on node 1, where its cores are") &&
                said("one: WARNING: core 0 is not on node 1"));
    BOOT(ONE("8M", "node = 0\n"), .cores = 4, .ram = MIB(32));
    assert_refused("too little memory on node 0 for partition one: it wants 8 MiB");
    BOOT(ONE("2M", "node = 2\n"), .cores = 4, .ram = MIB(32));
    assert_refused("mullion.toml:8:8: the machine has no node 2 with memory");
    fake_numa = (struct numa){0};
    BOOT(ONE("2M", "node = 0\n"), .cores = 4, .ram = MIB(32));
    assert_refused("mullion.toml:8:8: there is no node 0: the machine tells of no NUMA nodes");
}

/* --- the console's memory --- */

#define SCREEN_AT 0x380000001000ull
#define UART_AT   0xfebff008ull

static void check_console(bool screen) {
    for (u32 core = 0; core < 3; core++) {
        MUST(fake_lookup(core, UART_AT + DIRECT_BASE).rights == (RIGHT_READ | RIGHT_WRITE));
        for (u64 at = SCREEN_AT; at < SCREEN_AT + MIB(3); at += PAGE_4K) {
            struct pt_lookup l = fake_lookup(core, at + DIRECT_BASE);

            MUST(screen ? l.at.v == at && l.rights == (RIGHT_READ | RIGHT_WRITE) : !l.leaf_level);
        }
        MUST(!fake_lookup(core, SCREEN_AT - PAGE_4K + DIRECT_BASE).leaf_level);
        MUST(!fake_lookup(core, SCREEN_AT + MIB(3) + DIRECT_BASE).leaf_level);
    }
}
static void check_screen(void) { check_console(true); }
static void check_no_screen(void) { check_console(false); }

/* A framebuffer far above 4 GiB: on every core, with partition or without, if it is asked for, and else on none. */
static void test_console(void **state) {
    (void)state;
    fake_console[CONSOLE_UART] = (struct boot_window){UART_AT, 8};
    fake_console[CONSOLE_SCREEN] = (struct boot_window){SCREEN_AT, MIB(3)};
    BOOT(ONE("4M", ""), .cores = 3, .after = check_no_screen);
    assert_int_equal(STOP_SCRIPT, outcome);
    assert_true(said("mullion: this screen ends here; console=com1,framebuffer would keep it"));
    fake_options.console.given = fake_options.console.screen = true;
    BOOT(ONE("4M", ""), .cores = 3, .after = check_screen);
    assert_int_equal(STOP_SCRIPT, outcome);
    assert_false(said("this screen ends"));
    fake_console[CONSOLE_SCREEN] = fake_console[CONSOLE_UART] = (struct boot_window){0};
    fake_options.console = (struct console_choice){.uart = UART_PORT, .at = 0x3f8};
}

/* Lines below the level that is asked for are not shown. */
static void test_level(void **state) {
    (void)state;
    fake_options.level = LOG_LEVEL_ERROR;
    BOOT(ONE("2M", "colour = 1\n"));
    assert_refused("mullion.toml:8:1: ");
    assert_false(said("fake: "));
    fake_options.level = LOG_LEVEL_INFO;
}

/* --- what it refuses --- */

static void test_refuses(void **state) {
    (void)state;
    BOOT(ONE("2M", "") "colour = 1\n");
    assert_refused("mullion.toml:8:1: ");
    BOOT("");
    assert_refused("mullion.toml:");
    BOOT(ONE("2M", "initrd = \"absent\"\n"));
    assert_refused("absent");
    BOOT(ONE("2M", "") TWO);
    assert_refused("mullion.toml:"); /* there is no core 2 */
    BOOT(ONE("2M", ""), .refuse_probe = true);
    assert_refused("the fake has nothing");
    BOOT(ONE("2M", ""), .refuse_enable = true);
    assert_refused("core 0: no host mode");
    BOOT(ONE("2M", "address = 0x40000000\n"));
    assert_refused("memory at 0x40000000 is not free on this machine");
    BOOT("[partition.one]\ncpus = [0]\nmemory = \"2M\"\nkernel = \"bad\"\n");
    assert_refused("module bad: ");
    BOOT("[partition.one]\ncpus = [0]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\nload = 0x300000\n"
         "entry = 0x300000\n");
    assert_refused("mullion.toml:6:8: load 0x300000 lies outside");
}

/* --- memory that ends --- */

/* From one page to enough, page by page: the memory gives out at each allocation in turn. */
static void test_every_page_count(void **state) {
    u64 enough = 0, whys = 0;
    bool tables = false, partition = false;

    (void)state;
    for (u64 ram = PAGE_4K; !enough; ram += PAGE_4K) {
        BOOT(ONE("2M", "") TWO, .cores = 4, .ram = ram);
        if (outcome == STOP_SCRIPT) {
            enough = ram;
        } else {
            assert_refused("too little memory");
            tables |= said("more are needed below 4 GiB");
            partition |= said("too little memory for partition");
            whys++;
        }
        if (ram > MIB(12)) fail_msg("12 MiB are not enough");
    }
    assert_true(tables && partition && whys > 100);
}

/* --- faults of our own --- */

static void take_page_fault(void) {
    struct trap_frame frame = {.vector = 14, .rip = 0x1234, .rsp = 0};

    if (!setjmp(machine_out)) trap(&frame);
    MUST(panic_in_progress() && fake_hw.nmis == 1);
    frame.vector = 2; /* the NMI by which a panic stops the others */
    if (!setjmp(machine_out)) {
        trap(&frame);
        MUST(false);
    }
}

static void test_panic(void **state) {
    (void)state;
    BOOT(ONE("2M", ""), .after = take_page_fault);
    assert_int_equal(STOP_SCRIPT, outcome);
    assert_true(said("panic: rip 0x1234") && said("exception 14 (page fault), error code 0x0, in the hypervisor"));
    assert_true(said("panic: the machine is stopped"));
}

/* Once one core panics no other one prints, be it with a panic of its own. */
static void panic_on_two(void) {
    struct trap_frame frame = {.vector = 14, .rip = 0x1234, .rsp = 0};

    fake_on_core(1);
    if (!setjmp(machine_out)) trap(&frame);
    fake_on_core(0);
    if (!setjmp(machine_out)) {
        log_line("too late");
        MUST(false);
    }
    frame.rip = 0x5678;
    if (!setjmp(machine_out)) {
        trap(&frame);
        MUST(false);
    }
    MUST(fake_hw.nmis == 1);
}

static void test_two_panics(void **state) {
    (void)state;
    BOOT(ONE("2M", "") TWO, .cores = 4, .after = panic_on_two);
    assert_int_equal(STOP_SCRIPT, outcome);
    assert_true(said("panic: rip 0x1234") && said("panic: the machine is stopped"));
    assert_false(said("too late") || said("0x5678"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boots), cmocka_unit_test(test_nodes),      cmocka_unit_test(test_console),
        cmocka_unit_test(test_level), cmocka_unit_test(test_refuses),    cmocka_unit_test(test_every_page_count),
        cmocka_unit_test(test_panic), cmocka_unit_test(test_two_panics),
    };

    return cmocka_run_group_tests_name("core boot", tests, NULL, NULL);
}
