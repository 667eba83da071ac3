/* What the file asks for against what the machine has. */
#include "core/config/schema.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"
#include "core/config/pci_ids.h"

static void check_cores(struct problems *problems, const struct config_partition *p, u32 cpu_count) {
    for (u32 i = 0; i < p->cpu_count; i++) {
        if (p->cpus[i].base < cpu_count) continue;
        problem_add(problems, p->cpus[i].at,
                    cpu_count == 1
                        ? "core %u does not exist: the machine has 1 core\nthe only core is 0"
                        : "core %u does not exist: the machine has %u cores\nwrite core numbers from 0 to %u",
                    (u32)p->cpus[i].base, cpu_count, cpu_count - 1);
    }
}

static bool is_file(const struct config_machine *machine, const char *module) {
    return str_equal(module, machine->file ? machine->file : CONFIG_FILE_NAME);
}

/* The modules that a partition would name, as one line. */
static void list_modules(char *out, size_t size, const struct config_machine *machine) {
    size_t n = 0;

    out[0] = 0;
    for (u32 i = 0; i < machine->module_count && n < size; i++)
        if (!is_file(machine, machine->modules[i]) && !str_equal(machine->modules[i], PCI_IDS_MODULE))
            n += fmt(out + n, size - n, "%s%s", n ? ", " : "",
                     problem_quote(machine->modules[i], strlen(machine->modules[i])).text);
    if (n >= size) memcpy(out + size - 4, "...", 4);
}

static void check_module(struct problems *problems, const struct config_machine *machine, const char *key,
                         const char *name, struct config_place at) {
    char list[128];

    if (!name || !machine->modules) return;
    for (u32 i = 0; i < machine->module_count; i++)
        if (str_equal(machine->modules[i], name) && !is_file(machine, name)) return;
    list_modules(list, sizeof(list), machine);
    problem_add(problems, at, "there is no module %s for %s\n%s%s", problem_quote(name, strlen(name)).text, key,
                list[0] ? "write one of: " : "no module is loaded: add a module2 line for it to grub.cfg", list);
}

/* As check.c does it for the console that the file names. */
static void check_console(struct problems *problems, const struct config_partition *p, u32 console) {
    for (u32 i = 0; i < p->port_count && console; i++)
        if (ranges_overlap(p->ports[i].base, p->ports[i].bytes, console, 8))
            problem_add(problems, p->ports[i].at,
                        "port 0x%llx belongs to the console that the command line names\nleave 0x%x-0x%x out of ports",
                        (unsigned long long)max_u64(p->ports[i].base, console), console, console + 7);
}

static void check_node(struct problems *problems, const struct numa *numa, const struct config_partition *p) {
    char list[128];
    size_t n = 0;

    if (!p->node_at.line || numa_has(numa, p->node)) return;
    list[0] = 0;
    for (u32 node = numa_next(numa, NODE_NONE); node != NODE_NONE && n < sizeof(list); node = numa_next(numa, node))
        n += fmt(list + n, sizeof(list) - n, "%s%u", n ? ", " : "", node);
    if (n >= sizeof(list)) memcpy(list + sizeof(list) - 4, "...", 4);
    problem_add(problems, p->node_at,
                n ? "the machine has no node %u with memory\nwrite one of %s, or remove node"
                  : "there is no node %u: the machine tells of no NUMA nodes%s\nremove node",
                p->node, list);
}

u32 config_home_node(const struct config_partition *p, const struct numa *numa) {
    u32 best = NODE_NONE, most = 0;

    for (u32 i = 0; i < p->cpu_count; i++) {
        u32 node = numa_node_of_core(numa, p->cpus[i].base), count = 0;

        for (u32 k = i; k < p->cpu_count; k++) count += numa_node_of_core(numa, p->cpus[k].base) == node;
        if (count <= most || node == NODE_NONE) continue;
        best = node;
        most = count;
    }
    return best;
}

int config_check_machine(const struct config *config, const struct config_machine *machine,
                         struct config_error *error) {
    struct problems problems = {.first = error};

    for (u32 i = 0; i < config->partition_count; i++) {
        const struct config_partition *p = &config->partitions[i];

        check_console(&problems, p, machine->console);
        if (machine->cpu_count) check_cores(&problems, p, machine->cpu_count);
        if (machine->numa) check_node(&problems, machine->numa, p);
        check_module(&problems, machine, "kernel", p->kernel, p->kernel_at);
        check_module(&problems, machine, "initrd", p->initrd, p->initrd_at);
        for (u32 k = 0; k < p->module_count; k++)
            check_module(&problems, machine, "modules", p->modules[k], p->modules_at);
    }
    return problems.any ? -E_INVAL : 0;
}
