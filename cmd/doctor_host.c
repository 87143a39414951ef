/* SPDX-License-Identifier: BSD-2-Clause */
/* Checks of a host. Each is a function that looks at what is known, and adds at most a few lines. */
#include "base/mem.h"

#include "cmd/doctor.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/hosts_file.h"
#include "base/str.h"
#include "cmd/hosts_probe.h"
#include "net/ssh_deploy.h"
#include "version.h"

#include <inttypes.h>

#define SKEW_NS (2 * NS_PER_S)
#define ROOM_LEAST_KIB INT64_C(51200)
#define ROOM_LITTLE_KIB INT64_C(1048576)
#define MEMORY_LITTLE_KIB INT64_C(262144)
#define SESSIONS_LEAST 4

/* What stands before a command that is to be run there. */
static char *ssh_words(const struct doctor_host *h)
{
    struct buf b = BUF_INIT;
    struct hosts_entry e;

    buf_append_str(&b, "ssh ");
    if (hosts_entry_parse(h->word, &e, NULL) == 0) {
        if (e.port)
            buf_printf(&b, "-p %u ", (unsigned)e.port);
        if (e.user) {
            str_append_shell_quoted(&b, e.user);
            buf_append_char(&b, '@');
        }
        str_append_shell_quoted(&b, e.host);
        hosts_entry_fini(&e);
    } else {
        str_append_shell_quoted(&b, h->word);
    }
    buf_append_char(&b, ' ');
    return buf_take(&b, NULL);
}

/* What a host says about itself gets into commands that somebody will copy: only what no shell looks
 * at. */
static const char *plain(const char *s, const char *instead)
{
    static const char fine[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_.@+,:-";

    return *s && *s != '-' && s[strspn(s, fine)] == '\0' ? s : instead;
}

static const char *plain_fact(const struct doctor_facts *f, const char *name, const char *instead)
{
    return plain(doctor_fact(f, name), instead);
}

/* "sudo " where it is somebody else than root who logs in. */
static const char *sudo(const struct doctor_facts *f)
{
    return doctor_fact_int(f, "uid", 0) == 0 ? "" : "sudo ";
}

void doctor_fix_install(struct doctor_report *r, const struct doctor_facts *f, const char *ssh,
                        const char *package)
{
    static const struct {
        const char *program, *words;
    } managers[] = { { "apt-get", "apt-get install" },
                     { "dnf", "dnf install" },
                     { "zypper", "zypper install" },
                     { "pacman", "pacman -S" },
                     { "apk", "apk add" } };

    for (size_t i = 0; i < ARRAY_LEN(managers); i++) {
        if (str_eq(doctor_fact(f, "packages"), managers[i].program)) {
            doctor_fix(r, "%s%s%s %s", ssh, sudo(f), managers[i].words, package);
            return;
        }
    }
    doctor_fix(r, "install %s%s", package, *ssh ? " there" : "");
}

/* --- for this machine too ----------------------------------------------------------------------- */

void doctor_check_waypipe(const struct doctor_facts *f, const char *ssh, const char *who,
                          struct doctor_report *r)
{
    const char *said = doctor_fact(f, "waypipe");
    int64_t major, minor;

    if (!*said) {
        doctor_add(r, "waypipe", DOCTOR_NOTE, "not installed: %s", who);
        doctor_fix_install(r, f, ssh, "waypipe");
    } else if (!doctor_read_version(said, &major, &minor)) {
        doctor_add(r, "waypipe", DOCTOR_NOTE, "it doesn't say its version: %s", said);
        doctor_fix(r, "%swaypipe --version", ssh);
    } else if (major != 0 || minor < 8 || minor > 11) {
        doctor_add(r, "waypipe", DOCTOR_NOTE,
                   "%" PRId64 ".%" PRId64 "; hive was tried with 0.8 to 0.11", major, minor);
        doctor_fix_install(r, f, ssh, "waypipe");
    } else {
        doctor_add(r, "waypipe", DOCTOR_OK, "%s", said);
    }
}

void doctor_check_gpu(const struct doctor_facts *f, const char *ssh, struct doctor_report *r)
{
    const char *name = doctor_fact(f, "nvidia");
    int64_t render = doctor_fact_int(f, "render_devices", 0);
    int64_t closed = doctor_fact_int(f, "render_closed", 0);
    bool nvidia = doctor_fact_int(f, "nvidia_devices", 0) > 0 || *doctor_fact(f, "nvidia_pci");

    if (*name && str_eq(doctor_fact(f, "nvidia_code"), "0")) {
        doctor_add(r, "gpu", DOCTOR_OK, "%s: %s", doctor_fact(f, "nvidia_count"), name);
    } else if (nvidia && *doctor_fact(f, "nvidia_code")) {
        doctor_add(r, "gpu", DOCTOR_PROBLEM, "nvidia-smi fails: %s", *name ? name : "no answer");
        doctor_fix(r, "%snvidia-smi", ssh);
    } else if (nvidia) {
        doctor_add(r, "gpu", DOCTOR_NOTE, "there is an NVIDIA card, but no nvidia-smi");
        doctor_fix(r, "install NVIDIA's driver%s", *ssh ? " there" : "");
    } else if (render > 0 && closed == render) {
        doctor_add(r, "gpu", DOCTOR_NOTE, "%s may not use /dev/dri/render*",
                   doctor_fact(f, "user"));
        doctor_fix(r, "%s%susermod -aG render %s", ssh, sudo(f), plain_fact(f, "user", "USER"));
    } else if (render > 0) {
        doctor_add(r, "gpu", DOCTOR_OK, "/dev/dri: %" PRId64 " for drawing", render - closed);
    } else {
        doctor_add(r, "gpu", DOCTOR_OK, "none");
    }
}

/* --- the way there ------------------------------------------------------------------------------ */

/* In the order of the steps; what the one that failed says has its own hint. */
static const struct {
    enum hosts_step step;
    const char *check;
} steps[] = {
    { HOSTS_CONFIG, "config" },       { HOSTS_LOOKUP, "name" },  { HOSTS_CONNECT, "reach" },
    { HOSTS_HANDSHAKE, "handshake" }, { HOSTS_HOST_KEY, "key" }, { HOSTS_LOGIN, "login" },
    { HOSTS_COMMAND, "command" },
};

static const char *step_text(const struct hosts_probe *p, enum hosts_step step)
{
    switch (step) {
    case HOSTS_LOOKUP:
        return p->config.host;
    case HOSTS_CONNECT:
        return p->address;
    case HOSTS_HANDSHAKE:
        return p->server;
    case HOSTS_HOST_KEY:
        return "the one that is known";
    case HOSTS_LOGIN:
        return p->config.user;
    case HOSTS_COMMAND:
        return "may be run";
    default:
        return "";
    }
}

/* What hive's own SSH can't do, the link process can, with the system's: that is told behind it. */
static bool is_for_system(const struct hosts_probe *p)
{
    return p->needs_system && p->step != HOSTS_OK;
}

static void check_way(const struct doctor_host *h, struct doctor_report *r)
{
    const struct hosts_probe *p = h->probe;
    bool through = p->configured && p->config.jump_count > 0;

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        char *text;

        if (steps[i].step == p->step) {
            if (!is_for_system(p))
                doctor_add_err(r, steps[i].check, DOCTOR_PROBLEM, &p->err);
            return;
        }
        if (steps[i].step == HOSTS_CONFIG || (through && steps[i].step == HOSTS_LOOKUP))
            continue;
        text = str_safe(step_text(p, steps[i].step) ? step_text(p, steps[i].step) : "");
        doctor_add(r, steps[i].check, DOCTOR_OK, "%s", text);
        free(text);
    }
}

static void check_node(const struct doctor_host *h, struct doctor_report *r)
{
    if (!h->node)
        return;
    if (str_eq(h->node_status, "up")) {
        doctor_add(r, "node", DOCTOR_OK, "%s is up", h->node);
        return;
    }
    doctor_add(r, "node", DOCTOR_PROBLEM, "%s is %s%s%s", h->node, h->node_status,
               *h->node_error ? ": " : "", h->node_error);
    if (*h->node_hint)
        doctor_fix(r, "%s", h->node_hint);
    else
        doctor_fix(r, "hive hosts list shows what is in the way; mend what is found here first");
}

/* --- what is there ------------------------------------------------------------------------------ */

struct there {
    const struct doctor_host *h;
    const struct doctor_facts *f;
    struct doctor_report *r;
    const char *ssh;
};

static void check_system(const struct there *t)
{
    const char *os = doctor_fact(t->f, "os"), *arch = doctor_fact(t->f, "arch");
    const struct ssh_deploy_program *p = t->h->program;

    if (!str_eq(os, "Linux")) {
        doctor_add(t->r, "system", DOCTOR_PROBLEM, "%s; hive runs on Linux", *os ? os : "unknown");
        doctor_fix(t->r, "hive hosts remove %s", t->h->node ? t->h->node : t->h->word);
    } else if (p && !str_eq(arch, ssh_deploy_program_arch(p))) {
        doctor_add(t->r, "system", DOCTOR_NOTE,
                   "%s %s %s; this hive is for %s, so that the host is measured but runs no jobs",
                   os, doctor_fact(t->f, "kernel"), arch, ssh_deploy_program_arch(p));
        doctor_fix(t->r, "put a hive that was built on %s into the state folder, as bin/hive-%s",
                   arch, plain(arch, "ARCH"));
    } else {
        doctor_add(t->r, "system", DOCTOR_OK, "%s %s %s", os, doctor_fact(t->f, "kernel"), arch);
    }
}

static void check_clock(const struct there *t)
{
    const struct doctor_visit *v = t->h->visit;
    int64_t off = v->ahead_ns < 0 ? -v->ahead_ns : v->ahead_ns;
    struct buf text = BUF_INIT;

    if (!v->timed) {
        doctor_add(t->r, "clock", DOCTOR_NOTE, "it doesn't say what time it is");
        doctor_fix(t->r, "%sdate", t->ssh);
        return;
    }
    str_format_duration(&text, off);
    buf_append_str(&text, v->ahead_ns < 0 ? " behind ours (± " : " ahead of ours (± ");
    str_format_duration(&text, v->uncertainty_ns);
    buf_append_char(&text, ')');
    if (off - v->uncertainty_ns > SKEW_NS) {
        doctor_add(t->r, "clock", DOCTOR_PROBLEM, "it is %s", buf_data(&text));
        doctor_fix(t->r, "%s%stimedatectl set-ntp true", t->ssh, sudo(t->f));
    } else if (off <= v->uncertainty_ns) {
        doctor_add(t->r, "clock", DOCTOR_OK, "no difference %s", strchr(buf_data(&text), '('));
    } else {
        doctor_add(t->r, "clock", DOCTOR_OK, "%s", buf_data(&text));
    }
    buf_fini(&text);
}

static void check_home(const struct there *t)
{
    const char *home = doctor_fact(t->f, "home"), *state = doctor_fact(t->f, "home_state");
    int64_t free_kib = doctor_fact_int(t->f, "free_kib", -1);
    const char *cache = doctor_fact(t->f, "cache"), *noexec = doctor_fact(t->f, "noexec");
    struct buf room = BUF_INIT;

    str_format_size(&room, free_kib > 0 ? free_kib * 1024 : 0);
    if (str_eq(state, "missing")) {
        doctor_add(t->r, "home", DOCTOR_PROBLEM, "there is no folder %s", home);
        doctor_fix(t->r, "%s%smkhomedir_helper %s", t->ssh, sudo(t->f),
                   plain_fact(t->f, "user", "USER"));
    } else if (!str_eq(state, "writable")) {
        doctor_add(t->r, "home", DOCTOR_NOTE, "%s can't be written to; hive goes to /tmp there",
                   cache);
        doctor_fix(t->r, "%sls -ld %s", t->ssh, plain(home, "~"));
    } else if (*noexec) {
        doctor_add(t->r, "home", DOCTOR_NOTE,
                   "no program may be run from %s (noexec); hive goes to /tmp there", cache);
        doctor_fix(t->r, "%s%smount -o remount,exec %s", t->ssh, sudo(t->f),
                   plain(noexec, "FOLDER"));
    } else if (free_kib >= 0 && free_kib < ROOM_LEAST_KIB) {
        doctor_add(t->r, "home", DOCTOR_PROBLEM, "%s is full: %s are free", cache, buf_data(&room));
        doctor_fix(t->r, "%sdu -xh --max-depth=1 %s", t->ssh, plain(home, "~"));
    } else if (free_kib >= 0 && free_kib < ROOM_LITTLE_KIB) {
        doctor_add(t->r, "home", DOCTOR_NOTE, "%s has little room: %s", home, buf_data(&room));
        doctor_fix(t->r, "%sdu -xh --max-depth=1 %s", t->ssh, plain(home, "~"));
    } else {
        doctor_add(t->r, "home", DOCTOR_OK, "%s: %s are free", home, buf_data(&room));
    }
    buf_fini(&room);
}

static void check_memory(const struct there *t)
{
    int64_t all = doctor_fact_int(t->f, "memory_kib", -1);
    int64_t left = doctor_fact_int(t->f, "available_kib", -1);
    struct buf text = BUF_INIT;

    if (all <= 0 || left < 0) {
        doctor_add(t->r, "memory", DOCTOR_NOTE, "/proc/meminfo can't be read there");
        doctor_fix(t->r, "%scat /proc/meminfo", t->ssh);
        return;
    }
    str_format_size(&text, left * 1024);
    buf_append_str(&text, " of ");
    str_format_size(&text, all * 1024);
    doctor_add(t->r, "memory", left < MEMORY_LITTLE_KIB ? DOCTOR_NOTE : DOCTOR_OK, "%s can be had",
               buf_data(&text));
    if (left < MEMORY_LITTLE_KIB)
        doctor_fix(t->r, "%sps -eo rss,user,args --sort=-rss | head", t->ssh);
    buf_fini(&text);
}

static void check_logout(const struct there *t)
{
    if (!*doctor_fact(t->f, "systemd"))
        return;
    if (*doctor_fact(t->f, "kill_user") && !*doctor_fact(t->f, "linger")) {
        doctor_add(t->r, "logout", DOCTOR_PROBLEM,
                   "jobs of %s end when the connection is lost (KillUserProcesses)",
                   doctor_fact(t->f, "user"));
        doctor_fix(t->r, "%s%sloginctl enable-linger %s", t->ssh, sudo(t->f),
                   plain_fact(t->f, "user", "USER"));
    } else {
        doctor_add(t->r, "logout", DOCTOR_OK, "jobs go on without a connection");
    }
}

static void check_sessions(const struct there *t)
{
    int64_t most = doctor_fact_int(t->f, "max_sessions", -1);

    if (most < 0 || most >= SESSIONS_LEAST)
        return;
    doctor_add(t->r, "sessions", DOCTOR_NOTE,
               "its SSH server allows %" PRId64 " at a time over a connection (MaxSessions)", most);
    doctor_fix(t->r,
               "set MaxSessions 10 in /etc/ssh/sshd_config there, then: %s%ssystemctl reload ssh",
               t->ssh, sudo(t->f));
}

/* The program that runs jobs there. */
static void check_agent(const struct there *t)
{
    const char *path = doctor_fact(t->f, "hive_path"), *sum = doctor_fact(t->f, "hive_sha256");
    const char *says = doctor_fact(t->f, "hive_says");
    const struct ssh_deploy_program *p = t->h->program;

    if (!p || !str_eq(doctor_fact(t->f, "arch"), ssh_deploy_program_arch(p)))
        return; /* there can be none */
    if (!*path) {
        doctor_add(t->r, "agent", t->h->node ? DOCTOR_NOTE : DOCTOR_OK,
                   "hive " HIVE_VERSION " is not there yet");
        if (t->h->node)
            doctor_fix(t->r, "it is copied when the daemon connects: hive hosts list");
    } else if (*sum && !str_eq(sum, ssh_deploy_program_sha256(p))) {
        doctor_add(t->r, "agent", DOCTOR_PROBLEM, "%s is damaged", path);
        doctor_fix(t->r, "%srm %s", t->ssh, plain(path, "FILE"));
    } else if (!str_starts(says, "hive ")) {
        doctor_add(t->r, "agent", DOCTOR_PROBLEM, "%s can't be run: %s", path, says);
        doctor_fix(t->r, "%s%s version", t->ssh, plain(path, "FILE"));
    } else {
        doctor_add(t->r, "agent", DOCTOR_OK, "%s: %s", path, says);
    }
}

static void check_windows(const struct there *t)
{
    bool x11 = *doctor_fact(t->f, "xwayland-satellite") ||
               (*doctor_fact(t->f, "cage") && *doctor_fact(t->f, "Xwayland"));

    doctor_check_waypipe(t->f, t->ssh, "its programs can't show windows here", t->r);
    if (!*doctor_fact(t->f, "waypipe"))
        return;
    if (x11) {
        doctor_add(t->r, "x11", DOCTOR_OK, "programs that know only X11 can be shown");
    } else {
        doctor_add(t->r, "x11", DOCTOR_NOTE, "programs that know only X11 can't be shown");
        doctor_fix_install(t->r, t->f, t->ssh, "cage xwayland");
    }
}

static void check_gpu(const struct there *t)
{
    doctor_check_gpu(t->f, t->ssh, t->r);
}

static void (*const checks[])(const struct there *t) = {
    check_system,   check_clock, check_home,    check_memory, check_logout,
    check_sessions, check_agent, check_windows, check_gpu,
};

void doctor_check_host(const struct doctor_host *h, struct doctor_report *r)
{
    char *ssh = ssh_words(h);
    struct there t = { h, h->visit ? &h->visit->facts : NULL, r, ssh };

    check_way(h, r);
    if (h->visit && h->visit->err.kind != ERR_NONE) {
        doctor_add_err(r, "link", DOCTOR_PROBLEM, &h->visit->err);
    } else if (h->visit) {
        if (is_for_system(h->probe))
            doctor_add(r, "link", DOCTOR_OK, "%s",
                       str_eq(h->visit->via, "system") ? "with the system's ssh" : "it is up");
        for (size_t i = 0; i < ARRAY_LEN(checks); i++)
            checks[i](&t);
    }
    check_node(h, r);
    free(ssh);
}
