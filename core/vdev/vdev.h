/* What all device models share. A model is pure: it owns one struct, knows no globals, and gets the
 * time, the access and its surroundings as parameters. Time is guest time in nanoseconds, except in
 * the local APIC, which counts TSC ticks. The caller serialises: board devices run under the
 * partition's board lock, a local APIC on its own vCPU. */
#pragma once

#include "core/base/types.h"

/* An interrupt message as the system bus carries it (SDM Vol 3A, Message Address and Data Register
 * Format). */
enum apic_delivery {
    APIC_FIXED = 0,
    APIC_LOWEST = 1,
    APIC_SMI = 2,
    APIC_NMI = 4,
    APIC_INIT = 5,
    APIC_STARTUP = 6,
    APIC_EXTINT = 7,
};
enum apic_shorthand { APIC_DEST = 0, APIC_SELF = 1, APIC_ALL = 2, APIC_OTHERS = 3 };

struct apic_msg {
    u32 dest; /* APIC id, or logical destination; 0xff (0xffffffff from an x2APIC) is broadcast */
    bool logical;
    bool x2apic; /* dest is 32 bits wide */
    u8 vector;
    enum apic_delivery delivery;
    bool level;  /* trigger mode */
    bool assert; /* level of an INIT */
    enum apic_shorthand shorthand;
};

enum power_request { POWER_NONE, POWER_RESET, POWER_OFF };

/* What a board asks of the partition around it. Called from inside board functions, so under the
 * board lock; must not call back into the board. */
struct vdev_host {
    void *ctx;
    bool (*apic_msg)(void *ctx, const struct apic_msg *msg); /* IOAPIC output; false: no local APIC has accepted it */
    void (*intr)(void *ctx, bool level);                     /* 8259 INTR pin, wired to LINT0 of vCPU 0 */
    void (*power)(void *ctx, enum power_request request);
    void (*eoi)(void *ctx, u32 pin); /* the guest ended a PCI interrupt: the IOAPIC's pin is idle again */
};
