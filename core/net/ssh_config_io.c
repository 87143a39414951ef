/* SPDX-License-Identifier: BSD-2-Clause */
/* ssh_config from real files and the real environment. */
#include "base/mem.h"

#include "net/ssh_config.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_SIZE (16 * 1024) /* for one entry of the passwd and group files */

/* The owner's own group, with nobody else in it. */
static bool is_own_group(uid_t uid, gid_t gid)
{
    char *mem = mem_alloc(NAMES_SIZE), *user = NULL;
    struct passwd pw, *p = NULL;
    struct group gr, *g = NULL;
    bool own = false;

    if (getpwuid_r(uid, &pw, mem, NAMES_SIZE, &p) == 0 && p && p->pw_gid == gid)
        user = mem_strdup(p->pw_name);
    if (user && getgrgid_r(gid, &gr, mem, NAMES_SIZE, &g) == 0 && g && str_eq(g->gr_name, user)) {
        own = true;
        for (char **m = g->gr_mem; *m; m++)
            own = own && str_eq(*m, user);
    }
    free(user);
    free(mem);
    return own;
}

static bool others_write(const struct stat *st)
{
    return (st->st_mode & 0002) || ((st->st_mode & 0020) && !is_own_group(st->st_uid, st->st_gid));
}

/* A folder (a pattern of Include may find some) has nothing in it, as for ssh; a pipe could keep us
 * waiting. */
static int read_file(void *arg, const char *path, struct buf *out, struct ssh_config_file *file,
                     struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    int rc = 0;

    (void)arg;
    if (fd < 0)
        return err_sys(err, errno, "can't open %s", path);
    if (fstat(fd, &st) != 0)
        rc = err_sys(err, errno, "can't look at %s", path);
    else if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
        rc = err_set(err, ERR_INVALID, "%s is not a file", path);
    else if (!S_ISDIR(st.st_mode))
        rc = fs_read_fd(fd, path, SSH_CONFIG_FILE_MAX, out, err);
    close(fd);
    if (rc == 0)
        *file = (struct ssh_config_file){ .uid = st.st_uid, .others_write = others_write(&st) };
    return rc;
}

static int find_files(void *arg, const char *pattern, bool (*found)(void *to, const char *path),
                      void *to, struct err *err)
{
    glob_t g;
    int rc = glob(pattern, 0, NULL, &g);

    (void)arg;
    if (rc == GLOB_NOMATCH)
        return 0;
    if (rc != 0)
        return err_set(err, ERR_IO, "can't look for %s", pattern);
    for (size_t i = 0; i < g.gl_pathc && found(to, g.gl_pathv[i]); i++)
        ;
    globfree(&g);
    return 0;
}

static const char *variable(void *arg, const char *name)
{
    (void)arg;
    return getenv(name);
}

static char *home_of(void *arg, const char *user)
{
    char *mem = mem_alloc(NAMES_SIZE);
    struct passwd pw, *p = NULL;
    char *home = NULL;

    (void)arg;
    if (getpwnam_r(user, &pw, mem, NAMES_SIZE, &p) == 0 && p && p->pw_dir)
        home = mem_strdup(p->pw_dir);
    free(mem);
    return home;
}

const struct ssh_config_io ssh_config_files = {
    .read = read_file,
    .glob = find_files,
    .env = variable,
    .home_of = home_of,
};
