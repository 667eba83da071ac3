/* The partition file's tables: from the TOML tree to struct config. */
#include "core/config/config.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"
#include "core/config/schema.h"

void *reader_alloc(struct reader *r, size_t bytes) {
    void *memory = arena_alloc(r->arena, bytes);

    if (!memory) r->nomem = true;
    return memory;
}

static const struct key_rule *find_rule(const struct key_rule *rules, u32 count, const char *key, size_t length) {
    for (u32 i = 0; i < count; i++)
        if (strlen(rules[i].name) == length && !memcmp(rules[i].name, key, length)) return &rules[i];
    return NULL;
}

/* Edit distance: characters to insert, delete or replace. Keys longer than the table are far from
 * every known one. */
static u32 distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    u32 row[17];

    if (a_length > 16 || b_length > 16) return ~0u;
    for (u32 j = 0; j <= b_length; j++) row[j] = j;
    for (u32 i = 1; i <= a_length; i++) {
        u32 diagonal = row[0];

        row[0] = i;
        for (u32 j = 1; j <= b_length; j++) {
            u64 replaced = diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u);

            diagonal = row[j];
            row[j] = (u32)min_u64(replaced, min_u64(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_length];
}

/* The known key that the writer most likely meant, or NULL. Up to a third of it may be wrong. */
static const char *nearest(const struct key_rule *rules, u32 count, const struct toml_node *key) {
    const char *best = NULL;
    u32 best_distance = ~0u;

    for (u32 i = 0; i < count; i++) {
        size_t length = strlen(rules[i].name);
        u32 d = distance(key->key, key->key_length, rules[i].name, length);

        if (d < best_distance && d <= (length + 2) / 3) {
            best = rules[i].name;
            best_distance = d;
        }
    }
    return best;
}

static void unknown_key(struct reader *r, const struct toml_node *key, const char *title, const struct key_rule *rules,
                        u32 count) {
    const char *guess = nearest(rules, count, key);
    char list[128];
    size_t n = 0;

    problem_add(&r->problems, key->key_at, "%s has no key %s", title, problem_quote(key->key, key->key_length).text);
    for (u32 i = 0; i < count && n < sizeof(list); i++)
        n += fmt(list + n, sizeof(list) - n, "%s%s", i ? ", " : "", rules[i].name);
    if (guess)
        problem_remedy(&r->problems, "did you mean %s?", guess);
    else if (find_rule(config_machine_keys, config_machine_key_count, key->key, key->key_length))
        problem_remedy(&r->problems, "move it under [machine]; known here: %s", list);
    else if (find_rule(config_partition_keys, config_partition_key_count, key->key, key->key_length))
        problem_remedy(&r->problems, "move it under [partition.NAME]; known here: %s", list);
    else
        problem_remedy(&r->problems, "known keys are %s", list);
}

void config_read_table(struct reader *r, const struct toml_node *table, const char *title, const struct key_rule *rules,
                       u32 count, void *to) {
    for (const struct toml_node *n = table->first; n; n = n->next) {
        const struct key_rule *rule = find_rule(rules, count, n->key, n->key_length);

        if (!rule) {
            unknown_key(r, n, title, rules, count);
        } else if (!(rule->kinds & 1u << n->kind)) {
            problem_add(&r->problems, n->at, "%s must be %s, not %s", rule->name, rule->want, toml_kind_name(n->kind));
            problem_remedy(&r->problems, "write for example %s", rule->example);
        } else {
            rule->take(r, rule, n, to);
        }
    }
}

static void check_name(struct reader *r, const struct toml_node *table) {
    size_t length = table->key_length;

    for (size_t i = 0; i < length; i++) {
        char c = table->key[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
            continue;
        problem_add(&r->problems, table->key_at, "%s is no name for a partition",
                    problem_quote(table->key, length).text);
        problem_remedy(&r->problems, "use letters, digits, - and _");
        return;
    }
    if (length >= 1 && length <= CONFIG_MAX_NAME) return;
    problem_add(&r->problems, table->key_at, "the name of a partition is %zu characters long", length);
    problem_remedy(&r->problems, "use 1 to %u letters, digits, - and _", CONFIG_MAX_NAME);
}

/* Keys that every partition needs: the place of what is missing is the partition's name. */
static void check_present(struct reader *r, const struct toml_node *table) {
    static const char *const needed[] = {"cpus", "memory", "kernel"};

    for (u32 i = 0; i < ARRAY_SIZE(needed); i++) {
        const struct key_rule *rule =
            find_rule(config_partition_keys, config_partition_key_count, needed[i], strlen(needed[i]));

        /* The rule is always found; the analyser does not know. */
        if (!rule || toml_find(table, needed[i], strlen(needed[i]))) continue;
        problem_add(&r->problems, table->key_at, "partition %s has no %s",
                    problem_quote(table->key, table->key_length).text, needed[i]);
        problem_remedy(&r->problems, "add a line such as %s", rule->example);
    }
}

static void read_partition(struct reader *r, const struct toml_node *table, struct config_partition *p) {
    u32 before = r->problems.count;
    char title[64];

    p->name = table->key;
    p->at = table->key_at;
    p->line = table->key_at.line;
    check_name(r, table);
    fmt(title, sizeof(title), "[partition.%s]", problem_quote(table->key, table->key_length).text);
    config_read_table(r, table, title, config_partition_keys, config_partition_key_count, p);
    /* A key that looks missing may be the one that was misspelled. */
    if (r->problems.count == before) check_present(r, table);
    /* A wrong format is told already: do not doubt load and entry because of it. */
    if (p->format == IMAGE_AUTO && toml_find(table, "format", strlen("format"))) p->format = IMAGE_FLAT;
    if (!p->load_at.line) p->load_address = MIB(1);
    if (!p->entry_at.line) p->entry = p->load_address;
}

static void read_partitions(struct reader *r, const struct toml_node *tables, struct config *config) {
    if (tables->kind != TOML_TABLE) {
        problem_add(&r->problems, tables->key_at, "partition must be a table with a name");
        problem_remedy(&r->problems, "write [partition.NAME]");
        return;
    }
    if (tables->count == 0) return;
    config->partitions = reader_alloc(r, tables->count * sizeof(*config->partitions));
    if (!config->partitions) return;
    for (const struct toml_node *n = tables->first; n; n = n->next) {
        if (n->kind == TOML_TABLE) {
            read_partition(r, n, &config->partitions[config->partition_count++]);
            continue;
        }
        problem_add(&r->problems, n->key_at, "%s is not the table of a partition",
                    problem_quote(n->key, n->key_length).text);
        problem_remedy(&r->problems, "write [partition.NAME] and the keys below it");
    }
}

static void read_machine(struct reader *r, const struct toml_node *table, struct config *config) {
    if (table->kind == TOML_TABLE) {
        config_read_table(r, table, "[machine]", config_machine_keys, config_machine_key_count, config);
        return;
    }
    problem_add(&r->problems, table->key_at, "machine must be a table");
    problem_remedy(&r->problems, "write [machine] and its keys below it");
}

static void read_document(struct reader *r, const struct toml_node *root, struct config *config) {
    static const struct key_rule tables[] = {{.name = "machine"}, {.name = "partition"}};
    const struct toml_node *partitions = NULL;

    for (const struct toml_node *n = root->first; n; n = n->next) {
        const struct key_rule *rule = find_rule(tables, ARRAY_SIZE(tables), n->key, n->key_length);

        if (rule == &tables[0]) {
            read_machine(r, n, config);
        } else if (rule == &tables[1]) {
            partitions = n;
            read_partitions(r, n, config);
        } else {
            r->lost_table = true;
            unknown_key(r, n, "the file", tables, ARRAY_SIZE(tables));
            if (n->kind == TOML_TABLE && !nearest(tables, ARRAY_SIZE(tables), n))
                problem_remedy(&r->problems, "a partition is written [partition.%s]",
                               problem_quote(n->key, n->key_length).text);
        }
    }
    if (r->problems.count || (partitions && partitions->count)) return;
    problem_add(&r->problems, partitions ? partitions->key_at : (struct config_place){1, 1},
                "the file has no partition");
    problem_remedy(&r->problems, "add [partition.NAME] with cpus, memory and kernel below it");
}

static int fail_nomem(struct config_error *error) {
    struct problems p = {.first = error};

    problem_add(&p, (struct config_place){1, 1}, "the file needs more memory than is set aside for it");
    problem_remedy(&p, "shorten the file");
    return -E_NOMEM;
}

int config_parse(struct arena *arena, const char *text, size_t length, struct config **out,
                 struct config_error *error) {
    struct reader r = {.arena = arena, .problems = {.first = error}};
    struct toml_node *root;
    struct config *config;
    int rc;

    if (length > CONFIG_MAX_BYTES) {
        problem_add(&r.problems, (struct config_place){1, 1}, "the file is larger than %s",
                    problem_size(CONFIG_MAX_BYTES).text);
        problem_remedy(&r.problems, "give the partition file, a short TOML text");
        return -E_INVAL;
    }
    rc = toml_parse(arena, text, length, &root, &r.problems);
    if (rc) return rc;
    config = reader_alloc(&r, sizeof(*config));
    if (!config) return fail_nomem(error);
    config->console = "com1";
    read_document(&r, root, config);
    if (r.nomem || config_cross_check(&r, config)) return fail_nomem(error);
    if (r.problems.any) return -E_INVAL;
    *out = config;
    return 0;
}
