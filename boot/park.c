/* Where a core waits for its own page tables: code that is mapped before and after the change, unlike the rest of boot.
 */
#include "boot/boot.h"

/* The start stack belongs to the next core as soon as `*arrived` is set: from that store on, this core touches no stack
 * until it is released with one of its own. */
void boot_park(struct boot_core *slot, u32 core, u32 *arrived) {
    __asm__ volatile("movl %k[core], (%[arrived])\n\t"
                     "1: pause\n\t"
                     "cmpb $0, %c[go](%[slot])\n\t"
                     "je 1b\n\t"
                     "movq %c[cr3](%[slot]), %%rax\n\t"
                     "movq %c[stack](%[slot]), %%rdx\n\t"
                     "movq %c[entry](%[slot]), %%rcx\n\t"
                     "movq %%rax, %%cr3\n\t"
                     "movq %%rdx, %%rsp\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "pushq $0\n\t"
                     "jmpq *%%rcx"
                     :
                     : [arrived] "r"(arrived), [core] "D"((u64)core), [slot] "S"(slot),
                       [go] "i"(offsetof(struct boot_core, go)), [cr3] "i"(offsetof(struct boot_core, cr3)),
                       [stack] "i"(offsetof(struct boot_core, stack)), [entry] "i"(offsetof(struct boot_core, entry))
                     : "memory", "cc");
    __builtin_unreachable();
}
