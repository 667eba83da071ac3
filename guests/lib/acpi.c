#include "guests/lib/acpi.h"

#include "core/base/bits.h"
#include "core/base/string.h"

#define HEADER_BYTES 36

struct acpi acpi;

static u32 get32(u64 at) {
    u32 v;
    memcpy(&v, (const void *)at, sizeof(v));
    return v;
}
static u64 get64(u64 at) {
    u64 v;
    memcpy(&v, (const void *)at, sizeof(v));
    return v;
}
static u16 get16(u64 at) { return (u16)(get32(at)); }
static u8 get8(u64 at) { return *(const u8 *)at; }
static bool signature_is(u64 at, const char *text) { return memcmp((const void *)at, text, strlen(text)) == 0; }

static u64 search_rsdp(void) {
    for (u64 at = 0xe0000; at < 0x100000; at += 16) {
        u8 sum = 0;
        if (!signature_is(at, "RSD PTR ")) continue;
        for (u64 i = 0; i < 20; i++) sum = (u8)(sum + get8(at + i));
        if (sum == 0) return at;
    }
    return 0;
}

static void add_cpu(u32 id, u32 flags) {
    if ((flags & 1) && acpi.cpu_count < MAX_CPUS) acpi.apic_ids[acpi.cpu_count++] = id;
}

/* ACPI 6.4, Multiple APIC Description Table: 8 bytes after the header, then typed records. */
static void read_madt(u64 at) {
    u64 end = at + get32(at + 4);

    for (u64 e = at + HEADER_BYTES + 8; e + 2 <= end && get8(e + 1) >= 2; e += get8(e + 1)) {
        u8 source = get8(e + 3);
        switch (get8(e)) {
        case 0: /* local APIC */ add_cpu(source, get32(e + 4)); break;
        case 1: /* IOAPIC; the one that has the ISA lines */
            if (get32(e + 8) == 0) acpi.ioapic = get32(e + 4);
            break;
        case 2: /* ISA override */
            if (source < ARRAY_SIZE(acpi.isa_gsi)) {
                acpi.isa_gsi[source] = get32(e + 4);
                acpi.isa_flags[source] = get16(e + 8);
            }
            break;
        case 9: /* local x2APIC */ add_cpu(get32(e + 4), get32(e + 8)); break;
        default: break;
        }
    }
}

/* \_S5 is a package of small integers: name, PackageOp 0x12, length, count, elements. ACPI 6.4,
 * AML Grammar; no interpreter needed, since firmware writes it in this one form. */
static void read_s5(u64 dsdt) {
    u64 end = dsdt + get32(dsdt + 4);

    for (u64 at = dsdt + HEADER_BYTES; at + 12 < end; at++) {
        u64 p = at + 5;
        if (!signature_is(at, "_S5_") || get8(at + 4) != 0x12) continue;
        p += 1u + (get8(p) >> 6); /* PkgLength: its top bits count further bytes */
        p += 1;                   /* NumElements */
        if (get8(p) == 0x0a)      /* BytePrefix */
            p++;
        acpi.s5_type = get8(p) & 7;
        return;
    }
}

/* Fixed ACPI Description Table. */
static void read_fadt(u64 at) {
    u32 bytes = get32(at + 4), flags;

    acpi.sci = get16(at + 46);
    acpi.pm1a_event = get16(at + 56);
    acpi.pm1a_control = get16(at + 64);
    acpi.pm_timer = get16(at + 76);
    flags = get32(at + 112);
    acpi.pm_timer_32bit = flags & BIT(8);
    if (bytes >= 129 && (flags & BIT(10)) && get8(at + 116) == 1) {
        acpi.has_reset = true;
        acpi.reset_port = (u16)get64(at + 120);
        acpi.reset_value = get8(at + 128);
    }
    if (get32(at + 40)) read_s5(get32(at + 40));
}

static void read_root(u64 root, u32 entry_bytes) {
    u64 end = root + get32(root + 4);

    for (u64 e = root + HEADER_BYTES; e + entry_bytes <= end; e += entry_bytes) {
        u64 table = entry_bytes == 8 ? get64(e) : get32(e);
        if (!table || table >> 32) /* beyond the identity map */
            continue;
        if (signature_is(table, "APIC"))
            read_madt(table);
        else if (signature_is(table, "FACP"))
            read_fadt(table);
    }
}

void acpi_init(u64 rsdp) {
    acpi.s5_type = 5;
    for (u32 i = 0; i < ARRAY_SIZE(acpi.isa_gsi); i++) acpi.isa_gsi[i] = i;
    if (!rsdp || rsdp >> 32 || !signature_is(rsdp, "RSD PTR ")) rsdp = search_rsdp();
    if (rsdp) {
        acpi.found = true;
        if (get8(rsdp + 15) >= 2 && get64(rsdp + 24))
            read_root(get64(rsdp + 24), 8);
        else
            read_root(get32(rsdp + 16), 4);
    }
    if (acpi.cpu_count == 0) acpi.cpu_count = 1; /* lapic_cpu_init fills in the boot CPU's id */
}
