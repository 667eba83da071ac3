/* Arbitrary bytes as the machine's ACPI tables. Input: a flags byte, the RSDP's 36 bytes, then
 * physical memory from 0x1000 on. With flag bit 0 checksums are set right, so that the bytes behind
 * them are reached. Holds: every mapping is asked for before it is read (each is a copy of exactly
 * its length); counts fit their arrays; no processor is there twice; refusals say why. */
#include <string.h>

#include "core/base/errors.h"
#include "core/base/layout.h"
#include "drivers/acpi.h"
#include "drivers/aml_s5.h"
#include "drivers/srat.h"
#include "test/fuzz/fuzz.h"

#define BASE       0x1000u
#define RSDP_BYTES 36u
#define MAPS_MAX   16384u

struct memory {
    const u8 *bytes;
    size_t size;
    bool seal;
    void *maps[MAPS_MAX];
    u32 count;
};

static u8 sum(const u8 *bytes, u64 count) {
    u8 s = 0;

    while (count-- > 0) s = (u8)(s + *bytes++);
    return s;
}

static const void *map(void *ctx, hpa_t at, u64 bytes) {
    struct memory *m = ctx;
    u8 *copy;

    if (at.v < BASE || at.v - BASE > m->size || bytes > m->size - (at.v - BASE)) return NULL;
    REQUIRE(m->count < MAPS_MAX);
    copy = malloc(bytes ? bytes : 1);
    memcpy(copy, m->bytes + (at.v - BASE), bytes);
    if (m->seal && bytes >= 36) copy[9] = (u8)(copy[9] - sum(copy, bytes));
    m->maps[m->count++] = copy;
    return copy;
}

static void check_parsed(const struct host_acpi *out, u32 cpu_max) {
    REQUIRE(out->cpu_max == cpu_max && out->cpu_count <= cpu_max);
    REQUIRE(out->cpu_count == cpu_max || out->cpu_count == out->cpus_seen);
    REQUIRE(out->ioapic_count <= ACPI_MAX_IOAPICS);
    REQUIRE(out->mcfg_count <= ACPI_MAX_SEGMENTS);
    for (u32 i = 0; i < out->mcfg_count; i++) { /* the last function's page lies in the window of device registers */
        const struct host_mcfg *m = &out->mcfg[i];

        REQUIRE(m->first <= m->last && m->address % MIB(1) == 0 &&
                m->address + ((u64)m->last + 1) * MIB(1) <= DIRECT_BYTES);
    }
    for (u32 i = 0; i < out->cpu_count; i++)
        for (u32 k = 0; k < i; k++) REQUIRE(out->cpus[i].apic_id != out->cpus[k].apic_id);
    REQUIRE(!out->has_s5 || (out->s5_type_a <= 7 && out->s5_type_b <= 7));
}

/* Ranges come sorted and apart; the matrix lies in its table. */
static void check_nodes(const struct host_acpi *out) {
    static struct node_range ranges[SRAT_MAX_RANGES];
    u32 count = 0, localities = 0, sum = 0;
    const u8 *matrix = out->slit ? slit_distances(out->slit, &localities) : NULL;
    char why[120] = "";

    for (u64 i = 0; i < (u64)localities * localities; i++) sum += matrix[i];
    REQUIRE(localities == 0 || (matrix && sum <= 255u * localities * localities));
    if (!out->srat) return;
    if (srat_ranges(out->srat, ranges, srat_max_ranges(out->srat), &count, why, sizeof(why))) {
        REQUIRE(why[0] && count == 0);
        return;
    }
    REQUIRE(count <= srat_max_ranges(out->srat));
    for (u32 i = 0; i < count; i++) {
        REQUIRE(ranges[i].bytes && ranges[i].base + ranges[i].bytes <= 1ull << 52 && ranges[i].node != NODE_NONE);
        REQUIRE(i == 0 || ranges[i - 1].base + ranges[i - 1].bytes <= ranges[i].base);
    }
    for (u32 i = 0; i < out->cpu_count; i++) srat_node(out->srat, out->cpus[i].apic_id);
}

static void parse(struct memory *m, const u8 *rsdp, u64 rsdp_bytes, u32 cpu_max) {
    struct host_cpu *cpus = calloc(cpu_max, sizeof(*cpus));
    struct host_acpi out = {.cpus = cpus, .cpu_max = cpu_max};
    struct acpi_mem mem = {m, map};
    char why[160];
    int rc;

    memset(why, 0x55, sizeof(why));
    rc = host_acpi_parse(rsdp, rsdp_bytes, &mem, &out, why, sizeof(why));
    REQUIRE(rc == 0 || rc == -E_NOENT || rc == -E_CHECKSUM || rc == -E_INVAL);
    REQUIRE(memchr(why, 0, sizeof(why)));
    REQUIRE((rc == 0) == (why[0] == 0));
    if (rc == 0) check_parsed(&out, cpu_max);
    if (rc == 0) check_nodes(&out);
    while (m->count > 0) free(m->maps[--m->count]);
    free(cpus);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    static struct memory m;
    u8 a = 0, b = 0, flags, *rsdp;
    u64 rsdp_bytes;

    if (size < 1 + RSDP_BYTES) return 0;
    flags = data[0];
    rsdp_bytes = flags & 2 ? 20 : RSDP_BYTES;
    rsdp = malloc(rsdp_bytes);
    memcpy(rsdp, data + 1, rsdp_bytes);
    m = (struct memory){data + 1 + RSDP_BYTES, size - 1 - RSDP_BYTES, flags & 1, {0}, 0};
    if (m.seal) {
        rsdp[8] = (u8)(rsdp[8] - sum(rsdp, 20));
        if (rsdp_bytes == RSDP_BYTES) rsdp[32] = (u8)(rsdp[32] - sum(rsdp, RSDP_BYTES));
    }
    parse(&m, rsdp, rsdp_bytes, flags >> 4 & 3);
    if (aml_find_s5(m.bytes, m.size, &a, &b)) REQUIRE(a <= 7 && b <= 7);
    free(rsdp);
    return 0;
}
