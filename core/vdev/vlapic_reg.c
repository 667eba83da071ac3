/* Local APIC registers as the guest sees them: the xAPIC page and the x2APIC MSRs, which share
 * numbers, meaning and one table of what is allowed. Only the vCPU's core may call it. Source: SDM
 * Vol 3A, Local APIC Register Address Map, and x2APIC Register Address Space. */
#include "core/vdev/vlapic.h"

#include "core/base/errors.h"
#include "core/vdev/vlapic_impl.h"

/* Version 0x14, six LVT entries, no suppression of EOI broadcasts. SDM Vol 3A, Local APIC Version
 * Register. */
#define VERSION 0x00050014u

/* Interrupt command register. SDM Vol 3A, Interrupt Command Register (ICR). */
#define ICR_DELIVERY_SHIFT  8
#define ICR_LOGICAL         (1u << 11)
#define ICR_ASSERT          (1u << 14)
#define ICR_LEVEL           (1u << 15)
#define ICR_SHORTHAND_SHIFT 18
#define ICR_WRITABLE        0x000ccfffu
/* Bit 12 was the delivery status; WRMSR ignores it. SDM Vol 3A, ICR Operation in x2APIC Mode. */
#define ICR_X2_RESERVED 0xfff32000u

#define XAPIC    1u /* exists in the page */
#define X2_READ  2u
#define X2_WRITE 4u
#define X2_RW    (X2_READ | X2_WRITE)

/* What is there in which mode. reserved: bits that x2APIC mode refuses to write (SDM Vol 3A,
 * Reserved Bit Checking). Read-only bits of the LVT are not reserved. No entry: no register. */
struct rule {
    u8 access;
    u32 reserved;
};
static const struct rule rules[LREG_COUNT] = {
    [LREG_ID] = {XAPIC | X2_READ, 0},
    [LREG_VERSION] = {XAPIC | X2_READ, 0},
    [LREG_TPR] = {XAPIC | X2_RW, ~0xffu},
    [LREG_APR] = {XAPIC, 0},
    [LREG_PPR] = {XAPIC | X2_READ, 0},
    [LREG_EOI] = {XAPIC | X2_WRITE, ~0u},
    [LREG_RRD] = {XAPIC, 0},
    [LREG_LDR] = {XAPIC | X2_READ, 0},
    [LREG_DFR] = {XAPIC, 0},
    [LREG_SVR] = {XAPIC | X2_RW, ~0x3ffu},
    [LREG_ISR... LREG_ESR - 1] = {XAPIC | X2_READ, 0},
    [LREG_ESR] = {XAPIC | X2_RW, ~0u},
    [LREG_ICR] = {XAPIC | X2_RW, ICR_X2_RESERVED},
    [LREG_ICR_HIGH] = {XAPIC, 0},
    [LREG_LVT + LVT_TIMER] = {XAPIC | X2_RW, ~0x710ffu},
    [LREG_LVT + LVT_THERMAL] = {XAPIC | X2_RW, ~0x117ffu},
    [LREG_LVT + LVT_PERF] = {XAPIC | X2_RW, ~0x117ffu},
    [LREG_LVT + LVT_LINT0] = {XAPIC | X2_RW, ~0x1f7ffu},
    [LREG_LVT + LVT_LINT1] = {XAPIC | X2_RW, ~0x1f7ffu},
    [LREG_LVT + LVT_ERROR] = {XAPIC | X2_RW, ~0x110ffu},
    [LREG_TIMER_INITIAL] = {XAPIC | X2_RW, 0},
    [LREG_TIMER_CURRENT] = {XAPIC | X2_READ, 0},
    [LREG_TIMER_DIVIDE] = {XAPIC | X2_RW, ~0xbu},
    [LREG_SELF_IPI] = {X2_WRITE, ~0xffu},
};

/* Delivery status (12) and remote IRR (14) of the LVT are read-only, and always 0 here: a local
 * interrupt is accepted at once, and LINT0 is edge triggered. */
#define LVT_READ_ONLY 0x5000u

static u32 read_apr(const struct vlapic *l) {
    /* SDM Vol 3A, Arbitration Priority Register. */
    int pending = vlapic_highest(l->irr, peek32(&l->irr_banks));
    int serving = vlapic_highest(l->isr, l->isr_banks);
    u32 irr = pending < 0 ? 0 : (u32)pending >> 4, isr = serving < 0 ? 0 : (u32)serving >> 4;
    u32 tpr = l->tpr >> 4;

    if (tpr >= irr && tpr > isr) return l->tpr;
    return (u32)max_u64(tpr & isr, irr) << 4;
}

/* A register that exists and can be read in this mode. */
static u32 reg_read(const struct vlapic *l, u32 reg, u64 now) {
    bool x2apic = vlapic_is_x2apic(l);

    switch (reg) {
    case LREG_ID: return x2apic ? l->id : l->id << 24;
    case LREG_VERSION: return VERSION;
    case LREG_TPR: return l->tpr;
    case LREG_APR: return read_apr(l);
    case LREG_PPR: return vlapic_ppr(l);
    case LREG_LDR: /* SDM Vol 3A, Deriving Logical x2APIC ID from the Local x2APIC ID */
        return x2apic ? l->id >> 4 << 16 | 1u << (l->id & 15) : l->ldr;
    case LREG_DFR: return l->dfr;
    case LREG_SVR: return l->svr;
    case LREG_ISR ... LREG_ISR + 7: return l->isr[reg - LREG_ISR];
    case LREG_TMR ... LREG_TMR + 7: return peek32(&l->tmr[reg - LREG_TMR]);
    case LREG_IRR ... LREG_IRR + 7: return peek32(&l->irr[reg - LREG_IRR]);
    case LREG_ESR: return l->esr;
    case LREG_ICR: return l->icr_low;
    case LREG_ICR_HIGH: return l->icr_high;
    case LREG_LVT ... LREG_LVT_LAST: return l->lvt[reg - LREG_LVT];
    case LREG_TIMER_INITIAL: return l->timer_initial;
    case LREG_TIMER_CURRENT: return vlapic_timer_count(l, now);
    case LREG_TIMER_DIVIDE: return l->timer_divide;
    default: return 0; /* EOI is write-only; RRD belongs to a bus that is gone */
    }
}

/* SDM Vol 3A, Issuing Interprocessor Interrupts. What cannot be sent is dropped: SMI (there is no
 * system-management mode), the reserved delivery modes, the INIT level de-assert (not supported
 * since the Pentium 4), and an INIT or SIPI that would hit its sender (Valid Combinations for the
 * Local APIC's ICR calls these invalid). */
static void send_ipi(struct vlapic *l, struct vlapic_effect *fx) {
    u32 low = l->icr_low;
    struct apic_msg msg = {
        .logical = (low & ICR_LOGICAL) != 0,
        .x2apic = vlapic_is_x2apic(l),
        .vector = (u8)low,
        .delivery = (enum apic_delivery)(low >> ICR_DELIVERY_SHIFT & 7),
        .assert = true, /* level and trigger mean something for INIT only */
        .shorthand = (enum apic_shorthand)(low >> ICR_SHORTHAND_SHIFT & 3),
    };

    msg.dest = msg.x2apic ? l->icr_high : l->icr_high >> 24;
    switch (msg.delivery) {
    case APIC_FIXED:
    case APIC_LOWEST:
        if (msg.vector < FIRST_LEGAL_VECTOR) {
            vlapic_error(l, ESR_SEND_ILLEGAL);
            return;
        }
        break;
    case APIC_NMI: break;
    case APIC_INIT:
        msg.level = (low & ICR_LEVEL) != 0;
        msg.assert = (low & ICR_ASSERT) != 0;
        if (msg.level && !msg.assert) return;
        if (msg.shorthand == APIC_SELF || msg.shorthand == APIC_ALL) return;
        break;
    case APIC_STARTUP:
        if (msg.shorthand == APIC_SELF || msg.shorthand == APIC_ALL) return;
        break;
    default: return;
    }
    fx->ipi = true;
    fx->msg = msg;
}

/* SDM Vol 3A, SELF IPI Register: a fixed, edge-triggered interrupt to this processor. */
static void send_self(struct vlapic *l, u8 vector, struct vlapic_effect *fx) {
    if (vector < FIRST_LEGAL_VECTOR) {
        vlapic_error(l, ESR_SEND_ILLEGAL);
        return;
    }
    fx->ipi = true;
    fx->msg = (struct apic_msg){
        .x2apic = true, .vector = vector, .delivery = APIC_FIXED, .assert = true, .shorthand = APIC_SELF};
}

static void write_svr(struct vlapic *l, u32 value) {
    put32(&l->svr, value & 0x3ff);
    if (value & SVR_ENABLE) return;
    /* SDM Vol 3A, Local APIC State After It Has Been Software Disabled: all masks are set, and stay
     * set. */
    for (u32 i = 0; i < LVT_COUNT; i++) put32(&l->lvt[i], l->lvt[i] | LVT_MASKED);
}

static void write_lvt(struct vlapic *l, u32 entry, u32 value, u64 now) {
    value &= ~(rules[LREG_LVT + entry].reserved | LVT_READ_ONLY);
    if (!(l->svr & SVR_ENABLE)) value |= LVT_MASKED;
    if (entry == LVT_TIMER)
        vlapic_timer_set_lvt(l, value, now);
    else
        put32(&l->lvt[entry], value);
}

/* A register that exists in this mode; read-only ones ignore the write. */
static void reg_write(struct vlapic *l, u32 reg, u32 value, u64 now, struct vlapic_effect *fx) {
    switch (reg) {
    case LREG_TPR: put32(&l->tpr, value & 0xff); break;
    case LREG_EOI: vlapic_eoi(l, fx); break;
    case LREG_LDR: put32(&l->ldr, value & 0xff000000u); break;
    case LREG_DFR: put32(&l->dfr, value | 0x0fffffffu); break;
    case LREG_SVR: write_svr(l, value); break;
    case LREG_ESR: /* any value: it moves what was logged since the last write to where it is read
                    */
        l->esr = __atomic_exchange_n(&l->esr_pending, 0, __ATOMIC_SEQ_CST);
        break;
    case LREG_ICR:
        l->icr_low = value & ICR_WRITABLE;
        send_ipi(l, fx);
        break;
    case LREG_ICR_HIGH: l->icr_high = value & 0xff000000u; break;
    case LREG_LVT ... LREG_LVT_LAST: write_lvt(l, reg - LREG_LVT, value, now); break;
    case LREG_TIMER_INITIAL: vlapic_timer_set_initial(l, value, now); break;
    case LREG_TIMER_DIVIDE: vlapic_timer_set_divide(l, value, now); break;
    case LREG_SELF_IPI: send_self(l, (u8)value, fx); break;
    default: break; /* the id among them: it is a fact, as on processors since Nehalem */
    }
}

/* True if an access to the page reaches a register. */
static bool page_decodes(struct vlapic *l, u32 offset) {
    u64 mode = vlapic_base(l) & (APIC_BASE_ENABLE | APIC_BASE_X2APIC);

    if (mode != APIC_BASE_ENABLE) return false;
    /* Registers lie on 16-byte boundaries; bytes 4 to 15 are undefined, and nothing here. */
    if (offset % 16 != 0) return false;
    if (offset / 16 < LREG_COUNT && rules[offset / 16].access & XAPIC) return true;
    vlapic_error(l, ESR_REGISTER);
    return false;
}

u32 vlapic_read(struct vlapic *l, u32 offset, u64 now) {
    if (page_decodes(l, offset)) return reg_read(l, offset / 16, now);
    return (vlapic_base(l) & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_ENABLE ? 0 : ~0u;
}

void vlapic_write(struct vlapic *l, u32 offset, u32 value, u64 now, struct vlapic_effect *fx) {
    *fx = (struct vlapic_effect){0};
    if (page_decodes(l, offset)) reg_write(l, offset / 16, value, now, fx);
}

/* The rule of an x2APIC MSR, or NULL if this access earns #GP. */
static const struct rule *msr_rule(const struct vlapic *l, u32 msr, u8 access) {
    u32 reg = msr - MSR_X2APIC_FIRST;

    if (msr < MSR_X2APIC_FIRST || reg >= LREG_COUNT || !vlapic_is_x2apic(l)) return NULL;
    return rules[reg].access & access ? &rules[reg] : NULL;
}

int vlapic_msr_read(struct vlapic *l, u32 msr, u64 *value, u64 now) {
    if (msr == MSR_APIC_BASE) {
        *value = l->base_msr;
        return 0;
    }
    if (msr == MSR_TSC_DEADLINE) {
        *value = vlapic_timer_deadline_msr(l, now);
        return 0;
    }
    if (msr_rule(l, msr, X2_READ) == NULL) return -E_FAULT;
    *value = reg_read(l, msr - MSR_X2APIC_FIRST, now);
    if (msr - MSR_X2APIC_FIRST == LREG_ICR) *value |= (u64)l->icr_high << 32;
    return 0;
}

int vlapic_msr_write(struct vlapic *l, u32 msr, u64 value, u64 now, struct vlapic_effect *fx) {
    const struct rule *rule;
    bool icr = msr == MSR_X2APIC_FIRST + LREG_ICR;

    *fx = (struct vlapic_effect){0};
    if (msr == MSR_APIC_BASE) return vlapic_write_base(l, value);
    if (msr == MSR_TSC_DEADLINE) {
        vlapic_timer_set_deadline_msr(l, value, now);
        return 0;
    }
    rule = msr_rule(l, msr, X2_WRITE);
    if (rule == NULL || (value & rule->reserved) != 0 || (value >> 32 != 0 && !icr)) return -E_FAULT;
    if (icr) l->icr_high = (u32)(value >> 32);
    reg_write(l, msr - MSR_X2APIC_FIRST, (u32)value, now, fx);
    return 0;
}
