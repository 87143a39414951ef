/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/ssh_config_priv.h"

#include "base/err.h"
#include "base/str.h"
#include "net/ssh_pattern.h"

static enum ssh_config_active at_most(enum ssh_config_active a, enum ssh_config_active b)
{
    return a < b ? a : b;
}

int ssh_config_host(struct ssh_config_state *s, struct ssh_config_place *at,
                    const struct ssh_config_list *patterns, struct err *err)
{
    enum ssh_config_active active = ACTIVE_NO;
    bool negated = false;

    for (size_t i = 0; i < patterns->count; i++) {
        const char *pattern = patterns->item[i];
        bool negate = pattern[0] == '!';
        if (pattern[0] == '\0')
            return ssh_config_bad(at, "Host", err, "an empty pattern matches nothing");
        pattern += negate;
        if (!ssh_pattern_match(s->host, pattern, strlen(pattern), false))
            continue;
        active = ACTIVE_YES;
        negated = negated || negate;
    }
    at->active = negated ? ACTIVE_NO : at_most(active, at->limit);
    return 0;
}

/* --- Match ------------------------------------------------------------------------------------ */

/* Criteria that need a program, the network, or a newer ssh than all have. */
static const char *const undecidable[] = { "exec",        "localnetwork", "tagged",
                                           "sessiontype", "command",      "version" };

struct match {
    struct ssh_config_state *s;
    struct ssh_config_place *at;
    enum ssh_config_active result;
    const char *undecided; /* a criterion of the table above */
    int count;
};

static void no(struct match *m)
{
    m->result = ACTIVE_NO;
}

static bool in_list(const char *text, const char *list, bool nocase)
{
    return ssh_pattern_list_match(text, list, strlen(list), nocase) == 1;
}

/* The host as far as it is known by now: HostName may still come. */
static int match_host(struct match *m, const char *list, bool *is, struct err *err)
{
    const struct ssh_config_value *name = &m->s->v[O_HOST_NAME];

    if (m->s->final || !name->set) {
        *is = in_list(m->s->final ? m->s->host : m->s->in->host, list, true);
        return 0;
    }
    char *host = ssh_config_expand_host(m->s->in, name->text, name->origin, err);
    if (!host)
        return -1;
    *is = in_list(host, list, true);
    free(host);
    return 0;
}

/* A criterion with an argument. */
static int criterion(struct match *m, const char *word, bool negate, const char *arg,
                     struct err *err)
{
    const struct ssh_config_input *in = m->s->in;
    bool is = false;

    if (str_eq_nocase(word, "host")) {
        if (match_host(m, arg, &is, err) != 0)
            return -1;
    } else if (str_eq_nocase(word, "originalhost")) {
        is = in_list(in->host, arg, true);
    } else if (str_eq_nocase(word, "user")) {
        const char *user = in->user ? in->user : m->s->v[O_USER].text;
        is = in_list(user ? user : in->local_user, arg, false);
    } else if (str_eq_nocase(word, "localuser")) {
        is = in_list(in->local_user, arg, false);
    } else {
        for (size_t i = 0; i < ARRAY_LEN(undecidable); i++)
            if (str_eq_nocase(word, undecidable[i])) {
                m->undecided = undecidable[i];
                return 0;
            }
        char *shown = ssh_config_show(word);
        ssh_config_bad(m->at, "Match", err,
                       "expected all, canonical, final, exec, host, originalhost, user or "
                       "localuser, not \"%s\"",
                       shown);
        free(shown);
        return -1;
    }
    if (is == negate)
        no(m);
    return 0;
}

/* The end of the line, or a comment. */
static bool at_end(const char *value)
{
    return *value == '\0' || *value == '#';
}

static int match_all(struct match *m, const char *value, bool negate, struct err *err)
{
    if (m->count > 1 || !at_end(value))
        return ssh_config_bad(m->at, "Match", err,
                              "\"all\" must stand alone, or behind canonical or final");
    if (negate)
        no(m);
    return 0;
}

/* One criterion; *value is moved behind it. */
static int one(struct match *m, const char *word, const char **value, struct err *err)
{
    bool negate = word[0] == '!', bad = false;

    word += negate;
    if (str_eq_nocase(word, "all"))
        return match_all(m, *value, negate, err);
    m->count++;
    if (str_eq_nocase(word, "canonical") || str_eq_nocase(word, "final")) {
        if (str_eq_nocase(word, "final"))
            m->s->want_final = true;
        if (m->s->final == negate)
            no(m);
        return 0;
    }
    char *arg = at_end(*value) ? NULL : ssh_config_match_word(value, &bad);
    int rc;
    if (!arg || *arg == '\0')
        rc = ssh_config_bad(m->at, "Match", err,
                            bad ? "a quote is not closed" : "the last criterion has no argument");
    else
        rc = criterion(m, word, negate, arg, err);
    free(arg);
    return rc;
}

int ssh_config_match(struct ssh_config_state *s, struct ssh_config_place *at, const char *value,
                     struct err *err)
{
    struct match m = { .s = s, .at = at, .result = ACTIVE_YES };
    int words = 0, rc = 0;

    while (rc == 0 && !at_end(value)) {
        bool bad = false;
        char *word = ssh_config_match_word(&value, &bad);
        words++;
        rc = word ? one(&m, word, &value, err)
                  : ssh_config_bad(at, "Match", err, "a quote is not closed");
        free(word);
    }
    if (rc == 0 && words == 0)
        rc = ssh_config_bad(at, "Match", err, "expected a criterion");
    if (rc != 0)
        return -1;
    if (m.result == ACTIVE_YES && m.undecided) {
        m.result = ACTIVE_MAYBE;
        free(at->undecided);
        at->undecided =
            mem_printf("%s:%d: Match %s decides about it", at->file, at->line, m.undecided);
    }
    at->active = at_most(m.result, at->limit);
    return 0;
}
