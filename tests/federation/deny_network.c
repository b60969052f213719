/* Preloaded into every process of a test: every address but loopback's allowed ports is refused and
 * written down, whether Python or native code (gRPC's core) asks for it. Unix sockets stay: they end
 * on this machine.
 *
 *   DENY_PORTS   TCP ports of 127.0.0.1 that may be connected to and bound, by commas
 *   DENY_LOG     file to which each call is appended: allowed|denied CALL ADDRESS PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void note(const char *verdict, const char *call, const char *where, int port) {
  const char *path = getenv("DENY_LOG");
  char line[400];
  int kept = errno, size = snprintf(line, sizeof line, "%s %s %.255s %d\n", verdict, call, where, port);
  int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (file >= 0) {
    if (write(file, line, size) != size) abort();
    close(file);
  }
  errno = kept;
}

static int among_ports(int port) {
  const char *at = getenv("DENY_PORTS");
  while (at && *at) {
    if (atoi(at) == port) return 1;
    at = strchr(at, ',');
    if (at) at++;
  }
  return 0;
}

static int allowed(const char *call, const struct sockaddr *address, int family_of_nobody) {
  char where[INET6_ADDRSTRLEN] = "?";
  int port = 0, home = 0;
  if (!address || address->sa_family == AF_UNIX || address->sa_family == AF_NETLINK) return 1;
  if (address->sa_family == AF_UNSPEC) return family_of_nobody;
  if (address->sa_family == AF_INET) {
    const struct sockaddr_in *v4 = (const void *)address;
    inet_ntop(AF_INET, &v4->sin_addr, where, sizeof where);
    port = ntohs(v4->sin_port);
    home = v4->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
  } else if (address->sa_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const void *)address;
    inet_ntop(AF_INET6, &v6->sin6_addr, where, sizeof where);
    port = ntohs(v6->sin6_port);
    home = !strcmp(where, "::ffff:127.0.0.1");
  }
  home = home && among_ports(port);
  note(home ? "allowed" : "denied", call, where, port);
  return home;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define REFUSE do { errno = EACCES; return -1; } while (0)

int connect(int handle, const struct sockaddr *address, socklen_t size) {
  if (!allowed("connect", address, 1)) REFUSE;
  return REAL(connect)(handle, address, size);
}

int bind(int handle, const struct sockaddr *address, socklen_t size) {
  if (!allowed("bind", address, 0)) REFUSE;
  return REAL(bind)(handle, address, size);
}

ssize_t sendto(int handle, const void *bytes, size_t length, int flags,
               const struct sockaddr *address, socklen_t size) {
  if (!allowed("sendto", address, 0)) REFUSE;
  return REAL(sendto)(handle, bytes, length, flags, address, size);
}

ssize_t sendmsg(int handle, const struct msghdr *message, int flags) {
  if (message && message->msg_name && !allowed("sendmsg", message->msg_name, 0)) REFUSE;
  return REAL(sendmsg)(handle, message, flags);
}

/* Numbers are translated by the C library alone; a name would be asked of somebody. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
  struct in6_addr number;
  if (node && inet_pton(AF_INET, node, &number) != 1 && inet_pton(AF_INET6, node, &number) != 1) {
    note("denied", "getaddrinfo", node, 0);
    return EAI_FAIL;
  }
  return REAL(getaddrinfo)(node, service, hints, found);
}

struct hostent *gethostbyname(const char *name) {
  note("denied", "gethostbyname", name, 0);
  h_errno = HOST_NOT_FOUND;
  return NULL;
}
