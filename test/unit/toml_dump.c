/* A program for test_toml_vs_tomllib.py. Reads documents from standard input, each as a 32-bit
 * length and that many bytes, and answers each with one line: the tree as JSON, or "!" and the
 * error. Floats and dates are {"float": 1} and {"date": 1}; a string is its bytes as characters. */
#include <stdio.h>
#include <stdlib.h>

#include "core/config/toml.h"

static void put_text(const char *text, size_t length) {
    putchar('"');
    for (size_t i = 0; i < length; i++) printf("\\u%04x", (u8)text[i]);
    putchar('"');
}

static void put_scalar(const struct toml_node *n) {
    if (n->kind == TOML_STRING)
        put_text(n->text, n->length);
    else if (n->kind == TOML_INTEGER)
        printf("%lld", (long long)n->integer);
    else if (n->kind == TOML_BOOLEAN)
        fputs(n->boolean ? "true" : "false", stdout);
    else
        fputs(n->kind == TOML_FLOAT ? "{\"float\": 1}" : "{\"date\": 1}", stdout);
}

static bool is_container(const struct toml_node *n) { return n->kind == TOML_ARRAY || n->kind == TOML_TABLE; }

/* A stack of open containers and what is due in each, in place of recursion. */
static void put_tree(const struct toml_node *root) {
    static const struct toml_node *open[8 * TOML_MAX_DEPTH], *due[8 * TOML_MAX_DEPTH];
    u32 depth = 1;

    open[0] = root;
    due[0] = root->first;
    putchar('{');
    while (depth) {
        const struct toml_node *container = open[depth - 1], *n = due[depth - 1];

        if (!n) {
            putchar(container->kind == TOML_ARRAY ? ']' : '}');
            depth--;
            continue;
        }
        due[depth - 1] = n->next;
        if (n != container->first) putchar(',');
        if (n->key) {
            put_text(n->key, n->key_length);
            putchar(':');
        }
        if (!is_container(n)) {
            put_scalar(n);
            continue;
        }
        if (depth == 8 * TOML_MAX_DEPTH) abort();
        putchar(n->kind == TOML_ARRAY ? '[' : '{');
        open[depth] = n;
        due[depth++] = n->first;
    }
    putchar('\n');
}

int main(void) {
    static u8 memory[MIB(1)];
    u32 length;

    while (fread(&length, sizeof(length), 1, stdin) == 1) {
        struct arena arena = {.base = memory, .size = sizeof(memory)};
        struct config_error error = {0};
        struct problems problems = {.first = &error};
        struct toml_node *root;
        char *text = malloc(length ? length : 1);

        if (fread(text, 1, length, stdin) != length) return 1;
        if (toml_parse(&arena, text, length, &root, &problems))
            printf("! %u:%u %s\n", error.line, error.column, error.what);
        else
            put_tree(root);
        fflush(stdout);
        free(text);
    }
    return 0;
}
