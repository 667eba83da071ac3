/* TOML structure: lines, keys, headers, arrays, inline tables, and the rules on what may be defined
 * twice. */
#include "core/config/toml.h"

#include "core/base/errors.h"
#include "core/base/string.h"
#include "core/config/toml_scan.h"

struct key {
    const char *text;
    size_t length;
    struct config_place at;
};

const char *toml_kind_name(enum toml_kind kind) {
    static const char *const names[TOML_KINDS] = {
        [TOML_STRING] = "a string",       [TOML_INTEGER] = "an integer",  [TOML_FLOAT] = "a fraction",
        [TOML_BOOLEAN] = "true or false", [TOML_DATE] = "a date or time", [TOML_ARRAY] = "an array",
        [TOML_TABLE] = "a table",
    };

    return names[kind];
}

int toml_error(struct toml_parser *p, struct config_place at, const char *text, ...) {
    va_list args;

    va_start(args, text);
    problem_add_v(p->problems, at, text, args);
    va_end(args);
    p->at_end = p->pos >= p->end;
    return -E_INVAL;
}

int toml_nomem(struct toml_parser *p) {
    problem_add(p->problems, toml_here(p), CONFIG_NO_MEMORY);
    return -E_NOMEM;
}

struct toml_node *toml_find(const struct toml_node *table, const char *key, size_t length) {
    for (struct toml_node *n = table->first; n; n = n->next)
        if (n->key_length == length && !memcmp(n->key, key, length)) return n;
    return NULL;
}

bool toml_newline(struct toml_parser *p) {
    if (toml_peek(p, 0) == '\n')
        toml_advance(p, 1);
    else if (toml_peek(p, 0) == '\r' && toml_peek(p, 1) == '\n')
        toml_advance(p, 2);
    else
        return false;
    return true;
}

static void skip_space(struct toml_parser *p) {
    while (toml_peek(p, 0) == ' ' || toml_peek(p, 0) == '\t') toml_advance(p, 1);
}

static void skip_comment(struct toml_parser *p) {
    if (toml_peek(p, 0) != '#') return;
    while (toml_peek(p, 0) >= 0 && toml_peek(p, 0) != '\n' && toml_peek(p, 0) != '\r') toml_advance(p, 1);
}

static struct toml_node *append(struct toml_parser *p, struct toml_node *parent, const struct key *key,
                                enum toml_kind kind) {
    struct toml_node *node = arena_alloc(p->arena, sizeof(*node));

    if (!node) return NULL;
    node->kind = kind;
    if (key) {
        node->key = key->text;
        node->key_length = (u32)key->length;
        node->key_at = node->at = key->at;
    }
    if (parent->last)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    parent->count++;
    return node;
}

bool toml_bare(int c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

static int parse_key(struct toml_parser *p, struct key *key) {
    size_t n = 0;
    char *text;

    key->at = toml_here(p);
    if (toml_peek(p, 0) == '"' || toml_peek(p, 0) == '\'') return toml_string(p, false, &key->text, &key->length);
    while (toml_bare(toml_peek(p, n))) n++;
    if (n == 0)
        return toml_error(p, key->at,
                          "a key is missing here\na key is written with letters, digits, - and _, or in quotes");
    text = arena_alloc(p->arena, n + 1);
    if (!text) return toml_nomem(p);
    memcpy(text, p->text + p->pos, n);
    key->text = text;
    key->length = n;
    toml_advance(p, n);
    return 0;
}

static int defined_twice(struct toml_parser *p, const struct key *key, const struct toml_node *earlier) {
    return toml_error(p, key->at, "%s is defined twice\nit is defined on line %u already: keep one, or rename one",
                      problem_quote(key->text, key->length).text, earlier->key_at.line);
}

/* What a key does to the table or array of that name. */
enum step {
    STEP_DOTTED,  /* a part of a dotted key before the last */
    STEP_HEADER,  /* the same of a header: any open table may be entered, and an array stands for its last element */
    STEP_TABLE,   /* the last part of [key]: the table that the next lines fill */
    STEP_ELEMENT, /* of [[key]]: a new element of the array */
};

/* Moves *table to its child `key`, made if need be. A table that a header or an earlier section defined is complete
 * (TOML, Table). */
static int enter(struct toml_parser *p, struct toml_node **table, const struct key *key, enum step step) {
    struct toml_node *child = toml_find(*table, key->text, key->length);
    bool last = step >= STEP_TABLE, is_table, is_array;

    if (!child) child = append(p, *table, key, step == STEP_ELEMENT ? TOML_ARRAY : TOML_TABLE);
    if (!child) return toml_nomem(p);
    is_table = child->kind == TOML_TABLE && !child->closed && step != STEP_ELEMENT;
    is_array = child->kind == TOML_ARRAY && !child->closed && (step == STEP_HEADER || step == STEP_ELEMENT);
    if (!is_table && !is_array && !last)
        return toml_error(p, key->at,
                          "%s cannot take further keys\nline %u gave it a complete value: add the key there",
                          problem_quote(key->text, key->length).text, child->key_at.line);
    if ((!is_table && !is_array) || (step == STEP_TABLE && child->defined) ||
        (step == STEP_DOTTED && child->defined && !(child->dotted && child->defined == p->section)))
        return defined_twice(p, key, child);
    if (step == STEP_ELEMENT)
        child = append(p, child, NULL, TOML_TABLE);
    else if (is_array)
        child = child->last;
    if (!child) return toml_nomem(p);
    if (step != STEP_HEADER) child->defined = p->section;
    if (step == STEP_DOTTED) child->dotted = true;
    if (last) child->key_at = child->at = key->at;
    *table = child;
    return 0;
}

/* Reads a key of one or more parts. *parent: the table that holds, or will hold, the last one. */
static int parse_path(struct toml_parser *p, enum step step, struct toml_node **parent, struct key *last) {
    for (u32 parts = 1;; parts++) {
        int rc = parse_key(p, last);

        if (rc) return rc;
        skip_space(p);
        if (toml_peek(p, 0) != '.') return 0;
        if (parts == TOML_MAX_DEPTH)
            return toml_error(p, toml_here(p), "the key has more than %u parts\nuse fewer dots", TOML_MAX_DEPTH);
        toml_advance(p, 1);
        skip_space(p);
        rc = enter(p, parent, last, step);
        if (rc) return rc;
    }
}

/* Reads a scalar, or opens an array or inline table. */
static int begin_value(struct toml_parser *p, struct toml_node *node) {
    int c = toml_peek(p, 0), rc;

    node->at = toml_here(p);
    if (c != '[' && c != '{') {
        node->kind = TOML_STRING;
        rc = c == '"' || c == '\'' ? toml_string(p, true, &node->text, &node->length) : toml_scalar(p, node);
        p->behind = toml_here(p);
        return rc;
    }
    if (p->depth == TOML_MAX_DEPTH)
        return toml_error(p, node->at, "brackets stand more than %u deep\nuse fewer levels of brackets",
                          TOML_MAX_DEPTH);
    node->kind = c == '[' ? TOML_ARRAY : TOML_TABLE;
    node->closed = true;
    node->outer = p->open;
    p->open = node;
    p->depth++;
    toml_advance(p, 1);
    return 0;
}

/* `key = value` in `table`; the value may stay open. */
static int begin_pair(struct toml_parser *p, struct toml_node *table) {
    struct toml_node *node;
    struct key key;
    int rc = parse_path(p, STEP_DOTTED, &table, &key);

    if (rc) return rc;
    node = toml_find(table, key.text, key.length);
    if (node) return defined_twice(p, &key, node);
    if (toml_peek(p, 0) != '=')
        return toml_error(p, toml_here(p), "= is missing after the key %s\nwrite key = value",
                          problem_quote(key.text, key.length).text);
    toml_advance(p, 1);
    skip_space(p);
    node = append(p, table, &key, TOML_STRING);
    return node ? begin_value(p, node) : toml_nomem(p);
}

/* What stands before the position within the open array or inline table. An inner one that was just
 * closed is a value of the outer one, so one variable serves all levels. */
enum before { BEFORE_NOTHING, BEFORE_VALUE, BEFORE_COMMA };

/* The next value, comma or closing bracket of the open array or inline table. */
static int open_step(struct toml_parser *p, enum before *before) {
    struct toml_node *open = p->open, *node;
    bool array = open->kind == TOML_ARRAY;
    char bracket = array ? ']' : '}';
    int c, rc;

    do {
        skip_space(p);
        if (array) skip_comment(p);
    } while (array && toml_newline(p));
    c = toml_peek(p, 0);
    if (c < 0 && array) return toml_error(p, open->at, "the array is never closed\nwrite ] behind its last value");
    if (!array && (c < 0 || c == '\n' || c == '\r' || c == '#'))
        return toml_error(p, open->at,
                          "the inline table is not closed on its line\nwrite { key = value, ... } on one line");
    if (c == bracket) {
        if (!array && *before == BEFORE_COMMA)
            return toml_error(p, toml_here(p), "no value follows the last comma\nremove the comma before }");
        toml_advance(p, 1);
        p->open = open->outer;
        p->depth--;
        p->behind = toml_here(p);
        *before = BEFORE_VALUE;
        return 0;
    }
    if (c == ',') {
        if (*before != BEFORE_VALUE)
            return toml_error(p, toml_here(p), "there is no value before the comma\nremove the comma");
        toml_advance(p, 1);
        *before = BEFORE_COMMA;
        return 0;
    }
    /* The next thing may stand lines below; what is wrong is that this value is the last. */
    if (*before == BEFORE_VALUE)
        return toml_error(p, p->behind, "a comma or %c is missing\nwrite a comma between two values, or %c to end",
                          bracket, bracket);
    *before = BEFORE_VALUE;
    if (array) {
        node = append(p, open, NULL, TOML_STRING);
        rc = node ? begin_value(p, node) : toml_nomem(p);
    } else {
        rc = begin_pair(p, open);
    }
    if (p->open != open) *before = BEFORE_NOTHING;
    return rc;
}

static int parse_pair(struct toml_parser *p) {
    enum before before = BEFORE_NOTHING;
    int rc = begin_pair(p, p->table);

    while (!rc && p->open) rc = open_step(p, &before);
    return rc;
}

static int parse_header(struct toml_parser *p) {
    bool element = toml_peek(p, 1) == '[';
    struct toml_node *table = p->root;
    struct key key;
    int rc;

    toml_advance(p, element ? 2 : 1);
    p->section++;
    skip_space(p);
    rc = parse_path(p, STEP_HEADER, &table, &key);
    if (rc) return rc;
    if (toml_peek(p, 0) != ']' || (element && toml_peek(p, 1) != ']'))
        return toml_error(p, toml_here(p), "the header is not closed\nclose the header with %s", element ? "]]" : "]");
    /* Define it before the bracket is consumed: an error here is not one of running out of text. */
    rc = enter(p, &table, &key, element ? STEP_ELEMENT : STEP_TABLE);
    p->table = table;
    toml_advance(p, element ? 2 : 1);
    return rc;
}

static int parse_line(struct toml_parser *p) {
    int c, rc = 0;

    skip_space(p);
    c = toml_peek(p, 0);
    if (c == '[')
        rc = parse_header(p);
    else if (c >= 0 && c != '#' && c != '\n' && c != '\r')
        rc = parse_pair(p);
    if (rc) return rc;
    skip_space(p);
    skip_comment(p);
    if (toml_newline(p) || toml_peek(p, 0) < 0) return 0;
    return toml_error(p, toml_here(p),
                      "there is more text after the %s\n"
                      "one key to a line; text stands in quotes, a comment begins with #",
                      c == '[' ? "header" : "value");
}

/* The text is clean up to `clean` only: tell what stands there. */
static int dirty_text(struct toml_parser *p, size_t clean) {
    u8 c = (u8)p->text[clean];

    p->problems->any = false;
    p->pos = p->start;
    p->line = p->column = 1;
    toml_advance(p, clean - p->start);
    return toml_error(p, toml_here(p),
                      c >= 0x80 ? "byte 0x%02x is not UTF-8\nsave the file as UTF-8 text"
                                : "control character 0x%02x in the text\n"
                                  "remove it; in a string write it as an escape such as \\t",
                      c);
}

int toml_parse(struct arena *arena, const char *text, size_t length, struct toml_node **root,
               struct problems *problems) {
    struct toml_parser p = {.arena = arena,
                            .problems = problems,
                            .text = text,
                            .end = toml_clean_prefix(text, length),
                            .line = 1,
                            .column = 1,
                            .section = 1};
    int rc = 0;

    p.root = p.table = arena_alloc(arena, sizeof(*p.root));
    if (!p.root) return toml_nomem(&p);
    p.root->kind = TOML_TABLE;
    p.root->at = toml_here(&p);
    /* Some editors begin a file with a byte-order mark: it means nothing and takes no column. */
    if (p.end >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) p.start = p.pos = 3;
    while (!rc && p.pos < p.end) rc = parse_line(&p);
    /* Text that ends at a dirty byte may well look cut short: the byte is what is wrong. */
    if (p.end < length && (rc == 0 || (rc == -E_INVAL && p.at_end))) rc = dirty_text(&p, p.end);
    *root = p.root;
    return rc;
}
