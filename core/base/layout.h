/* The hypervisor's own address space. Layer 0; also included by assembly, so only defines. */
#pragma once

#define IMAGE_BASE 0xffffffff80000000 /* linker.ld: text, read-only data, data */
#define LOCAL_BASE                                                                                                     \
    0xffffffffa0000000                  /* what is private to a core: the same address on each, other memory behind it \
                                         */
#define DIRECT_BASE  0xffff800000000000 /* physical address + DIRECT_BASE, as far as this core may see it */
#define DIRECT_BYTES 0x7f0000000000     /* so much of physical memory there is room for; a machine may have more */

/* Inside LOCAL_BASE, in pages; what is not named is a guard page. */
#define LOCAL_DATA_PAGES  2
#define LOCAL_STACK_PAGE  4 /* first page of the stack */
#define LOCAL_STACK_PAGES 4
#define LOCAL_FAULT_PAGE  10 /* stack of double fault */
#define LOCAL_STACK_TOP   (LOCAL_BASE + (LOCAL_STACK_PAGE + LOCAL_STACK_PAGES) * 4096)
#define LOCAL_FAULT_TOP   (LOCAL_BASE + (LOCAL_FAULT_PAGE + 1) * 4096)
#define LOCAL_VENDOR_PAGE 12 /* VMXON region or host save area */

#define GDT_CODE 0x08
#define GDT_DATA 0x10
#define GDT_TSS  0x18
