/* The TOML parser's state and scanner, shared by its own sources: toml.c (structure), toml_string.c
 * and toml_number.c (values). Private to them. Pure. */
#pragma once

#include "core/config/toml.h"

struct toml_parser {
    struct arena *arena;
    struct problems *problems;
    const char *text;
    size_t start, pos, end; /* start: behind the byte-order mark */
    u32 line, column;
    struct config_place behind; /* where the latest value ended */
    bool at_end;                /* the error came from running out of text */
    struct toml_node *root;
    struct toml_node *table; /* of the last header */
    struct toml_node *open;  /* innermost open array or inline table */
    u32 depth;               /* of open ones */
    u32 section;             /* headers so far, plus 1 */
};

/* The byte `ahead` of the position, or -1 behind the end. */
static inline int toml_peek(const struct toml_parser *p, size_t ahead) {
    return ahead < p->end - p->pos ? (u8)p->text[p->pos + ahead] : -1;
}

/* Consumes `bytes`, which must be there. Columns count characters, so UTF-8 continuation bytes do
 * not move them. */
static inline void toml_advance(struct toml_parser *p, size_t bytes) {
    for (; bytes; bytes--) {
        u8 c = (u8)p->text[p->pos++];

        if (c == '\n') {
            p->line++;
            p->column = 1;
        } else if ((c & 0xc0) != 0x80) {
            p->column++;
        }
    }
}

static inline struct config_place toml_here(const struct toml_parser *p) {
    return (struct config_place){p->line, p->column};
}

static inline bool is_digit(int c) { return c >= '0' && c <= '9'; }

/* The value of a digit, or -1. base: up to 16. */
static inline int digit_of(int c, int base) {
    int value = is_digit(c) ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;

    return value < base ? value : -1;
}

/* Consumes a newline (LF or CRLF) if there is one. */
bool toml_newline(struct toml_parser *p);

/* Notes "what\nremedy" and returns -E_INVAL. */
int toml_error(struct toml_parser *p, struct config_place at, const char *text, ...) printf_like(3, 4);
/* Notes that the arena is used up and returns -E_NOMEM. */
int toml_nomem(struct toml_parser *p);

/* The position is at a quote. Stores the decoded text in the arena, ended by NUL. multi: three
 * quotes open a multi-line string. */
int toml_string(struct toml_parser *p, bool multi, const char **text, size_t *length) must_check;
/* Booleans, numbers, dates: anything that is neither quoted nor bracketed. */
int toml_scalar(struct toml_parser *p, struct toml_node *node) must_check;

/* Bytes of `text` before the first that TOML allows nowhere: broken UTF-8 or a control character
 * other than tab, LF and CRLF. */
size_t toml_clean_prefix(const char *text, size_t length);
