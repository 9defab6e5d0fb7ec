/* SPDX-License-Identifier: Apache-2.0 */
/* xoshiro256** 1.0 seeded by splitmix64 (Blackman & Vigna 2018, public domain algorithms; own code). */
#include "base.h"

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void o3_rng_seed(o3_rng *rng, uint64_t seed, uint64_t stream)
{
    uint64_t state = seed ^ splitmix(&(uint64_t){stream});
    for (int i = 0; i < 4; i++)
        rng->s[i] = splitmix(&state);
}

uint64_t o3_rng_u64(o3_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint32_t o3_rng_below(o3_rng *rng, uint32_t bound)
{
    return (uint32_t)(((o3_rng_u64(rng) >> 32) * bound) >> 32);
}

double o3_rng_unit(o3_rng *rng)
{
    return (double)(o3_rng_u64(rng) >> 11) * 0x1.0p-53;
}

uint64_t o3_hash(const void *bytes, size_t len, uint64_t seed)
{
    const unsigned char *p = bytes;
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ seed;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return splitmix(&h);
}
