/* A bare client: the least cost of receiving the same streams. The cost of the measuring engine is compared with it, and it
 * sends the load in measurements of the mock, which our own client would disturb.
 *
 *   client [-s SPACING_US] [-r SECONDS] [-o STAMPS] PORT STREAMS TOKENS
 *
 * Opens all connections, sends one request on each, and reads with epoll and recvmsg, kernel receive stamps on, until each
 * stream has ended. Counts events by their blank lines; decodes nothing. Sends are spaced by the 15 us that a send of the
 * measuring engine takes (-s: another spacing; 0: all at once): the number of chunks per wake-up decides the cost of both
 * ends. Data that arrives between two sends is read.
 *
 *   -r  closed loop: a connection whose response has ended sends the next request, until SECONDS have passed
 *   -o  writes a line for each read that brought exactly one event: REQUEST EVENT STAMP_NS (CLOCK_REALTIME)
 *
 * Requests are numbered: x-request-id is c-0, c-1, ... Prints one JSON object: chunks, requests, reads, wake-ups, the seconds
 * from the first send, and the CPU time between the last of the first sends and the last byte.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int streams, tokens, active, poll_fd, *fds, *ids, *seen, sent_requests;
static long chunks, reads, wakes;
static double again_until;
static char (*tails)[5];
static FILE *stamps;

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *why) {
  fprintf(stderr, "client: %s\n", why);
  exit(1);
}

static void ask(int i) {
  char body[256], request[512];
  int size = sprintf(body, "{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"max_tokens\":%d,\"stream\":true,\"stream_options\":{\"include_usage\":true}}", tokens);
  ids[i] = sent_requests++, seen[i] = 0;
  int n = sprintf(request, "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nx-request-id: c-%d\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", ids[i], size, body);
  if (send(fds[i], request, n, 0) != n) perror("client"), exit(1);
}

static void take(int i) {
  char buffer[65536], control[128];
  struct iovec iov = {buffer, sizeof buffer};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct timespec last = {0};
  ssize_t got = recvmsg(fds[i], &m, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) fail("a stream was cut");
  for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) memcpy(&last, CMSG_DATA(h), sizeof last);
  reads++;
  int events = 0;
  for (char *p = buffer; (p = memmem(p, buffer + got - p, "\n\n", 2)); p += 2) events++;
  if (stamps && events == 1 && buffer[0] != 'H') fprintf(stamps, "%d %d %lld\n", ids[i], seen[i], last.tv_sec * 1000000000LL + last.tv_nsec);
  chunks += events, seen[i] += events;
  if (got >= 5) memcpy(tails[i], buffer + got - 5, 5);
  else memmove(tails[i], tails[i] + got, 5 - got), memcpy(tails[i] + 5 - got, buffer, got);
  if (memcmp(tails[i], "0\r\n\r\n", 5)) return;
  if (!seen[i]) fail("a response without events");
  memset(tails[i], 0, 5);
  if (now_s() < again_until) ask(i);
  else close(fds[i]), active--; /* A server may close it as idle. */
}

static void read_some(int timeout_ms) {
  struct epoll_event events[512];
  int n = epoll_wait(poll_fd, events, 512, timeout_ms);
  wakes++;
  if (n <= 0 && timeout_ms) fail("nothing came for 20 s");
  for (int k = 0; k < n; k++) take(events[k].data.u32);
}

int main(int argc, char **argv) {
  double spacing_s = 15e-6, again_s = 0;
  for (int option; (option = getopt(argc, argv, "s:r:o:")) != -1;) {
    if (option == 's') spacing_s = atof(optarg) / 1e6;
    else if (option == 'r') again_s = atof(optarg);
    else if (option == 'o') stamps = fopen(optarg, "w");
    else return 2;
  }
  if (argc - optind != 3) return fprintf(stderr, "usage: client [-s SPACING_US] [-r SECONDS] [-o STAMPS] PORT STREAMS TOKENS\n"), 2;
  int port = atoi(argv[optind]), on = 1;
  active = streams = atoi(argv[optind + 1]), tokens = atoi(argv[optind + 2]);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files), files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
  poll_fd = epoll_create1(0), fds = calloc(streams, sizeof *fds), ids = calloc(streams, sizeof *ids), seen = calloc(streams, sizeof *seen);
  tails = calloc(streams, sizeof *tails);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int i = 0; i < streams; i++) {
    fds[i] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fds[i], (struct sockaddr *)&at, sizeof at)) return perror("client"), 1;
    setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fds[i], SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fds[i], &(struct epoll_event){.events = EPOLLIN, .data.u32 = i});
  }
  double start = now_s(), next = start;
  again_until = start + again_s;
  for (int i = 0; i < streams; i++) {
    /* Read during long spacings; it would stretch short ones. */
    while (now_s() < next) if (spacing_s >= 50e-6) read_some(0);
    next += spacing_s;
    ask(i);
  }
  double began = cpu_s();
  while (active) read_some(20000);
  double end = now_s();
  if (stamps && fclose(stamps)) return perror("client"), 1;
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  printf("{\"chunks\":%ld,\"requests\":%d,\"reads\":%ld,\"wakes\":%ld,\"wall_s\":%.6f,\"cpu_s\":%.6f,\"max_rss_kib\":%ld}\n", chunks, sent_requests, reads, wakes, end - start, cpu_s() - began, used.ru_maxrss);
  return 0;
}
