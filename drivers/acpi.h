/* What the machine's ACPI tables say. Pure: every byte of a table is untrusted. Source: ACPI 6.4.
 */
#pragma once

#include "core/base/acpi_tables.h"
#include "core/base/types.h"

/* How table bytes are reached: maps [at, at + bytes) readable, or NULL. Every mapping stays until
 * host_acpi_parse returns. */
struct acpi_mem {
    void *ctx;
    const void *(*map)(void *ctx, hpa_t at, u64 bytes);
};

#define ACPI_MAX_IOAPICS  16
#define ACPI_ISA_LINES    16
#define ACPI_MAX_SEGMENTS 4

struct host_cpu {
    u32 apic_id;
};
struct host_ioapic {
    u32 id, gsi_base;
    u64 address;
};
/* Memory-mapped PCI configuration space of some buses. */
struct host_mcfg {
    u64 address; /* of bus 0, whatever first is */
    u32 segment;
    u8 first, last;
};
struct isa_override {
    u32 gsi;
    bool active_low, level;
};

#define ACPI_WHY_BYTES 100u

struct host_acpi {
    u64 lapic_address;
    struct host_cpu *cpus; /* caller's array; enabled ones only, in table order */
    u32 cpu_count, cpu_max;
    u32 cpus_seen; /* may exceed cpu_max */
    struct host_ioapic ioapics[ACPI_MAX_IOAPICS];
    u32 ioapic_count;
    struct isa_override isa[ACPI_ISA_LINES]; /* identity unless overridden */
    u16 pm_timer_port;                       /* 0: none */
    u16 pm1a_control, pm1b_control;
    bool has_s5;
    u8 s5_type_a, s5_type_b; /* SLP_TYP of \_S5 */
    u64 hpet_address;        /* 0: none */
    struct host_mcfg mcfg[ACPI_MAX_SEGMENTS];
    u32 mcfg_count;
    /* The IOMMU's table, DMAR or IVRS: length and checksum are right. NULL: none, or iommu_why says what is wrong. */
    const struct acpi_header *iommu;
    bool iommu_amd;
    const struct acpi_header *srat, *slit;                        /* likewise, or NULL: drivers/srat.h */
    char iommu_why[ACPI_WHY_BYTES], affinity_why[ACPI_WHY_BYTES]; /* the second: of SRAT, or of SLIT */
};

/* rsdp: 20 or 36 bytes as the multiboot2 tag carries them. cpus, cpu_max must be set by the caller.
 * Returns 0, or -E_NOENT (no MADT), -E_CHECKSUM, -E_INVAL, with the table's name and the reason in
 * `why` (bytes: why_size). */
int host_acpi_parse(const void *rsdp, u64 rsdp_bytes, const struct acpi_mem *mem, struct host_acpi *out, char *why,
                    size_t why_size) must_check;
