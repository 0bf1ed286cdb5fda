// Offscreen cameras by EGL without a display. libEGL is opened at run time, so
// that a program which draws nothing runs without it.
#ifndef RAPPORT_MUJOCO_EGL_H_
#define RAPPORT_MUJOCO_EGL_H_

#include "shim.h"

typedef struct mjx_egl mjx_egl;

// lib: the library to open. lean: see Quality in render.go.
mjx_egl *mjx_egl_open(const char *lib, const mjModel *m, int w, int h, int lean,
                      mjx_fault *f);
void mjx_egl_close(mjx_egl *r);

// Draws the n cameras into out, n images of w*h BGR8, top row first.
int mjx_egl_render(mjx_egl *r, const mjModel *m, mjData *d, const int *cams,
                   int n, unsigned char *out, mjx_fault *f);

// steps of ctrl (steps, nu) in a plain loop, with the n cameras drawn into out
// after every so many steps. Nothing is guarded.
int mjx_egl_replay(mjx_egl *r, const mjModel *m, mjData *d, const double *ctrl,
                   int steps, int every, const int *cams, int n,
                   unsigned char *out, mjx_fault *f);

#endif
