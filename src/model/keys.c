/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata by key, bounded. Plain /api/show gives every array as null, older releases as an empty array. */
#include "model_impl.h"

#define COUNT_MAX (1 << 24)

const json_t *key_find(const model_keys *keys, const char *key)
{
    char path[160];
    if (!strncmp(key, "general.", 8))
        return json_object_get(keys->info, key);
    O3_FORMAT(path, "%s.%s", keys->architecture, key);
    return json_object_get(keys->info, path);
}

bool key_hidden(const model_keys *keys, const char *key)
{
    const json_t *value = key_find(keys, key);
    return json_is_null(value) || (json_is_array(value) && !json_array_size(value));
}

static double real_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : json_is_boolean(value) ? json_is_true(value) : NAN;
}

static int32_t count_of(const json_t *value, int32_t missing)
{
    double x = real_of(value);
    return x >= 0 && x <= COUNT_MAX ? (int32_t)x : missing;
}

int64_t key_number(const model_keys *keys, const char *key, int64_t missing)
{
    double x = real_of(key_find(keys, key));
    return fabs(x) < 1e15 ? (int64_t)x : missing;
}

int32_t key_count(const model_keys *keys, const char *key, int32_t missing)
{
    const json_t *value = key_find(keys, key);
    if (!json_is_array(value))
        return count_of(value, missing);
    int32_t largest = -1;
    for (size_t i = 0; i < json_array_size(value); i++) {
        int32_t x = count_of(json_array_get(value, i), -1);
        largest = x > largest ? x : largest;
    }
    return largest < 0 ? missing : largest;
}

int32_t key_count_at(const model_keys *keys, const char *key, int layer, int32_t missing)
{
    const json_t *value = key_find(keys, key);
    return count_of(json_is_array(value) ? json_array_get(value, (size_t)layer) : value, missing);
}

const char *key_text(const model_keys *keys, const char *key)
{
    const char *text = json_string_value(key_find(keys, key));
    return text ? text : "";
}
