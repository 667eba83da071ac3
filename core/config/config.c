/* The partition file's tables: from the TOML tree to struct config. */
#include "core/config/config.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"
#include "core/config/schema.h"

#define NO_PARTITION "the file has no partition\nadd [partition.NAME] with cpus, memory and kernel below it"

void *reader_alloc(struct reader *r, size_t bytes) {
    void *memory = arena_alloc(r->arena, bytes);

    if (!memory) r->nomem = true;
    return memory;
}

static const struct key_rule *find_rule(const struct key_rule *rules, const struct toml_node *key) {
    for (; rules->name; rules++)
        if (strlen(rules->name) == key->key_length && !memcmp(rules->name, key->key, key->key_length)) return rules;
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
static const char *nearest(const struct key_rule *rules, const struct toml_node *key) {
    const char *best = NULL;
    u32 best_distance = ~0u;

    for (; rules->name; rules++) {
        size_t length = strlen(rules->name);
        u32 d = distance(key->key, key->key_length, rules->name, length);

        if (d < best_distance && d <= (length + 2) / 3) {
            best = rules->name;
            best_distance = d;
        }
    }
    return best;
}

static void take_machine(struct reader *r, const struct key_rule *rule, const struct toml_node *table, void *config) {
    config_read_table(r, table, rule->example, config_machine_keys, config);
}

static void take_partitions(struct reader *r, const struct key_rule *rule, const struct toml_node *tables, void *to);

static const struct key_rule file_keys[] = {
    {"machine", 1u << TOML_TABLE, "a table", "[machine]", .take = take_machine},
    {"partition", 1u << TOML_TABLE, "a table with a name", "[partition.NAME]", .take = take_partitions},
    {0},
};

static void unknown_key(struct reader *r, const struct toml_node *key, const char *title,
                        const struct key_rule *rules) {
    struct quoted q = problem_quote(key->key, key->key_length);
    bool elsewhere = find_rule(config_machine_keys, key) || find_rule(config_partition_keys, key);
    const char *guess = elsewhere ? NULL : nearest(rules, key), *advice = "known keys are";
    char list[240];
    size_t n = 0;

    for (u32 i = 0; rules[i].name && n < sizeof(list); i++)
        n += fmt(list + n, sizeof(list) - n, "%s%s", i ? ", " : "", rules[i].name);
    if (guess) {
        advice = "did you mean";
        fmt(list, sizeof(list), "%s?", guess);
    } else if (rules == file_keys && key->kind == TOML_TABLE) {
        advice = "a partition is written";
        fmt(list, sizeof(list), "[partition.%s]", q.text);
    } else if (find_rule(config_machine_keys, key)) {
        advice = "move it under [machine]; known here:";
    } else if (find_rule(config_partition_keys, key)) {
        advice = "move it under [partition.NAME]; known here:";
    }
    problem_add(&r->problems, key->key_at, "%s has no key %s\n%s %s", title, q.text, advice, list);
    if (rules == file_keys) r->lost_table = true;
}

void config_read_table(struct reader *r, const struct toml_node *table, const char *title, const struct key_rule *rules,
                       void *to) {
    for (const struct toml_node *n = table->first; n; n = n->next) {
        const struct key_rule *rule = find_rule(rules, n);

        if (!rule) {
            unknown_key(r, n, title, rules);
        } else if (!(rule->kinds & 1u << n->kind)) {
            problem_add(&r->problems, n->at, "%s must be %s, not %s\nwrite for example %s", rule->name, rule->want,
                        toml_kind_name(n->kind), rule->example);
        } else {
            if (rule->place) *(struct config_place *)(void *)((char *)to + rule->place) = n->at;
            rule->take(r, rule, n, (char *)to + rule->field);
        }
    }
}

static void check_name(struct reader *r, const struct toml_node *table) {
    for (size_t i = 0; i < table->key_length; i++) {
        if (toml_bare(table->key[i])) continue;
        problem_add(&r->problems, table->key_at, "%s is no name for a partition\nuse letters, digits, - and _",
                    problem_quote(table->key, table->key_length).text);
        return;
    }
    if (table->key_length < 1 || table->key_length > CONFIG_MAX_NAME)
        problem_add(&r->problems, table->key_at,
                    "the name of a partition is %u characters long\nuse 1 to %u letters, digits, - and _",
                    table->key_length, CONFIG_MAX_NAME);
}

static void read_partition(struct reader *r, const struct toml_node *table, struct config_partition *p) {
    struct quoted name = problem_quote(table->key, table->key_length);
    u32 before = r->problems.count;
    char title[64];

    p->name = table->key;
    p->at = table->key_at;
    check_name(r, table);
    fmt(title, sizeof(title), "[partition.%s]", name.text);
    config_read_table(r, table, title, config_partition_keys, p);
    /* A key that looks missing may be the one that was misspelled. */
    for (const struct key_rule *rule = config_partition_keys; rule->name && r->problems.count == before; rule++)
        if (rule->needed && !toml_find(table, rule->name, strlen(rule->name)))
            problem_add(&r->problems, table->key_at, "partition %s has no %s\nadd a line such as %s", name.text,
                        rule->name, rule->example);
    /* A wrong format is told already: do not doubt load and entry because of it. */
    if (p->format == IMAGE_AUTO && toml_find(table, "format", strlen("format"))) p->format = IMAGE_FLAT;
    if (!p->load_at.line) p->load_address = MIB(1);
    if (!p->entry_at.line) p->entry = p->load_address;
    if (!p->debug_exit_at.line) p->debug_exit = NEVER;
}

static void take_partitions(struct reader *r, const struct key_rule *rule, const struct toml_node *tables, void *to) {
    struct config *config = to;

    if (tables->count == 0) problem_add(&r->problems, tables->key_at, NO_PARTITION);
    config->partitions = reader_alloc(r, tables->count * sizeof(*config->partitions));
    if (!config->partitions) return;
    for (const struct toml_node *n = tables->first; n; n = n->next) {
        if (n->kind == TOML_TABLE)
            read_partition(r, n, &config->partitions[config->partition_count++]);
        else
            problem_add(&r->problems, n->key_at, "%s is not the table of a partition\nwrite %s and the keys below it",
                        problem_quote(n->key, n->key_length).text, rule->example);
    }
}

int config_parse(struct arena *arena, const char *text, size_t length, struct config **out,
                 struct config_error *error) {
    const struct config_place start = {1, 1};
    struct reader r = {.arena = arena, .problems = {.first = error}};
    struct toml_node *root;
    struct config *config;
    int rc;

    if (length > CONFIG_MAX_BYTES) {
        problem_add(&r.problems, start, "the file is larger than %s\ngive the partition file, a short TOML text",
                    problem_size(CONFIG_MAX_BYTES).text);
        return -E_INVAL;
    }
    rc = toml_parse(arena, text, length, &root, &r.problems);
    if (rc) return rc;
    config = reader_alloc(&r, sizeof(*config));
    if (config) {
        config->console = 0x3f8; /* com1 */
        config_read_table(&r, root, "the file", file_keys, config);
        if (!r.problems.any && !config->partition_count) problem_add(&r.problems, start, NO_PARTITION);
        config_cross_check(&r, config);
    }
    if (r.nomem) {
        r.problems.any = false;
        problem_add(&r.problems, start, CONFIG_NO_MEMORY);
        return -E_NOMEM;
    }
    *out = config;
    return r.problems.any ? -E_INVAL : 0;
}
