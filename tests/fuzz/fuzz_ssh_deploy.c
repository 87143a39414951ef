/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a host answers while hive is copied to it, and heads of programs. Whatever comes: strings end,
 * folders can be quoted, and nothing is believed that a command line can't be made of.
 */
#include "base/mem.h"

#include "base/str.h"
#include "net/ssh_deploy_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check_text(const char *s, size_t size)
{
    must(strnlen(s, size) < size);
    for (; *s; s++)
        must((unsigned char)*s >= ' ' && *s != '\x7F');
}

static void check_place(const struct deploy_place *p)
{
    struct deploy_place refined = *p;
    struct buf b = BUF_INIT;
    char *path = mem_printf("%s/hive", p->folder);

    must(p->number >= 0 && p->number <= DEPLOY_OWN);
    must(p->code >= -1 && p->code <= 255);
    check_text(p->folder, sizeof p->folder);
    check_text(p->text, sizeof p->text);
    check_text(p->said, sizeof p->said);
    if (*p->folder) {
        must(ssh_deploy_command(path, "agent --stdio", &b, NULL) == 0);
        must(str_starts(buf_data(&b), "exec ") && strlen(path) < SSH_DEPLOY_PATH_MAX);
    }
    deploy_refine(&refined);
    free(path);
    buf_fini(&b);
}

static void try_answer(const char *text, size_t len)
{
    struct deploy_answer a;
    struct err err = ERR_INIT;
    char line[DEPLOY_TEXT_MAX];

    deploy_answer_read(text, len, &a);
    must(a.whole == deploy_answer_ended(text, len) && (a.begun || !a.whole));
    must(a.uid >= -1 && a.removed >= 0 && a.place_count <= ARRAY_LEN(a.places));
    check_text(a.os, sizeof a.os);
    check_text(a.arch, sizeof a.arch);
    check_text(a.home, sizeof a.home);
    for (size_t i = 0; i < a.place_count; i++)
        check_place(&a.places[i]);
    deploy_say_places(a.places, a.place_count, &err);
    check_text(err.msg, sizeof err.msg);
    deploy_answer_fini(&a);
    deploy_first_line(text, len, line);
    check_text(line, sizeof line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf b = BUF_INIT;
    char arch[DEPLOY_WORD_MAX];
    bool dynamic;

    try_answer((const char *)data, size);
    buf_append_str(&b, "@hive-deploy 1\nplace 1 /home/a/.cache/hive/bin/0\n");
    buf_append(&b, data, size);
    buf_append_str(&b, "\n@end\n");
    try_answer(buf_data(&b), buf_len(&b));
    buf_fini(&b);
    if (deploy_read_elf(data, size, arch, &dynamic))
        must(strstr(deploy_arch_words(arch), arch) != NULL);
    return 0;
}
