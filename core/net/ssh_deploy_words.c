/* SPDX-License-Identifier: BSD-2-Clause */
/* Why there is no hive in a place, for people. */
#include "base/mem.h"

#include "base/str.h"
#include "net/ssh_deploy_priv.h"

static bool has_word(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strstr(text, *words))
            return true;
    return false;
}

void deploy_refine(struct deploy_place *p)
{
    static const char *const full[] = { "No space", "no space", "uota exceeded", NULL };
    static const char *const denied[] = { "ermission denied", "not permitted", NULL };

    if ((p->state == DEPLOY_SHORT || p->state == DEPLOY_DENIED) && has_word(p->text, full))
        p->state = DEPLOY_FULL;
    else if (p->state == DEPLOY_FAILS && p->code == 126 && has_word(p->said, denied))
        p->state = DEPLOY_NOEXEC;
}

static void say_place(const struct deploy_place *p, struct buf *b)
{
    /* Without bin/SHA256, which says nothing to anybody */
    const char *end = strstr(p->folder, "/bin/");
    size_t len = strlen(p->folder);

    for (const char *next = end; next; next = strstr(next + 1, "/bin/"))
        end = next;
    if (end)
        len = (size_t)(end - p->folder);
    if (len > 0)
        str_append_safe(b, p->folder, len);
    else
        buf_append_str(b, "a folder with an odd name");
    buf_append_str(b, ": ");
    switch (p->state) {
    case DEPLOY_DENIED:
        buf_append_str(b, *p->text ? p->text : "can't be written to");
        break;
    case DEPLOY_NOEXEC:
        buf_append_str(b, "programs can't be run from there (noexec)");
        break;
    case DEPLOY_FULL:
        buf_append_str(b, "no room");
        break;
    case DEPLOY_FOREIGN:
        buf_append_str(b, "somebody else's, or open to others");
        break;
    case DEPLOY_SHORT:
        buf_append_str(b, *p->text ? p->text : "the file was cut on its way");
        break;
    case DEPLOY_DIFFERS:
        buf_append_str(b, "the file is not what was sent");
        break;
    case DEPLOY_FAILS:
        buf_printf(b, "it does not run: %s", *p->said ? p->said : "no reason given");
        break;
    case DEPLOY_HAVE:
    case DEPLOY_FREE:
    case DEPLOY_NONE:
        buf_append_str(b, "not usable");
        break;
    }
}

static bool any(const struct deploy_place *places, size_t count, enum deploy_state state)
{
    for (size_t i = 0; i < count; i++)
        if (places[i].state == state)
            return true;
    return false;
}

void deploy_say_places(const struct deploy_place *places, size_t count, struct err *err)
{
    struct buf b = BUF_INIT;
    bool full = any(places, count, DEPLOY_FULL);

    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_append_str(&b, "; ");
        say_place(&places[i], &b);
    }
    if (count == 0)
        buf_append_str(&b, "there is no home folder and no /tmp");
    err_set(err, full ? ERR_NO_SPACE : ERR_DENIED, "hive can't be kept there: %s", buf_data(&b));
    buf_fini(&b);
    if (full)
        err_hint(err, "make room there");
    else if (any(places, count, DEPLOY_NOEXEC))
        err_hint(err, "set XDG_CACHE_HOME there to a folder that programs may be run from, or "
                      "install a hive of this version in its PATH");
    else
        err_hint(err, "see that the user may write to ~/.cache there, or install a hive of this "
                      "version in its PATH");
}
