/* vermilion-capture: opens packet sockets, gives up its rights, and becomes `vermilion capture`.
 *
 * Give this file CAP_NET_RAW, and nobody but a group the right to run it (docs/capture.md); the
 * interpreter then needs no right. Sources: capabilities(7), packet(7), close_range(2), prctl(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What it becomes: fixed when it is compiled, never taken from its caller. */
#ifndef VERMILION
#error "compile with -DVERMILION='\"/path/to/vermilion\"'"
#endif

/* Enough for 32 workers on two interfaces; one that receives nothing costs 2 KiB. */
#define SOCKETS 64
#define FIRST 3

static int failed(const char *what)
{
    fprintf(stderr, "vermilion-capture: error: %s: %s\n", what, strerror(errno));
    return 1;
}

static int give_up_rights(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};

    /* From here on no program that is run gains a right, whatever its file says. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
        return -1;
    return (int)syscall(SYS_capset, &header, none);
}

int main(int argc, char **argv)
{
    char range[32];
    char **arguments;
    int number;

    /* A socket must not become standard input, output or error. */
    for (number = 0; number < FIRST; number++)
        if (fcntl(number, F_GETFD) < 0 && open("/dev/null", O_RDWR) != number)
            return failed("/dev/null");
    if (close_range(FIRST, ~0U, 0))
        return failed("close_range");
    for (number = FIRST; number < FIRST + SOCKETS; number++) {
        int opened = socket(AF_PACKET, SOCK_RAW, 0); /* protocol 0: it receives nothing yet */
        if (opened < 0 && errno == EPERM) {
            fputs("vermilion-capture: error: no right to open packet sockets; give this file the right: "
                  "sudo setcap cap_net_raw+ep PATH (a container that sets no_new_privs withholds it)\n", stderr);
            return 1;
        }
        if (opened != number)
            return failed("packet socket");
    }
    if (give_up_rights())
        return failed("giving up the rights");

    snprintf(range, sizeof range, "%d-%d", FIRST, FIRST + SOCKETS - 1);
    arguments = calloc((size_t)argc + 2, sizeof *arguments);
    if (!arguments || setenv("VERMILION_PACKET_SOCKETS", range, 1))
        return failed("memory");
    arguments[0] = (char *)VERMILION;
    arguments[1] = (char *)"capture";
    for (number = 1; number < argc; number++)
        arguments[number + 1] = argv[number];
    execv(VERMILION, arguments);
    return failed(VERMILION);
}
