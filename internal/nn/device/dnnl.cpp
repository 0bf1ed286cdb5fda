//go:build cgo && !purego

#include "native.h"

#include <dnnl.hpp>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

using dnnl::memory;
using dt = memory::data_type;
using tag = memory::format_tag;

// What oneDNN's threads are, in the calling thread. OpenMP keeps it per thread, and
// a goroutine's thread changes, so every call sets it.
extern "C" void omp_set_num_threads(int n);
static std::atomic<int> threads{1};

static void begin() { omp_set_num_threads(threads.load(std::memory_order_relaxed)); }

static dnnl::engine &cpu() {
    static dnnl::engine e(dnnl::engine::kind::cpu, 0);
    return e;
}

extern "C" void rd_threads(int n) { threads.store(n, std::memory_order_relaxed); }

extern "C" void rd_version(char *dst, size_t size) {
    const dnnl_version_t *v = dnnl_version();
    const char *isa = "plain instructions";
    switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_sse41: isa = "SSE4.1"; break;
    case dnnl_cpu_isa_avx: isa = "AVX"; break;
    case dnnl_cpu_isa_avx2:
    case dnnl_cpu_isa_avx2_vnni: isa = "AVX2"; break;
    case dnnl_cpu_isa_all: break;
    default: isa = "AVX-512";
    }
    snprintf(dst, size, "native (oneDNN %d.%d.%d, %s)", v->major, v->minor, v->patch, isa);
}

extern "C" void rd_gemm(int ta, int tb, len m, len n, len k, const float *a, len lda, const float *b, len ldb, float beta, float *c, len ldc) {
    begin();
    // It fails for shapes that do not fit only, which the caller has checked.
    if (dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1, a, lda, b, ldb, beta, c, ldc) != dnnl_success) abort();
}

// pass is a primitive with its arguments; the pointers are set before each run.
struct pass {
    dnnl::primitive p;
    std::vector<dnnl_exec_arg_t> args;
    std::vector<memory> mem;

    void arg(int kind, const memory::desc &d) {
        mem.emplace_back(d, cpu(), nullptr); // a null pointer, or oneDNN would allocate
        args.push_back({kind, mem.back().get()});
    }
    const char *run(const dnnl::stream &s, std::initializer_list<void *> at) {
        size_t i = 0;
        for (void *p : at) dnnl_memory_set_data_handle(args[i++].memory, p);
        dnnl_status_t st = dnnl_primitive_execute(p.get(), s.get(), (int)args.size(), args.data());
        return st == dnnl_success ? nullptr : "oneDNN could not run a convolution";
    }
};

// step is one of the three passes of a convolution, with its weights' own order.
struct step {
    pass run, pack;
    bool packs = false;
    size_t w = 0, pad = 0; // floats of scratch

    size_t floats() const { return w + pad; }
};

struct rd_conv {
    rd_conv_shape shape;
    dnnl::stream stream{cpu()};
    step forward, input, weight;
    pass unpack_add;
    std::vector<float> kept; // w arranged once, if static
    bool packed = false;
};

static size_t floats(const memory::desc &d) { return (d.get_size() + 63) / 64 * 16; }

static void reorder(pass &r, const memory::desc &from, const memory::desc &to, bool add) {
    dnnl::primitive_attr a;
    a.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (add) {
        dnnl::post_ops o;
        o.append_sum(1);
        a.set_post_ops(o);
    }
    dnnl::reorder::primitive_desc pd(cpu(), from, cpu(), to, a);
    if (pd.scratchpad_desc().get_size() > 0) throw dnnl::error(dnnl_unimplemented, "a reorder wants working memory");
    r.p = dnnl::reorder(pd);
    r.arg(DNNL_ARG_FROM, from);
    r.arg(DNNL_ARG_TO, to);
}

// A convolution goes from images to results. A transposed one is its gradient by
// the images, so there forward and input have changed places.
static void build(rd_conv *c) {
    const rd_conv_shape &s = c->shape;
    bool t = s.transposed;
    memory::dims xd{s.b, s.c, s.h, s.w}, yd{s.b, s.o, s.oh, s.ow}, wd{s.o, s.c, s.kh, s.kw};
    if (t) {
        std::swap(xd, yd);
        std::swap(wd[0], wd[1]);
    }
    memory::desc x(xd, dt::f32, tag::nhwc), y(yd, dt::f32, tag::nhwc), w(wd, dt::f32, tag::any), user(wd, dt::f32, tag::oihw), b({wd[0]}, dt::f32, tag::x);
    bool bias = s.bias && !t, relu = s.relu && !t;
    memory::dims stride{s.sh, s.sw}, pad{s.ph, s.pw};
    // Where the kernel does not reach the last rows, the padding on that side is smaller.
    memory::dims rest{(yd[2] - 1) * s.sh + s.kh - xd[2] - s.ph, (yd[3] - 1) * s.sw + s.kw - xd[3] - s.pw};
    const auto alg = dnnl::algorithm::convolution_direct;
    dnnl::primitive_attr plain, act;
    plain.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    act.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (relu) {
        dnnl::post_ops o;
        o.append_eltwise(1, dnnl::algorithm::eltwise_relu, 0, 0);
        act.set_post_ops(o);
    }
    auto arrange = [&](step &p, const memory::desc &weights, const memory::desc &scratch) {
        p.packs = weights != user;
        if (p.packs) {
            reorder(p.pack, user, weights, false);
            p.w = floats(weights);
        }
        p.pad = floats(scratch);
    };
    using F = dnnl::convolution_forward;
    using I = dnnl::convolution_backward_data;
    using W = dnnl::convolution_backward_weights;
    auto kind = t || s.need_input || s.need_w ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference;
    auto fd = bias ? F::desc(kind, alg, x, w, b, y, stride, pad, rest) : F::desc(kind, alg, x, w, y, stride, pad, rest);
    F::primitive_desc hint(fd, plain, cpu()); // without the ReLU: the caller has masked dy
    if (!t || s.need_input) {
        F::primitive_desc pd(fd, act, cpu());
        step &p = t ? c->input : c->forward;
        p.run.p = F(pd);
        p.run.arg(t ? DNNL_ARG_DST : DNNL_ARG_SRC, t ? y : x);
        p.run.arg(DNNL_ARG_WEIGHTS, pd.weights_desc());
        p.run.arg(t ? DNNL_ARG_SRC : DNNL_ARG_DST, t ? x : y);
        p.run.arg(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc());
        if (bias) p.run.arg(DNNL_ARG_BIAS, b);
        arrange(p, pd.weights_desc(), pd.scratchpad_desc());
    }
    if (t || s.need_input) {
        I::primitive_desc pd(I::desc(alg, x, w, y, stride, pad, rest), plain, cpu(), hint);
        step &p = t ? c->forward : c->input;
        p.run.p = I(pd);
        p.run.arg(t ? DNNL_ARG_DIFF_DST : DNNL_ARG_DIFF_SRC, t ? y : x);
        p.run.arg(DNNL_ARG_WEIGHTS, pd.weights_desc());
        p.run.arg(t ? DNNL_ARG_DIFF_SRC : DNNL_ARG_DIFF_DST, t ? x : y);
        p.run.arg(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc());
        arrange(p, pd.weights_desc(), pd.scratchpad_desc());
    }
    if (s.need_w) {
        W::primitive_desc pd(bias ? W::desc(alg, x, w, b, y, stride, pad, rest) : W::desc(alg, x, w, y, stride, pad, rest), plain, cpu(), hint);
        step &p = c->weight;
        p.run.p = W(pd);
        p.run.arg(t ? DNNL_ARG_DIFF_DST : DNNL_ARG_SRC, t ? y : x);
        p.run.arg(DNNL_ARG_DIFF_WEIGHTS, pd.diff_weights_desc());
        p.run.arg(t ? DNNL_ARG_SRC : DNNL_ARG_DIFF_DST, t ? x : y);
        p.run.arg(DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc());
        if (bias) p.run.arg(DNNL_ARG_DIFF_BIAS, b);
        // Always by way of scratch, since the caller may want a sum.
        reorder(p.pack, pd.diff_weights_desc(), user, false);
        reorder(c->unpack_add, pd.diff_weights_desc(), user, true);
        p.w = floats(pd.diff_weights_desc());
        p.pad = floats(pd.scratchpad_desc());
    }
    if (s.is_static) c->kept.resize(c->forward.w + 16);
}

extern "C" const char *rd_conv_new(const rd_conv_shape *s, rd_conv **out) {
    begin();
    rd_conv *c = nullptr;
    try {
        c = new rd_conv{*s};
        build(c);
    } catch (const std::exception &e) {
        delete c;
        static thread_local std::string said;
        said = std::string("oneDNN has no such convolution: ") + e.what();
        return said.c_str();
    }
    *out = c;
    return nullptr;
}

extern "C" void rd_conv_free(rd_conv *c) { delete c; }

extern "C" size_t rd_conv_scratch(const rd_conv *c) {
    return std::max({c->forward.floats(), c->input.floats(), c->weight.floats()}) + 16; // to begin at a cache line
}

// aligned is the first cache line in p.
static float *aligned(float *p) { return (float *)(((uintptr_t)p + 63) & ~(uintptr_t)63); }

extern "C" const char *rd_conv_forward(rd_conv *c, float *y, float *x, float *w, float *b, float *scratch) {
    begin();
    step &f = c->forward;
    const rd_conv_shape &s = c->shape;
    float *at = aligned(scratch);
    if (f.packs) {
        float *to = c->kept.empty() ? at : aligned(c->kept.data());
        if (c->kept.empty() || !c->packed) {
            if (const char *e = f.pack.run(c->stream, {w, to})) return e;
            c->packed = true;
        }
        w = to;
    }
    if (s.bias && !s.transposed) return f.run.run(c->stream, {x, w, y, at + f.w, b});
    if (const char *e = f.run.run(c->stream, {x, w, y, at + f.w})) return e;
    if (!s.transposed) return nullptr; // the ReLU was done on the way
    len pixels = s.b * s.oh * s.ow;
    if (s.bias)
        for (len i = 0; i < pixels; i++) rd_add(s.o, y + i * s.o, b);
    if (s.relu) rd_map(0, pixels * s.o, y, y);
    return nullptr;
}

extern "C" const char *rd_conv_input(rd_conv *c, float *dx, float *dy, float *w, float *scratch) {
    begin();
    step &f = c->input;
    float *at = aligned(scratch);
    if (f.packs) {
        if (const char *e = f.pack.run(c->stream, {w, at})) return e;
        w = at;
    }
    return f.run.run(c->stream, {dx, w, dy, at + f.w});
}

extern "C" const char *rd_conv_weight(rd_conv *c, int add, float *dw, float *db, float *dy, float *x, float *scratch) {
    begin();
    step &f = c->weight;
    const rd_conv_shape &s = c->shape;
    float *at = aligned(scratch);
    const char *e = s.bias && !s.transposed ? f.run.run(c->stream, {x, at, dy, at + f.w, db}) : f.run.run(c->stream, {x, at, dy, at + f.w});
    if (s.bias && s.transposed) {
        memset(db, 0, (size_t)s.o * sizeof *db);
        rd_col_sum(s.b * s.oh * s.ow, s.o, db, dy);
    }
    return e ? e : (add ? c->unpack_add : f.pack).run(c->stream, {at, dw});
}
