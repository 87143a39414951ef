/* SPDX-License-Identifier: BSD-2-Clause */
/* The same sample by way of a shell: the script and the reader of what it prints. */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "sys/sample_parse.h"

#define FIRST_LINE "@hive-sample 1"
#define LAST_LINE "@end"

/*
 * Sections begin with a line "@NAME". They are named after the file in /proc whose content follows,
 * or are: disks (names of those with a device), nets ("KIND NAME", the rules of sample_kind.c),
 * processes (how many), who, sessions (there is such a folder; nothing in it), session (one file),
 * folder N (what df says). Of /proc/stat the lines of interrupts are left behind: they are long.
 */
/* clang-format off */
const char SAMPLE_SCRIPT[] =
    "exec 2>/dev/null; LC_ALL=C; PATH=$PATH:/bin:/usr/bin:/sbin:/usr/sbin; export LC_ALL PATH; "
    "while read -r x; do "
    "echo \"" FIRST_LINE "\"; "
    "echo \"@stat\"; grep \"^cpu\" /proc/stat || cat /proc/stat; "
    "for f in self/status meminfo loadavg uptime diskstats net/dev pressure/cpu pressure/memory "
    "pressure/io sys/kernel/random/boot_id; do echo \"@$f\"; cat \"/proc/$f\"; done; "
    "echo \"@processes\"; (set -- /proc/[0-9]*; echo \"$#\"); "
    "if [ -d /sys/block ]; then echo \"@disks\"; for d in /sys/block/*; do "
    "if [ -e \"$d/device\" ]; then echo \"${d##*/}\"; fi; done; fi; "
    "echo \"@nets\"; for d in /sys/class/net/*; do if [ -e \"$d\" ]; then k=plain; "
    "if [ -e \"$d/device\" ]; then k=device; if [ -e \"$d/master/device\" ]; then k=over; fi; "
    "elif [ -e \"$d/bridge\" ] || [ -e \"$d/brport\" ] || [ -e \"$d/tun_flags\" ]; then k=over; "
    "else for l in \"$d\"/lower_*; do if [ -e \"$l\" ]; then k=over; fi; done; fi; "
    "echo \"$k ${d##*/}\"; fi; done; "
    "if { [ -s /run/utmp ] || [ -s /var/run/utmp ]; } && command -v who >/dev/null; then "
    "echo \"@who\"; who; "
    "elif [ -d /run/systemd/sessions ]; then echo \"@sessions\"; "
    "for f in /run/systemd/sessions/*; do case $f in *.*) ;; *) "
    "if [ -f \"$f\" ]; then echo \"@session\"; cat \"$f\"; fi ;; esac; done; fi; "
    "i=0; for d do echo \"@folder $i\"; df -Pk -- \"$d\"; i=$((i+1)); done; "
    "echo \"" LAST_LINE "\"; done";
/* clang-format on */

static bool quotable(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < ' ' || strchr("'\\!\x7F", *s))
            return false;
    }
    return true;
}

int sample_script_command(const char *const *folders, struct buf *out, struct err *err)
{
    for (size_t i = 0; folders && folders[i]; i++) {
        if (i == SAMPLE_FOLDERS_MAX)
            return err_set(err, ERR_TOO_LARGE, "more than %d folders to watch", SAMPLE_FOLDERS_MAX);
        if (!quotable(folders[i])) {
            char *safe = str_safe(folders[i]);
            err_set(err, ERR_INVALID, "can't watch the folder %s on a host without hive", safe);
            free(safe);
            return err_hint(err, "its name must be without ', \\, ! and control characters");
        }
    }
    buf_printf(out, "exec sh -c '%s' hive", SAMPLE_SCRIPT);
    for (size_t i = 0; folders && folders[i]; i++)
        buf_printf(out, " '%s'", folders[i]);
    return 0;
}

static bool is_line(const char *line, size_t len, const char *what)
{
    return len == strlen(what) && memcmp(line, what, len) == 0;
}

/* The last sample begun before the first end: of one that was cut there may be a rest. `from` is
 * behind the first line, `to` at the last. Returns the bytes up to and with the last line, or 0. */
static size_t find_sample(const char *text, size_t len, size_t *from, size_t *to)
{
    const char *at = text, *line;
    size_t line_len, left = len;
    bool begun = false;

    while (sample_next_line(&at, &left, &line, &line_len)) {
        if (is_line(line, line_len, FIRST_LINE)) {
            begun = true;
            *from = (size_t)(at - text);
        } else if (begun && is_line(line, line_len, LAST_LINE) && at[-1] == '\n') {
            *to = (size_t)(line - text);
            return (size_t)(at - text);
        }
    }
    return 0;
}

size_t sample_text_end(const char *text, size_t len)
{
    size_t from, to;

    return find_sample(text, len, &from, &to);
}

static void read_meminfo(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_meminfo(text, len, &t->out->memory);
}

static void read_stat(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_stat(text, len, t->now);
}

static void read_status(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_allowed(text, len, t->now);
}

static void read_loadavg(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_loadavg(text, len, t->out);
}

static void read_uptime(const char *text, size_t len, struct sample_text *t)
{
    t->out->uptime_ns = sample_parse_uptime_ns(text, len);
}

static void read_diskstats(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_diskstats(text, len, t->now);
}

static void read_net(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_net(text, len, t->now);
}

static void read_cpu_pressure(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_pressure(text, len, &t->out->cpu_pressure);
}

static void read_memory_pressure(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_pressure(text, len, &t->out->memory_pressure);
}

static void read_io_pressure(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_pressure(text, len, &t->out->io_pressure);
}

static void read_boot_id(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_boot_id(text, len, t->out->boot_id);
}

static void read_processes(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_count(text, len, &t->out->processes);
}

static void read_disks(const char *text, size_t len, struct sample_text *t)
{
    const char *line;
    size_t n;

    t->disks->known = true;
    while (sample_next_line(&text, &len, &line, &n))
        sample_kinds_add(t->disks, line, n, SAMPLE_KIND_DEVICE);
}

static void read_nets(const char *text, size_t len, struct sample_text *t)
{
    static const struct {
        const char *word;
        enum sample_kind kind;
    } kinds[] = { { "device ", SAMPLE_KIND_DEVICE },
                  { "plain ", SAMPLE_KIND_PLAIN },
                  { "over ", SAMPLE_KIND_OVER } };
    const char *line;
    size_t n;

    while (sample_next_line(&text, &len, &line, &n)) {
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
            size_t word = strlen(kinds[i].word);
            if (n > word && memcmp(line, kinds[i].word, word) == 0)
                sample_kinds_add(t->nets, line + word, n - word, kinds[i].kind);
        }
    }
}

static void read_who(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_who(text, len, &t->out->users);
}

static void read_sessions(const char *text, size_t len, struct sample_text *t)
{
    (void)text;
    (void)len;
    if (t->out->users.count < 0)
        t->out->users.count = t->out->users.sessions = 0;
}

static void read_session(const char *text, size_t len, struct sample_text *t)
{
    sample_parse_session(text, len, &t->out->users);
}

static const struct section {
    const char *line;
    void (*read)(const char *text, size_t len, struct sample_text *t);
} sections[] = {
    { "@stat", read_stat },
    { "@self/status", read_status },
    { "@meminfo", read_meminfo },
    { "@loadavg", read_loadavg },
    { "@uptime", read_uptime },
    { "@diskstats", read_diskstats },
    { "@net/dev", read_net },
    { "@pressure/cpu", read_cpu_pressure },
    { "@pressure/memory", read_memory_pressure },
    { "@pressure/io", read_io_pressure },
    { "@sys/kernel/random/boot_id", read_boot_id },
    { "@processes", read_processes },
    { "@disks", read_disks },
    { "@nets", read_nets },
    { "@who", read_who },
    { "@sessions", read_sessions },
    { "@session", read_session },
};

/* What a line begins, if it begins something: a section of the table, a folder, or what only a newer
 * script knows. No content looks so: a name in what who(1) says isn't alone in its line. */
static bool begins(const char *line, size_t len, const struct section **section, size_t *folder)
{
    static const char word[] = "@folder ";
    size_t n = sizeof word - 1;

    *section = NULL;
    *folder = SAMPLE_FOLDERS_MAX;
    if (len == 0 || line[0] != '@')
        return false;
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        if (is_line(line, len, sections[i].line)) {
            *section = &sections[i];
            return true;
        }
    }
    if (len <= n || len > n + 2 || memcmp(line, word, n) != 0)
        return !memchr(line, ' ', len) && !memchr(line, '=', len);
    *folder = 0;
    for (size_t i = n; i < len; i++) {
        if (line[i] < '0' || line[i] > '9')
            return false;
        *folder = *folder * 10 + (size_t)(line[i] - '0');
    }
    return true;
}

static void end_section(const struct section *section, size_t folder, const char *text, size_t len,
                        struct sample_text *t)
{
    if (section)
        section->read(text, len, t);
    else if (folder < t->out->folder_count)
        sample_parse_df(text, len, &t->out->folders[folder]);
}

void sample_parse_sections(const char *text, size_t len, struct sample_text *t)
{
    const struct section *section = NULL, *next;
    size_t folder = SAMPLE_FOLDERS_MAX, next_folder, n;
    const char *body = text, *line;

    while (sample_next_line(&text, &len, &line, &n)) {
        if (!begins(line, n, &next, &next_folder))
            continue;
        end_section(section, folder, body, (size_t)(line - body), t);
        section = next;
        folder = next_folder;
        body = text;
    }
    end_section(section, folder, body, (size_t)(text - body), t);
    sample_kinds_sort(t->disks);
    sample_kinds_sort(t->nets);
}

const struct sample *sampler_read_text(struct sampler *s, const char *text, size_t len,
                                       struct err *err)
{
    struct sample *out = &s->sample;
    struct sample_text t = { out, NULL, &s->disks, &s->nets };
    size_t from = 0, to = 0;

    if (len > SAMPLE_TEXT_MAX) {
        err_set(err, ERR_TOO_LARGE, "a sample of more than %d bytes", SAMPLE_TEXT_MAX);
        return NULL;
    }
    if (find_sample(text, len, &from, &to) == 0) {
        err_set(err, ERR_CORRUPT, "no whole sample in %zu bytes from the host", len);
        err_hint(err, "its shell must be able to run: sh -c \"cat /proc/stat\"");
        return NULL;
    }
    t.now = sampler_next(s);
    sample_kinds_clear(&s->disks);
    sample_kinds_clear(&s->nets);
    sample_reset(out);
    sample_parse_sections(text + from, to - from, &t);
    memcpy(t.now->boot_id, out->boot_id, sizeof out->boot_id);
    t.now->time_ns = out->taken_ns = out->uptime_ns;
    sample_rates(s->any ? &s->counters[s->current] : NULL, t.now, &s->disks, &s->nets, &s->arrays,
                 out);
    s->current = 1 - s->current;
    s->any = true;
    return out;
}
