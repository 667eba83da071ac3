#include "guests/lib/interrupts.h"

#include "core/base/bits.h"
#include "core/base/string.h"
#include "guests/lib/console.h"
#include "guests/lib/cpu.h"
#include "guests/lib/power.h"

#define CODE_SELECTOR 0x10
#define DATA_SELECTOR 0x18
#define TSS_SELECTOR  0x20
#define IST_NMI       1
#define IST_DF        2
#define IST_BYTES     4096
#define GATE          0x8e00u /* present, DPL 0, 64-bit interrupt gate */

struct gate {
    u16 offset0, selector, type, offset16;
    u32 offset32, zero;
};
_Static_assert(sizeof(struct gate) == 16, "SDM Vol 3A, 64-Bit Mode IDT");

struct __attribute__((packed)) table_pointer {
    u16 limit;
    u64 base;
};
_Static_assert(sizeof(struct table_pointer) == 10, "SDM Vol 2A, LGDT/LIDT");

extern char trap_stubs[], plain_stubs[], fault_landing[];
void fault_call(void (*run)(void *), void *argument, u64 *landing_rsp);
void trap_dispatch(struct trap_frame *frame);

static struct gate idt[256];
static interrupt_fn handlers[256];
static struct cpu cpus[MAX_CPUS];
static u8 ist_stacks[MAX_CPUS][2][IST_BYTES] __attribute__((aligned(16)));

const char *exception_name(u32 vector) {
    static const char *const names[] = {
        "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "",    "#TS",
        "#NP", "#SS", "#GP", "#PF", "",    "#MF", "#AC", "#MC", "#XM", "#VE", "#CP",
    };
    return vector < ARRAY_SIZE(names) ? names[vector] : "";
}

static struct gate gate_to(u64 at, u32 ist) {
    return (struct gate){.offset0 = (u16)at,
                         .selector = CODE_SELECTOR,
                         .type = (u16)(GATE | ist),
                         .offset16 = (u16)(at >> 16),
                         .offset32 = (u32)(at >> 32)};
}

void interrupts_init(void) {
    for (u32 i = 0; i < 256; i++)
        idt[i] = gate_to((u64)trap_stubs + i * 16u, i == VEC_NMI ? IST_NMI : i == VEC_DF ? IST_DF : 0);
}

void interrupt_gate_plain(u8 vector) { idt[vector] = gate_to((u64)plain_stubs + vector * 16u, 0); }

static void load_segments(struct cpu *c) {
    struct table_pointer gdt = {sizeof(c->gdt) - 1, (u64)c->gdt};
    struct table_pointer idt_at = {sizeof(idt) - 1, (u64)idt};

    __asm__ volatile("lgdt %0\n\t"
                     "pushq %2\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\tmovw %w3, %%ds\n\t"
                     "movw %w3, %%es\n\t"
                     "movw %w3, %%ss\n\t"
                     "movw %w4, %%fs\n\t"
                     "movw %w4, %%gs\n\t"
                     "ltr %w5\n\t"
                     "lidt %1"
                     :
                     : "m"(gdt), "m"(idt_at), "i"(CODE_SELECTOR), "r"(DATA_SELECTOR), "r"(0), "r"(TSS_SELECTOR)
                     : "rax", "memory");
}

void interrupts_cpu_init(u32 index) {
    struct cpu *c = &cpus[index];
    u64 tss = (u64)c->tss;
    u64 nmi = (u64)ist_stacks[index][0] + IST_BYTES, df = (u64)ist_stacks[index][1] + IST_BYTES;
    u16 no_io_map = sizeof(c->tss);

    memset(c, 0, sizeof(*c));
    c->self = c;
    c->index = index;
    c->gdt[2] = 0x00af9b000000ffff;
    c->gdt[3] = 0x00cf93000000ffff;
    /* 64-bit available TSS: type 9, present. SDM Vol 3A, TSS Descriptor in 64-Bit Mode. */
    c->gdt[4] = (sizeof(c->tss) - 1) | (tss & 0xffffff) << 16 | (u64)0x89 << 40 | (tss >> 24 & 0xff) << 56;
    c->gdt[5] = tss >> 32;
    memcpy(c->tss + 0x24, &nmi, 8);
    memcpy(c->tss + 0x2c, &df, 8);
    memcpy(c->tss + 0x66, &no_io_map, 2);
    load_segments(c);
    wrmsr(MSR_GS_BASE, (u64)c);
}

void interrupt_handler(u8 vector, interrupt_fn handler) {
    __atomic_store_n(&handlers[vector], handler, __ATOMIC_RELEASE);
}

void interrupt_gate_present(u8 vector, bool present) {
    idt[vector].type = (u16)(present ? idt[vector].type | 0x8000 : idt[vector].type & 0x7fff);
}

static noreturn_fn void fatal(const struct trap_frame *f) {
    console_break_lock();
    print("guest: unexpected %s, vector 0x%llx error 0x%llx on cpu %u\n", exception_name((u32)f->vector),
          (unsigned long long)f->vector, (unsigned long long)f->error, this_cpu()->index);
    print("  rip 0x%016lx rflags 0x%lx rsp 0x%016lx cr2 0x%lx cr3 0x%lx\n", f->rip, f->rflags, f->rsp, read_cr2(),
          read_cr3());
    print("  rax 0x%016lx rbx 0x%016lx rcx 0x%016lx rdx 0x%016lx\n", f->rax, f->rbx, f->rcx, f->rdx);
    print("  rsi 0x%016lx rdi 0x%016lx rbp 0x%016lx r8  0x%016lx\n", f->rsi, f->rdi, f->rbp, f->r8);
    print("  r9  0x%016lx r10 0x%016lx r11 0x%016lx r12 0x%016lx\n", f->r9, f->r10, f->r11, f->r12);
    print("  r13 0x%016lx r14 0x%016lx r15 0x%016lx\n", f->r13, f->r14, f->r15);
    power_off();
}

void trap_dispatch(struct trap_frame *frame) {
    struct cpu *c = this_cpu();
    interrupt_fn handler;

    if (frame->vector < 32 && frame->vector != VEC_NMI && c->expected) {
        *c->expected = (struct fault){
            .raised = true, .vector = (u32)frame->vector, .error = frame->error, .cr2 = read_cr2(), .rip = frame->rip};
        frame->rip = (u64)fault_landing;
        frame->rsp = c->landing_rsp;
        frame->rflags &= ~(RFLAGS_TF | RFLAGS_DF | RFLAGS_AC);
        return;
    }
    handler = __atomic_load_n(&handlers[frame->vector], __ATOMIC_ACQUIRE);
    if (!handler) fatal(frame);
    handler(frame);
}

struct fault fault_try(void (*run)(void *), void *argument) {
    struct cpu *c = this_cpu();
    struct fault fault = {0};

    __atomic_store_n(&c->expected, &fault, __ATOMIC_SEQ_CST);
    fault_call(run, argument, &c->landing_rsp);
    __atomic_store_n(&c->expected, NULL, __ATOMIC_SEQ_CST);
    return fault;
}
