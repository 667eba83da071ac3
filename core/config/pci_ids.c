#include "core/config/pci_ids.h"

#include "core/base/bits.h"
#include "core/base/string.h"

/* One line: how many tabs are before the identifier, the identifier, and the name. */
struct ids_line {
    u32 depth, id;
    struct pci_ids_part name;
};

static int digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/* False for what is no line of a vendor or a device: comments, classes, subsystems. */
static bool parse_line(const char *at, const char *end, struct ids_line *out) {
    const char *c = at;

    *out = (struct ids_line){0};
    while (c < end && *c == '\t') c++;
    out->depth = (u32)(c - at);
    if (out->depth > 1 || end - c < 7 || c[4] != ' ' || c[5] != ' ') return false;
    for (u32 i = 0; i < 4; i++) {
        if (digit(c[i]) < 0) return false;
        out->id = out->id << 4 | (u32)digit(c[i]);
    }
    out->name = (struct pci_ids_part){c + 6, (size_t)(end - c) - 6};
    return true;
}

/* Not as a whole: gcc 12's analyser takes the rest of the entry for unset behind such an assignment. */
static void take(struct pci_ids_part *to, const struct ids_line *line) {
    to->at = line->name.at;
    to->bytes = line->name.bytes;
}

/* A vendor that stands there twice counts once, with the devices behind its first line. */
static bool name_vendors(const struct ids_line *line, struct pci_ids_entry *entries, u32 count) {
    bool any = false;

    for (struct pci_ids_entry *e = entries; e < entries + count; e++) {
        if (e->vendor != line->id || e->vendor_name.bytes) continue;
        take(&e->vendor_name, line);
        any = true;
    }
    return any;
}

static void name_devices(const struct ids_line *line, u32 vendor, struct pci_ids_entry *entries, u32 count) {
    for (struct pci_ids_entry *e = entries; e < entries + count; e++)
        if (e->vendor == vendor && e->device == line->id && !e->device_name.bytes) take(&e->device_name, line);
}

void pci_ids_find(const char *text, size_t length, struct pci_ids_entry *entries, u32 count) {
    const char *end = text + min_u64(length, PCI_IDS_MAX);
    struct ids_line line;
    bool wanted = false; /* somebody has the vendor whose devices follow */
    u32 vendor = 0;

    for (const char *at = text, *stop; at < end; at = stop + 1) {
        for (stop = at; stop < end && *stop != '\n';) stop++;
        if ((*at == '\t' && !wanted) || !parse_line(at, stop, &line)) continue;
        if (line.depth) {
            name_devices(&line, vendor, entries, count);
            continue;
        }
        vendor = line.id;
        wanted = name_vendors(&line, entries, count);
    }
}

static size_t append(struct pci_ids_part part, bool plain, char *out, size_t size, size_t used) {
    if (part.bytes && used && used + 1 < size) out[used++] = ' ';
    for (size_t i = 0; i < part.bytes && used + 1 < size; i++) {
        u8 c = (u8)part.at[i];

        if (c == '\r' && i + 1 == part.bytes) break;    /* of a line that DOS has ended */
        if (plain && i && (c & 0xc0) == 0x80) continue; /* the rest of a character: one mark stands for it */
        out[used++] = c < 0x20 || c == 0x7f || (plain && c > 0x7f) ? '?' : (char)c;
    }
    return used;
}

size_t pci_ids_text(const struct pci_ids_entry *entry, bool plain, char *out, size_t size) {
    static const struct pci_ids_part unknown = {"Device", 6};
    size_t used = append(entry->vendor_name, plain, out, size, 0);

    used = append(plain && !entry->device_name.bytes ? unknown : entry->device_name, plain, out, size, used);
    out[used] = 0;
    return used;
}
