/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * quiet DIR CODE: a job that makes none of the system calls that tests/faults/inject.t makes fail, its own start
 * included (it is linked statically). Leaves the empty file DIR/PID as the proof that it ran, by mknod, and ends
 * with CODE.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char path[4096];

    if (argc != 3)
        return 98;
    snprintf(path, sizeof(path), "%s/%ld", argv[1], (long)getpid());
    if (mknod(path, S_IFREG | 0600, 0) != 0)
        return 99;
    return atoi(argv[2]);
}
