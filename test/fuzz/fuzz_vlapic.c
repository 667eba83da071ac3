/* Two local APICs and an IOAPIC under an arbitrary guest. Every input is a list of operations of
 * four bytes: kind, register or pin, and a value. Invariants:
 *   - an accepted interrupt stays requested until the CPU takes it, the guest resets the APIC or
 *     switches it off;
 *   - what is offered is the highest request, and its class is above the processor priority, so
 *     that vectors in service nest in rising order and EOI ends the last one first;
 *   - the current count does not run backwards between two writes to the timer;
 *   - vectors below 16 never appear; in a software-disabled APIC every LVT entry is masked. */
#include <stdlib.h>

#include "core/base/bits.h"
#include "core/base/x86.h"
#include "core/vdev/vioapic.h"
#include "core/vdev/vlapic.h"

#define CPUS         2u
#define SERVICE_MAX  16u /* one for each priority class */
#define CHECK(truth) ((truth) ? (void)0 : abort())

struct cpu {
    struct vlapic apic;
    u32 requested[8]; /* the model */
    u8 service[SERVICE_MAX];
    u32 depth;
    u32 count; /* last current count seen */
    bool count_known;
};

static struct cpu cpus[CPUS];
static struct vlapic *const lapics[CPUS] = {&cpus[0].apic, &cpus[1].apic};
static struct vioapic io;
static u64 now;

static void no_poke(void *ctx, u32 vcpu) {
    (void)ctx;
    CHECK(vcpu < CPUS);
}

/* Whatever appeared in IRR belongs there from now on; nothing else may vanish. */
static void observe(struct cpu *c) {
    CHECK((c->apic.irr[0] & 0xffff) == 0 && (c->apic.isr[0] & 0xffff) == 0);
    for (u32 bank = 0; bank < 8; bank++) {
        u32 is = c->apic.irr[bank];

        CHECK((c->requested[bank] & ~is) == 0);
        CHECK(is == 0 || (c->apic.irr_banks >> bank & 1));
        c->requested[bank] = is;
    }
    if (!(c->apic.svr & 0x100))
        for (u32 i = 0; i < LVT_COUNT; i++) CHECK(c->apic.lvt[i] & 0x10000);
}

static void observe_all(void) {
    for (u32 i = 0; i < CPUS; i++) observe(&cpus[i]);
}

static bool send(u32 src, const struct apic_msg *msg) { return apicbus_send(lapics, CPUS, src, msg, no_poke, NULL); }
static bool from_ioapic(void *ctx, const struct apic_msg *msg) {
    (void)ctx;
    return send(~0u, msg);
}
static const struct vdev_host host = {.apic_msg = from_ioapic};

static void forget(struct cpu *c) {
    for (u32 bank = 0; bank < 8; bank++) c->requested[bank] = 0;
    c->depth = 0;
    c->count_known = false;
}

static void apply(u32 i, const struct vlapic_effect *fx) {
    if (fx->ipi) send(i, &fx->msg);
    if (fx->eoi_broadcast) vioapic_eoi(&io, fx->eoi_vector, &host);
}

static void write_register(u32 i, u32 reg, u32 value) {
    struct vlapic_effect fx;
    struct cpu *c = &cpus[i];

    if (c->apic.base_msr & APIC_BASE_X2APIC) {
        u64 wide = reg == 0x30 ? (u64)(value >> 24) << 32 | value : value;

        if (vlapic_msr_write(&c->apic, MSR_X2APIC_FIRST + reg, wide, now, &fx) != 0) return;
    } else {
        vlapic_write(&c->apic, reg * 16, value, now, &fx);
    }
    if (reg == 0x0b && (c->apic.base_msr & APIC_BASE_ENABLE) && c->depth > 0) {
        c->depth--; /* the last taken ends first */
        CHECK(!fx.eoi_broadcast || fx.eoi_vector == c->service[c->depth]);
    }
    if (reg == 0x32 || reg == 0x38 || reg == 0x3e) c->count_known = false;
    apply(i, &fx);
}

static void write_msr(u32 i, u32 msr, u64 value) {
    struct cpu *c = &cpus[i];
    struct vlapic_effect fx;
    u64 before = c->apic.base_msr;

    if (vlapic_msr_write(&c->apic, msr, value, now, &fx) != 0) return;
    if ((before & APIC_BASE_ENABLE) && !(c->apic.base_msr & APIC_BASE_ENABLE)) forget(c);
}

static void take_interrupt(struct cpu *c) {
    int vector = vlapic_pending(&c->apic);

    if (vector < 0) return;
    CHECK(c->requested[vector / 32] >> vector % 32 == 1); /* it, and none above it */
    for (int bank = vector / 32 + 1; bank < 8; bank++) CHECK(c->requested[bank] == 0);
    CHECK(c->depth < SERVICE_MAX);
    CHECK(c->depth == 0 || vector >> 4 > c->service[c->depth - 1] >> 4);
    CHECK((u32)vector >> 4 > vlapic_ppr(&c->apic) >> 4);
    vlapic_ack(&c->apic, (u8)vector);
    c->requested[vector / 32] &= ~(1u << vector % 32);
    c->service[c->depth++] = (u8)vector;
}

/* Its delivery comes to nothing: requested as before. */
static void take_in_vain(struct cpu *c) {
    int vector = vlapic_pending(&c->apic);

    if (vector < 0) return;
    vlapic_ack(&c->apic, (u8)vector);
    vlapic_unack(&c->apic, (u8)vector);
    CHECK(vlapic_pending(&c->apic) == vector);
}

static void pass_time(u64 ticks) {
    now += ticks;
    for (u32 i = 0; i < CPUS; i++) {
        struct cpu *c = &cpus[i];
        u32 count, mode = c->apic.lvt[LVT_TIMER] >> 17 & 3;
        bool expired = now >= c->apic.timer_deadline;
        u64 value;

        if (c->apic.base_msr & APIC_BASE_X2APIC)
            count = vlapic_msr_read(&c->apic, 0x839, &value, now) == 0 ? (u32)value : 0;
        else
            count = vlapic_read(&c->apic, 0x390, now);
        if (c->apic.base_msr & APIC_BASE_ENABLE) {
            CHECK(count <= c->apic.timer_initial);
            CHECK(!c->count_known || count <= c->count || (expired && mode == 1));
            CHECK(!expired || mode == 1 || count == 0);
            c->count = count;
            c->count_known = true;
        }
        vlapic_tick(&c->apic, now);
        CHECK(vlapic_deadline(&c->apic) > now);
    }
}

static void step(const u8 *op) {
    static const u64 modes[] = {0, APIC_BASE_ENABLE, APIC_BASE_X2APIC, APIC_BASE_ENABLE | APIC_BASE_X2APIC};
    u32 i = op[0] & 1, low = op[2] | (u32)op[3] << 8;

    switch (op[0] >> 1 & 15) {
    case 0 ... 3: /* low half of the value */ write_register(i, op[1] & 0x3f, low); break;
    case 4: /* high half: mask, mode and shorthand bits, destinations */
        write_register(i, op[1] & 0x3f, op[2] | (u32)op[3] << 16);
        break;
    case 5: write_register(i, op[1] & 0x3f, (u32)op[3] << 24); break;
    case 6: write_msr(i, MSR_APIC_BASE, 0xfee00000 | modes[op[1] & 3]); break;
    case 7: write_msr(i, MSR_TSC_DEADLINE, op[1] == 0 ? 0 : now + low - 1000); break;
    case 8 ... 9: take_interrupt(&cpus[i]); break;
    case 10: pass_time(low); break;
    case 11:
        vioapic_write(&io, 0, 0x10 + op[1] % 48, &host);
        vioapic_write(&io, 0x10, op[1] & 1 ? (u32)op[3] << 24 : low, &host);
        break;
    case 12: vioapic_set_line(&io, op[1] % 32, op[2] & 1, &host); break;
    case 13: vlapic_set_lint0(&cpus[i].apic, op[2] & 1); break;
    case 14: vlapic_set_cr8(&cpus[i].apic, op[2]); break;
    default:
        if (op[1] & 1) take_in_vain(&cpus[i]);
        if (op[1] != 0) break;
        vlapic_init_signal(&cpus[i].apic);
        forget(&cpus[i]);
        break;
    }
    observe_all();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    now = 1 << 20;
    vioapic_reset(&io, 0);
    for (u32 i = 0; i < CPUS; i++) {
        forget(&cpus[i]);
        vlapic_reset(&cpus[i].apic, i, i == 0);
        write_register(i, 0x0f, 0x1ff);
    }
    for (size_t at = 0; at + 4 <= size; at += 4) step(data + at);
    return 0;
}
