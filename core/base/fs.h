/* SPDX-License-Identifier: BSD-2-Clause */
/* Files and folders. Every descriptor is close-on-exec. */
#ifndef HIVE_BASE_FS_H
#define HIVE_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct buf;
struct err;

/* mkdir -p with `mode` for what it creates. An existing folder is fine; something else there is
 * ERR_CONFLICT. */
int fs_mkdir_p(const char *path, mode_t mode, struct err *err);

/* Appends the whole file to b; more than `limit` bytes is ERR_TOO_LARGE (so reading a device ends,
 * too), and b is then as before. `name` is for messages. */
int fs_read_file(const char *path, size_t limit, struct buf *b, struct err *err);
int fs_read_fd(int fd, const char *name, size_t limit, struct buf *b, struct err *err);

/* Atomic replacement: temporary file in the same folder, written, fsync'd when `durable` (file and
 * folder), renamed. The mode is exact, whatever the umask. A symbolic link at `path` is replaced,
 * not followed. When only the last step, syncing the folder, fails, the new content is in place. */
int fs_write_file(const char *path, const void *data, size_t len, mode_t mode, bool durable,
                  struct err *err);

/* write(2) until all is written; EINTR is retried. 0 or -1 with errno. */
int fs_write_all(int fd, const void *data, size_t len);

/* Removes `dirfd/name` (AT_FDCWD for paths), a file, or a folder with everything in it, however
 * deep and even where its owner, being us, has no permission. Symbolic links are removed, never
 * followed; a mounted file system in it is an error and stays. Missing is fine. */
int fs_remove_tree(int dirfd, const char *name, struct err *err);

/* "a/b" joined with exactly one slash into a malloc'd string; an absolute b, or b after an empty a,
 * is returned alone. */
char *fs_join(const char *a, const char *b);

/* Makes a path absolute against the current folder (no symlink resolution, "." and ".." kept).
 * malloc'd. In a folder that was removed, the path as it is. */
char *fs_absolute(const char *path);

/*
 * Where things live (the environment first, then system mode for uid 0, then XDG):
 *   state:   $HIVE_STATE_DIR   | root: /var/lib/hive | $XDG_STATE_HOME/hive  | ~/.local/state/hive
 *   runtime: $HIVE_RUNTIME_DIR | root: /run/hive     | $XDG_RUNTIME_DIR/hive | /tmp/hive-UID
 *   config:  $HIVE_CONFIG (a file) | $XDG_CONFIG_HOME/hive/hive.conf | ~/.config/hive/hive.conf
 * When HIVE_STATE_DIR is set and HIVE_RUNTIME_DIR is not, runtime is $HIVE_STATE_DIR/run.
 * All malloc'd, absolute. The socket is RUNTIME/hive.sock.
 */
char *fs_state_dir(void);
char *fs_runtime_dir(void);
char *fs_user_config(void);
char *fs_system_config(void); /* /etc/hive/hive.conf, or "" when HIVE_CONFIG is set */

/* A folder only its owner may enter, owned by us, made with its parents (0700) if missing.
 * ERR_DENIED when it is somebody else's, a symbolic link, or open to others and not empty (an empty
 * one is closed: chmod 0700). */
int fs_private_dir(const char *path, struct err *err);

#endif
