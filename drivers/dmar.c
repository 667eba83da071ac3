/* Reads the DMAR table. Boot core, before start. Each length is checked before it is used; loops end with the table.
 * Layouts: VT-d 4.1, DMA Remapping Reporting Structure; DMA Remapping Hardware Unit Definition Structure; Reserved
 * Memory Region Reporting Structure; Device Scope Structure:
 *
 *     table      36 header, 36 width (1), 37 flags (1), 48 structures
 *     structure  0 type (2), 2 length (2)
 *       DRHD     4 flags (1), 6 segment (2), 8 registers (8), 16 scopes
 *       RMRR     6 segment (2), 8 base (8), 16 limit (8), 24 scopes
 *     scope      0 type (1), 1 length (1), 4 number (1), 5 start bus (1), 6 path: device (1), function (1) ... */
#include "drivers/dmar.h"

#include "core/base/acpi_tables.h"
#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"

#define TABLE_BYTES     48u
#define FLAG_INTERRUPTS 1u
#define DRHD_ALL        1u

enum { DRHD = 0, RMRR = 1, DRHD_BYTES = 16, RMRR_BYTES = 24 };
enum { SCOPE_ENDPOINT = 1, SCOPE_BRIDGE = 2, SCOPE_IOAPIC = 3, SCOPE_HPET = 4, SCOPE_BYTES = 6 };

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

/* Little-endian, as this machine. */
static u64 field(const struct parse *p, u32 offset, u32 bytes) {
    u64 value = 0;

    memcpy(&value, p->table + p->offset + offset, bytes);
    return value;
}

static bool buses_of(const struct parse *p, u32 id, u8 *first, u8 *last) {
    return p->buses && p->buses(id, first, last) && *first <= *last;
}

static int add_scope(const struct parse *p, u32 length, u16 segment, u8 unit) {
    u8 type = (u8)field(p, 0, 1), bus = (u8)field(p, 5, 1), last;
    struct dmar_scope s = {.unit = unit, .ioapic = DMAR_NO_IOAPIC};

    if (type < SCOPE_ENDPOINT || type > SCOPE_HPET) return 0; /* ACPI namespace device; later inventions */
    if (length == SCOPE_BYTES || length % 2) return fail(p, "device scope: its path has an impossible length");
    for (u32 at = SCOPE_BYTES; at < length; at += 2) {
        u64 device = field(p, at, 1), function = field(p, at + 1, 1);

        if (device > 31 || function > 7) return fail(p, "device scope: no such device or function number");
        s.id = PCI_ID(segment, bus, device, function);
        if (at + 2 < length && !buses_of(p, s.id, &bus, &last)) return 0;
    }
    if (type == SCOPE_IOAPIC && unit != DMAR_RESERVED) s.ioapic = (u16)field(p, 4, 1);
    if (type != SCOPE_BRIDGE || !buses_of(p, s.id, &s.first_bus, &s.last_bus)) s.first_bus = 1, s.last_bus = 0;
    if (p->out->scope_count == DMAR_SCOPES) return fail(p, "device scope: more than this program can hold");
    p->out->scopes[p->out->scope_count++] = s;
    return 0;
}

/* The scopes of a structure, from p->offset to `end`. */
static int add_scopes(struct parse *p, u32 end, u16 segment, u8 unit) {
    while (p->offset < end) {
        u32 left = end - p->offset, length = left < SCOPE_BYTES ? 0 : (u32)field(p, 1, 1);
        int rc;

        if (length < SCOPE_BYTES || length > left) return fail(p, "device scope: impossible length");
        rc = add_scope(p, length, segment, unit);
        if (rc) return rc;
        p->offset += length;
    }
    return 0;
}

static int add_unit(const struct parse *p) {
    struct dmar *out = p->out;
    struct dmar_unit unit = {field(p, 8, 8), (u16)field(p, 6, 2), field(p, 4, 1) & DRHD_ALL};

    if (unit.registers == 0 || !is_aligned(unit.registers, PAGE_4K) || unit.registers >= BIT(52))
        return fail(p, "DRHD: impossible register address");
    if (out->unit_count == IOMMU_MAX_UNITS) return fail(p, "DRHD: more units than this program can hold");
    for (u32 i = 0; i < out->unit_count; i++) {
        if (out->units[i].registers == unit.registers) return fail(p, "DRHD: two units have the same registers");
        if (unit.all && out->units[i].all && out->units[i].segment == unit.segment)
            return fail(p, "DRHD: two units have the rest of one segment");
    }
    out->units[out->unit_count++] = unit;
    return 0;
}

/* ATSR, RHSA, ANDD, SATC, SIDP hold nothing that is used here. */
static int add_structure(struct parse *p, u32 length) {
    u64 type = field(p, 0, 2);
    u32 bytes = type == DRHD ? DRHD_BYTES : RMRR_BYTES, end = p->offset + length;
    u16 segment;

    if (type != DRHD && type != RMRR) return 0;
    if (length < bytes) return fail(p, type == DRHD ? "DRHD: impossible length" : "RMRR: impossible length");
    segment = (u16)field(p, 6, 2);
    if (type == RMRR) {
        u64 base = field(p, 8, 8), limit = field(p, 16, 8);

        if (base > limit || !is_aligned(base | (limit + 1), PAGE_4K)) return fail(p, "RMRR: impossible memory region");
        p->out->regions++;
    } else if (add_unit(p)) {
        return -E_INVAL;
    }
    p->offset += bytes;
    return add_scopes(p, end, segment, type == RMRR ? DMAR_RESERVED : (u8)(p->out->unit_count - 1));
}

int dmar_parse(const void *table, bool (*buses)(u32 id, u8 *first, u8 *last), struct dmar *out, char *why,
               size_t why_size) {
    struct parse p = {.table = table, .buses = buses, .out = out, .why = why, .why_size = why_size};
    u32 end = ((const struct acpi_header *)table)->length, length;

    memset(out, 0, sizeof(*out));
    if (end < TABLE_BYTES) return fail(&p, "the table is too short");
    out->interrupts = field(&p, 37, 1) & FLAG_INTERRUPTS;
    for (u32 next = TABLE_BYTES; next < end; next += length) {
        int rc;

        p.offset = next;
        length = end - next < 4 ? 0 : (u32)field(&p, 2, 2);
        if (length < 4 || length > end - next) return fail(&p, "structure: impossible length");
        rc = add_structure(&p, length);
        if (rc) return rc;
    }
    p.offset = end;
    return out->unit_count ? 0 : fail(&p, "no remapping unit (DRHD) up to here");
}

static bool covers(const struct dmar_scope *s, u32 id) {
    return s->id == id || (s->id >> 16 == id >> 16 && s->first_bus <= PCI_BUS(id) && PCI_BUS(id) <= s->last_bus);
}

int dmar_find(const struct dmar *dmar, u32 id, bool *ioapic) {
    int found = -E_NOENT;

    *ioapic = false;
    for (u32 i = 0; i < dmar->unit_count; i++)
        if (dmar->units[i].all && dmar->units[i].segment == id >> 16) found = (int)i;
    for (u32 i = 0; i < dmar->scope_count; i++) {
        const struct dmar_scope *s = &dmar->scopes[i];

        if (!covers(s, id)) continue;
        if (s->unit == DMAR_RESERVED) return -E_UNSUPPORTED;
        found = s->unit;
        *ioapic |= s->ioapic != DMAR_NO_IOAPIC;
    }
    return found;
}

int dmar_ioapic(const struct dmar *dmar, u32 acpi_id, u32 *id) {
    for (u32 i = 0; i < dmar->scope_count; i++) {
        *id = dmar->scopes[i].id;
        if (dmar->scopes[i].ioapic == acpi_id) return 0;
    }
    return -E_NOENT;
}
