#include "shim.h"

#include <string.h>
#include <time.h>

// CPU seconds of the process: what the Go runtime's threads do counts too.
double mjx_cpu(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

// n steps as a C program would take them: no guard, no look at warnings.
double mjx_pace(const mjModel *m, mjData *d, const double *ctrl, int rows, int n) {
  const double start = mjx_cpu();
  for (int i = 0; i < n; i++) {
    memcpy(d->ctrl, ctrl + (size_t)(i % rows) * m->nu, m->nu * sizeof *ctrl);
    mj_step(m, d);
  }
  return mjx_cpu() - start;
}

void mjx_replay(const mjModel *m, mjData *d, const double *ctrl, int steps, int every) {
  for (int i = 0; i < steps; i++) {
    memcpy(d->ctrl, ctrl + (size_t)i * m->nu, m->nu * sizeof *ctrl);
    mj_step(m, d);
    if ((i + 1) % every == 0) mjx_kinematics_bare(m, d);
  }
}
