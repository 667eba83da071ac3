/* core/config: mistakes that take more than one value to see, the tables and their names, the
 * checks against a machine, the ownership report, large files and small arenas. */
#include "test/unit/config_text.h"

#include "tools/report.h"

#define A "[partition.a]\ncpus = [0, 1]\nmemory = \"4M\"\nkernel = \"k\"\n" /* 4 lines */
#define B "[partition.b]\nmemory = \"4M\"\nkernel = \"k\"\n"                /* 3 lines */

static void test_cross_checks(void **state) {
    (void)state;
    expect(A B "cpus = [2, 1]", 8, 12, "core 1 belongs to partition a already (line 2)",
           "remove it from one of the two lists");
    expect(A "ports = [\"0x80-0x8f\"]\n" B "cpus = [2]\nports = [0x90, 0x8f]", 10, 16,
           "port 0x8f belongs to partition a already (line 5)", "remove");
    expect(A "pci = [\"00:03.0\"]\n" B "cpus = [2]\npci = [\"0000:00:03.0\"]", 10, 8,
           "0000:00:03.0 belongs to partition a already (line 5)", "remove");
    expect(A "address = \"0x40000000\"\n" B "cpus = [2]\naddress = \"0x40200000\"", 10, 11,
           "memory 0x40200000-0x405fffff overlaps that of a (line 5)", "\"0x40400000\"");
    expect(A "address = \"0x40000000\"\n" B "cpus = [2]\naddress = \"0x3fe00000\"", 10, 11,
           "overlaps that of a (line 5)", "\"0x40400000\"");
    parse(A "address = \"0x40000000\"\n" B "cpus = [2]\naddress = \"0x40400000\"");
    expect("[machine]\nfocus = \"c\"\n" A, 2, 9, "focus names no partition: c", "\"a\"");
    expect(A "[partition.a]\n", 5, 12, "a is defined twice", "line 1");
    /* Written before the other in the file, listed after it: the later place is told. */
    expect("[partition]\na.memory = \"4M\"\nb.cpus = [1]\na.cpus = [1]\na.kernel = \"k\"\n"
           "b.kernel = \"k\"\nb.memory = \"4M\"",
           4, 11, "core 1 belongs to partition b already (line 3)", "remove");
}

static void test_control(void **state) {
    struct config *c = parse(A "control = [\"b\"]\n" B "cpus = [2]\ncontrol = [\"*\"]\n[partition.c]\nmemory = \"4M\"\n"
                               "kernel = \"k\"\ncpus = [3]\n");

    (void)state;
    assert_true(config_controls(c, 0, 1) && !config_controls(c, 0, 0) && !config_controls(c, 0, 2));
    assert_true(config_controls(c, 1, 0) && !config_controls(c, 1, 1) && config_controls(c, 1, 2));
    for (u32 i = 0; i < 3; i++) assert_false(config_controls(c, 2, i));
    expect(A "control = true", 5, 11, "control must be a list of partitions, not", "[\"control-loop\"]");
    expect(A "control = []", 5, 11, "control is an empty list", "leave it out");
    expect(A "control = [1]", 5, 12, "control must be a list of partitions", "[\"control-loop\"]");
    expect(A "control = [\"c\"]\n" B "cpus = [2]", 5, 12, "control names no partition: c", "\"*\" for all");
    expect(A "control = [\"b\", \"a\"]\n" B "cpus = [2]", 5, 17, "a cannot control itself", "without that");
    expect(A "control = [\"b\", \"b\"]\n" B "cpus = [2]", 5, 17, "b is listed twice in control", "remove one");
    expect(A "control = [\"b\", \"*\"]\n" B "cpus = [2]", 5, 17, "\"*\" stands for all others", "remove");
    expect(A "control = [\"*\"]\n", 5, 11, "there is no other partition to control", "leave control out");
    expect(A "control = [\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]", 5, 12, "control is 32 bytes long", "31");
    expect(A "control = [\"b\"]\nports = [\"0x2f0-0x2f8\"]\n" B "cpus = [2]", 6, 10,
           "ports 0x2f8-0x2ff are the control device's", "leave");
    expect(A "control = [\"b\"]\ndebug-exit = \"0x2f5\"\n" B "cpus = [2]", 6, 14,
           "ports 0x2f8-0x2ff are the control device's", "leave");
    parse(A "control = [\"b\"]\nports = [\"0x2f0-0x2f7\", \"0x300\"]\n" B "cpus = [2]\nports = [\"0x2f8-0x2ff\"]");
}

static void test_tables(void **state) {
    (void)state;
    expect("", 1, 1, "the file has no partition", "[partition.NAME]");
    expect("# nothing\n[machine]\nconsole = \"none\"", 1, 1, "the file has no partition", "");
    expect("\n[partition]\n", 2, 2, "the file has no partition", "[partition.NAME]");
    expect("partition = 3", 1, 13, "partition must be a table with a name", "[partition.NAME]");
    expect("[[partition]]", 1, 3, "partition must be a table with a name", "[partition.NAME]");
    expect("[partition]\na = 1", 2, 1, "a is not the table of a partition", "[partition.NAME]");
    expect("[[partition.a]]", 1, 13, "a is not the table of a partition", "[partition.NAME]");
    expect("machine = 1\n" A, 1, 11, "machine must be a table", "[machine]");
    expect("[partitions.a]\ncpus = [0]", 1, 2, "the file has no key partitions", "mean partition?");
    expect("[machine]\nfocus = \"x\"\n[partitons.x]\n" A, 3, 2, "the file has no key partitons", "mean partition?");
    expect(A "[linux]", 5, 2, "the file has no key linux", "[partition.linux]");
    expect("memory = \"4M\"\n" A, 1, 1, "the file has no key memory", "under [partition.NAME]");
    expect("[partition.\"a b\"]", 1, 12, "a b is no name for a partition", "letters, digits");
    expect("[partition.\"\"]", 1, 12, "0 characters long", "1 to 31");
    expect("[partition.a2345678901234567890123456789012]", 1, 12, "32 characters long", "1 to 31");
    expect("[machine]\nconsole = \"com5\"\n" A, 2, 11, "console must be \"com1\"", "com1");
    expect("[machine]\nconsole = 1\n" A, 2, 11, "console must be \"com1\"", "com1");
    expect("[machine]\nfocus = 1\n" A, 2, 9, "focus must be the name of a partition", "linux");
    expect("[machine]\nfocus = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n" A, 2, 9, "focus is 32 bytes long", "31");
    expect("[machine]\nconsol = \"com1\"\n" A, 2, 1, "[machine] has no key consol", "console?");
    expect("[machine]\ncpus = [1]\n" A, 2, 1, "[machine] has no key cpus", "[partition.NAME]");
    expect(A "consoles = 1", 5, 1, "[partition.a] has no key consoles", "known keys are cpus,");
    expect(A "console = 1", 5, 1, "[partition.a] has no key console", "under [machine]");
    expect(A "\"m\\u0000\\u001b\xc3\xa9\" = 1", 5, 1, "[partition.a] has no key m???", "known keys");
    expect(A "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee = 1", 5, 1,
           "no key aaaaaaaaaabbbbbbbbbbccccccccccddddddd...", "known keys");
}

static void test_missing_and_misspelled(void **state) {
    static const char *const right[] = {"cpus", "memory", "address", "kernel",  "initrd", "cmdline", "format",
                                        "load", "entry",  "ports",   "restart", "mode",   "modules", "debug-exit"};
    char text[200], remedy[40];

    (void)state;
    expect("[partition.a]\nmemory = \"4M\"\nkernel = \"k\"", 1, 12, "partition a has no cpus", "cpus = [0, 1]");
    expect("\n [partition . a]\ncpus = [0]\nkernel = \"k\"", 2, 15, "partition a has no memory", "memory = \"512M\"");
    expect("[partition.a]\ncpus = [0]\nmemory = \"4M\"", 1, 12, "partition a has no kernel", "kernel = \"vmlinuz\"");
    /* One letter lost: the misspelled key is told, not the missing one. */
    for (u32 i = 0; i < ARRAY_SIZE(right); i++) {
        snprintf(text, sizeof(text), "[partition.a]\n%.*s = 1\n", (int)strlen(right[i]) - 1, right[i]);
        snprintf(remedy, sizeof(remedy), "did you mean %s?", right[i]);
        expect(text, 2, 1, "[partition.a] has no key", remedy);
    }
}

/* Of several mistakes the first in the file is told, whatever the order of the checks. */
static void test_first_problem(void **state) {
    (void)state;
    expect("[machine]\nfocus = \"x\"\n" A "format = \"y\"\n" B "cpus = [1]\nbad = 1", 2, 9, "focus", "");
    expect(A "format = \"y\"\n" B "cpus = [1]\nbad = 1", 5, 10, "format", "");
    expect(A B "cpus = [1]\nbad = 1", 8, 9, "core 1", "");
    expect(A B "bad = 1\ncpus = [1]", 8, 1, "no key bad", "");
}

/* What the command line says about the file and the console. */
static void test_machine_options(void **state) {
    static const char *const modules[] = {"a.toml", "mullion.toml"};
    struct config *c = parse(A "initrd = \"a.toml\"\nports = [0x80, \"0x2f0-0x2f9\"]\n");
    struct config_machine m = {.console = 0x2f8};

    (void)state;
    assert_int_equal(-E_INVAL, config_check_machine(c, &m, &error));
    assert_int_equal(6, error.line);
    assert_int_equal(16, error.column);
    assert_string_equal("port 0x2f8 belongs to the console that the command line names", error.what);
    assert_string_equal("leave 0x2f8-0x2ff out of ports", error.remedy);
    m.console = 0x2fa;
    assert_int_equal(0, config_check_machine(c, &m, &error));
    m = (struct config_machine){.modules = modules, .module_count = 2, .file = "a.toml"};
    c = parse("[partition.a]\ncpus = [0]\nmemory = \"1M\"\nkernel = \"a.toml\"\n");
    assert_int_equal(-E_INVAL, config_check_machine(c, &m, &error));
    assert_string_equal("there is no module a.toml for kernel", error.what);
    assert_string_equal("write one of: mullion.toml", error.remedy);
}

static void test_machine(void **state) {
    static const char *const modules[] = {"mullion.toml", "vmlinuz", "initrd", "loop.elf"}, *const others[] = {
                                                                                                "vmlinuz", "pci.ids",
                                                                                                "initrd"};
    struct config *c = parse(example);
    struct config_machine m = {0};

    (void)state;
    assert_int_equal(0, config_check_machine(c, &m, &error));
    m = (struct config_machine){.cpu_count = 3, .modules = modules, .module_count = 4};
    assert_int_equal(0, config_check_machine(c, &m, &error));
    assert_int_equal(0, config_check_memory(c, MIB(528), &error));
    m.cpu_count = 2;
    assert_int_equal(-E_INVAL, config_check_machine(c, &m, &error));
    assert_int_equal(14, error.line);
    assert_int_equal(11, error.column);
    assert_string_equal("core 2 does not exist: the machine has 2 cores", error.what);
    assert_string_equal("write core numbers from 0 to 1", error.remedy);
    m.cpu_count = 1;
    assert_int_equal(-E_INVAL, config_check_machine(c, &m, &error));
    assert_int_equal(5, error.line);
    assert_int_equal(15, error.column);
    m.cpu_count = 0;
    assert_int_equal(-E_INVAL, config_check_memory(c, MIB(528) - 1, &error));
    assert_int_equal(15, error.line);
    assert_int_equal(10, error.column);
    assert_non_null(strstr(error.what, "memory 16M does not fit"));
    assert_non_null(strstr(error.remedy, "at most \"15M\""));
    m.module_count = 3;
    assert_int_equal(-E_INVAL, config_check_machine(c, &m, &error));
    assert_int_equal(16, error.line);
    assert_int_equal(10, error.column);
    assert_string_equal("there is no module loop.elf for kernel", error.what);
    assert_string_equal("write one of: vmlinuz, initrd", error.remedy);
    m.modules = others; /* the hypervisor's own are not offered */
    assert_int_equal(-E_INVAL, config_check_machine(c, &m, &error));
    assert_string_equal("write one of: vmlinuz, initrd", error.remedy);
    m.modules = modules;
    m.module_count = 1;
    assert_int_equal(-E_INVAL, config_check_machine(c, &m, &error));
    assert_int_equal(7, error.line);
    assert_non_null(strstr(error.remedy, "no module is loaded"));
    m = (struct config_machine){0};
    assert_int_equal(0, config_check_machine(c, &m, &error));
}

/* The node that the file names, and the one that the cores are on. */
static void test_nodes(void **state) {
    static const struct node_range ranges[] = {{0, GIB(1), 1}, {GIB(1), GIB(1), 4}};
    static const u32 cores[] = {1, 4, 4, NODE_NONE, 9, 9};
    static struct node_range many[60];
    const struct numa numa = {.ranges = ranges, .range_count = 2, .core_nodes = cores, .core_count = 6}, none = {0};
    const struct numa large = {.ranges = many, .range_count = 60};
    struct config_machine m = {.numa = &numa};
    struct config *c = parse(A "node = 4");

    (void)state;
    assert_int_equal(4, c->partitions[0].node);
    assert_int_equal(0, config_check_machine(c, &m, &error));
    c = parse(A "node = 3");
    assert_int_equal(-E_INVAL, config_check_machine(c, &m, &error));
    assert_true(error.line == 5 && error.column == 8);
    assert_string_equal("the machine has no node 3 with memory", error.what);
    assert_string_equal("write one of 1, 4, or remove node", error.remedy);
    m.numa = &none;
    assert_int_equal(-E_INVAL, config_check_machine(c, &m, &error));
    assert_string_equal("there is no node 3: the machine tells of no NUMA nodes", error.what);
    assert_string_equal("remove node", error.remedy);
    for (u32 i = 0; i < 60; i++) many[i] = (struct node_range){GIB(i), GIB(1), 100 + i};
    m.numa = &large;
    assert_int_equal(-E_INVAL, config_check_machine(c, &m, &error));
    assert_non_null(strstr(error.remedy, "..., or remove node"));
    m.numa = NULL;
    assert_int_equal(0, config_check_machine(c, &m, &error));
    expect(A "node = 0\naddress = \"0x40000000\"", 5, 8, "address says where the memory of a lies", "remove node");
    expect(A "node = -1", 5, 8, "node must be the number of a NUMA node, not -1", "node = 1");
    expect(A "node = 65536", 5, 8, "not 65536", "node = 1");
    expect(A "node = \"1\"", 5, 8, "node must be the number", "node = 1");

    assert_int_equal(1, config_home_node(parse(A)->partitions, &numa));
    c = parse("[partition.a]\ncpus = [0, 1, 2]\nmemory = \"4M\"\nkernel = \"k\"\n");
    assert_int_equal(4, config_home_node(c->partitions, &numa));
    assert_int_equal(NODE_NONE, config_home_node(c->partitions, &none));
    c = parse("[partition.a]\ncpus = [3, 7, 5, 1]\nmemory = \"4M\"\nkernel = \"k\"\n");
    assert_int_equal(9, config_home_node(c->partitions, &numa));
}

/* Nothing left, and more modules than a remedy can list. */
static void test_full_machine(void **state) {
    char names[20][16];
    const char *modules[20];
    struct config *c = parse(A B "cpus = [2]");
    struct config_machine m;

    (void)state;
    assert_int_equal(-E_INVAL, config_check_memory(c, MIB(4), &error));
    assert_int_equal(6, error.line);
    assert_string_equal("memory 4M does not fit: of the machine's 4M free only 0 is left", error.what);
    assert_string_equal("give the partitions before it less memory", error.remedy);
    for (u32 i = 0; i < 20; i++) {
        snprintf(names[i], sizeof(names[i]), "module-%08u", i);
        modules[i] = names[i];
    }
    m = (struct config_machine){.modules = modules, .module_count = 20};
    assert_int_equal(-E_INVAL, config_check_machine(c, &m, &error));
    assert_int_equal(4, error.line);
    assert_string_equal("...", error.remedy + strlen(error.remedy) - 3);
}

static void collect(void *ctx, const char *text) {
    strcat(ctx, text);
    strcat(ctx, "\n");
}

static void test_report(void **state) {
    struct config *c = parse(example);
    char text[4000] = "";

    (void)state;
    c->partitions[0].fixed = true;
    c->partitions[0].address = GIB(1);
    config_report(c, collect, text);
    assert_non_null(strstr(text, "core       2                            control-loop, vcpu 0\n"));
    assert_non_null(strstr(text, "memory     0x40000000-0x5fffffff        linux, 512M\n"));
    assert_non_null(strstr(text, "memory     placed at start              control-loop, 16M\n"));
    assert_non_null(strstr(text, "port       0x3f8-0x3ff                  hypervisor, console\n"));
    assert_non_null(strstr(text, "pci        0000:00:03.0                 linux\n"));
    assert_non_null(strstr(text, "module     initrd                       linux, initrd\n"));
    assert_non_null(strstr(text, "interrupt  "));
    text[0] = 0;
    config_report(parse(A "ports = [0x80, \"0x300-0x30f\"]\n[machine]\nconsole = \"none\""), collect, text);
    assert_null(strstr(text, "hypervisor, console\n"));
    assert_non_null(strstr(text, "port       0x80                         a\n"));
    assert_non_null(strstr(text, "port       0x300-0x30f                  a\n"));
}

/* The promised arena holds the densest files; counts are bounded by memory alone. */
static void test_large(void **state) {
    size_t room = MIB(1) + 2, n;
    char *text = malloc(room);
    struct config *config;

    (void)state;
    n = (size_t)snprintf(text, room, "[partition.a]\nmemory=\"1M\"\nkernel=\"k\"\ncpus=[");
    for (u32 i = 0; i < 2000; i++) n += (size_t)snprintf(text + n, room - n, "%u,", i);
    n += (size_t)snprintf(text + n, room - n, "]");
    assert_int_equal(0, parse_bytes(text, n, &config));
    assert_int_equal(2000, config->partitions[0].cpu_count);
    n = (size_t)snprintf(text, room, "[partition.a]\nports=[");
    while (n < KIB(64)) n += (size_t)snprintf(text + n, room - n, "1,");
    n += (size_t)snprintf(text + n, room - n, "]");
    assert_int_equal(-E_INVAL, parse_bytes(text, n, &config));
    n = 0;
    for (u32 i = 0; i < 1000; i++)
        n += (size_t)snprintf(text + n, room - n, "[partition.p%u]\ncpus=[%u]\nmemory=\"1M\"\nkernel=\"k\"\n", i, i);
    assert_int_equal(0, parse_bytes(text, n, &config));
    assert_int_equal(1000, config->partition_count);
    memset(text, '\n', room);
    assert_int_equal(-E_INVAL, parse_bytes(text, MIB(1) + 1, &config));
    assert_non_null(strstr(error.what, "larger than 1M"));
    free(text);
}

/* Every prefix and one-byte change of a file with all keys: a table, or a mistake with a place. */
static void test_mutations(void **state) {
    static const char text[] = "[machine]\nfocus='a'\n[partition.a]\ncpus=[0, 1]\nmemory=\"4M\"\n"
                               "address=0x200000\nkernel='k'\ninitrd='i'\nformat='flat'\n"
                               "load=0x100000\nentry='0x100001'\nports=[1_9, '0x80-0x8f']\n"
                               "pci=['00:1f.7']\nrestart={on='always', limit=3}\n";
    static const char bytes[] = "\0\n\"'[]{}=,.#-0x9a\xff ";
    size_t length = sizeof(text) - 1;
    struct config *config;
    char copy[sizeof(text)];

    (void)state;
    assert_int_equal(0, parse_bytes(text, length, &config));
    for (size_t i = 0; i < length; i++) {
        if (parse_bytes(text, i, &config)) assert_true(error.line && error.column && error.what[0] && error.remedy[0]);
        for (size_t k = 0; k + 1 < sizeof(bytes); k++) {
            memcpy(copy, text, length);
            copy[i] = bytes[k];
            if (parse_bytes(copy, length, &config))
                assert_true(error.line && error.column && error.what[0] && error.remedy[0]);
        }
    }
}

static void test_small_arena(void **state) {
    struct config *config;
    int rc = -1;

    (void)state;
    for (size_t size = 0; rc; size++) {
        struct arena arena = {.base = malloc(size ? size : 1), .size = size};

        rc = config_parse(&arena, example, strlen(example), &config, &error);
        free(arena.base);
        if (rc) {
            assert_int_equal(-E_NOMEM, rc);
            assert_non_null(strstr(error.what, "memory"));
        }
        assert_true(size < KIB(16));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cross_checks),    cmocka_unit_test(test_control),
        cmocka_unit_test(test_tables),          cmocka_unit_test(test_missing_and_misspelled),
        cmocka_unit_test(test_first_problem),   cmocka_unit_test(test_machine),
        cmocka_unit_test(test_machine_options), cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_full_machine),    cmocka_unit_test(test_report),
        cmocka_unit_test(test_large),           cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_small_arena),
    };
    return cmocka_run_group_tests(tests, NULL, free_memory);
}
