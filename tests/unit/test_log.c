/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct seen {
    unsigned lines;
    enum log_level level;
    char text[100];
};

static void remember(void *arg, enum log_level level, const char *line)
{
    struct seen *s = arg;

    s->lines++;
    s->level = level;
    str_copy(s->text, sizeof s->text, line);
}

TEST(levels)
{
    struct seen seen = { 0 };
    const struct log log = { LOG_WARNING, remember, &seen };

    log_info(&log, "not %s", "this");
    log_debug(&log, "nor this");
    CHECK_INT(seen.lines, 0);
    log_warning(&log, "but %s", "this");
    CHECK_INT(seen.lines, 1);
    CHECK_INT(seen.level, LOG_WARNING);
    CHECK_STR(seen.text, "but this");
    log_error(&log, "and this");
    CHECK_INT(seen.lines, 2);
    log_error(NULL, "nowhere");
}

static char *logged(const char *line)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    char path[512];

    snprintf(path, sizeof path, "%s/log", unit_tmpdir());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    if (getenv("WITH_JOURNAL")) {
        struct stat st;
        char stream[64];
        CHECK_INT(fstat(fd, &st), 0);
        snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
                 (unsigned long long)st.st_ino);
        setenv("JOURNAL_STREAM", stream, 1);
    }
    log_write_fd(&fd, LOG_WARNING, line);
    close(fd);
    CHECK_OK(fs_read_file(path, 1000, &b, &err), &err);
    return buf_take(&b, NULL);
}

/* A job name with a newline must not be able to forge a line. */
TEST(line_in_a_file)
{
    setenv("JOURNAL_STREAM", "1:1", 1); /* of somebody else's descriptor */
    char *text = logged("job 'a\nb' is odd");
    int64_t ns;

    CHECK(strlen(text) > 25 && text[24] == ' ');
    CHECK_STR(text + 24, " WARNING job 'a\\nb' is odd\n");
    text[24] = '\0';
    CHECK(clock_parse_rfc3339(text, &ns));
    free(text);
}

TEST(line_in_the_journal)
{
    setenv("WITH_JOURNAL", "1", 1);
    char *text = logged("odd");

    CHECK_STR(text, "<4>odd\n");
    free(text);
}
