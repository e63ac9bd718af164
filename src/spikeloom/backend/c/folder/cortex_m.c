/* What the test program needs where there is no operating system but qemu's user emulation: a start, writing, an end (Linux system calls of
 * ARM), and room for stdio's buffers. On a board, link a start-up file of its own in place of this one, or use semihosting. */
#include <stddef.h>
#include <stdint.h>

int main(int count, char **words);
void _start(void);
void _exit(int code);
int _write(int file, const char *from, int count);
void *_sbrk(ptrdiff_t more);

static int32_t call(int32_t number, int32_t first, int32_t second, int32_t third)
{
    register int32_t r0 __asm__("r0") = first;
    register int32_t r1 __asm__("r1") = second;
    register int32_t r2 __asm__("r2") = third;
    register int32_t r7 __asm__("r7") = number;
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(r1), "r"(r2), "r"(r7) : "memory");
    return r0;
}

int _write(int file, const char *from, int count)
{
    return (int)call(4, file, (int32_t)(intptr_t)from, count);
}

void _exit(int code)
{
    for (;;)
        call(248, code, 0, 0);
}

void *_sbrk(ptrdiff_t more)
{
    static _Alignas(8) char room[16384];
    static ptrdiff_t used;
    char *const from = room + used;
    if (used + more > (ptrdiff_t)sizeof room)
        return (void *)-1;
    used += more;
    return from;
}

void _start(void)
{
    _exit(main(0, NULL));
}
