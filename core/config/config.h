/* The partition file: text to a checked, immutable table. Pure; the same source serves the
 * hypervisor and tools/mullion-check. Memory comes from an arena that the caller gives, so nothing
 * is bounded by a small array. */
#pragma once

#include "core/base/types.h"
#include "mm/numa.h"

/* A bump allocator over the caller's memory. */
struct arena {
    u8 *base;
    size_t size, used;
};
/* The largest partition file, bytes. An arena of CONFIG_ARENA_BYTES holds
 * what any file of that length can say; a real one, with its comments, needs an eighth of it. */
#define CONFIG_ARENA_BYTES(file_bytes) ((file_bytes)*80 + KIB(4))
#define CONFIG_MAX_BYTES               MIB(1)

/* Zeroed, 16-byte aligned; NULL when the arena is used up. */
void *arena_alloc(struct arena *a, size_t bytes) must_check;

/* A position in the file: line and column from 1, the column in characters. Line 0: not given. */
struct config_place {
    u32 line, column;
};

/* One problem: where it is, what is wrong, what to write instead. line, column: from 1. */
struct config_error {
    u32 line, column;
    char what[160];
    char remedy[256];
};

enum restart_on {
    RESTART_NEVER = 0,
    RESTART_CRASH = 1, /* bits: a crash, or a reset that the guest asked for */
    RESTART_RESET = 2,
};

enum image_format {
    IMAGE_AUTO,
    IMAGE_LINUX,
    IMAGE_ELF,
    IMAGE_FLAT,
    IMAGE_PVH,
    IMAGE_MULTIBOOT,
    IMAGE_MULTIBOOT2,
    IMAGE_FIRMWARE,
};
/* How vCPU 0 starts: interrupts off, flat segments, in long mode the first 4 GiB mapped one to one, else paging off;
 * START_RESET is the state after a processor's reset. */
enum start_mode { START_LONG, START_PROTECTED, START_REAL, START_RESET };

/* An element of a list: a core, ports, PCI functions. */
struct config_range {
    u64 base, bytes;
    struct config_place at;
    u32 gsi; /* of a PCI function: the I/O APIC input of its INTx line, or 0 */
};
/* PCI functions in a range: by address, base is the first one's identity (core/base/pci.h); by vendor and device id, it
 * is this, with which of several, counted from 0, in the low 16 bits. */
#define CONFIG_PCI_DEVICE(vendor, device) ((u64)1 << 63 | (u64)(vendor) << 32 | (u64)(device) << 16)

/* A partition that another one controls. */
struct config_grant {
    const char *name;
    u32 partition; /* its index */
    struct config_place at;
};

/* Places have line 0 for what is not given. */
struct config_partition {
    const char *name; /* letters, digits, '-', '_' */
    struct config_place at;
    struct config_range *cpus; /* host core numbers, in vCPU order */
    u32 cpu_count;
    u64 memory;  /* bytes */
    u64 address; /* host physical base, aligned to 2 MiB, if `fixed` */
    bool fixed;
    u32 node;                              /* where memory shall come from, if node_at is given */
    const char *kernel, *initrd, *cmdline; /* module names; initrd and cmdline may be NULL */
    enum image_format format;
    u64 load_address, entry; /* flat images */
    enum start_mode mode;
    const char **modules; /* besides the initrd */
    u32 module_count;
    u64 debug_exit;             /* port that ends the partition when written, or NEVER */
    struct config_range *ports; /* machine ports passed straight through */
    u32 port_count;
    struct config_range *pci; /* PCI functions passed straight through: see CONFIG_PCI_DEVICE */
    u32 pci_count;
    bool hpet;           /* a high precision event timer */
    u32 dma_unprotected; /* its devices may reach all memory and forge interrupts where no IOMMU prevents it */
    u32 groups_split;    /* an isolation group may be divided between this and another partition that says so */
    u32 reset_optional;  /* functions that cannot be reset are used all the same */
    u32 stop_on_fault;   /* a refused access of its device ends the partition */
    struct config_grant *control; /* those that it controls */
    u32 control_count;
    bool control_all;  /* "*": all others, instead of the list */
    u32 restart_on;    /* RESTART_* bits */
    u32 restart_limit; /* restarts in all; 0: no limit */
    struct config_place memory_at, address_at, kernel_at, initrd_at, modules_at, load_at, entry_at, mode_at,
        debug_exit_at, node_at, control_at;
};

/* Virtual functions that the machine is to have. */
struct config_sriov {
    u64 function; /* identity of the physical function */
    u64 vfs;
    struct config_place at, function_at;
};

struct config {
    u32 console;       /* machine port of the UART, or 0 */
    const char *focus; /* partition that has the keyboard at start, or NULL: the first */
    struct config_place focus_at;
    struct config_sriov *sriov;
    u32 sriov_count;
    struct config_partition *partitions;
    u32 partition_count;
};

/* May partition `by` control partition `which`? Both by index. Never itself. */
static inline bool config_controls(const struct config *config, u32 by, u32 which) {
    const struct config_partition *p = &config->partitions[by];

    if (by == which || !p->control_at.line || p->control_all) return by != which && p->control_all;
    for (u32 i = 0; i < p->control_count; i++)
        if (p->control[i].partition == which) return true;
    return false;
}

/* What the machine offers, for the checks that need it; each part optional (0 or NULL: not
 * checked). */
struct config_machine {
    u32 cpu_count;
    const char *const *modules;
    u32 module_count;
    const char *file; /* which of them is the partition file */
    u32 console;      /* first port of the console that the command line names instead of the file's */
    const struct numa *numa;
};

/* Parses and checks. text: `length` bytes, need not end with NUL. Returns 0 and *out (in the
 * arena), or -E_INVAL or -E_NOMEM with the first problem in *error. */
int config_parse(struct arena *arena, const char *text, size_t length, struct config **out,
                 struct config_error *error) must_check;
/* Checks against a machine. Returns 0 or -E_INVAL with the first problem in *error. */
int config_check_machine(const struct config *config, const struct config_machine *machine,
                         struct config_error *error) must_check;
/* The node that most of a partition's cores are on, of several the one that comes first in `cpus`; NODE_NONE if the
 * machine does not tell. */
u32 config_home_node(const struct config_partition *p, const struct numa *numa);
