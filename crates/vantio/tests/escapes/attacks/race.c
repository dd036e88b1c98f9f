/* Races between what a supervisor judges and what the kernel does: race KIND ROUNDS ALLOWED FORBIDDEN [EXTRA]. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *allowed, *forbidden;
static volatile int stop;
static volatile unsigned long flips;

/* Every store of a flipping loop must reach memory. */
#define FLUSH __asm__ volatile("" ::: "memory")
static char shared[4096];
static struct sockaddr_in shared_address;
static unsigned short ports[2];

/* Flips the path string that another thread passes to the kernel. */
static void *flip_pointer(void *unused) {
  size_t length = strlen(forbidden) > strlen(allowed) ? strlen(forbidden) : strlen(allowed);
  char pad[2][4096] = {{0}, {0}};
  strcpy(pad[0], allowed);
  strcpy(pad[1], forbidden);
  while (!stop)
    for (int i = 0; i < 2; i++) {
      memcpy(shared, pad[i], length + 1);
      FLUSH;
      flips++;
    }
  return 0;
}

/* Flips what the name `door` stands for: a plain thing, or a link to the forbidden one. */
static void *flip_name(void *unused) {
  for (; !stop; flips++)
    syscall(SYS_renameat2, AT_FDCWD, "door", AT_FDCWD, "other", 2 /* RENAME_EXCHANGE */);
  return 0;
}

static void *flip_port(void *unused) {
  for (int i = 0; !stop; i ^= 1) {
    shared_address.sin_port = ports[i];
    FLUSH;
    flips++;
  }
  return 0;
}

static void check_read(int fd) {
  char text[64] = {0};
  if (fd < 0) return;
  if (read(fd, text, sizeof text - 1) > 0 && strstr(text, "secret")) puts("REACHED the secret");
  close(fd);
}

/* On a busy machine a loop may run while the other does not: a round counts where both did. */
static void *run(void *(*flip)(void *), void (*once)(void), int rounds) {
  pthread_t thread;
  pthread_create(&thread, 0, flip, 0);
  for (int i = 0, raced = 0; i < rounds || (raced < rounds / 10 && i < rounds * 20); i++) {
    unsigned long before = flips;
    once();
    raced += flips != before;
  }
  stop = 1;
  pthread_join(thread, 0);
  return 0;
}

static void open_shared(void) { check_read(open(shared, O_RDONLY)); }
static void open_door(void) { check_read(open("door", O_RDONLY)); }
static void open_in_door(void) { check_read(open("door/secret", O_RDONLY)); }
static void openat2_in_door(void) {
  struct { unsigned long flags, mode, resolve; } how = {O_RDONLY, 0, 0x08 /* RESOLVE_BENEATH */};
  check_read(syscall(SYS_openat2, AT_FDCWD, "door/secret", &how, sizeof how));
}
static void write_shared(void) {
  int fd = open(shared, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd >= 0) write(fd, "owned", 5), close(fd);
}
static void write_door(void) {
  int fd = open("door", O_WRONLY | O_TRUNC);
  if (fd >= 0) write(fd, "owned", 5), close(fd);
}
static void unlink_shared(void) {
  unlink(shared);
  int fd = open(allowed, O_WRONLY | O_CREAT, 0644);
  if (fd >= 0) close(fd);
}
static void rename_shared(void) { rename(shared, "taken"), rename("taken", allowed); }
static void link_shared(void) {
  unlink("taken");
  if (!link(shared, "taken")) check_read(open("taken", O_RDONLY));
}
static void chmod_shared(void) { chmod(shared, 0777); }
static void truncate_shared(void) { truncate(shared, 1); }
static void mkdir_in_door(void) { mkdir("door/made", 0755), rmdir("door/made"); }
static void symlink_shared(void) { symlink("x", shared); }
static void execute_shared(void) {
  pid_t child = vfork();
  if (!child) {
    char *arguments[] = {"program", 0};
    execve(shared, arguments, 0);
    _exit(1);
  }
  waitpid(child, 0, 0);
}
static void connect_shared(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  connect(fd, (struct sockaddr *)&shared_address, sizeof shared_address);
  close(fd);
}

int main(int count, char **arguments) {
  const char *kind = arguments[1];
  int rounds = atoi(arguments[2]);
  allowed = arguments[3], forbidden = arguments[4];
  struct { const char *kind; void *(*flip)(void *); void (*once)(void); } races[] = {
      {"open-pointer", flip_pointer, open_shared},
      {"write-pointer", flip_pointer, write_shared},
      {"unlink-pointer", flip_pointer, unlink_shared},
      {"rename-pointer", flip_pointer, rename_shared},
      {"link-pointer", flip_pointer, link_shared},
      {"chmod-pointer", flip_pointer, chmod_shared},
      {"truncate-pointer", flip_pointer, truncate_shared},
      {"symlink-pointer", flip_pointer, symlink_shared},
      {"exec-pointer", flip_pointer, execute_shared},
      {"open-link", flip_name, open_door},
      {"open-directory", flip_name, open_in_door},
      {"openat2-directory", flip_name, openat2_in_door},
      {"write-link", flip_name, write_door},
      {"mkdir-directory", flip_name, mkdir_in_door},
      {"connect-pointer", flip_port, connect_shared},
  };
  for (unsigned i = 0; i < sizeof races / sizeof *races; i++) {
    if (strcmp(kind, races[i].kind)) continue;
    shared_address.sin_family = AF_INET;
    shared_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* A user's overlay renames only directories that the run made itself. */
    if (strstr(kind, "directory")) system("cp -r door made && rm -r door && mv made door");
    ports[0] = htons(atoi(allowed)), ports[1] = htons(atoi(forbidden));
    strcpy(shared, allowed);
    run(races[i].flip, races[i].once, rounds);
    puts("DONE");
    return 0;
  }
  return 2;
}
