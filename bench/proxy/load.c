/* The load generator of the benchmark: N connections, each of which sends one request after another and checks every
 * answer to its last byte. One thread, one epoll, so that it costs far less than what it measures.
 *
 *   load --port P --path /v1/chat/completions --body JSON --connections N --seconds S
 *        [--address 127.0.0.1] [--host NAME] [--each K] [--ramp-ms R] [--grace-ms G]
 *
 * Without --each a connection goes on until S seconds are over; with it, it ends after K answers. --ramp-ms spreads the
 * first requests over R ms. Answers that are still running G ms after S seconds are given up and counted as unfinished.
 * An answer other than 200, one cut short, or a stream without its [DONE] is an error, and its latency counts nowhere.
 * Prints one JSON object; times are microseconds. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "answer.h"

#define MAX_CONNECTIONS 16384
#define READ_BUFFER (256 * 1024)
#define MAX_EVENTS 256
#define MAX_ERRORS 1000 /* enough to know; a target that refuses everything is not hammered */
#define CONNECT_TIMEOUT_SECONDS 5

struct connection {
    int fd;
    uint32_t answers;
    uint64_t asked_ns;
    struct answer answer;
};

static struct sockaddr_in target = {.sin_family = AF_INET};
static const char *address = "127.0.0.1", *host, *path = "/v1/chat/completions", *body = "{}";
static int port, connection_count = 1;
static uint32_t each;
static double seconds = 1;
static uint64_t ramp_ns, grace_ns = 5 * NS_PER_SECOND;

static char *request;
static size_t request_length;
static struct connection *connections[MAX_CONNECTIONS];
static int epoll_fd, running;
static uint64_t start_ns, end_ns, last_answer_ns;
static unsigned long answers, errors;
static char first_error[200];
static struct samples latency, first_byte, lag;

/* --- asking, and what comes of it -------------------------------------------------------------------------------- */

static bool open_connection(struct connection *c)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval timeout = {.tv_sec = CONNECT_TIMEOUT_SECONDS};
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&target, sizeof target) < 0)
        return false;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) == 0;
}

/* Requests are far smaller than a socket's buffer, and a connection has only one on the way: a plain send takes all. */
static bool ask(struct connection *c)
{
    answer_begin(&c->answer);
    c->asked_ns = now_ns();
    return send(c->fd, request, request_length, MSG_NOSIGNAL) == (ssize_t)request_length;
}

static void finish(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
    running--;
}

static bool has_done_enough(const struct connection *c, uint64_t now)
{
    return errors >= MAX_ERRORS || (each ? c->answers >= each : now >= end_ns);
}

static void fail(struct connection *c, const char *why)
{
    if (!errors++)
        snprintf(first_error, sizeof first_error, "%s", why);
    c->answers++;
    close(c->fd);
    if (has_done_enough(c, now_ns()) || !open_connection(c) || !ask(c))
        finish(c);
}

/* Returns whether the connection goes on with another request. */
static bool succeed(struct connection *c, uint64_t now)
{
    if (c->answer.event_stream && !c->answer.done_seen) {
        fail(c, "a stream ended without [DONE]");
        return false;
    }
    answers++;
    c->answers++;
    last_answer_ns = now;
    samples_add(&latency, now - c->asked_ns);
    samples_add(&first_byte, c->answer.first_byte_ns - c->asked_ns);
    if (has_done_enough(c, now)) {
        finish(c);
        return false;
    }
    if (!ask(c)) {
        fail(c, "it closed the connection between two requests");
        return false;
    }
    return true;
}

static void take(struct connection *c, const char *data, size_t length, uint64_t now)
{
    while (length) {
        const char *error = NULL;
        size_t used = answer_take(&c->answer, data, length, now, &lag, &error);
        if (error)
            return fail(c, error);
        data += used;
        length -= used;
        if (c->answer.reading == OVER && !succeed(c, now))
            return;
    }
}

static void on_readable(struct connection *c)
{
    static char buffer[READ_BUFFER];
    ssize_t got = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got > 0)
        take(c, buffer, (size_t)got, now_ns());
    else if (got == 0 || errno != EAGAIN)
        fail(c, c->answer.reading == HEAD ? "it closed before an answer" : "it closed in the middle of an answer");
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static void parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"address", 1, 0, 'a'}, {"host", 1, 0, 'h'},        {"port", 1, 0, 'p'}, {"path", 1, 0, 'u'},
        {"body", 1, 0, 'b'},    {"connections", 1, 0, 'c'}, {"each", 1, 0, 'k'}, {"seconds", 1, 0, 's'},
        {"ramp-ms", 1, 0, 'r'}, {"grace-ms", 1, 0, 'g'},    {0, 0, 0, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'h': host = optarg; break;
        case 'p': port = atoi(optarg); break;
        case 'u': path = optarg; break;
        case 'b': body = optarg; break;
        case 'c': connection_count = atoi(optarg); break;
        case 'k': each = (uint32_t)atoi(optarg); break;
        case 's': seconds = atof(optarg); break;
        case 'r': ramp_ns = strtoull(optarg, NULL, 10) * NS_PER_MS; break;
        case 'g': grace_ns = strtoull(optarg, NULL, 10) * NS_PER_MS; break;
        default: exit(2);
        }
    }
    target.sin_port = htons((uint16_t)port);
    if (!port || connection_count < 1 || connection_count > MAX_CONNECTIONS || seconds <= 0 ||
        inet_pton(AF_INET, address, &target.sin_addr) != 1) {
        fprintf(stderr, "load: needs --port, 1 to %d --connections, --seconds > 0, an IPv4 --address\n", MAX_CONNECTIONS);
        exit(2);
    }
}

static void prepare(void)
{
    int length = asprintf(&request,
                          "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/json\r\nAccept: */*\r\n"
                          "User-Agent: bench\r\nContent-Length: %zu\r\n\r\n%s",
                          path, host ? host : address, port, strlen(body), body);
    if (length < 0)
        die("asprintf");
    request_length = (size_t)length;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < connection_count; i++) {
        connections[i] = calloc(1, sizeof **connections);
        if (!connections[i] || !open_connection(connections[i]))
            die("load: cannot connect");
    }
    running = connection_count;
}

/* Sends the first request of every connection whose turn in the ramp has come. */
static int start_more(int started, uint64_t now)
{
    while (started < connection_count &&
           now >= start_ns + ramp_ns * (uint64_t)started / (uint64_t)connection_count) {
        struct connection *c = connections[started++];
        if (!ask(c))
            fail(c, "it closed the connection before the first request");
    }
    return started;
}

static void run(void)
{
    start_ns = last_answer_ns = now_ns();
    end_ns = start_ns + (uint64_t)(seconds * NS_PER_SECOND);
    int started = 0;
    for (uint64_t now = start_ns; running && now < end_ns + grace_ns; now = now_ns()) {
        if (started < connection_count)
            started = start_more(started, now);
        struct epoll_event events[MAX_EVENTS];
        int count = epoll_wait(epoll_fd, events, MAX_EVENTS, started < connection_count ? 1 : 100);
        for (int i = 0; i < count; i++)
            on_readable(events[i].data.ptr);
    }
}

static void report(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"seconds\": %.6f, \"answers\": %lu, \"chunks\": %zu, \"errors\": %lu, \"unfinished\": %d, "
           "\"cpu_seconds\": %.6f",
           (double)(last_answer_ns - start_ns) / NS_PER_SECOND, answers, lag.count, errors, running, cpu);
    samples_print("latency", &latency);
    samples_print("first_byte", &first_byte);
    samples_print("lag", &lag);
    printf(", \"first_error\": \"");
    for (const char *c = first_error; *c; c++)
        printf(*c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    printf("\"}\n");
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    parse_options(argc, argv);
    prepare();
    run();
    report();
}
