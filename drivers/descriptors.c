#include "drivers/descriptors.h"

#include "core/base/bits.h"
#include "core/base/layout.h"
#include "core/base/string.h"
#include "core/base/x86.h"

#define VECTORS        256
#define GATE_INTERRUPT 0x8e
#define TSS_IST1       36 /* byte offset of IST1. SDM Vol 3A, figure "64-Bit TSS Format" */
#define TSS_IO_MAP     102

struct gate {
    u16 offset_low, selector;
    u8 ist, type;
    u16 offset_middle;
    u32 offset_high, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "SDM Vol 3A, 64-Bit IDT Gate Descriptors");

struct table_pointer {
    u16 limit;
    u64 base;
} __attribute__((packed));

extern const u8 trap_stubs[]; /* descriptors_stubs.S: one stub each 16 bytes */
void trap_dispatch(struct trap_frame *frame);

static struct gate idt[VECTORS] __attribute__((section(".late"), aligned(16)));
static void (*trap_handler)(struct trap_frame *) __attribute__((section(".late")));

/* Called by the stubs. */
void trap_dispatch(struct trap_frame *frame) { trap_handler(frame); }

void descriptors_setup(void (*on_trap)(struct trap_frame *frame)) {
    trap_handler = on_trap;
    for (u32 v = 0; v < VECTORS; v++) {
        u64 at = (u64)trap_stubs + v * 16;

        idt[v] = (struct gate){
            .offset_low = (u16)at,
            .selector = GDT_CODE,
            .ist = v == VEC_DF, /* a stack overflow must still find a stack */
            .type = GATE_INTERRUPT,
            .offset_middle = (u16)(at >> 16),
            .offset_high = (u32)(at >> 32),
        };
    }
}

void descriptors_drop_fault_stack(void) { idt[VEC_DF].ist = 0; }

void descriptors_load(struct core_descriptors *d, u64 fault_stack) {
    u64 tss = (u64)d->tss;
    struct table_pointer gdt = {sizeof(d->gdt) - 1, (u64)d->gdt}, idtp = {sizeof(idt) - 1, (u64)idt};

    memset(d->tss, 0, sizeof(d->tss));
    memcpy(d->tss + TSS_IST1, &fault_stack, sizeof(fault_stack));
    d->tss[TSS_IO_MAP] = sizeof(d->tss);
    d->gdt[0] = 0;
    d->gdt[1] = 0x00af9b000000ffff; /* 64-bit code, accessed */
    d->gdt[2] = 0x00cf93000000ffff; /* data, accessed */
    d->gdt[3] = (sizeof(d->tss) - 1) | bits_get(tss, 0, 24) << 16 | 0x0000890000000000 | bits_get(tss, 24, 8) << 56;
    d->gdt[4] = tss >> 32;
    __asm__ volatile("lgdt %0\n\t"
                     "lidt %1\n\t"
                     "pushq %2\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1: movl %3, %%eax\n\t"
                     "movl %%eax, %%ds\n\t"
                     "movl %%eax, %%es\n\t"
                     "movl %%eax, %%ss\n\t"
                     "xorl %%eax, %%eax\n\t"
                     "movl %%eax, %%fs\n\t"
                     "movl %%eax, %%gs\n\t"
                     "lldt %%ax\n\t"
                     "movl %4, %%eax\n\t"
                     "ltr %%ax"
                     :
                     : "m"(gdt), "m"(idtp), "i"(GDT_CODE), "i"(GDT_DATA), "i"(GDT_TSS)
                     : "rax", "memory");
}
