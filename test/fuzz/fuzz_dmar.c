/* Arbitrary bytes as the DMAR table. Input: a byte that says what bridges answer, then the table from its header on;
 * its length is set to what is there. Holds: no read behind the table (it is a copy of exactly its length), refusals
 * say why, counts fit their arrays, no two units share registers, each scope names a unit that exists, and what is
 * found for an identity is a unit of its segment. */
#include <string.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "drivers/dmar.h"
#include "test/fuzz/fuzz.h"

#define HEADER_BYTES 36u

static u8 bridges;

static bool buses(u32 id, u8 *first, u8 *last) {
    *first = (u8)(PCI_BUS(id) + (bridges & 15));
    *last = (u8)(*first + (bridges >> 4));
    return (id ^ bridges) & 8;
}

static void check_parsed(const struct dmar *out) {
    REQUIRE(out->unit_count > 0 && out->unit_count <= IOMMU_MAX_UNITS && out->scope_count <= DMAR_SCOPES);
    for (u32 i = 0; i < out->unit_count; i++) {
        REQUIRE(out->units[i].registers && is_aligned(out->units[i].registers, PAGE_4K));
        for (u32 k = 0; k < i; k++) REQUIRE(out->units[i].registers != out->units[k].registers);
    }
    for (u32 i = 0; i < out->scope_count; i++) {
        const struct dmar_scope *s = &out->scopes[i];
        bool ioapic;
        u32 id;
        int unit = dmar_find(out, s->id, &ioapic);

        REQUIRE(s->unit == DMAR_RESERVED || s->unit < out->unit_count);
        REQUIRE(s->unit != DMAR_RESERVED || (unit == -E_UNSUPPORTED && s->ioapic == DMAR_NO_IOAPIC));
        REQUIRE(unit >= 0 || unit == -E_UNSUPPORTED);
        if (unit >= 0) REQUIRE((u32)unit < out->unit_count && out->units[unit].segment == s->id >> 16);
        if (unit >= 0 && s->ioapic != DMAR_NO_IOAPIC) REQUIRE(ioapic && dmar_ioapic(out, s->ioapic, &id) == 0);
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    static struct dmar out;
    u32 length = (u32)size - 1;
    char why[160];
    u8 *table;
    int rc;

    if (size < 1 + HEADER_BYTES) return 0;
    bridges = data[0];
    table = malloc(length);
    memcpy(table, data + 1, length);
    memcpy(table + 4, &length, 4);
    memset(why, 0x55, sizeof(why));
    rc = dmar_parse(table, bridges & 1 ? NULL : buses, &out, why, sizeof(why));
    REQUIRE(rc == 0 || (rc == -E_INVAL && memchr(why, 0, sizeof(why)) && why[0]));
    if (rc == 0) check_parsed(&out);
    free(table);
    return 0;
}
