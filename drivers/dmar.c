/* Reads the DMAR table. Boot core, before start. Each length is checked before it is used; loops end with the table. */
#include "drivers/dmar.h"

#include "core/base/acpi_tables.h"
#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"

/* VT-d 4.1, DMA Remapping Reporting Structure; Remapping Structure Types; Device Scope Structure. */
struct acpi_dmar {
    struct acpi_header header;
    u8 width, flags, reserved[10];
} ACPI_PACKED;
#define FLAG_INTERRUPTS 1u

enum { TYPE_DRHD = 0, TYPE_RMRR = 1 };
struct structure {
    u16 type, length;
} ACPI_PACKED;
struct drhd {
    struct structure head;
    u8 flags, size;
    u16 segment;
    u64 registers;
} ACPI_PACKED;
struct rmrr {
    struct structure head;
    u16 reserved, segment;
    u64 base, limit;
} ACPI_PACKED;
#define DRHD_ALL 1u

enum { SCOPE_ENDPOINT = 1, SCOPE_BRIDGE = 2, SCOPE_IOAPIC = 3, SCOPE_HPET = 4 };
struct scope {
    u8 type, length;
    u16 reserved;
    u8 enumeration, bus;
} ACPI_PACKED;

struct parse {
    const u8 *table;
    u32 offset; /* of the structure or scope that is read */
    bool (*buses)(u32 id, u8 *first, u8 *last);
    struct dmar *out;
    char *why;
    size_t why_size;
};

static int fail(const struct parse *p, const char *what) {
    fmt(p->why, p->why_size, "DMAR: offset %u: %s", p->offset, what);
    return -E_INVAL;
}

static bool buses_of(const struct parse *p, u32 id, u8 *first, u8 *last) {
    return p->buses && p->buses(id, first, last) && *first <= *last;
}

static int add_scope(struct parse *p, const struct scope *s, u16 segment, u8 unit) {
    const u8 *path = (const u8 *)(s + 1);
    u32 hops = (u32)(s->length - sizeof(*s)) / 2;
    struct dmar_scope found = {.unit = unit, .ioapic_id = s->enumeration};
    u8 bus = s->bus, last;

    if (s->type < SCOPE_ENDPOINT || s->type > SCOPE_HPET) return 0; /* ACPI namespace device; later inventions */
    if (hops == 0 || s->length % 2) return fail(p, "device scope: its path has an impossible length");
    for (u32 i = 0; i < hops; i++, path += 2) {
        if (path[0] > 31 || path[1] > 7) return fail(p, "device scope: no such device or function number");
        found.id = PCI_ID(segment, bus, path[0], path[1]);
        if (i + 1 < hops && !buses_of(p, found.id, &bus, &last)) return 0;
    }
    found.ioapic = s->type == SCOPE_IOAPIC && unit != DMAR_RESERVED;
    if (s->type != SCOPE_BRIDGE || !buses_of(p, found.id, &found.first_bus, &found.last_bus)) {
        found.first_bus = 1;
        found.last_bus = 0;
    }
    if (p->out->scope_count == DMAR_SCOPES) return fail(p, "device scope: more than this program can hold");
    p->out->scopes[p->out->scope_count++] = found;
    return 0;
}

/* The scopes of a structure, from p->offset to `end`. */
static int add_scopes(struct parse *p, u32 end, u16 segment, u8 unit) {
    while (p->offset < end) {
        const struct scope *s = (const struct scope *)(p->table + p->offset);
        int rc;

        if (end - p->offset < sizeof(*s) || s->length < sizeof(*s) || s->length > end - p->offset)
            return fail(p, "device scope: impossible length");
        rc = add_scope(p, s, segment, unit);
        if (rc) return rc;
        p->offset += s->length;
    }
    return 0;
}

static int add_unit(struct parse *p, const struct drhd *d) {
    struct dmar *out = p->out;

    if (d->registers == 0 || !is_aligned(d->registers, PAGE_4K) || d->registers >= BIT(52))
        return fail(p, "DRHD: impossible register address");
    if (out->unit_count == IOMMU_MAX_UNITS) return fail(p, "DRHD: more units than this program can hold");
    for (u32 i = 0; i < out->unit_count; i++) {
        if (out->units[i].registers == d->registers) return fail(p, "DRHD: two units have the same registers");
        if (d->flags & DRHD_ALL && out->units[i].all && out->units[i].segment == d->segment)
            return fail(p, "DRHD: two units have the rest of one segment");
    }
    out->units[out->unit_count++] = (struct dmar_unit){d->registers, d->segment, d->flags & DRHD_ALL};
    return 0;
}

static int add_structure(struct parse *p, const struct structure *s) {
    const struct drhd *d = (const struct drhd *)s;
    const struct rmrr *r = (const struct rmrr *)s;
    u32 end = p->offset + s->length;
    int rc;

    switch (s->type) {
    case TYPE_DRHD:
        if (s->length < sizeof(*d)) return fail(p, "DRHD: impossible length");
        rc = add_unit(p, d);
        p->offset += sizeof(*d);
        return rc ? rc : add_scopes(p, end, d->segment, (u8)(p->out->unit_count - 1));
    case TYPE_RMRR:
        if (s->length < sizeof(*r)) return fail(p, "RMRR: impossible length");
        if (r->base > r->limit || !is_aligned(r->base | (r->limit + 1), PAGE_4K))
            return fail(p, "RMRR: impossible memory region");
        p->out->regions++;
        p->offset += sizeof(*r);
        return add_scopes(p, end, r->segment, DMAR_RESERVED);
    default: return 0; /* ATSR, RHSA, ANDD, SATC, SIDP: nothing that is used here */
    }
}

int dmar_parse(const void *table, bool (*buses)(u32 id, u8 *first, u8 *last), struct dmar *out, char *why,
               size_t why_size) {
    const struct acpi_dmar *dmar = table;
    struct parse p = {.table = table, .buses = buses, .out = out, .why = why, .why_size = why_size};
    u32 length = dmar->header.length;

    memset(out, 0, sizeof(*out));
    if (length < sizeof(*dmar)) return fail(&p, "the table is too short");
    out->interrupts = dmar->flags & FLAG_INTERRUPTS;
    for (u32 next = sizeof(*dmar); next < length;) {
        const struct structure *s = (const struct structure *)(p.table + next);
        int rc;

        p.offset = next;
        if (length - next < sizeof(*s) || s->length < sizeof(*s) || s->length > length - next)
            return fail(&p, "structure: impossible length");
        rc = add_structure(&p, s);
        if (rc) return rc;
        next += s->length;
    }
    p.offset = length;
    return out->unit_count ? 0 : fail(&p, "no remapping unit (DRHD) up to here");
}

static bool covers(const struct dmar_scope *s, u32 id) {
    return s->id == id || (s->id >> 16 == id >> 16 && s->first_bus <= PCI_BUS(id) && PCI_BUS(id) <= s->last_bus);
}

int dmar_find(const struct dmar *dmar, u32 id, u32 *unit) {
    for (u32 i = 0; i < dmar->scope_count; i++)
        if (dmar->scopes[i].unit != DMAR_RESERVED && covers(&dmar->scopes[i], id)) {
            *unit = dmar->scopes[i].unit;
            return 0;
        }
    for (u32 i = 0; i < dmar->unit_count; i++)
        if (dmar->units[i].all && dmar->units[i].segment == id >> 16) {
            *unit = i;
            return 0;
        }
    return -E_NOENT;
}

bool dmar_is_reserved(const struct dmar *dmar, u32 id) {
    for (u32 i = 0; i < dmar->scope_count; i++)
        if (dmar->scopes[i].unit == DMAR_RESERVED && covers(&dmar->scopes[i], id)) return true;
    return false;
}

bool dmar_is_ioapic(const struct dmar *dmar, u32 id) {
    for (u32 i = 0; i < dmar->scope_count; i++)
        if (dmar->scopes[i].ioapic && dmar->scopes[i].id == id) return true;
    return false;
}

int dmar_ioapic(const struct dmar *dmar, u32 acpi_id, u32 *id) {
    for (u32 i = 0; i < dmar->scope_count; i++)
        if (dmar->scopes[i].ioapic && dmar->scopes[i].ioapic_id == acpi_id) {
            *id = dmar->scopes[i].id;
            return 0;
        }
    return -E_NOENT;
}
