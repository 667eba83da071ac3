#include "drivers/srat.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"

#define PHYSICAL_LIMIT BIT(52)

/* The entry at *offset, which is moved behind it; NULL at the end. *bad: the entry has an impossible length. */
static const struct srat_entry *next_entry(const struct acpi_header *srat, u32 *offset, bool *bad) {
    static const u8 least[] = {sizeof(struct srat_lapic), sizeof(struct srat_memory), sizeof(struct srat_x2apic)};
    const struct srat_entry *e = (const void *)((const u8 *)srat + *offset);
    u32 left = srat->length - *offset;

    *bad = false;
    if (!left) return NULL;
    *bad = left < sizeof(*e) || e->length > left || e->length < sizeof(*e) ||
           (e->type < ARRAY_SIZE(least) && e->length < least[e->type]);
    if (*bad) return NULL;
    *offset += e->length;
    return e;
}

/* Tables of revision 1 have 8 bits for it, and what is reserved there may hold anything. */
static u32 domain_of(const struct acpi_header *srat, u32 domain) { return srat->revision < 2 ? domain & 0xff : domain; }

u32 srat_max_ranges(const struct acpi_header *srat) {
    return (u32)min_u64(srat->length / sizeof(struct srat_memory), SRAT_MAX_RANGES);
}

/* Keeps the array sorted. Returns 0, or -E_OVERLAP. */
static int insert(struct node_range *out, u32 count, struct node_range range) {
    u32 at = count;

    while (at && out[at - 1].base > range.base) at--;
    if (at && out[at - 1].base + out[at - 1].bytes > range.base) return -E_OVERLAP;
    if (at < count && range.base + range.bytes > out[at].base) return -E_OVERLAP;
    memmove(&out[at + 1], &out[at], (count - at) * sizeof(*out));
    out[at] = range;
    return 0;
}

static u32 join(struct node_range *out, u32 count) {
    u32 kept = 0;

    for (u32 i = 0; i < count; i++) {
        struct node_range *last = kept ? &out[kept - 1] : NULL;

        if (last && last->node == out[i].node && last->base + last->bytes == out[i].base)
            last->bytes += out[i].bytes;
        else
            out[kept++] = out[i];
    }
    return kept;
}

int srat_ranges(const struct acpi_header *srat, struct node_range *out, u32 max, u32 *count, char *why,
                size_t why_size) {
    u32 offset = ACPI_SRAT_ENTRIES, found = 0;
    const struct srat_entry *e;
    bool bad = true;

    *count = 0;
    if (srat->length < ACPI_SRAT_ENTRIES) goto wrong;
    while ((e = next_entry(srat, &offset, &bad))) {
        const struct srat_memory *m = (const void *)e;
        struct node_range r;

        if (e->type != SRAT_MEMORY || !(m->flags & SRAT_ENABLED) || m->base >= PHYSICAL_LIMIT) continue;
        r = (struct node_range){m->base, min_u64(m->bytes, PHYSICAL_LIMIT - m->base), domain_of(srat, m->domain)};
        if (!r.bytes || r.node == NODE_NONE) continue;
        if (found == max) {
            fmt(why, why_size, "SRAT: more than %u ranges of memory", max);
            return -E_INVAL;
        }
        if (insert(out, found, r)) {
            fmt(why, why_size, "SRAT: the memory at 0x%llx belongs to two entries", (unsigned long long)r.base);
            return -E_INVAL;
        }
        found++;
    }
    if (bad) goto wrong;
    *count = join(out, found);
    return 0;
wrong:
    fmt(why, why_size, "SRAT: the entry at offset %u has an impossible length", offset);
    return -E_INVAL;
}

u32 srat_node(const struct acpi_header *srat, u32 apic_id) {
    u32 offset = ACPI_SRAT_ENTRIES;
    const struct srat_entry *e;
    bool bad;

    while ((e = next_entry(srat, &offset, &bad))) {
        const struct srat_lapic *lapic = (const void *)e;
        const struct srat_x2apic *x2apic = (const void *)e;

        if (e->type == SRAT_LAPIC && lapic->flags & SRAT_ENABLED && lapic->apic_id == apic_id)
            return domain_of(srat, (u32)lapic->domain_low | (u32)lapic->domain_high[0] << 8 |
                                       (u32)lapic->domain_high[1] << 16 | (u32)lapic->domain_high[2] << 24);
        if (e->type == SRAT_X2APIC && x2apic->flags & SRAT_ENABLED && x2apic->apic_id == apic_id) return x2apic->domain;
    }
    return NODE_NONE;
}

const u8 *slit_distances(const struct acpi_header *slit, u32 *localities) {
    const u8 *matrix = (const u8 *)slit + ACPI_SLIT_MATRIX;
    u64 n;

    *localities = 0;
    if (slit->length < ACPI_SLIT_MATRIX) return NULL;
    memcpy(&n, matrix - sizeof(n), sizeof(n));
    if (n > 4096 || n * n > slit->length - ACPI_SLIT_MATRIX) return NULL;
    for (u64 i = 0; i < n; i++)
        for (u64 k = 0; k < n; k++)
            if (matrix[i * n + k] < matrix[i * n + i]) return NULL;
    *localities = (u32)n;
    return matrix;
}
