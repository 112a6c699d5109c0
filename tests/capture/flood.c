/* flood IFACE PACKETS BYTES RATE: sends TCP segments beyond the heads of 64 flows on an interface, as fast as it
 * can or RATE a second (0: no bound); prints how many were sent, and the seconds that it took.
 *
 * sendmmsg(2) on a packet socket with PACKET_QDISC_BYPASS (packet(7)). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static unsigned char frames[BATCH][1514];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
    long total, sent = 0;
    int bytes, one = 1, fd = socket(AF_PACKET, SOCK_RAW, 0);
    double rate, began;

    if (argc != 5 || fd < 0)
        return 2;
    to.sll_ifindex = (int)if_nametoindex(argv[1]);
    total = atol(argv[2]);
    bytes = atoi(argv[3]);
    rate = atof(argv[4]);
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    for (int i = 0; i < BATCH; i++) {
        unsigned char *f = frames[i];
        memset(f, 0xff, 6);
        memcpy(f + 6, "\x02\0\0\0\0\1\x08\0", 8);
        f[14] = 0x45;
        f[16] = (unsigned char)((bytes - 14) >> 8);
        f[17] = (unsigned char)(bytes - 14);
        f[22] = 64;
        f[23] = 6;
        memcpy(f + 26, "\xc0\0\2\1\xc0\0\2\2", 8); /* 192.0.2.1, 192.0.2.2 */
        f[34] = (unsigned char)(40 + i); /* one of BATCH flows */
        f[37] = 80;
        f[38] = 1; /* a sequence number */
        f[46] = 0x50;
        f[47] = 0x10;
        parts[i] = (struct iovec){f, (size_t)bytes};
        memset(&messages[i], 0, sizeof messages[i]);
        messages[i].msg_hdr = (struct msghdr){.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    began = now();
    while (sent < total) {
        int want = total - sent < BATCH ? (int)(total - sent) : BATCH;
        int done = sendmmsg(fd, messages, (unsigned)want, 0);
        if (done < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
            return 1;
        if (done > 0)
            sent += done;
        if (sent >= BATCH) /* the flows have begun: from now on far beyond their heads */
            for (int i = 0; i < BATCH; i++)
                frames[i][39] = 1;
        while (rate > 0 && (double)sent > (now() - began) * rate)
            ;
    }
    printf("%ld %.6f\n", sent, now() - began);
    return 0;
}
