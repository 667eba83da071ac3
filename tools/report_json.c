/* The ownership report as JSON (RFC 8259). Numbers are below 2^53, which every reader keeps exactly. */
#include <string.h>

#include "core/base/bits.h"
#include "core/config/schema.h"
#include "tools/report.h"

/* Bytes of the UTF-8 character at s, or 0: it is none (a file's name can hold anything). */
static u32 character(const char *s) {
    const u8 *b = (const u8 *)s;
    u32 n = b[0] < 0x80 ? 1 : b[0] >= 0xf0 && b[0] < 0xf5 ? 4 : b[0] >= 0xe0 ? 3 : b[0] >= 0xc2 ? 2 : 0;

    if (b[0] >= 0xf5) return 0;
    for (u32 i = 1; i < n; i++)
        if ((b[i] & 0xc0) != 0x80) return 0;
    if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f)) return 0;
    if ((b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f)) return 0;
    return n;
}

static void text(FILE *out, const char *s) {
    if (!s) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    while (*s) {
        u32 n = character(s);

        if (n == 0)
            fputs("\\ufffd", out);
        else if (*s == '"' || *s == '\\')
            fprintf(out, "\\%c", *s);
        else if ((u8)*s < 0x20 || *s == 0x7f)
            fprintf(out, "\\u%04x", (u8)*s);
        else
            fwrite(s, 1, n, out);
        s += n ? n : 1;
    }
    fputc('"', out);
}

static void member(FILE *out, const char *name, const char *value) {
    fprintf(out, "\"%s\": ", name);
    text(out, value);
}

static void boolean(FILE *out, const char *name, bool value) {
    fprintf(out, ", \"%s\": %s", name, value ? "true" : "false");
}

static void problem(FILE *out, const struct config_error *e) {
    fprintf(out, "{\"line\": %u, \"column\": %u, ", e->line, e->column);
    member(out, "what", e->what);
    fputs(", ", out);
    member(out, "remedy", e->remedy);
    fputc('}', out);
}

static void memory(FILE *out, const struct ownership *o, u32 index) {
    const struct config_partition *p = &o->config->partitions[index];

    fprintf(out, "      \"memory\": %llu, \"address\": ", (unsigned long long)p->memory);
    if (p->fixed)
        fprintf(out, "%llu", (unsigned long long)p->address);
    else
        fputs("null", out);
    if (p->node_at.line)
        fprintf(out, ", \"node\": %u,\n      \"placed\": ", p->node);
    else
        fputs(", \"node\": null,\n      \"placed\": ", out);
    fputs(o->places ? "[" : "null", out);
    for (u32 i = 0; o->places && i < o->places[index].count; i++)
        fprintf(out, "%s{\"base\": %llu, \"bytes\": %llu}", i ? ", " : "",
                (unsigned long long)o->places[index].pieces[i].base.v,
                (unsigned long long)o->places[index].pieces[i].bytes);
    fputs(o->places ? "],\n" : ",\n", out);
}

static void functions(FILE *out, const struct config_partition *p) {
    fputs("      \"pci\": [", out);
    for (u32 i = 0; i < p->pci_count; i++) {
        const struct config_range *f = &p->pci[i];
        char name[24];

        config_pci_text(name, sizeof(name), f->base);
        if (f->bytes > 1 && f->base & BIT(63))
            *strchr(name, '#') = 0;
        else if (f->bytes > 1)
            name[strlen(name) - 1] = '*';
        if (i) fputs(", ", out);
        text(out, name);
    }
    fputs("]", out);
    fprintf(out, ", \"dma\": \"%s\", \"pci-groups\": \"%s\", \"pci-reset\": \"%s\", \"pci-fault\": \"%s\",\n",
            p->dma_unprotected ? "unprotected" : "remapped", p->groups_split ? "split" : "whole",
            p->reset_optional ? "optional" : "required", p->stop_on_fault ? "stop" : "report");
}

static void control(FILE *out, const struct config *config, u32 by) {
    const char *separator = "";

    fputs("      \"control\": [", out);
    for (u32 i = 0; i < config->partition_count; i++) {
        if (!config_controls(config, by, i)) continue;
        fputs(separator, out);
        text(out, config->partitions[i].name);
        separator = ", ";
    }
    fputs("],\n", out);
}

static void partition(FILE *out, const struct ownership *o, u32 index) {
    static const char *const restarts[] = {"never", "crash", "reset", "always"};
    const struct config_partition *p = &o->config->partitions[index];

    fputs("    {\n      ", out);
    member(out, "name", p->name);
    fputs(", \"cpus\": [", out);
    for (u32 i = 0; i < p->cpu_count; i++) fprintf(out, "%s%u", i ? ", " : "", (u32)p->cpus[i].base);
    fputs("],\n", out);
    memory(out, o, index);
    fputs("      ", out);
    member(out, "kernel", p->kernel);
    fputs(", ", out);
    member(out, "initrd", p->initrd);
    fputs(", ", out);
    member(out, "cmdline", p->cmdline);
    fputs(", \"modules\": [", out);
    for (u32 i = 0; i < p->module_count; i++) {
        if (i) fputs(", ", out);
        text(out, p->modules[i]);
    }
    fputs("],\n      \"ports\": [", out);
    for (u32 i = 0; i < p->port_count; i++)
        fprintf(out, "%s{\"first\": %u, \"last\": %u}", i ? ", " : "", (u32)p->ports[i].base,
                (u32)(p->ports[i].base + p->ports[i].bytes - 1));
    fputs("],\n", out);
    functions(out, p);
    control(out, o->config, index);
    fprintf(out, "      \"restart\": {\"on\": \"%s\", \"limit\": ", restarts[p->restart_on & 3]);
    if (p->restart_limit)
        fprintf(out, "%u}\n    }", p->restart_limit);
    else
        fputs("null}\n    }", out);
}

static void function(FILE *out, const struct ownership *o, const struct inventory_function *f) {
    char id[16], group[16], known[PCI_IDS_NAME];

    inventory_name(id, sizeof(id), f->id);
    inventory_name(group, sizeof(group), f->group);
    fprintf(out, "      {\"id\": \"%s\", \"vendor\": %u, \"device\": %u, \"class\": %u, \"group\": \"%s\"", id,
            f->vendor, f->device, f->class_code, group);
    boolean(out, "msi", f->msi);
    boolean(out, "msi-x", f->msix);
    boolean(out, "flr", f->flr);
    boolean(out, "shared", inventory_shared(f));
    fputs(", ", out);
    member(out, "kind", f->kind);
    fputs(", ", out);
    ownership_name(o, f, known);
    member(out, "name", known[0] ? known : NULL);
    fputs(", ", out);
    member(out, "owner", f->owner ? o->config->partitions[f->owner - 1].name : NULL);
    fputc('}', out);
}

static void nodes(FILE *out, const struct inventory *m) {
    const char *comma = "";

    fputs(",\n    \"nodes\": [", out);
    for (u32 node = numa_next(&m->numa, NODE_NONE); node != NODE_NONE; node = numa_next(&m->numa, node)) {
        fprintf(out, "%s{\"node\": %u, \"cores\": [", comma, node);
        comma = "";
        for (u32 i = 0; i < m->core_count; i++) {
            if (numa_node_of_core(&m->numa, i) != node) continue;
            fprintf(out, "%s%u", comma, i);
            comma = ", ";
        }
        fputs("], \"memory\": [", out);
        comma = "";
        for (u32 i = 0; i < m->numa.range_count; i++) {
            const struct node_range *r = &m->numa.ranges[i];

            if (r->node != node) continue;
            fprintf(out, "%s{\"base\": %llu, \"bytes\": %llu}", comma, (unsigned long long)r->base,
                    (unsigned long long)r->bytes);
            comma = ", ";
        }
        fputs("]}", out);
        comma = ", ";
    }
    fputs("],\n    \"physical\": [", out);
    for (u32 i = 0; i < m->core_count; i++) {
        u32 physical = inventory_physical(m, i);

        if (physical == PHYSICAL_UNKNOWN)
            fputs(i ? ", null" : "null", out);
        else
            fprintf(out, "%s%u", i ? ", " : "", physical);
    }
    fputs("]", out);
}

static void machine(FILE *out, const struct ownership *o) {
    const struct inventory *m = o->machine;

    fputs("  \"machine\": ", out);
    if (!m) {
        fputs("null,\n", out);
        return;
    }
    fprintf(out, "{\n    \"cores\": %u, \"memory\": [", m->core_count);
    for (u32 i = 0; i < m->memory_count; i++)
        fprintf(out, "%s{\"base\": %llu, \"bytes\": %llu}", i ? ", " : "", (unsigned long long)m->memory[i].base,
                (unsigned long long)m->memory[i].bytes);
    fputs("],\n    ", out);
    member(out, "iommu", m->iommu ? m->iommu_text : NULL);
    boolean(out, "interrupt-remapping", m->interrupts);
    nodes(out, m);
    fputs(",\n    \"functions\": [", out);
    for (u32 i = 0; i < m->function_count; i++) {
        fputs(i ? ",\n" : "\n", out);
        function(out, o, &m->functions[i]);
    }
    fputs("\n    ]\n  },\n", out);
}

void json_report(FILE *out, const struct ownership *o) {
    fputs("{\n  \"format\": 1, ", out);
    member(out, "file", o->file);
    fputs(", \"error\": null,\n  \"console\": ", out);
    if (o->config->console)
        fprintf(out, "%u, ", o->config->console);
    else
        fputs("null, ", out);
    member(out, "focus", o->config->focus ? o->config->focus : o->config->partitions[0].name);
    fputs(",\n  \"partitions\": [", out);
    for (u32 i = 0; i < o->config->partition_count; i++) {
        fputs(i ? ",\n" : "\n", out);
        partition(out, o, i);
    }
    fputs("\n  ],\n", out);
    machine(out, o);
    fputs("  \"warnings\": [", out);
    for (u32 i = 0; i < o->warning_count; i++) {
        fputs(i ? ",\n    " : "\n    ", out);
        problem(out, &o->warnings[i]);
    }
    fputs(o->warning_count ? "\n  ]\n}\n" : "]\n}\n", out);
}

void json_mistake(FILE *out, const char *file, const struct config_error *error) {
    fputs("{\n  \"format\": 1, ", out);
    member(out, "file", file);
    fputs(",\n  \"error\": ", out);
    problem(out, error);
    fputs("\n}\n", out);
}
