#include "drivers/ivrs.h"

#include "core/base/acpi_tables.h"
#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"

/* Blocks follow the table's header: type, flags, 16-bit length. 48882, I/O Virtualization Hardware Definition (IVHD)
 * Block. What is no IVHD is skipped: memory definitions (IVMD) too, so memory that firmware wants to be kept open for a
 * function is closed like all other. */
enum { INFO = 36, INFO_EFR = 1, BLOCKS = 48 };
enum { IVHD = 0x10, IVHD_EFR = 0x11, IVHD_HID = 0x40 };
enum { BLOCK_ID = 4, IVHD_BASE = 8, IVHD_SEGMENT = 16, IVHD_FEATURES = 20 };
/* Types of device entries; bits 7:6 tell the length of those below 0x80. 48882, IVHD Device Entries. */
enum { ALL = 1, SELECT, START, END, ALIAS = 66, ALIAS_START, EXT_SELECT = 70, EXT_START, SPECIAL, ACPI_HID = 240 };
enum { ACPI_HID_BYTES = 22, SPECIAL_IOAPIC = 1 };

struct parse {
    const u8 *table;
    struct ivrs *out;
    char *why;
    size_t why_size;
};

static u64 get(const u8 *at, u32 bytes) {
    u64 value = 0;

    memcpy(&value, at, bytes); /* little-endian, as this machine */
    return value;
}

static int fail(const struct parse *p, u32 offset, const char *what) {
    fmt(p->why, p->why_size, "IVRS: offset 0x%x: %s", offset, what);
    return -E_INVAL;
}

static u32 ivhd_bytes(u8 type) { return type == IVHD ? 24 : type == IVHD_EFR || type == IVHD_HID ? 40 : 0; }
static u32 segment_of(const u8 *block) { return (u32)get(block + IVHD_SEGMENT, 2) << 16; }

static u32 entry_bytes(const u8 *entry, u32 left) {
    if (entry[0] < 0x80) return 4u << (entry[0] >> 6);
    return entry[0] == ACPI_HID && left >= ACPI_HID_BYTES ? ACPI_HID_BYTES + entry[ACPI_HID_BYTES - 1] : 0;
}

static int add_range(const struct parse *p, u32 at, struct ivrs_range range) {
    if (range.first > range.last) return fail(p, at, "a range that ends before it begins");
    if (p->out->range_count == IVRS_RANGES) return fail(p, at, "too many device entries");
    p->out->ranges[p->out->range_count++] = range;
    return 0;
}

/* open: the range that has begun, first above last if none has. */
static int add_entry(const struct parse *p, u32 at, u32 segment, u32 unit, struct ivrs_range *open) {
    const u8 *entry = p->table + at;
    u32 id = segment | (u32)get(entry + 1, 2), source = entry[0] >= 0x40 ? (u32)get(entry + 5, 2) : 0;
    bool aliased = entry[0] == ALIAS || entry[0] == ALIAS_START;
    struct ivrs_range range = {id, id, unit, aliased ? source : IVRS_NONE, 0}, ended = *open;

    if ((entry[0] == END) != (open->first <= open->last)) return fail(p, at, "a range without begin or end");
    switch (entry[0]) {
    case ALL: return add_range(p, at, (struct ivrs_range){segment, segment | 0xffff, unit, IVRS_NONE, 0});
    case SELECT:
    case EXT_SELECT:
    case ALIAS: return add_range(p, at, range);
    case START:
    case EXT_START:
    case ALIAS_START: *open = (struct ivrs_range){id, IVRS_NONE, unit, range.alias, 0}; return 0;
    case END:
        *open = (struct ivrs_range){1, 0, 0, 0, 0};
        ended.last = id;
        return add_range(p, at, ended);
    case SPECIAL:
        if (p->out->ioapic_count == IVRS_IOAPICS) return fail(p, at, "too many I/O APICs");
        range.first = range.last = p->out->ioapics[p->out->ioapic_count].id = segment | source;
        p->out->ioapics[p->out->ioapic_count].acpi_id = entry[4];
        range.settings = entry[3];
        if (entry[7] == SPECIAL_IOAPIC) p->out->ioapic_count++;
        return add_range(p, at, range);
    default: return 0; /* padding, ACPI devices, and what is to come */
    }
}

/* A unit may be described by several blocks, for older and newer software: the highest type counts. */
static int add_unit(const struct parse *p, u32 at, u32 bytes) {
    const u8 *block = p->table + at;
    u32 i = p->out->unit_count, features;
    struct ivrs_unit unit = {.type = block[0], .flags = block[1]};

    if (bytes < ivhd_bytes(unit.type)) return fail(p, at, "the hardware definition is too short");
    unit.id = segment_of(block) | (u32)get(block + BLOCK_ID, 2);
    unit.registers = get(block + IVHD_BASE, 8);
    features = (u32)get(block + IVHD_FEATURES, 4);
    unit.features = unit.type == IVHD ? (features & 1) << 2 | (features & 0x60) << 1 : 0; /* XTSup; IASup, GASup */
    unit.efr = unit.type != IVHD || get(p->table + INFO, 4) & INFO_EFR;
    if (!unit.registers || !is_aligned(unit.registers, KIB(16)) || unit.registers >= BIT(52))
        return fail(p, at, "impossible address of registers");
    for (u32 k = 0; k < p->out->unit_count; k++) {
        if (p->out->units[k].id == unit.id)
            i = k;
        else if (p->out->units[k].registers == unit.registers)
            return fail(p, at, "two units with the same registers");
    }
    if (i == IOMMU_MAX_UNITS) return fail(p, at, "too many units");
    if (i == p->out->unit_count) p->out->unit_count++;
    if (unit.type > p->out->units[i].type) p->out->units[i] = unit;
    return 0;
}

static int add_entries(const struct parse *p, u32 at, u32 end) {
    const u8 *block = p->table + at;
    struct ivrs_range open = {1, 0, 0, 0, 0};
    u32 segment = segment_of(block), unit = 0;

    while (p->out->units[unit].id != (segment | get(block + BLOCK_ID, 2))) unit++; /* it was added */
    if (p->out->units[unit].type != block[0]) return 0;
    for (at += ivhd_bytes(block[0]); at < end;) {
        u32 bytes = entry_bytes(p->table + at, end - at);
        int code = 0;

        if (bytes == 0 || bytes > end - at) return fail(p, at, "a device entry of impossible type or length");
        if ((code = add_entry(p, at, segment, unit, &open))) return code;
        at += bytes;
    }
    return open.first <= open.last ? fail(p, end, "a range without end") : 0;
}

int ivrs_parse(const void *table, struct ivrs *out, char *why, size_t why_size) {
    const struct parse p = {.table = table, .out = out, .why = why, .why_size = why_size};
    u32 length = (u32)get(p.table + 4, 4);
    int code = 0;

    if (length < BLOCKS) return fail(&p, 4, "the table is too short");
    for (u32 pass = 0; pass < 2; pass++)
        for (u32 at = BLOCKS, bytes; at < length && !code; at += bytes) {
            u8 type = p.table[at];

            bytes = length - at >= 4 ? (u32)get(p.table + at + 2, 2) : 0;
            if (bytes < 4 || bytes > length - at) return fail(&p, at, "a block of impossible length");
            if (ivhd_bytes(type)) code = pass == 0 ? add_unit(&p, at, bytes) : add_entries(&p, at, at + bytes);
        }
    return !code && out->unit_count == 0 ? fail(&p, BLOCKS, "no unit is described") : code;
}

int ivrs_find(const struct ivrs *ivrs, u32 id, u32 *unit, u32 *requester) {
    u32 in_segment = 0;

    *requester = id & 0xffff;
    for (u32 i = ivrs->range_count; i-- > 0;)
        if (id >= ivrs->ranges[i].first && id <= ivrs->ranges[i].last) {
            *unit = ivrs->ranges[i].unit;
            if (ivrs->ranges[i].alias != IVRS_NONE) *requester = ivrs->ranges[i].alias;
            return 0;
        }
    for (u32 i = 0; i < ivrs->unit_count; i++)
        if (ivrs->units[i].id >> 16 == id >> 16) *unit = i, in_segment++;
    return in_segment == 1 ? 0 : -E_NOENT;
}
