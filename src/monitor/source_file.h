/* SPDX-License-Identifier: Apache-2.0 */
/* monitor, inside: one file that is kept open and read from its beginning again and again. */
#ifndef O3_MONITOR_SOURCE_FILE_H
#define O3_MONITOR_SOURCE_FILE_H

#include "base/base.h"

#define SOURCE_PATH_MAX 1024
#define SOURCE_SENSORS_MAX 8

typedef struct source_file {
    int fd; /* -1: not open */
    char path[SOURCE_PATH_MAX];
} source_file;

void source_open(source_file *file, const char *root, const char *dir, const char *name);
void source_reopen(source_file *file);
void source_close(source_file *file);
/* False if it cannot be read or is empty. Opens it anew first where the old descriptor is dead: a cgroup that was made
 * again (a service that restarted) has the same path. */
bool source_read(source_file *file, char *text, size_t size);
bool source_fd_read(int fd, char *text, size_t size);
int64_t source_i64(source_file *file); /* -1: unreadable, no number or negative */

/* The CPU's temperature sensors, in thousandths of a degree; how many there are. */
int sensors_open(const char *root, source_file sensors[SOURCE_SENSORS_MAX]);

#endif
