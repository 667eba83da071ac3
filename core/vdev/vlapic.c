/* Local APIC: interrupt state, priorities, acceptance, errors and IA32_APIC_BASE. The vCPU's core
 * calls everything here; the functions that vlapic.h marks "any core" touch only words that are
 * accessed atomically. Must never wait, and never trust a value that the guest can write. Source:
 * SDM Vol 3A, Advanced Programmable Interrupt Controller (APIC). */
#include "core/vdev/vlapic.h"

#include "core/base/errors.h"
#include "core/vdev/vlapic_impl.h"

_Static_assert(LREG_LVT_LAST - LREG_LVT + 1 == LVT_COUNT, "one register for each entry");

#define BROADCAST_X2APIC 0xffffffffu
#define BROADCAST_XAPIC  0xffu

/* Destination format register, bits 31:28. SDM Vol 3A, Logical Destination Mode. */
#define DFR_FLAT    0xfu
#define DFR_CLUSTER 0x0u

void vlapic_init_signal(struct vlapic *l) {
    /* SDM Vol 3A, Local APIC State After Power-Up or Reset, and After an INIT Reset. IRR is cleared
     * word by word because other cores may post at the same time. */
    put32(&l->svr, LVT_VECTOR);
    for (u32 i = 0; i < LVT_COUNT; i++) put32(&l->lvt[i], LVT_MASKED);
    for (u32 i = 0; i < ARRAY_SIZE(l->irr); i++) {
        __atomic_store_n(&l->irr[i], 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&l->tmr[i], 0, __ATOMIC_SEQ_CST);
        put32(&l->isr[i], 0);
    }
    put32(&l->isr_banks, 0);
    /* irr_banks keeps its bits: it may say more than there is, never less. */
    put32(&l->tpr, 0);
    put32(&l->ldr, 0);
    put32(&l->dfr, ~0u);
    l->esr = 0;
    __atomic_store_n(&l->esr_pending, 0, __ATOMIC_SEQ_CST);
    l->icr_low = l->icr_high = 0;
    vlapic_timer_reset(l);
}

void vlapic_reset(struct vlapic *l, u32 id, bool bsp) {
    *l = (struct vlapic){
        .id = id,
        .bsp = bsp,
        .base_msr = APIC_BASE_ADDRESS | APIC_BASE_ENABLE | (bsp ? APIC_BASE_BSP : 0),
    };
    vlapic_init_signal(l);
}

void vlapic_virtual_wire(struct vlapic *l) {
    put32(&l->svr, SVR_ENABLE | LVT_VECTOR);
    put32(&l->lvt[LVT_LINT0], APIC_EXTINT << LVT_DELIVERY_SHIFT);
    put32(&l->lvt[LVT_LINT1], APIC_NMI << LVT_DELIVERY_SHIFT);
}

/* The highest vector set in eight words, or -1. banks: a bit for each word that may be nonzero. */
int vlapic_highest(const u32 *words, u32 banks) {
    while (banks != 0) {
        u32 bank = 31 - (u32)__builtin_clz(banks);
        u32 word = peek32(&words[bank]);

        if (word != 0) return (int)(bank * 32 + 31 - (u32)__builtin_clz(word));
        banks &= ~(1u << bank);
    }
    return -1;
}

bool vlapic_enabled(const struct vlapic *l) {
    return (vlapic_base(l) & APIC_BASE_ENABLE) != 0 && (peek32(&l->svr) & SVR_ENABLE) != 0;
}

/* Sets a legal vector in IRR. The order carries the message: trigger mode, then IRR, then the
 * summary, each with a locked operation, so that whoever sees a bit sees what was set before it. */
static bool accept(struct vlapic *l, u8 vector, bool level) {
    u32 bank = vector / 32u, bit = 1u << (vector % 32);

    /* SDM Vol 3A, Interrupt Acceptance for Fixed Interrupts: TMR is written upon acceptance into
     * IRR. It rarely changes, and a locked operation costs more than a look. */
    if (((peek32(&l->tmr[bank]) & bit) != 0) != level) {
        if (level)
            __atomic_fetch_or(&l->tmr[bank], bit, __ATOMIC_SEQ_CST);
        else
            __atomic_fetch_and(&l->tmr[bank], ~bit, __ATOMIC_SEQ_CST);
    }
    /* Already set: the two become one, and whoever set it wakes the vCPU. */
    if (__atomic_fetch_or(&l->irr[bank], bit, __ATOMIC_SEQ_CST) & bit) return false;
    __atomic_fetch_or(&l->irr_banks, 1u << bank, __ATOMIC_SEQ_CST);
    return true;
}

/* Records an error; the first since the last write to ESR raises the LVT error interrupt. SDM Vol
 * 3A, Error Handling: "this write also rearms the APIC error interrupt". Any core. Returns true if
 * the vCPU has to be woken or kicked. */
bool vlapic_error(struct vlapic *l, u32 esr_bit) {
    u32 before = __atomic_fetch_or(&l->esr_pending, esr_bit, __ATOMIC_SEQ_CST);
    u32 lvt = peek32(&l->lvt[LVT_ERROR]);

    if (before != 0 || (lvt & LVT_MASKED) != 0) return false;
    if ((lvt & LVT_VECTOR) < FIRST_LEGAL_VECTOR) {
        /* An illegal vector from the LVT is an error too, but it cannot announce itself. */
        __atomic_fetch_or(&l->esr_pending, ESR_RECEIVE_ILLEGAL, __ATOMIC_SEQ_CST);
        return false;
    }
    return accept(l, (u8)lvt, false);
}

bool vlapic_post(struct vlapic *l, u8 vector, bool level) {
    /* SDM Vol 3A, Local APIC State After It Has Been Software Disabled: what is pending is held,
     * nothing new is accepted. */
    if (!vlapic_enabled(l)) return false;
    if (vector < FIRST_LEGAL_VECTOR) return vlapic_error(l, ESR_RECEIVE_ILLEGAL);
    return accept(l, vector, level);
}

static bool match_logical(const struct vlapic *l, u32 dest) {
    u32 own = peek32(&l->ldr) >> 24, model = peek32(&l->dfr) >> 28;

    /* An xAPIC compares eight bits; a wider destination names somebody else. */
    if (dest > BROADCAST_XAPIC) return false;
    /* SDM Vol 3A, Logical Destination Mode. */
    if (model == DFR_FLAT) return (dest & own) != 0;
    if (model == DFR_CLUSTER) return dest >> 4 == own >> 4 && (dest & own & 0xf) != 0;
    return false;
}

bool vlapic_match(const struct vlapic *l, const struct apic_msg *msg) {
    u64 base = vlapic_base(l);

    /* SDM Vol 3A, Enabling or Disabling the Local APIC: without it there is no APIC to reach. */
    if (!(base & APIC_BASE_ENABLE)) return false;
    if (msg->dest == (msg->x2apic ? BROADCAST_X2APIC : BROADCAST_XAPIC)) return true;
    if (!msg->logical) return msg->dest == l->id;
    if (base & APIC_BASE_X2APIC) /* SDM Vol 3A, Logical Destination Mode in x2APIC Mode */
        return msg->dest >> 16 == l->id >> 4 && (msg->dest & (1u << (l->id & 15))) != 0;
    return match_logical(l, msg->dest);
}

u32 vlapic_ppr(const struct vlapic *l) {
    /* SDM Vol 3A, Task and Processor Priorities. */
    u32 tpr = peek32(&l->tpr);
    int in_service = vlapic_highest(l->isr, peek32(&l->isr_banks));

    if (in_service < 0 || tpr >> 4 >= (u32)in_service >> 4) return tpr;
    return (u32)in_service & 0xf0;
}

int vlapic_pending(const struct vlapic *l) {
    u32 banks = __atomic_load_n(&l->irr_banks, __ATOMIC_ACQUIRE);
    int vector;

    if (__builtin_expect(banks == 0, 1)) return -1;
    vector = vlapic_highest(l->irr, banks);
    if (vector < 0 || (u32)vector >> 4 <= vlapic_ppr(l) >> 4) return -1;
    /* A post that raced with the APIC being switched off leaves a bit that nobody may see. */
    return (vlapic_base(l) & APIC_BASE_ENABLE) != 0 ? vector : -1;
}

void vlapic_ack(struct vlapic *l, u8 vector) {
    u32 bank = vector / 32u, bit = 1u << (vector % 32);
    u32 before = __atomic_fetch_and(&l->irr[bank], ~bit, __ATOMIC_SEQ_CST);

    if ((before & ~bit) == 0) {
        /* 1. The owner empties the bank. 2. Another core posts: IRR, then summary. 3. The owner
         * clears the summary. The second look finds what step 2 left; a post after it sets the
         * summary itself. */
        __atomic_fetch_and(&l->irr_banks, ~(1u << bank), __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&l->irr[bank], __ATOMIC_SEQ_CST) != 0)
            __atomic_fetch_or(&l->irr_banks, 1u << bank, __ATOMIC_SEQ_CST);
    }
    if (!(before & bit)) return;
    put32(&l->isr[bank], l->isr[bank] | bit);
    put32(&l->isr_banks, l->isr_banks | 1u << bank);
}

void vlapic_unack(struct vlapic *l, u8 vector) {
    u32 bank = vector / 32u, bit = 1u << (vector % 32);

    put32(&l->isr[bank], l->isr[bank] & ~bit);
    if (!l->isr[bank]) put32(&l->isr_banks, l->isr_banks & ~(1u << bank));
    __atomic_fetch_or(&l->irr[bank], bit, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&l->irr_banks, 1u << bank, __ATOMIC_SEQ_CST);
}

/* SDM Vol 3A, Signaling Interrupt Servicing Completion: ends the highest vector in service, and
 * tells the IOAPIC if it was level triggered. */
void vlapic_eoi(struct vlapic *l, struct vlapic_effect *fx) {
    int vector = vlapic_highest(l->isr, l->isr_banks);
    u32 bank, bit;

    if (vector < 0) return;
    bank = (u32)vector / 32;
    bit = 1u << (vector % 32);
    put32(&l->isr[bank], l->isr[bank] & ~bit);
    if (l->isr[bank] == 0) put32(&l->isr_banks, l->isr_banks & ~(1u << bank));
    fx->eoi_broadcast = (peek32(&l->tmr[bank]) & bit) != 0;
    fx->eoi_vector = (u8)vector;
}

static u32 lvt_delivery(u32 lvt) { return lvt >> LVT_DELIVERY_SHIFT & LVT_DELIVERY_MASK; }

bool vlapic_accepts_extint(const struct vlapic *l) {
    u32 lvt = peek32(&l->lvt[LVT_LINT0]);

    if (!(vlapic_base(l) & APIC_BASE_ENABLE))
        return true; /* LINT0 is then the INTR pin. SDM Vol 3A, Local APIC Status and Location */
    return !(lvt & LVT_MASKED) && lvt_delivery(lvt) == APIC_EXTINT;
}

bool vlapic_set_lint0(struct vlapic *l, bool level) {
    bool before = __atomic_exchange_n(&l->lint0_level, level, __ATOMIC_SEQ_CST);
    u32 lvt = peek32(&l->lvt[LVT_LINT0]);

    if (!level || before) return false;
    if (vlapic_accepts_extint(l)) return true;
    if (lvt & LVT_MASKED) return false;
    /* A fixed LINT0 is taken as edge triggered: its only user is a system that tries the 8259 as a
     * virtual wire, and that programs an edge. */
    if (lvt_delivery(lvt) == APIC_FIXED) return vlapic_post(l, (u8)lvt, false);
    if (lvt_delivery(lvt) != APIC_NMI) return false;
    __atomic_fetch_or(&l->events, VLAPIC_EVENT_NMI, __ATOMIC_SEQ_CST);
    return true;
}

u32 vlapic_cr8(const struct vlapic *l) { return l->tpr >> 4; }

void vlapic_set_cr8(struct vlapic *l, u32 value) {
    /* SDM Vol 3A, Interaction of Task Priorities between CR8 and APIC: TPR[3:0] becomes 0. */
    put32(&l->tpr, (value & 0xf) << 4);
}

/* IA32_APIC_BASE. SDM Vol 3A, Local APIC Status and Location, and x2APIC State Transitions. */
int vlapic_write_base(struct vlapic *l, u64 value) {
    const u64 mode = APIC_BASE_ENABLE | APIC_BASE_X2APIC;
    u64 from = vlapic_base(l) & mode, to = value & mode;

    /* The page stays where it is: the stage-2 tables are fixed before start. An address elsewhere
     * is refused together with the reserved bits. */
    if ((value & ~(mode | APIC_BASE_BSP)) != APIC_BASE_ADDRESS) return -E_FAULT;
    if (to == APIC_BASE_X2APIC) return -E_FAULT;                 /* EXTD without EN: the invalid state */
    if (from == mode && to == APIC_BASE_ENABLE) return -E_FAULT; /* x2APIC to xAPIC leads through disabled */
    if (from == 0 && to == mode) return -E_FAULT;                /* disabled to x2APIC leads through xAPIC */

    /* Which processor booted is a fact: the flag ignores writes. */
    __atomic_store_n(&l->base_msr, APIC_BASE_ADDRESS | to | (l->bsp ? APIC_BASE_BSP : 0), __ATOMIC_SEQ_CST);
    if (to == 0 && from != 0) vlapic_init_signal(l); /* everything but the id is lost */
    if (from == APIC_BASE_ENABLE && to == mode) {
        /* x2APIC Transitions From xAPIC Mode: the logical id now follows from the id, and the high
         * half of ICR is not preserved. */
        put32(&l->ldr, 0);
        put32(&l->dfr, ~0u);
        l->icr_high = 0;
    }
    return 0;
}
