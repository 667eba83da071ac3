/* Reads the machine's ACPI tables: processors, interrupt controllers, PM timer, soft-off,
 * HPET. Boot core, before start. Every byte is untrusted: each length is checked before it is used,
 * and all loops are bounded by a checked length. */
#include "drivers/acpi.h"

#include "drivers/aml_s5.h"
#include "core/base/acpi_tables.h"
#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/layout.h"
#include "core/base/string.h"

#define TABLE_BYTES_MAX MIB(8) /* no machine's DSDT is larger; a broken length often is */
#define ROOT_ENTRIES    1024u  /* looked at, at most */

/* Broadcast, so no processor's own id; firmware fills unused entries with it. SDM Vol 3A, Physical
 * Destination Mode. */
#define LAPIC_ID_BROADCAST  0xffu
#define X2APIC_ID_BROADCAST 0xffffffffu

struct parse {
    const struct acpi_mem *mem;
    struct host_acpi *out;
    char *why;
    size_t why_size;
    bool has_madt;
    u64 dsdt; /* out of the FADT; 0: none */
};

static printf_like(3, 4) int fail(const struct parse *p, int code, const char *format, ...) {
    va_list args;

    va_start(args, format);
    fmt_v(p->why, p->why_size, format, args);
    va_end(args);
    return code;
}

static bool sum_is_zero(const void *table, u64 bytes) {
    const u8 *b = table;
    u8 sum = 0;

    for (u64 i = 0; i < bytes; i++) sum = (u8)(sum + b[i]);
    return sum == 0;
}

static bool signature_is(const struct acpi_header *h, const char *name) {
    return memcmp(h->signature, name, sizeof(h->signature)) == 0;
}

/* The table at `at` mapped whole and its checksum verified. Returns 0, or -E_INVAL or -E_CHECKSUM
 * with the reason. */
static int map_table(const struct parse *p, u64 at, const char *name, u64 min_bytes, const struct acpi_header **out) {
    const struct acpi_header *h = p->mem->map(p->mem->ctx, hpa(at), sizeof(*h));
    u32 length;

    if (!h) return fail(p, -E_INVAL, "%s: not readable at 0x%llx", name, (unsigned long long)at);
    if (!signature_is(h, name)) return fail(p, -E_INVAL, "%s: other signature at 0x%llx", name, (unsigned long long)at);
    length = h->length;
    if (length < min_bytes || length > TABLE_BYTES_MAX)
        return fail(p, -E_INVAL, "%s: a length of %u bytes is impossible", name, length);
    h = p->mem->map(p->mem->ctx, hpa(at), length);
    if (!h)
        return fail(p, -E_INVAL, "%s: its %u bytes are not readable at 0x%llx", name, length, (unsigned long long)at);
    if (!sum_is_zero(h, length)) return fail(p, -E_CHECKSUM, "%s: checksum of the table is wrong", name);
    *out = h;
    return 0;
}

/* --- MADT --- */

/* The same processor may be listed as type 0 and as type 9. */
static void add_cpu(struct host_acpi *out, u32 apic_id, u32 flags) {
    if (!(flags & MADT_ENABLED)) return;
    for (u32 i = 0; i < out->cpu_count; i++)
        if (out->cpus[i].apic_id == apic_id) return;
    out->cpus_seen++;
    if (out->cpu_count < out->cpu_max) out->cpus[out->cpu_count++].apic_id = apic_id;
}

static int add_ioapic(const struct parse *p, const struct madt_ioapic *e) {
    struct host_acpi *out = p->out;

    if (out->ioapic_count == ACPI_MAX_IOAPICS) return fail(p, -E_INVAL, "APIC: more than %u IOAPICs", ACPI_MAX_IOAPICS);
    out->ioapics[out->ioapic_count++] =
        (struct host_ioapic){.id = e->id, .gsi_base = e->gsi_base, .address = e->address};
    return 0;
}

/* "Conforms to the bus" means, for ISA, active high and edge. */
static void add_override(struct host_acpi *out, const struct madt_override *e) {
    if (e->bus != 0 || e->source >= ACPI_ISA_LINES) return;
    out->isa[e->source] = (struct isa_override){
        .gsi = e->gsi,
        .active_low = (e->flags & INTI_POLARITY) == INTI_ACTIVE_LOW,
        .level = (e->flags & INTI_TRIGGER) == INTI_LEVEL,
    };
}

/* Bytes that an entry of this type has at least; 2 for those that are skipped. */
static u32 madt_entry_min(u8 type) {
    switch (type) {
    case MADT_LAPIC: return sizeof(struct madt_lapic);
    case MADT_IOAPIC: return sizeof(struct madt_ioapic);
    case MADT_OVERRIDE: return sizeof(struct madt_override);
    case MADT_LAPIC_ADDRESS: return sizeof(struct madt_lapic_address);
    case MADT_X2APIC: return sizeof(struct madt_x2apic);
    default: return 2;
    }
}

static int add_entry(const struct parse *p, const void *entry) {
    const struct madt_lapic *lapic = entry;
    const struct madt_x2apic *x2apic = entry;
    const struct madt_lapic_address *address = entry;

    switch (lapic->type) {
    case MADT_LAPIC:
        if (lapic->apic_id != LAPIC_ID_BROADCAST) add_cpu(p->out, lapic->apic_id, lapic->flags);
        break;
    case MADT_X2APIC:
        if (x2apic->apic_id != X2APIC_ID_BROADCAST) add_cpu(p->out, x2apic->apic_id, x2apic->flags);
        break;
    case MADT_IOAPIC: return add_ioapic(p, entry);
    case MADT_OVERRIDE: add_override(p->out, entry); break;
    case MADT_LAPIC_ADDRESS: p->out->lapic_address = address->address; break;
    default: /* NMI wiring, SAPIC, wake-up mailbox: not needed */ break;
    }
    return 0;
}

static int parse_madt(struct parse *p, u64 at) {
    const struct acpi_header *h;
    const struct acpi_madt *madt;
    u32 offset = sizeof(*madt);
    int rc = map_table(p, at, "APIC", sizeof(*madt), &h);

    if (rc) return rc;
    madt = (const struct acpi_madt *)h;
    p->out->lapic_address = madt->lapic_address;
    while (offset < h->length) {
        const u8 *entry = (const u8 *)h + offset;
        u32 left = h->length - offset;

        if (left < 2 || entry[1] > left || entry[1] < madt_entry_min(entry[0]))
            return fail(p, -E_INVAL, "APIC: the entry at offset %u has an impossible length", offset);
        rc = add_entry(p, entry);
        if (rc) return rc;
        offset += entry[1];
    }
    p->has_madt = true;
    return 0;
}

/* --- FADT --- */

/* An I/O port out of the extended block, or else out of the old one; 0 if there is none. */
static u16 port_of(const struct acpi_gas *extended, u32 old) {
    if (extended->space == ACPI_SPACE_IO && extended->address > 0 && extended->address <= 0xffff)
        return (u16)extended->address;
    return old <= 0xffff ? (u16)old : 0;
}

static int parse_fadt(struct parse *p, u64 at) {
    struct host_acpi *out = p->out;
    const struct acpi_header *h;
    struct acpi_fadt f = {0}; /* a table of an older revision is shorter: what it lacks is 0 */
    int rc = map_table(p, at, "FACP", ACPI_FADT_V1_BYTES, &h);

    if (rc) return rc;
    memcpy(&f, h, min_u64(h->length, sizeof(f)));
    p->dsdt = f.x_dsdt ? f.x_dsdt : f.dsdt;
    if (f.flags & FADT_HW_REDUCED) /* no PM1 block and no PM timer: the fields are to be ignored */
        return 0;
    if (f.pm_tmr_len == 4) out->pm_timer_port = port_of(&f.x_pm_tmr, f.pm_tmr);
    out->pm1a_control = port_of(&f.x_pm1a_cnt, f.pm1a_cnt);
    out->pm1b_control = port_of(&f.x_pm1b_cnt, f.pm1b_cnt);
    return 0;
}

/* --- what the machine can do without: a broken table counts as absent --- */

static void parse_hpet(const struct parse *p, u64 at) {
    const struct acpi_header *h;

    if (map_table(p, at, "HPET", sizeof(struct acpi_hpet), &h) == 0) {
        const struct acpi_hpet *hpet = (const struct acpi_hpet *)h;

        /* Its registers are read while boot's tables map the first 4 GiB only. */
        if (hpet->address.space == ACPI_SPACE_MEMORY && hpet->address.address <= GIB(4) - KIB(1))
            p->out->hpet_address = hpet->address.address;
    }
}

static void parse_mcfg(const struct parse *p, u64 at) {
    const struct acpi_header *h;

    if (map_table(p, at, "MCFG", ACPI_MCFG_RANGES, &h)) return;
    for (u64 i = ACPI_MCFG_RANGES; i + sizeof(struct mcfg_range) <= h->length; i += sizeof(struct mcfg_range)) {
        const struct mcfg_range *r = (const struct mcfg_range *)((const u8 *)h + i);

        /* Buses are shifted by 20 bits into the address: one that is not aligned or wraps is not to be believed. */
        if (p->out->mcfg_count == ACPI_MAX_SEGMENTS || r->first > r->last || (r->address & (MIB(1) - 1)) ||
            r->address > DIRECT_BYTES - MIB(256))
            continue;
        p->out->mcfg[p->out->mcfg_count++] = (struct host_mcfg){r->address, r->segment, r->first, r->last};
    }
}

/* If it is broken the reason is kept for whoever misses it. */
static void parse_later(const struct parse *p, u64 at, const char *name, const struct acpi_header **out,
                        char why[ACPI_WHY_BYTES]) {
    if (map_table(p, at, name, sizeof(struct acpi_header), out))
        memcpy(why, p->why, min_u64(p->why_size, ACPI_WHY_BYTES - 1));
}

/* Whether there is one matters only when a device is to be passed through. */
static void parse_iommu(const struct parse *p, u64 at, const char *name) {
    parse_later(p, at, name, &p->out->iommu, p->out->iommu_why);
    p->out->iommu_amd = str_equal(name, "IVRS");
}

static void parse_aml(const struct parse *p, u64 at, const char *name) {
    const struct acpi_header *h;

    if (p->out->has_s5 || map_table(p, at, name, sizeof(*h), &h)) return;
    p->out->has_s5 = aml_find_s5((const u8 *)(h + 1), h->length - sizeof(*h), &p->out->s5_type_a, &p->out->s5_type_b);
}

/* --- the root tables --- */

static int parse_table(struct parse *p, u64 at) {
    const struct acpi_header *h = p->mem->map(p->mem->ctx, hpa(at), sizeof(*h));

    if (!h) /* firmware lists tables in odd places; a needed one is missed later, by name */
        return 0;
    if (signature_is(h, "APIC") && !p->has_madt) return parse_madt(p, at);
    if (signature_is(h, "FACP") && !p->dsdt) return parse_fadt(p, at);
    if (signature_is(h, "HPET")) parse_hpet(p, at);
    if (signature_is(h, "MCFG")) parse_mcfg(p, at);
    if (signature_is(h, "DMAR")) parse_iommu(p, at, "DMAR");
    if (signature_is(h, "IVRS")) parse_iommu(p, at, "IVRS");
    if (signature_is(h, "SRAT")) parse_later(p, at, "SRAT", &p->out->srat, p->out->affinity_why);
    if (signature_is(h, "SLIT")) parse_later(p, at, "SLIT", &p->out->slit, p->out->affinity_why);
    return 0;
}

/* One pass over the RSDT (4-byte addresses) or XSDT (8-byte), the second one only for SSDTs: \_S5
 * is nearly always in the DSDT, which is known after the first. */
static int parse_root(struct parse *p, const struct acpi_header *root, u32 width, bool ssdts) {
    const u8 *entries = (const u8 *)(root + 1);
    u64 count = min_u64((root->length - sizeof(*root)) / width, ROOT_ENTRIES);

    for (u64 i = 0; i < count; i++) {
        u64 at = 0;
        int rc = 0;

        memcpy(&at, entries + i * width, width); /* little-endian, as this machine */
        if (at == 0) continue;
        if (ssdts)
            parse_aml(p, at, "SSDT");
        else
            rc = parse_table(p, at);
        if (rc) return rc;
    }
    return 0;
}

static int find_root(const struct parse *p, const void *rsdp, u64 bytes, const struct acpi_header **root, u32 *width) {
    struct acpi_rsdp r = {0};

    memcpy(&r, rsdp, min_u64(bytes, sizeof(r)));
    if (bytes < ACPI_RSDP_V1_BYTES || memcmp(r.signature, "RSD PTR ", sizeof(r.signature)))
        return fail(p, -E_INVAL, "RSDP: no root pointer in these %llu bytes", (unsigned long long)bytes);
    if (!sum_is_zero(rsdp, ACPI_RSDP_V1_BYTES))
        return fail(p, -E_CHECKSUM, "RSDP: checksum of the first 20 bytes is wrong");
    if (r.revision >= 2 && bytes >= sizeof(r)) {
        if (!sum_is_zero(rsdp, sizeof(r))) return fail(p, -E_CHECKSUM, "RSDP: extended checksum is wrong");
        if (r.xsdt) {
            *width = 8;
            return map_table(p, r.xsdt, "XSDT", sizeof(**root), root);
        }
    }
    *width = 4;
    return map_table(p, r.rsdt, "RSDT", sizeof(**root), root);
}

int host_acpi_parse(const void *rsdp, u64 rsdp_bytes, const struct acpi_mem *mem, struct host_acpi *out, char *why,
                    size_t why_size) {
    struct parse p = {.mem = mem, .out = out, .why = why, .why_size = why_size};
    struct host_cpu *cpus = out->cpus;
    u32 cpu_max = out->cpu_max, width = 0;
    const struct acpi_header *root;
    int rc;

    memset(out, 0, sizeof(*out));
    out->cpus = cpus;
    out->cpu_max = cpu_max;
    for (u32 i = 0; i < ACPI_ISA_LINES; i++) out->isa[i].gsi = i;
    rc = find_root(&p, rsdp, rsdp_bytes, &root, &width);
    if (rc) return rc;
    rc = parse_root(&p, root, width, false);
    if (rc) return rc;
    if (!p.has_madt) return fail(&p, -E_NOENT, "APIC: the machine has no such table (MADT)");
    if (!out->cpus_seen) return fail(&p, -E_NOENT, "APIC: no processor in it is enabled");
    if (p.dsdt) parse_aml(&p, p.dsdt, "DSDT");
    rc = parse_root(&p, root, width, true);
    why[0] = 0; /* what optional tables may have left */
    return rc;
}
