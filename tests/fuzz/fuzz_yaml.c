/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes through the YAML loader and the reader of old Python literals. What loads must be shown as texts that load
 * again; what does not must say why in one line. */
#include <assert.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct again {
    const config_target *target;
} again;

static void load_again(void *ctx, const o3_option *option, const char *path, const char *value, const char *origin)
{
    const again *a = ctx;
    o3_err err = {0};
    (void)origin;
    assert(config_printable(value));
    o3_status status = option->type == O3_OPT_IGNORED ? O3_OK : config_assign(a->target, path, value, "again", &err);
    assert(!status);
    (void)status;
}

static void run(const uint8_t *data, size_t size,
                o3_status (*load)(o3_config *config, const char *text, size_t len, const char *name,
                                  o3_config_origins *origins, o3_notes *notes, o3_err *err))
{
    static o3_config config, copy;
    o3_err err = {0};
    o3_notes notes = {0};
    o3_config_origins *origins = o3_config_origins_new();
    const config_target target = {.config = &config, .origins = origins, .notes = &notes};
    config_defaults_raw(&config);
    o3_status status = load(&config, (const char *)data, size, "fuzz", origins, &notes, &err);
    if (!status)
        status = config_finish(&target, &err);
    if (status) {
        assert(*err.message && !strchr(err.message, '\n'));
    } else {
        copy = config;
        const config_target into = {.config = &copy};
        o3_config_each(&config, origins, load_again, &(again){&into});
        assert(copy.category_count == config.category_count && copy.use_case_count == config.use_case_count);
    }
    o3_config_origins_free(origins);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run(data, size, config_load_text);
    run(data, size, config_load_legacy);
    return 0;
}
