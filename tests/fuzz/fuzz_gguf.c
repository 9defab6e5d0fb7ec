/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a GGUF file. A sound header must give a model, or a sentence why not; a bad one a sentence. What is a
 * model must come back the same through the cache's JSON. */
#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"
#include "o3/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void there_and_back(const o3_model *model)
{
    o3_auto(free) o3_model *back = o3_alloc(1, sizeof(*back));
    json_t *json = o3_model_to_json(model);
    o3_err err = {0};
    o3_status status = o3_model_from_json(back, json, &err);
    assert(!status);
    assert(!memcmp(model->layer, back->layer, sizeof(model->layer)));
    assert(back->weight_bytes == model->weight_bytes && back->layers == model->layers);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    char path[64];
    if (fd < 0)
        fd = memfd_create("gguf", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
        return -1;
    O3_FORMAT(path, "/proc/self/fd/%d", fd);
    json_t *show = NULL;
    int64_t bytes = -1;
    o3_err err = {0};
    o3_status status = o3_gguf_read(path, &show, &bytes, &err);
    if (status) {
        assert(*err.message && !strchr(err.message, '\n') && !show);
        return 0;
    }
    assert(bytes == (int64_t)size);
    o3_auto(free) o3_model *model = o3_alloc(1, sizeof(*model));
    o3_model_wants_arrays(show);
    status = o3_model_parse(model, "fuzz", show, NULL, &err);
    if (status)
        assert(*err.message);
    else
        there_and_back(model);
    json_decref(show);
    return 0;
}
