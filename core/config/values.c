/* How the value of each key is read: type is checked already, range and form are checked here. A new key is a field in
 * config.h and a line in one of the tables at the end. */
#include "core/config/schema.h"

#include "core/base/bits.h"
#include "core/base/fmt.h"
#include "core/base/pci.h"
#include "core/base/string.h"
#include "core/config/toml_scan.h"

#define STRING  (1u << TOML_STRING)
#define INTEGER (1u << TOML_INTEGER)
#define BOOLEAN (1u << TOML_BOOLEAN)
#define ARRAY   (1u << TOML_ARRAY)
#define TABLE   (1u << TOML_TABLE)

static struct quoted quote_node(const struct toml_node *node) {
    struct quoted q;

    if (node->kind == TOML_STRING) return problem_quote(node->text, node->length);
    fmt(q.text, sizeof(q.text), "%lld", (long long)node->integer);
    /* cppcheck-suppress uninitvar ; fmt writes it */
    return q;
}

static void unfit(struct reader *r, const struct key_rule *rule, const struct toml_node *node) {
    problem_add(&r->problems, node->at, "%s must be %s, not %s\nwrite for example %s", rule->name, rule->want,
                quote_node(node).text, rule->example);
}

/* "0x" and 1 to 16 hexadecimal digits. */
static bool parse_hex(const char *text, size_t length, u64 *out) {
    *out = 0;
    if (length < 3 || length > 18 || text[0] != '0' || text[1] != 'x') return false;
    for (size_t i = 2; i < length; i++) {
        int digit = digit_of(text[i], 16);

        if (digit < 0) return false;
        *out = *out << 4 | (u64)digit;
    }
    return true;
}

bool config_parse_size(const char *text, size_t length, u64 *out) {
    u32 shift;

    *out = 0;
    if (length < 2) return false;
    switch (text[length - 1]) {
    case 'K': shift = 10; break;
    case 'M': shift = 20; break;
    case 'G': shift = 30; break;
    default: return false;
    }
    for (size_t i = 0; i + 1 < length; i++) {
        if (!is_digit(text[i]) || *out > CONFIG_MAX_ADDRESS) return false;
        *out = *out * 10 + (u64)(text[i] - '0');
    }
    /* Saturate: what is beyond every machine stays so, and is refused with its own words. */
    *out = *out > CONFIG_MAX_ADDRESS >> shift ? CONFIG_MAX_ADDRESS + 1 : *out << shift;
    return true;
}

/* An integer of 0 or more, or a string "0x...". */
static bool parse_number(const struct toml_node *node, u64 *out) {
    if (node->kind == TOML_STRING) return parse_hex(node->text, node->length, out);
    *out = (u64)node->integer;
    return node->integer >= 0;
}

static void take_number(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field) {
    if (!parse_number(node, field)) unfit(r, rule, node);
}

/* A NUL or other control character would reach a console or end the text early. The control
 * characters above ASCII, U+0080 to U+009F, are C2 80 to C2 9F: a terminal obeys U+009B as it does
 * ESC [. The parser has checked that every C2 is followed by another byte. */
static void take_text(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field) {
    for (size_t i = 0; i < node->length; i++) {
        u8 c = (u8)node->text[i];
        bool high = c == 0xc2 && (u8)node->text[i + 1] < 0xa0; /* the text ends with a NUL */

        if (c >= 0x20 && c != 0x7f && !high) continue;
        problem_add(&r->problems, node->at,
                    "%s holds the control character 0x%02x\nwrite it on one line and without tabs", rule->name,
                    high ? (u8)node->text[i + 1] : c);
        return;
    }
    if (node->length <= rule->most)
        *(const char **)field = node->text;
    else
        problem_add(&r->problems, node->at, "%s is %zu bytes long\nshorten it to at most %u bytes", rule->name,
                    node->length, rule->most);
}

/* Name of a GRUB module. */
static void take_module(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field) {
    const char *wrong = node->length == 0 ? "is empty" : NULL;

    for (size_t i = 0; i < node->length; i++)
        if (node->text[i] == ' ') wrong = "holds a space";
    if (str_equal(node->text, CONFIG_FILE_NAME)) wrong = "names the partition file itself";
    if (!wrong)
        take_text(r, rule, node, field);
    else
        problem_add(&r->problems, node->at, "%s %s\nwrite the name of another module, for example %s", rule->name,
                    wrong, rule->example);
}

static void take_modules(struct reader *r, const struct key_rule *rule, const struct toml_node *array, void *field) {
    struct config_partition *p = container_of(field, struct config_partition, modules);

    p->modules = reader_alloc(r, array->count * sizeof(*p->modules));
    for (const struct toml_node *n = array->first; n && p->modules; n = n->next)
        if (n->kind == TOML_STRING)
            take_module(r, rule, n, &p->modules[p->module_count++]);
        else
            unfit(r, rule, n);
}

/* Names of partitions, which check.c looks up; or "*". */
static void take_control(struct reader *r, const struct key_rule *rule, const struct toml_node *array, void *field) {
    struct config_partition *p = container_of(field, struct config_partition, control);

    p->control = reader_alloc(r, array->count * sizeof(*p->control));
    if (array->count == 0)
        problem_add(&r->problems, array->at, "%s is an empty list\nwrite for example %s, or leave it out", rule->name,
                    rule->example);
    for (const struct toml_node *n = array->first; n && p->control; n = n->next) {
        struct config_grant *grant = &p->control[p->control_count];

        if (n->kind != TOML_STRING) {
            unfit(r, rule, n);
            return;
        }
        if (str_equal(n->text, "*")) {
            p->control_all = true;
            if (array->count > 1)
                problem_add(&r->problems, n->at, "\"*\" stands for all others\nremove the other names, or \"*\"");
            continue;
        }
        grant->at = n->at;
        take_text(r, rule, n, &grant->name);
        if (!grant->name) return;
        p->control_count++;
    }
}

static void take_choice(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field) {
    for (const struct choice *c = rule->choices; c->word; c++) {
        if (node->length != strlen(c->word) || !str_equal(node->text, c->word)) continue;
        *(u32 *)field = c->value;
        return;
    }
    unfit(r, rule, node);
}

static void take_bool(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field) {
    (void)r;
    (void)rule;
    *(bool *)field = node->boolean;
}

static void take_memory(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field) {
    struct quoted q = quote_node(node);
    u64 bytes = 0;

    if (node->kind == TOML_INTEGER ? !parse_number(node, &bytes) : !config_parse_size(node->text, node->length, &bytes))
        problem_add(&r->problems, node->at, "%s is no size\nwrite a whole number and K, M or G, for example %s", q.text,
                    rule->example);
    else if (bytes < CONFIG_MIN_MEMORY)
        problem_add(&r->problems, node->at, "memory %s is too little for a partition\nwrite at least \"1M\"", q.text);
    else if (bytes > CONFIG_MAX_ADDRESS)
        problem_add(
            &r->problems, node->at,
            "memory %s is more than any x86-64 machine can have\nwrite a size that fits the machine, for example %s",
            q.text, rule->example);
    else if (!is_aligned(bytes, PAGE_4K))
        problem_add(&r->problems, node->at, "memory %s is not a multiple of 4K\nwrite \"%s\"", q.text,
                    problem_size(align_up(bytes, PAGE_4K)).text);
    else
        *(u64 *)field = bytes;
}

static void take_address(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field) {
    struct config_partition *p = container_of(field, struct config_partition, address);
    unsigned long long value;

    if (!parse_number(node, &p->address)) {
        unfit(r, rule, node);
        return;
    }
    value = p->address;
    if (value >= CONFIG_MAX_ADDRESS)
        problem_add(&r->problems, node->at,
                    "address 0x%llx is beyond 52 bits\nleave the key out: the hypervisor finds a place", value);
    else if (!is_aligned(value, PAGE_2M))
        problem_add(&r->problems, node->at,
                    "address 0x%llx is not a multiple of 2M (0x200000)\nwrite \"0x%llx\" or leave the key out", value,
                    (unsigned long long)align_up(value, PAGE_2M));
    else if (value == 0)
        problem_add(&r->problems, node->at,
                    "address 0 belongs to the machine's firmware\nwrite \"0x200000\" or more, or leave the key out");
    else
        p->fixed = true;
}

static void take_node(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field) {
    *(u32 *)field = (u32)node->integer;
    if (node->integer < 0 || node->integer > CONFIG_MAX_NODE) unfit(r, rule, node);
}

static void take_limit(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field) {
    if (node->integer >= 1 && node->integer <= UINT32_MAX)
        *(u32 *)field = (u32)node->integer;
    else
        problem_add(&r->problems, node->at,
                    "%lld is no number of restarts\nwrite 1 or more, for example %s; without limit leave it out",
                    (long long)node->integer, rule->example);
}

/* --- lists --- */

static bool parse_core(const struct toml_node *n, struct config_range *out) {
    *out = (struct config_range){.base = (u64)n->integer, .bytes = 1, .at = n->at};
    return n->integer >= 0 && n->integer <= CONFIG_MAX_CORE;
}

static void core_text(char *out, size_t size, u64 core) { fmt(out, size, "core %u", (u32)core); }

/* 0x80, "0x80" or "0x80-0x8f". */
static bool parse_ports(const struct toml_node *n, struct config_range *out) {
    size_t dash = 0;
    u64 last;

    *out = (struct config_range){.base = (u64)n->integer, .bytes = 1, .at = n->at};
    if (n->kind == TOML_INTEGER) return n->integer >= 0 && n->integer <= 0xffff;
    while (dash < n->length && n->text[dash] != '-') dash++;
    if (!parse_hex(n->text, dash, &out->base)) return false;
    last = out->base;
    if (dash < n->length && !parse_hex(n->text + dash + 1, n->length - dash - 1, &last)) return false;
    out->bytes = last - out->base + 1;
    return out->base <= last && last <= 0xffff;
}

static void port_text(char *out, size_t size, u64 port) { fmt(out, size, "port 0x%x", (u32)port); }

/* Hexadecimal digits, `count` of them. */
static bool take_hex(const char **text, u32 count, u64 *out) {
    for (*out = 0; count; count--) {
        int digit = digit_of(*(*text)++, 16);

        if (digit < 0) return false;
        *out = *out << 4 | (u64)digit;
    }
    return true;
}

static bool take_decimal(const char **text, u64 most, u64 *out) {
    if (!is_digit(**text)) return false;
    for (*out = 0; is_digit(**text) && *out <= most;) *out = *out * 10 + (u64)(*(*text)++ - '0');
    return *out <= most;
}

/* "[ssss:]bb:dd.f" or "...dd.*", as lspci prints it; or "vvvv:dddd", "vvvv:dddd#1". Then maybe " irq 23". */
static bool parse_pci(const struct toml_node *n, struct config_range *out) {
    const char *t = n->text;
    u64 segment = 0, a, b, c = 0, gsi = 0, most = 0xffff;

    *out = (struct config_range){.bytes = 1, .at = n->at};
    if (n->length >= 7 && t[2] == ':') {
        if (!take_hex(&t, 2, &a)) return false;
    } else {
        if (!take_hex(&t, 4, &a) || *t != ':') return false;
        if (n->length >= 12 && t[3] == ':') {
            segment = a;
            t++;
            if (!take_hex(&t, 2, &a)) return false;
        } else {
            t++;
            if (!take_hex(&t, 4, &b)) return false;
            out->bytes = most + 1;
            if (*t == '#') {
                t++;
                if (!take_decimal(&t, most, &c)) return false;
                out->bytes = 1;
            }
            out->base = CONFIG_PCI_DEVICE(a, b) | c;
            goto line;
        }
    }
    if (*t++ != ':' || !take_hex(&t, 2, &b) || b > 31 || *t++ != '.') return false;
    if (*t == '*')
        out->bytes = 8, t++;
    else if (!take_decimal(&t, 7, &c))
        return false;
    out->base = segment << 16 | a << 8 | b << 3 | c;
line:
    if (str_starts(t, " irq ")) {
        t += 5;
        if (!take_decimal(&t, 0xffff, &gsi) || !gsi) return false;
    }
    out->gsi = (u32)gsi;
    return t == n->text + n->length;
}

static void take_list(struct reader *r, const struct key_rule *rule, const struct toml_node *array, void *field) {
    const struct list_rule *list = rule->list;
    struct config_range *out = reader_alloc(r, array->count * sizeof(*out));
    char *partition = (char *)field - rule->field;

    if (!out) return;
    *(struct config_range **)field = out;
    if (array->count == 0)
        problem_add(&r->problems, array->at, "%s is an empty list\nwrite for example %s", rule->name, rule->example);
    for (const struct toml_node *n = array->first; n; n = n->next) {
        if (!(list->kinds & 1u << n->kind)) {
            problem_add(&r->problems, n->at, "an element of %s must be %s, not %s\nwrite for example %s", rule->name,
                        list->want, toml_kind_name(n->kind), rule->example);
            return;
        }
        if (!list->parse(n, out++)) {
            problem_add(&r->problems, n->at, "%s is %s", quote_node(n).text, list->problem);
            return;
        }
    }
    *(u32 *)(void *)(partition + list->count) = array->count;
}

/* --- virtual functions --- */

static void take_function(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field) {
    struct config_range range = {0};

    if (parse_pci(node, &range) && range.bytes == 1 && !(range.base & BIT(63)) && !range.gsi)
        *(u64 *)field = range.base;
    else
        unfit(r, rule, node);
}

static void take_vfs(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field) {
    *(u64 *)field = (u64)node->integer;
    if (node->integer < 1 || node->integer > CONFIG_MAX_VFS) unfit(r, rule, node);
}

static void take_sriov(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field);

/* --- the tables --- */

static void take_restart(struct reader *r, const struct key_rule *rule, const struct toml_node *table, void *field);

#define COUNT(list)   offsetof(struct config_partition, list##_count)
#define MACHINE(name) .field = offsetof(struct config, name)
#define FIELD(name)   .field = offsetof(struct config_partition, name)
/* A field whose place in the file is kept. */
#define PLACED(name) FIELD(name), .place = offsetof(struct config_partition, name##_at)

static const struct choice consoles[] = {{"com1", 0x3f8}, {"com2", 0x2f8}, {"com3", 0x3e8},
                                         {"com4", 0x2e8}, {"none", 0},     {0}};
static const struct choice formats[] = {{"linux", IMAGE_LINUX},         {"elf", IMAGE_ELF},
                                        {"flat", IMAGE_FLAT},           {"pvh", IMAGE_PVH},
                                        {"multiboot", IMAGE_MULTIBOOT}, {"multiboot2", IMAGE_MULTIBOOT2},
                                        {"firmware", IMAGE_FIRMWARE},   {0}};
static const struct choice modes[] = {{"real", START_REAL}, {"protected", START_PROTECTED}, {"long", START_LONG}, {0}};
static const struct choice dmas[] = {{"remapped", false}, {"unprotected", true}, {0}};
static const struct choice groups[] = {{"whole", false}, {"split", true}, {0}};
static const struct choice resets[] = {{"required", false}, {"optional", true}, {0}};
static const struct choice faults[] = {{"report", false}, {"stop", true}, {0}};
static const struct choice ons[] = {{"never", RESTART_NEVER},
                                    {"crash", RESTART_CRASH},
                                    {"reset", RESTART_RESET},
                                    {"always", RESTART_CRASH | RESTART_RESET},
                                    {0}};

static const struct list_rule
    cores = {INTEGER,    "a core number", "no core number\ncores are numbered from 0 to at most 65535",
             parse_core, core_text,       COUNT(cpu)},
    ports = {INTEGER | STRING,
             "a port",
             "neither a port nor a range of ports\nwrite 0x0 to 0xffff, or a range such as \"0x80-0x8f\"",
             parse_ports,
             port_text,
             COUNT(port)},
    functions = {STRING,
                 "text",
                 "no PCI function\nwrite bus:device.function in hex or vendor:device, for example pci = [\"00:03.0\"]",
                 parse_pci,
                 config_pci_text,
                 COUNT(pci)};

static const struct key_rule restart_keys[] = {
    {"on", STRING, "\"crash\", \"reset\", \"always\" or \"never\"", "on = \"crash\"", take_choice, FIELD(restart_on),
     .choices = ons},
    {"limit", INTEGER, "a number of restarts", "limit = 3", take_limit, FIELD(restart_limit)},
    {0},
};

static const struct key_rule sriov_keys[] = {
    {"function", STRING, "a PCI function", "function = \"00:04.0\"", take_function,
     .field = offsetof(struct config_sriov, function), .place = offsetof(struct config_sriov, function_at),
     .needed = true},
    {"vfs", INTEGER, "a number of virtual functions, 1 to 256", "vfs = 4", take_vfs,
     .field = offsetof(struct config_sriov, vfs), .needed = true},
    {0},
};

const struct key_rule config_machine_keys[] = {
    {"console", STRING, "\"com1\" to \"com4\" or \"none\"", "console = \"com1\"", take_choice, MACHINE(console),
     .choices = consoles},
    {"focus", STRING, "the name of a partition", "focus = \"linux\"", take_text, MACHINE(focus),
     .place = offsetof(struct config, focus_at), .most = CONFIG_MAX_NAME},
    {"sriov", TABLE | ARRAY, "a table, or a list of tables", "sriov = [{ function = \"00:04.0\", vfs = 4 }]",
     take_sriov, .field = 0},
    {0},
};

const struct key_rule config_partition_keys[] = {
    {"cpus", ARRAY, "a list of core numbers", "cpus = [0, 1]", take_list, FIELD(cpus), .needed = true, .list = &cores},
    {"memory", STRING | INTEGER, "a size", "memory = \"512M\"", take_memory, PLACED(memory), .needed = true},
    {"address", STRING | INTEGER, "a physical address", "address = \"0x40000000\"", take_address, PLACED(address)},
    {"node", INTEGER, "the number of a NUMA node", "node = 1", take_node, PLACED(node)},
    {"kernel", STRING, "the name of a module", "kernel = \"vmlinuz\"", take_module, PLACED(kernel), .needed = true,
     .most = CONFIG_MAX_MODULE},
    {"initrd", STRING, "the name of a module", "initrd = \"initrd\"", take_module, PLACED(initrd),
     .most = CONFIG_MAX_MODULE},
    {"cmdline", STRING, "text", "cmdline = \"console=ttyS0\"", take_text, FIELD(cmdline), .most = CONFIG_MAX_CMDLINE},
    {"format", STRING, "\"linux\", \"multiboot\", \"pvh\", \"multiboot2\", \"elf\", \"flat\" or \"firmware\"",
     "format = \"elf\"", take_choice, FIELD(format), .choices = formats},
    {"load", STRING | INTEGER, "a guest address", "load = \"0x100000\"", take_number, FIELD(load_address),
     .place = offsetof(struct config_partition, load_at)},
    {"entry", STRING | INTEGER, "a guest address", "entry = \"0x100000\"", take_number, PLACED(entry)},
    {"mode", STRING, "\"real\", \"protected\" or \"long\"", "mode = \"real\"", take_choice, PLACED(mode),
     .choices = modes},
    {"modules", ARRAY, "a list of modules", "modules = [\"disk.img\"]", take_modules, PLACED(modules),
     .most = CONFIG_MAX_MODULE},
    {"debug-exit", STRING | INTEGER, "a port", "debug-exit = \"0xf4\"", take_number, PLACED(debug_exit)},
    {"hpet", BOOLEAN, "true or false", "hpet = true", take_bool, FIELD(hpet)},
    {"ports", ARRAY, "a list of ports", "ports = [0x378, \"0x379-0x37a\"]", take_list, FIELD(ports), .list = &ports},
    {"pci", ARRAY, "a list of PCI functions", "pci = [\"00:03.0\"]", take_list, FIELD(pci), .list = &functions},
    {"dma", STRING, "\"remapped\" or \"unprotected\"", "dma = \"unprotected\"", take_choice, FIELD(dma_unprotected),
     .choices = dmas},
    {"pci-groups", STRING, "\"whole\" or \"split\"", "pci-groups = \"split\"", take_choice, FIELD(groups_split),
     .choices = groups},
    {"pci-reset", STRING, "\"required\" or \"optional\"", "pci-reset = \"optional\"", take_choice,
     FIELD(reset_optional), .choices = resets},
    {"pci-fault", STRING, "\"report\" or \"stop\"", "pci-fault = \"stop\"", take_choice, FIELD(stop_on_fault),
     .choices = faults},
    {"control", ARRAY, "a list of partitions", "control = [\"control-loop\"]", take_control, PLACED(control),
     .most = CONFIG_MAX_NAME},
    {"restart", TABLE, "a table", "restart = { on = \"crash\", limit = 3 }", .take = take_restart},
    {0},
};

static void take_restart(struct reader *r, const struct key_rule *rule, const struct toml_node *table, void *field) {
    const struct toml_node *limit = toml_find(table, "limit", 5);
    struct config_partition *p = field; /* the keys stand in the partition's own struct */
    u32 before = r->problems.count;

    config_read_table(r, table, "restart", restart_keys, p);
    if (r->problems.count != before) return;
    if (!toml_find(table, "on", 2))
        problem_add(&r->problems, table->at, "restart does not say on what\nwrite for example %s", rule->example);
    else if (limit && p->restart_on == RESTART_NEVER)
        problem_add(&r->problems, limit->at,
                    "a limit has no meaning if nothing is restarted\nremove limit, or write on = \"crash\"");
}

/* One table, or a list of them. */
static void take_sriov(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    const struct toml_node *n = node->kind == TOML_ARRAY ? node->first : node;
    u32 count = node->kind == TOML_ARRAY ? node->count : 1;
    struct config *config = to;

    if (count > PCI_SRIOVS) {
        problem_add(&r->problems, node->at, "sriov has %u tables\nleave %u at most", count, PCI_SRIOVS);
        return;
    }
    config->sriov = reader_alloc(r, count * sizeof(*config->sriov));
    for (u32 i = 0; i < count && config->sriov; i++, n = n->next) {
        u32 before = r->problems.count;

        if (n->kind != TOML_TABLE) {
            problem_add(&r->problems, n->at, "an element of sriov must be a table, not %s\nwrite for example %s",
                        toml_kind_name(n->kind), rule->example);
            return;
        }
        config->sriov[i].at = n->at;
        config_read_table(r, n, "sriov", sriov_keys, &config->sriov[i]);
        for (const struct key_rule *key = sriov_keys; key->name && r->problems.count == before; key++)
            if (!toml_find(n, key->name, strlen(key->name)))
                problem_add(&r->problems, n->at, "sriov has no %s\nwrite for example %s", key->name, rule->example);
        config->sriov_count++;
    }
}
