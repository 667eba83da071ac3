/* Layouts of the ACPI tables that are written for guests and read from the machine. Packed: fields
 * may lie at any alignment. Source: ACPI 6.4, ACPI Software Programming Model. Layer 0. */
#pragma once

#include "core/base/types.h"

#define ACPI_PACKED __attribute__((packed))

#define ACPI_SPACE_MEMORY 0
#define ACPI_SPACE_IO     1

struct acpi_header {
    char signature[4];
    u32 length; /* bytes, header included */
    u8 revision, checksum;
    char oem_id[6], oem_table_id[8];
    u32 oem_revision;
    char creator_id[4];
    u32 creator_revision;
} ACPI_PACKED;

/* Generic Address Structure. */
struct acpi_gas {
    u8 space, bit_width, bit_offset, access_size;
    u64 address;
} ACPI_PACKED;

/* Root System Description Pointer; 20 bytes in ACPI 1.0. */
struct acpi_rsdp {
    char signature[8];
    u8 checksum;
    char oem_id[6];
    u8 revision;
    u32 rsdt;
    u32 length;
    u64 xsdt;
    u8 extended_checksum;
    u8 reserved[3];
} ACPI_PACKED;
#define ACPI_RSDP_V1_BYTES 20

/* Fixed ACPI Description Table, revision 6. */
struct acpi_fadt {
    struct acpi_header header;
    u32 firmware_ctrl, dsdt;
    u8 reserved0, preferred_profile;
    u16 sci_int;
    u32 smi_cmd;
    u8 acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
    u32 pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
    u8 pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base, cst_cnt;
    u16 p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
    u8 duty_offset, duty_width, day_alarm, month_alarm, century;
    u16 iapc_boot_arch;
    u8 reserved1;
    u32 flags;
    struct acpi_gas reset_reg; /* from here on: ACPI 2.0 */
    u8 reset_value;
    u16 arm_boot_arch;
    u8 minor_revision;
    u64 x_firmware_ctrl, x_dsdt;
    struct acpi_gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0, x_gpe1, sleep_control,
        sleep_status;
    u64 hypervisor_vendor;
} ACPI_PACKED;
#define ACPI_FADT_V1_BYTES 116

#define FADT_WBINVD      (1u << 0)
#define FADT_PROC_C1     (1u << 2)
#define FADT_PWR_BUTTON  (1u << 4) /* set: no fixed-feature power button */
#define FADT_SLP_BUTTON  (1u << 5) /* set: no fixed-feature sleep button */
#define FADT_FIX_RTC     (1u << 6) /* set: no RTC wake status in PM1 */
#define FADT_TMR_VAL_EXT (1u << 8) /* the PM timer counts 32 bits */
#define FADT_RESET_REG   (1u << 10)
#define FADT_HW_REDUCED  (1u << 20)

#define BOOT_ARCH_LEGACY_DEVICES (1u << 0)
#define BOOT_ARCH_NO_VGA         (1u << 2)

/* Multiple APIC Description Table: entries of these types follow. */
struct acpi_madt {
    struct acpi_header header;
    u32 lapic_address, flags;
} ACPI_PACKED;

#define MADT_PCAT_COMPAT 1u /* an 8259 pair is there too */

enum madt_type {
    MADT_LAPIC = 0,
    MADT_IOAPIC = 1,
    MADT_OVERRIDE = 2,
    MADT_LAPIC_NMI = 4,
    MADT_LAPIC_ADDRESS = 5,
    MADT_X2APIC = 9,
    MADT_X2APIC_NMI = 10,
};

struct madt_lapic {
    u8 type, length, uid, apic_id;
    u32 flags;
} ACPI_PACKED;
#define MADT_ENABLED 1u

struct madt_ioapic {
    u8 type, length, id, reserved;
    u32 address, gsi_base;
} ACPI_PACKED;

struct madt_override {
    u8 type, length, bus, source;
    u32 gsi;
    u16 flags;
} ACPI_PACKED;

/* MPS INTI flags. */
#define INTI_POLARITY    0x3u
#define INTI_ACTIVE_HIGH 0x1u
#define INTI_ACTIVE_LOW  0x3u
#define INTI_TRIGGER     0xcu
#define INTI_EDGE        0x4u
#define INTI_LEVEL       0xcu

struct madt_lapic_nmi {
    u8 type, length, uid; /* 0xff: every processor */
    u16 flags;
    u8 lint;
} ACPI_PACKED;

struct madt_lapic_address {
    u8 type, length;
    u16 reserved;
    u64 address;
} ACPI_PACKED;

struct madt_x2apic {
    u8 type, length;
    u16 reserved;
    u32 apic_id, flags, uid;
} ACPI_PACKED;

struct madt_x2apic_nmi {
    u8 type, length;
    u16 flags;
    u32 uid; /* 0xffffffff: every processor */
    u8 lint, reserved[3];
} ACPI_PACKED;

struct acpi_facs {
    char signature[4];
    u32 length, hardware_signature, waking_vector, global_lock, flags;
    u64 x_waking_vector;
    u8 version, reserved[31];
} ACPI_PACKED;

/* IA-PC HPET Specification 1.0a, The ACPI 2.0 HPET Description Table. */
struct acpi_hpet {
    struct acpi_header header;
    u32 block_id;
    struct acpi_gas address;
    u8 number;
    u16 minimum_tick;
    u8 protection;
} ACPI_PACKED;

/* Memory-mapped configuration space: PCI Firmware Specification 3.2, MCFG Table Description. One of these for each
 * range of buses follows the header and 8 reserved bytes. */
struct mcfg_range {
    u64 address; /* of bus 0 */
    u16 segment;
    u8 first, last;
    u32 reserved;
} ACPI_PACKED;
#define ACPI_MCFG_RANGES (sizeof(struct acpi_header) + 8)

/* System Resource Affinity Table: entries follow the header and 12 reserved bytes. */
#define ACPI_SRAT_ENTRIES (sizeof(struct acpi_header) + 12)

enum srat_type { SRAT_LAPIC = 0, SRAT_MEMORY = 1, SRAT_X2APIC = 2 };
#define SRAT_ENABLED 1u

struct srat_entry {
    u8 type, length;
} ACPI_PACKED;

struct srat_lapic {
    u8 type, length, domain_low, apic_id;
    u32 flags;
    u8 sapic_eid, domain_high[3];
    u32 clock_domain;
} ACPI_PACKED;

struct srat_memory {
    u8 type, length;
    u32 domain;
    u16 reserved1;
    u64 base, bytes;
    u32 reserved2, flags;
    u64 reserved3;
} ACPI_PACKED;

struct srat_x2apic {
    u8 type, length;
    u16 reserved1;
    u32 domain, apic_id, flags, clock_domain, reserved2;
} ACPI_PACKED;

/* System Locality Information Table: a count of 8 bytes, then a matrix of bytes. */
#define ACPI_SLIT_MATRIX (sizeof(struct acpi_header) + 8)

_Static_assert(sizeof(struct srat_lapic) == 16, "SRAT type 0");
_Static_assert(sizeof(struct srat_memory) == 40, "SRAT type 1");
_Static_assert(sizeof(struct srat_x2apic) == 24, "SRAT type 2");
_Static_assert(sizeof(struct mcfg_range) == 16, "MCFG range");
_Static_assert(sizeof(struct acpi_header) == 36, "table header");
_Static_assert(sizeof(struct acpi_gas) == 12, "generic address");
_Static_assert(sizeof(struct acpi_rsdp) == 36, "RSDP");
_Static_assert(sizeof(struct acpi_fadt) == 276, "FADT");
_Static_assert(offsetof(struct acpi_fadt, flags) == 112, "FADT flags");
_Static_assert(offsetof(struct acpi_fadt, reset_reg) == ACPI_FADT_V1_BYTES, "FADT reset register");
_Static_assert(offsetof(struct acpi_fadt, x_pm_tmr) == 208, "FADT PM timer");
_Static_assert(sizeof(struct acpi_madt) == 44, "MADT");
_Static_assert(sizeof(struct madt_lapic) == 8, "MADT type 0");
_Static_assert(sizeof(struct madt_ioapic) == 12, "MADT type 1");
_Static_assert(sizeof(struct madt_override) == 10, "MADT type 2");
_Static_assert(sizeof(struct madt_lapic_nmi) == 6, "MADT type 4");
_Static_assert(sizeof(struct madt_lapic_address) == 12, "MADT type 5");
_Static_assert(sizeof(struct madt_x2apic) == 16, "MADT type 9");
_Static_assert(sizeof(struct madt_x2apic_nmi) == 12, "MADT type 10");
_Static_assert(sizeof(struct acpi_facs) == 64, "FACS");
