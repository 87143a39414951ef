/* SPDX-License-Identifier: BSD-2-Clause */
/* Copying hive to a host: files, command lines, and what is made of answers. Hosts are in
 * test_ssh_deploy.c. */
#include "unit/unit.h"

#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "net/ssh_deploy_priv.h"

#include <elf.h>

static char *path_of(const char *name)
{
    return fs_join(unit_tmpdir(), name);
}

/* --- the file ----------------------------------------------------------------------------------- */

TEST(the_file)
{
    struct err err = ERR_INIT;
    struct ssh_deploy_program *p = ssh_deploy_program_open("/proc/self/exe", NULL, true, &err);
    const char *arch;

    CHECK(p);
    arch = ssh_deploy_program_arch(p);
    CHECK(*arch);
    CHECK_INT(strlen(ssh_deploy_program_sha256(p)), 64);
    CHECK(deploy_file_for(p, arch, &err) == &p->own);
    CHECK(!deploy_file_for(p, "", &err));
    CHECK(!deploy_file_for(p, "vax", &err));
    CHECK_INT(err.kind, ERR_UNPROCESS);
    CHECK(strstr(err.msg, "it is vax, and this hive is for ") == err.msg);
    CHECK(strstr(err.hint, "install a hive"));
    ssh_deploy_program_close(p);
    ssh_deploy_program_close(NULL);
}

TEST(files_that_will_not_do)
{
    struct err err = ERR_INIT;
    char *text = path_of("text");

    CHECK_OK(fs_write_file(text, "#!/bin/sh\n", 10, 0755, false, &err), &err);
    CHECK(!ssh_deploy_program_open(text, NULL, true, &err));
    CHECK_INT(err.kind, ERR_UNPROCESS);
    CHECK(!ssh_deploy_program_open("/nonexistent", NULL, true, &err));
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK(!ssh_deploy_program_open("/dev/null", NULL, true, &err));
    CHECK_INT(err.kind, ERR_UNPROCESS);
    CHECK(!ssh_deploy_program_open(unit_tmpdir(), NULL, true, &err));
    CHECK(!ssh_deploy_program_open("/proc/self/exe", NULL, false, &err));
    CHECK(strstr(err.msg, "needs libraries"));
    CHECK(strstr(err.hint, "make static"));
    free(text);
}

/* A head as a compiler for that machine would make it */
static size_t elf_head(unsigned char *out, unsigned machine, bool wide, bool big, bool loader)
{
    size_t head = wide ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
    size_t segment = wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    size_t phoff = wide ? offsetof(Elf64_Ehdr, e_phoff) : offsetof(Elf32_Ehdr, e_phoff);
    size_t size = wide ? offsetof(Elf64_Ehdr, e_phentsize) : offsetof(Elf32_Ehdr, e_phentsize);
    size_t last = wide ? 7 : 3;

    memset(out, 0, head + 2 * segment);
    memcpy(out, ELFMAG, SELFMAG);
    out[EI_CLASS] = wide ? ELFCLASS64 : ELFCLASS32;
    out[EI_DATA] = big ? ELFDATA2MSB : ELFDATA2LSB;
    out[18 + big] = (unsigned char)machine;
    out[18 + !big] = (unsigned char)(machine >> 8);
    out[phoff + (big ? last : 0)] = (unsigned char)head;
    out[size + big] = (unsigned char)segment;
    out[size + 2 + big] = 2;
    out[head + (big ? 3 : 0)] = PT_LOAD;
    out[head + segment + (big ? 3 : 0)] = loader ? PT_INTERP : PT_NOTE;
    return head + 2 * segment;
}

TEST(heads_of_programs)
{
    static const struct {
        unsigned machine;
        bool wide, big;
        const char *arch;
    } rows[] = {
        { EM_X86_64, true, false, "x86_64" },   { EM_X86_64, false, false, NULL }, /* x32 */
        { EM_AARCH64, true, false, "aarch64" }, { EM_AARCH64, true, true, NULL },
        { EM_386, false, false, "i686" },       { EM_ARM, false, false, "armv7l" },
        { EM_PPC64, true, false, "ppc64le" },   { EM_PPC64, true, true, "ppc64" },
        { EM_S390, true, true, "s390x" },       { EM_VAX, false, false, NULL },
    };
    unsigned char head[512];
    char arch[DEPLOY_WORD_MAX];
    bool dynamic;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int loader = 0; loader < 2; loader++) {
            size_t len = elf_head(head, rows[i].machine, rows[i].wide, rows[i].big, loader);
            bool known = deploy_read_elf(head, len, arch, &dynamic);

            CHECK(known == (rows[i].arch != NULL));
            if (!known)
                continue;
            CHECK_STR(arch, rows[i].arch);
            CHECK(dynamic == (loader == 1));
            for (size_t cut = 0; cut < len; cut++) {
                unsigned char *copy = mem_dup(head, cut);

                deploy_read_elf(copy, cut, arch, &dynamic);
                free(copy);
            }
        }
    }
    CHECK_STR(deploy_arch_words("aarch64"), "aarch64 arm64");
    CHECK_STR(deploy_arch_words("i586"), "i686 i586 i486 i386");
    CHECK_STR(deploy_arch_words("86"), "86");
    CHECK_STR(deploy_arch_words("vax"), "vax");
}

TEST(hives_for_others)
{
    struct err err = ERR_INIT;
    struct ssh_deploy_program *p =
        ssh_deploy_program_open("/proc/self/exe", unit_tmpdir(), true, &err);
    unsigned char head[512];
    size_t len = elf_head(head, EM_S390, true, true, false);
    char *path = path_of("hive-s390x"), *wrong = path_of("hive-ppc64le");
    const struct deploy_file *f;

    CHECK(p);
    CHECK(!deploy_file_for(p, "s390x", &err));
    CHECK(strstr(err.hint, "put a hive of this version for s390x here: "));
    CHECK(strstr(err.hint, path));
    CHECK_OK(fs_write_file(path, head, len, 0755, false, &err), &err);
    CHECK_OK(fs_write_file(wrong, head, len, 0755, false, &err), &err);
    f = deploy_file_for(p, "s390x", &err);
    CHECK(f && f->size == (int64_t)len);
    CHECK(deploy_file_for(p, "s390x", &err) == f);
    CHECK(!deploy_file_for(p, "ppc64le", &err));
    CHECK(strstr(err.hint, "is for s390x"));
    ssh_deploy_program_close(p);
    free(path);
    free(wrong);
}

/* --- commands ----------------------------------------------------------------------------------- */

TEST(command_lines)
{
    static const struct {
        const char *path, *want; /* NULL: refused */
    } rows[] = {
        { "/root/.cache/hive", "exec /root/.cache/hive agent --stdio" },
        { "/home/a b/hive", "exec '/home/a b/hive' agent --stdio" },
        { "/home/$x`y`/hive", "exec '/home/$x`y`/hive' agent --stdio" },
        { "/home/caf\xC3\xA9/hive", "exec '/home/caf\xC3\xA9/hive' agent --stdio" },
        { "/home/it's/hive", NULL },
        { "/home/a\\b/hive", NULL },
        { "/home/a!b/hive", NULL },
        { "/home/a\nb/hive", NULL },
        { "hive", NULL },
        { "", NULL },
    };
    struct err err = ERR_INIT;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT;
        int rc = ssh_deploy_command(rows[i].path, "agent --stdio", &b, &err);

        CHECK_INT(rc, rows[i].want ? 0 : -1);
        if (rows[i].want)
            CHECK_STR(buf_data(&b), rows[i].want);
        buf_fini(&b);
    }
}

/* Between the quotes nothing that any login shell changes, and no more than the smallest takes */
static void check_line(struct buf *b)
{
    const char *text = buf_data(b), *first = strchr(text, '\''), *next = strchr(first + 1, '\'');

    CHECK(str_starts(text, "exec sh -c '"));
    CHECK(str_starts(next, "' hive "));
    CHECK(!strpbrk(text, "\\!\n\t"));
    CHECK(buf_len(b) < 4096);
    buf_clear(b);
}

TEST(scripts_pass_through_login_shells)
{
    struct deploy_file f = { .size = INT64_MAX, .arch = "i686" };
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    memset(f.sha256, 'a', DEPLOY_SHA256_HEX);
    deploy_ask_probe(&f, "1234", &b);
    check_line(&b);
    CHECK_OK(deploy_ask_put(&f, "/home/a b/x", "0123456789abcdef", &b, &err), &err);
    check_line(&b);
    deploy_ask_own("1.0", &b);
    check_line(&b);
    deploy_ask_remove(NULL, &b);
    check_line(&b);
    CHECK_INT(deploy_ask_put(&f, "/home/it's", "0", &b, &err), -1);
    CHECK_INT(deploy_ask_put(&f, "", "0", &b, &err), -1);
    CHECK_INT(buf_len(&b), 0);
    buf_fini(&b);
}

/* --- answers ------------------------------------------------------------------------------------ */

static void read_answer(const char *text, struct deploy_answer *a)
{
    deploy_answer_read(text, strlen(text), a);
}

TEST(an_answer)
{
    struct deploy_answer a;

    read_answer("Welcome!\n@hive-deploy 1\nplace 1 /old\n\n@hive-deploy 1\nos Linux\narch x86_64\n"
                "uid 1001\nhome /home/a b\nproc yes\nplace 1 /home/a b/.cache\nstate noexec\n"
                "place 3 /tmp/hive-1\ncode 0\nsaid hive 1.0 (x)\nstate have\n@end\nbye\n",
                &a);
    CHECK(a.begun && a.whole && a.proc);
    CHECK_STR(a.os, "Linux");
    CHECK_STR(a.arch, "x86_64");
    CHECK_STR(a.home, "/home/a b");
    CHECK_INT(a.uid, 1001);
    CHECK_INT(a.place_count, 2);
    CHECK_INT(a.places[0].number, 1);
    CHECK_INT(a.places[0].state, DEPLOY_NOEXEC);
    CHECK_STR(a.places[1].folder, "/tmp/hive-1");
    CHECK_STR(a.places[1].said, "hive 1.0 (x)");
    CHECK_INT(a.places[1].code, 0);
    CHECK(deploy_answer_place(&a, DEPLOY_HAVE) == &a.places[1]);
    CHECK(!deploy_answer_place(&a, DEPLOY_FREE));
    deploy_answer_fini(&a);
}

TEST(no_answers)
{
    static const char *const texts[] = { "",
                                         "@end\n",
                                         "@hive-deploy 1\n@end",
                                         "@hive-deploy 2\n@end\n",
                                         " @hive-deploy 1\n@end\n",
                                         "x@hive-deploy 1\n@end\n",
                                         "@hive-deploy 1\n@ended\n" };
    struct deploy_answer a;
    char line[DEPLOY_TEXT_MAX];

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        read_answer(texts[i], &a);
        CHECK(!a.whole);
        CHECK(!deploy_answer_ended(texts[i], strlen(texts[i])));
        deploy_answer_fini(&a);
    }
    deploy_first_line("\r\n \nNo \x1B[1mshell\r\nfor you", 24, line);
    CHECK_STR(line, "No \\e[1mshell");
    deploy_first_line("", 0, line);
    CHECK_STR(line, "");
}

/* Whatever a host says, it is bounded, and can't be told apart from nothing. */
TEST(odd_answers)
{
    struct buf b = BUF_INIT;
    struct deploy_answer a;

    read_answer("@hive-deploy 1\nstate have\ntext lost\ncode 7\nplace\nplace x /a\nplace 99 /a\n"
                "place -1 /a\nos\nos \nuid 99999999999\nuid -5\n@end\n",
                &a);
    CHECK(a.whole && a.place_count == 0 && a.uid == -1);
    deploy_answer_fini(&a);
    buf_append_str(&b, "@hive-deploy 1\nhome /a\x01");
    buf_append_str(&b, "b\nos \x1B[31mLinux\nplace 1 /it's\nstate have\nplace 2 /");
    for (int i = 0; i < SSH_DEPLOY_PATH_MAX; i++)
        buf_append_char(&b, 'a');
    buf_append_str(&b, "\nstate dance\ncode 256\ntext ");
    for (int i = 0; i < 2000; i++)
        buf_append_char(&b, '\x7F');
    for (int i = 0; i < 20; i++)
        buf_append_str(&b, "\nplace 3 relative");
    for (int i = 0; i < 2000; i++)
        buf_append_str(&b, "\nleft /some/folder");
    buf_append_str(&b, "\n@end\n");
    deploy_answer_read(buf_data(&b), buf_len(&b), &a);
    CHECK(a.whole);
    CHECK_STR(a.home, "");
    CHECK_STR(a.os, "\\e[31mLinux");
    CHECK_STR(a.places[0].folder, "");
    CHECK_INT(a.places[0].state, DEPLOY_HAVE);
    CHECK_STR(a.places[1].folder, "");
    CHECK_INT(a.places[1].state, DEPLOY_NONE);
    CHECK_INT(a.places[1].code, -1);
    CHECK(strlen(a.places[1].text) < DEPLOY_TEXT_MAX);
    CHECK_INT(a.place_count, DEPLOY_PLACES + 1);
    CHECK_STR(a.places[2].folder, "");
    CHECK(buf_len(&a.left) <= 4200);
    deploy_answer_fini(&a);
    buf_fini(&b);
}

TEST(what_the_system_said)
{
    struct deploy_place p = { .state = DEPLOY_SHORT };

    str_copy(p.text, sizeof p.text, "cat: write error: No space left on device");
    deploy_refine(&p);
    CHECK_INT(p.state, DEPLOY_FULL);
    p.state = DEPLOY_DENIED;
    str_copy(p.text, sizeof p.text, "mkdir: /x: Disk quota exceeded");
    deploy_refine(&p);
    CHECK_INT(p.state, DEPLOY_FULL);
    p = (struct deploy_place){ .state = DEPLOY_FAILS, .code = 126 };
    str_copy(p.said, sizeof p.said, "sh: 1: /x/hive: Permission denied");
    deploy_refine(&p);
    CHECK_INT(p.state, DEPLOY_NOEXEC);
    p.state = DEPLOY_FAILS;
    str_copy(p.said, sizeof p.said, "sh: 1: /x/hive: Exec format error");
    deploy_refine(&p);
    CHECK_INT(p.state, DEPLOY_FAILS);
}
