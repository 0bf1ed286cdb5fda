#include "shim.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

static __thread jmp_buf *armed;
static __thread char *armed_msg;
static __thread size_t armed_len;

// MuJoCo calls on_error from mju_error and expects it not to return: by
// default it writes MUJOCO_LOG.TXT, waits for Enter and exits.
static void on_error(const char *msg) {
  if (!armed) {
    // A bug of this package: going on would run MuJoCo on undefined state.
    fprintf(stderr, "mujoco: unguarded error: %s\n", msg);
    abort();
  }
  snprintf(armed_msg, armed_len, "%s", msg);
  longjmp(*armed, 1);
}

// Warnings are read from mjData.warning; the default handler would print and
// write MUJOCO_LOG.TXT into the working directory.
static void on_warning(const char *msg) { (void)msg; }

static void hook(void) {
  mju_user_error = on_error;
  mju_user_warning = on_warning;
}

static pthread_once_t hooked = PTHREAD_ONCE_INIT;

void mjx_arm(void *env, char *msg, size_t n) {
  armed_msg = msg;
  armed_len = n;
  armed = env;
}

void mjx_disarm(void) { armed = NULL; }

mjModel *mjx_load(const void *xml, int n, mjx_fault *f) {
  static const char name[] = "model.xml";
  pthread_once(&hooked, hook);
  f->code = MJX_ERROR;
  mjVFS *vfs = malloc(sizeof *vfs);  // 2 MB: too large for a stack
  if (!vfs) {
    snprintf(f->msg, sizeof f->msg, "out of memory");
    return NULL;
  }
  mj_defaultVFS(vfs);
  if (mj_makeEmptyFileVFS(vfs, name, n) != 0) {
    snprintf(f->msg, sizeof f->msg, "cannot hold %d bytes of XML", n);
    free(vfs);
    return NULL;
  }
  memcpy(vfs->filedata[0], xml, n);
  // Not guarded: mj_loadXML catches what its own C++ raises, and a longjmp over
  // those frames would skip their destructors.
  f->msg[0] = 0;
  mjModel *m = mj_loadXML(name, vfs, f->msg, sizeof f->msg);
  mj_deleteVFS(vfs);
  free(vfs);
  if (m) f->code = MJX_OK;
  return m;
}

mjModel *mjx_copy_model(const mjModel *m, mjx_fault *f) {
  mjModel *volatile dst = NULL;
  MJX_GUARD(f, dst = mj_copyModel(NULL, m), dst = NULL);
  return dst;
}

mjData *mjx_make_data(const mjModel *m, mjx_fault *f) {
  mjData *volatile d = NULL;
  MJX_GUARD(f, d = mj_makeData(m), d = NULL);
  return d;
}

// mjx_warned moves the first warning of d into f and clears all of d's, so that
// each is reported once.
int mjx_warned(mjData *d, mjx_fault *f) {
  for (int i = mjNWARNING - 1; i >= 0; i--) {  // bad numbers first: the gravest
    if (d->warning[i].number == 0) continue;
    f->code = MJX_WARNING;
    f->warning = i;
    f->info = d->warning[i].lastinfo;
    memset(d->warning, 0, sizeof d->warning);
    return f->code;
  }
  return f->code;
}

static void steps(const mjModel *m, mjData *d, int n, mjx_fault *f) {
  while (n-- > 0) {
    mj_step(m, d);
    if (mjx_warned(d, f)) return;
  }
}

int mjx_step(const mjModel *m, mjData *d, int n, mjx_fault *f) {
  const int mark = d->pstack;
  MJX_GUARD(f, steps(m, d, n, f), d->pstack = mark);
  return f->code;
}

// mj_forward, unlike mj_step, does not look for bad numbers.
static int bad(const mjtNum *x, int n) {
  for (int i = 0; i < n; i++)
    if (mju_isBad(x[i])) return i;
  return -1;
}

static int refuse(mjx_fault *f, int warning, int info) {
  if (info < 0) return 0;
  f->code = MJX_WARNING;
  f->warning = warning;
  f->info = info;
  return 1;
}

int mjx_forward(const mjModel *m, mjData *d, mjx_fault *f) {
  const int mark = d->pstack;
  if (refuse(f, mjWARN_BADQPOS, bad(d->qpos, m->nq)) ||
      refuse(f, mjWARN_BADQVEL, bad(d->qvel, m->nv)))
    return f->code;
  MJX_GUARD(f, mj_forward(m, d), d->pstack = mark);
  if (f->code || mjx_warned(d, f)) return f->code;
  refuse(f, mjWARN_BADQACC, bad(d->qacc, m->nv));
  return f->code;
}

void mjx_kinematics_bare(const mjModel *m, mjData *d) {
  mj_kinematics(m, d);
  mj_comPos(m, d);  // Jacobians read cdof
  mj_camlight(m, d);
}

int mjx_kinematics(const mjModel *m, mjData *d, mjx_fault *f) {
  const int mark = d->pstack;
  if (refuse(f, mjWARN_BADQPOS, bad(d->qpos, m->nq))) return f->code;
  MJX_GUARD(f, mjx_kinematics_bare(m, d), d->pstack = mark);
  return f->code ? f->code : mjx_warned(d, f);
}

int mjx_post_constraint(const mjModel *m, mjData *d, mjx_fault *f) {
  const int mark = d->pstack;
  MJX_GUARD(f, mj_rnePostConstraint(m, d), d->pstack = mark);
  return f->code;
}

int mjx_set_const(mjModel *m, mjx_fault *f) {
  mjData *d = mjx_make_data(m, f);
  if (!d) return f->code;
  MJX_GUARD(f, mj_setConst(m, d), (void)0);
  mj_deleteData(d);
  return f->code;
}

int mjx_contacts(const mjModel *m, const mjData *d, mjx_contact *dst, int n) {
  if (n > d->ncon) n = d->ncon;
  for (int i = 0; i < n; i++) {
    const mjContact *c = d->contact + i;
    mjtNum f[6];
    mj_contactForce(m, d, i, f);
    dst[i].geom[0] = c->geom1;
    dst[i].geom[1] = c->geom2;
    dst[i].dist = c->dist;
    dst[i].normal_force = f[0];
    mju_copy3(dst[i].pos, c->pos);
    mju_copy3(dst[i].normal, c->frame);
    mju_rotVecMatT(dst[i].force, f, c->frame);  // rows of frame are the axes
    mju_rotVecMatT(dst[i].torque, f + 3, c->frame);
  }
  return n;
}

mjvScene *mjx_make_scene(const mjModel *m, mjx_fault *f) {
  mjvScene *volatile scn = malloc(sizeof *scn);
  if (!scn) {
    f->code = MJX_ERROR;
    snprintf(f->msg, sizeof f->msg, "out of memory");
    return NULL;
  }
  mjv_defaultScene(scn);
  // Each geom and site is one visual geom, each tendon a few; lights none.
  const int room = m->ngeom + m->nsite + 16 * m->ntendon + 64;
  MJX_GUARD(f, mjv_makeScene(m, scn, room), (free(scn), scn = NULL));
  return scn;
}

void mjx_free_scene(mjvScene *scn) {
  if (!scn) return;
  mjv_freeScene(scn);
  free(scn);
}

int mjx_update_scene(const mjModel *m, mjData *d, int cam, mjvScene *scn,
                     mjx_fault *f) {
  const int mark = d->pstack;
  mjvOption opt;
  mjv_defaultOption(&opt);
  mjvCamera view;
  mjv_defaultCamera(&view);
  view.type = mjCAMERA_FIXED;
  view.fixedcamid = cam;
  MJX_GUARD(f, mjv_updateScene(m, d, &opt, NULL, &view, mjCAT_ALL, scn),
            d->pstack = mark);
  return f->code ? f->code : mjx_warned(d, f);
}
