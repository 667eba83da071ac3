/* core/config: a right file gives the right table; each single mistake in a value is refused at its
 * line and column, with a remedy. */
#include "test/unit/config_text.h"

static void test_example(void **state) {
    struct config *c = parse(example);
    struct config_partition *p = &c->partitions[0];

    (void)state;
    assert_int_equal(0x3f8, c->console);
    assert_null(c->focus);
    assert_int_equal(2, c->partition_count);
    assert_string_equal("linux", p->name);
    assert_int_equal(4, p->at.line);
    assert_int_equal(2, p->cpu_count);
    assert_int_equal(0, p->cpus[0].base);
    assert_int_equal(1, p->cpus[1].base);
    assert_true(p->memory == MIB(512));
    assert_false(p->fixed);
    assert_string_equal("vmlinuz", p->kernel);
    assert_string_equal("initrd", p->initrd);
    assert_string_equal("console=ttyS0", p->cmdline);
    assert_int_equal(IMAGE_AUTO, p->format);
    assert_int_equal(1, p->pci_count);
    assert_int_equal(3 << 3, p->pci[0].base);
    assert_int_equal(RESTART_CRASH, p->restart_on);
    assert_int_equal(3, p->restart_limit);
    assert_int_equal(6, p->memory_at.line);
    assert_int_equal(11, p->memory_at.column);
    assert_int_equal(7, p->kernel_at.line);
    assert_int_equal(8, p->initrd_at.line);
    p++;
    assert_string_equal("control-loop", p->name);
    assert_int_equal(2, p->cpus[0].base);
    assert_true(p->memory == MIB(16));
    assert_null(p->initrd);
    assert_null(p->cmdline);
    assert_int_equal(RESTART_NEVER, p->restart_on);
    assert_int_equal(0, p->restart_limit);
    assert_int_equal(0, p->port_count);
}

static void test_all_keys(void **state) {
    struct config *c =
        parse("[machine]\nfocus = \"raw_1\"\nconsole = \"com2\"\n"
              "[partition.raw_1]\n"
              "cpus = [7, 0, 3]\nmemory = 4194304\naddress = \"0x40000000\"\n"
              "kernel = 'raw.bin'\nformat = \"flat\"\nload = \"0x200000\"\n"
              "entry = 0x200010\nports = [0x80, \"0x84\", \"0x300-0x30F\"]\n"
              "pci = [\"00:1f.7\", \"0001:ff:00.1\"]\n"
              "[partition.raw_1.restart]\non = \"always\"\n"
              "[partition.B-2]\n"
              "cpus=[1]\nmemory=\"1G\"\naddress=1077936128\nkernel=\"k\"\n"
              "format=\"linux\"\nrestart.on=\"reset\"\nrestart.limit=4294967295\n"
              "[partition.c]\ncpus=[2]\nmemory=\"1024K\"\nkernel=\"k\"\n"
              "format=\"elf\"\nrestart={on=\"never\"}\n"
              "[partition.d]\ncpus=[4]\nmemory=\"2M\"\nkernel=\"k\"\n"
              "format=\"flat\"\nmode=\"real\"\ndebug-exit=\"0xf4\"\nhpet=true\nmodules=[\"a\", \"b\"]\n");
    struct config_partition *p = c->partitions;

    (void)state;
    assert_int_equal(0x2f8, c->console);
    assert_string_equal("raw_1", c->focus);
    assert_int_equal(4, c->partition_count);
    assert_int_equal(3, p->cpu_count);
    assert_int_equal(7, p->cpus[0].base);
    assert_int_equal(3, p->cpus[2].base);
    assert_true(p->memory == MIB(4) && p->fixed && p->address == GIB(1));
    assert_int_equal(IMAGE_FLAT, p->format);
    assert_true(p->load_address == 0x200000 && p->entry == 0x200010);
    assert_int_equal(3, p->port_count);
    assert_true(p->ports[0].base == 0x80 && p->ports[0].bytes == 1);
    assert_true(p->ports[1].base == 0x84 && p->ports[1].bytes == 1);
    assert_true(p->ports[2].base == 0x300 && p->ports[2].bytes == 16);
    assert_int_equal(0x1f << 3 | 7, p->pci[0].base);
    assert_int_equal(1 << 16 | 0xff << 8 | 1, p->pci[1].base);
    assert_int_equal(RESTART_CRASH | RESTART_RESET, p->restart_on);
    assert_int_equal(0, p->restart_limit);
    p++;
    assert_true(p->memory == GIB(1) && p->fixed && p->address == 0x40400000);
    assert_int_equal(IMAGE_LINUX, p->format);
    assert_int_equal(RESTART_RESET, p->restart_on);
    assert_true(p->restart_limit == UINT32_MAX);
    p++;
    assert_true(p->memory == MIB(1));
    assert_int_equal(IMAGE_ELF, p->format);
    p++;
    assert_true(p->load_address == MIB(1) && p->entry == MIB(1));
    assert_true(p->hpet && !p[-1].hpet);
    assert_true(p->mode == START_REAL && p->debug_exit == 0xf4 && p[-1].debug_exit == NEVER);
    assert_true(p->module_count == 2 && p[-1].module_count == 0);
    assert_string_equal("b", p->modules[1]);
}

/* A file of one partition with `line` as line 5, behind three right ones. */
struct mistake {
    const char *line;
    u32 column; /* in line 5 */
    const char *what, *remedy;
};

static void check_lines(const char *without, const struct mistake *list, size_t count) {
    static const char *const lines[] = {"cpus = [0]\n", "memory = \"16M\"\n", "kernel = \"k\"\n"};
    char text[3000];

    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "[partition.a]\n");
        for (u32 k = 0; k < 3; k++)
            strcat(text, without && !strncmp(lines[k], without, strlen(without)) ? "\n" : lines[k]);
        strcat(text, list[i].line);
        expect(text, 5, list[i].column, list[i].what, list[i].remedy);
    }
}
#define CHECK_LINES(without, list) check_lines(without, list, ARRAY_SIZE(list))

static void test_cpus(void **state) {
    static const struct mistake list[] = {
        {"cpus = []", 8, "cpus is an empty list", "cpus = [0, 1]"},
        {"cpus = 0", 8, "cpus must be a list of core numbers, not an integer", "cpus = [0, 1]"},
        {"cpus = [0, \"1\"]", 12, "must be a core number, not a string", "cpus = [0, 1]"},
        {"cpus = [0, 1.0]", 12, "must be a core number, not a fraction", "cpus = [0, 1]"},
        {"cpus = [[0]]", 9, "must be a core number, not an array", "cpus = [0, 1]"},
        {"cpus = [0, -1]", 12, "-1 is no core number", "from 0"},
        {"cpus = [65536]", 9, "65536 is no core number", "from 0"},
        {"cpus = [3, 4, 3]", 15, "core 3 is listed twice in cpus", "list it once"},
    };

    (void)state;
    CHECK_LINES("cpus", list);
}

static void test_memory(void **state) {
    static const struct mistake list[] = {
        {"memory = true", 10, "memory must be a size, not true or false", "\"512M\""},
        {"memory = 1979-05-27", 10, "memory must be a size, not a date or time", "\"512M\""},
        {"memory = 512M", 10, "512M is neither a number nor text", "write \"512M\""},
        {"memory = \"512\"", 10, "512 is no size", "K, M or G"},
        {"memory = \"\"", 10, "is no size", "K, M or G"},
        {"memory = \"M\"", 10, "M is no size", "K, M or G"},
        {"memory = \"512MB\"", 10, "512MB is no size", "K, M or G"},
        {"memory = \"512m\"", 10, "512m is no size", "K, M or G"},
        {"memory = \"-1M\"", 10, "-1M is no size", "K, M or G"},
        {"memory = \"1.5G\"", 10, "1.5G is no size", "K, M or G"},
        {"memory = \"1 G\"", 10, "1 G is no size", "K, M or G"},
        {"memory = -4096", 10, "-4096 is no size", "K, M or G"},
        {"memory = 0", 10, "memory 0 is too little", "at least \"1M\""},
        {"memory = \"1020K\"", 10, "memory 1020K is too little", "at least \"1M\""},
        {"memory = \"1025K\"", 10, "memory 1025K is not a multiple of 4K", "write \"1028K\""},
        {"memory = 16777217", 10, "not a multiple of 4K", "write \"16388K\""},
        {"memory = \"4194305G\"", 10, "more than any x86-64 machine", "\"512M\""},
        {"memory = \"99999999999999999999G\"", 10, "is no size", "K, M or G"},
        {"memory = 9223372036854775807", 10, "more than any x86-64 machine", "\"512M\""},
    };

    (void)state;
    CHECK_LINES("memory", list);
}

static void test_modules(void **state) {
    static const struct mistake kernel[] = {
        {"kernel = 3", 10, "kernel must be the name of a module, not an integer", "\"vmlinuz\""},
        {"kernel = \"\"", 10, "kernel is empty", "\"vmlinuz\""},
        {"kernel = \"a b\"", 10, "kernel holds a space", "\"vmlinuz\""},
        {"kernel = \"a\\u0000b\"", 10, "kernel holds the control character 0x00", "on one line"},
        {"kernel = \"a\\u009b2Jb\"", 10, "kernel holds the control character 0x9b", "on one line"},
        {"kernel = \"mullion.toml\"", 10, "kernel names the partition file itself", "another"},
    };
    static const struct mistake others[] = {
        {"initrd = false", 10, "initrd must be the name of a module", "\"initrd\""},
        {"initrd = \"mullion.toml\"", 10, "initrd names the partition file", "another"},
        {"cmdline = 1", 11, "cmdline must be text, not an integer", "console=ttyS0"},
        {"initrd = \"\xc2\x80\"", 10, "initrd holds the control character 0x80", "on one line"},
        {"cmdline = \"a\\nb\"", 11, "cmdline holds the control character 0x0a", "on one line"},
        {"kernel = \"x\"", 1, "kernel is defined twice", "line 4"},
    };
    char line[2300] = "cmdline = \"";

    (void)state;
    CHECK_LINES("kernel", kernel);
    CHECK_LINES(NULL, others);
    memset(line + 11, 'x', 2047);
    strcpy(line + 11 + 2048, "\"");
    line[11 + 2047] = 'x';
    check_lines(NULL, &(struct mistake){line, 11, "cmdline is 2048 bytes long", "2047"}, 1);
}

static void test_optional_keys(void **state) {
    static const struct mistake list[] = {
        {"address = [1]", 11, "address must be a physical address, not an array", "0x40000000"},
        {"address = -1", 11, "address must be a physical address, not -1", "0x40000000"},
        {"address = \"1G\"", 11, "address must be a physical address, not 1G", "0x40000000"},
        {"address = \"0x\"", 11, "address must be a physical address, not 0x", "0x40000000"},
        {"address = \"0x300000\"", 11, "0x300000 is not a multiple of 2M", "\"0x400000\""},
        {"address = 0", 11, "address 0 belongs to the machine's firmware", "0x200000"},
        {"address = \"0x10000000000000\"", 11, "beyond 52 bits", "leave the key out"},
        {"format = \"pe\"", 10, "format must be \"linux\", \"multiboot\"", "elf"},
        {"format = 1", 10, "format must be", "format = \"elf\""},
        {"load = \"0x100000\"", 8, "load is for images of format \"flat\" only", "add format"},
        {"entry = 0x100000", 9, "entry is for images of format \"flat\" only", "add format"},
        {"mode = \"real\"", 8, "mode is for images of format \"flat\" only", "remove mode"},
        {"mode = \"virtual\"\nformat = \"flat\"", 8, "mode must be", "real"},
        {"modules = [\"a\", 3]", 17, "modules must be a list of modules, not 3", "modules = ["},
        {"modules = [\"a\", \"b c\"]", 17, "modules holds a space", "another module"},
        {"debug-exit = 0", 14, "debug-exit 0x0 is no port", "0xf4"},
        {"debug-exit = 0xfffd", 14, "debug-exit 0xfffd is no port", "0xf4"},
        {"debug-exit = 0x3fd", 14, "port 0x3fd belongs to", "leave"},
        {"debug-exit = 0x5fe", 14, "port 0x600 belongs to", "leave"},
        {"debug-exit = 0xf4\nports = [0xf7]", 14, "debug-exit is one of the machine's ports", "leave"},
        {"hpet = 1", 8, "hpet must be true or false", "hpet = true"},
        {"debug-exit = true", 14, "debug-exit must be a port", "0xf4"},
        {"load = 0x1000000\nformat = \"flat\"", 8, "load 0x1000000 lies outside", "0xffffff"},
        {"entry = 0x1fffff\nload = 0x200000\nformat = \"flat\"", 9, "lies before the image", "\"0x200000\""},
        {"load = true", 8, "load must be a guest address", "0x100000"},
        {"format = \"flt\"\nload = 0x100000", 10, "format must be", "elf"},
        {"pci = [3]", 8, "an element of pci must be text", "00:03.0"},
        {"pci = [\"00:03\"]", 8, "00:03 is no PCI function", "bus:device.function"},
        {"pci = [\"00:03.8\"]", 8, "00:03.8 is no PCI function", "bus:device.function"},
        {"pci = [\"00:20.0\"]", 8, "00:20.0 is no PCI function", "bus:device.function"},
        {"pci = [\"0g:00.0\"]", 8, "0g:00.0 is no PCI function", "bus:device.function"},
        {"pci = [\"00.03:0\"]", 8, "00.03:0 is no PCI function", "bus:device.function"},
        {"pci = [\"00:03.0\", \"0000:00:03.0\"]", 19, "0000:00:03.0 is listed twice", "list it once"},
        {"restart = \"crash\"", 11, "restart must be a table, not a string", "limit = 3"},
        {"restart = {}", 11, "restart does not say on what", "on = \"crash\""},
        {"restart = {limit = 3}", 11, "restart does not say on what", "on = \"crash\""},
        {"restart = {on = \"boom\"}", 17, "on must be \"crash\"", "on = \"crash\""},
        {"restart = {on = 1}", 17, "on must be \"crash\"", "on = \"crash\""},
        {"restart = {on = \"crash\", limit = 0}", 34, "0 is no number of restarts", "1 or more"},
        {"restart = {on = \"crash\", limit = 4294967296}", 34, "is no number of restarts", ""},
        {"restart = {on = \"never\", limit = 3}", 34, "limit has no meaning", "remove limit"},
        {"restart = {on = \"crash\", limits = 3}", 26, "restart has no key limits", "mean limit?"},
    };

    (void)state;
    CHECK_LINES(NULL, list);
    expect("[partition.a]\ncpus = [0]\nmemory = \"4M\"\nkernel = \"k\"\n"
           "address = \"0xfffffffe00000\"",
           5, 11, "ends beyond 52 bits", "leave address out");
}

static void test_sriov(void **state) {
#define REST "\n[partition.a]\ncpus = [0]\nmemory = \"4M\"\nkernel = \"k\"\n"
    static const struct {
        const char *line;
        u32 column;
        const char *what, *remedy;
    } list[] = {
        {"sriov = 4", 9, "sriov must be a table, or a list of tables, not an integer", "vfs = 4"},
        {"sriov = [\"00:04.0\"]", 10, "an element of sriov must be a table, not a string", "vfs = 4"},
        {"sriov = [{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]",
         9, "sriov has 33 tables", "leave 32 at most"},
        {"sriov = {}", 9, "sriov has no function", "00:04.0"},
        {"sriov = [{ function = \"00:04.0\" }]", 10, "sriov has no vfs", "vfs = 4"},
        {"sriov = { vfs = 4 }", 9, "sriov has no function", "00:04.0"},
        {"sriov = { function = 4, vfs = 4 }", 22, "function must be a PCI function, not an integer", "00:04.0"},
        {"sriov = { function = \"00:04.*\", vfs = 4 }", 22, "function must be a PCI function, not 00:04.*", "00:04.0"},
        {"sriov = { function = \"8086:10c9\", vfs = 4 }", 22, "function must be a PCI function", "00:04.0"},
        {"sriov = { function = \"00:04.0 irq 3\", vfs = 4 }", 22, "function must be a PCI function", "00:04.0"},
        {"sriov = { function = \"00:04.0\", vfs = 0 }", 39, "vfs must be a number of virtual functions", "vfs = 4"},
        {"sriov = { function = \"00:04.0\", vfs = -1 }", 39, "vfs must be", "vfs = 4"},
        {"sriov = { function = \"00:04.0\", vfs = 257 }", 39, "1 to 256, not 257", "vfs = 4"},
        {"sriov = { function = \"00:04.0\", vf = 4 }", 33, "sriov has no key vf", "mean vfs?"},
    };
    struct config *c;

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(list); i++) {
        char text[300];

        snprintf(text, sizeof(text), "[machine]\n%s" REST, list[i].line);
        expect(text, 2, list[i].column, list[i].what, list[i].remedy);
    }
    c = parse("[machine]\nsriov = { function = \"00:04.0\", vfs = 4 }" REST);
    assert_int_equal(1, c->sriov_count);
    assert_true(c->sriov[0].function == 4 << 3 && c->sriov[0].vfs == 4);
    assert_true(c->sriov[0].function_at.line == 2 && c->sriov[0].function_at.column == 22);
    c = parse("[machine]\nsriov = [{ function = \"0001:03:00.1\", vfs = 256 }, {vfs=1, function=\"01:00.0\"}]" REST);
    assert_int_equal(2, c->sriov_count);
    assert_true(c->sriov[0].function == 0x10301 && c->sriov[0].vfs == 256);
    assert_true(c->sriov[1].function == 0x100 && c->sriov[1].vfs == 1);
#undef REST
    c = parse(example);
    assert_int_equal(0, c->sriov_count);
}

static void test_ports(void **state) {
    static const struct {
        u32 first, last;
    } taken[] = {{0x0, 0xf},     {0x20, 0x21},   {0x40, 0x43},   {0x60, 0x61},  {0x64, 0x64},
                 {0x70, 0x71},   {0x92, 0x92},   {0xa0, 0xa1},   {0xc0, 0xdf},  {0xe9, 0xe9},
                 {0x3f8, 0x3ff}, {0x4d0, 0x4d1}, {0x600, 0x60b}, {0xcf8, 0xcff}};
    static const struct mistake list[] = {
        {"ports = []", 9, "ports is an empty list", "ports = ["},
        {"ports = \"0x80\"", 9, "ports must be a list of ports, not a string", "ports = ["},
        {"ports = [true]", 10, "an element of ports must be a port", "ports = ["},
        {"ports = [65536]", 10, "65536 is neither a port nor a range", "0xffff"},
        {"ports = [-1]", 10, "-1 is neither a port nor a range", "0xffff"},
        {"ports = [\"128\"]", 10, "128 is neither a port nor a range", "0xffff"},
        {"ports = [\"0x80-\"]", 10, "0x80- is neither a port nor a range", "0xffff"},
        {"ports = [\"0x8f-0x80\"]", 10, "0x8f-0x80 is neither a port nor a range", "0xffff"},
        {"ports = [\"0x80-0x10000\"]", 10, "is neither a port nor a range", "0xffff"},
        {"ports = [\"0x0-0xffffffffffffffff\"]", 10, "is neither a port nor a range", "0xffff"},
        {"ports = [0x80, \"0x7f-0x82\"]", 16, "port 0x80 is listed twice in ports", "list it once"},
        {"ports = [0x3f8]", 10, "port 0x3f8 belongs to the hypervisor's console", "0x3f8-0x3ff"},
        {"pci = [\"00:05.0 irq 4\"]", 8, "irq 4 is the line of the hypervisor's console", "own line"},
        {"ports = [0x80, \"0x62-0x90\"]", 16, "port 0x64 belongs to the partition's own", "0x64"},
    };
    char text[80];
    u32 refused = 0;

    (void)state;
    CHECK_LINES(NULL, list);
    expect("[machine]\nconsole = \"com2\"\n[partition.a]\ncpus = [0]\nmemory = \"16M\"\n"
           "kernel = \"k\"\nports = [\"0x2f0-0x2f8\"]",
           7, 10, "port 0x2f8 belongs to the hypervisor's console", "0x2f8-0x2ff");
    /* Each port below 0x1000 on its own: refused exactly if someone has it. */
    for (u32 port = 0; port < 0x1000; port++) {
        struct config *config;
        bool expected = false;

        for (u32 i = 0; i < ARRAY_SIZE(taken); i++) expected |= port >= taken[i].first && port <= taken[i].last;
        snprintf(text, sizeof(text), "[partition.a]\ncpus=[0]\nmemory=\"1M\"\nkernel=\"k\"\nports=[%u]", port);
        if ((parse_bytes(text, strlen(text), &config) != 0) != expected) fail_msg("port 0x%x", port);
        refused += expected;
    }
    assert_int_equal(16 + 2 + 4 + 2 + 1 + 2 + 1 + 2 + 32 + 1 + 8 + 2 + 12 + 8, refused);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example), cmocka_unit_test(test_all_keys), cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_memory),  cmocka_unit_test(test_modules),  cmocka_unit_test(test_optional_keys),
        cmocka_unit_test(test_sriov),   cmocka_unit_test(test_ports),
    };
    return cmocka_run_group_tests(tests, NULL, free_memory);
}
