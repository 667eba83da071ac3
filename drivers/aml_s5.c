/* The value of \_S5 by its byte pattern: NameOp, the name, PackageOp, integers. The search is one
 * pass over the table. Nothing but the name is looked for before the package, so AML that only
 * contains the four letters elsewhere does not match.
 * Source: ACPI 6.4, ACPI Machine Language (AML) Specification; \_Sx (System States). */
#include "drivers/aml_s5.h"

#include "core/base/string.h"

#define AML_ZERO    0x00
#define AML_ONE     0x01
#define AML_NAME    0x08
#define AML_BYTE    0x0a
#define AML_WORD    0x0b
#define AML_DWORD   0x0c
#define AML_PACKAGE 0x12
#define AML_ROOT    0x5c /* backslash */

#define SLP_TYP_MAX 7 /* three bits. ACPI 6.4, PM1 Control Registers */

struct cursor {
    const u8 *at, *end;
};

/* The next byte, or -1 at the end. */
static int next(struct cursor *c) { return c->at < c->end ? *c->at++ : -1; }

/* A constant of up to 32 bits. */
static bool integer(struct cursor *c, u32 *out) {
    u32 bytes;
    int op = next(c);

    *out = op == AML_ONE;
    switch (op) {
    case AML_ZERO:
    case AML_ONE: return true;
    case AML_BYTE: bytes = 1; break;
    case AML_WORD: bytes = 2; break;
    case AML_DWORD: bytes = 4; break;
    default: return false;
    }
    if ((u64)(c->end - c->at) < bytes) return false;
    for (u32 i = 0; i < bytes; i++) *out |= (u32)c->at[i] << (8 * i);
    c->at += bytes;
    return true;
}

/* PackageOp PkgLength NumElements PackageElementList. Some firmware packs both types into the only
 * element. */
static bool package(struct cursor *c, u8 *type_a, u8 *type_b) {
    int length, elements;
    u32 a, b;

    if (next(c) != AML_PACKAGE) return false;
    length = next(c);
    if (length < 0 || c->end - c->at < length >> 6) /* bits 7:6: how many bytes follow */
        return false;
    c->at += length >> 6;
    elements = next(c);
    if (elements < 1 || !integer(c, &a)) return false;
    if (elements == 1) {
        b = a >> 8 & 0xff;
        a &= 0xff;
    } else if (!integer(c, &b)) {
        return false;
    }
    if (a > SLP_TYP_MAX || b > SLP_TYP_MAX) return false;
    *type_a = (u8)a;
    *type_b = (u8)b;
    return true;
}

bool aml_find_s5(const u8 *aml, u64 bytes, u8 *type_a, u8 *type_b) {
    for (u64 i = 1; i + 4 <= bytes; i++) {
        struct cursor c = {aml + i + 4, aml + bytes};
        u8 before = aml[i - 1];

        if (memcmp(aml + i, "_S5_", 4)) continue;
        if (before == AML_ROOT && i >= 2) before = aml[i - 2];
        if (before == AML_NAME && package(&c, type_a, type_b)) return true;
    }
    return false;
}
