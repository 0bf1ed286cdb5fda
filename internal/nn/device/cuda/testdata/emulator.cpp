// A card made of this processor, for tests: the functions of libcuda, NVRTC and
// cuBLAS that driver.c takes, with the kernels of kernels.cu compiled as C++
// (KERNELS names the file). A thread is a fiber; those of a block take turns at
// the barriers. The card's memory is closed while nothing is queued, so that a
// program that looks at it faults, as it would with a card.
//
// What this cannot show: what NVRTC thinks of the text, and what really runs at
// the same time.

#include <math.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

// ---- fibers ----

struct Dim { unsigned x, y, z; };
static Dim blockIdx, gridDim, blockDim, threadIdx;

namespace {

const int limit = 1024; // threads of a block
const size_t stack_size = 32 << 10;

struct Fiber {
	ucontext_t start;
	jmp_buf at;
	bool begun, done;
};

Fiber fibers[limit];
char *stacks;
jmp_buf scheduler;
int now;
std::function<void()> body;

struct Barrier { int arrived, generation; };
Barrier block_barrier, warp_barriers[limit / 32];
double exchange[limit];
int alive, warp_alive[limit / 32];

void yield() {
	if (!_setjmp(fibers[now].at)) _longjmp(scheduler, 1);
	threadIdx.x = now;
}

void wait(Barrier &b, int &count) {
	int mine = b.generation;
	b.arrived++;
	while (b.generation == mine) {
		if (b.arrived >= count) {
			b.arrived = 0;
			b.generation++;
			return;
		}
		yield();
	}
}

void run() {
	body();
	fibers[now].done = true;
	alive--;
	warp_alive[now / 32]--;
	_longjmp(scheduler, 1);
}

void block(int threads) {
	alive = threads;
	block_barrier = Barrier();
	for (int i = 0; i < threads; i++) {
		fibers[i].begun = fibers[i].done = false;
		warp_alive[i / 32] = 0;
		warp_barriers[i / 32] = Barrier();
	}
	for (int i = 0; i < threads; i++) warp_alive[i / 32]++;
	while (alive)
		for (int i = 0; i < threads; i++) {
			volatile int k = i; // survives the jumps
			if (fibers[k].done) continue;
			now = k;
			threadIdx.x = k;
			if (!_setjmp(scheduler)) {
				if (fibers[k].begun) _longjmp(fibers[k].at, 1);
				fibers[k].begun = true;
				getcontext(&fibers[k].start);
				fibers[k].start.uc_stack.ss_sp = stacks + k * stack_size;
				fibers[k].start.uc_stack.ss_size = stack_size;
				fibers[k].start.uc_link = NULL;
				makecontext(&fibers[k].start, run, 0);
				setcontext(&fibers[k].start);
			}
			i = k;
		}
}

} // namespace

static void __syncthreads() { wait(block_barrier, alive); }

template <class T> static T __shfl_xor_sync(unsigned, T v, int with) {
	int w = now / 32;
	exchange[now] = v;
	wait(warp_barriers[w], warp_alive[w]);
	T other = (T)exchange[now ^ with];
	wait(warp_barriers[w], warp_alive[w]);
	return other;
}

struct float4 { float x, y, z, w; };
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

#define __device__ static
#define __global__ __attribute__((visibility("hidden")))
#define __shared__ static
#include KERNELS

// ---- launching ----

struct Kernel {
	std::function<std::function<void()>(uint64_t *)> bind;
	int params;
	bool waits; // at barriers: its threads need stacks of their own
};

template <class... A, size_t... I> static Kernel wrap(bool waits, void (*f)(A...), std::index_sequence<I...>) {
	return {[f](uint64_t *p) -> std::function<void()> {
		std::tuple<A...> args(*(A *)&p[I]...);
		return [f, args] { f(std::get<I>(args)...); };
	}, sizeof...(A), waits};
}
template <class... A> static Kernel wrap(bool waits, void (*f)(A...)) { return wrap(waits, f, std::index_sequence_for<A...>()); }

static std::map<std::string, Kernel> &kernels() {
	static std::map<std::string, Kernel> all = {
#define K(name, waits) {#name, wrap(waits, name)},
#include "kernels.inc"
#undef K
	};
	return all;
}

static std::recursive_mutex mutex;
// The card's memory is one stretch of addresses, used up to top; what is freed
// waits for one of its size.
static char *arena, *top;
static const size_t arena_size = (size_t)1 << 36;
static std::map<uintptr_t, size_t> memory;
static std::multimap<size_t, char *> freed;

// Open lets the kernels at the card's memory, until somebody waits for them: then
// it is closed again, for this is when the processor looks at results.
static bool opened;
struct Open {
	std::lock_guard<std::recursive_mutex> guard;
	Open() : guard(mutex) {
		if (!opened && top > arena) mprotect(arena, top - arena, PROT_READ | PROT_WRITE);
		opened = true;
	}
};

// What is recorded is a list of things to do.
typedef std::vector<std::function<void()>> Record;
static Record *recording;

static int doing(std::function<void()> f) {
	if (recording) {
		recording->push_back(f);
		return 0;
	}
	Open open;
	f();
	return 0;
}

extern "C" {

int cuInit(unsigned) {
	const char *e = getenv("EMULATOR_FAILS");
	return e && !strcmp(e, "init") ? 100 : 0;
}
int cuDriverGetVersion(int *v) { *v = 12020; return 0; }
int cuDeviceGetCount(int *n) {
	const char *e = getenv("EMULATOR_FAILS");
	*n = e && !strcmp(e, "count") ? 0 : 1;
	return 0;
}
int cuDeviceGet(int *d, int i) { *d = i; return 0; }
int cuDeviceGetName(char *s, int n, int) { snprintf(s, n, "emulated card"); return 0; }
int cuDeviceGetAttribute(int *v, int what, int) { *v = what == 75 ? 9 : 0; return 0; }
int cuDevicePrimaryCtxRetain(void **c, int) { *c = (void *)1; return 0; }
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxSetCurrent(void *) { return 0; }
int cuStreamCreate(void **s, unsigned) { *s = (void *)2; return 0; }
int cuStreamDestroy_v2(void *) { return 0; }
int cuStreamSynchronize(void *) {
	std::lock_guard<std::recursive_mutex> guard(mutex);
	if (recording) return 900;
	if (opened && top > arena) mprotect(arena, top - arena, PROT_NONE);
	opened = false;
	return 0;
}

int cuMemAlloc_v2(uint64_t *p, size_t n) {
	Open open;
	size_t size = (n + 4095) & ~(size_t)4095;
	if (recording) return 900;
	if (size > (size_t)1 << 33) return 2;
	char *m;
	auto f = freed.find(size);
	if (f != freed.end()) {
		m = f->second;
		freed.erase(f);
	} else {
		if (!arena) {
			arena = top = (char *)mmap(NULL, arena_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
			if (arena == MAP_FAILED) abort();
		}
		if (top + size > arena + arena_size) return 2;
		m = top;
		mprotect(m, size, PROT_READ | PROT_WRITE);
		top += size;
	}
	memory[(uintptr_t)m] = size;
	*p = (uint64_t)(uintptr_t)m;
	return 0;
}
int cuMemFree_v2(uint64_t p) {
	Open open;
	auto m = memory.find((uintptr_t)p);
	if (m == memory.end()) return 1;
	madvise((void *)m->first, m->second, MADV_DONTNEED);
	freed.insert({m->second, (char *)m->first});
	memory.erase(m);
	return 0;
}
int cuMemAllocHost_v2(void **p, size_t n) { *p = malloc(n); return 0; }
int cuMemFreeHost(void *p) { free(p); return 0; }
int cuMemcpyHtoDAsync_v2(uint64_t d, const void *s, size_t n, void *) { return doing([=] { memcpy((void *)(uintptr_t)d, s, n); }); }
int cuMemcpyDtoHAsync_v2(void *d, uint64_t s, size_t n, void *) { return doing([=] { memcpy(d, (void *)(uintptr_t)s, n); }); }
int cuMemcpyDtoDAsync_v2(uint64_t d, uint64_t s, size_t n, void *) { return doing([=] { memmove((void *)(uintptr_t)d, (void *)(uintptr_t)s, n); }); }
int cuMemsetD8Async(uint64_t d, unsigned char v, size_t n, void *) { 
	return doing([=] {
		// Pages that are given back are zero, and need not be opened and closed.
		uintptr_t lo = (d + 4095) & ~(uintptr_t)4095, hi = (d + n) & ~(uintptr_t)4095;
		if (v == 0 && lo < hi) {
			memset((void *)(uintptr_t)d, 0, lo - d);
			madvise((void *)lo, hi - lo, MADV_DONTNEED);
			memset((void *)hi, 0, d + n - hi);
		} else memset((void *)(uintptr_t)d, v, n);
	});
}
int cuModuleLoadData(void **m, const void *) { *m = (void *)3; return 0; }
int cuModuleUnload(void *) { return 0; }
int cuModuleGetFunction(void **f, void *, const char *name) {
	auto k = kernels().find(name);
	if (k == kernels().end()) return 500;
	*f = &k->second;
	return 0;
}

int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *, void **params, void **) {
	if (!gx || !gy || !gz || !bx || bx > limit || bx % 32 || by != 1 || bz != 1 || gy > 65535 || gz > 65535 || gx > 2147483647u || shared) return 1;
	Kernel *k = (Kernel *)f;
	std::vector<uint64_t> copies(k->params);
	for (int i = 0; i < k->params; i++) copies[i] = *(uint64_t *)params[i];
	return doing([=]() mutable {
		if (!stacks) stacks = (char *)mmap(NULL, limit * stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		body = k->bind(copies.data());
		gridDim = {gx, gy, gz};
		blockDim = {bx, 1, 1};
		for (blockIdx.z = 0; blockIdx.z < gz; blockIdx.z++)
			for (blockIdx.y = 0; blockIdx.y < gy; blockIdx.y++)
				for (blockIdx.x = 0; blockIdx.x < gx; blockIdx.x++) {
					if (k->waits) block(bx);
					else for (threadIdx.x = 0; threadIdx.x < bx; threadIdx.x++) body();
				}
	});
}

int cuGetErrorName(int e, const char **s) {
	*s = e == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : e == 100 ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_OF_THE_EMULATOR";
	return 0;
}
int cuGetErrorString(int, const char **s) { *s = "as the emulator says"; return 0; }

int cuStreamBeginCapture_v2(void *, int) {
	if (recording) return 901;
	recording = new Record;
	return 0;
}
int cuStreamEndCapture(void *, void **g) {
	if (!recording) return 901;
	*g = recording;
	recording = NULL;
	return 0;
}
int cuGraphInstantiateWithFlags(void **e, void *g, unsigned long long) { *e = new Record(*(Record *)g); return 0; }
int cuGraphLaunch(void *e, void *) {
	Open open;
	for (auto &f : *(Record *)e) f();
	return 0;
}
int cuGraphExecDestroy(void *e) { delete (Record *)e; return 0; }
int cuGraphDestroy(void *g) { delete (Record *)g; return 0; }

int nvrtcVersion(int *a, int *b) { *a = 12; *b = 2; return 0; }
int nvrtcCreateProgram(void **p, const char *, const char *, int, const char *const *, const char *const *) { *p = (void *)4; return 0; }
int nvrtcCompileProgram(void *, int, const char *const *) {
	const char *e = getenv("EMULATOR_FAILS");
	return e && !strcmp(e, "compile") ? 6 : 0;
}
int nvrtcGetCUBINSize(void *, size_t *n) { *n = 1; return 0; }
int nvrtcGetCUBIN(void *, char *s) { *s = 0; return 0; }
int nvrtcGetProgramLogSize(void *, size_t *n) { *n = 20; return 0; }
int nvrtcGetProgramLog(void *, char *s) { strcpy(s, "kernels.cu(1): no"); return 0; }
int nvrtcDestroyProgram(void **) { return 0; }
const char *nvrtcGetErrorString(int) { return "NVRTC_ERROR_COMPILATION"; }

int cublasCreate_v2(void **h) { *h = (void *)5; return 0; }
int cublasDestroy_v2(void *) { return 0; }
int cublasGetVersion_v2(void *, int *v) { *v = 120200; return 0; }
int cublasSetStream_v2(void *, void *) { return 0; }
int cublasSetMathMode(void *, int) { return 0; }
int cublasSetWorkspace_v2(void *, void *, size_t) { return 0; }

// Column-major, as in the book; 0 is as stored, 1 transposed.
int cublasSgemmStridedBatched(void *, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda, long long sa, const float *b, int ldb,
	long long sb, const float *beta, float *c, int ldc, long long sc, int count) {
	if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return 7;
	float al = *alpha, be = *beta;
	return doing([=] {
		for (int p = 0; p < count; p++) {
			const float *A = a + p * sa, *B = b + p * sb;
			float *C = c + p * sc;
			for (int j = 0; j < n; j++)
				for (int i = 0; i < m; i++) {
					float s = 0;
					for (int l = 0; l < k; l++) s += A[ta ? l + (long)i * lda : i + (long)l * lda] * B[tb ? j + (long)l * ldb : l + (long)j * ldb];
					float *y = &C[i + (long)j * ldc];
					*y = be == 0 ? al * s : al * s + be * *y;
				}
		}
	});
}
int cublasSgemm_v2(void *h, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda, const float *b, int ldb, const float *beta, float *c, int ldc) {
	return cublasSgemmStridedBatched(h, ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);
}
}
