// The C side of package mujoco: MuJoCo reports errors by a callback that must
// not return, so every call that may raise runs below a setjmp here and no C
// frame is ever unwound through Go.
#ifndef RAPPORT_MUJOCO_SHIM_H_
#define RAPPORT_MUJOCO_SHIM_H_

#include <mujoco/mujoco.h>
#include <setjmp.h>

enum { MJX_OK = 0, MJX_ERROR = 1, MJX_WARNING = 2 };

// What went wrong in the last call.
typedef struct {
  int code;     // MJX_*
  int warning;  // mjtWarning, if code is MJX_WARNING
  int info;     // what MuJoCo says about it: an index, mostly
  char msg[1024];
} mjx_fault;

// One contact as Go sees it (same layout as Go's Contact).
typedef struct {
  int geom[2];
  double dist, normal_force;
  double pos[3], normal[3], force[3], torque[3];
} mjx_contact;

// Runs EXPR below a setjmp; on mju_error sets f and runs CLEANUP. Both must not
// change locals that they read afterwards.
#define MJX_GUARD(f, EXPR, CLEANUP)                    \
  do {                                                 \
    jmp_buf env_;                                      \
    (f)->code = MJX_OK;                                \
    if (setjmp(env_) == 0) {                           \
      mjx_arm(&env_, (f)->msg, sizeof (f)->msg);       \
      EXPR;                                            \
      mjx_disarm();                                    \
    } else {                                           \
      mjx_disarm();                                    \
      (f)->code = MJX_ERROR;                           \
      CLEANUP;                                         \
    }                                                  \
  } while (0)

void mjx_arm(void *env, char *msg, size_t n);
void mjx_disarm(void);

mjModel *mjx_load(const void *xml, int n, mjx_fault *f);
mjModel *mjx_copy_model(const mjModel *m, mjx_fault *f);
mjData *mjx_make_data(const mjModel *m, mjx_fault *f);
int mjx_step(const mjModel *m, mjData *d, int n, mjx_fault *f);
int mjx_forward(const mjModel *m, mjData *d, mjx_fault *f);
int mjx_kinematics(const mjModel *m, mjData *d, mjx_fault *f);
int mjx_post_constraint(const mjModel *m, mjData *d, mjx_fault *f);
int mjx_set_const(mjModel *m, mjx_fault *f);
int mjx_contacts(const mjModel *m, const mjData *d, mjx_contact *dst, int n);
int mjx_warned(mjData *d, mjx_fault *f);
int mjx_update_scene(const mjModel *m, mjData *d, int cam, mjvScene *scn,
                     mjx_fault *f);
mjvScene *mjx_make_scene(const mjModel *m, mjx_fault *f);
void mjx_free_scene(mjvScene *scn);

// pace.c: the loop that Compare measures Go against.
double mjx_cpu(void);
double mjx_pace(const mjModel *m, mjData *d, const double *ctrl, int rows, int n);
void mjx_replay(const mjModel *m, mjData *d, const double *ctrl, int steps, int every);
void mjx_kinematics_bare(const mjModel *m, mjData *d);

#endif
