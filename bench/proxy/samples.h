/* A growing array of times, and what is to be said of them. */

#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include <stddef.h>

#include "wire.h"

struct samples {
    uint64_t *values;
    size_t count, capacity;
};

static inline void samples_add(struct samples *s, uint64_t value)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 65536;
        s->values = realloc(s->values, s->capacity * sizeof *s->values);
        if (!s->values)
            die("realloc");
    }
    s->values[s->count++] = value;
}

static inline int samples_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Of sorted samples, the nearest rank in microseconds. */
static inline double samples_percentile(const struct samples *s, double share)
{
    if (!s->count)
        return 0;
    size_t rank = (size_t)(share * (double)s->count);
    return (double)s->values[rank < s->count ? rank : s->count - 1] / NS_PER_US;
}

/* As the value of a JSON object that has members already. */
static inline void samples_print(const char *name, struct samples *s)
{
    if (s->count)
        qsort(s->values, s->count, sizeof *s->values, samples_compare);
    printf(", \"%s\": {\"count\": %zu, \"p50\": %.2f, \"p99\": %.2f, \"max\": %.2f}", name, s->count,
           samples_percentile(s, 0.50), samples_percentile(s, 0.99), samples_percentile(s, 1.0));
}

#endif
