/* The keys of the partition file and how each is read: shared by config.c (tables), values.c
 * (values) and check.c (cross checks). Private to core/config. Pure. */
#pragma once

#include "core/config/problem.h"
#include "core/config/toml.h"

#define CONFIG_MIN_MEMORY MIB(1)
/* No x86-64 processor addresses more: SDM Vol 3A, 4-Level Paging (52 physical bits). */
#define CONFIG_MAX_ADDRESS ((u64)1 << 52)
#define CONFIG_MAX_NAME    31
#define CONFIG_MAX_MODULE  127
#define CONFIG_MAX_CMDLINE 2047 /* Linux x86: COMMAND_LINE_SIZE, with its NUL */
#define CONFIG_MAX_CORE    65535
#define CONFIG_FILE_NAME   "mullion.toml"

struct reader {
    struct arena *arena;
    struct problems problems;
    bool nomem;
    bool lost_table; /* a table was not understood: it may be the one that another key names */
};

/* A key: its type, and what a right line looks like. take stores the value in `to`, the struct of
 * the table that the key stands in. */
struct key_rule {
    const char *name;
    u32 kinds; /* bits 1 << enum toml_kind */
    const char *want, *example;
    void (*take)(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *to);
};

extern const struct key_rule config_machine_keys[], config_partition_keys[];
extern const u32 config_machine_key_count, config_partition_key_count;

/* Reads every key of a table; `title` is the table as the file spells it. In config.c. */
void config_read_table(struct reader *r, const struct toml_node *table, const char *title, const struct key_rule *rules,
                       u32 count, void *to);
/* arena_alloc that records failure; the caller stops quietly on NULL. */
void *reader_alloc(struct reader *r, size_t bytes);

/* "512M": a whole number and K, M or G. Sizes beyond CONFIG_MAX_ADDRESS come out as one above it.
 * False if the text is not of that form. */
bool config_parse_size(const char *text, size_t length, u64 *out);

/* Machine ports of "com1" ... "com4", or 0. In check.c. */
u16 config_console_port(const char *console);
/* A PCI function as ssss:bb:dd.f. In check.c. */
void config_pci_text(char *out, size_t size, u32 function);
/* Everything that takes more than one key to judge. 0 or -E_NOMEM; problems go to r. */
int config_cross_check(struct reader *r, const struct config *config) must_check;
