/* A machine of configuration spaces in memory, for tests of drivers/pci_scan.c. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "drivers/pci_scan.h"

#define MAX       24
#define ROOT_PORT 4
#define DOWN_PORT 6
#define TO_PCI    7

struct space {
    u32 id;
    u8 bytes[PCI_EXTENDED_BYTES];
    u8 holds[PCI_CONFIG_BYTES]; /* bits that can be written */
};
static struct space spaces[MAX];
static u32 spaces_used;
static bool decoding; /* a BAR was written while it was decoded */

static struct space *space_of(u32 id) {
    for (u32 i = 0; i < spaces_used; i++)
        if (spaces[i].id == id) return &spaces[i];
    return NULL;
}

static u32 config_read(void *ctx, u32 id, u32 offset, u32 size) {
    const struct space *s = space_of(id);
    u32 value = ~0u;

    (void)ctx;
    assert_true(offset + size <= PCI_EXTENDED_BYTES && offset % size == 0);
    if (s) memcpy(&value, s->bytes + offset, size);
    return value & (0xffffffffu >> (32 - 8 * size));
}

static void config_write(void *ctx, u32 id, u32 offset, u32 size, u32 value) {
    struct space *s = space_of(id);

    (void)ctx;
    assert_non_null(s);
    if (offset >= 0x10 && offset < 0x28 && !(s->bytes[0xe] & 1)) decoding |= s->bytes[4] & 3;
    for (u32 i = 0; i < size; i++) {
        u32 at = offset + i;
        u8 mask = at < PCI_CONFIG_BYTES ? s->holds[at] : 0xff;

        s->bytes[at] = (u8)((s->bytes[at] & ~mask) | (value >> 8 * i & mask));
    }
}
static const struct pci_access access = {NULL, config_read, config_write};

static void put(u32 id, u32 offset, u32 size, u32 value) { memcpy(space_of(id)->bytes + offset, &value, size); }
static void hold(u32 id, u32 offset, u32 size, u32 mask) { memcpy(space_of(id)->holds + offset, &mask, size); }

static void add(u32 id) {
    struct space *s = &spaces[spaces_used++];

    assert_true(spaces_used <= MAX);
    memset(s, 0, sizeof(*s));
    s->id = id;
    put(id, 0, 4, 0x12348086);
    put(id, 4, 2, 7);
    hold(id, 4, 2, 0x547);
    put(id, 8, 4, 0x02000005);
    put(id, 0x2c, 4, 0x00020001);
}
static void bridge(u32 id, u32 secondary, u32 subordinate) {
    add(id);
    put(id, 0xe, 1, space_of(id)->bytes[0xe] | 1);
    put(id, 0x18, 4, subordinate << 16 | secondary << 8);
}
static void list(u32 id, u32 first) {
    put(id, 6, 2, 0x10);
    put(id, 0x34, 1, first);
}
static void express(u32 id, u32 type, bool flr) {
    list(id, 0x80);
    put(id, 0x80, 2, PCI_CAP_PCIE);
    put(id, 0x82, 2, type << 4 | 2);
    put(id, 0x84, 4, flr ? 1u << 28 : 0);
}

static struct pci_function found[MAX];
static u32 count;
static void scan(void) {
    count = 0;
    decoding = false;
    assert_int_equal(0, pci_scan(&access, 0, 0, 255, found, MAX, &count));
    assert_int_equal(spaces_used, count);
    pci_group(found, count);
}
static const struct pci_function *function(u32 id) {
    for (u32 i = 0; i < count; i++)
        if (found[i].id == id) return &found[i];
    fail_msg("%x was not found", id);
    return NULL;
}

static int fresh(void **state) {
    (void)state;
    spaces_used = 0;
    return 0;
}
