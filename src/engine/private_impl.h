/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the private server: which binary, and with what environment. */
#ifndef O3_ENGINE_PRIVATE_IMPL_H
#define O3_ENGINE_PRIVATE_IMPL_H

#include "engine_impl.h"

#define PRIVATE_ENV_MAX 2048
typedef struct private_env {
    int count;
    char *items[PRIVATE_ENV_MAX + 1]; /* "K=V", own copies; ends with NULL */
} private_env;

/* The binary that can be run, in full; O3_E_NOT_FOUND, O3_E_IMPOSSIBLE. */
o3_status private_find_exe(const o3_private_options *options, char *dst, size_t size, o3_err *err);
/* That of the user's server, with the settings laid over it and a store that can be read. home: for what the server wants
 * to write, where the user's own is not for us. */
o3_status private_env_make(private_env *env, const o3_private_options *options, const char *home, o3_err *err);
void private_env_set(private_env *env, const char *line); /* "K=V"; "K=" takes it away */
void private_env_free(private_env *env);

#endif
