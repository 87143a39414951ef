/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The program is for any POSIX shell with the usual tools; busybox will do. It comes on the shell's
 * input, so that no login shell has to pass it on, and changes nothing. Who reads input in it would
 * eat the rest: each program gets /dev/null.
 */
#include "base/mem.h"

#include "cmd/doctor.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"

#define MARK "@hive "

/* clang-format off */
static const char script[] =
    "echo \"@hive time $(date +%s.%N)\"\n"
    "exec 2>/dev/null; LC_ALL=C; PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n"
    "export LC_ALL PATH\n"
    "say() { printf '@hive %s\\n' \"$*\"; }\n"
    "has() { command -v \"$1\" >/dev/null; }\n"
    "t=; has timeout && t='timeout 5'\n"
    "u=$(id -u); n=$(id -un); say uid \"$u\"; say user \"$n\"; say home \"$HOME\"\n"
    "say os \"$(uname -s)\"; say arch \"$(uname -m)\"; say kernel \"$(uname -r)\"\n"
    "for i in apt-get dnf zypper pacman apk; do if has $i; then say packages $i; break; fi; done\n"

    /* Where hive would be kept */
    "c=${XDG_CACHE_HOME:-$HOME/.cache}; d=$c; while [ ! -d \"$d\" ] && [ -n \"$d\" ]; do d=${d%/*}; done\n"
    "d=${d:-/}; say cache \"$c\"\n"
    "if [ ! -d \"$HOME\" ]; then say home_state missing; elif [ -w \"$d\" ]; then say home_state writable\n"
    "else say home_state closed; fi\n"
    "m=$(df -Pk \"$d\" </dev/null | { read -r x; read -r a b c k e m; echo \"$k $m\"; })\n"
    "say free_kib \"${m%% *}\"; p=${m#* }; l=\n"
    "while read -r a b x o x; do [ \"$b\" = \"$p\" ] && l=$o; done </proc/mounts\n"
    "case ,$l, in *,noexec,*) say noexec \"$p\" ;; esac\n"
    "while read -r a b x; do case $a in MemTotal:) say memory_kib \"$b\" ;;\n"
    "MemAvailable:) say available_kib \"$b\" ;; esac; done </proc/meminfo\n"

    /* Whose processes end when he logs out */
    "if [ -d /run/systemd/system ]; then say systemd yes\n"
    "if [ -e \"/var/lib/systemd/linger/$n\" ]; then say linger yes; fi\n"
    "k=$($t busctl get-property org.freedesktop.login1 /org/freedesktop/login1 "
    "org.freedesktop.login1.Manager KillUserProcesses </dev/null)\n"
    "[ -n \"$k\" ] || k=$(cat /etc/systemd/logind.conf /etc/systemd/logind.conf.d/*.conf </dev/null | "
    "grep -i '^[[:space:]]*KillUserProcesses')\n"
    "case $k in *true*|*yes*|*=1*|*=on*) say kill_user yes ;; esac; fi\n"
    "m=$(cat /etc/ssh/sshd_config.d/*.conf /etc/ssh/sshd_config </dev/null | "
    "grep -i '^[[:space:]]*MaxSessions[[:space:]=]' | head -n 1)\n"
    "say max_sessions \"${m##*[!0-9]}\"\n"

    /* hive there. A folder in /tmp may be somebody else's. */
    "own() { set -- $(ls -ldn \"$1\" </dev/null); case $1 in drwx------|drwx------.) [ \"$3\" = \"$u\" ] ;; "
    "*) return 1 ;; esac; }\n"
    "look() { f=$1/bin/$s/hive; if [ -z \"$v\" ] && [ -f \"$f\" ]; then say hive_path \"$f\"\n"
    "q=$(sha256sum <\"$f\"); q=${q%% *}; if [ -n \"$q\" ]; then say hive_sha256 \"$q\"\n"
    "[ \"$q\" = \"$s\" ] || return; fi\n"
    "v=$($t \"$f\" version </dev/null 2>&1 | head -n 1); v=${v:-nothing}; say hive_says \"$v\"; fi; }\n"
    "v=; if [ -n \"$s\" ]; then look \"${XDG_CACHE_HOME:-$HOME/.cache}/hive\"\n"
    "r=${XDG_RUNTIME_DIR:-/run/user/$u}; if own \"$r\"; then look \"$r/hive\"; fi\n"
    "for i in /tmp /var/tmp; do if own \"$i/hive-$u\"; then look \"$i/hive-$u\"; fi; done; fi\n"

    /* Windows */
    "if has waypipe; then v=$($t waypipe --version </dev/null 2>&1 | head -n 1); say waypipe \"${v:-?}\"; fi\n"
    "for i in cage Xwayland xwayland-satellite; do if has $i; then say \"$i\" yes; fi; done\n"

    /* GPUs; at the end, because a driver may hang */
    "k=0; for i in /dev/nvidia[0-9]*; do [ -e \"$i\" ] && k=$((k+1)); done; say nvidia_devices $k\n"
    "k=0; c=0; for i in /dev/dri/renderD*; do if [ -e \"$i\" ]; then k=$((k+1)); "
    "{ [ -r \"$i\" ] && [ -w \"$i\" ]; } || c=$((c+1)); fi; done; say render_devices $k; say render_closed $c\n"
    "for i in /sys/bus/pci/devices/*; do read -r a <\"$i/vendor\" || continue; read -r b <\"$i/class\"\n"
    "case $a$b in 0x10de0x03*) say nvidia_pci yes; break ;; esac; done\n"
    "if has nvidia-smi; then v=$($t nvidia-smi --query-gpu=name,driver_version --format=csv,noheader "
    "</dev/null 2>&1); k=$?; say nvidia_code $k; say nvidia \"$(printf '%s\\n' \"$v\" | head -n 1)\"\n"
    "say nvidia_count \"$(printf '%s\\n' \"$v\" | grep -c .)\"; fi\n"
    "say end 1\n"
    "exit 0\n";
/* clang-format on */

void doctor_script(const char *sha256, struct buf *out)
{
    buf_printf(out, "s=%s\n", sha256 ? sha256 : "");
    buf_append_str(out, script);
}

static const char *find(const struct doctor_facts *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++)
        if (str_eq(f->fact[i].name, name))
            return f->fact[i].value;
    return NULL;
}

const char *doctor_fact(const struct doctor_facts *f, const char *name)
{
    const char *value = find(f, name);

    return value ? value : "";
}

int64_t doctor_fact_int(const struct doctor_facts *f, const char *name, int64_t none)
{
    int64_t n;

    return str_to_int(doctor_fact(f, name), 0, INT64_MAX, name, &n, NULL) == 0 ? n : none;
}

static bool is_name(const char *s, size_t len)
{
    if (len == 0 || len > 32)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
              (s[i] >= '0' && s[i] <= '9') || s[i] == '_' || s[i] == '-'))
            return false;
    return true;
}

static void read_line(struct doctor_facts *f, const char *line, size_t len)
{
    const size_t mark = sizeof MARK - 1;
    const char *blank;
    struct buf value = BUF_INIT;
    size_t n;

    if (len <= mark || memcmp(line, MARK, mark) != 0 || f->count == DOCTOR_FACTS_MAX)
        return;
    line += mark;
    len -= mark;
    blank = memchr(line, ' ', len);
    n = blank ? (size_t)(blank - line) : len;
    if (!is_name(line, n))
        return;
    char *name = mem_strndup(line, n);
    if (str_eq(name, "end"))
        f->complete = true;
    if (find(f, name)) {
        free(name);
        return;
    }
    if (blank)
        str_append_safe(&value, blank + 1,
                        len - n - 1 < DOCTOR_FACT_MAX ? len - n - 1 : DOCTOR_FACT_MAX);
    char *text = buf_take(&value, NULL);
    f->fact[f->count].name = name;
    f->fact[f->count++].value = mem_strdup(str_trim(text));
    free(text);
}

void doctor_facts_read(struct doctor_facts *f, const char *text, size_t len)
{
    const char *end = text + len;

    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));

        if (!stop)
            return; /* cut: it may not be all */
        read_line(f, text, (size_t)(stop - text));
        text = stop + 1;
    }
}

void doctor_facts_fini(struct doctor_facts *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->fact[i].name);
        free(f->fact[i].value);
    }
    f->count = 0;
}

/* Digits, at most 18 of them, as a number; how many. */
static size_t digits(const char *s, int64_t *n)
{
    size_t len = strspn(s, "0123456789");

    *n = 0;
    if (len > 18)
        return 0;
    for (size_t i = 0; i < len; i++)
        *n = *n * 10 + (s[i] - '0');
    return len;
}

bool doctor_read_time(const char *text, int64_t *wall_ns, int64_t *exact_ns)
{
    int64_t seconds, part;
    size_t len = digits(text, &seconds);

    if (len == 0 || seconds > INT64_C(9000000000))
        return false;
    *wall_ns = seconds * NS_PER_S;
    *exact_ns = NS_PER_S;
    /* Where date knows no %N, something else follows. */
    if (text[len] == '.' && digits(text + len + 1, &part) == 9) {
        *wall_ns += part;
        *exact_ns = 1;
    }
    return true;
}

bool doctor_read_version(const char *text, int64_t *major, int64_t *minor)
{
    for (const char *p = text + strcspn(text, "0123456789"); *p;
         p += strspn(p, "0123456789"), p += strcspn(p, "0123456789")) {
        size_t len = digits(p, major);
        if (len > 0 && p[len] == '.' && digits(p + len + 1, minor) > 0)
            return true;
    }
    return false;
}
