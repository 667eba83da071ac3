/* See task.h. Everything that can fault in the old task's context comes first: reading the new TSS, then writing the
 * old one. From the commit on, faults are the new task's. */
#include "core/insn/task.h"

#include "core/base/errors.h"
#include "core/base/x86.h"

#define CR3_AT       28
#define TRAP_AT      100
#define SEGMENTS     6
#define TYPE_BUSY    BIT(1)
#define TYPE_32      BIT(3) /* of a TSS */
#define ACCESSED     BIT(0)
#define WRITABLE     BIT(1) /* data; for code: readable */
#define CONFORMING   BIT(2)
#define CODE         BIT(3)
#define NOT_SYSTEM   BIT(4)
#define PRESENT      BIT(7)
#define BIG          BIT(14)
#define SELECTOR_LDT 4u

struct task {
    struct task_cpu *cpu;
    const struct insn_bus *bus;
    struct insn_fault *fault;
    u8 vector;    /* for a selector that will not do: #TS, or #GP in MOV */
    u64 mask;     /* of linear addresses */
    u32 external; /* EXT: what is delivered comes from outside the program. SDM Vol 3A, Error Code */
};

/* A TSS, 32 or 16 bits wide: in both EIP, EFLAGS, eight registers, the segments and the LDT follow each other. */
struct layout {
    u32 width, eip, segments;
};
static struct layout layout_of(u32 type) {
    return type & TYPE_32 ? (struct layout){4, 32, SEGMENTS} : (struct layout){2, 14, 4};
}
static u32 words_of(const struct layout *l) { return 2 + 8 + l->segments; }

static int read(const struct task *t, u64 la, u32 size, u64 *value) {
    return t->bus->read(t->bus->ctx, la & t->mask, size, value, t->fault);
}
static int write(const struct task *t, u64 la, u32 size, u64 value) {
    return t->bus->write(t->bus->ctx, la & t->mask, size, value, t->fault);
}

static int raise(const struct task *t, u8 vector, u16 selector) {
    *t->fault = (struct insn_fault){.vector = vector, .has_error = true, .error = (selector & 0xfffcu) | t->external};
    return -E_FAULT;
}

/* SDM Vol 3A, Segment Descriptors. */
static struct segment unpack(u16 selector, u64 d) {
    u32 limit = (u32)(bits_get(d, 0, 16) | bits_get(d, 48, 4) << 16);

    return (struct segment){
        .selector = selector,
        .attributes = (u16)(d >> 40 & 0xf0ff),
        .usable = true,
        .limit = d & BIT(55) ? limit << 12 | 0xfff : limit,
        .base = bits_get(d, 16, 24) | bits_get(d, 56, 8) << 24,
    };
}

static int read_descriptor(const struct task *t, u16 selector, u64 *at, u64 *descriptor) {
    const struct segment *table = &t->cpu->seg[selector & SELECTOR_LDT ? VSEG_LDTR : VSEG_GDTR];

    if (!table->usable || (selector | 7u) > table->limit) return raise(t, t->vector, selector);
    *at = table->base + (selector & ~7u);
    return read(t, *at, 8, descriptor);
}

static int load_ldt(const struct task *t, u16 selector) {
    struct segment *ldt = &t->cpu->seg[VSEG_LDTR];
    u64 at, d;
    int error;

    *ldt = (struct segment){.selector = selector, .attributes = 0x82};
    if (!(selector & ~3u)) return 0;
    if (selector & SELECTOR_LDT) return raise(t, t->vector, selector);
    error = read_descriptor(t, selector, &at, &d);
    if (error) return error;
    if ((d >> 40 & 0x9f) != 0x82) return raise(t, t->vector, selector); /* present, an LDT */
    *ldt = unpack(selector, d);
    return 0;
}

/* SDM Vol 3A, table "Exception Conditions Checked During a Task Switch". cpl: the new CS's RPL. */
static bool fits(enum vcpu_seg seg, u32 type, u32 dpl, u32 rpl, u32 cpl) {
    if (!(type & NOT_SYSTEM)) return false;
    if (seg == VSEG_CS) return (type & CODE) && (type & CONFORMING ? dpl <= rpl : dpl == rpl);
    if (seg == VSEG_SS) return !(type & CODE) && (type & WRITABLE) && dpl == cpl && rpl == cpl;
    if ((type & CODE) && !(type & WRITABLE)) return false;
    return (type & (CODE | CONFORMING)) == (CODE | CONFORMING) || dpl >= (rpl > cpl ? rpl : cpl);
}

static int load_segment(const struct task *t, enum vcpu_seg seg, u16 selector, u32 cpl) {
    struct segment *s = &t->cpu->seg[seg];
    u64 at, d;
    int error;

    if (t->cpu->eflags & RFLAGS_VM) {
        *s = (struct segment){selector, 0xf3, true, 0xffff, (u64)selector << 4};
        return 0;
    }
    *s = (struct segment){.selector = selector};
    if (!(selector & ~3u)) return seg == VSEG_CS || seg == VSEG_SS ? raise(t, t->vector, selector) : 0;
    error = read_descriptor(t, selector, &at, &d);
    if (error) return error;
    if (!fits(seg, d >> 40 & 0x1f, d >> 45 & 3, selector & 3u, cpl)) return raise(t, t->vector, selector);
    if (!(d >> 40 & PRESENT)) return raise(t, seg == VSEG_SS ? VEC_SS : VEC_NP, selector);
    *s = unpack(selector, d | (u64)ACCESSED << 40);
    return d >> 40 & ACCESSED ? 0 : write(t, at + 5, 1, (d >> 40 | ACCESSED) & 0xff);
}

int task_load_segment(struct task_cpu *cpu, enum vcpu_seg seg, u16 selector, u32 cpl, bool wide,
                      const struct insn_bus *bus, struct insn_fault *fault) {
    const struct task t = {cpu, bus, fault, VEC_GP, wide ? ~(u64)0 : 0xffffffff, 0};

    if (!wide || seg != VSEG_SS || selector || cpl) return load_segment(&t, seg, selector, cpl);
    cpu->seg[seg] = (struct segment){0}; /* 64-bit mode has no need of a stack segment */
    return 0;
}

/* The old task's registers into its TSS. An IRET leaves its NT flag behind. */
static int save(const struct task *t, const struct task_request *rq) {
    const struct task_cpu *cpu = t->cpu;
    struct layout l = layout_of(cpu->seg[VSEG_TR].attributes);
    u64 at = cpu->seg[VSEG_TR].base + l.eip;
    int error = 0;

    for (u32 i = 0; i < words_of(&l) && !error; i++) {
        u64 value = i == 0   ? rq->return_eip
                    : i == 1 ? (rq->source == TASK_IRET ? cpu->eflags & ~(u32)RFLAGS_NT : cpu->eflags)
                    : i < 10 ? cpu->gpr[i - 2]
                             : cpu->seg[VSEG_ES + i - 10].selector;

        error = write(t, at + i * l.width, i < 10 ? l.width : 2, value);
    }
    return error;
}

/* Busy bits and the link. SDM Vol 3A, table "Effect of a Task Switch on Busy Flag, NT Flag, Previous Task Link Field,
 * and TS Flag". */
static int mark(const struct task *t, const struct task_request *rq, u64 gdt, u64 old, u64 new_tss, u64 type) {
    bool nested = rq->source == TASK_CALL || rq->source == TASK_GATE;
    int error = 0;
    u64 was;

    if (!nested) {
        error = read(t, gdt + (old & ~7u) + 5, 1, &was);
        if (!error) error = write(t, gdt + (old & ~7u) + 5, 1, was & ~TYPE_BUSY);
    } else {
        error = write(t, new_tss, 2, old);
    }
    if (!error && rq->source != TASK_IRET) error = write(t, gdt + (rq->selector & ~7u) + 5, 1, type | TYPE_BUSY);
    return error;
}

/* In the new task: LDT, segments, the error code on its stack. */
static int enter(const struct task *t, const struct task_request *rq, const struct layout *l, const u64 *words) {
    static const enum vcpu_seg order[SEGMENTS] = {VSEG_CS, VSEG_SS, VSEG_ES, VSEG_DS, VSEG_FS, VSEG_GS};
    struct task_cpu *cpu = t->cpu;
    u32 cpl = cpu->eflags & RFLAGS_VM ? 3 : (u32)words[10 + VSEG_CS] & 3, mask;
    int error = load_ldt(t, (u16)words[words_of(l)]);

    for (u32 i = 0; i < SEGMENTS && !error; i++)
        error = load_segment(t, order[i], (u16)(order[i] < l->segments ? words[10 + order[i]] : 0), cpl);
    if (error) return error;
    if (cpu->eip > cpu->seg[VSEG_CS].limit) return raise(t, VEC_GP, 0);
    if (!rq->has_error) return 0;
    mask = cpu->seg[VSEG_SS].attributes & BIG ? ~0u : 0xffffu;
    cpu->gpr[4] = (cpu->gpr[4] & ~mask) | ((cpu->gpr[4] - l->width) & mask);
    return write(t, cpu->seg[VSEG_SS].base + (cpu->gpr[4] & mask), l->width, rq->error);
}

int task_switch(struct task_cpu *cpu, const struct task_request *rq, const struct insn_bus *bus, bool *switched,
                struct insn_fault *fault) {
    const struct task t = {cpu, bus, fault, VEC_TS, 0xffffffff, rq->external};
    u64 gdt = cpu->seg[VSEG_GDTR].base, at, descriptor, words[2 + 8 + SEGMENTS + 1], cr3 = cpu->cr3, trap = 0;
    struct layout l;
    struct segment tss;
    int error = read_descriptor(&t, rq->selector, &at, &descriptor);

    *switched = false;
    if (error) return error;
    tss = unpack(rq->selector, descriptor | (u64)TYPE_BUSY << 40);
    l = layout_of(tss.attributes);
    for (u32 i = 0; i <= words_of(&l) && !error; i++)
        error = read(&t, tss.base + l.eip + i * l.width, i < 10 ? l.width : 2, &words[i]);
    if (!error && l.width == 4) error = read(&t, tss.base + TRAP_AT, 1, &trap);
    if (!error && l.width == 4 && cpu->paging) error = read(&t, tss.base + CR3_AT, 4, &cr3);
    if (!error) error = save(&t, rq);
    if (!error) error = mark(&t, rq, gdt, cpu->seg[VSEG_TR].selector, tss.base, descriptor >> 40 & 0xff);
    if (error) return error;
    *switched = true;
    cpu->seg[VSEG_TR] = tss;
    cpu->cr3 = (u32)cr3;
    cpu->eip = (u32)words[0];
    cpu->eflags = (u32)words[1] | RFLAGS_FIXED;
    if (rq->source == TASK_CALL || rq->source == TASK_GATE) cpu->eflags |= RFLAGS_NT;
    /* A 16-bit TSS leaves the upper halves alone; SDM Vol 3A calls them undefined. */
    for (u32 i = 0; i < 8; i++)
        cpu->gpr[i] = l.width == 4 ? (u32)words[2 + i] : (cpu->gpr[i] & 0xffff0000) | (u16)words[2 + i];
    cpu->debug_trap = trap & 1;
    if (cpu->paging && l.width == 4 && !rq->use_cr3(bus->ctx, cpu->cr3)) return raise(&t, VEC_GP, 0);
    return enter(&t, rq, &l, words);
}
