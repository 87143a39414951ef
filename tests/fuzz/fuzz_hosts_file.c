/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Beowulf's files. Input: a text, read as a list of hosts, as settings, and as the command line of
 * an application. Whatever it is: what comes out is fit for a command line and is read back as the
 * same, and each skipped line is told.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/hosts_file.h"
#include "base/mem.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void check_entry(const struct hosts_entry *e)
{
    struct buf b = BUF_INIT;
    struct hosts_entry again;

    require(e->host && *e->host && *e->host != '-' && strlen(e->host) <= HOSTS_NAME_MAX);
    require(!e->user || (*e->user && *e->user != '-' && strlen(e->user) <= HOSTS_NAME_MAX));
    require(e->line >= 1);
    hosts_entry_format(e, &b);
    for (const char *p = buf_data(&b); *p; p++)
        require(*p > ' ' && *p != 0x7f && !strchr("\"'`$;&|<>\\*?!(){}#~", *p));
    require(hosts_entry_parse(buf_data(&b), &again, NULL) == 0);
    require(str_eq(again.host, e->host) && str_eq(again.user, e->user) && again.port == e->port);
    hosts_entry_fini(&again);
    buf_fini(&b);
}

/* One line for each bad one, up to the limit. */
static void check_warnings(const struct buf *warned, size_t bad)
{
    size_t lines = 0;

    require(str_is_utf8(buf_data(warned), buf_len(warned)));
    for (const char *p = buf_data(warned); *p; lines++) {
        require(str_starts(p, "f:"));
        const char *newline = strchr(p, '\n');
        require(newline != NULL);
        p = newline + 1;
    }
    require(lines == (bad < HOSTS_WARNINGS_MAX ? bad : HOSTS_WARNINGS_MAX));
}

static void try_hosts(const char *text, size_t size)
{
    struct buf warned = BUF_INIT;
    struct hosts_file f;

    if (hosts_file_parse("f", text, size, &f, &warned, NULL) == 0) {
        require(f.count <= HOSTS_COUNT_MAX);
        for (size_t i = 0; i < f.count; i++)
            check_entry(&f.entries[i]);
        check_warnings(&warned, f.bad);
    } else {
        require(f.count == 0 && !f.entries);
    }
    hosts_file_fini(&f);
    buf_fini(&warned);
}

static void try_rc(const char *text, size_t size)
{
    struct buf warned = BUF_INIT;
    struct beowulf_rc rc;

    if (beowulf_rc_parse("f", text, size, &rc, &warned, NULL) == 0) {
        require(rc.interval_ns >= BEOWULF_INTERVAL_MIN_NS);
        require(rc.interval_ns <= BEOWULF_INTERVAL_MAX_NS);
        for (size_t i = 0; i < rc.count; i++) {
            require(*rc.sticky[i].app != '\0');
            require(beowulf_rc_sticky(&rc, rc.sticky[i].app) == &rc.sticky[i].host);
            check_entry(&rc.sticky[i].host);
        }
        check_warnings(&warned, rc.bad);
    }
    beowulf_rc_fini(&rc);
    buf_fini(&warned);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;

    if (size > 256 * 1024)
        return 0;
    try_hosts(text, size);
    try_rc(text, size);
    char *command = mem_strndup(text, size);
    char *name = hosts_app_name(command);
    require(strlen(name) <= HOSTS_NAME_MAX && !strchr(name, '/') && strstr(command, name));
    free(name);
    free(command);
    return 0;
}
