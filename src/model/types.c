/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF tensor types: elements and bytes of one block (ggml's type table, facts of the file format). */
#include <strings.h>

#include "base/base.h"
#include "o3/model.h"

static const struct {
    const char *name;
    int32_t elements, bytes;
} types[] = {
    {"F32", 1, 4},      {"F16", 1, 2},       {"BF16", 1, 2},      {"F64", 1, 8},      {"I8", 1, 1},
    {"I16", 1, 2},      {"I32", 1, 4},       {"I64", 1, 8},       {"Q4_0", 32, 18},   {"Q4_1", 32, 20},
    {"Q5_0", 32, 22},   {"Q5_1", 32, 24},    {"Q8_0", 32, 34},    {"Q8_1", 32, 36},   {"Q2_K", 256, 84},
    {"Q3_K", 256, 110}, {"Q4_K", 256, 144},  {"Q5_K", 256, 176},  {"Q6_K", 256, 210}, {"Q8_K", 256, 292},
    {"IQ2_XXS", 256, 66}, {"IQ2_XS", 256, 74}, {"IQ2_S", 256, 82}, {"IQ3_XXS", 256, 98}, {"IQ3_S", 256, 110},
    {"IQ1_S", 256, 50}, {"IQ1_M", 256, 56},  {"IQ4_NL", 32, 18},  {"IQ4_XS", 256, 136}, {"TQ1_0", 256, 54},
    {"TQ2_0", 256, 66}, {"MXFP4", 32, 17},   {"NVFP4", 64, 36},
};

bool o3_tensor_type(const char *type, int32_t *ret_elements, int32_t *ret_bytes)
{
    for (int i = 0; i < O3_COUNT(types); i++) {
        if (!strcasecmp(type, types[i].name)) {
            *ret_elements = types[i].elements;
            *ret_bytes = types[i].bytes;
            return true;
        }
    }
    return false;
}
