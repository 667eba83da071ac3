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
#define CONFIG_MAX_VFS     256
#define CONFIG_MAX_NODE    65535
#define CONFIG_FILE_NAME   "mullion.toml"

struct reader {
    struct arena *arena;
    struct problems problems;
    bool nomem;
    bool lost_table; /* a table was not understood: it may be the one that another key names */
};

/* One of the words that a key takes, and what it stands for. */
struct choice {
    const char *word;
    u32 value;
};

/* How the elements of a list are read; problem: "what is wrong with one\nwhat to write". */
struct list_rule {
    u32 kinds;
    const char *want, *problem;
    bool (*parse)(const struct toml_node *node, struct config_range *out);
    void (*name)(char *out, size_t size, u64 base); /* of one element, for messages */
    u32 count;                                      /* offset of the list's length */
};

/* A key: its type, and what a right line looks like. Offsets are those in the struct of the table that the key stands
 * in. take stores the value at `field`. */
struct key_rule {
    const char *name;
    u32 kinds; /* bits 1 << enum toml_kind */
    const char *want, *example;
    void (*take)(struct reader *r, const struct key_rule *rule, const struct toml_node *node, void *field);
    u32 field, place; /* place: of the value's position in the file; 0: nobody asks */
    bool needed;
    u32 most; /* bytes of a text */
    const struct choice *choices;
    const struct list_rule *list;
};

extern const struct key_rule config_machine_keys[], config_partition_keys[]; /* end with an empty name */

/* Reads every key of a table; `title` is the table as the file spells it. In config.c. */
void config_read_table(struct reader *r, const struct toml_node *table, const char *title, const struct key_rule *rules,
                       void *to);
/* arena_alloc that records failure; the caller stops quietly on NULL. */
void *reader_alloc(struct reader *r, size_t bytes);

/* "512M": a whole number and K, M or G. Sizes beyond CONFIG_MAX_ADDRESS come out as one above it.
 * False if the text is not of that form. */
bool config_parse_size(const char *text, size_t length, u64 *out);

/* A PCI function as ssss:bb:dd.f, or vvvv:dddd#n. In check.c. */
void config_pci_text(char *out, size_t size, u64 function);
/* Everything that takes more than one key to judge. */
void config_cross_check(struct reader *r, const struct config *config);
