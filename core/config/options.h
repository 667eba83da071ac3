/* The hypervisor's own command line: the words behind mullion.elf. Pure. Boot core, before start. */
#pragma once

#include "core/base/log.h"
#include "core/base/types.h"

#define OPTIONS_CONFIG_BYTES 128 /* the name of a module, with its NUL */

/* Where the console is. */
struct console_choice {
    bool given;  /* the command line names one: the partition file has no say */
    bool screen; /* the loader's framebuffer or text screen too */
    enum { UART_NONE, UART_PORT, UART_PCI } uart;
    u32 at; /* UART_PORT: the first port; UART_PCI: the function's identity (core/base/pci.h) */
};

struct boot_options {
    struct console_choice console; /* not given: com1 */
    enum log_level level;
    char config[OPTIONS_CONFIG_BYTES]; /* name of the module that is the partition file */
    u32 cores;                         /* so many are started at most; 0: all */
    bool inventory;                    /* only tell what the machine has */
    bool no_iommu, no_large_pages, no_preemption_timer, no_tsc_deadline, no_x2apic;
};

/* Reads all words, in order; a later one wins, but for console, which adds up. Returns 0, or -E_INVAL with the first
 * mistake in `why`: "what is wrong|what to write". The words without mistakes count all the same. */
int options_parse(const char *cmdline, struct boot_options *out, char *why, size_t why_size) must_check;
