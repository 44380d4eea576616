/* See answer.h. Only what a benchmark meets: 200, a Content-Length or chunks, no trailers worth reading. */

#define _GNU_SOURCE
#include "answer.h"

#include <string.h>
#include <strings.h>

#define DONE_LINE "data: [DONE]"

void answer_begin(struct answer *a)
{
    a->reading = HEAD;
    a->event_stream = a->done_seen = false;
    a->first_byte_ns = 0;
    a->head_length = a->line_length = 0;
}

static void take_line(struct answer *a, uint64_t now, struct samples *lag)
{
    if (a->line_length > STAMP_OFFSET + STAMP_DIGITS && memcmp(a->line, EVENT_BEFORE_STAMP, STAMP_OFFSET) == 0)
        samples_add(lag, now - strtoull(a->line + STAMP_OFFSET, NULL, 10));
    else if (a->line_length >= sizeof DONE_LINE - 1 && memcmp(a->line, DONE_LINE, sizeof DONE_LINE - 1) == 0)
        a->done_seen = true;
}

static void take_events(struct answer *a, const char *data, size_t length, uint64_t now, struct samples *lag)
{
    while (length) {
        const char *newline = memchr(data, '\n', length);
        size_t part = newline ? (size_t)(newline - data) : length;
        size_t room = MAX_LINE - 1 - a->line_length, kept = part < room ? part : room;
        memcpy(a->line + a->line_length, data, kept);
        a->line_length += kept;
        if (newline) {
            a->line[a->line_length] = '\0';
            take_line(a, now, lag);
            a->line_length = 0;
            part++;
        }
        data += part;
        length -= part;
    }
}

static size_t take_body(struct answer *a, const char *data, size_t length, uint64_t now, struct samples *lag)
{
    size_t part = length < a->left ? length : (size_t)a->left;
    if (!a->first_byte_ns)
        a->first_byte_ns = now;
    if (a->event_stream)
        take_events(a, data, part, now, lag);
    a->left -= part;
    if (!a->left)
        a->reading = a->reading == CHUNK_DATA ? CHUNK_END : OVER;
    return part;
}

static const char *header(const char *head, const char *name)
{
    const char *found = strcasestr(head, name);
    return found ? found + strlen(name) + strspn(found + strlen(name), " ") : NULL;
}

static void read_head(struct answer *a, const char **error)
{
    static char said[64];
    if (strncmp(a->head, "HTTP/1.1 200", 12) != 0) {
        snprintf(said, sizeof said, "it answers %.40s", a->head);
        said[strcspn(said, "\r\n")] = '\0';
        *error = said;
        return;
    }
    const char *type = header(a->head, "\r\ncontent-type:"), *length = header(a->head, "\r\ncontent-length:");
    if (!length && !header(a->head, "\r\ntransfer-encoding:"))
        *error = "an answer without Content-Length or Transfer-Encoding";
    a->event_stream = type && strncasecmp(type, "text/event-stream", 17) == 0;
    a->left = length ? strtoull(length, NULL, 10) : 0;
    a->reading = !length ? CHUNK_SIZE : a->left ? SIZED_BODY : OVER;
}

static size_t take_head(struct answer *a, const char *data, size_t length, const char **error)
{
    size_t before = a->head_length, room = MAX_HEAD - 1 - before, part = length < room ? length : room;
    memcpy(a->head + before, data, part);
    a->head_length += part;
    a->head[a->head_length] = '\0';
    const char *end = strstr(a->head, "\r\n\r\n");
    if (!end) {
        if (part == room)
            *error = "a head without an end";
        return part;
    }
    size_t whole = (size_t)(end + 4 - a->head);
    a->head[whole] = '\0';
    a->head_length = 0;
    read_head(a, error);
    return whole - before;
}

/* The lines between chunks, collected where the head was. */
static size_t take_framing(struct answer *a, const char *data, size_t length, const char **error)
{
    const char *newline = memchr(data, '\n', length);
    size_t part = newline ? (size_t)(newline - data) + 1 : length;
    if (a->head_length + part >= MAX_HEAD) {
        *error = "a chunk size without an end";
        return part;
    }
    memcpy(a->head + a->head_length, data, part);
    a->head_length += part;
    a->head[a->head_length] = '\0';
    if (!newline)
        return part;
    if (a->reading == CHUNK_SIZE) {
        a->left = strtoull(a->head, NULL, 16);
        a->reading = a->left ? CHUNK_DATA : TRAILER;
    } else if (a->reading == CHUNK_END) {
        a->reading = CHUNK_SIZE;
    } else if (a->head_length <= 2) {
        a->reading = OVER; /* an empty line ends the trailer */
    }
    a->head_length = 0;
    return part;
}

size_t answer_take(struct answer *a, const char *data, size_t length, uint64_t now, struct samples *lag,
                   const char **error)
{
    if (a->reading == OVER) {
        *error = "bytes after the end of an answer";
        return length;
    }
    if (a->reading == HEAD)
        return take_head(a, data, length, error);
    if (a->reading == SIZED_BODY || a->reading == CHUNK_DATA)
        return take_body(a, data, length, now, lag);
    return take_framing(a, data, length, error);
}
