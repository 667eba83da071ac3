#include "tools/pci_ids.h"

#include "core/base/fmt.h"
#include "core/base/string.h"

/* One line: how many tabs are before the identifier, the identifier, and the name, which ends at `end`. */
struct ids_line {
    u32 depth, id;
    const char *name, *end;
};

static int digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/* False for what is no line of a vendor or a device: comments, classes, subsystems. */
static bool parse_line(const char *at, const char *end, struct ids_line *out) {
    const char *c = at;

    *out = (struct ids_line){.end = end};
    while (c < end && *c == '\t') c++;
    out->depth = (u32)(c - at);
    if (out->depth > 1 || end - c < 7 || c[4] != ' ' || c[5] != ' ') return false;
    for (u32 i = 0; i < 4; i++) {
        if (digit(c[i]) < 0) return false;
        out->id = out->id << 4 | (u32)digit(c[i]);
    }
    out->name = c + 6;
    return true;
}

static void append(char out[PCI_IDS_NAME], const struct ids_line *line) {
    size_t used = strlen(out);

    if (used && used < PCI_IDS_NAME - 1) out[used++] = ' ';
    for (const char *c = line->name; c < line->end && used < PCI_IDS_NAME - 1; c++) out[used++] = *c;
    out[used] = 0;
}

void pci_ids_name(const char *text, size_t length, u32 vendor, u32 device, char out[PCI_IDS_NAME]) {
    const char *end = text + length;
    struct ids_line line;
    bool mine = false; /* the devices that follow are the vendor's */

    out[0] = 0;
    for (const char *at = text, *stop; at < end; at = stop + 1) {
        for (stop = at; stop < end && *stop != '\n';) stop++;
        if (!parse_line(at, stop, &line)) continue;
        if (!line.depth && mine) return;
        if (!line.depth) mine = line.id == vendor;
        if (!mine || (line.depth && line.id != device)) continue;
        append(out, &line);
        if (line.depth) return;
    }
}
