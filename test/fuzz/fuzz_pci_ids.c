/* Arbitrary text as the file pci.ids; the first bytes are the functions that are looked for. Holds: a name is a part of
 * one line of the text; all functions in one pass get what each would alone; what is printed fits, ends, has no control
 * character, and with `plain` nothing but ASCII. */
#include <string.h>

#include "core/base/bits.h"
#include "core/config/pci_ids.h"
#include "test/fuzz/fuzz.h"

#define FUNCTIONS 4

static void require_part(const struct pci_ids_part *p, const char *text, size_t length) {
    if (!p->bytes) return;
    REQUIRE(p->at >= text + 6 && p->at <= text + length && p->bytes <= (size_t)(text + length - p->at));
    REQUIRE(!memchr(p->at, '\n', p->bytes));
}

static void require_same(const struct pci_ids_part *a, const struct pci_ids_part *b) {
    REQUIRE(a->bytes == b->bytes && (!a->bytes || a->at == b->at));
}

static void print(const struct pci_ids_entry *e, bool plain, size_t size) {
    char *out = malloc(size);
    size_t said = pci_ids_text(e, plain, out, size);

    REQUIRE(said < size && strlen(out) == said);
    for (size_t i = 0; i < said; i++) REQUIRE((u8)out[i] >= 0x20 && out[i] != 0x7f && (!plain || (u8)out[i] < 0x7f));
    free(out);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    struct pci_ids_entry all[FUNCTIONS] = {0}, one[FUNCTIONS];
    size_t room;
    char *text;

    for (u32 i = 0; i < FUNCTIONS; i++) {
        all[i].vendor = 0x8080 | (u32)take(&in, 1);
        all[i].device = (u32)take(&in, 1);
    }
    room = (size_t)take(&in, 1) + 1;
    text = malloc(in.left ? in.left : 1);
    memcpy(text, in.at, in.left);
    memcpy(one, all, sizeof(one));
    pci_ids_find(text, in.left, all, FUNCTIONS);
    for (u32 i = 0; i < FUNCTIONS; i++) {
        pci_ids_find(text, in.left, &one[i], 1);
        require_part(&all[i].vendor_name, text, in.left);
        require_part(&all[i].device_name, text, in.left);
        require_same(&all[i].vendor_name, &one[i].vendor_name);
        require_same(&all[i].device_name, &one[i].device_name);
        REQUIRE(all[i].vendor_name.bytes || !all[i].device_name.bytes);
        print(&all[i], true, room);
        print(&all[i], false, room);
    }
    free(text);
    return 0;
}
