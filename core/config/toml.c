/* TOML structure: lines, keys, headers, arrays, inline tables, and the rules on what may be defined
 * twice. */
#include "core/config/toml.h"

#include "core/base/errors.h"
#include "core/base/fmt.h"
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

int toml_error(struct toml_parser *p, struct config_place at, const char *remedy, const char *what, ...) {
    char text[sizeof(p->problems->first->what)];
    va_list args;

    va_start(args, what);
    fmt_v(text, sizeof(text), what, args);
    va_end(args);
    p->at_end = p->pos >= p->end;
    problem_add(p->problems, at, "%s", text);
    problem_remedy(p->problems, "%s", remedy);
    return -E_INVAL;
}

int toml_nomem(struct toml_parser *p) {
    problem_add(p->problems, toml_here(p), "the file needs more memory than is set aside for it");
    problem_remedy(p->problems, "shorten the file");
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

static struct toml_node *append(struct toml_parser *p, struct toml_node *parent, const struct key *key) {
    struct toml_node *node = arena_alloc(p->arena, sizeof(*node));

    if (!node) return NULL;
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

static bool is_bare(int c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

static int parse_key(struct toml_parser *p, struct key *key) {
    size_t n = 0;
    char *text;

    key->at = toml_here(p);
    if (toml_peek(p, 0) == '"' || toml_peek(p, 0) == '\'') return toml_string(p, false, &key->text, &key->length);
    while (is_bare(toml_peek(p, n))) n++;
    if (n == 0)
        return toml_error(p, key->at, "a key is written with letters, digits, - and _, or in quotes",
                          "a key is missing here");
    text = arena_alloc(p->arena, n + 1);
    if (!text) return toml_nomem(p);
    memcpy(text, p->text + p->pos, n);
    key->text = text;
    key->length = n;
    toml_advance(p, n);
    return 0;
}

static int defined_twice(struct toml_parser *p, const struct key *key, const struct toml_node *earlier) {
    struct quoted q = problem_quote(key->text, key->length);
    int rc = toml_error(p, key->at, "", "%s is defined twice", q.text);

    problem_remedy(p->problems, "it is defined on line %u already: keep one of the two, or rename one",
                   earlier->key_at.line);
    return rc;
}

static int not_a_table(struct toml_parser *p, const struct key *key, const struct toml_node *earlier) {
    struct quoted q = problem_quote(key->text, key->length);
    int rc = toml_error(p, key->at, "", "%s cannot take further keys", q.text);

    problem_remedy(p->problems, "line %u gave it a complete value: add the key there", earlier->key_at.line);
    return rc;
}

/* One step of a dotted key: into the table `key`, made if need be. A table that a header or an
 * earlier section defined is complete (TOML, Table). */
static int step_dotted(struct toml_parser *p, struct toml_node **table, const struct key *key) {
    struct toml_node *child = toml_find(*table, key->text, key->length);

    if (!child) {
        child = append(p, *table, key);
        if (!child) return toml_nomem(p);
        child->kind = TOML_TABLE;
    } else if (child->kind != TOML_TABLE || child->closed) {
        return not_a_table(p, key, child);
    } else if (child->defined && !(child->dotted && child->defined == p->section)) {
        return defined_twice(p, key, child);
    }
    child->dotted = true;
    child->defined = p->section;
    *table = child;
    return 0;
}

/* One step of a header: as above, but any open table may be entered, and an array of tables stands
 * for its last element. */
static int step_header(struct toml_parser *p, struct toml_node **table, const struct key *key) {
    struct toml_node *child = toml_find(*table, key->text, key->length);

    if (!child) {
        child = append(p, *table, key);
        if (!child) return toml_nomem(p);
        child->kind = TOML_TABLE;
    } else if (child->closed || (child->kind != TOML_TABLE && child->kind != TOML_ARRAY)) {
        return not_a_table(p, key, child);
    }
    *table = child->kind == TOML_ARRAY ? child->last : child;
    return 0;
}

/* Reads a key of one or more parts. *parent: the table that holds, or will hold, the last one. */
static int parse_path(struct toml_parser *p, bool header, struct toml_node **parent, struct key *last) {
    for (u32 parts = 1;; parts++) {
        int rc = parse_key(p, last);

        if (rc) return rc;
        skip_space(p);
        if (toml_peek(p, 0) != '.') return 0;
        if (parts == TOML_MAX_DEPTH)
            return toml_error(p, toml_here(p), "use fewer dots", "the key has more than %u parts", TOML_MAX_DEPTH);
        toml_advance(p, 1);
        skip_space(p);
        rc = header ? step_header(p, parent, last) : step_dotted(p, parent, last);
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
        return toml_error(p, node->at, "use fewer levels of brackets", "brackets stand more than %u deep",
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
    int rc = parse_path(p, false, &table, &key);

    if (rc) return rc;
    node = toml_find(table, key.text, key.length);
    if (node) return defined_twice(p, &key, node);
    if (toml_peek(p, 0) != '=')
        return toml_error(p, toml_here(p), "write key = value", "= is missing after the key %s",
                          problem_quote(key.text, key.length).text);
    toml_advance(p, 1);
    skip_space(p);
    node = append(p, table, &key);
    if (!node) return toml_nomem(p);
    return begin_value(p, node);
}

/* What stands before the position within the open array or inline table. An inner one that was just
 * closed is a value of the outer one, so one variable serves all levels. */
enum before { BEFORE_NOTHING, BEFORE_VALUE, BEFORE_COMMA };

static void close_value(struct toml_parser *p, enum before *before) {
    toml_advance(p, 1);
    p->open = p->open->outer;
    p->depth--;
    p->behind = toml_here(p);
    *before = BEFORE_VALUE;
}

/* Takes the comma that must part two values. Returns 1 if it did, 0 if a value is due. */
static int take_comma(struct toml_parser *p, enum before *before, char bracket) {
    bool comma = toml_peek(p, 0) == ',';
    char remedy[] = "write a comma between two values, or ? to end";

    if (comma && *before == BEFORE_VALUE) {
        toml_advance(p, 1);
        *before = BEFORE_COMMA;
        return 1;
    }
    if (comma) return toml_error(p, toml_here(p), "remove the comma", "there is no value before the comma");
    if (*before != BEFORE_VALUE) return 0;
    for (char *c = remedy; *c; c++)
        if (*c == '?') *c = bracket;
    /* The next thing may stand lines below; what is wrong is that this value is the last. */
    return toml_error(p, p->behind, remedy, "a comma or %c is missing", bracket);
}

static int array_step(struct toml_parser *p, enum before *before) {
    struct toml_node *array = p->open, *node;
    int rc;

    do {
        skip_space(p);
        skip_comment(p);
    } while (toml_newline(p));
    if (toml_peek(p, 0) < 0)
        return toml_error(p, array->at, "write ] behind its last value", "the array is never closed");
    if (toml_peek(p, 0) == ']') {
        close_value(p, before);
        return 0;
    }
    rc = take_comma(p, before, ']');
    if (rc) return rc < 0 ? rc : 0;
    node = append(p, array, NULL);
    if (!node) return toml_nomem(p);
    rc = begin_value(p, node);
    *before = p->open == node ? BEFORE_NOTHING : BEFORE_VALUE;
    return rc;
}

static int inline_step(struct toml_parser *p, enum before *before) {
    struct toml_node *table = p->open;
    int rc;

    skip_space(p);
    if (toml_peek(p, 0) < 0 || toml_peek(p, 0) == '\n' || toml_peek(p, 0) == '\r' || toml_peek(p, 0) == '#')
        return toml_error(p, table->at, "write { key = value, ... } on one line",
                          "the inline table is not closed on its line");
    if (toml_peek(p, 0) == '}') {
        if (*before == BEFORE_COMMA)
            return toml_error(p, toml_here(p), "remove the comma before }", "no value follows the last comma");
        close_value(p, before);
        return 0;
    }
    rc = take_comma(p, before, '}');
    if (rc) return rc < 0 ? rc : 0;
    rc = begin_pair(p, table);
    *before = p->open == table ? BEFORE_VALUE : BEFORE_NOTHING;
    return rc;
}

static int parse_pair(struct toml_parser *p) {
    enum before before = BEFORE_NOTHING;
    int rc = begin_pair(p, p->table);

    while (!rc && p->open) rc = p->open->kind == TOML_ARRAY ? array_step(p, &before) : inline_step(p, &before);
    return rc;
}

/* [[key]]: a new element of the array of tables. */
static int add_element(struct toml_parser *p, struct toml_node *parent, const struct key *key) {
    struct toml_node *array = toml_find(parent, key->text, key->length);

    if (!array) {
        array = append(p, parent, key);
        if (!array) return toml_nomem(p);
        array->kind = TOML_ARRAY;
    } else if (array->kind != TOML_ARRAY || array->closed) {
        return defined_twice(p, key, array);
    }
    p->table = append(p, array, NULL);
    if (!p->table) return toml_nomem(p);
    p->table->kind = TOML_TABLE;
    p->table->defined = p->section;
    p->table->key_at = p->table->at = key->at;
    return 0;
}

/* [key]: the table that the next lines fill. */
static int define_table(struct toml_parser *p, struct toml_node *parent, const struct key *key) {
    struct toml_node *table = toml_find(parent, key->text, key->length);

    if (!table) {
        table = append(p, parent, key);
        if (!table) return toml_nomem(p);
        table->kind = TOML_TABLE;
    } else if (table->kind != TOML_TABLE || table->closed || table->defined) {
        return defined_twice(p, key, table);
    }
    table->defined = p->section;
    table->key_at = table->at = key->at;
    p->table = table;
    return 0;
}

static int parse_header(struct toml_parser *p) {
    bool element = toml_peek(p, 1) == '[';
    struct toml_node *parent = p->root;
    struct key key;
    int rc;

    toml_advance(p, element ? 2 : 1);
    p->section++;
    skip_space(p);
    rc = parse_path(p, true, &parent, &key);
    if (rc) return rc;
    if (toml_peek(p, 0) != ']' || (element && toml_peek(p, 1) != ']'))
        return toml_error(p, toml_here(p), element ? "close the header with ]]" : "close the header with ]",
                          "the header is not closed");
    /* Define it before the bracket is consumed: an error here is not one of running out of text. */
    rc = element ? add_element(p, parent, &key) : define_table(p, parent, &key);
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
    return toml_error(p, toml_here(p), "one key to a line; text stands in quotes, a comment begins with #",
                      "there is more text after the %s", c == '[' ? "header" : "value");
}

/* The text is clean up to `clean` only: tell what stands there. */
static int dirty_text(struct toml_parser *p, size_t clean) {
    u8 c = (u8)p->text[clean];

    p->problems->any = false;
    p->pos = p->start;
    p->line = p->column = 1;
    toml_advance(p, clean - p->start);
    if (c >= 0x80) return toml_error(p, toml_here(p), "save the file as UTF-8 text", "byte 0x%02x is not UTF-8", c);
    return toml_error(p, toml_here(p), "remove it; in a string write it as an escape such as \\t",
                      "control character 0x%02x in the text", c);
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
