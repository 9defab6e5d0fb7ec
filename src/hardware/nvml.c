/* SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include <stddef.h>

#include "hardware/gpu.h"
#include "hardware/nvml.h"

#define NAMES_MAX 3

static const struct {
    size_t at;
    const char *names[NAMES_MAX];
} calls[] = {
#define NVML_ROW(member, arguments, ...) {offsetof(nvml_api, member), {__VA_ARGS__}},
    NVML_CALLS(NVML_ROW)
#undef NVML_ROW
};

static const struct {
    int code;
    const char *text;
} texts[] = {
    {-1, "its library libnvidia-ml.so.1 cannot be loaded"},
    {NVML_NO_PERMISSION, "this user has no permission"},
    {NVML_NOT_FOUND, "the driver does not know it (not passed into this container?)"},
    {NVML_DRIVER_NOT_LOADED, "the kernel driver is not loaded"},
    {NVML_FUNCTION_NOT_FOUND, "the library is not NVIDIA's management library"},
    {NVML_GPU_IS_LOST, "the driver has lost it; the machine has to be restarted"},
    {NVML_RESET_REQUIRED, "it has to be reset"},
    {NVML_OPERATING_SYSTEM, "the system denies its device files (a container without them?)"},
    {NVML_LIB_RM_VERSION_MISMATCH, "library and kernel driver are of different releases; restart the machine"},
};

const char *nvml_text(int code)
{
    for (int i = 0; i < O3_COUNT(texts); i++)
        if (texts[i].code == code)
            return texts[i].text;
    return "the driver answers with an error";
}

static void *load(void)
{
    static const char *const names[] = {"libnvidia-ml.so.1", "libnvidia-ml.so", "/usr/lib/wsl/lib/libnvidia-ml.so.1"};
    const char *test = gpu_test_library();
    void *library = test ? dlopen(test, RTLD_NOW | RTLD_LOCAL) : NULL;
    for (int i = 0; !test && !library && i < O3_COUNT(names); i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

int nvml_open(nvml_api *api, bool attach)
{
    *api = (nvml_api){.library = load()};
    if (!api->library)
        return -1;
    for (int i = 0; i < O3_COUNT(calls); i++) {
        void *symbol = NULL;
        for (int j = 0; !symbol && j < NAMES_MAX && calls[i].names[j]; j++)
            symbol = dlsym(api->library, calls[i].names[j]);
        memcpy((char *)api + calls[i].at, &symbol, sizeof(symbol));
    }
    int code = NVML_FUNCTION_NOT_FOUND;
    if (api->init_with_flags)
        code = api->init_with_flags(NVML_INIT_NO_GPUS | (attach ? 0 : NVML_INIT_NO_ATTACH));
    else if (api->init && attach)
        code = api->init();
    if (code != NVML_OK) {
        dlclose(api->library);
        api->library = NULL;
    }
    return code;
}

void nvml_close(nvml_api *api)
{
    if (!api->library)
        return;
    if (api->shutdown)
        api->shutdown();
    dlclose(api->library);
    api->library = NULL;
}

static int64_t bounded(uint64_t bytes)
{
    return bytes > INT64_MAX / 2 ? -1 : (int64_t)bytes;
}

int nvml_memory(const nvml_api *api, nvml_device device, int64_t *ret_total, int64_t *ret_used)
{
    nvml_memory_v2 v2 = {.version = NVML_VERSIONED(nvml_memory_v2, 2)};
    nvml_memory_v1 v1 = {0};
    *ret_total = *ret_used = -1;
    int code = api->memory_v2 ? api->memory_v2(device, &v2) : NVML_FUNCTION_NOT_FOUND;
    if (code == NVML_OK) {
        *ret_total = bounded(v2.total);
        *ret_used = bounded(v2.used);
        return code;
    }
    if (code != NVML_FUNCTION_NOT_FOUND && code != NVML_VERSION_MISMATCH)
        return code;
    code = api->memory_v1 ? api->memory_v1(device, &v1) : NVML_FUNCTION_NOT_FOUND;
    if (code == NVML_OK) {
        *ret_total = bounded(v1.total);
        *ret_used = bounded(v1.used);
    }
    return code;
}
