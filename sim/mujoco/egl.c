//go:build !nogl

#include "egl.h"

#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mjx_egl {
  __typeof__(eglMakeCurrent) *make_current;
  __typeof__(eglDestroyContext) *destroy_context;
  __typeof__(eglBindAPI) *bind_api;
  __typeof__(eglGetError) *get_error;
  EGLDisplay dpy;
  EGLContext ctx;
  int w, h, lean;
  mjvScene *scn;
  mjrContext con;
  int made;            // con is to be freed
  unsigned char *rgb;  // one image as OpenGL reads it
};

// One thread at a time is inside OpenGL. MuJoCo loads its entry points into globals
// each time a context is made, so nobody may draw meanwhile; and two contexts of
// one llvmpipe screen (Mesa 22.3) that drew at the same time crashed once in
// hundreds of sessions, in memory that the driver had already given back.
static pthread_mutex_t opengl = PTHREAD_MUTEX_INITIALIZER;

// Contexts that their renderers gave back. A new one makes llvmpipe compile every shader
// again, 150 ms of CPU for a small image; one that has drawn keeps them.
static struct { EGLDisplay dpy; EGLContext ctx; } idle[8];
static int idles;

static void say(mjx_fault *f, const char *what, const char *why) {
  f->code = MJX_ERROR;
  snprintf(f->msg, sizeof f->msg, "%s: %s", what, why);
}

static void say_egl(mjx_egl *r, mjx_fault *f, const char *what) {
  char why[32];
  snprintf(why, sizeof why, "EGL error 0x%04x", (unsigned)r->get_error());
  say(f, what, why);
}

// The current API and context are per thread, and a goroutine may change its
// thread between two calls: hence bind and unbind inside each.
static int bind(mjx_egl *r, mjx_fault *f) {
  r->bind_api(EGL_OPENGL_API);
  if (r->make_current(r->dpy, EGL_NO_SURFACE, EGL_NO_SURFACE, r->ctx)) return 1;
  say_egl(r, f, "eglMakeCurrent");
  return 0;
}

static void unbind(mjx_egl *r) {
  r->make_current(r->dpy, EGL_NO_SURFACE, EGL_NO_SURFACE, EGL_NO_CONTEXT);
}

static int open_context(mjx_egl *r, const char *lib, mjx_fault *f) {
  // Global, because MuJoCo finds eglGetProcAddress among the global symbols; and
  // never closed, because it keeps what it found there.
  void *so = dlopen(lib, RTLD_NOW | RTLD_GLOBAL);
  if (!so) {
    say(f, "dlopen", dlerror());
    return 0;
  }
#define FIND(name) __typeof__(name) *p_##name = (__typeof__(name) *)dlsym(so, #name)
  FIND(eglGetProcAddress);
  FIND(eglInitialize);
  FIND(eglBindAPI);
  FIND(eglChooseConfig);
  FIND(eglCreateContext);
  FIND(eglDestroyContext);
  FIND(eglMakeCurrent);
  FIND(eglGetError);
#undef FIND
  if (!p_eglGetProcAddress || !p_eglInitialize || !p_eglBindAPI || !p_eglChooseConfig ||
      !p_eglCreateContext || !p_eglDestroyContext || !p_eglMakeCurrent || !p_eglGetError) {
    say(f, lib, "is not an EGL library");
    return 0;
  }
  r->make_current = p_eglMakeCurrent;
  r->destroy_context = p_eglDestroyContext;
  r->bind_api = p_eglBindAPI;
  r->get_error = p_eglGetError;
  PFNEGLGETPLATFORMDISPLAYEXTPROC get_display =
      (PFNEGLGETPLATFORMDISPLAYEXTPROC)p_eglGetProcAddress("eglGetPlatformDisplayEXT");
  // llvmpipe's worker threads cost more CPU than they save on small images, and
  // learning wants the cores. It reads this when its screen is made.
  setenv("LP_NUM_THREADS", "0", 0);
  if (get_display)
    r->dpy = get_display(EGL_PLATFORM_SURFACELESS_MESA, EGL_DEFAULT_DISPLAY, NULL);
  if (r->dpy == EGL_NO_DISPLAY) {
    say(f, lib, "offers no surfaceless display (is Mesa's driver installed?)");
    return 0;
  }
  // A display is one per process and initialising it again does nothing; it is
  // never terminated, since other renderers use it.
  if (!p_eglInitialize(r->dpy, NULL, NULL)) {
    say_egl(r, f, "eglInitialize");
    return 0;
  }
  static const EGLint want[] = {EGL_RED_SIZE, 8, EGL_GREEN_SIZE, 8, EGL_BLUE_SIZE, 8,
                                EGL_DEPTH_SIZE, 24, EGL_SURFACE_TYPE, EGL_PBUFFER_BIT,
                                EGL_RENDERABLE_TYPE, EGL_OPENGL_BIT, EGL_NONE};
  EGLConfig config;
  EGLint n = 0;
  if (!p_eglBindAPI(EGL_OPENGL_API) ||
      !p_eglChooseConfig(r->dpy, want, &config, 1, &n) || n < 1) {
    say_egl(r, f, "no OpenGL configuration");
    return 0;
  }
  if (idles && idle[idles - 1].dpy == r->dpy) {
    r->ctx = idle[--idles].ctx;
    return 1;
  }
  r->ctx = p_eglCreateContext(r->dpy, config, EGL_NO_CONTEXT, NULL);
  if (r->ctx == EGL_NO_CONTEXT) {
    say_egl(r, f, "eglCreateContext");
    return 0;
  }
  return 1;
}

static void make(mjx_egl *r, const mjModel *m) {
  // A copy of the struct, not of what it points to: only its settings differ.
  mjModel own = *m;
  own.vis.global.offwidth = r->w;
  own.vis.global.offheight = r->h;
  if (r->lean) {
    own.vis.quality.offsamples = 0;
    own.vis.quality.shadowsize = 0;
    own.vis.quality.numslices = 12;
    own.vis.quality.numstacks = 6;
    own.vis.quality.numquads = 1;
  }
  mjr_defaultContext(&r->con);
  r->made = 1;
  mjr_makeContext(&own, &r->con, mjFONTSCALE_50);
  mjr_setBuffer(mjFB_OFFSCREEN, &r->con);
}

mjx_egl *mjx_egl_open(const char *lib, const mjModel *m, int w, int h, int lean,
                      mjx_fault *f) {
  mjx_egl *r = calloc(1, sizeof *r);
  unsigned char *rgb = malloc((size_t)w * h * 3);
  if (!r || !rgb) {
    free(r);
    free(rgb);
    say(f, "open renderer", "out of memory");
    return NULL;
  }
  f->code = MJX_OK;
  r->w = w;
  r->h = h;
  r->lean = lean;
  r->rgb = rgb;
  r->scn = mjx_make_scene(m, f);
  if (r->scn && lean) {
    r->scn->flags[mjRND_SHADOW] = 0;
    r->scn->flags[mjRND_REFLECTION] = 0;
  }
  pthread_mutex_lock(&opengl);
  if (r->scn && open_context(r, lib, f) && bind(r, f)) {
    MJX_GUARD(f, make(r, m), (void)0);
    if (f->code == MJX_OK && r->con.currentBuffer != mjFB_OFFSCREEN)
      say(f, "mjr_setBuffer", "no offscreen buffer");
    if (f->code == MJX_OK && (r->con.offWidth != w || r->con.offHeight != h))
      say(f, "mjr_makeContext", "the image is larger than OpenGL allows");
    unbind(r);
  }
  pthread_mutex_unlock(&opengl);
  if (f->code == MJX_OK) return r;
  mjx_egl_close(r);
  return NULL;
}

void mjx_egl_close(mjx_egl *r) {
  if (!r) return;
  mjx_fault f;
  if (r->ctx != EGL_NO_CONTEXT) {
    pthread_mutex_lock(&opengl);
    f.code = MJX_ERROR;
    if (r->made && bind(r, &f)) {
      MJX_GUARD(&f, mjr_freeContext(&r->con), (void)0);
      unbind(r);
    }
    if (f.code == MJX_OK && idles < (int)(sizeof idle / sizeof *idle)) {
      idle[idles].dpy = r->dpy;
      idle[idles++].ctx = r->ctx;
    } else {
      r->destroy_context(r->dpy, r->ctx);
    }
    pthread_mutex_unlock(&opengl);
  }
  mjx_free_scene(r->scn);
  free(r->rgb);
  free(r);
}

// OpenGL's rows come bottom-up and as RGB.
static void flip(const unsigned char *rgb, unsigned char *bgr, int w, int h) {
  for (int y = 0; y < h; y++) {
    const unsigned char *src = rgb + (size_t)(h - 1 - y) * w * 3;
    for (int x = 0; x < w; x++, src += 3, bgr += 3) {
      bgr[0] = src[2];
      bgr[1] = src[1];
      bgr[2] = src[0];
    }
  }
}

static void draw(mjx_egl *r) {
  const mjrRect all = {0, 0, r->w, r->h};
  mjr_setBuffer(mjFB_OFFSCREEN, &r->con);
  mjr_render(all, r->scn, &r->con);
  mjr_readPixels(r->rgb, NULL, all, &r->con);
}

int mjx_egl_render(mjx_egl *r, const mjModel *m, mjData *d, const int *cams,
                   int n, unsigned char *out, mjx_fault *f) {
  f->code = MJX_OK;
  pthread_mutex_lock(&opengl);
  if (bind(r, f)) {
    for (int i = 0; i < n && f->code == MJX_OK; i++) {
      if (mjx_update_scene(m, d, cams[i], r->scn, f)) break;
      MJX_GUARD(f, draw(r), (void)0);
      flip(r->rgb, out + (size_t)i * r->w * r->h * 3, r->w, r->h);
    }
    unbind(r);
  }
  pthread_mutex_unlock(&opengl);
  return f->code;
}

int mjx_egl_replay(mjx_egl *r, const mjModel *m, mjData *d, const double *ctrl,
                   int steps, int every, const int *cams, int n,
                   unsigned char *out, mjx_fault *f) {
  f->code = MJX_OK;
  pthread_mutex_lock(&opengl);
  if (bind(r, f)) {
    mjvOption opt;
    mjv_defaultOption(&opt);
    mjvCamera view;
    mjv_defaultCamera(&view);
    view.type = mjCAMERA_FIXED;
    for (int i = 0; i < steps; i++) {
      memcpy(d->ctrl, ctrl + (size_t)i * m->nu, m->nu * sizeof *ctrl);
      mj_step(m, d);
      if ((i + 1) % every) continue;
      mjx_kinematics_bare(m, d);
      for (int k = 0; k < n; k++) {
        view.fixedcamid = cams[k];
        mjv_updateScene(m, d, &opt, NULL, &view, mjCAT_ALL, r->scn);
        draw(r);
        flip(r->rgb, out + (size_t)k * r->w * r->h * 3, r->w, r->h);
      }
    }
    unbind(r);
  }
  pthread_mutex_unlock(&opengl);
  return f->code;
}
