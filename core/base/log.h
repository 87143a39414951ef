/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon's log. Core code is handed a `struct log` and writes lines through it; where they go
 * is decided by cmd/. Foreign text is made safe by the sink (str_append_safe), so that a job name
 * can't forge lines.
 */
#ifndef HIVE_BASE_LOG_H
#define HIVE_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

struct log {
    enum log_level level; /* lines above it are dropped before they are formatted */
    void (*write)(void *arg, enum log_level level, const char *line);
    void *arg;
};

/* `log` may be NULL. No newline at the end; one is added by the sink. */
void log_msg(const struct log *log, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(log, ...) log_msg(log, LOG_ERROR, __VA_ARGS__)
#define log_warning(log, ...) log_msg(log, LOG_WARNING, __VA_ARGS__)
#define log_info(log, ...) log_msg(log, LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_msg(log, LOG_DEBUG, __VA_ARGS__)

/* A sink for files and terminals: "2026-11-20T18:13:14.250Z LEVEL text\n" to the descriptor in
 * *(int *)arg, one write each. "<N>text\n" instead (sd-daemon(3)) where that is
 * the stream to the journal that JOURNAL_STREAM names. */
void log_write_fd(void *arg, enum log_level level, const char *line);

#endif
