/* SPDX-License-Identifier: BSD-2-Clause */
/* Questions on the terminal, wherever stdin and stdout lead. */
#include "base/mem.h"

#include "cmd/hosts_probe.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static volatile sig_atomic_t arrived;

static void on_signal(int signo)
{
    arrived = signo;
}

static int tty_open(void)
{
    return open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
}

bool hosts_tty_exists(void)
{
    int fd = tty_open();

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Up to the end of the line, byte by byte: what follows belongs to the next question. */
static ssize_t read_line(int fd, char *out, size_t size, struct err *err)
{
    size_t len = 0;
    bool cut = false;
    char c;

    for (;;) {
        ssize_t n = read(fd, &c, 1);

        if (n < 0 && errno == EINTR && !arrived)
            continue;
        if (n < 0 || arrived)
            return err_set(err, ERR_UNAUTH, "the question was interrupted");
        if (n == 0 && len == 0)
            return err_set(err, ERR_UNAUTH, "no answer");
        if (n == 0 || c == '\n')
            break;
        if (len < size)
            out[len++] = c;
        else
            cut = true;
    }
    if (cut)
        return err_set(err, ERR_TOO_LARGE, "the answer is longer than %zu bytes", size);
    return (ssize_t)len;
}

ssize_t hosts_tty_ask(const char *question, bool secret, char *out, size_t size, struct err *err)
{
    struct sigaction action = { .sa_handler = on_signal }, old[ARRAY_LEN(caught)];
    struct termios before, quiet;
    int fd = tty_open();

    if (fd < 0)
        return err_set(err, ERR_UNAVAILABLE, "there is no terminal to ask on");
    arrived = 0;
    /* Without SA_RESTART: reading ends, and the terminal gets its echo back before we die of it. */
    for (size_t i = 0; i < ARRAY_LEN(caught); i++)
        sigaction(caught[i], &action, &old[i]);
    secret = secret && tcgetattr(fd, &before) == 0;
    if (secret) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
        tcsetattr(fd, TCSADRAIN, &quiet);
    }
    (void)!fs_write_all(fd, question, strlen(question));
    ssize_t len = read_line(fd, out, size, err);
    if (secret) {
        tcsetattr(fd, TCSADRAIN, &before);
        (void)!fs_write_all(fd, "\n", 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(caught); i++)
        sigaction(caught[i], &old[i], NULL);
    close(fd);
    if (arrived)
        raise(arrived);
    return len;
}
