/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stands in for libFuzzer where a corpus is replayed as an ordinary test: feeds every file named on the command line
 * (and every file of a folder named there) to LLVMFuzzerTestOneInput, after an empty input. A sanitizer's finding ends the program; the name of the
 * input is printed before it is tried.
 */
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned replayed;

static void die(const char *path)
{
    fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
    exit(1);
}

static void replay_file(const char *path, size_t size)
{
    FILE *f = fopen(path, "re");
    /* An allocation of exactly this size, so that reading one byte too far is seen. */
    uint8_t *data = malloc(size ? size : 1);

    if (!f || !data || fread(data, 1, size, f) != size)
        die(path);
    fclose(f);
    fprintf(stderr, "replay: %s\n", path);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    replayed++;
}

static void replay(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        die(path);
    if (S_ISREG(st.st_mode)) {
        replay_file(path, (size_t)st.st_size);
        return;
    }
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);

    if (n < 0)
        die(path);
    for (int i = 0; i < n; i++) {
        char *child;

        if (asprintf(&child, "%s/%s", path, names[i]->d_name) < 0)
            die(path);
        if (stat(child, &st) == 0 && S_ISREG(st.st_mode))
            replay_file(child, (size_t)st.st_size);
        free(child);
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv)
{
    const uint8_t none[1] = { 0 };

    LLVMFuzzerTestOneInput(none, 0);
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("replayed %u inputs\n", replayed);
    return 0;
}
