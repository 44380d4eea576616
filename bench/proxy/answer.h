/* Reads an HTTP/1.1 answer to its last byte, and the lines of its event stream, however they were cut on their way. */

#ifndef BENCH_ANSWER_H
#define BENCH_ANSWER_H

#include <stdbool.h>

#include "samples.h"

#define MAX_HEAD 16384
#define MAX_LINE 1024

enum reading { OVER, HEAD, SIZED_BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

struct answer {
    enum reading reading;
    bool event_stream, done_seen;
    uint64_t first_byte_ns; /* of the body, 0 until it is there */
    uint64_t left;          /* bytes of the sized body, or of the present chunk */
    size_t head_length, line_length;
    char head[MAX_HEAD], line[MAX_LINE];
};

/* Expect an answer. */
void answer_begin(struct answer *a);

/* Take some bytes that came at `now`. Returns how many of them belong to this answer; the rest follows its end.
 * The delay of each stamped event is added to `lag`. *error says why the answer is no good, else it is left alone. */
size_t answer_take(struct answer *a, const char *data, size_t length, uint64_t now, struct samples *lag,
                   const char **error);

#endif
