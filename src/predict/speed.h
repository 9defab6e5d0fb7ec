/* SPDX-License-Identifier: Apache-2.0 */
/* Speed inside predict/: a roofline over the devices that hold layers, its constants from priors.c. Two parts of each
 * time are kept apart, as they grow apart with depth and as calibration corrects them apart. */
#ifndef O3_PREDICT_SPEED_H
#define O3_PREDICT_SPEED_H

#include "predict_impl.h"

/* What a kind of device usually reaches; sources in priors.c. */
typedef struct speed_prior {
    const char *name;
    double bytes_per_s;       /* where neither the machine nor a measurement tells it; NaN: by cores (a CPU) */
    double flop_per_byte;     /* multiply rate over bandwidth where only the latter is known */
    double read_share;        /* of the bandwidth, while weights or cache are read for one token */
    double matrix_share;      /* of the multiply rate, in prefill of a wide model */
    double attention_share;   /* of it, attention in prefill */
    double one_token_share;   /* of it, attention in decoding: one query a head */
    double layer_s;           /* fixed cost of a layer and token: launches, barriers, small operations */
    double batch_half_tokens; /* a batch of this size reaches half of the prefill rate */
    double spread, spread_known; /* of 90 %: bandwidth guessed, bandwidth known */
} speed_prior;

/* One device as the roofline sees it. */
typedef struct speed_device {
    const speed_prior *prior;
    bool cpu;
    bool known;               /* its bandwidth was measured or is its data sheet's */
    double bytes_per_s;       /* that bandwidth, or a guess */
    double read_per_s;        /* bytes of weights or cache */
    double matrix_per_s, attention_per_s, one_token_per_s; /* floating-point operations */
    double layer_s;
    int first, count;         /* layers it holds */
    bool output;              /* and the output matrix */
} speed_device;

typedef struct speed_parts {
    double base_s;      /* weights, layers, sampling */
    double attention_s; /* what grows with depth */
} speed_parts;

void speed_device_host(speed_device *ret_device, const o3_profile *profile, const o3_model *model,
                       const o3_setting *setting);
void speed_device_gpu(speed_device *ret_device, const o3_gpu *gpu, const o3_model *model);

/* Where the layers lie, into a zeroed estimate: as much of o3_predict as rates need. */
void speed_place(o3_estimate *ret_estimate, const o3_profile *profile, const o3_model *model, const o3_setting *setting,
                 const o3_calibration *calibration);
/* By the placement in `e`. */
speed_parts speed_decode(const o3_estimate *e, const o3_profile *profile, const o3_model *model, double depth_tokens);
speed_parts speed_prefill(const o3_estimate *e, const o3_profile *profile, const o3_model *model, double tokens);

/* Fills the rates of an estimate whose placement stands. */
void predict_rates(o3_estimate *e, const o3_profile *profile, const o3_model *model, const o3_setting *setting,
                   const o3_calibration *calibration);
/* Where they come from, for a person. */
void predict_rates_origin(const o3_estimate *e, const o3_profile *profile, const o3_model *model,
                          const o3_calibration *calibration, char *dst, size_t dst_size);

#endif
