/* Arbitrary bytes as the IVRS table, behind its header; flag bit 0 gives the first block a good type, length and
 * address so that more inputs get as far as device entries. Holds: nothing is read beyond the table; counts fit their
 * arrays; registers are aligned and no unit's twice; each function's unit exists; refusals say why and where. */
#include <string.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "drivers/ivrs.h"
#include "test/fuzz/fuzz.h"

#define HEADER 36u

static struct ivrs out;

static void check_parsed(u32 id) {
    u32 unit, requester;
    int rc = ivrs_find(&out, id, &unit, &requester);

    REQUIRE(out.unit_count >= 1 && out.unit_count <= IOMMU_MAX_UNITS);
    REQUIRE(out.range_count <= IVRS_RANGES && out.ioapic_count <= IVRS_IOAPICS);
    for (u32 i = 0; i < out.unit_count; i++) {
        REQUIRE(out.units[i].registers && is_aligned(out.units[i].registers, KIB(16)));
        for (u32 k = 0; k < i; k++) REQUIRE(out.units[i].id != out.units[k].id);
    }
    for (u32 i = 0; i < out.range_count; i++) {
        REQUIRE(out.ranges[i].first <= out.ranges[i].last);
        REQUIRE(out.ranges[i].unit < out.unit_count);
        REQUIRE(out.ranges[i].alias == IVRS_NONE || out.ranges[i].alias <= 0xffff);
    }
    REQUIRE(rc == 0 || rc == -E_NOENT);
    REQUIRE(rc || (unit < out.unit_count && requester <= 0xffff));
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    u32 flags = (u32)take(&in, 1), id = (u32)take(&in, 3), bytes = HEADER + (u32)in.left;
    u8 *table = malloc(bytes);
    char why[160] = "";
    int rc;

    memset(table, 0, HEADER);
    memcpy(table + HEADER, in.at, in.left);
    memcpy(table + 4, &bytes, 4);
    if (flags & 1 && bytes >= 48 + 40) {
        static const u64 address = 0xfed80000;
        u16 length = (u16)(bytes - 48);

        table[48] = flags & 2 ? 0x40 : 0x10;
        memcpy(table + 50, &length, 2);
        memcpy(table + 56, &address, 8);
    }
    memset(&out, 0, sizeof(out));
    rc = ivrs_parse(table, &out, why, sizeof(why));
    REQUIRE(rc == 0 || rc == -E_INVAL);
    REQUIRE((rc == 0) == (why[0] == 0));
    if (rc == 0)
        check_parsed(id);
    else
        REQUIRE(strstr(why, "IVRS: offset 0x") == why);
    free(table);
    return 0;
}
