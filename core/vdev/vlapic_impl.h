/* Inside of the local APIC model: register numbers, bits, and what vlapic.c, vlapic_reg.c and
 * vlapic_timer.c share, and apicbus.c. For these files only. Source: SDM Vol 3A, Advanced Programmable
 * Interrupt Controller (APIC), Local APIC Register Address Map and x2APIC Register Address Space.
 */
#pragma once

#include "core/base/bits.h"
#include "core/base/types.h"
#include "core/base/x86.h"
#include "core/vdev/vlapic.h"

/* Register numbers: xAPIC offset / 16, x2APIC MSR - 0x800. */
enum lapic_reg {
    LREG_ID = 0x02,
    LREG_VERSION = 0x03,
    LREG_TPR = 0x08,
    LREG_APR = 0x09,
    LREG_PPR = 0x0a,
    LREG_EOI = 0x0b,
    LREG_RRD = 0x0c,
    LREG_LDR = 0x0d,
    LREG_DFR = 0x0e,
    LREG_SVR = 0x0f,
    LREG_ISR = 0x10,
    LREG_TMR = 0x18,
    LREG_IRR = 0x20,
    LREG_ESR = 0x28,
    LREG_ICR = 0x30,
    LREG_ICR_HIGH = 0x31,
    LREG_LVT = 0x32,
    LREG_LVT_LAST = 0x37,
    LREG_TIMER_INITIAL = 0x38,
    LREG_TIMER_CURRENT = 0x39,
    LREG_TIMER_DIVIDE = 0x3e,
    LREG_SELF_IPI = 0x3f,
    LREG_COUNT = 0x40,
};

/* Error status register. SDM Vol 3A, Error Handling. */
#define ESR_SEND_ILLEGAL    (1u << 5)
#define ESR_RECEIVE_ILLEGAL (1u << 6)
#define ESR_REGISTER        (1u << 7)

/* Local vector table. SDM Vol 3A, Local Vector Table. */
#define LVT_VECTOR         0xffu
#define LVT_DELIVERY_SHIFT 8
#define LVT_DELIVERY_MASK  7u
#define LVT_MASKED         (1u << 16)
#define LVT_MODE_SHIFT     17
#define LVT_MODE_MASK      3u

enum lvt_timer_mode { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_TSC_DEADLINE, TIMER_RESERVED };

#define SVR_ENABLE (1u << 8)

/* Vectors 0 to 15 are illegal in interrupt messages. SDM Vol 3A, Valid Interrupt Vectors. */
#define FIRST_LEGAL_VECTOR 16

#define APIC_BASE_ADDRESS 0xfee00000ull

/* State that the owner writes and other cores may read: whole words, no order implied. */
static inline u32 peek32(const u32 *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline void put32(u32 *p, u32 value) { __atomic_store_n(p, value, __ATOMIC_RELAXED); }

static inline u64 vlapic_base(const struct vlapic *l) { return __atomic_load_n(&l->base_msr, __ATOMIC_RELAXED); }
static inline bool vlapic_is_x2apic(const struct vlapic *l) { return (vlapic_base(l) & APIC_BASE_X2APIC) != 0; }

/* vlapic.c */
int vlapic_highest(const u32 *words, u32 banks);
bool vlapic_error(struct vlapic *l, u32 esr_bit);
void vlapic_eoi(struct vlapic *l, struct vlapic_effect *fx);
int vlapic_write_base(struct vlapic *l, u64 value) must_check;

/* vlapic_timer.c */
void vlapic_timer_reset(struct vlapic *l);
u32 vlapic_timer_count(const struct vlapic *l, u64 now);
void vlapic_timer_set_initial(struct vlapic *l, u32 value, u64 now);
void vlapic_timer_set_divide(struct vlapic *l, u32 value, u64 now);
void vlapic_timer_set_lvt(struct vlapic *l, u32 value, u64 now);
u64 vlapic_timer_deadline_msr(struct vlapic *l, u64 now);
void vlapic_timer_set_deadline_msr(struct vlapic *l, u64 value, u64 now);
