/* Forks children that ignore what they can, and leaves them behind. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **arguments) {
  if (getpid() > 1000) return 3; /* not in a namespace of its own: a bomb there would hurt the host */
  int wanted = atoi(arguments[1]), forked = 0;
  for (int signal_number = 1; signal_number < 32; signal_number++) signal(signal_number, SIG_IGN);
  while (forked < wanted) {
    pid_t child = fork();
    if (child < 0) break;
    if (!child) {
      setsid();
      close(0), close(1), close(2);
      for (;;) pause();
    }
    forked++;
  }
  printf("forked %d\n", forked);
  return 0;
}
