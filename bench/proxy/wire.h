/* What the stub writes and the load generator reads: a chunk of a chat completion as vllm-mlx streams it, whose content
 * is the time at which the stub made it. Both programs run on one machine, so CLOCK_MONOTONIC is one clock and
 * "now minus stamp" is the true delay between stub and client. */

#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MODEL "bench-model"
#define EVENT_BEFORE_STAMP                                                                                             \
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1705334400,\"model\":\"" MODEL    \
    "\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\""
#define STAMP_DIGITS 20
#define EVENT_AFTER_STAMP "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"
#define STAMP_OFFSET (sizeof(EVENT_BEFORE_STAMP) - 1)

#define NS_PER_SECOND 1000000000ull
#define NS_PER_MS 1000000ull
#define NS_PER_US 1000ull

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

#endif
