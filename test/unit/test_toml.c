/* core/config/toml*.c: every value type, key form and rule of TOML 1.0, and the exact place of each
 * mistake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/config/toml.h"

static u8 memory[KIB(256)];
static struct config_error error;

static int parse_bytes(const char *text, size_t length, struct toml_node **root) {
    struct arena arena = {.base = memory, .size = sizeof(memory)};
    struct problems problems = {.first = &error};
    /* An exact copy on the heap, so that ASan sees a read behind the end. */
    char *copy = malloc(length ? length : 1);
    int rc;

    memset(&error, 0, sizeof(error));
    memcpy(copy, text, length);
    rc = toml_parse(&arena, copy, length, root, &problems);
    free(copy);
    return rc;
}

static struct toml_node *parse(const char *text) {
    struct toml_node *root = NULL;
    int rc = parse_bytes(text, strlen(text), &root);

    if (rc) fail_msg("%u:%u: %s in: %s", error.line, error.column, error.what, text);
    return root;
}

static struct toml_node *get(struct toml_node *table, const char *key) {
    struct toml_node *n = toml_find(table, key, strlen(key));

    if (!n) fail_msg("no key %s", key);
    return n;
}

static void check_string(const char *text, const char *value, size_t length) {
    struct toml_node *n = get(parse(text), "a");

    assert_int_equal(TOML_STRING, n->kind);
    assert_int_equal(length, n->length);
    assert_memory_equal(value, n->text, length + 1);
}
#define STRING(text, value) check_string(text, value, sizeof(value) - 1)

static void test_strings(void **state) {
    (void)state;
    STRING("a = \"\"", "");
    STRING("a = ''", "");
    STRING("a = \"b c # d\" # e", "b c # d");
    STRING("a = \"\\b\\t\\n\\f\\r\\\"\\\\\"", "\b\t\n\f\r\"\\");
    STRING("a = \"\\u0041\\u00e9\\u20ac\\U0001F600\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    STRING("a = \"\\u0000x\"", "\0x");
    STRING("a = 'C:\\n\\\"'", "C:\\n\\\"");
    STRING("a = \"\xc3\xa9\"", "\xc3\xa9");
    STRING("a = \"\"\"\"\"\"", "");
    STRING("a = ''''''", "");
    STRING("a = \"\"\"\nb\nc\"\"\"", "b\nc");
    STRING("a = \"\"\"\r\nb\r\nc\"\"\"", "b\nc");
    STRING("a = \"\"\"b \\\n   \n\t c\"\"\"", "b c");
    STRING("a = \"\"\"b \\  \r\n  c\"\"\"", "b c");
    STRING("a = \"\"\"\\\n\"\"\"", "");
    STRING("a = \"\"\"a\"b\"\"c\"\"\"\"\"", "a\"b\"\"c\"\"");
    STRING("a = \"\"\"\"\"a\\\"\"\"\"", "\"\"a\"");
    STRING("a = '''\n\\'x''y''''", "\\'x''y'");
    STRING("a = '''\nb\\\n c'''", "b\\\n c");
}

static void check_integer(const char *text, s64 value) {
    struct toml_node *n = get(parse(text), "a");

    assert_int_equal(TOML_INTEGER, n->kind);
    assert_true(value == n->integer);
}

static void check_kind(const char *text, enum toml_kind kind) {
    struct toml_node *n = get(parse(text), "a");

    if (n->kind != kind) fail_msg("%s is %s", text, toml_kind_name(n->kind));
}

static void test_scalars(void **state) {
    static const char *const floats[] = {"1.0",       "+1.5",        "-0.01", "5e+22", "1e06", "-2E-2", "0e0",  "0.0",
                                         "6.626e-34", "1_0.0_1e1_0", "inf",   "+inf",  "-inf", "nan",   "+nan", "-nan"};
    static const char *const dates[] = {"1979-05-27T07:32:00Z",
                                        "1979-05-27t07:32:00z",
                                        "1979-05-27 07:32:00.999-07:30",
                                        "1979-05-27T00:32:00",
                                        "1979-05-27",
                                        "2000-02-29",
                                        "2024-02-29",
                                        "07:32:00",
                                        "23:59:60.5"};
    char text[64];

    (void)state;
    check_integer("a = 0", 0);
    check_integer("a = +99", 99);
    check_integer("a = -17", -17);
    check_integer("a = +0", 0);
    check_integer("a = -0", 0);
    check_integer("a = 1_000_0", 10000);
    check_integer("a = 0xDEAD_beef", 0xdeadbeef);
    check_integer("a = 0x00ff", 0xff);
    check_integer("a = 0o755", 0755);
    check_integer("a = 0b1101_0", 26);
    check_integer("a = 9223372036854775807", INT64_MAX);
    check_integer("a = -9223372036854775808", INT64_MIN);
    check_integer("a=1#comment", 1);
    for (u32 i = 0; i < ARRAY_SIZE(floats); i++) {
        snprintf(text, sizeof(text), "a = %s\n", floats[i]);
        check_kind(text, TOML_FLOAT);
    }
    for (u32 i = 0; i < ARRAY_SIZE(dates); i++) {
        snprintf(text, sizeof(text), "a = %s # day\n", dates[i]);
        check_kind(text, TOML_DATE);
    }
    assert_true(get(parse("a = true"), "a")->boolean);
    assert_false(get(parse("a = false"), "a")->boolean);
}

static void test_keys(void **state) {
    struct toml_node *root = parse("bare_key-1 = 1\n1234 = 2\n\"q x\" = 3\n'l\"t' = 4\n\"\" = 5\n"
                                   "x . \"y.z\" .\t'w' = 6\nx.v = 7\n-=8");

    (void)state;
    assert_int_equal(1, get(root, "bare_key-1")->integer);
    assert_int_equal(2, get(root, "1234")->integer);
    assert_int_equal(3, get(root, "q x")->integer);
    assert_int_equal(4, get(root, "l\"t")->integer);
    assert_int_equal(5, get(root, "")->integer);
    assert_int_equal(6, get(get(get(root, "x"), "y.z"), "w")->integer);
    assert_int_equal(7, get(get(root, "x"), "v")->integer);
    assert_int_equal(8, get(root, "-")->integer);
    root = parse("3.14159 = \"pi\"");
    assert_int_equal(TOML_STRING, get(get(root, "3"), "14159")->kind);
}

static void test_containers(void **state) {
    struct toml_node *root, *n;

    (void)state;
    n = get(parse("a = [ [1, 2,], # one\n\n [\"x\"] \r\n, { b.c = [3], d = {} } , ]"), "a");
    assert_int_equal(3, n->count);
    assert_int_equal(2, n->first->count);
    assert_int_equal(2, n->first->last->integer);
    n = n->last;
    assert_int_equal(TOML_TABLE, n->kind);
    assert_int_equal(3, get(get(n, "b"), "c")->first->integer);
    assert_int_equal(0, get(n, "d")->count);
    assert_int_equal(0, get(parse("a = []"), "a")->count);
    root = parse("[a.b.c]\nx=1\n[a]\ny=2\n[a.d]\n[[l]]\nv=1\n[l.sub]\nw=2\n[[l]]\nv=3\n[[l.m]]\n");
    assert_int_equal(1, get(get(get(get(root, "a"), "b"), "c"), "x")->integer);
    assert_int_equal(2, get(get(root, "a"), "y")->integer);
    n = get(root, "l");
    assert_int_equal(2, n->count);
    assert_int_equal(2, get(get(n->first, "sub"), "w")->integer);
    assert_int_equal(3, get(n->last, "v")->integer);
    assert_int_equal(1, get(n->last, "m")->count);
    /* Keys set by dots leave room for tables below them. */
    parse("[fruit]\napple.color=1\napple.taste.sweet=true\n[fruit.apple.texture]\nsmooth=true");
    /* A table only named on the way may still be filled by dots. */
    parse("[a.b.c]\nz=9\n[a]\nb.x=1");
    parse("");
    parse("# only a comment");
    parse("\n\r\n \t\n");
}

static void test_positions(void **state) {
    struct toml_node *root = parse("\xef\xbb\xbfx = 1\n# \xc3\xa9\n[ t.\"\xc3\xa9\" ]\n"
                                   "\t\"\xc3\xa9\xc3\xa9\" = [ 10,\r\n  {k = 'v'} ]\n");
    struct toml_node *n;

    (void)state;
    n = get(root, "x");
    assert_int_equal(1, n->key_at.line);
    assert_int_equal(1, n->key_at.column);
    assert_int_equal(5, n->at.column);
    n = get(get(root, "t"), "\xc3\xa9");
    assert_int_equal(3, n->key_at.line);
    assert_int_equal(5, n->key_at.column);
    n = get(n, "\xc3\xa9\xc3\xa9");
    assert_int_equal(4, n->at.line);
    assert_int_equal(2, n->key_at.column);
    assert_int_equal(9, n->at.column);
    assert_int_equal(11, n->first->at.column);
    n = get(n->last, "k");
    assert_int_equal(5, n->key_at.line);
    assert_int_equal(4, n->key_at.column);
    assert_int_equal(8, n->at.column);
}

struct mistake {
    const char *text;
    u32 line, column;
    const char *what;
};

static void check_mistakes(const struct mistake *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct mistake *m = &list[i];
        struct toml_node *root;
        int rc = parse_bytes(m->text, strlen(m->text), &root);

        if (rc != -E_INVAL) fail_msg("accepted: %s", m->text);
        if (error.line != m->line || error.column != m->column || !strstr(error.what, m->what))
            fail_msg("%u:%u: %s, not %u:%u: %s, in: %s", error.line, error.column, error.what, m->line, m->column,
                     m->what, m->text);
        if (!error.remedy[0]) fail_msg("no remedy: %s", m->text);
    }
}

static void test_bad_syntax(void **state) {
    static const struct mistake list[] = {
        {"a", 1, 2, "= is missing after the key a"},
        {"a b = 1", 1, 3, "= is missing"},
        {"x=1\n= 1", 2, 1, "a key is missing"},
        {"a. = 1", 1, 4, "a key is missing"},
        {".a = 1", 1, 1, "a key is missing"},
        {"a..b = 1", 1, 3, "a key is missing"},
        {"\"\"\"a\"\"\" = 1", 1, 3, "= is missing"},
        {"\xc3\xa9 = 1", 1, 1, "a key is missing"},
        {"a =", 1, 4, "the value is missing"},
        {"a = # b", 1, 5, "the value is missing"},
        {"a = \nb = 1", 1, 5, "the value is missing"},
        {"a = = 1", 1, 5, "the value is missing"},
        {"a = 1 2", 1, 7, "more text after the value"},
        {"a = 1,5", 1, 6, "more text after the value"},
        {"a = 1 b = 2", 1, 7, "more text after the value"},
        {"a = \"b\" c", 1, 9, "more text after the value"},
        {"a = 'b''c'", 1, 8, "more text after the value"},
        {"[a", 1, 3, "the header is not closed"},
        {"[a\n]", 1, 3, "the header is not closed"},
        {"[]", 1, 2, "a key is missing"},
        {"[a.]", 1, 4, "a key is missing"},
        {"[[a]", 1, 4, "the header is not closed"},
        {"[[a] ]", 1, 4, "the header is not closed"},
        {"[ [a]]", 1, 3, "a key is missing"},
        {"[a]]", 1, 4, "more text after the header"},
        {"[a] b = 1", 1, 5, "more text after the header"},
        {"a = [1, 2", 1, 5, "the array is never closed"},
        {"a = [1 2]", 1, 7, "a comma or ] is missing"},
        {"a = [1, 2\nb = 3", 1, 10, "a comma or ] is missing"},
        {"a = [[1]\n# c\n[2]]", 1, 9, "a comma or ] is missing"},
        {"a = [,1]", 1, 6, "no value before the comma"},
        {"a = [1,,2]", 1, 8, "no value before the comma"},
        {"a = [1}", 1, 7, "a comma or ] is missing"},
        {"a = [}", 1, 6, "the value is missing"},
        {"a = ]", 1, 5, "the value is missing"},
        {"a = {b = 1", 1, 5, "the inline table is not closed"},
        {"a = {b = 1,\nc = 2}", 1, 5, "the inline table is not closed"},
        {"a = {b = 1 # c\n}", 1, 5, "the inline table is not closed"},
        {"a = {b = 1,}", 1, 12, "no value follows the last comma"},
        {"a = {,}", 1, 6, "no value before the comma"},
        {"a = {b = 1 c = 2}", 1, 11, "a comma or } is missing"},
        {"a = {b}", 1, 7, "= is missing"},
        {"a = {b = [}", 1, 11, "the value is missing"},
        {"a = {b = 1]", 1, 11, "a comma or } is missing"},
        {"a=[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", 1, 19, "more than 16 deep"},
        {"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a=1", 1, 32, "more than 16 parts"},
    };

    (void)state;
    check_mistakes(list, ARRAY_SIZE(list));
    parse("a=[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]\nb.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a=1");
}

static void test_bad_strings(void **state) {
    static const struct mistake list[] = {
        {"a = \"b", 1, 5, "not closed on its line"},
        {"a = \"b\nc\"", 1, 5, "not closed on its line"},
        {"a = 'b\r\nc'", 1, 5, "not closed on its line"},
        {"a = \"b\\\"", 1, 5, "not closed on its line"},
        {"a = \"b\\", 1, 7, "unknown escape"},
        {"\"a\nb\" = 1", 1, 1, "not closed on its line"},
        {"a = \"\"\"b\n", 1, 5, "never closed"},
        {"a = '''b''\n", 1, 5, "never closed"},
        {"a = \"\"\"b\\", 1, 9, "unknown escape"},
        {"a = \"\\x41\"", 1, 6, "unknown escape"},
        {"a = \"b\\ c\"", 1, 7, "unknown escape"},
        {"a = \"\\\n\"", 1, 6, "unknown escape"},
        {"a = \"\"\"b\\ c\"\"\"", 1, 9, "unknown escape"},
        {"a = \"\\u12\"", 1, 6, "needs 4 hexadecimal digits"},
        {"a = \"\\U0001F60\"", 1, 6, "needs 8 hexadecimal digits"},
        {"a = \"\\ud800\"", 1, 6, "no Unicode character"},
        {"a = \"\\U00110000\"", 1, 6, "no Unicode character"},
        {"a = \"b\x01\"", 1, 7, "control character 0x01"},
        {"a = 'b\x7f'", 1, 7, "control character 0x7f"},
        {"# \x1b", 1, 3, "control character 0x1b"},
        {"a = 1\n\rb = 2", 2, 1, "control character 0x0d"},
        {"a = 1\r", 1, 6, "control character 0x0d"},
        {"# \xff", 1, 3, "0xff is not UTF-8"},
        {"# \xc3\xa9\x80", 1, 4, "0x80 is not UTF-8"},
        {"# \xc0\xaf", 1, 3, "0xc0 is not UTF-8"},
        {"# \xe0\x80\xaf", 1, 3, "0xe0 is not UTF-8"},
        {"# \xed\xa0\x80", 1, 3, "0xed is not UTF-8"},
        {"# \xf0\x80\x80\x80", 1, 3, "0xf0 is not UTF-8"},
        {"# \xf4\x90\x80\x80", 1, 3, "0xf4 is not UTF-8"},
        {"# \xf5\x80\x80\x80", 1, 3, "0xf5 is not UTF-8"},
        {"# \xe2\x82", 1, 3, "0xe2 is not UTF-8"},
        {"# \xe2\x82x", 1, 3, "0xe2 is not UTF-8"},
        {"\xef\xbb\xbf# \xff", 1, 3, "0xff is not UTF-8"},
        /* Of a mistake and a dirty byte behind it the mistake is told. */
        {"a 1\n\xff", 1, 3, "= is missing"},
        {"a = \"x\n\xff\"", 1, 5, "not closed on its line"},
    };
    struct toml_node *root;

    (void)state;
    check_mistakes(list, ARRAY_SIZE(list));
    assert_int_equal(-E_INVAL, parse_bytes("a\0b", 3, &root));
    assert_int_equal(2, error.column);
    assert_non_null(strstr(error.what, "control character 0x00"));
}

static void test_bad_scalars(void **state) {
    static const char *const words[] = {"1_",   "_1",    "1__2",  "1_.0", "1._0",   "1.",   ".5",    "1e",       "1e_1",
                                        "1.e1", "+",     "-",     "++1",  "0x",     "0x_1", "0xg",   "+0x1",     "-0b1",
                                        "0o8",  "0b2",   "0X1",   "True", "yes",    "Inf",  "+true", "infinity", "1a",
                                        "512M", "1.2.3", "0x1.0", "tru",  "falsey", "1e1.0"};
    static const char *const zeros[] = {"01", "-012", "00", "0_1", "01.5", "+00"};
    static const char *const dates[] = {"1979-13-01",
                                        "1979-00-01",
                                        "1979-02-29",
                                        "1900-02-29",
                                        "2023-04-31",
                                        "2023-04-00",
                                        "24:00:00",
                                        "07:60:00",
                                        "07:32:61",
                                        "07:32",
                                        "07:32:00.",
                                        "7:32:00x",
                                        "1979-05-27T",
                                        "1979-05-27T07:32",
                                        "1979-05-27x07:32:00",
                                        "1979-5-27",
                                        "1979-05-27T07:32:00+25:00",
                                        "1979-05-27T07:32:00+07",
                                        "1979-05-27 07:32:00Zx"};
    static const struct mistake large[] = {
        {"a = 9223372036854775808", 1, 5, "does not fit in 64 bits"},
        {"a = -9223372036854775809", 1, 5, "does not fit in 64 bits"},
        {"a = 0xffffffffffffffff", 1, 5, "does not fit in 64 bits"},
        {"a = 99999999999999999999999999", 1, 5, "does not fit in 64 bits"},
    };
    struct mistake m = {NULL, 1, 5, "neither a number nor text in quotes"};
    char text[64];

    (void)state;
    m.text = text;
    for (u32 i = 0; i < ARRAY_SIZE(words); i++) {
        snprintf(text, sizeof(text), "a = %s", words[i]);
        check_mistakes(&m, 1);
    }
    m.what = "begins with a zero";
    for (u32 i = 0; i < ARRAY_SIZE(zeros); i++) {
        snprintf(text, sizeof(text), "a = %s", zeros[i]);
        check_mistakes(&m, 1);
    }
    /* A letter behind the Z is text after a complete date. */
    for (u32 i = 0; i < ARRAY_SIZE(dates); i++) {
        snprintf(text, sizeof(text), "a = %s", dates[i]);
        check_mistakes(&(struct mistake){text, 1, strchr(dates[i], 'Z') ? 25 : 5, ""}, 1);
    }
    check_mistakes(large, ARRAY_SIZE(large));
    /* More than forty bytes, and fewer characters: shown whole. Forty-one of them are not. */
    snprintf(text, sizeof(text), "a = 0%s",
             "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
             "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac");
    check_mistakes(&(struct mistake){text, 1, 5, "0?????????????? is neither a number"}, 1);
    snprintf(text, sizeof(text), "a = %041d", 0);
    check_mistakes(&(struct mistake){text, 1, 5, "0000000000000000000000000000000000000... begins"}, 1);
}

static void test_bad_tables(void **state) {
    static const struct mistake list[] = {
        {"a = 1\n a = 2", 2, 2, "a is defined twice"},
        {"a = 1\n\"a\" = 2", 2, 1, "a is defined twice"},
        {"a.b = 1\na.b = 2", 2, 3, "b is defined twice"},
        {"[a]\n[a]", 2, 2, "a is defined twice"},
        {"[a]\n[b]\n[a]", 3, 2, "a is defined twice"},
        {"[x.a]\n[x.\"a\"]", 2, 4, "a is defined twice"},
        {"a = 1\n[a]", 2, 2, "a is defined twice"},
        {"[a]\nb = 1\n[a.b]", 3, 4, "b is defined twice"},
        {"[a]\nb = 1\n[a.b.c]", 3, 4, "b cannot take further keys"},
        {"a = 1\na.b = 2", 2, 1, "a cannot take further keys"},
        {"a = {b = 1}\na.c = 2", 2, 1, "a cannot take further keys"},
        {"a = {b = 1}\n[a]", 2, 2, "a is defined twice"},
        {"a = {b = 1}\n[a.c]", 2, 2, "a cannot take further keys"},
        {"a = {b.c = 1}\n[a.b.d]", 2, 2, "a cannot take further keys"},
        {"a = {b = {c = 1}, b.d = 2}", 1, 19, "b cannot take further keys"},
        {"a = {b = 1, b = 2}", 1, 13, "b is defined twice"},
        {"a = []\n[[a]]", 2, 3, "a is defined twice"},
        {"a = [{}]\n[a.b]", 2, 2, "a cannot take further keys"},
        {"[[a]]\n[a]", 2, 2, "a is defined twice"},
        {"[a]\n[[a]]", 2, 3, "a is defined twice"},
        {"[a.b]\n[[a]]", 2, 3, "a is defined twice"},
        {"[[a.b]]\n[a]\nb.c = 1", 3, 1, "b cannot take further keys"},
        {"[a.b.c]\nz = 9\n[a]\nb.c.t = 1", 4, 3, "c is defined twice"},
        {"[a]\nb.c = 1\n[a.b]", 3, 4, "b is defined twice"},
        {"b.c = 1\n[a]\n[b]", 3, 2, "b is defined twice"},
        {"[a]\nb.c = 1\n[x]\n[a.b.d]\n[a.b.d]", 5, 6, "d is defined twice"},
        {"a.b.c = 1\na.b = 2", 2, 3, "b is defined twice"},
    };

    (void)state;
    check_mistakes(list, ARRAY_SIZE(list));
}

/* Every prefix and every one-byte change of a document: no crash, and an error has a place. */
static void test_mutations(void **state) {
    static const char text[] = "# c\n[a.\"b\"]\nk = [1, 0x2, {x.y = 'z'}, 1.5e3]\n[[l]]\nt = 1979-05-27 07:32:00Z\n"
                               "s = \"\"\"\n\\u00e9 \\\n \"\" \xc3\xa9\"\"\"\nm = '''q''''\r\nb = true\n";
    static const char bytes[] = "\0\n\r\"'\\[]{}=,.#_0aU\x80\xff ";
    size_t length = sizeof(text) - 1;
    struct toml_node *root;
    char copy[sizeof(text)];

    (void)state;
    assert_int_equal(0, parse_bytes(text, length, &root));
    for (size_t i = 0; i < length; i++) {
        if (parse_bytes(text, i, &root)) assert_true(error.line && error.column && error.what[0] && error.remedy[0]);
        for (size_t k = 0; k + 1 < sizeof(bytes); k++) {
            memcpy(copy, text, length);
            copy[i] = bytes[k];
            if (parse_bytes(copy, length, &root))
                assert_true(error.line && error.column && error.what[0] && error.remedy[0]);
        }
    }
}

/* Every size of arena: an answer, or the one message. */
static void test_small_arena(void **state) {
    static const char text[] = "[a]\nb = [1, \"x\", {c = 2}]\n[[d]]\ne.f = 'g'\n";
    struct toml_node *root;
    int rc = -1;

    (void)state;
    for (size_t size = 0; rc; size++) {
        struct arena arena = {.base = malloc(size ? size : 1), .size = size};
        struct problems problems = {.first = &error};

        rc = toml_parse(&arena, text, sizeof(text) - 1, &root, &problems);
        free(arena.base);
        if (rc) {
            assert_int_equal(-E_NOMEM, rc);
            assert_non_null(strstr(error.what, "memory"));
        }
        assert_true(size < KIB(8));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),     cmocka_unit_test(test_scalars),     cmocka_unit_test(test_keys),
        cmocka_unit_test(test_containers),  cmocka_unit_test(test_positions),   cmocka_unit_test(test_bad_syntax),
        cmocka_unit_test(test_bad_strings), cmocka_unit_test(test_bad_scalars), cmocka_unit_test(test_bad_tables),
        cmocka_unit_test(test_mutations),   cmocka_unit_test(test_small_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
