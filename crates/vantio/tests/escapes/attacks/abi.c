/* System calls by the doors of other ABIs: abi SECRET. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char *low;

static long by_int80(long number, long first, long second, long third) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory", "r8", "r9", "r10", "r11");
  return result;
}

static long open_by_int80(void) { return by_int80(5 /* open */, (long)low, O_RDONLY, 0); }
static long openat_by_int80(void) { return by_int80(295 /* openat */, AT_FDCWD, (long)low, O_RDONLY); }
static long open_by_x32(void) { return syscall(0x40000000 + SYS_open, low, O_RDONLY); }
static long openat_by_x32(void) { return syscall(0x40000000 + SYS_openat, AT_FDCWD, low, O_RDONLY); }
static long socket_by_int80(void) { return by_int80(359 /* socket */, 1, 1, 0); }

/* In a child, because a filter may answer with a signal. */
static void attempt(const char *name, long (*call)(void)) {
  fflush(stdout);
  if (!fork()) {
    long result = call();
    printf(result >= 0 ? "%s REACHED %ld\n" : "%s refused\n", name, result);
    fflush(stdout);
    _exit(0);
  }
  int status;
  wait(&status);
  if (WIFSIGNALED(status)) printf("%s killed by %d\n", name, WTERMSIG(status));
}

int main(int count, char **arguments) {
  low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  strcpy(low, arguments[1]);
  attempt("open by int 0x80", open_by_int80);
  attempt("openat by int 0x80", openat_by_int80);
  attempt("socket by int 0x80", socket_by_int80);
  attempt("open by x32", open_by_x32);
  attempt("openat by x32", openat_by_x32);
  puts("DONE");
  return 0;
}
