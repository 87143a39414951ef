/* SPDX-License-Identifier: BSD-2-Clause */
/* Checks of this machine. */
#include "base/mem.h"

#include "cmd/doctor.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "net/http_client.h"
#include "net/sock.h"
#include "net/ssh_deploy.h"
#include "sys/getent.h"
#include "version.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#define ROOM_LEAST INT64_C(104857600)
#define ROOM_LITTLE INT64_C(1073741824)
#define YEAR_S INT64_C(31556952)
#define YEAR(n) (((n)-1970) * YEAR_S)
#define WAIT_NS (5 * NS_PER_S)

struct here {
    const struct doctor_here *h;
    const struct doctor_facts *f;
    struct doctor_report *r;
};

/* --- hive --------------------------------------------------------------------------------------- */

static void check_hive(const struct here *t)
{
    if (t->h->program) {
        doctor_add(t->r, "hive", DOCTOR_OK, HIVE_VERSION ", one static file for %s",
                   ssh_deploy_program_arch(t->h->program));
        return;
    }
    doctor_add(t->r, "hive", DOCTOR_NOTE, HIVE_VERSION "; it can't be copied to other machines: %s",
               t->h->program_err->msg);
    doctor_fix(t->r, "build the static one: make");
}

static void check_daemon(const struct here *t)
{
    const struct doctor_here *h = t->h;

    if (h->daemon_err->kind == ERR_UNAVAILABLE) {
        doctor_add(t->r, "daemon", DOCTOR_NOTE, "%s", h->daemon_err->msg);
        doctor_fix(t->r, "hive daemon");
    } else if (h->daemon_err->kind != ERR_NONE) {
        doctor_add_err(t->r, "daemon", DOCTOR_PROBLEM, h->daemon_err);
    } else if (!str_eq(h->daemon_version, HIVE_VERSION)) {
        doctor_add(t->r, "daemon", DOCTOR_PROBLEM, "it is hive %s, and this is hive " HIVE_VERSION,
                   h->daemon_version);
        doctor_fix(t->r, "restart it; running jobs go on: hive daemon");
    } else {
        doctor_add(t->r, "daemon", DOCTOR_OK, "it runs: hive %s", h->daemon_version);
    }
}

/* Whether its address answers to us as a client of HTTP would be answered. */
static void check_listen(const struct here *t)
{
    const char *address = t->h->daemon_address;
    struct err err = ERR_INIT;
    struct http_client_request q = {
        .method = "GET", .path = "/api/v1/health", .timeout_ns = WAIT_NS, .last = true
    };
    struct http_client *c;
    int status;

    if (t->h->daemon_err->kind != ERR_NONE || !*address)
        return;
    if (str_eq(address, "local")) {
        doctor_add(t->r, "http", DOCTOR_OK, "off; the socket only");
        return;
    }
    c = http_client_open_tcp(address, &err);
    status = c ? http_client_call(c, &q, 4096, NULL, &err) : -1;
    http_client_close(c);
    if (status == 200) {
        doctor_add(t->r, "http", DOCTOR_OK, "http://%s answers", address);
    } else if (status > 0) {
        doctor_add(t->r, "http", DOCTOR_PROBLEM, "http://%s answers with status %d", address,
                   status);
        doctor_fix(t->r, "curl -i http://%s/api/v1/health", address);
    } else {
        doctor_add_err(t->r, "http", DOCTOR_PROBLEM, &err);
    }
}

/* --- the folder --------------------------------------------------------------------------------- */

static void check_folder(const char *state, struct doctor_report *r)
{
    struct stat st;
    struct statvfs fs;
    struct buf room = BUF_INIT;

    if (lstat(state, &st) != 0 && errno == ENOENT) {
        doctor_add(r, "state", DOCTOR_OK, "%s is not there yet", state);
    } else if (stat(state, &st) != 0 || !S_ISDIR(st.st_mode) || access(state, W_OK | X_OK) != 0) {
        doctor_add(r, "state", DOCTOR_PROBLEM, "%s is no folder that can be written to", state);
        doctor_fix(r, "ls -ld %s; or set HIVE_STATE_DIR to a folder of your own", state);
    } else if (statvfs(state, &fs) == 0) {
        int64_t left = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
        bool little = left < ROOM_LITTLE;

        str_format_size(&room, left);
        doctor_add(r, "state",
                   left < ROOM_LEAST ? DOCTOR_PROBLEM
                   : little          ? DOCTOR_NOTE
                                     : DOCTOR_OK,
                   "%s: %s are free", state, buf_data(&room));
        if (little)
            doctor_fix(r, "du -xh --max-depth=2 %s", state);
    }
    buf_fini(&room);
}

static void check_state(const struct here *t)
{
    char *state = fs_state_dir(), *safe = str_safe(state);

    check_folder(safe, t->r);
    if (t->h->deep)
        doctor_check_store(state, t->r);
    free(safe);
    free(state);
}

/* --- the machine -------------------------------------------------------------------------------- */

static void check_memory_limits(const struct here *t)
{
    if (t->h->daemon_err->kind != ERR_NONE)
        return; /* it finds out by trying, and that changes something */
    if (!*t->h->daemon_note) {
        doctor_add(t->r, "memory", DOCTOR_OK, "limits of jobs are enforced");
        return;
    }
    doctor_add(t->r, "memory", DOCTOR_NOTE, "%s", t->h->daemon_note);
    doctor_fix(t->r, "systemd-run --user -p Delegate=yes hive daemon");
}

static void check_clock(const struct here *t)
{
    struct timex tx = { .modes = 0 };
    int64_t now_s = clock_wall_ns(&clock_system) / NS_PER_S;
    int state = adjtimex(&tx);

    if (now_s < YEAR(2025) || now_s > YEAR(2100)) {
        doctor_add(t->r, "clock", DOCTOR_PROBLEM, "it says that this is the year %d",
                   (int)(1970 + now_s / YEAR_S));
        doctor_fix(t->r, "sudo timedatectl set-ntp true");
    } else if (state == TIME_ERROR && (tx.status & STA_UNSYNC)) {
        doctor_add(t->r, "clock", DOCTOR_NOTE, "nothing keeps it right");
        doctor_fix(t->r, "sudo timedatectl set-ntp true");
    } else {
        doctor_add(t->r, "clock", DOCTOR_OK, "set");
    }
}

/* A connection to ourselves, whose owner the kernel should know. */
static int ask_owner(uid_t *uid, struct err *err)
{
    struct sock_addr addr = { .host = "127.0.0.1", .loopback = true };
    int listener = sock_listen_tcp(&addr, err), client = -1, server = -1, rc = -1;
    char *name = mem_printf("127.0.0.1:%u", (unsigned)addr.port);

    if (listener >= 0)
        client = sock_connect_tcp(name, WAIT_NS, err);
    if (client >= 0)
        server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (server >= 0)
        rc = sock_tcp_peer_uid(server, uid, err);
    else if (client >= 0)
        err_sys(err, errno, "cannot take a connection");
    if (listener >= 0)
        close(listener);
    if (client >= 0)
        close(client);
    if (server >= 0)
        close(server);
    free(name);
    return rc;
}

static void check_loopback(const struct here *t)
{
    struct err err = ERR_INIT;
    uid_t uid = (uid_t)-1;

    if (ask_owner(&uid, &err) == 0 && uid == getuid()) {
        doctor_add(t->r, "loopback", DOCTOR_OK, "the kernel says whose a connection is");
        return;
    }
    doctor_add(t->r, "loopback", DOCTOR_NOTE,
               "the kernel doesn't say whose a connection is, so that HTTP is refused: %s",
               err.kind == ERR_NONE ? "it names somebody else" : err.msg);
    doctor_fix(t->r, "use the socket only: hive daemon --listen none; or: sudo modprobe inet_diag "
                     "tcp_diag");
}

static void check_getent(const struct here *t)
{
    char *path = getent_find(getenv("PATH"));

    if (path) {
        doctor_add(t->r, "getent", DOCTOR_OK, "%s", path);
    } else {
        doctor_add(t->r, "getent", DOCTOR_NOTE,
                   "not installed: names of LDAP users and of mDNS hosts are not found");
        doctor_fix_install(t->r, t->f, "",
                           str_eq(doctor_fact(t->f, "packages"), "apt-get") ? "libc-bin"
                                                                            : "getent");
    }
    free(path);
}

static bool is_in_path(const char *program)
{
    bool found = false;

    for (const char *p = getenv("PATH"); p && *p && !found;) {
        size_t len = strcspn(p, ":");
        char *file = mem_printf("%.*s/%s", (int)len, p, program);

        found = len > 0 && access(file, X_OK) == 0;
        free(file);
        p += len + (p[len] == ':');
    }
    return found;
}

static void check_ssh(const struct here *t)
{
    if (is_in_path("ssh")) {
        doctor_add(t->r, "ssh", DOCTOR_OK,
                   "the system's ssh is there for what hive's own can't do");
        return;
    }
    doctor_add(
        t->r, "ssh", DOCTOR_NOTE,
        "not installed: hosts with FIDO keys, certificates or ProxyCommand can't be reached");
    doctor_fix_install(t->r, t->f, "", "openssh-client");
}

static void check_windows(const struct here *t)
{
    const char *wayland = getenv("WAYLAND_DISPLAY"), *x11 = getenv("DISPLAY");

    doctor_check_waypipe(t->f, "", "windows of other machines can't be shown here", t->r);
    if (wayland && *wayland) {
        doctor_add(t->r, "desktop", DOCTOR_OK, "Wayland (%s)", wayland);
    } else if (x11 && *x11) {
        doctor_add(t->r, "desktop", DOCTOR_NOTE, "X11 (%s); windows need Wayland", x11);
        doctor_fix(t->r, "log in to a Wayland session");
    } else {
        doctor_add(t->r, "desktop", DOCTOR_OK, "none; windows can't be shown here");
    }
}

static void check_gpu(const struct here *t)
{
    doctor_check_gpu(t->f, "", t->r);
}

static void (*const checks[])(const struct here *t) = {
    check_hive,     check_daemon, check_listen, check_state,   check_memory_limits, check_clock,
    check_loopback, check_getent, check_ssh,    check_windows, check_gpu,
};

void doctor_check_here(const struct doctor_here *h, struct doctor_report *r)
{
    struct here t = { h, &h->visit->facts, r };

    for (size_t i = 0; i < ARRAY_LEN(checks); i++)
        checks[i](&t);
    if (h->visit->err.kind != ERR_NONE)
        doctor_add_err(r, "shell", DOCTOR_PROBLEM, &h->visit->err);
}
