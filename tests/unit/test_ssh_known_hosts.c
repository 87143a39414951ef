/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/ssh_known_hosts.h"

#include "base/str.h"
#include "net/ssh_known_line.h"
#include "net/ssh_pattern.h"
#include "unit/ssh_program.h"

#include <errno.h>
#include <sys/file.h>
#include <sys/stat.h>

/* --- keys ------------------------------------------------------------------------------------- */

/* A blob that is as good as a key here: type, and 32 bytes of `fill`. */
static void make_key(const char *type, char fill, struct buf *blob)
{
    char body[32];

    memset(body, fill, sizeof body);
    buf_clear(blob);
    ssh_put_text(blob, type);
    ssh_put_string(blob, body, sizeof body);
}

/* "TYPE BASE64", borrowed from a few turning buffers. */
static const char *key_text(const char *type, char fill)
{
    static char text[8][256];
    static int turn;
    char *out = text[turn = (turn + 1) % 8];
    struct buf blob = BUF_INIT, b = BUF_INIT;

    make_key(type, fill, &blob);
    buf_printf(&b, "%s ", type);
    ssh_base64_encode(buf_data(&blob), buf_len(&blob), true, &b);
    CHECK(str_copy(out, sizeof text[0], buf_data(&b)));
    buf_fini(&b);
    buf_fini(&blob);
    return out;
}

#define ED "ssh-ed25519"
#define RSA "ssh-rsa"
#define EC "ecdsa-sha2-nistp256"

static struct ssh_known_hosts *known_of(const char *text)
{
    struct ssh_known_hosts *known = ssh_known_hosts_create();
    struct err err = ERR_INIT;

    CHECK_OK(ssh_known_hosts_add_text(known, "kh", text, strlen(text), &err), &err);
    return known;
}

static struct ssh_known_found look_up(const struct ssh_known_hosts *known,
                                      struct ssh_known_name name, const char *type, char fill)
{
    struct buf blob = BUF_INIT;
    struct ssh_known_found found;

    make_key(type, fill, &blob);
    ssh_known_hosts_check(known, &name, buf_data(&blob), buf_len(&blob), &found);
    buf_fini(&blob);
    return found;
}

/* One look-up in a text: status and line. */
static void check_text(const char *text, struct ssh_known_name name, const char *type, char fill,
                       enum ssh_known_status status, int line)
{
    struct ssh_known_hosts *known = known_of(text);
    struct ssh_known_found found = look_up(known, name, type, fill);

    if (found.status != status || found.line != line)
        unit_fail(__FILE__, __LINE__, "%s: status %d line %d, wanted %d line %d\n%s", name.name,
                  (int)found.status, found.line, (int)status, line, text);
    CHECK_STR(found.file, line ? "kh" : NULL);
    ssh_known_hosts_destroy(known);
}

static char *lines(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *lines(const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    return buf_take(&b, NULL);
}

static struct ssh_known_name named(const char *name, uint16_t port)
{
    return (struct ssh_known_name){ .name = name, .port = port };
}

TEST(base64_and_fingerprint)
{
    static const char *const want[] = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=" };
    static const char *const bare[] = { "", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE" };
    struct buf b = BUF_INIT;
    char out[SSH_FINGERPRINT_SIZE];

    /* RFC 4648, section 10. */
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        buf_clear(&b);
        ssh_base64_encode("foobar", i, true, &b);
        CHECK_STR(buf_data(&b), want[i]);
        buf_clear(&b);
        ssh_base64_encode("foobar", i, false, &b);
        CHECK_STR(buf_data(&b), bare[i]);
    }
    buf_clear(&b);
    ssh_base64_encode("\xff\xef\xbe", 3, true, &b);
    CHECK_STR(buf_data(&b), "/+++");
    ssh_key_fingerprint("", 0, out);
    CHECK_STR(out, "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU");
    CHECK_INT(strlen(out), SSH_FINGERPRINT_SIZE - 1);
    buf_fini(&b);
}

TEST(blob_type)
{
    static const struct {
        const char *blob;
        size_t len;
        const char *type;
    } row[] = {
        { "\0\0\0\3abc\0\0\0\0", 11, "abc" },
        { "\0\0\0\3abcx", 8, "abc" },
        { "\0\0\0\3abc", 7, NULL }, /* nothing behind the type */
        { "\0\0\0\4abc", 7, NULL },
        { "\0\0\0", 3, NULL },
        { "", 0, NULL },
        { "\0\0\0\0x", 5, NULL },
        { "\xff\xff\xff\xff"
          "abc",
          7, NULL },
        { "\0\0\0\3a cx", 8, NULL },
        { "\0\0\0\3a,cx", 8, NULL },
        { "\0\0\0\3a\0cx", 8, NULL },
        { "\0\0\0\3a\x1b"
          "cx",
          8, NULL },
    };
    char out[SSH_KEY_TYPE_MAX], blob[80] = { 0, 0, 0, 63 };

    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        bool ok = ssh_key_blob_type(row[i].blob, row[i].len, out);
        CHECK_INT(ok, row[i].type != NULL);
        if (ok)
            CHECK_STR(out, row[i].type);
    }
    memset(blob + 4, 'a', 70);
    CHECK(ssh_key_blob_type(blob, 70, out) && strlen(out) == 63);
    blob[3] = 64;
    CHECK(!ssh_key_blob_type(blob, 70, out));
}

TEST(patterns)
{
    static const struct {
        const char *text, *list;
        int result;
    } row[] = {
        { "abc", "abc", 1 },        { "abc", "ABC", 1 },     { "abc", "ab", 0 },
        { "abc", "a*", 1 },         { "abc", "*c", 1 },      { "abc", "a?c", 1 },
        { "abc", "a?", 0 },         { "abc", "x,abc", 1 },   { "abc", "!abc", -1 },
        { "abc", "!x", 0 },         { "abc", "*,!abc", -1 }, { "abc", "!abc,*", -1 },
        { "abc", "!x,*", 1 },       { "abc", "", 0 },        { "abc", ",", 0 },
        { "abc", "**", 1 },         { "", "*", 1 },          { "", "?", 0 },
        { "aab", "a*ab", 1 },       { "abab", "*ab", 1 },    { "abcbd", "a*b?", 1 },
        { "[h]:2", "[h]:2", 1 },    { "[h]:2", "[?]:*", 1 }, { "abc", "a*b*c*d", 0 },
        { "abcd", "*a*b*c*d*", 1 },
    };
    char many[2001], text[2001];

    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        int got = ssh_pattern_list_match(row[i].text, row[i].list, strlen(row[i].list), true);
        if (got != row[i].result)
            unit_fail(__FILE__, __LINE__, "%s in %s: %d", row[i].text, row[i].list, got);
    }
    CHECK(!ssh_pattern_match("abc", "ABC", 3, false));
    /* What takes exponential time where stars are tried again and again. */
    memset(text, 'a', 2000);
    for (int i = 0; i < 2000; i++)
        many[i] = i % 2 ? 'a' : '*';
    text[2000] = many[2000] = '\0';
    text[1999] = 'b';
    CHECK(!ssh_pattern_match(text, many, 2000, false));
}

/* --- looking up ------------------------------------------------------------------------------- */

TEST(status)
{
    char *text = lines("# comment\n\n"
                       "a,alias %s a comment\n"
                       "a %s\r\n"
                       "b %s\n"
                       "  \t[c]:2222 %s\n"
                       "d %s",
                       key_text(ED, '1'), key_text(RSA, '2'), key_text(ED, '3'), key_text(ED, '4'),
                       key_text(ED, '5'));

    check_text(text, named("a", 22), ED, '1', SSH_KNOWN_MATCH, 3);
    check_text(text, named("a", 0), ED, '1', SSH_KNOWN_MATCH, 3);
    check_text(text, named("A", 22), ED, '1', SSH_KNOWN_MATCH, 3);
    check_text(text, named("alias", 22), ED, '1', SSH_KNOWN_MATCH, 3);
    check_text(text, named("alia", 22), ED, '1', SSH_KNOWN_UNKNOWN, 0);
    check_text(text, named("a", 22), RSA, '2', SSH_KNOWN_MATCH, 4);
    check_text(text, named("a", 22), ED, '9', SSH_KNOWN_CHANGED, 3);
    check_text(text, named("a", 22), RSA, '9', SSH_KNOWN_CHANGED, 4);
    check_text(text, named("a", 22), EC, '9', SSH_KNOWN_OTHER_TYPE, 3);
    check_text(text, named("z", 22), ED, '1', SSH_KNOWN_UNKNOWN, 0);
    check_text(text, named("c", 2222), ED, '4', SSH_KNOWN_MATCH, 6);
    check_text(text, named("c", 2222), ED, '9', SSH_KNOWN_CHANGED, 6);
    check_text(text, named("c", 22), ED, '4', SSH_KNOWN_UNKNOWN, 0);
    check_text(text, named("c", 2223), ED, '4', SSH_KNOWN_UNKNOWN, 0);
    check_text(text, named("d", 22), ED, '5', SSH_KNOWN_MATCH, 7);
    check_text("", named("d", 22), ED, '5', SSH_KNOWN_UNKNOWN, 0);
    free(text);
}

/* ssh takes a key known for the name alone when the port has none; another key there says
 * nothing. */
TEST(without_port)
{
    char *text =
        lines("a %s\n[b]:99 %s\nb %s\n", key_text(ED, '1'), key_text(ED, '2'), key_text(ED, '3'));
    struct ssh_known_hosts *known = known_of(text);
    struct ssh_known_name alias = { .name = "a", .port = 2200, .alias = true };
    struct ssh_known_found found = look_up(known, named("a", 2200), ED, '1');

    CHECK_INT(found.status, SSH_KNOWN_MATCH);
    CHECK(found.without_port);
    found = look_up(known, named("a", 2200), ED, '9');
    CHECK_INT(found.status, SSH_KNOWN_UNKNOWN);
    found = look_up(known, named("b", 99), ED, '3');
    CHECK_INT(found.status, SSH_KNOWN_CHANGED);
    found = look_up(known, named("b", 99), ED, '2');
    CHECK(found.status == SSH_KNOWN_MATCH && !found.without_port);
    found = look_up(known, alias, ED, '1');
    CHECK(found.status == SSH_KNOWN_MATCH && !found.without_port);
    ssh_known_hosts_destroy(known);
    free(text);
}

TEST(wildcards)
{
    char *text = lines("*.example.com,!bad.example.com %s\n[10.0.0.?]:* %s\n", key_text(ED, '1'),
                       key_text(ED, '2'));

    check_text(text, named("x.example.com", 22), ED, '1', SSH_KNOWN_MATCH, 1);
    check_text(text, named("bad.example.com", 22), ED, '1', SSH_KNOWN_UNKNOWN, 0);
    check_text(text, named("10.0.0.7", 99), ED, '2', SSH_KNOWN_MATCH, 2);
    check_text(text, named("10.0.0.77", 99), ED, '2', SSH_KNOWN_UNKNOWN, 0);
    free(text);
}

TEST(hashed)
{
    struct buf b = BUF_INIT, blob = BUF_INIT;
    struct ssh_known_name name = { .name = "Host", .address = "10.0.0.1", .port = 2022 };
    struct err err = ERR_INIT;

    make_key(ED, '1', &blob);
    CHECK_OK(ssh_known_hosts_line(&name, buf_data(&blob), buf_len(&blob),
                                  (const unsigned char *)"0123456789abcdefghij", &b, &err),
             &err);
    CHECK(!strstr(buf_data(&b), "ost") && !strstr(buf_data(&b), "10.0"));
    check_text(buf_data(&b), named("host", 2022), ED, '1', SSH_KNOWN_MATCH, 1);
    check_text(buf_data(&b), named("host", 22), ED, '1', SSH_KNOWN_UNKNOWN, 0);
    check_text(buf_data(&b), named("host", 2022), ED, '2', SSH_KNOWN_CHANGED, 1);
    check_text(buf_data(&b), named("10.0.0.1", 2022), ED, '1', SSH_KNOWN_MATCH, 2);
    check_text(buf_data(&b), named("10.0.0.2", 2022), ED, '1', SSH_KNOWN_UNKNOWN, 0);
    buf_fini(&b);
    buf_fini(&blob);
}

/* A revocation wins wherever it stands, however the host is named, and whatever is broken
 * around. */
TEST(revoked)
{
    char *text = lines("a %s\n@revoked\n@revoked a ssh-ed25519 !!!\n@revoked * %s\n@revoked b %s\n",
                       key_text(ED, '1'), key_text(ED, '1'), key_text(ED, '2'));
    struct ssh_known_name by_address = { .name = "x", .address = "b" };
    struct ssh_known_found found;

    check_text(text, named("a", 22), ED, '1', SSH_KNOWN_REVOKED, 4);
    check_text(text, named("a", 2222), ED, '1', SSH_KNOWN_REVOKED, 4);
    check_text(text, named("other", 22), ED, '1', SSH_KNOWN_REVOKED, 4);
    check_text(text, named("b", 22), ED, '2', SSH_KNOWN_REVOKED, 5);
    /* The port makes no new host of it. */
    check_text(text, named("b", 2222), ED, '2', SSH_KNOWN_REVOKED, 5);
    check_text(text, named("a", 22), ED, '2', SSH_KNOWN_CHANGED, 1);
    check_text(text, named("c", 22), ED, '2', SSH_KNOWN_UNKNOWN, 0);
    struct ssh_known_hosts *known = known_of(text);
    found = look_up(known, by_address, ED, '2');
    CHECK(found.status == SSH_KNOWN_REVOKED && found.by_address);
    CHECK_INT(ssh_known_hosts_bad_count(known), 2);
    ssh_known_hosts_destroy(known);
    free(text);
}

TEST(address)
{
    char *text = lines("a %s\n10.0.0.1 %s\n10.0.0.2 %s\n10.0.0.3 %s\n", key_text(ED, '1'),
                       key_text(ED, '2'), key_text(ED, '1'), key_text(RSA, '3'));
    struct ssh_known_name name = { .name = "a", .address = "10.0.0.1" };
    struct ssh_known_hosts *known = known_of(text);
    struct ssh_known_found found = look_up(known, name, ED, '1');

    CHECK_INT(found.status, SSH_KNOWN_CHANGED);
    CHECK(found.by_address);
    CHECK_INT(found.line, 2);
    name.address = "10.0.0.2";
    found = look_up(known, name, ED, '1');
    CHECK(found.status == SSH_KNOWN_MATCH && found.line == 1);
    name.address = "10.0.0.3";
    CHECK_INT(look_up(known, name, ED, '1').status, SSH_KNOWN_MATCH);
    /* The address alone makes no host known. */
    name = (struct ssh_known_name){ .name = "new", .address = "10.0.0.2" };
    CHECK_INT(look_up(known, name, ED, '1').status, SSH_KNOWN_UNKNOWN);
    ssh_known_hosts_destroy(known);
    free(text);
}

TEST(types)
{
    char *text = lines("a %s\na %s\na %s\na %s\n@revoked a %s\n@cert-authority * %s\n[a]:99 %s\n",
                       key_text(RSA, '1'), key_text(ED, '2'), key_text(RSA, '3'), key_text(EC, '4'),
                       key_text(EC, '4'), key_text("ssh-dss", '5'), key_text("x@y", '6'));
    struct ssh_known_hosts *known = known_of(text);
    struct ssh_known_types types;
    struct ssh_known_name name = named("a", 22);

    CHECK(ssh_known_hosts_types(known, &name, &types));
    CHECK_INT(types.count, 2);
    CHECK_STR(types.name[0], RSA);
    CHECK_STR(types.name[1], ED);
    name = named("a", 99);
    CHECK(ssh_known_hosts_types(known, &name, &types));
    CHECK_INT(types.count, 1);
    CHECK_STR(types.name[0], "x@y");
    /* Nothing for that port: what is known for the name. */
    name = named("a", 98);
    ssh_known_hosts_types(known, &name, &types);
    CHECK_INT(types.count, 2);
    /* A certification authority is no key of the host. */
    struct ssh_known_found found = look_up(known, named("b", 22), "ssh-dss", '5');
    CHECK(found.status == SSH_KNOWN_UNKNOWN && found.authority);
    ssh_known_hosts_destroy(known);
    free(text);
}

TEST(bad_lines)
{
    static const char nul[] = "a\0b ssh-ed25519 AAAA\n";
    char *good = lines("good %s\n", key_text(ED, '1'));
    char *other = lines("x ssh-rsa%s\n", strchr(key_text(ED, '1'), ' '));
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    static const char *const why[] = {
        "the marker is unknown",
        "the host is missing",
        "there is more than one marker",
        "the key is missing",
        "the key is missing",
        "the key is missing",
        "the key is not base64",
        "the key is not base64",
        "the key is malformed",
        "the hashed host name is malformed",
        "the hashed host name is malformed",
        "the hashed host name is malformed",
        "the hashed host name is malformed",
        "the key is not base64",
        "the key is of another type than the line says",
        "the line has NUL bytes",
        "the line is too long",
    };

    buf_append_str(&b, "@what a ssh-rsa AAAA\n"
                       "@revoked\n"
                       "@revoked @cert-authority a ssh-rsa AAAA\n"
                       "a\n"
                       "a ssh-rsa\n"
                       "a # ssh-rsa AAAA\n"
                       "a ssh-rsa AAA\n"
                       "a ssh-rsa AA=A\n"
                       "a ssh-rsa AAAA\n"
                       "|2|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA= ssh-rsa AAAA\n"
                       "|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA= ssh-rsa AAAA\n"
                       "|1|AAAAAAAAAAAAAAAAAAAAAAAAAAAA|AAAAAAAAAAAAAAAAAAAAAAAAAAA= ssh-rsa AAAA\n"
                       "|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA=,a ssh-rsa A\n"
                       "a 1024 35 1234567\n");
    buf_append_str(&b, other);
    buf_append(&b, nul, sizeof nul - 1);
    for (size_t i = 0; i <= SSH_KNOWN_LINE_MAX; i++)
        buf_append_char(&b, 'y');
    buf_append_char(&b, '\n');
    buf_append_str(&b, good);
    struct ssh_known_hosts *known = ssh_known_hosts_create();
    CHECK_OK(ssh_known_hosts_add_text(known, "kh", buf_data(&b), buf_len(&b), &err), &err);
    CHECK_INT(ssh_known_hosts_bad_count(known), ARRAY_LEN(why));
    for (size_t i = 0; i < ARRAY_LEN(why); i++) {
        const char *file, *got;
        int line;
        ssh_known_hosts_bad(known, i, &file, &line, &got);
        CHECK_STR(got, why[i]);
        CHECK_INT(line, i + 1);
        CHECK_STR(file, "kh");
    }
    CHECK_INT(look_up(known, named("good", 22), ED, '1').line, ARRAY_LEN(why) + 1);
    ssh_known_hosts_destroy(known);
    buf_fini(&b);
    free(good);
    free(other);
}

TEST(limits)
{
    struct ssh_known_hosts *known = ssh_known_hosts_create();
    struct err err = ERR_INIT;
    char *text = mem_alloc(SSH_KNOWN_FILE_MAX + 1);
    char path[512];

    memset(text, '\n', SSH_KNOWN_FILE_MAX + 1);
    CHECK_OK(ssh_known_hosts_add_text(known, "kh", text, SSH_KNOWN_FILE_MAX, &err), &err);
    CHECK_INT(ssh_known_hosts_add_text(known, "kh", text, SSH_KNOWN_FILE_MAX + 1, &err), -1);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    /* 101 bad lines: all are counted. */
    for (int i = 0; i < 101; i++)
        memcpy(text + 2 * i, "x\n", 2);
    CHECK_OK(ssh_known_hosts_add_text(known, "kh", text, 202, &err), &err);
    CHECK_INT(ssh_known_hosts_bad_count(known), 101);
    /* A missing file is fine, one that can't be read isn't. */
    snprintf(path, sizeof path, "%s/missing", unit_tmpdir());
    CHECK_OK(ssh_known_hosts_add_file(known, path, &err), &err);
    CHECK_INT(ssh_known_hosts_add_file(known, unit_tmpdir(), &err), -1);
    ssh_known_hosts_destroy(known);
    ssh_known_hosts_destroy(NULL);
    free(text);
}

/* --- changing --------------------------------------------------------------------------------- */

static void check_removed(const char *text, struct ssh_known_name name, const char *want,
                          size_t count)
{
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;
    size_t removed = 99;

    CHECK_OK(
        ssh_known_hosts_remove_text("kh", text, strlen(text), &name, NULL, 0, &out, &removed, &err),
        &err);
    CHECK_STR(buf_data(&out), want);
    CHECK_INT(removed, count);
    buf_fini(&out);
}

TEST(remove_text)
{
    const char *k = key_text(ED, '1');
    char *text = lines("# top\n\na %s c\r\nx,a,y  %s\nbad line a\n@revoked a %s\n@cert-authority a "
                       "%s\n*.b,!a %s\nz,A,!q %s\n[a]:99 %s",
                       k, k, k, k, k, k, k);
    char *want = lines("# top\n\nx,y  %s\nbad line a\n@revoked a %s\n@cert-authority a "
                       "%s\n*.b,!a %s\nz,!q %s\n[a]:99 %s",
                       k, k, k, k, k, k);
    char *port = lines("# top\n\na %s c\r\nx,a,y  %s\nbad line a\n@revoked a %s\n@cert-authority a "
                       "%s\n*.b,!a %s\nz,A,!q %s\n",
                       k, k, k, k, k, k);
    char *pattern = lines("ok %s\na*,b %s\n", k, k);
    char *negations = lines("a,!b %s\n", k);
    struct ssh_known_name name = named("abc", 22);
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;

    check_removed(text, named("a", 22), want, 3);
    check_removed(text, named("a", 99), port, 1);
    check_removed(text, named("nobody", 22), text, 0);
    check_removed(negations, named("a", 22), "", 1);
    CHECK_INT(ssh_known_hosts_remove_text("kh", pattern, strlen(pattern), &name, NULL, 0, &out,
                                          NULL, &err),
              -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    CHECK_STR(err.msg, "kh:2: the host is meant by a pattern, perhaps with others");
    CHECK_INT(buf_len(&out), 0);
    buf_fini(&out);
    free(text);
    free(want);
    free(port);
    free(pattern);
    free(negations);
}

TEST(line_refuses)
{
    static const char *const name[] = { "",   "a b", "a,b", "a*",    "!a",     "|1|a",
                                        "@a", "#a",  "a\n", "a\x7f", "[a]:22", "\xc3\xa9" };
    struct buf blob = BUF_INIT, out = BUF_INIT;
    struct err err = ERR_INIT;
    char longest[SSH_KNOWN_NAME_MAX + 2];

    make_key(ED, '1', &blob);
    for (size_t i = 0; i < ARRAY_LEN(name); i++) {
        struct ssh_known_name n = named(name[i], 22);
        if (ssh_known_hosts_line(&n, buf_data(&blob), buf_len(&blob), NULL, &out, &err) == 0)
            unit_fail(__FILE__, __LINE__, "taken: \"%s\"", name[i]);
        CHECK_INT(err.kind, ERR_INVALID);
    }
    memset(longest, 'a', sizeof longest);
    longest[SSH_KNOWN_NAME_MAX + 1] = '\0';
    struct ssh_known_name n = named(longest, 22);
    CHECK_INT(ssh_known_hosts_line(&n, buf_data(&blob), buf_len(&blob), NULL, &out, &err), -1);
    longest[SSH_KNOWN_NAME_MAX] = '\0';
    CHECK_OK(ssh_known_hosts_line(&n, buf_data(&blob), buf_len(&blob), NULL, &out, &err), &err);
    n = named("a", 22);
    CHECK_INT(ssh_known_hosts_line(&n, "abc", 3, NULL, &out, &err), -1);
    n.address = "1 2";
    CHECK_INT(ssh_known_hosts_line(&n, buf_data(&blob), buf_len(&blob), NULL, &out, &err), -1);
    n.address = "fe80::1%eth0";
    buf_clear(&out);
    CHECK_OK(ssh_known_hosts_line(&n, buf_data(&blob), buf_len(&blob), NULL, &out, &err), &err);
    CHECK(str_starts(buf_data(&out), "a,fe80::1%eth0 ssh-ed25519 AAAA"));
    buf_fini(&blob);
    buf_fini(&out);
}

static void trust(const char *path, struct ssh_known_name name, const char *type, char fill,
                  unsigned flags, size_t removed)
{
    struct buf blob = BUF_INIT;
    struct err err = ERR_INIT;
    size_t n = 99;

    make_key(type, fill, &blob);
    CHECK_OK(ssh_known_hosts_trust(path, &name, buf_data(&blob), buf_len(&blob), flags, &n, &err),
             &err);
    CHECK_INT(n, removed);
    buf_fini(&blob);
}

static void check_file(const char *path, const char *want, mode_t mode)
{
    struct buf b = BUF_INIT;
    struct stat st;

    read_text(path, &b);
    CHECK_STR(buf_data(&b), want);
    CHECK(stat(path, &st) == 0);
    CHECK_INT(st.st_mode & 07777, mode);
    buf_fini(&b);
}

TEST(trust)
{
    char path[600], folder[512], link[512], target[600];
    struct stat st;

    snprintf(folder, sizeof folder, "%s/new/.ssh", unit_tmpdir());
    snprintf(path, sizeof path, "%s/known_hosts", folder);
    trust(path, named("Host", 22), ED, '1', 0, 0);
    char *one = lines("host %s\n", key_text(ED, '1'));
    check_file(path, one, 0600);
    CHECK(stat(folder, &st) == 0);
    CHECK_INT(st.st_mode & 07777, 0700);
    /* The same again changes nothing, not even the file. */
    ino_t ino;
    CHECK(stat(path, &st) == 0);
    ino = st.st_ino;
    trust(path, named("host", 22), ED, '1', 0, 0);
    trust(path, named("host", 22), ED, '1', SSH_KNOWN_REPLACE, 0);
    CHECK(stat(path, &st) == 0 && st.st_ino == ino);
    /* Another one; the old file has no newline at its end, and another mode. */
    CHECK(chmod(path, 0640) == 0);
    char *cut = mem_strndup(one, strlen(one) - 1);
    write_text(path, cut, 0640);
    trust(path, named("host", 2200), RSA, '2', 0, 0);
    char *two = lines("%s[host]:2200 %s\n", one, key_text(RSA, '2'));
    check_file(path, two, 0640);
    /* The changed key is replaced; the right one stays. */
    trust(path, named("host", 22), EC, '3', 0, 0);
    trust(path, named("host", 22), EC, '3', SSH_KNOWN_REPLACE, 1);
    char *three = lines("[host]:2200 %s\nhost %s\n", key_text(RSA, '2'), key_text(EC, '3'));
    check_file(path, three, 0640);
    /* Through two links, the second relative. */
    snprintf(link, sizeof link, "%s/link", unit_tmpdir());
    snprintf(target, sizeof target, "%s/link2", folder);
    CHECK(symlink(target, link) == 0);
    CHECK(symlink("../made", target) == 0);
    trust(link, named("host", 22), ED, '1', 0, 0);
    CHECK(lstat(link, &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(lstat(target, &st) == 0 && S_ISLNK(st.st_mode));
    snprintf(target, sizeof target, "%s/new/made", unit_tmpdir());
    check_file(target, one, 0600);
    free(one);
    free(cut);
    free(two);
    free(three);
}

TEST(trust_hashed)
{
    char path[512];
    struct buf b = BUF_INIT;

    snprintf(path, sizeof path, "%s/kh", unit_tmpdir());
    trust(path, named("host", 22), ED, '1', SSH_KNOWN_HASH, 0);
    trust(path, named("host", 22), ED, '1', SSH_KNOWN_HASH, 0);
    trust(path, named("more", 22), ED, '1', SSH_KNOWN_HASH, 0);
    read_text(path, &b);
    CHECK(!strstr(buf_data(&b), "host") && !strstr(buf_data(&b), "more"));
    check_text(buf_data(&b), named("host", 22), ED, '1', SSH_KNOWN_MATCH, 1);
    check_text(buf_data(&b), named("more", 22), ED, '1', SSH_KNOWN_MATCH, 2);
    /* Salts differ. */
    CHECK(strncmp(buf_data(&b), strchr(buf_data(&b), '\n') + 1, 20) != 0);
    buf_clear(&b);
    trust(path, named("host", 22), ED, '2', SSH_KNOWN_HASH | SSH_KNOWN_REPLACE, 1);
    read_text(path, &b);
    check_text(buf_data(&b), named("host", 22), ED, '2', SSH_KNOWN_MATCH, 2);
    check_text(buf_data(&b), named("host", 22), ED, '1', SSH_KNOWN_CHANGED, 2);
    buf_fini(&b);
}

TEST(trust_refuses)
{
    char path[512], file[512];
    struct buf blob = BUF_INIT;
    struct ssh_known_name name = named("a", 22);
    struct err err = ERR_INIT;
    char *revoked = lines("@revoked a %s\n", key_text(ED, '1'));

    make_key(ED, '1', &blob);
    snprintf(path, sizeof path, "%s/kh", unit_tmpdir());
    write_text(path, revoked, 0600);
    CHECK_INT(ssh_known_hosts_trust(path, &name, buf_data(&blob), buf_len(&blob), SSH_KNOWN_REPLACE,
                                    NULL, &err),
              -1);
    CHECK_INT(err.kind, ERR_DENIED);
    check_file(path, revoked, 0600);
    /* Links in a circle, a folder, a file where the folder should be. */
    snprintf(file, sizeof file, "%s/circle", unit_tmpdir());
    CHECK(symlink("circle", file) == 0);
    CHECK_INT(ssh_known_hosts_trust(file, &name, buf_data(&blob), buf_len(&blob), 0, NULL, &err),
              -1);
    CHECK_INT(err.kind, ERR_INVALID);
    snprintf(file, sizeof file, "%s", unit_tmpdir());
    CHECK_INT(ssh_known_hosts_trust(file, &name, buf_data(&blob), buf_len(&blob), 0, NULL, &err),
              -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    snprintf(file, sizeof file, "%s/kh/known_hosts", unit_tmpdir());
    CHECK_INT(ssh_known_hosts_trust(file, &name, buf_data(&blob), buf_len(&blob), 0, NULL, &err),
              -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    free(revoked);
    buf_fini(&blob);
}

TEST(forget)
{
    char path[512];
    struct ssh_known_name name = named("a", 22);
    struct err err = ERR_INIT;
    size_t removed;
    char *text = lines("a,b %s\nc %s\n", key_text(ED, '1'), key_text(ED, '2'));
    char *want = lines("b %s\nc %s\n", key_text(ED, '1'), key_text(ED, '2'));

    snprintf(path, sizeof path, "%s/none/kh", unit_tmpdir());
    CHECK_OK(ssh_known_hosts_forget(path, &name, &removed, &err), &err);
    CHECK_INT(removed, 0);
    snprintf(path, sizeof path, "%s/none", unit_tmpdir());
    CHECK(access(path, F_OK) != 0);
    CHECK_OK(ssh_known_hosts_forget(path, &name, &removed, &err), &err);
    CHECK(access(path, F_OK) != 0);
    write_text(path, text, 0644);
    CHECK_OK(ssh_known_hosts_forget(path, &name, &removed, &err), &err);
    CHECK_INT(removed, 1);
    check_file(path, want, 0644);
    free(text);
    free(want);
}

/* Ten hives add ten keys each at the same time: none gets lost. */
TEST(many_at_once)
{
    enum { HIVES = 10, KEYS = 10 };
    char path[512], name[32];
    struct buf b = BUF_INIT;
    int status;

    snprintf(path, sizeof path, "%s/kh", unit_tmpdir());
    for (int h = 0; h < HIVES; h++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid > 0)
            continue;
        for (int k = 0; k < KEYS; k++) {
            snprintf(name, sizeof name, "host-%d-%d", h, k);
            trust(path, named(name, 22), ED, '1', 0, 0);
        }
        _exit(0);
    }
    for (int h = 0; h < HIVES; h++) {
        CHECK(wait(&status) > 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    read_text(path, &b);
    struct ssh_known_hosts *known = known_of(buf_data(&b));
    for (int i = 0; i < HIVES * KEYS; i++) {
        snprintf(name, sizeof name, "host-%d-%d", i / KEYS, i % KEYS);
        CHECK_INT(look_up(known, named(name, 22), ED, '1').status, SSH_KNOWN_MATCH);
    }
    CHECK_INT(ssh_known_hosts_bad_count(known), 0);
    ssh_known_hosts_destroy(known);
    buf_fini(&b);
}

/* Somebody who holds the lock is waited for, but not for ever. */
TEST(locked)
{
    char path[512];
    struct buf blob = BUF_INIT;
    struct ssh_known_name name = named("a", 22);
    struct err err = ERR_INIT;
    int fd = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    make_key(ED, '1', &blob);
    snprintf(path, sizeof path, "%s/kh", unit_tmpdir());
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
    CHECK_INT(ssh_known_hosts_trust(path, &name, buf_data(&blob), buf_len(&blob), 0, NULL, &err),
              -1);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    close(fd);
    CHECK_OK(ssh_known_hosts_trust(path, &name, buf_data(&blob), buf_len(&blob), 0, NULL, &err),
             &err);
    buf_fini(&blob);
}

/* --- compared with ssh-keygen ----------------------------------------------------------------- */

static int keygen(struct buf *out, const char *a, const char *b, const char *c, const char *d,
                  const char *e, const char *f, const char *g, const char *h)
{
    const char *const argv[] = { "ssh-keygen", a, b, c, d, e, f, g, h, NULL };

    buf_clear(out);
    return run_program(argv, out);
}

/* The lines where `ssh-keygen -F` finds a host, as a text; "" for none. */
static void keygen_finds(const char *path, const char *name, struct buf *numbers)
{
    struct buf out = BUF_INIT;

    keygen(&out, "-F", name, "-f", path, NULL, NULL, NULL, NULL);
    for (const char *p = buf_data(&out); *p;) {
        size_t len = strcspn(p, "\n");
        char *line = mem_strndup(p, len);
        char *at = strstr(line, "found: line ");
        if (line[0] == '#' && at)
            buf_printf(numbers, "%.*s,", (int)strcspn(at + 12, " "), at + 12);
        free(line);
        p += len + (p[len] == '\n');
    }
    buf_fini(&out);
}

/* The same by our own lights. */
static void we_find(const char *path, const char *name, struct buf *numbers)
{
    struct buf text = BUF_INIT;
    int number = 0;

    read_text(path, &text);
    for (const char *p = buf_data(&text); *p;) {
        size_t len = strcspn(p, "\n");
        struct ssh_known_line line;
        const char *why;
        number++;
        if (ssh_known_line_parse(p, len, number, &line, &why)) {
            if (ssh_known_line_names(&line, name))
                buf_printf(numbers, "%d,", number);
            ssh_known_line_fini(&line);
        }
        p += len + (p[len] == '\n');
    }
    buf_fini(&text);
}

static void compare_finds(const char *path)
{
    static const char *const name[] = { "a",      "b",       "c.example.com", "d.example.com",
                                        "[a]:22", "[a]:99",  "[b]:2222",      "10.0.0.1",
                                        "::1",    "[::1]:9", "nobody",        "ab" };
    int found = 0;

    for (size_t i = 0; i < ARRAY_LEN(name); i++) {
        struct buf theirs = BUF_INIT, ours = BUF_INIT;
        keygen_finds(path, name[i], &theirs);
        we_find(path, name[i], &ours);
        if (!str_eq(buf_data(&theirs), buf_data(&ours)))
            unit_fail(__FILE__, __LINE__, "%s: lines %s, ssh-keygen says %s", name[i],
                      buf_data(&ours), buf_data(&theirs));
        found += buf_len(&ours) > 0;
        buf_fini(&theirs);
        buf_fini(&ours);
    }
    CHECK(found >= 4);
}

/* A key of ssh-keygen's: "TYPE BASE64". */
static char *real_key(const char *type, const char *bits)
{
    char path[512], pub[520];
    struct buf out = BUF_INIT;

    snprintf(path, sizeof path, "%s/key-%s", unit_tmpdir(), type);
    snprintf(pub, sizeof pub, "%s.pub", path);
    CHECK_INT(keygen(&out, "-q", "-t", type, "-N", "", "-f", path, bits), 0);
    buf_clear(&out);
    read_text(pub, &out);
    const char *text = buf_data(&out);
    size_t len = strcspn(text, " ");
    len += 1 + strcspn(text + len + 1, " \n");
    char *key = mem_strndup(text, len);
    buf_fini(&out);
    return key;
}

/* Fingerprint, and the line we would write, as ssh-keygen sees them. */
static void compare_key(const char *key)
{
    char path[512], print[SSH_FINGERPRINT_SIZE], type[SSH_KEY_TYPE_MAX];
    struct buf out = BUF_INIT, numbers = BUF_INIT;
    struct ssh_known_name name = { .name = "Big.Host", .address = "10.1.1.1", .port = 2022 };
    struct err err = ERR_INIT;
    const char *base64 = strchr(key, ' ') + 1;
    unsigned char blob[1024];
    size_t len;

    CHECK(ssh_base64_decode(base64, strlen(base64), blob, &len));
    ssh_key_fingerprint(blob, len, print);
    CHECK(ssh_key_blob_type(blob, len, type) && strncmp(type, key, strlen(type)) == 0);
    snprintf(path, sizeof path, "%s/written", unit_tmpdir());
    unlink(path);
    CHECK_OK(ssh_known_hosts_trust(path, &name, blob, len, SSH_KNOWN_HASH, NULL, &err), &err);
    keygen_finds(path, "[big.host]:2022", &numbers);
    CHECK_STR(buf_data(&numbers), "1,");
    buf_clear(&numbers);
    keygen_finds(path, "[10.1.1.1]:2022", &numbers);
    CHECK_STR(buf_data(&numbers), "2,");
    CHECK_INT(keygen(&out, "-l", "-f", path, NULL, NULL, NULL, NULL, NULL), 0);
    CHECK(strstr(buf_data(&out), print));
    buf_fini(&out);
    buf_fini(&numbers);
}

TEST(as_ssh_keygen)
{
    char path[512];
    struct buf out = BUF_INIT;

    if (!have_ssh())
        return;
    char *ed = real_key("ed25519", NULL), *rsa = real_key("rsa", NULL),
         *ec = real_key("ecdsa", NULL);
    char *text = lines("# comment\n"
                       "a %s\n"
                       "b,a,10.0.0.1 %s comment\r\n"
                       "\t*.example.com,!d.example.com %s\n"
                       "[a]:99,[b]:2222\t%s\n"
                       "@revoked a %s\n"
                       "@cert-authority *.example.com %s\n"
                       "::1,[::1]:9 %s\n"
                       "a?  %s\n",
                       ed, rsa, ec, ed, ec, rsa, ed, ed);

    snprintf(path, sizeof path, "%s/kh", unit_tmpdir());
    write_text(path, text, 0600);
    compare_finds(path);
    /* ssh-keygen -H leaves patterns and markers as they are. */
    CHECK_INT(keygen(&out, "-H", "-f", path, NULL, NULL, NULL, NULL, NULL), 0);
    buf_clear(&out);
    read_text(path, &out);
    CHECK(strstr(buf_data(&out), "|1|"));
    compare_finds(path);
    compare_key(ed);
    compare_key(rsa);
    compare_key(ec);
    free(ed);
    free(rsa);
    free(ec);
    free(text);
    buf_fini(&out);
}
