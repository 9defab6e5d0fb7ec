/* SPDX-License-Identifier: Apache-2.0 */
/* tune: the one room that knows the order of the stages. It is given its world and a request, and gives a result:
 * pre-flight, prediction, ceiling, presets. What it does is told through events while it happens; every sample is in
 * the store before the next is taken, so any stop keeps everything and the same request goes on from there. */
#ifndef O3_TUNE_H
#define O3_TUNE_H

#include "config.h"
#include "engine.h"
#include "hardware.h"
#include "model.h"
#include "predict.h"
#include "report.h"
#include "result.h"
#include "store.h"

typedef struct o3_request {
    char model[O3_NAME_MAX];
    char preset[64];    /* only this preset; "" = all */
    char use_case[32];  /* row of use_case_optimization; "" = none */
    double budget_s;    /* time for the whole run; NaN = by size class (10, 15, 20 min) */
    int samples;        /* per measured rate; 0 = the configuration's */
    uint64_t seed;      /* of the prompts; 0 = 1 */
    bool quick;         /* <= 60 s: one load, a partial fill, nothing proven */
    bool no_proof;      /* skip the second full fill; said in the result */
    bool keep_knobs;    /* no race: num_thread, num_gpu and use_mmap stay unset, num_batch 512 */
    bool unload_others; /* unload other models; they are loaded again at the end */
    bool force;         /* measure again what is known */
    bool pull;          /* pull a missing model without asking */
    bool own_server;    /* try what is set for a whole server, on a private one; added to what is known already */
} o3_request;

typedef enum o3_event_kind {
    O3_EVENT_MACHINE,   /* profile, caps: the first line */
    O3_EVENT_PREFLIGHT, /* text: go/no-go facts */
    O3_EVENT_ANALYSIS,  /* text: "0.1B, 98 MB, ..., start at 8192" */
    O3_EVENT_PREDICTED, /* estimate at the predicted ceiling, result with predicted presets */
    O3_EVENT_STAGE,     /* text: "Ceiling", "Presets"; a new line begins */
    O3_EVENT_PROGRESS,  /* text, done_frac, left_s: the live line */
    O3_EVENT_TRIAL,     /* a trial ended */
    O3_EVENT_SAMPLE,    /* a sample was stored */
    O3_EVENT_PULL,      /* text, done_frac */
    O3_EVENT_NOTE,      /* text: something the user should know now */
} o3_event_kind;

typedef struct o3_event {
    o3_event_kind kind;
    const char *text;          /* may be NULL */
    double done_frac, left_s;  /* NaN where unknown */
    const o3_profile *profile; /* the rest: NULL where it does not belong to the kind */
    const o3_engine_caps *caps;
    const o3_model *model;
    const o3_estimate *estimate;
    const o3_result *result;
    const o3_trial *trial;
    const o3_sample *sample;
} o3_event;

typedef struct o3_world {
    o3_engine *engine;
    o3_store *store;        /* NULL: nothing is kept, nothing is known */
    const o3_config *config;
    const char *root;       /* sysroot of the sensors, "/" */
    const o3_profile *profile;  /* of the machine; NULL: it is read */
    const o3_model *model;      /* given; NULL: the server is asked */
    struct o3_monitor *monitor; /* watches instead of a thread on this machine's sensors; not owned; may be NULL */
    o3_cancel *cancel;      /* may be NULL */
    void (*on_event)(void *ctx, const o3_event *event); /* may be NULL; called from this thread */
    bool (*confirm)(void *ctx, const char *question);   /* may be NULL = no */
    void *ctx;
} o3_world;

/* O3_OK also with a best-so-far answer (ret_result->complete false, a note says why). O3_E_CANCELLED,
 * O3_E_UNSAFE, O3_E_UNAVAILABLE ... still fill ret_result with what is known so far. `ret_profile` may be NULL. */
O3_NODISCARD o3_status o3_optimize(const o3_world *world, const o3_request *request, o3_result *ret_result,
                                   o3_profile *ret_profile, o3_err *err);

/* Reads profile and capabilities as the first stage of optimize does; nothing is loaded. What an earlier o3_look_measure
 * found on this machine is taken from the store. */
O3_NODISCARD o3_status o3_look(const o3_world *world, o3_profile *ret_profile, o3_engine_caps *ret_caps, o3_err *err);
/* The same where no server answers: the limits are those of this process. */
O3_NODISCARD o3_status o3_look_alone(const o3_world *world, o3_profile *ret_profile, o3_err *err);
/* o3_bandwidth_measure into profile->bandwidth, kept in the store by the machine's fingerprint. */
O3_NODISCARD o3_status o3_look_measure(const o3_world *world, o3_profile *profile, o3_err *err);
/* What loads and rates of this model taught on this machine with this release; O3_CALIBRATION_NONE if nothing yet. */
O3_NODISCARD o3_status o3_calibration_of(const o3_world *world, const o3_profile *profile, const o3_model *model,
                                         const char *engine_version, o3_calibration *ret_calibration, o3_err *err);

/* What is there, without loading anything. Large: allocate it. */
typedef struct o3_survey {
    o3_engine_caps caps;
    o3_profile profile;       /* models_bytes of its pools say what the loaded models take */
    o3_engine_models models;
    o3_engine_loads loads;
} o3_survey;
O3_NODISCARD o3_status o3_survey_read(const o3_world *world, o3_survey *ret_survey, o3_err *err);
/* The row of `name` ("NAME" also finds "NAME:latest"); NULL if it is not listed. */
const o3_engine_model *o3_survey_model(const o3_engine_models *models, const char *name);
/* Reads one model of the server: by digest from the store where there is one, else asked for and kept there. `entry`
 * may be NULL: unknown digest. Errors are those of o3_engine_show and o3_model_parse. */
O3_NODISCARD o3_status o3_model_of(const o3_world *world, const char *name, const o3_engine_model *entry,
                                   o3_model *ret_model, o3_err *err);

/* num_ctx of a request that does not name one: the server's OLLAMA_CONTEXT_LENGTH, else Ollama's tiers by GPU memory
 * (0.15.5 and later), never above the trained context. */
int64_t o3_default_window(const o3_profile *profile, const o3_model *model, const char *engine_version);
/* Expected seconds of o3_optimize with this configuration and no other request; NaN where nothing fits. */
double o3_optimize_seconds(const o3_config *config, const o3_profile *profile, const o3_model *model,
                           const o3_setting *setting, const o3_calibration *calibration);
/* The answers of `o3 predict`, from numbers alone; what borrows the model and the profile says so in report.h. */
void o3_outlook_make(o3_outlook *ret_outlook, const o3_config *config, const o3_profile *profile, const o3_model *model,
                     const char *engine_version, const o3_setting *setting, const o3_calibration *calibration);
void o3_outlook_line_make(o3_outlook_line *ret_line, const o3_profile *profile, const o3_model *model,
                          const char *engine_version, const o3_setting *setting, const o3_calibration *calibration);

/* Makes MODEL-o3-PRESET on the server and proves by loading it that the knobs are in force. ret_name gets the new
 * name, ret_runner what was read back; what is not as asked is O3_E_ENGINE naming the knob. */
O3_NODISCARD o3_status o3_apply(const o3_world *world, const o3_result *result, const char *preset,
                                char ret_name[O3_NAME_MAX], o3_runner *ret_runner, o3_err *err);

#endif
