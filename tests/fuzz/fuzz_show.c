/* SPDX-License-Identifier: Apache-2.0 */
/* What a server may send: a /api/show answer and error bodies. */
#include "engine/engine_impl.h"
#include "o3/predict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[O3_TEXT_MAX];
    int64_t tokens;
    o3_auto(free) char *body = o3_alloc(size + 1, 1);
    if (size)
        memcpy(body, data, size);
    ollama_error_text(body, text, sizeof(text), &tokens);
    ollama_classify(500, text, size & 1);
    json_t *show = json_loadb((const char *)data, size, 0, NULL);
    o3_auto(free) o3_model *model = o3_alloc(1, sizeof(*model));
    if (show && o3_model_parse(model, "fuzz", show, NULL, NULL) == O3_OK) {
        o3_auto(free) o3_profile *profile = o3_alloc(1, sizeof(*profile));
        o3_setting setting;
        o3_notes notes = {0};
        o3_setting_of(&setting, "", "", &notes);
        o3_calibration none = O3_CALIBRATION_NONE;
        o3_predict_ceiling(profile, model, &setting, false, &none, NULL);
    }
    json_decref(show);
    return 0;
}
