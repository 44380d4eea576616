/* The backend of the benchmark: it answers like vllm-mlx, at once, and costs next to nothing.
 *
 *   GET  /health, /v1/models     healthy, one model
 *   POST anything                a chat completion; with "stream":true an SSE stream of "max_tokens" chunks,
 *                                "interval_us" apart (0: as fast as the reader takes them)
 *
 * One thread, one epoll. Streams that wait for their next chunk sit in a heap ordered by due time, and one timerfd is
 * armed for the first of them: chunks of many streams leave spread over time, as those of real backends do, and not
 * in bursts of one per millisecond. Usage: stub PORT (0: any free one); prints the port that it listens on. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "due.h"

#define MAX_REQUEST 65536
#define MAX_PENDING 65536 /* a reader that is so far behind is cut off */
#define CHUNKS_PER_WRITE 16 /* of a stream at full speed: one system call per chunk would be the bottleneck */
#define MAX_EVENTS 256

#define JSON_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s"
#define STREAM_HEAD                                                                                                    \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
#define COMPLETION                                                                                                     \
    "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1705334400,\"model\":\"" MODEL                \
    "\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"MLX is an array framework for "      \
    "machine learning on Apple Silicon.\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],"                            \
    "\"usage\":{\"prompt_tokens\":25,\"completion_tokens\":12,\"total_tokens\":37}}"
#define HEALTH "{\"status\":\"healthy\",\"model_loaded\":true,\"model_name\":\"" MODEL "\",\"model_type\":\"llm\"}"
#define MODELS                                                                                                         \
    "{\"object\":\"list\",\"data\":[{\"id\":\"" MODEL "\",\"object\":\"model\",\"created\":1705334400,"                  \
    "\"owned_by\":\"vllm-mlx\",\"root\":\"" MODEL "\",\"parent\":null,\"permission\":[]}]}"
#define LAST_EVENTS                                                                                                    \
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1705334400,\"model\":\"" MODEL    \
    "\",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"

struct connection {
    struct waiting waiting; /* first: the heap's entries are the connections themselves */
    int fd;
    uint32_t chunks_left;
    uint64_t interval_ns;
    bool streaming, watches_writable;
    size_t in_length, out_length, out_sent;
    char in[MAX_REQUEST + 1], out[MAX_PENDING];
};

static int epoll_fd, timer_fd;
static char chunk[512], stream_end[1024];
static size_t chunk_length, chunk_stamp_offset, stream_end_length;

static void arm_timer(void)
{
    static uint64_t armed_for;
    uint64_t due = heap_size ? heap[0]->due_ns : 0;
    if (due == armed_for)
        return;
    armed_for = due;
    struct itimerspec at = {.it_value = {.tv_sec = due / NS_PER_SECOND, .tv_nsec = due % NS_PER_SECOND}};
    if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, NULL) < 0)
        die("timerfd_settime");
}

static void drop(struct connection *c)
{
    due_remove(&c->waiting);
    close(c->fd);
    free(c);
}

static void watch_writable(struct connection *c, bool wanted)
{
    if (c->watches_writable == wanted)
        return;
    c->watches_writable = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static bool append(struct connection *c, const char *bytes, size_t length)
{
    if (c->out_length + length > MAX_PENDING)
        return false;
    memcpy(c->out + c->out_length, bytes, length);
    c->out_length += length;
    return true;
}

/* Returns false when the reader is gone. */
static bool flush(struct connection *c)
{
    while (c->out_sent < c->out_length) {
        ssize_t sent = send(c->fd, c->out + c->out_sent, c->out_length - c->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            return false;
        c->out_sent += (size_t)sent;
    }
    if (c->out_sent == c->out_length)
        c->out_sent = c->out_length = 0;
    watch_writable(c, c->out_length > 0 || (c->streaming && c->interval_ns == 0));
    return true;
}

static bool append_chunk(struct connection *c)
{
    char stamp[STAMP_DIGITS + 1];
    snprintf(stamp, sizeof stamp, "%0*llu", STAMP_DIGITS, (unsigned long long)now_ns());
    memcpy(chunk + chunk_stamp_offset, stamp, STAMP_DIGITS);
    c->chunks_left--;
    return append(c, chunk, chunk_length);
}

/* The next chunk, or at full speed the next few, and the end of the stream after the last. */
static bool write_chunks(struct connection *c)
{
    uint32_t count = c->interval_ns ? 1 : CHUNKS_PER_WRITE;
    while (count-- && c->chunks_left)
        if (!append_chunk(c))
            return false;
    if (!c->chunks_left) {
        c->streaming = false;
        due_remove(&c->waiting);
        if (!append(c, stream_end, stream_end_length))
            return false;
    } else if (c->interval_ns) {
        c->waiting.due_ns += c->interval_ns;
        due_add(&c->waiting);
    }
    return flush(c);
}

static unsigned long number_after(const char *text, const char *key, unsigned long otherwise)
{
    const char *found = strstr(text, key);
    return found ? strtoul(found + strlen(key), NULL, 10) : otherwise;
}

static bool wants_stream(const char *body)
{
    const char *found = strstr(body, "\"stream\":");
    return found && strncmp(found + 9 + strspn(found + 9, " "), "true", 4) == 0;
}

static bool answer(struct connection *c, const char *head, const char *body)
{
    if (strncmp(head, "POST", 4) == 0 && wants_stream(body)) {
        c->streaming = true;
        c->chunks_left = (uint32_t)number_after(body, "\"max_tokens\":", 1);
        c->interval_ns = number_after(body, "\"interval_us\":", 0) * NS_PER_US;
        c->waiting.due_ns = now_ns();
        return append(c, STREAM_HEAD, sizeof STREAM_HEAD - 1) && write_chunks(c);
    }
    const char *json = strncmp(head, "POST", 4) == 0 ? COMPLETION : strstr(head, "/health") ? HEALTH : MODELS;
    char reply[2048];
    int length = snprintf(reply, sizeof reply, JSON_HEAD, strlen(json), json);
    return append(c, reply, (size_t)length) && flush(c);
}

/* One request at a time: the answer to one is complete before the next is read. */
static bool take_requests(struct connection *c)
{
    while (!c->streaming && c->in_length) {
        c->in[c->in_length] = '\0';
        char *head_end = strstr(c->in, "\r\n\r\n");
        if (!head_end)
            return c->in_length < MAX_REQUEST;
        char *body = head_end + 4;
        const char *length_header = strcasestr(c->in, "\r\ncontent-length:");
        size_t body_length = length_header && length_header < head_end ? strtoul(length_header + 17, NULL, 10) : 0;
        size_t whole = (size_t)(body - c->in) + body_length;
        if (whole > MAX_REQUEST)
            return false;
        if (c->in_length < whole)
            return true;
        char after = c->in[whole]; /* the next request's first byte, if it is here already */
        c->in[whole] = '\0';
        if (!answer(c, c->in, body))
            return false;
        c->in[whole] = after;
        c->in_length -= whole;
        memmove(c->in, c->in + whole, c->in_length);
    }
    return true;
}

static bool on_readable(struct connection *c)
{
    ssize_t got = recv(c->fd, c->in + c->in_length, MAX_REQUEST - c->in_length, 0);
    if (got < 0 && errno == EAGAIN)
        return true;
    if (got <= 0)
        return false;
    c->in_length += (size_t)got;
    return take_requests(c);
}

static bool on_writable(struct connection *c)
{
    bool full_speed = c->streaming && c->interval_ns == 0;
    if (!(full_speed && c->out_length == 0 ? write_chunks(c) : flush(c)))
        return false;
    return take_requests(c);
}

static void write_due_chunks(void)
{
    uint64_t expirations;
    if (read(timer_fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
        die("read timerfd");
    while (heap_size && heap[0]->due_ns <= now_ns()) {
        struct connection *c = (struct connection *)heap[0];
        if (!write_chunks(c) || !take_requests(c))
            drop(c);
    }
}

static void accept_all(int listener)
{
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct connection *c = malloc(sizeof *c);
        if (!c)
            die("malloc");
        memset(c, 0, offsetof(struct connection, in)); /* the buffers' pages are touched when they are needed */
        c->fd = fd;
        c->waiting.place = NOT_WAITING;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, SOMAXCONN) < 0)
        die("stub: cannot listen");
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void prepare_texts(void)
{
    size_t event_length = STAMP_OFFSET + STAMP_DIGITS + sizeof EVENT_AFTER_STAMP - 1;
    int head = snprintf(chunk, sizeof chunk, "%zx\r\n", event_length);
    chunk_stamp_offset = (size_t)head + STAMP_OFFSET;
    chunk_length = (size_t)snprintf(chunk, sizeof chunk, "%zx\r\n%s%0*d%s\r\n", event_length, EVENT_BEFORE_STAMP,
                                    STAMP_DIGITS, 0, EVENT_AFTER_STAMP);
    stream_end_length = (size_t)snprintf(stream_end, sizeof stream_end, "%zx\r\n%s\r\n0\r\n\r\n",
                                         sizeof LAST_EVENTS - 1, LAST_EVENTS);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        die("usage: stub PORT");
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* the stub never outlives the benchmark */
    prepare_texts();
    epoll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int listener = listen_on(atoi(argv[1]));
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &listener});
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &timer_fd});
    for (;;) {
        arm_timer();
        struct epoll_event events[MAX_EVENTS];
        int count = epoll_wait(epoll_fd, events, MAX_EVENTS, -1);
        bool timer_fired = false;
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].data.ptr == &listener)
                accept_all(listener);
            else if (events[i].data.ptr == &timer_fd)
                timer_fired = true;
            else if ((events[i].events & ~(uint32_t)EPOLLOUT && !on_readable(c)) ||
                     (events[i].events == EPOLLOUT && !on_writable(c)))
                drop(c);
        }
        /* Last: it may drop connections, whose events in this batch would otherwise point at freed memory. */
        if (timer_fired)
            write_due_chunks();
    }
}
