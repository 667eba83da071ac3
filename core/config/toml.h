/* TOML 1.0 text to a tree in an arena, with the position of every key and value. Pure; called by
 * config_parse only. No recursion: open arrays and inline tables are linked outward.
 * Source: TOML v1.0.0 specification, toml.io/en/v1.0.0. */
#pragma once

#include "core/config/config.h"
#include "core/config/problem.h"

#define CONFIG_NO_MEMORY "the file needs more memory than is set aside for it\nshorten the file"

/* Arrays and inline tables within one another, and parts of one dotted key. */
#define TOML_MAX_DEPTH 16

enum toml_kind {
    TOML_STRING,
    TOML_INTEGER,
    TOML_FLOAT, /* checked, value not kept: host code has no floating point */
    TOML_BOOLEAN,
    TOML_DATE, /* any of the four date and time types; checked, value not kept */
    TOML_ARRAY,
    TOML_TABLE,
    TOML_KINDS,
};

struct toml_node {
    enum toml_kind kind;
    bool closed; /* an inline table or array: nothing may be added after its bracket */
    bool dotted; /* a table that dotted keys made */
    u32 defined; /* section that defined this table; 0: only named on the way to another */
    u32 key_length;
    const char *key; /* ends with NUL, and may contain NUL; NULL for array elements */
    struct config_place key_at, at;
    struct toml_node *next;  /* in the parent, in file order */
    struct toml_node *outer; /* while open: the array or inline table around it */
    union {
        s64 integer;
        bool boolean;
        struct {
            const char *text; /* ends with NUL, and may contain NUL */
            size_t length;
        };
        struct {
            struct toml_node *first, *last;
            u32 count;
        };
    };
};

/* Returns 0 and the root table, or -E_INVAL or -E_NOMEM with the first error in *problems. */
int toml_parse(struct arena *arena, const char *text, size_t length, struct toml_node **root,
               struct problems *problems) must_check;
/* The child with this key, or NULL. */
struct toml_node *toml_find(const struct toml_node *table, const char *key, size_t length);
/* One of the characters that a key may have without quotes. */
bool toml_bare(int c);
/* "a string", "an integer", ... */
const char *toml_kind_name(enum toml_kind kind);
