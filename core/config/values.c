/* One function for each key's value: type is checked already, range and form are checked here. */
#include "core/config/schema.h"

#include "core/base/bits.h"
#include "core/base/fmt.h"
#include "core/base/string.h"

#define STRING  (1u << TOML_STRING)
#define INTEGER (1u << TOML_INTEGER)
#define ARRAY   (1u << TOML_ARRAY)
#define TABLE   (1u << TOML_TABLE)

static struct quoted quote_node(const struct toml_node *node) {
    struct quoted q;

    if (node->kind == TOML_STRING) return problem_quote(node->text, node->length);
    fmt(q.text, sizeof(q.text), "%lld", (long long)node->integer);
    /* cppcheck-suppress uninitvar ; fmt writes it */
    return q;
}

/* "0x" and 1 to 16 hexadecimal digits. */
static bool parse_hex(const char *text, size_t length, u64 *out) {
    *out = 0;
    if (length < 3 || length > 18 || text[0] != '0' || text[1] != 'x') return false;
    for (size_t i = 2; i < length; i++) {
        char c = text[i];
        u32 digit = c >= '0' && c <= '9'   ? (u32)(c - '0')
                    : c >= 'a' && c <= 'f' ? (u32)(c - 'a' + 10)
                    : c >= 'A' && c <= 'F' ? (u32)(c - 'A' + 10)
                                           : 16;

        if (digit == 16) return false;
        *out = *out << 4 | digit;
    }
    return true;
}

bool config_parse_size(const char *text, size_t length, u64 *out) {
    static const char suffix[] = "KMG";
    u32 shift = 0;

    *out = 0;
    if (length < 2) return false;
    for (u32 i = 0; i < 3; i++)
        if (text[length - 1] == suffix[i]) shift = 10 * (i + 1);
    if (shift == 0) return false;
    for (size_t i = 0; i + 1 < length; i++) {
        if (text[i] < '0' || text[i] > '9' || *out > CONFIG_MAX_ADDRESS) return false;
        *out = *out * 10 + (u64)(text[i] - '0');
    }
    /* Saturate: what is beyond every machine stays so, and is refused with its own words. */
    *out = *out > CONFIG_MAX_ADDRESS >> shift ? CONFIG_MAX_ADDRESS + 1 : *out << shift;
    return true;
}

/* An integer of 0 or more, or a string "0x...". */
static bool take_number(struct reader *r, const struct key_rule *rule, const struct toml_node *node, u64 *out) {
    if (node->kind == TOML_INTEGER && node->integer >= 0) {
        *out = (u64)node->integer;
        return true;
    }
    if (node->kind == TOML_STRING && parse_hex(node->text, node->length, out)) return true;
    problem_add(&r->problems, node->at, "%s must be %s, not %s", rule->name, rule->want, quote_node(node).text);
    problem_remedy(&r->problems, "write for example %s", rule->example);
    return false;
}

/* A NUL or other control character would reach a console or end the text early. The control
 * characters above ASCII, U+0080 to U+009F, are C2 80 to C2 9F: a terminal obeys U+009B as it does
 * ESC [. The parser has checked that every C2 is followed by another byte. */
static bool clean_text(struct reader *r, const struct key_rule *rule, const struct toml_node *node, size_t most) {
    for (size_t i = 0; i < node->length; i++) {
        u8 c = (u8)node->text[i];
        bool high = c == 0xc2 && (u8)node->text[i + 1] < 0xa0; /* the text ends with a NUL */

        if (c >= 0x20 && c != 0x7f && !high) continue;
        problem_add(&r->problems, node->at, "%s holds the control character 0x%02x", rule->name,
                    high ? (u8)node->text[i + 1] : c);
        problem_remedy(&r->problems, "write it on one line and without tabs");
        return false;
    }
    if (node->length <= most) return true;
    problem_add(&r->problems, node->at, "%s is %zu bytes long", rule->name, node->length);
    problem_remedy(&r->problems, "shorten it to at most %zu bytes", most);
    return false;
}

/* The index of the value in `choices`, or -1 after a problem was noted. */
static int take_choice(struct reader *r, const struct key_rule *rule, const struct toml_node *node,
                       const char *const *choices, u32 count) {
    for (u32 i = 0; i < count; i++)
        if (node->length == strlen(choices[i]) && str_equal(node->text, choices[i])) return (int)i;
    problem_add(&r->problems, node->at, "%s must be %s, not %s", rule->name, rule->want, quote_node(node).text);
    problem_remedy(&r->problems, "write for example %s", rule->example);
    return -1;
}

static void take_console(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    static const char *const choices[] = {"com1", "com2", "com3", "com4", "none"};
    struct config *config = to;
    int i = take_choice(r, rule, node, choices, ARRAY_SIZE(choices));

    if (i >= 0) config->console = choices[i];
}

static void take_focus(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    struct config *config = to;

    if (!clean_text(r, rule, node, CONFIG_MAX_NAME)) return;
    config->focus = node->text;
    config->focus_at = node->at;
}

/* Common to all arrays: at least one element, each of the right type. */
static bool check_elements(struct reader *r, const struct key_rule *rule, const struct toml_node *array, u32 kinds,
                           const char *want) {
    if (array->count == 0) {
        problem_add(&r->problems, array->at, "%s is an empty list", rule->name);
        problem_remedy(&r->problems, "write for example %s", rule->example);
        return false;
    }
    for (const struct toml_node *n = array->first; n; n = n->next) {
        if (kinds & 1u << n->kind) continue;
        problem_add(&r->problems, n->at, "an element of %s must be %s, not %s", rule->name, want,
                    toml_kind_name(n->kind));
        problem_remedy(&r->problems, "write for example %s", rule->example);
        return false;
    }
    return true;
}

static void take_cpus(struct reader *r, const struct key_rule *rule, const struct toml_node *array, void *to) {
    struct config_partition *p = to;
    u32 i = 0;

    p->line_cpus = array->at.line;
    p->column_cpus = array->at.column;
    if (!check_elements(r, rule, array, INTEGER, "a core number")) return;
    p->cpus = reader_alloc(r, array->count * sizeof(*p->cpus));
    p->cpu_at = reader_alloc(r, array->count * sizeof(*p->cpu_at));
    if (!p->cpus || !p->cpu_at) return;
    for (const struct toml_node *n = array->first; n; n = n->next, i++) {
        if (n->integer < 0 || n->integer > CONFIG_MAX_CORE) {
            problem_add(&r->problems, n->at, "%lld is no core number", (long long)n->integer);
            problem_remedy(&r->problems, "cores are numbered from 0 to at most %u", CONFIG_MAX_CORE);
            return;
        }
        p->cpus[i] = (u32)n->integer;
        p->cpu_at[i] = n->at;
    }
    p->cpu_count = array->count;
}

static void take_memory(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    struct config_partition *p = to;
    u64 bytes = 0;

    p->line_memory = node->at.line;
    p->column_memory = node->at.column;
    if (node->kind == TOML_INTEGER ? node->integer < 0 : !config_parse_size(node->text, node->length, &bytes)) {
        problem_add(&r->problems, node->at, "%s is no size", quote_node(node).text);
        problem_remedy(&r->problems, "write a whole number and K, M or G, for example %s", rule->example);
        return;
    }
    if (node->kind == TOML_INTEGER) bytes = (u64)node->integer;
    if (bytes < CONFIG_MIN_MEMORY) {
        problem_add(&r->problems, node->at, "memory %s is too little for a partition", quote_node(node).text);
        problem_remedy(&r->problems, "write at least \"1M\"");
    } else if (bytes > CONFIG_MAX_ADDRESS) {
        problem_add(&r->problems, node->at, "memory %s is more than any x86-64 machine can have",
                    quote_node(node).text);
        problem_remedy(&r->problems, "write a size that fits the machine, for example %s", rule->example);
    } else if (!is_aligned(bytes, PAGE_4K)) {
        problem_add(&r->problems, node->at, "memory %s is not a multiple of 4K", quote_node(node).text);
        problem_remedy(&r->problems, "write \"%s\"", problem_size(align_up(bytes, PAGE_4K)).text);
    } else {
        p->memory = bytes;
    }
}

static void take_address(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    struct config_partition *p = to;
    u64 value;

    p->line_address = node->at.line;
    p->column_address = node->at.column;
    if (!take_number(r, rule, node, &value)) return;
    if (value >= CONFIG_MAX_ADDRESS) {
        problem_add(&r->problems, node->at, "address 0x%llx is beyond 52 bits", (unsigned long long)value);
        problem_remedy(&r->problems, "leave the key out: the hypervisor finds a place");
    } else if (!is_aligned(value, PAGE_2M)) {
        problem_add(&r->problems, node->at, "address 0x%llx is not a multiple of 2M (0x200000)",
                    (unsigned long long)value);
        problem_remedy(&r->problems, "write \"0x%llx\" or leave the key out",
                       (unsigned long long)align_up(value, PAGE_2M));
    } else if (value == 0) {
        problem_add(&r->problems, node->at, "address 0 belongs to the machine's firmware");
        problem_remedy(&r->problems, "write \"0x200000\" or more, or leave the key out");
    } else {
        p->fixed = true;
        p->address = value;
    }
}

/* Name of a GRUB module. */
static const char *take_module(struct reader *r, const struct key_rule *rule, const struct toml_node *node) {
    if (!clean_text(r, rule, node, CONFIG_MAX_MODULE)) return NULL;
    for (size_t i = 0; i < node->length; i++) {
        if (node->text[i] != ' ') continue;
        problem_add(&r->problems, node->at, "%s holds a space: it is the name of one module", rule->name);
        problem_remedy(&r->problems, "write for example %s", rule->example);
        return NULL;
    }
    if (node->length == 0) {
        problem_add(&r->problems, node->at, "%s is empty", rule->name);
        problem_remedy(&r->problems, "write the name of a module, for example %s", rule->example);
        return NULL;
    }
    if (str_equal(node->text, CONFIG_FILE_NAME)) {
        problem_add(&r->problems, node->at, "%s names the partition file itself", rule->name);
        problem_remedy(&r->problems, "write the name of another module, for example %s", rule->example);
        return NULL;
    }
    return node->text;
}

static void take_kernel(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    struct config_partition *p = to;

    p->line_kernel = node->at.line;
    p->column_kernel = node->at.column;
    p->kernel = take_module(r, rule, node);
}

static void take_initrd(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    struct config_partition *p = to;

    p->line_initrd = node->at.line;
    p->column_initrd = node->at.column;
    p->initrd = take_module(r, rule, node);
}

static void take_cmdline(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    struct config_partition *p = to;

    if (clean_text(r, rule, node, CONFIG_MAX_CMDLINE)) p->cmdline = node->text;
}

static void take_format(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    static const char *const choices[] = {"linux", "elf", "flat"};
    static const enum image_format formats[] = {IMAGE_LINUX, IMAGE_ELF, IMAGE_FLAT};
    struct config_partition *p = to;
    int i = take_choice(r, rule, node, choices, ARRAY_SIZE(choices));

    if (i >= 0) p->format = formats[i];
}

static void take_load(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    struct config_partition *p = to;

    p->load_at = node->at;
    (void)take_number(r, rule, node, &p->load_address);
}

static void take_entry(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    struct config_partition *p = to;

    p->entry_at = node->at;
    (void)take_number(r, rule, node, &p->entry);
}

/* 0x80, "0x80" or "0x80-0x8f". */
static bool parse_ports(const struct toml_node *n, struct config_range *out) {
    size_t dash = 0;
    u64 last;

    if (n->kind == TOML_INTEGER) {
        *out = (struct config_range){(u64)n->integer, 1};
        return n->integer >= 0 && n->integer <= 0xffff;
    }
    while (dash < n->length && n->text[dash] != '-') dash++;
    if (!parse_hex(n->text, dash, &out->base)) return false;
    last = out->base;
    if (dash < n->length && !parse_hex(n->text + dash + 1, n->length - dash - 1, &last)) return false;
    out->bytes = last - out->base + 1;
    return out->base <= last && last <= 0xffff;
}

static void take_ports(struct reader *r, const struct key_rule *rule, const struct toml_node *array, void *to) {
    struct config_partition *p = to;
    u32 i = 0;

    if (!check_elements(r, rule, array, INTEGER | STRING, "a port")) return;
    p->ports = reader_alloc(r, array->count * sizeof(*p->ports));
    p->port_at = reader_alloc(r, array->count * sizeof(*p->port_at));
    if (!p->ports || !p->port_at) return;
    for (const struct toml_node *n = array->first; n; n = n->next, i++) {
        if (!parse_ports(n, &p->ports[i])) {
            problem_add(&r->problems, n->at, "%s is neither a port nor a range of ports", quote_node(n).text);
            problem_remedy(&r->problems, "write 0x0 to 0xffff, or a range such as \"0x80-0x8f\"");
            return;
        }
        p->port_at[i] = n->at;
    }
    p->port_count = array->count;
}

/* "bb:dd.f" or "ssss:bb:dd.f", as lspci prints it. */
static bool parse_pci(const struct toml_node *n, u32 *out) {
    static const char form[] = "hhhh:hh:hh.o";
    size_t skip = n->length == 7 ? 5 : 0;
    u32 segment, rest;
    u64 value = 0;

    if (n->length + skip != sizeof(form) - 1) return false;
    for (size_t i = 0; i < n->length; i++) {
        char digit[] = {'0', 'x', n->text[i]}, want = form[skip + i];
        u64 d;

        if (want == ':' || want == '.') {
            if (n->text[i] != want) return false;
            continue;
        }
        if (!parse_hex(digit, sizeof(digit), &d) || (want == 'o' && d > 7)) return false;
        value = value << 4 | d;
    }
    /* value: ssss bb dd f, four bits to a digit; a device number has five bits. */
    segment = (u32)(value >> 20);
    rest = (u32)(value >> 4 & 0xff);
    *out = segment << 16 | (u32)(value >> 12 & 0xff) << 8 | rest << 3 | (u32)(value & 7);
    return rest < 32;
}

static void take_pci(struct reader *r, const struct key_rule *rule, const struct toml_node *array, void *to) {
    struct config_partition *p = to;
    u32 i = 0;

    if (!check_elements(r, rule, array, STRING, "text")) return;
    p->pci = reader_alloc(r, array->count * sizeof(*p->pci));
    p->pci_at = reader_alloc(r, array->count * sizeof(*p->pci_at));
    if (!p->pci || !p->pci_at) return;
    for (const struct toml_node *n = array->first; n; n = n->next, i++) {
        if (!parse_pci(n, &p->pci[i])) {
            problem_add(&r->problems, n->at, "%s is no PCI function", quote_node(n).text);
            problem_remedy(&r->problems, "write bus:device.function in hex, for example %s", rule->example);
            return;
        }
        p->pci_at[i] = n->at;
    }
    p->pci_count = array->count;
}

static void take_on(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    static const char *const choices[] = {"never", "crash", "reset", "always"};
    static const u32 bits[] = {RESTART_NEVER, RESTART_CRASH, RESTART_RESET, RESTART_CRASH | RESTART_RESET};
    struct config_partition *p = to;
    int i = take_choice(r, rule, node, choices, ARRAY_SIZE(choices));

    if (i >= 0) p->restart_on = bits[i];
}

static void take_limit(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to) {
    struct config_partition *p = to;

    if (node->integer >= 1 && node->integer <= UINT32_MAX) {
        p->restart_limit = (u32)node->integer;
        return;
    }
    problem_add(&r->problems, node->at, "%lld is no number of restarts", (long long)node->integer);
    problem_remedy(&r->problems, "write 1 or more, for example %s; without limit leave it out", rule->example);
}

static const struct key_rule restart_keys[] = {
    {"on", STRING, "\"crash\", \"reset\", \"always\" or \"never\"", "on = \"crash\"", take_on},
    {"limit", INTEGER, "a number of restarts", "limit = 3", take_limit},
};

static void take_restart(struct reader *r, const struct key_rule *rule, const struct toml_node *table, void *to) {
    const struct toml_node *on = toml_find(table, "on", 2), *limit = toml_find(table, "limit", 5);
    struct config_partition *p = to;
    u32 before = r->problems.count;

    config_read_table(r, table, "restart", restart_keys, ARRAY_SIZE(restart_keys), p);
    if (r->problems.count != before) return;
    if (!on) {
        problem_add(&r->problems, table->at, "restart does not say on what");
        problem_remedy(&r->problems, "write for example %s", rule->example);
    } else if (limit && p->restart_on == RESTART_NEVER) {
        problem_add(&r->problems, limit->at, "a limit has no meaning if nothing is restarted");
        problem_remedy(&r->problems, "remove limit, or write on = \"crash\"");
    }
}

const struct key_rule config_machine_keys[] = {
    {"console", STRING, "\"com1\" to \"com4\" or \"none\"", "console = \"com1\"", take_console},
    {"focus", STRING, "the name of a partition", "focus = \"linux\"", take_focus},
};
const u32 config_machine_key_count = ARRAY_SIZE(config_machine_keys);

const struct key_rule config_partition_keys[] = {
    {"cpus", ARRAY, "a list of core numbers", "cpus = [0, 1]", take_cpus},
    {"memory", STRING | INTEGER, "a size", "memory = \"512M\"", take_memory},
    {"address", STRING | INTEGER, "a physical address", "address = \"0x40000000\"", take_address},
    {"kernel", STRING, "the name of a module", "kernel = \"vmlinuz\"", take_kernel},
    {"initrd", STRING, "the name of a module", "initrd = \"initrd\"", take_initrd},
    {"cmdline", STRING, "text", "cmdline = \"console=ttyS0\"", take_cmdline},
    {"format", STRING, "\"linux\", \"elf\" or \"flat\"", "format = \"elf\"", take_format},
    {"load", STRING | INTEGER, "a guest address", "load = \"0x100000\"", take_load},
    {"entry", STRING | INTEGER, "a guest address", "entry = \"0x100000\"", take_entry},
    {"ports", ARRAY, "a list of ports", "ports = [0x378, \"0x379-0x37a\"]", take_ports},
    {"pci", ARRAY, "a list of PCI functions", "pci = [\"00:03.0\"]", take_pci},
    {"restart", TABLE, "a table", "restart = { on = \"crash\", limit = 3 }", take_restart},
};
const u32 config_partition_key_count = ARRAY_SIZE(config_partition_keys);
