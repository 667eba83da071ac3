/* Writes the ACPI tables of a partition's small PC. Boot core, while the partition does not run.
 * Everything said here is also said by the board (core/vdev): ports, lines, polarity. */
#include "core/acpi/guest_acpi.h"

#include "core/acpi/dsdt_aml.h"
#include "core/base/acpi_tables.h"
#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/string.h"
#include "core/vdev/vrtc.h"

#define BIOS_BYTES (GUEST_HIGHMEM_BASE - GUEST_BIOS_BASE)

#define PORT_PM1_EVT 0x600
#define PORT_PM1_CNT 0x604
#define PORT_PM_TMR  0x608
#define PORT_RESET   0xcf9
#define RESET_VALUE  6 /* ICH9 datasheet, Reset Control Register: full reset */

#define SCI     9
#define PIT_PIN 2 /* IOAPIC input of ISA line 0 */

/* A larger id does not fit a type 0 entry, and 255 is the broadcast id. */
#define LAPIC_ID_MAX 254

/* Where a PC's firmware begins in real mode, at ffff:0000: a reset. The byte at 0xffffe says: a PC AT. */
static const u8 reset_entry[16] = {
    0xba,
    PORT_RESET & 0xff,
    PORT_RESET >> 8, /* mov $0xcf9, %dx */
    0xb0,
    RESET_VALUE, /* mov $6, %al */
    0xee,
    0xf4,
    0xeb,
    0xfd, /* out %al, (%dx); hlt; jmp to hlt */
    [14] = 0xfc,
};

/* The area and how far it is filled. */
struct area {
    u8 *base;
    u64 used, size;
};

/* The next `bytes`, zero, at a multiple of `align`; NULL when the area is full. */
static void *take(struct area *a, u64 bytes, u64 align) {
    u64 at = align_up(a->used, align);

    if (at > a->size || bytes > a->size - at) return NULL;
    a->used = at + bytes;
    return a->base + at;
}

static u64 address_of(const struct area *a, const void *table) {
    return GUEST_BIOS_BASE + (u64)((const u8 *)table - a->base);
}

/* The byte that makes the sum of all bytes zero. */
static u8 checksum(const void *table, u64 bytes) {
    const u8 *p = table;
    u8 sum = 0;

    for (u64 i = 0; i < bytes; i++) sum = (u8)(sum + p[i]);
    return (u8)-sum;
}

static void seal(struct acpi_header *h, const char *signature, u64 length, u8 revision) {
    memcpy(h->signature, signature, sizeof(h->signature));
    h->length = (u32)length;
    h->revision = revision;
    memcpy(h->oem_id, "MULLN ", sizeof(h->oem_id));
    memcpy(h->oem_table_id, "MULLION ", sizeof(h->oem_table_id));
    h->oem_revision = 1;
    memcpy(h->creator_id, "MULL", sizeof(h->creator_id));
    h->creator_revision = 1;
    h->checksum = 0;
    h->checksum = checksum(h, length);
}

static struct acpi_gas io_register(u16 port, u8 bytes) {
    return (struct acpi_gas){
        .space = ACPI_SPACE_IO,
        .bit_width = (u8)(bytes * 8),
        .access_size = bytes == 4 ? 3 : bytes, /* 1 byte, 2 word, 3 dword */
        .address = port,
    };
}

/* smi_cmd 0: the machine is always in ACPI mode. Latencies above 100 and 1000: no C2, no C3. */
static void fill_fadt(struct acpi_fadt *f, u64 facs, u64 dsdt) {
    f->firmware_ctrl = (u32)facs;
    f->dsdt = (u32)dsdt;
    f->x_dsdt = dsdt;
    f->sci_int = SCI;
    f->pm1a_evt = PORT_PM1_EVT;
    f->pm1_evt_len = 4;
    f->pm1a_cnt = PORT_PM1_CNT;
    f->pm1_cnt_len = 2;
    f->pm_tmr = PORT_PM_TMR;
    f->pm_tmr_len = 4;
    f->century = RTC_CENTURY;
    f->p_lvl2_lat = 0xffff;
    f->p_lvl3_lat = 0xffff;
    /* No 8042 bit: there is no keyboard to look for. */
    f->iapc_boot_arch = BOOT_ARCH_LEGACY_DEVICES | BOOT_ARCH_NO_VGA;
    f->flags = FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_TMR_VAL_EXT |
               FADT_RESET_REG;
    f->reset_reg = io_register(PORT_RESET, 1);
    f->reset_value = RESET_VALUE;
    f->x_pm1a_evt = io_register(PORT_PM1_EVT, 4);
    f->x_pm1a_evt.access_size = 2; /* status and enable are two 16-bit registers */
    f->x_pm1a_cnt = io_register(PORT_PM1_CNT, 2);
    f->x_pm_tmr = io_register(PORT_PM_TMR, 4);
    memcpy(&f->hypervisor_vendor, "Mullion", 8);
    seal(&f->header, "FACP", sizeof(*f), 6);
}

/* One entry per vCPU; the processor's uid is its index. */
static u8 *add_cpus(u8 *at, const u32 *apic_ids, u32 count) {
    for (u32 i = 0; i < count; i++) {
        if (apic_ids[i] <= LAPIC_ID_MAX) {
            struct madt_lapic e = {MADT_LAPIC, sizeof(e), (u8)i, (u8)apic_ids[i], MADT_ENABLED};

            memcpy(at, &e, sizeof(e));
            at += sizeof(e);
        } else {
            struct madt_x2apic e = {MADT_X2APIC, sizeof(e), 0, apic_ids[i], MADT_ENABLED, i};

            memcpy(at, &e, sizeof(e));
            at += sizeof(e);
        }
    }
    return at;
}

struct madt_tail {
    struct madt_ioapic ioapic;
    struct madt_override pit, sci;
    struct madt_lapic_nmi nmi;
    struct madt_x2apic_nmi x2apic_nmi;
} ACPI_PACKED;

static const struct madt_tail madt_tail = {
    .ioapic = {MADT_IOAPIC, sizeof(struct madt_ioapic), 0, 0, (u32)GUEST_IOAPIC_BASE, 0},
    .pit = {MADT_OVERRIDE, sizeof(struct madt_override), 0, 0, PIT_PIN, INTI_ACTIVE_HIGH | INTI_EDGE},
    .sci = {MADT_OVERRIDE, sizeof(struct madt_override), 0, SCI, SCI, INTI_ACTIVE_HIGH | INTI_LEVEL},
    .nmi = {MADT_LAPIC_NMI, sizeof(struct madt_lapic_nmi), 0xff, 0, 1},
    .x2apic_nmi = {MADT_X2APIC_NMI, sizeof(struct madt_x2apic_nmi), 0, 0xffffffff, 1, {0}},
};

static struct acpi_madt *add_madt(struct area *a, const u32 *apic_ids, u32 count, u32 ioapic_id) {
    u64 bytes = sizeof(struct acpi_madt) + sizeof(madt_tail);
    struct acpi_madt *madt;
    struct madt_tail *tail;

    for (u32 i = 0; i < count; i++)
        bytes += apic_ids[i] <= LAPIC_ID_MAX ? sizeof(struct madt_lapic) : sizeof(struct madt_x2apic);
    madt = take(a, bytes, 16);
    if (!madt) return NULL;
    madt->lapic_address = (u32)GUEST_LAPIC_BASE;
    madt->flags = MADT_PCAT_COMPAT;
    tail = (struct madt_tail *)add_cpus((u8 *)(madt + 1), apic_ids, count);
    *tail = madt_tail;
    tail->ioapic.id = (u8)ioapic_id;
    seal(&madt->header, "APIC", bytes, 5);
    return madt;
}

/* The list of tables twice: readers of ACPI 1.0's tables look for the one of 32-bit addresses only. */
#define LIST_MAX 5
struct lists {
    struct {
        struct acpi_header header;
        u64 tables[LIST_MAX];
    } ACPI_PACKED xsdt;
    struct {
        struct acpi_header header;
        u32 tables[LIST_MAX];
    } ACPI_PACKED rsdt;
};

static void fill_lists(struct lists *l, const u64 *tables, u32 count) {
    for (u32 i = 0; i < count; i++) {
        l->xsdt.tables[i] = tables[i];
        l->rsdt.tables[i] = (u32)tables[i];
    }
    seal(&l->xsdt.header, "XSDT", sizeof(l->xsdt.header) + count * sizeof(u64), 1);
    seal(&l->rsdt.header, "RSDT", sizeof(l->rsdt.header) + count * sizeof(u32), 1);
}

/* ACPI 6.4, QWord Address Space Descriptor: type memory; where its minimum, maximum, translation and length lie. */
#define QWORD_MEMORY "\x8a\x2b\x00\x00"
#define QWORD_RANGE  14
#define END_TAG      "\x79\x00"

/* MCFG and SSDT. Returns false when the area is full. */
static bool add_pci(struct area *a, const struct guest_pci *pci, u64 *tables) {
    const u64 range[4] = {pci->window, pci->window + pci->bytes - 1, 0, pci->bytes};
    const struct mcfg_range bus = {.address = GUEST_ECAM_BASE};
    u8 *mcfg = take(a, ACPI_MCFG_RANGES + sizeof(bus), 16), *ssdt = take(a, pci_aml_bytes, 16), *at = ssdt;

    if (!mcfg || !ssdt) return false;
    memcpy(mcfg + ACPI_MCFG_RANGES, &bus, sizeof(bus));
    memcpy(ssdt, pci_aml, pci_aml_bytes);
    while (memcmp(at, QWORD_MEMORY, 4) != 0) at++;
    if (pci->bytes)
        memcpy(at + QWORD_RANGE, range, sizeof(range));
    else
        memcpy(at, END_TAG, 2);
    seal((struct acpi_header *)mcfg, "MCFG", ACPI_MCFG_RANGES + sizeof(bus), 1);
    seal((struct acpi_header *)ssdt, "SSDT", pci_aml_bytes, 2);
    tables[0] = address_of(a, mcfg);
    tables[1] = address_of(a, ssdt);
    return true;
}

/* The timer that core/vdev/vhpet.h makes; NULL when the area is full. */
static struct acpi_hpet *add_hpet(struct area *a) {
    struct acpi_hpet *h = take(a, sizeof(*h), 16);

    if (!h) return NULL;
    h->block_id = 0x8086a201; /* IA-PC HPET 1.0a, 2.3.4, the low half */
    h->address = (struct acpi_gas){.space = ACPI_SPACE_MEMORY, .bit_width = 64, .address = GUEST_HPET_BASE};
    h->minimum_tick = 128; /* no less than an exit */
    seal(&h->header, "HPET", sizeof(*h), 1);
    return h;
}

static void fill_rsdp(struct acpi_rsdp *r, u64 rsdt, u64 xsdt) {
    memcpy(r->signature, "RSD PTR ", sizeof(r->signature));
    memcpy(r->oem_id, "MULLN ", sizeof(r->oem_id));
    r->revision = 2;
    r->length = sizeof(*r);
    r->rsdt = (u32)rsdt;
    r->xsdt = xsdt;
    r->checksum = checksum(r, ACPI_RSDP_V1_BYTES);
    r->extended_checksum = checksum(r, sizeof(*r));
}

int guest_acpi_build(const struct gmem *mem, const u32 *apic_ids, u32 vcpu_count, u32 ioapic_id,
                     const struct guest_pci *pci, bool hpet, gpa_t *rsdp) {
    /* The rights in the region list are the guest's; what is written here is its firmware. */
    struct area a = {gmem_ptr(mem, gpa(GUEST_BIOS_BASE), BIOS_BYTES, false), 0, BIOS_BYTES - sizeof(reset_entry)};
    struct lists *lists;
    u64 tables[LIST_MAX];
    struct acpi_rsdp *r;
    struct acpi_facs *facs;
    struct acpi_fadt *fadt;
    struct acpi_madt *madt;
    struct acpi_hpet *timer;
    u32 count = 2;
    u8 *dsdt;

    if (!a.base || vcpu_count > BIOS_BYTES / sizeof(struct madt_lapic)) return -E_RANGE;
    memset(a.base, 0, a.size);
    memcpy(a.base + a.size, reset_entry, sizeof(reset_entry));
    r = take(&a, sizeof(*r), 16);
    lists = take(&a, sizeof(*lists), 16);
    facs = take(&a, sizeof(*facs), 64);
    fadt = take(&a, sizeof(*fadt), 16);
    dsdt = take(&a, dsdt_aml_bytes, 16);
    if (!dsdt) /* the largest of them; the others fit if it does */
        return -E_RANGE;
    madt = add_madt(&a, apic_ids, vcpu_count, ioapic_id);
    timer = madt && hpet ? add_hpet(&a) : NULL;
    if (timer) tables[count++] = address_of(&a, timer);
    if (!madt || (hpet && !timer) || (pci && !add_pci(&a, pci, tables + count))) return -E_RANGE;

    memcpy(dsdt, dsdt_aml, dsdt_aml_bytes);
    memcpy(facs->signature, "FACS", sizeof(facs->signature));
    facs->length = sizeof(*facs);
    facs->version = 2;
    fill_fadt(fadt, address_of(&a, facs), address_of(&a, dsdt));
    tables[0] = address_of(&a, fadt);
    tables[1] = address_of(&a, madt);
    fill_lists(lists, tables, pci ? count + 2 : count);
    fill_rsdp(r, address_of(&a, &lists->rsdt), address_of(&a, &lists->xsdt));
    *rsdp = gpa(address_of(&a, r));
    return 0;
}
