/* A bare client: how little it takes to receive the same streams. What the measuring engine's cost is compared with.
 *
 *   client PORT STREAMS TOKENS
 *
 * Opens all connections, sends one request on each, and reads with epoll and recvmsg, kernel receive stamps on, until each
 * stream has ended. Counts the events by their blank lines; decodes nothing. Sends are spaced by the 15 us that a send of
 * the measuring engine takes: how many chunks one wake-up finds decides the cost of both, and it must be the same for both.
 * Prints one JSON object: chunks, reads, wake-ups, and the CPU time between the last send and the last byte.
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

int main(int argc, char **argv) {
  if (argc != 4) return fprintf(stderr, "usage: client PORT STREAMS TOKENS\n"), 2;
  int port = atoi(argv[1]), streams = atoi(argv[2]), tokens = atoi(argv[3]), on = 1, open = streams;
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files), files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
  int poll = epoll_create1(0), *fds = malloc(sizeof *fds * streams);
  char (*tails)[5] = calloc(streams, 5);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int i = 0; i < streams; i++) {
    fds[i] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fds[i], (struct sockaddr *)&at, sizeof at)) return perror("client"), 1;
    setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fds[i], SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    epoll_ctl(poll, EPOLL_CTL_ADD, fds[i], &(struct epoll_event){.events = EPOLLIN, .data.u32 = i});
  }
  char body[256], request[512];
  int size = sprintf(body, "{\"model\":\"source\",\"max_tokens\":%d,\"stream\":true,\"stream_options\":{\"include_usage\":true}}", tokens);
  double next = now_s();
  for (int i = 0; i < streams; i++) {
    while (now_s() < next) continue;
    next += 15e-6;
    int n = sprintf(request, "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nx-request-id: c-%d\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", i, size, body);
    if (send(fds[i], request, n, 0) != n) return perror("client"), 1;
  }
  double began = cpu_s();
  long chunks = 0, reads = 0, wakes = 0;
  struct epoll_event events[512];
  char buffer[65536], control[128];
  struct timespec last = {0};
  while (open) {
    int n = epoll_wait(poll, events, 512, 20000);
    wakes++;
    if (n <= 0) return fprintf(stderr, "client: nothing came for 20 s\n"), 1;
    for (int k = 0; k < n; k++) {
      int i = events[k].data.u32;
      struct iovec iov = {buffer, sizeof buffer};
      struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
      ssize_t got = recvmsg(fds[i], &m, MSG_DONTWAIT);
      if (got < 0 && errno == EAGAIN) continue;
      if (got <= 0) return fprintf(stderr, "client: a stream was cut\n"), 1;
      for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) memcpy(&last, CMSG_DATA(h), sizeof last);
      reads++;
      for (char *p = buffer; (p = memmem(p, buffer + got - p, "\n\n", 2)); p += 2) chunks++;
      if (got >= 5) memcpy(tails[i], buffer + got - 5, 5);
      else memmove(tails[i], tails[i] + got, 5 - got), memcpy(tails[i] + 5 - got, buffer, got);
      if (!memcmp(tails[i], "0\r\n\r\n", 5)) open--;
    }
  }
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  printf("{\"chunks\":%ld,\"reads\":%ld,\"wakes\":%ld,\"cpu_s\":%.6f,\"max_rss_kib\":%ld}\n", chunks, reads, wakes, cpu_s() - began, used.ru_maxrss);
  return 0;
}
