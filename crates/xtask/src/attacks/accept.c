/* Changes what accept4 gives, for tests of a server into which this is preloaded.

   ACCEPT_ERRORS, numbers such as "24,24,1": the first connection is accepted, and then each of these
   errors is given once. ACCEPT_SEND_BYTES: the room in the kernel for what a connection sends. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_int accepted;

/* The next error, or 0 when none is left. */
static int next_error(void) {
    static atomic_int given;
    const char *text = getenv("ACCEPT_ERRORS");
    int skipped = atomic_fetch_add(&given, 1);
    while (text && skipped-- > 0) {
        text = strchr(text, ',');
        text = text ? text + 1 : NULL;
    }
    return text ? atoi(text) : 0;
}

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags) {
    int (*real)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");
    int error = atomic_load(&accepted) ? next_error() : 0;
    /* Where the system has nothing left, the connection goes on waiting. Else it is gone. */
    int waits = error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
    int connection = waits ? -1 : real(listener, address, length, flags);
    const char *bytes = getenv("ACCEPT_SEND_BYTES");
    if (connection >= 0) {
        atomic_fetch_add(&accepted, 1);
    }
    if (connection >= 0 && bytes) {
        int room = atoi(bytes);
        setsockopt(connection, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    }
    if (error) {
        if (connection >= 0) {
            close(connection);
        }
        errno = error;
        return -1;
    }
    return connection;
}
