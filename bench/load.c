/* The load and the model servers of bench/peers.py: cheap enough that a proxy between them is what is measured.
 *
 *   load serve PORT BEHAVIOUR [MS]      a model server: equal | delay | hang | sse; GET /count says how many POSTs came,
 *       any other GET that it is ready
 *   load run PORT PATH CONNECTIONS SECONDS BODY RATE EVENTS
 *       RATE 0: closed loop. Else open loop: that many requests a second, each latency from the time it was due, so that
 *       a slow proxy is not asked less (no coordinated omission). EVENTS 1: answers are server-sent events, and the
 *       delay of each is measured too. Prints one JSON object.
 *
 * One thread, epoll. Requests and answers are framed by Content-Length; server-sent events by chunks.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4096, HEAD = 8192, EVENTS_PER_ANSWER = 50, EVENT_MS = 2 };

static const char ANSWER[] = "{\"predictions\": [0.8372190342], \"model\": \"late-arrival\", \"version\": 1}";

static volatile sig_atomic_t ended;
static void on_end(int number) { (void)number; ended = 1; }

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) { perror(what); exit(1); }

static void watch(int epoll, int fd, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, how, fd, &event)) die("epoll_ctl");
}

/* The value of a header field, or -1. */
static long length_of(const char *head, const char *end) {
    for (const char *line = head; line && line < end; line = memchr(line, '\n', end - line)) {
        if (*line == '\n') line++;
        if (end - line > 15 && !strncasecmp(line, "content-length:", 15)) return atol(line + 15);
    }
    return -1;
}

/* ---- the model server */

struct served {
    char head[HEAD];
    size_t have;      /* bytes of the head so far */
    long left;        /* bytes of the body to come; -1: the head is coming */
    char get;         /* what it asks for: 'c' the count, 'r' whether we are ready, 0 a prediction */
    int events_left;  /* of a stream */
    int64_t due;      /* when to answer, or to send the next event; 0: nothing is due */
};

static struct served *clients[65536];
static int waiting[MOST], waits;
static int64_t delay_ns;
static char behaviour;
static long count;

static void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) continue;
        if (sent < 0) return;
        data += sent, size -= sent;
    }
}

static void reply(int fd, const char *body) {
    char out[512];
    int size = snprintf(out, sizeof out,
                        "HTTP/1.1 200 OK\r\ndate: Tue, 24 Nov 2026 14:41:00 GMT\r\nserver: uvicorn\r\ncontent-length: %zu\r\n"
                        "content-type: application/json\r\n\r\n%s",
                        strlen(body), body);
    send_all(fd, out, size);
}

static void asked(int fd, struct served *it) {
    if (it->get == 'r') {
        reply(fd, ANSWER); /* ready, whatever becomes of predictions */
    } else if (it->get) {
        char body[64];
        snprintf(body, sizeof body, "{\"count\": %ld}", count);
        reply(fd, body);
    } else if (count++, behaviour == 'e') {
        reply(fd, ANSWER);
    } else if (behaviour == 'd') {
        it->due = now_ns() + delay_ns;
        waiting[waits++] = fd;
    } else if (behaviour == 's') {
        static const char head[] =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        send_all(fd, head, sizeof head - 1);
        it->events_left = EVENTS_PER_ANSWER;
        it->due = now_ns();
        waiting[waits++] = fd;
    } /* 'h': never */
    it->left = -1;
    it->have = 0;
}

static void serve_due(void) {
    int64_t now = now_ns();
    for (int i = 0; i < waits;) {
        struct served *it = clients[waiting[i]];
        if (it && it->due > now) { i++; continue; }
        if (it && it->events_left) {
            char event[64], chunk[96];
            int size = snprintf(event, sizeof event, "data: %019lld\n\n", (long long)now_ns());
            it->events_left--;
            int all = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n%s", size, event, it->events_left ? "" : "0\r\n\r\n");
            send_all(waiting[i], chunk, all);
            it->due += EVENT_MS * 1000000LL;
            if (it->events_left) { i++; continue; }
        } else if (it) {
            reply(waiting[i], ANSWER);
        }
        waiting[i] = waiting[--waits];
    }
}

static void came(int fd, const char *data, size_t size) {
    struct served *it = clients[fd];
    while (size) {
        if (it->left < 0) {
            size_t room = HEAD - 1 - it->have, part = size < room ? size : room;
            memcpy(it->head + it->have, data, part);
            it->head[it->have + part] = 0;
            char *end = strstr(it->have > 3 ? it->head + it->have - 3 : it->head, "\r\n\r\n");
            if (!end) { it->have += part; return; }
            size_t head = end + 4 - it->head, used = head - it->have;
            it->get = !strncmp(it->head, "GET /count", 10) ? 'c' : !strncmp(it->head, "GET ", 4) ? 'r' : 0;
            long length = length_of(it->head, end);
            it->left = length < 0 ? 0 : length;
            data += used, size -= used;
        }
        size_t part = (long)size < it->left ? size : (size_t)it->left;
        it->left -= part, data += part, size -= part;
        if (!it->left) asked(fd, it);
    }
}

static void serve(int port) {
    static char data[1 << 18];
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1, epoll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 1024)) die("listen");
    watch(epoll, listener, EPOLLIN, EPOLL_CTL_ADD);
    struct epoll_event events[256];
    while (!ended) {
        int64_t next = -1;
        for (int i = 0; i < waits; i++)
            if (clients[waiting[i]] && (next < 0 || clients[waiting[i]]->due < next)) next = clients[waiting[i]]->due;
        int64_t wait = next < 0 ? 1000000000 : next - now_ns();
        struct timespec left = {.tv_nsec = wait < 0 ? 0 : wait > 999999999 ? 999999999 : wait};
        int n = epoll_pwait2(epoll, events, 256, &left, NULL);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                    clients[fd] = calloc(1, sizeof *clients[fd]);
                    clients[fd]->left = -1;
                    watch(epoll, fd, EPOLLIN, EPOLL_CTL_ADD);
                }
                continue;
            }
            ssize_t size = recv(fd, data, sizeof data, 0);
            if (size > 0) {
                came(fd, data, size);
            } else if (size == 0 || errno != EAGAIN) {
                for (int w = 0; w < waits; w++)
                    if (waiting[w] == fd) waiting[w--] = waiting[--waits];
                free(clients[fd]);
                clients[fd] = NULL;
                close(fd);
            }
        }
        if (waits) serve_due();
    }
}

/* ---- the load */

struct asking {
    int fd;
    int64_t due;       /* when it was to be sent */
    size_t sent;       /* bytes of the request */
    size_t size;       /* of the request */
    char head[512];
    char in[HEAD];
    size_t have;
    long left;         /* of the answer's body; -1: its head is coming */
};

static struct asking *askers;
static int idle[MOST], idles;
static uint32_t *latencies, *delays;
static size_t answers, events_seen, most_answers = 1 << 23;
static long errors;
static char *body;
static size_t body_size;
static const char *path;
static int port_asked, poller, with_events;

static void connect_one(struct asking *it) {
    int yes = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port_asked),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    it->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(it->fd, (void *)&to, sizeof to)) die("connect");
    fcntl(it->fd, F_SETFL, O_NONBLOCK);
    setsockopt(it->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = it};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, it->fd, &event)) die("epoll_ctl");
    it->size = 0;
}

static void go_on(struct asking *it) {
    size_t head = it->size - body_size;
    while (it->sent < it->size) {
        ssize_t n;
        if (it->sent < head && body_size <= 16384) { /* one write for a small message, as clients do */
            static char whole[512 + 16384];
            memcpy(whole, it->head, head);
            memcpy(whole + head, body, body_size);
            n = send(it->fd, whole + it->sent, it->size - it->sent, MSG_NOSIGNAL);
        } else if (it->sent < head) {
            n = send(it->fd, it->head + it->sent, head - it->sent, MSG_NOSIGNAL | MSG_MORE);
        } else {
            n = send(it->fd, body + (it->sent - head), it->size - it->sent, MSG_NOSIGNAL);
        }
        if (n < 0) break;
        it->sent += n;
    }
    struct epoll_event event = {.events = EPOLLIN | (it->sent < it->size ? EPOLLOUT : 0), .data.ptr = it};
    static char wants_out[65536];
    char wants = it->sent < it->size;
    if (wants != wants_out[it->fd]) {
        epoll_ctl(poller, EPOLL_CTL_MOD, it->fd, &event);
        wants_out[it->fd] = wants;
    }
}

static void ask(struct asking *it, int64_t due) {
    static unsigned user;
    it->due = due;
    it->sent = it->have = 0;
    it->left = -1;
    it->size = body_size + sprintf(it->head,
                                   "POST %s HTTP/1.1\r\nHost: models:8080\r\nUser-Agent: bench\r\nAccept: */*\r\n"
                                   "Content-Type: application/json\r\nX-User-Id: user-%u\r\nContent-Length: %zu\r\n\r\n",
                                   path, user++ % 100000, body_size);
    go_on(it);
}

static void failed(struct asking *it) {
    errors++;
    close(it->fd);
    connect_one(it);
}

/* Whether the answer is there whole; what came is in `in`. */
static int whole(struct asking *it) {
    if (it->left < 0) {
        it->in[it->have] = 0;
        char *end = strstr(it->in, "\r\n\r\n");
        if (!end) return 0;
        if (strncmp(it->in + 8, " 200", 4)) { it->left = 0; return -1; }
        size_t head = end + 4 - it->in;
        if (with_events) {
            it->left = 1;
        } else {
            it->left = length_of(it->in, end);
            if (it->left < 0) return -1;
        }
        memmove(it->in, it->in + head, it->have -= head);
    }
    if (!with_events) {
        if ((long)it->have > it->left) return -1;
        it->left -= it->have, it->have = 0;
        return it->left == 0;
    }
    it->in[it->have] = 0; /* events: wherever a proxy cuts its chunks */
    char *from = it->in, *found;
    int64_t now = now_ns();
    while ((found = strstr(from, "data: ")) && strlen(found) >= 27) {
        if (events_seen < most_answers) delays[events_seen++] = (now - atoll(found + 6)) / 10; /* in 10 ns */
        from = found + 25;
    }
    int end = strstr(from, "\r\n0\r\n\r\n") != NULL;
    size_t rest = it->in + it->have - from;
    if (found) rest = it->in + it->have - found, from = found;
    else if (rest > 8 && !end) from += rest - 8, rest = 8;
    memmove(it->in, from, it->have = rest);
    return end;
}

static int smaller(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double at(uint32_t *sorted, size_t n, double share, double unit) {
    return n ? sorted[(size_t)(share * (n - 1))] * unit : 0;
}

static void run(int connections, double seconds, double rate) {
    poller = epoll_create1(0);
    askers = calloc(connections, sizeof *askers);
    latencies = malloc(most_answers * sizeof *latencies);
    delays = malloc(most_answers * sizeof *delays);
    int64_t start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    int64_t gap = rate ? (int64_t)(1e9 / rate) : 0, due = start;
    for (int i = 0; i < connections; i++) {
        connect_one(&askers[i]);
        if (rate) idle[idles++] = i;
        else ask(&askers[i], now_ns());
    }
    struct epoll_event events[256];
    int open = connections;
    int64_t now = now_ns();
    while ((now < end || (rate && idles < connections && now < end + 2000000000LL)) && !ended && open) {
        while (rate && due <= now && due < end && idles) {
            ask(&askers[idle[--idles]], due);
            due += gap;
        }
        int64_t wait = rate && idles && due < end ? due - now : 10000000;
        struct timespec left = {.tv_nsec = wait < 0 ? 0 : wait};
        int n = epoll_pwait2(poller, events, 256, &left, NULL);
        now = now_ns();
        for (int i = 0; i < n; i++) {
            struct asking *it = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) go_on(it);
            if (!(events[i].events & ~EPOLLOUT)) continue;
            ssize_t size = recv(it->fd, it->in + it->have, HEAD - 1 - it->have, 0);
            if (size < 0 && errno == EAGAIN) continue;
            int got = size <= 0 ? -1 : (it->have += size, whole(it));
            if (!got) continue;
            now = now_ns();
            if (got < 0) failed(it);
            else if (answers < most_answers) latencies[answers++] = (now - it->due) / 100; /* in 100 ns */
            if (!rate) ask(it, now);
            else idle[idles++] = it - askers;
        }
        now = now_ns();
    }
    double took = (now - start) / 1e9;
    qsort(latencies, answers, sizeof *latencies, smaller);
    qsort(delays, events_seen, sizeof *delays, smaller);
    printf("{\"requests\": %zu, \"errors\": %ld, \"seconds\": %.4f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, "
           "\"event_p50_us\": %.2f, \"event_p99_us\": %.2f, \"missed\": %lld}\n",
           answers, errors, took, at(latencies, answers, 0.5, 0.1), at(latencies, answers, 0.99, 0.1),
           at(latencies, answers, 1, 0.1), at(delays, events_seen, 0.5, 0.01), at(delays, events_seen, 0.99, 0.01),
           rate ? (long long)((end - due) / gap) : 0LL);
}

int main(int argc, char **argv) {
    signal(SIGTERM, on_end);
    signal(SIGINT, on_end);
    if (argc >= 4 && !strcmp(argv[1], "serve")) {
        behaviour = argv[3][0];
        delay_ns = argc > 4 ? (int64_t)(atof(argv[4]) * 1e6) : 0;
        serve(atoi(argv[2]));
        return 0;
    }
    if (argc == 9 && !strcmp(argv[1], "run")) {
        port_asked = atoi(argv[2]);
        path = argv[3];
        body_size = atol(argv[6]);
        body = malloc(body_size + 1);
        memset(body, 'x', body_size);
        with_events = atoi(argv[8]);
        run(atoi(argv[4]), atof(argv[5]), atof(argv[7]));
        return errors != 0 && answers == 0;
    }
    fputs("usage: load serve PORT equal|delay|hang|sse [MS]\n"
          "       load run PORT PATH CONNECTIONS SECONDS BODY RATE EVENTS\n", stderr);
    return 2;
}
