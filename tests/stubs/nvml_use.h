/* SPDX-License-Identifier: Apache-2.0 */
/* Lets a test play with the stub: loads it from beside the test's program and names it to O3. After cmocka. */
#ifndef O3_TEST_NVML_USE_H
#define O3_TEST_NVML_USE_H

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nvml_stub.h"

static nvml_stub_play_fn *play;
static nvml_stub_count_fn *wrong_structs, *sessions, *attached;

static inline void *nvml_stub_symbol(void *library, const char *name)
{
    void *at = dlsym(library, name);
    assert_non_null(at);
    return at;
}

static inline void nvml_stub_use(const char *file)
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    assert_true(len > 0);
    path[len] = '\0';
    strcpy(strrchr(path, '/') + 1, file);
    void *library = dlopen(path, RTLD_NOW);
    assert_non_null(library);
    setenv("O3_TEST_NVML", path, 1);
    *(void **)&play = nvml_stub_symbol(library, "nvml_stub_play");
    *(void **)&wrong_structs = nvml_stub_symbol(library, "nvml_stub_wrong_structs");
    *(void **)&sessions = nvml_stub_symbol(library, "nvml_stub_sessions");
    *(void **)&attached = nvml_stub_symbol(library, "nvml_stub_attached");
}

#endif
