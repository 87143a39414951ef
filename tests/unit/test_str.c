/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/buf.h"
#include "base/str.h"
#include "unit/unit.h"

#include <sys/wait.h>
#include <unistd.h>

TEST(compare)
{
    CHECK(str_eq("a", "a") && !str_eq("a", "b") && !str_eq("a", NULL) && str_eq(NULL, NULL));
    CHECK(str_eq_nocase("Content-Type", "content-tYPE") && !str_eq_nocase("a", "ab"));
    CHECK(!str_eq_nocase("ab", "a") && str_eq_nocase("", "") && !str_eq_nocase("[", "{"));
    CHECK(str_starts("hive", "hi") && str_starts("x", "") && !str_starts("h", "hi"));
    CHECK(str_ends("a.conf", ".conf") && !str_ends("conf", ".conf") && str_ends("x", ""));
    CHECK(str_secret_eq("abc", "abc", 3) && !str_secret_eq("abc", "abd", 3));
    CHECK(str_secret_eq("a", "b", 0));
}

TEST(copy_and_trim)
{
    char out[4];
    char text[] = " \t two words\r\n ";
    char blank[] = "   ";

    CHECK(str_copy(out, sizeof out, "abc"));
    CHECK_STR(out, "abc");
    CHECK(!str_copy(out, sizeof out, "abcd"));
    CHECK_STR(out, "abc");
    CHECK(!str_copy(out, 1, "x"));
    CHECK_STR(out, "");
    CHECK_STR(str_trim(text), "two words");
    CHECK_STR(str_trim(blank), "");
}

static void check_safe(const char *in, size_t len, const char *want)
{
    struct buf b = BUF_INIT;

    str_append_safe(&b, in, len);
    CHECK_STR(buf_data(&b), want);
    buf_fini(&b);
}

TEST(safe_text)
{
    check_safe("plain \u00e4\u20ac\U0001F600 text", SIZE_MAX, "plain \u00e4\u20ac\U0001F600 text");
    check_safe("\x1b[31mred", SIZE_MAX, "\\e[31mred");
    check_safe("a\nb\tc\rd", SIZE_MAX, "a\\nb\\tc\\rd");
    check_safe("\x01\x7f", SIZE_MAX, "\\x01\\x7f");
    check_safe("a\0b", 3, "a\\x00b");
    check_safe("\xc2\x9b"
               "31m",
               SIZE_MAX, "\\u{009b}31m"); /* CSI as one character */
    check_safe("\x9b"
               "31m",
               SIZE_MAX, "\\x9b31m"); /* and as one byte */
    check_safe("\u202egnp.exe", SIZE_MAX, "\\u{202e}gnp.exe");
    check_safe("\u2066\u2028\u2029\u061c", SIZE_MAX, "\\u{2066}\\u{2028}\\u{2029}\\u{061c}");
    check_safe("\U000E0041", SIZE_MAX, "\\u{e0041}");
    check_safe("\xc3", SIZE_MAX, "\\xc3");
    check_safe("\xe2\x82", SIZE_MAX, "\\xe2\\x82");
    check_safe("\xc0\xaf", SIZE_MAX, "\\xc0\\xaf");                   /* overlong '/' */
    check_safe("\xed\xa0\x80", SIZE_MAX, "\\xed\\xa0\\x80");          /* surrogate */
    check_safe("\xf4\x90\x80\x80", SIZE_MAX, "\\xf4\\x90\\x80\\x80"); /* over U+10FFFF */
    char *s = str_safe("x\n");
    CHECK_STR(s, "x\\n");
    free(s);
}

/* Every code point: safe text is valid UTF-8 without controls, and stays as it is the second time. */
TEST(safe_text_of_every_code_point)
{
    for (uint32_t cp = 1; cp <= 0x10FFFF; cp++) {
        char in[8];
        struct buf once = BUF_INIT, twice = BUF_INIT;
        size_t n = 0;
        if (cp < 0x80) {
            in[n++] = (char)cp;
        } else if (cp < 0x800) {
            in[n++] = (char)(0xC0 | cp >> 6);
            in[n++] = (char)(0x80 | (cp & 63));
        } else if (cp < 0x10000) {
            in[n++] = (char)(0xE0 | cp >> 12);
            in[n++] = (char)(0x80 | (cp >> 6 & 63));
            in[n++] = (char)(0x80 | (cp & 63));
        } else {
            in[n++] = (char)(0xF0 | cp >> 18);
            in[n++] = (char)(0x80 | (cp >> 12 & 63));
            in[n++] = (char)(0x80 | (cp >> 6 & 63));
            in[n++] = (char)(0x80 | (cp & 63));
        }
        uint32_t back = 0;
        bool surrogate = cp >= 0xD800 && cp <= 0xDFFF;
        CHECK_INT(str_utf8_next(in, n, &back), surrogate ? 0 : n);
        CHECK(surrogate || back == cp);
        CHECK_INT(str_is_utf8(in, n), !surrogate);
        str_append_safe(&once, in, n);
        CHECK(str_is_utf8(buf_data(&once), buf_len(&once)));
        for (size_t i = 0; i < buf_len(&once); i++)
            CHECK((unsigned char)buf_data(&once)[i] >= 0x20 && buf_data(&once)[i] != 0x7F);
        str_append_safe(&twice, buf_data(&once), SIZE_MAX);
        CHECK_STR(buf_data(&twice), buf_data(&once));
        buf_fini(&once);
        buf_fini(&twice);
    }
}

static void check_padded(const char *s, size_t width, bool utf8, const char *want)
{
    struct buf b = BUF_INIT;

    str_append_padded(&b, s, width, utf8);
    CHECK_STR(buf_data(&b), want);
    CHECK_INT(str_width(buf_data(&b)), width);
    buf_fini(&b);
}

TEST(width_and_padding)
{
    CHECK_INT(str_width(""), 0);
    CHECK_INT(str_width("abc"), 3);
    CHECK_INT(str_width("\u00fc"), 1);
    CHECK_INT(str_width("u\u0308"), 1);
    CHECK_INT(str_width("\u65e5\u672c"), 4);
    CHECK_INT(str_width("\U0001F600"), 2);
    CHECK_INT(str_width("\uac00"), 2);
    CHECK_INT(str_width("\u0623\u064e"), 1); /* Arabic letter with a vowel mark */
    CHECK_INT(str_width("\u2500\u2588"), 2); /* box drawing is narrow */
    check_padded("abc", 5, true, "abc  ");
    check_padded("abc", 3, true, "abc");
    check_padded("abcd", 3, true, "ab\u2026");
    check_padded("abcd", 3, false, "ab~");
    check_padded("\u65e5\u672c\u8a9e", 4, true, "\u65e5\u2026 ");
    check_padded("abc", 1, true, "\u2026");
    check_padded("abc", 0, true, "");
    check_padded("", 2, true, "  ");
    check_padded("ue\u0301x", 3, true, "ue\u0301x");
}

static void check_quoted(const char *in, const char *want)
{
    struct buf b = BUF_INIT;

    str_append_shell_quoted(&b, in);
    CHECK_STR(buf_data(&b), want);
    buf_fini(&b);
}

TEST(shell_quoting)
{
    check_quoted("plain-word_1.2/3", "plain-word_1.2/3");
    check_quoted("", "''");
    check_quoted("two words", "'two words'");
    check_quoted("it's", "'it'\\''s'");
    check_quoted("$HOME", "'$HOME'");
    check_quoted("~", "'~'");
    check_quoted("A=b", "'A=b'");
    check_quoted("--opt=a,b", "--opt=a,b");
    check_quoted("*", "'*'");
    check_quoted("a\nb", "'a\nb'");
    check_quoted("\u00e4", "'\u00e4'");
}

/* The proof is what a shell makes of it. */
TEST(shell_reads_back_what_was_quoted)
{
    struct buf cmd = BUF_INIT;
    char word[256], got[sizeof word];
    size_t len = 0;

    for (int c = 1; c < 256; c++)
        word[len++] = (char)c;
    word[len] = '\0';
    buf_printf(&cmd, "printf %%s ");
    str_append_shell_quoted(&cmd, word);
    char path[512];
    snprintf(path, sizeof path, "%s/script", unit_tmpdir());
    FILE *f = fopen(path, "we");
    CHECK(f && fwrite(buf_data(&cmd), 1, buf_len(&cmd), f) == buf_len(&cmd));
    CHECK_INT(fclose(f), 0);
    char run[600];
    snprintf(run, sizeof run, "%s/out", unit_tmpdir());
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        if (!freopen(run, "w", stdout))
            _exit(99);
        execl("/bin/sh", "sh", path, (char *)NULL);
        _exit(98);
    }
    int status;
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    f = fopen(run, "re");
    CHECK(f);
    size_t n = fread(got, 1, sizeof got, f);
    fclose(f);
    CHECK_INT(n, len);
    CHECK(memcmp(got, word, len) == 0);
    buf_fini(&cmd);
}

TEST(distance)
{
    char longer[80];

    CHECK_INT(str_distance("", ""), 0);
    CHECK_INT(str_distance("abc", "abc"), 0);
    CHECK_INT(str_distance("abc", ""), 3);
    CHECK_INT(str_distance("", "abc"), 3);
    CHECK_INT(str_distance("statsu", "status"), 1);
    CHECK_INT(str_distance("kitten", "sitting"), 3);
    CHECK_INT(str_distance("ca", "abc"), 3);
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    CHECK(str_distance(longer, "x") >= 1000);
    longer[64] = '\0';
    CHECK_INT(str_distance(longer, ""), 64);
}

TEST(did_you_mean)
{
    static const char *const names[] = { "status", "submit", "cancel", "logs", "memory", NULL };
    static const char *const none[] = { NULL };

    CHECK_STR(str_did_you_mean("statsu", names), "status");
    CHECK_STR(str_did_you_mean("sumbit", names), "submit");
    CHECK_STR(str_did_you_mean("log", names), "logs");
    CHECK_STR(str_did_you_mean("mem", names), "memory");
    CHECK(!str_did_you_mean("xy", names));
    CHECK(!str_did_you_mean("frobnicate", names));
    CHECK(!str_did_you_mean("", names));
    CHECK(!str_did_you_mean("status", none));
}

TEST(hex)
{
    char out[9];

    str_hex("\x00\xff\x1a\x80", 4, out);
    CHECK_STR(out, "00ff1a80");
    str_hex("", 0, out);
    CHECK_STR(out, "");
}
