/* What a machine has, out of the text that the boot parameter mullion.inventory prints. */
#pragma once

#include "core/base/pci.h"
#include "core/config/config.h"
#include "mm/frames.h"
#include "mm/numa.h"

struct inventory_function {
    u32 id, group, class_code;
    u16 vendor, device;
    bool msi, msix, flr, pm_reset, bridge;
    char kind[24];
    u32 owner;                        /* partition + 1; 0: nobody. By inventory_check */
    const struct config_range *grant; /* what gave it away */
};

/* Cores with the same number are threads of one physical core; PHYSICAL_UNKNOWN: the inventory does not tell. */
#define PHYSICAL_UNKNOWN 0xffffffffu

struct inventory {
    u32 core_count;
    u32 *physical; /* by core number */
    struct numa numa;
    struct frame_range *memory; /* free for partitions, sorted */
    u32 memory_count;
    bool iommu, interrupts; /* there is an IOMMU; it remaps interrupts */
    char iommu_text[160];   /* its name, or why there is none */
    char vendor[120];
    struct inventory_function *functions;
    u32 function_count;
};

/* Where a partition's memory would come to lie. */
struct placement {
    struct piece *pieces;
    u32 count;
};

/* Reads the text; memory comes from the arena, ARENA bytes of which always do. Returns 0, or -E_INVAL with what is
 * wrong in *error (line 0: the text is no inventory at all). */
#define INVENTORY_ARENA_BYTES(text_bytes) ((text_bytes)*32 + KIB(64))
int inventory_parse(struct arena *arena, const char *text, size_t length, struct inventory **out,
                    struct config_error *error) must_check;
/* Called for each thing that is legal but unwise. */
struct warnings {
    void (*say)(void *ctx, const struct config_error *warning);
    void *ctx;
};

/* A partition file against the machine: fills owners and places[partition]. Returns 0, or -E_INVAL with the first
 * mistake in the file in *error. */
int inventory_check(struct inventory *machine, const struct config *config, struct arena *arena,
                    struct placement *places, struct config_error *error) must_check;
/* What is legal but unwise, in a file without mistakes. machine and places may be NULL: then only
 * what the file itself tells. */
void inventory_warn(const struct inventory *machine, const struct config *config, const struct placement *places,
                    const struct warnings *out);
/* The physical core that this core is a thread of, or PHYSICAL_UNKNOWN. */
u32 inventory_physical(const struct inventory *m, u64 core);
/* 00:03.0, with the segment in front if it is not 0. */
void inventory_name(char *out, size_t size, u32 id);
/* What carries or translates the traffic of others, which nobody can own. */
bool inventory_shared(const struct inventory_function *f);
