/* The machine as a picture: a legend, cores, memory to scale, PCI functions, each in the colour of its partition. Plain
 * SVG 1.1 without references to anything outside. */
#include <string.h>

#include "core/base/bits.h"
#include "core/config/problem.h"
#include "core/config/schema.h"
#include "tools/report.h"

#define WIDTH      1000u
#define MARGIN     30u
#define INNER      (WIDTH - 2 * MARGIN)
#define CHAR_WIDTH 73u /* of the 12 pixel text, fixed pitch, in tenths of a pixel */
#define NAME_WIDTH (32 * CHAR_WIDTH / 10)
#define WIDE_CORES 64u /* up to so many have a box with a name */

/* Far apart in hue and lightness; behind these they come again, hatched. */
static const struct {
    const char *fill, *ink;
} colours[] = {
    {"#4e79a7", "#fff"}, {"#f28e2b", "#000"}, {"#59a14f", "#fff"}, {"#e15759", "#fff"},
    {"#edc948", "#000"}, {"#b07aa1", "#fff"}, {"#76d7d0", "#000"}, {"#9c755f", "#fff"},
    {"#ff9da7", "#000"}, {"#1f3f5f", "#fff"}, {"#b5e26a", "#000"}, {"#7048c8", "#fff"},
};
#define COLOURS ARRAY_SIZE(colours)

struct drawing {
    FILE *out;
    const struct ownership *o;
    u32 y; /* where the next part begins */
};

static void escaped(FILE *out, const char *s, u32 most) {
    u32 shown = 0, length = (u32)strlen(s);

    for (; *s; s++) {
        u8 c = (u8)*s;

        if ((c & 0xc0) == 0x80) continue; /* the rest of a character that was shown as ? */
        if (length > most && shown + 2 >= most) {
            fputs("..", out);
            return;
        }
        shown++;
        if (c == '&')
            fputs("&amp;", out);
        else if (c == '<')
            fputs("&lt;", out);
        else if (c == '>')
            fputs("&gt;", out);
        else
            fputc(c < 0x20 || c >= 0x7f ? '?' : c, out);
    }
}

static void put_text(const struct drawing *d, u32 x, u32 y, const char *kind, const char *ink, const char *s,
                     u32 width) {
    fprintf(d->out, "<text x=\"%u\" y=\"%u\" class=\"%s\" fill=\"%s\">", x, y, kind, ink);
    escaped(d->out, s, width * 10 / CHAR_WIDTH);
    fputs("</text>\n", d->out);
}

/* owner: partition + 1; 0: nobody's. */
static void box(const struct drawing *d, double x, u32 y, double width, u32 height, u32 owner, bool framed) {
    const char *fill = owner ? colours[(owner - 1) % COLOURS].fill : "#fff";
    const char *line = framed ? " stroke=\"#555\"" : "";

    fprintf(d->out, "<rect x=\"%.2f\" y=\"%u\" width=\"%.2f\" height=\"%u\" fill=\"%s\"%s/>\n", x, y, width, height,
            fill, line);
    if (owner > COLOURS)
        fprintf(d->out, "<rect x=\"%.2f\" y=\"%u\" width=\"%.2f\" height=\"%u\" fill=\"url(#again)\"/>\n", x, y, width,
                height);
}

/* Of text on a box. */
static const char *ink(u32 owner) { return owner ? colours[(owner - 1) % COLOURS].ink : "#000"; }

static const char *name_of(const struct drawing *d, u32 owner) {
    return owner ? d->o->config->partitions[owner - 1].name : "nobody";
}

static void heading(struct drawing *d, const char *text) {
    d->y += 34;
    put_text(d, MARGIN, d->y, "h", "#000", text, INNER);
    d->y += 12;
}

/* --- legend --- */

static void legend(struct drawing *d) {
    const struct config *config = d->o->config;
    const u32 width = INNER / 2;

    heading(d, "Partitions");
    for (u32 i = 0; i < config->partition_count; i++) {
        const struct config_partition *p = &config->partitions[i];
        u32 x = MARGIN + i % 2 * width, y = d->y + i / 2 * 26;
        char text[200];

        box(d, x, y, 20, 18, i + 1, true);
        put_text(d, x + 28, y + 14, "b", "#000", p->name, NAME_WIDTH);
        snprintf(text, sizeof(text), "%u core%s, %s, %s", p->cpu_count, p->cpu_count == 1 ? "" : "s",
                 problem_size(p->memory).text, p->kernel);
        put_text(d, x + NAME_WIDTH + 36, y + 14, "t", "#333", text, width - NAME_WIDTH - 46);
    }
    d->y += (config->partition_count + 1) / 2 * 26;
}

/* --- cores --- */

static void core(const struct drawing *d, u32 place, u32 number, bool wide) {
    u32 owner = config_core_owner(d->o->config, number), across = wide ? 8 : 20;
    u32 width = INNER / across, x = MARGIN + place % across * width, y = d->y + place / across * (wide ? 50 : 30);
    u32 node = d->o->machine ? numa_node_of_core(&d->o->machine->numa, number) : NODE_NONE;
    char text[40];

    box(d, x, y, width - 6, wide ? 44 : 24, owner, true);
    snprintf(text, sizeof(text), !wide ? "%u" : node == NODE_NONE ? "core %u" : "core %u node %u", number, node);
    put_text(d, x + 7, y + (wide ? 18 : 17), wide ? "b" : "t", ink(owner), text, width - 14);
    if (wide) put_text(d, x + 7, y + 35, "t", ink(owner), name_of(d, owner), width - 14);
}

static void cores(struct drawing *d) {
    const struct config *config = d->o->config;
    u32 count = 0, shown = 0;
    bool wide;

    if (d->o->machine)
        count = d->o->machine->core_count;
    else
        for (u32 i = 0; i < config->partition_count; i++) count += config->partitions[i].cpu_count;
    wide = count <= WIDE_CORES;
    heading(d, d->o->machine ? "Cores" : "Cores that are given (the machine is not known)");
    if (d->o->machine)
        for (; shown < count; shown++) core(d, shown, shown, wide);
    else
        for (u32 i = 0; i < config->partition_count; i++)
            for (u32 k = 0; k < config->partitions[i].cpu_count; k++)
                core(d, shown++, (u32)config->partitions[i].cpus[k].base, wide);
    d->y += wide ? (count + 7) / 8 * 50 : (count + 19) / 20 * 30;
}

/* --- memory --- */

/* Where an address of the machine's free memory stands in a bar of all of it, gaps left out. */
static u64 offset_of(const struct inventory *m, u64 address) {
    u64 before = 0;

    for (u32 i = 0; i < m->memory_count; i++) {
        if (address >= m->memory[i].base && address - m->memory[i].base < m->memory[i].bytes)
            return before + address - m->memory[i].base;
        before += m->memory[i].bytes;
    }
    return before;
}

static void stretch(const struct drawing *d, u64 offset, u64 bytes, u64 total, u32 owner) {
    double x = MARGIN + (double)offset / (double)total * INNER, width = (double)bytes / (double)total * INNER;
    const char *name = name_of(d, owner);

    if (width < 1.5) width = 1.5;
    box(d, x, d->y, width, 46, owner, false);
    if (width > (double)strlen(name) * CHAR_WIDTH / 10 + 16) {
        put_text(d, (u32)x + 8, d->y + 20, "b", ink(owner), name, (u32)width);
        put_text(d, (u32)x + 8, d->y + 37, "t", ink(owner), problem_size(bytes).text, (u32)width);
    }
}

static u64 total_memory(const struct drawing *d) {
    u64 total = 0;

    for (u32 i = 0; d->o->places && i < d->o->machine->memory_count; i++) total += d->o->machine->memory[i].bytes;
    for (u32 i = 0; !d->o->places && i < d->o->config->partition_count; i++)
        total += d->o->config->partitions[i].memory;
    return total;
}

static void memory_places(struct drawing *d) {
    const struct config *config = d->o->config;

    for (u32 i = 0; i < config->partition_count; i++)
        for (u32 k = 0; k < d->o->places[i].count; k++) {
            const struct piece *piece = &d->o->places[i].pieces[k];
            char text[80];

            d->y += 20;
            box(d, MARGIN, d->y - 11, 12, 12, i + 1, true);
            put_text(d, MARGIN + 20, d->y, "t", "#000", config->partitions[i].name, NAME_WIDTH);
            put_text(d, MARGIN + 260, d->y, "t", "#000", problem_size(piece->bytes).text, 120);
            snprintf(text, sizeof(text), "0x%llx-0x%llx", (unsigned long long)piece->base.v,
                     (unsigned long long)(piece->base.v + piece->bytes - 1));
            put_text(d, MARGIN + 380, d->y, "t", "#000", text, 400);
        }
}

/* Below the bar: a line from where a node's memory begins to where it ends. */
static void memory_nodes(struct drawing *d, u64 total) {
    const struct inventory *m = d->o->machine;

    for (u32 i = 0; i < m->memory_count; i++)
        for (u32 k = 0; k < m->numa.range_count; k++) {
            const struct node_range *r = &m->numa.ranges[k];
            u64 from = max_u64(r->base, m->memory[i].base);
            u64 end = min_u64(r->base + r->bytes, m->memory[i].base + m->memory[i].bytes);
            double x = MARGIN + (double)offset_of(m, from) / (double)total * INNER, width;
            char text[24];

            if (from >= end) continue;
            width = (double)(end - from) / (double)total * INNER;
            fprintf(d->out, "<path d=\"M%.2f %uv8h%.2fv-8\" fill=\"none\" stroke=\"#000\"/>\n", x + 1, d->y - 6,
                    width > 3 ? width - 2 : 1);
            snprintf(text, sizeof(text), "node %u", r->node);
            if (width > (double)(strlen(text) * CHAR_WIDTH) / 10 + 8)
                put_text(d, (u32)x + 4, d->y + 16, "t", "#000", text, (u32)width);
        }
    if (m->numa.range_count) d->y += 22;
}

static void memory(struct drawing *d) {
    const struct ownership *o = d->o;
    u64 total = total_memory(d), at = 0;
    char text[120];

    snprintf(text, sizeof(text),
             o->places ? "Memory: %llu MiB for partitions, to scale, low addresses on the left"
                       : "Memory that is given: %llu MiB, to scale",
             (unsigned long long)(total >> 20));
    heading(d, text);
    fprintf(d->out, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"46\" fill=\"#fff\"/>\n", MARGIN, d->y, INNER);
    for (u32 i = 0; i < o->config->partition_count; i++) {
        const struct config_partition *p = &o->config->partitions[i];

        for (u32 k = 0; o->places && k < o->places[i].count; k++)
            stretch(d, offset_of(o->machine, o->places[i].pieces[k].base.v), o->places[i].pieces[k].bytes, total,
                    i + 1);
        if (!o->places) stretch(d, at, p->memory, total, i + 1);
        at += p->memory;
    }
    for (u32 i = 1; o->places && i < o->machine->memory_count; i++) /* a gap */
        fprintf(d->out, "<path d=\"M%.2f %uv54\" stroke=\"#000\" stroke-dasharray=\"3 2\"/>\n",
                MARGIN + (double)offset_of(o->machine, o->machine->memory[i].base) / (double)total * INNER, d->y - 4);
    fprintf(d->out, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"46\" fill=\"none\" stroke=\"#555\"/>\n", MARGIN,
            d->y, INNER);
    d->y += 56;
    if (o->places) memory_nodes(d, total);
    if (o->places) memory_places(d);
}

/* --- devices --- */

static void device(const struct drawing *d, u32 place, const char *id, const char *what, const char *owner_name,
                   u32 owner, bool shared) {
    u32 width = INNER / 3, x = MARGIN + place % 3 * width, y = d->y + place / 3 * 50;

    box(d, x, y, width - 8, 44, owner, true);
    if (shared)
        fprintf(d->out, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"44\" fill=\"#ddd\" stroke=\"#555\"/>\n", x, y,
                width - 8);
    put_text(d, x + 8, y + 18, "b", ink(owner), id, 100);
    put_text(d, x + 110, y + 18, "t", ink(owner), owner_name, width - 126);
    put_text(d, x + 8, y + 35, "t", ink(owner), what, width - 20);
}

static void machine_devices(struct drawing *d) {
    const struct inventory *m = d->o->machine;
    char text[240];

    snprintf(text, sizeof(text), "PCI functions, IOMMU: %s%s", m->iommu ? m->iommu_text : "none",
             m->iommu && !m->interrupts ? ", interrupts not remapped" : "");
    heading(d, text);
    for (u32 i = 0; i < m->function_count; i++) {
        const struct inventory_function *f = &m->functions[i];
        char id[16], group[16];
        bool shared = inventory_shared(f);

        inventory_name(id, sizeof(id), f->id);
        inventory_name(group, sizeof(group), f->group);
        snprintf(text, sizeof(text), "%04x:%04x %s, group %s", f->vendor, f->device, f->kind, group);
        device(d, i, id, text, shared ? "hypervisor" : name_of(d, f->owner), f->owner, shared);
    }
    d->y += (m->function_count + 2) / 3 * 50;
}

static void named_devices(struct drawing *d) {
    const struct config *config = d->o->config;
    u32 count = 0;

    for (u32 i = 0; i < config->partition_count; i++)
        for (u32 k = 0; k < config->partitions[i].pci_count; k++) {
            char name[24];

            if (!count) heading(d, "PCI functions that are given (the machine is not known)");
            config_pci_text(name, sizeof(name), config->partitions[i].pci[k].base);
            if (config->partitions[i].pci[k].bytes > 1) name[strlen(name) - 1] = '*';
            device(d, count++, name, "", "", i + 1, false);
            put_text(d, MARGIN + (count - 1) % 3 * (INNER / 3) + 8, d->y + (count - 1) / 3 * 50 + 35, "t", ink(i + 1),
                     config->partitions[i].name, INNER / 3 - 20);
        }
    d->y += (count + 2) / 3 * 50;
}

/* --- control --- */

static void control(struct drawing *d) {
    const struct config *config = d->o->config;
    u32 count = 0;

    for (u32 by = 0; by < config->partition_count; by++)
        for (u32 i = 0; i < config->partition_count; i++) {
            if (!config_controls(config, by, i)) continue;
            if (!count++) heading(d, "Control: the left one stops, starts and restarts the right one");
            d->y += 20;
            box(d, MARGIN, d->y - 11, 12, 12, by + 1, true);
            put_text(d, MARGIN + 20, d->y, "t", "#000", config->partitions[by].name, NAME_WIDTH);
            fprintf(d->out, "<path d=\"M%u %uh30m-6 -4l6 4l-6 4\" stroke=\"#000\" fill=\"none\"/>\n", MARGIN + 270,
                    d->y - 5);
            box(d, MARGIN + 320, d->y - 11, 12, 12, i + 1, true);
            put_text(d, MARGIN + 340, d->y, "t", "#000", config->partitions[i].name, NAME_WIDTH);
        }
}

/* Once without output, to learn the height. */
static void draw(struct drawing *d) {
    char title[200];
    const char *slash = strrchr(d->o->file, '/');

    d->y = 42;
    snprintf(title, sizeof(title), "Mullion: %s", slash ? slash + 1 : d->o->file);
    put_text(d, MARGIN, d->y, "title", "#000", title, INNER);
    legend(d);
    cores(d);
    memory(d);
    if (d->o->machine)
        machine_devices(d);
    else
        named_devices(d);
    control(d);
    d->y += 20;
}

void svg_report(FILE *out, const struct ownership *o) {
    struct drawing d = {fopen("/dev/null", "w"), o, 0};
    u32 height = 4000;

    if (d.out) {
        draw(&d);
        fclose(d.out);
        height = d.y;
    }
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" viewBox=\"0 0 %u %u\">\n"
            "<style>text{font-family:sans-serif}.t,.b{font-family:monospace;font-size:12px}.b{font-weight:bold}.h{font-"
            "size:15px;font-weight:bold}"
            ".title{font-size:20px;font-weight:bold}</style>\n"
            "<defs><pattern id=\"again\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\" "
            "patternTransform=\"rotate(45)\"><rect width=\"2\" height=\"8\" fill=\"#fff\"/></pattern></defs>\n"
            "<rect width=\"%u\" height=\"%u\" fill=\"#f7f7f7\"/>\n",
            WIDTH, height, WIDTH, height, WIDTH, height);
    d.out = out;
    draw(&d);
    fputs("</svg>\n", out);
}
