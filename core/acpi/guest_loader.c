/* The tables of guest_acpi.c as files that a firmware image fetches, puts where it likes and links, by a list of what
 * to do. See guest_acpi.h. Boot core, while the partition does not run. Source: QEMU documentation, Firmware
 * Configuration (fw_cfg) Device; SeaBIOS, struct romfile_loader_entry_s. */
#include "core/acpi/guest_acpi.h"

#include <stddef.h>

#include "core/base/acpi_tables.h"
#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/string.h"

#define RSDP   "etc/acpi/rsdp"
#define TABLES "etc/acpi/tables"

#define COMMANDS_MAX 32

enum command { ALLOCATE = 1, ADD_POINTER, ADD_CHECKSUM };
enum zone { ZONE_HIGH = 1, ZONE_FSEG };

struct command_block {
    u32 command;
    char file[56];
    union {
        struct {
            u32 align;
            u8 zone;
        } ACPI_PACKED allocate;
        struct {
            char target[56]; /* the file that `file` points into */
            u32 offset;
            u8 bytes;
        } ACPI_PACKED pointer;
        struct {
            u32 offset, start, bytes;
        } ACPI_PACKED checksum;
        u8 all[68];
    };
} ACPI_PACKED;
_Static_assert(sizeof(struct command_block) == 128, "as the firmware reads it");

struct script {
    u8 *area;
    struct command_block *blocks;
    u32 count;
};

static struct command_block *add(struct script *s, enum command command, const char *file) {
    struct command_block *b = &s->blocks[s->count++];

    *b = (struct command_block){.command = command};
    memcpy(b->file, file, strlen(file));
    return b;
}

/* The address at `offset` becomes a position in the file of tables, to which the firmware adds where it has put it. */
static void add_pointer(struct script *s, const char *file, u64 offset, u8 bytes) {
    struct command_block *b = add(s, ADD_POINTER, file);
    u64 value = 0;

    memcpy(b->pointer.target, TABLES, sizeof(TABLES));
    b->pointer.offset = (u32)offset;
    b->pointer.bytes = bytes;
    memcpy(&value, s->area + offset, bytes);
    value -= GUEST_BIOS_BASE;
    memcpy(s->area + offset, &value, bytes);
}

static void add_checksum(struct script *s, const char *file, u64 offset, u64 start, u64 bytes) {
    struct command_block *b = add(s, ADD_CHECKSUM, file);

    b->checksum.offset = (u32)offset;
    b->checksum.start = (u32)start;
    b->checksum.bytes = (u32)bytes;
}

static void seal_table(struct script *s, u64 at) {
    const struct acpi_header *h = (const struct acpi_header *)(s->area + at);

    add_checksum(s, TABLES, at + offsetof(struct acpi_header, checksum), at, h->length);
}

static void allocate(struct script *s, const char *file, u32 align, enum zone zone) {
    struct command_block *b = add(s, ALLOCATE, file);

    b->allocate.align = align;
    b->allocate.zone = zone;
}

int guest_acpi_files(u8 *area, u64 bytes, struct image_module *files) {
    const struct acpi_rsdp *r = (const struct acpi_rsdp *)area; /* the first of all */
    u64 rsdt = r->rsdt - GUEST_BIOS_BASE, xsdt = r->xsdt - GUEST_BIOS_BASE, fadt = 0, end = 0;
    u32 count = (u32)(((const struct acpi_header *)(area + rsdt))->length - sizeof(struct acpi_header)) / 4;
    struct script s = {.area = area};

    for (u32 i = 0; i < count; i++) {
        u32 at;

        memcpy(&at, area + rsdt + sizeof(struct acpi_header) + 4 * i, 4);
        at -= (u32)GUEST_BIOS_BASE;
        if (!i) fadt = at;
        end = max_u64(end, at + ((const struct acpi_header *)(area + at))->length); /* FACS and DSDT lie before */
    }
    end = align_up(end, 64);
    if (end + COMMANDS_MAX * sizeof(struct command_block) > bytes) return -E_RANGE;
    s.blocks = (struct command_block *)(area + end);
    allocate(&s, TABLES, 64, ZONE_HIGH);
    allocate(&s, RSDP, 16, ZONE_FSEG);
    for (u32 i = 0; i < count; i++) {
        add_pointer(&s, TABLES, rsdt + sizeof(struct acpi_header) + 4 * i, 4);
        add_pointer(&s, TABLES, xsdt + sizeof(struct acpi_header) + 8 * i, 8);
    }
    add_pointer(&s, TABLES, fadt + offsetof(struct acpi_fadt, firmware_ctrl), 4);
    add_pointer(&s, TABLES, fadt + offsetof(struct acpi_fadt, dsdt), 4);
    add_pointer(&s, TABLES, fadt + offsetof(struct acpi_fadt, x_dsdt), 8);
    add_pointer(&s, RSDP, offsetof(struct acpi_rsdp, rsdt), 4);
    add_pointer(&s, RSDP, offsetof(struct acpi_rsdp, xsdt), 8);
    seal_table(&s, rsdt);
    seal_table(&s, xsdt);
    seal_table(&s, fadt);
    add_checksum(&s, RSDP, offsetof(struct acpi_rsdp, checksum), 0, ACPI_RSDP_V1_BYTES);
    add_checksum(&s, RSDP, offsetof(struct acpi_rsdp, extended_checksum), 0, sizeof(*r));
    files[0] = (struct image_module){RSDP, area, sizeof(*r)};
    files[1] = (struct image_module){TABLES, area, end};
    files[2] = (struct image_module){"etc/table-loader", s.blocks, s.count * sizeof(struct command_block)};
    return 0;
}
