/* Reads an inventory: lines that begin with "#: ". What it does not know it leaves out, so that a later hypervisor's
 * inventory is read as well. */
#include "tools/inventory.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"
#include "core/config/problem.h"

#define MAX_CORES    65536u
#define MAX_DISTANCE 64u /* nodes from 0 on whose distances are kept; those of others count as unknown */

/* What is read before its number is known. */
struct reading {
    struct inventory *machine;
    struct node_range *nodes;
    u32 *core_nodes;
    u8 *distances;
    u32 most; /* cores that there is room for */
};

/* One line, cut into words as it is read. */
struct scan {
    const char *at, *end;
};

static bool next_word(struct scan *s, char *out, size_t size) {
    size_t n = 0;

    while (s->at < s->end && *s->at == ' ') s->at++;
    while (s->at < s->end && *s->at != ' ') {
        if (n + 1 < size) out[n++] = *s->at;
        s->at++;
    }
    out[n] = 0;
    return n > 0;
}

static void rest(struct scan *s, char *out, size_t size) {
    while (s->at < s->end && *s->at == ' ') s->at++;
    out[0] = 0;
    if (size > (size_t)(s->end - s->at) + 1) size = (size_t)(s->end - s->at) + 1;
    for (size_t i = 0; i + 1 < size; i++) out[i] = (u8)s->at[i] < 0x20 || (u8)s->at[i] >= 0x7f ? '?' : s->at[i];
    out[size - 1] = 0;
}

/* Digits up to `stop`, which is passed over unless it is the end of the word. */
static bool digits(const char **text, u32 base, char stop, u64 most, u64 *out) {
    const char *t = *text;

    *out = 0;
    for (; *t && *t != stop; t++) {
        u32 c = (u8)*t | 0x20u, d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;

        if (d >= base || *out > (NEVER - d) / base) return false;
        *out = *out * base + d;
    }
    if (t == *text || *t != stop || *out > most) return false;
    *text = t + (stop != 0);
    return true;
}

static bool number(struct scan *s, u64 most, u64 *out) {
    char word[32];
    const char *t = word;

    if (!next_word(s, word, sizeof(word))) return false;
    if (str_starts(word, "0x")) {
        t += 2;
        return digits(&t, 16, 0, most, out);
    }
    return digits(&t, 10, 0, most, out);
}

/* [ssss:]bb:dd.f */
static bool address(struct scan *s, u32 *id) {
    char word[32];
    const char *t = word;
    u64 segment = 0, bus, device, function;
    u32 colons = 0;

    if (!next_word(s, word, sizeof(word))) return false;
    for (const char *c = word; *c; c++) colons += *c == ':';
    if (colons == 2 && !digits(&t, 16, ':', 0xffff, &segment)) return false;
    if (!digits(&t, 16, ':', 0xff, &bus) || !digits(&t, 16, '.', 31, &device) || !digits(&t, 16, 0, 7, &function))
        return false;
    *id = PCI_ID((u32)segment, (u32)bus, (u32)device, (u32)function);
    return true;
}

static bool word_is(struct scan *s, const char *want) {
    char word[32];

    return next_word(s, word, sizeof(word)) && str_equal(word, want);
}

static bool read_function(struct scan *s, struct inventory_function *f) {
    char word[32];
    const char *t = word;
    u64 vendor, device, class_code;

    *f = (struct inventory_function){0};
    if (!address(s, &f->id) || !next_word(s, word, sizeof(word))) return false;
    if (!digits(&t, 16, ':', 0xffff, &vendor) || !digits(&t, 16, 0, 0xffff, &device)) return false;
    if (!word_is(s, "class") || !next_word(s, word, sizeof(word))) return false;
    t = word;
    if (!digits(&t, 16, 0, 0xffffff, &class_code)) return false;
    if (!word_is(s, "group") || !address(s, &f->group)) return false;
    f->vendor = (u16)vendor;
    f->device = (u16)device;
    f->class_code = (u32)class_code;
    while (next_word(s, word, sizeof(word)) && !str_equal(word, "#")) {
        f->msi |= str_equal(word, "msi");
        f->msix |= str_equal(word, "msi-x");
        f->flr |= str_equal(word, "flr");
        f->pm_reset |= str_equal(word, "pm-reset"); /* "pm" alone may keep its state */
        f->bridge |= str_equal(word, "bridge");
    }
    for (const char *c = s->at; c < s->end; c++)
        if (*c == ':') s->end = c; /* vendor and device follow, if the machine knew them */
    rest(s, f->kind, sizeof(f->kind));
    return true;
}

static bool read_iommu(struct scan *s, struct inventory *m) {
    char word[32];

    if (!next_word(s, word, sizeof(word))) return false;
    if (str_equal(word, "none:")) {
        rest(s, m->iommu_text, sizeof(m->iommu_text));
        return true;
    }
    m->iommu = true;
    str_copy(m->iommu_text, sizeof(m->iommu_text), word);
    m->interrupts = word_is(s, "interrupts");
    return true;
}

static bool read_memory(struct scan *s, struct inventory *m) {
    struct frame_range *r = &m->memory[m->memory_count], *last = m->memory_count ? r - 1 : NULL;

    if (!number(s, BIT(52), &r->base) || !number(s, BIT(52), &r->bytes)) return false;
    if (!r->bytes || !is_aligned(r->base | r->bytes, PAGE_4K)) return false;
    if (last && last->base + last->bytes > r->base) return false; /* sorted, as the hypervisor prints it */
    m->memory_count++;
    return true;
}

/* "2 apic 4 physical 1 node 0", the last two optional. */
static bool read_core(struct scan *s, struct reading *r) {
    char word[32];
    u64 core, value;

    if (!number(s, MAX_CORES - 1, &core) || core >= r->most) return false;
    while (next_word(s, word, sizeof(word))) {
        if (!number(s, PHYSICAL_UNKNOWN, &value)) return false;
        if (str_equal(word, "physical")) r->machine->physical[core] = (u32)value;
        if (str_equal(word, "node")) r->core_nodes[core] = (u32)value;
    }
    return true;
}

static bool read_node(struct scan *s, struct reading *r) {
    struct numa *n = &r->machine->numa;
    struct node_range *range = &r->nodes[n->range_count], *last = n->range_count ? range - 1 : NULL;
    u64 node;

    if (!number(s, NODE_NONE - 1, &node) || !number(s, BIT(52) - 1, &range->base) || !number(s, BIT(52), &range->bytes))
        return false;
    if (!range->bytes || range->bytes > BIT(52) - range->base) return false;
    if (last && last->base + last->bytes > range->base) return false;
    range->node = (u32)node;
    n->range_count++;
    return true;
}

static bool read_distance(struct scan *s, struct reading *r) {
    u64 from, to, distance;

    if (!number(s, NODE_NONE - 1, &from) || !number(s, NODE_NONE - 1, &to) || !number(s, 255, &distance)) return false;
    if (from < MAX_DISTANCE && to < MAX_DISTANCE) r->distances[from * MAX_DISTANCE + to] = (u8)distance;
    return true;
}

/* One fact. False if it is not of its form. */
static bool read_fact(struct scan *s, struct reading *r) {
    struct inventory *m = r->machine;
    char word[32];
    u64 n;

    if (!next_word(s, word, sizeof(word))) return true;
    if (str_equal(word, "memory")) return read_memory(s, m);
    if (str_equal(word, "iommu")) return read_iommu(s, m);
    if (str_equal(word, "core")) return read_core(s, r);
    if (str_equal(word, "node")) return read_node(s, r);
    if (str_equal(word, "distance")) return read_distance(s, r);
    if (str_equal(word, "cores")) {
        if (!number(s, MAX_CORES, &n) || !n) return false;
        m->core_count = (u32)n;
    } else if (str_equal(word, "pci")) {
        if (!read_function(s, &m->functions[m->function_count])) return false;
        m->function_count++;
    } else if (str_equal(word, "vendor")) {
        rest(s, m->vendor, sizeof(m->vendor));
    }
    return true;
}

static int wrong(struct config_error *error, u32 line, const char *what, const char *remedy) {
    *error = (struct config_error){.line = line, .column = 1};
    str_copy(error->what, sizeof(error->what), what);
    str_copy(error->remedy, sizeof(error->remedy), remedy);
    return -E_INVAL;
}

/* Room for as much as a text of this length can tell. */
static struct inventory *prepare(struct arena *arena, size_t length, struct reading *r) {
    struct inventory *m = arena_alloc(arena, sizeof(*m));

    if (!m) return NULL;
    *r = (struct reading){.machine = m, .most = (u32)min_u64(length / 16 + 1, MAX_CORES)};
    m->memory = arena_alloc(arena, (length / 16 + 1) * sizeof(*m->memory));
    m->functions = arena_alloc(arena, (length / 32 + 1) * sizeof(*m->functions));
    m->physical = arena_alloc(arena, r->most * sizeof(*m->physical));
    r->nodes = arena_alloc(arena, (length / 16 + 1) * sizeof(*r->nodes));
    r->core_nodes = arena_alloc(arena, r->most * sizeof(*r->core_nodes));
    r->distances = arena_alloc(arena, MAX_DISTANCE * MAX_DISTANCE);
    if (!m->memory || !m->functions || !m->physical || !r->nodes || !r->core_nodes || !r->distances) return NULL;
    memset(m->physical, 0xff, r->most * sizeof(*m->physical));
    memset(r->core_nodes, 0xff, r->most * sizeof(*r->core_nodes));
    memset(r->distances, 20, MAX_DISTANCE * MAX_DISTANCE);
    m->numa = (struct numa){
        .ranges = r->nodes, .core_nodes = r->core_nodes, .distances = r->distances, .localities = MAX_DISTANCE};
    return m;
}

int inventory_parse(struct arena *arena, const char *text, size_t length, struct inventory **out,
                    struct config_error *error) {
    static const char again[] = "take it anew: boot with mullion.inventory, or tools/inventory --log FILE";
    struct reading r;
    struct inventory *m = prepare(arena, length, &r);
    u32 line = 0;
    bool whole = false;

    if (!m) return -E_NOMEM;
    for (size_t at = 0; at < length;) {
        struct scan s = {text + at, text + at};

        while (at < length && text[at] != '\n') at++;
        s.end = text + at++;
        if (s.end > s.at && s.end[-1] == '\r') s.end--;
        line++;
        if (s.end - s.at < 3 || memcmp(s.at, "#: ", 3) != 0) continue;
        s.at += 3;
        whole |= s.end - s.at == 3 && !memcmp(s.at, "end", 3);
        if (!read_fact(&s, &r)) return wrong(error, line, "this line of the inventory is not understood", again);
    }
    if (!m->core_count || !m->memory_count)
        return wrong(error, 0, "this is no inventory: it names no cores or no memory", again);
    if (!whole) return wrong(error, 0, "the inventory is cut short: its line \"#: end\" is missing", again);
    m->numa.core_count = (u32)min_u64(m->core_count, r.most);
    *out = m;
    return 0;
}

u32 inventory_physical(const struct inventory *m, u64 core) {
    return core < m->numa.core_count ? m->physical[core] : PHYSICAL_UNKNOWN;
}

void inventory_name(char *out, size_t size, u32 id) {
    if (id >> 16)
        fmt(out, size, "%04x:%02x:%02x.%u", id >> 16, PCI_BUS(id), PCI_DEVICE(id), PCI_FUNCTION(id));
    else
        fmt(out, size, "%02x:%02x.%u", PCI_BUS(id), PCI_DEVICE(id), PCI_FUNCTION(id));
}

/* PCI Code and ID Assignment: bridges of any kind, an IOMMU. */
bool inventory_shared(const struct inventory_function *f) {
    return f->bridge || f->class_code >> 16 == 0x06 || f->class_code >> 8 == 0x0806;
}
