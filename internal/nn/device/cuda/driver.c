//go:build cgo && !purego

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

// open tries the paths in turn; what dlerror says last is kept for the error.
static void *first(const char *const *paths, char *why, size_t size) {
	why[0] = 0;
	for (; **paths; paths++) {
		void *lib = dlopen(*paths, RTLD_NOW | RTLD_GLOBAL);
		if (lib) return lib;
		const char *e = dlerror();
		// A file that is there and does not load says more than one that is not.
		if (!why[0] || !strstr(e, "No such file")) snprintf(why, size, "%s", e);
	}
	return NULL;
}

static int take(void *lib, void *fn, const char *name, char *err, size_t size) {
	void *f = dlsym(lib, name);
	if (!f) {
		snprintf(err, size, "a CUDA library lacks %s; install one of the versions that are supported", name);
		return -1;
	}
	memcpy(fn, &f, sizeof f);
	return 0;
}

rc *rc_load(const char *const *driver, const char *const *blas, const char *const *nvrtc, const char *const *dnn, char *err, size_t size) {
	rc *c = calloc(1, sizeof *c);
	char why[512];
	const char *const *paths[3] = {driver, blas, nvrtc};
	static const char *const what[3] = {
		"libcuda.so.1, which comes with NVIDIA's driver",
		"libcublas.so (13, 12 or 11)",
		"libnvrtc.so (13, 12 or 11)",
	};
	for (int i = 0; i < 3; i++) {
		c->libs[i] = first(paths[i], why, sizeof why);
		if (!c->libs[i]) {
			snprintf(err, size, "there is no %s (%s)", what[i], why);
			rc_stop(c);
			return NULL;
		}
	}
#define DRIVER(f, name) if (take(c->libs[0], &c->f, name, err, size)) { rc_stop(c); return NULL; }
	DRIVER(Init, "cuInit")
	DRIVER(DriverGetVersion, "cuDriverGetVersion")
	DRIVER(DeviceGetCount, "cuDeviceGetCount")
	DRIVER(DeviceGet, "cuDeviceGet")
	DRIVER(DeviceGetName, "cuDeviceGetName")
	DRIVER(DeviceGetAttribute, "cuDeviceGetAttribute")
	DRIVER(DevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain")
	DRIVER(DevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2")
	DRIVER(CtxSetCurrent, "cuCtxSetCurrent")
	DRIVER(StreamCreate, "cuStreamCreate")
	DRIVER(StreamDestroy, "cuStreamDestroy_v2")
	DRIVER(StreamSynchronize, "cuStreamSynchronize")
	DRIVER(MemAlloc, "cuMemAlloc_v2")
	DRIVER(MemFree, "cuMemFree_v2")
	DRIVER(MemAllocHost, "cuMemAllocHost_v2")
	DRIVER(MemFreeHost, "cuMemFreeHost")
	DRIVER(MemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2")
	DRIVER(MemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2")
	DRIVER(MemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2")
	DRIVER(MemsetD8Async, "cuMemsetD8Async")
	DRIVER(ModuleLoadData, "cuModuleLoadData")
	DRIVER(ModuleUnload, "cuModuleUnload")
	DRIVER(ModuleGetFunction, "cuModuleGetFunction")
	DRIVER(LaunchKernel, "cuLaunchKernel")
	DRIVER(GetErrorName, "cuGetErrorName")
	DRIVER(GetErrorString, "cuGetErrorString")
	DRIVER(StreamBeginCapture, "cuStreamBeginCapture_v2")
	DRIVER(StreamEndCapture, "cuStreamEndCapture")
	DRIVER(GraphInstantiate, "cuGraphInstantiateWithFlags")
	DRIVER(GraphLaunch, "cuGraphLaunch")
	DRIVER(GraphExecDestroy, "cuGraphExecDestroy")
	DRIVER(GraphDestroy, "cuGraphDestroy")
#undef DRIVER
#define NVRTC(f) if (take(c->libs[2], &c->f, #f, err, size)) { rc_stop(c); return NULL; }
	NVRTC(nvrtcVersion)
	NVRTC(nvrtcCreateProgram)
	NVRTC(nvrtcCompileProgram)
	NVRTC(nvrtcGetCUBINSize)
	NVRTC(nvrtcGetCUBIN)
	NVRTC(nvrtcGetProgramLogSize)
	NVRTC(nvrtcGetProgramLog)
	NVRTC(nvrtcDestroyProgram)
	NVRTC(nvrtcGetErrorString)
#undef NVRTC
#define BLAS(f, name) if (take(c->libs[1], &c->f, name, err, size)) { rc_stop(c); return NULL; }
	BLAS(cublasCreate, "cublasCreate_v2")
	BLAS(cublasDestroy, "cublasDestroy_v2")
	BLAS(cublasGetVersion, "cublasGetVersion_v2")
	BLAS(cublasSetStream, "cublasSetStream_v2")
	BLAS(cublasSetMathMode, "cublasSetMathMode")
	BLAS(cublasSetWorkspace, "cublasSetWorkspace_v2")
	BLAS(cublasSgemm, "cublasSgemm_v2")
	BLAS(cublasSgemmStridedBatched, "cublasSgemmStridedBatched")
#undef BLAS
	c->libs[3] = first(dnn, why, sizeof why);
	if (!c->libs[3]) return c;
#define DNN(f, name) if (take(c->libs[3], &c->f, name, err, size)) { rc_stop(c); return NULL; }
	DNN(cudnnGetVersion, "cudnnGetVersion")
	DNN(cudnnGetErrorString, "cudnnGetErrorString")
	DNN(cudnnCreate, "cudnnCreate")
	DNN(cudnnDestroy, "cudnnDestroy")
	DNN(cudnnSetStream, "cudnnSetStream")
	DNN(cudnnCreateTensorDescriptor, "cudnnCreateTensorDescriptor")
	DNN(cudnnDestroyTensorDescriptor, "cudnnDestroyTensorDescriptor")
	DNN(cudnnSetTensor4dDescriptor, "cudnnSetTensor4dDescriptor")
	DNN(cudnnCreateFilterDescriptor, "cudnnCreateFilterDescriptor")
	DNN(cudnnDestroyFilterDescriptor, "cudnnDestroyFilterDescriptor")
	DNN(cudnnSetFilter4dDescriptor, "cudnnSetFilter4dDescriptor")
	DNN(cudnnCreateConvolutionDescriptor, "cudnnCreateConvolutionDescriptor")
	DNN(cudnnDestroyConvolutionDescriptor, "cudnnDestroyConvolutionDescriptor")
	DNN(cudnnSetConvolution2dDescriptor, "cudnnSetConvolution2dDescriptor")
	DNN(cudnnSetConvolutionMathType, "cudnnSetConvolutionMathType")
	DNN(FindForward, "cudnnGetConvolutionForwardAlgorithm_v7")
	DNN(FindInput, "cudnnGetConvolutionBackwardDataAlgorithm_v7")
	DNN(RoomForward, "cudnnGetConvolutionForwardWorkspaceSize")
	DNN(RoomInput, "cudnnGetConvolutionBackwardDataWorkspaceSize")
	DNN(Forward, "cudnnConvolutionForward")
	DNN(Input, "cudnnConvolutionBackwardData")
#undef DNN
	return c;
}

// rc_current makes the card's context that of this thread: Go's goroutines
// wander from one to another.
static __thread handle current;

int rc_current(rc *c) {
	if (current == c->context) return 0;
	int e = c->CtxSetCurrent(c->context);
	if (e) return rc_driver_failed(c, "cuCtxSetCurrent", e);
	current = c->context;
	return 0;
}

int rc_driver_failed(rc *c, const char *call, int code) {
	if (!code) return 0;
	const char *name = "an unknown error", *text = "";
	c->GetErrorName(code, &name);
	c->GetErrorString(code, &text);
	snprintf(c->failed, sizeof c->failed, "%s: %s (%d), %s", call, name, code, text);
	return -1;
}

void rc_failure(rc *c, char *text, size_t size) { snprintf(text, size, "%s", c->failed); }

static int blas_failed(rc *c, const char *call, int code) {
	if (!code) return 0;
	snprintf(c->failed, sizeof c->failed, "%s: cuBLAS status %d", call, code);
	return -1;
}

static int compile(rc *c, const char *source, char *err, size_t size) {
	handle program;
	char arch[64];
	snprintf(arch, sizeof arch, "--gpu-architecture=sm_%d%d", c->major, c->minor);
	const char *options[] = {arch, "--std=c++14"};
	int e = c->nvrtcCreateProgram(&program, source, "kernels.cu", 0, NULL, NULL);
	if (e) {
		snprintf(err, size, "nvrtcCreateProgram: %s", c->nvrtcGetErrorString(e));
		return -1;
	}
	e = c->nvrtcCompileProgram(program, 2, options);
	if (e) {
		size_t n = 0;
		int at = snprintf(err, size, "NVRTC cannot compile for %s: %s; is libnvrtc older than the card? ", arch, c->nvrtcGetErrorString(e));
		c->nvrtcGetProgramLogSize(program, &n);
		char *log = malloc(n + 1);
		log[0] = 0;
		c->nvrtcGetProgramLog(program, log);
		if ((size_t)at < size) snprintf(err + at, size - at, "%s", log);
		free(log);
		c->nvrtcDestroyProgram(&program);
		return -1;
	}
	size_t n = 0;
	e = c->nvrtcGetCUBINSize(program, &n);
	char *bin = malloc(n + 1);
	if (!e) e = c->nvrtcGetCUBIN(program, bin);
	c->nvrtcDestroyProgram(&program);
	if (e) {
		snprintf(err, size, "nvrtcGetCUBIN: %s", c->nvrtcGetErrorString(e));
		free(bin);
		return -1;
	}
	e = rc_driver_failed(c, "cuModuleLoadData", c->ModuleLoadData(&c->module, bin));
	free(bin);
	if (e) snprintf(err, size, "%s", c->failed);
	return e;
}

// Of cuBLAS's working memory: 32 MiB, what it takes on Hopper by itself; ours, so
// that recorded work may use it.
#define BLAS_ROOM (32 << 20)

int rc_start(rc *c, const char *source, const char *const *names, int n, char *err, size_t size) {
	int count = 0;
#define TRY(call, f) if (rc_driver_failed(c, call, f)) { snprintf(err, size, "%s", c->failed); return -1; }
	TRY("cuInit", c->Init(0))
	TRY("cuDriverGetVersion", c->DriverGetVersion(&c->driver))
	TRY("cuDeviceGetCount", c->DeviceGetCount(&count))
	if (count < 1) {
		snprintf(err, size, "the driver sees no card; is CUDA_VISIBLE_DEVICES empty?");
		return -1;
	}
	TRY("cuDeviceGet", c->DeviceGet(&c->device, 0))
	TRY("cuDeviceGetName", c->DeviceGetName(c->name, sizeof c->name, c->device))
	TRY("cuDeviceGetAttribute", c->DeviceGetAttribute(&c->major, 75, c->device)) // compute capability
	TRY("cuDeviceGetAttribute", c->DeviceGetAttribute(&c->minor, 76, c->device))
	TRY("cuDevicePrimaryCtxRetain", c->DevicePrimaryCtxRetain(&c->context, c->device))
	if (rc_current(c)) {
		snprintf(err, size, "%s", c->failed);
		return -1;
	}
	TRY("cuStreamCreate", c->StreamCreate(&c->stream, 1)) // beside the null stream
	if (compile(c, source, err, size)) return -1;
	c->kernels = calloc(n, sizeof *c->kernels);
	c->kernel_names = names;
	c->kernel_count = n;
	for (int i = 0; i < n; i++) {
		if (rc_driver_failed(c, "cuModuleGetFunction", c->ModuleGetFunction(&c->kernels[i], c->module, names[i]))) {
			snprintf(err, size, "kernel %s: %s", names[i], c->failed);
			return -1;
		}
	}
	TRY("cuMemAlloc", c->MemAlloc(&c->blas_room, BLAS_ROOM))
#undef TRY
#define TRY(call, f) if (blas_failed(c, call, f)) { snprintf(err, size, "%s", c->failed); return -1; }
	TRY("cublasCreate", c->cublasCreate(&c->blas))
	TRY("cublasGetVersion", c->cublasGetVersion(c->blas, &c->cublas_version))
	TRY("cublasSetStream", c->cublasSetStream(c->blas, c->stream))
	TRY("cublasSetMathMode", c->cublasSetMathMode(c->blas, 0)) // default: float32 throughout, no TF32
	TRY("cublasSetWorkspace", c->cublasSetWorkspace(c->blas, (void *)(uintptr_t)c->blas_room, BLAS_ROOM))
#undef TRY
	if (c->cudnnCreate) {
		int e = c->cudnnCreate(&c->dnn);
		if (!e) e = c->cudnnSetStream(c->dnn, c->stream);
		if (e) {
			snprintf(err, size, "cudnnCreate: %s (%d); does cuDNN fit the CUDA libraries beside it?", c->cudnnGetErrorString(e), e);
			return -1;
		}
	}
	return 0;
}

void rc_stop(rc *c) {
	if (c->context && !rc_current(c)) {
		if (c->stream) c->StreamSynchronize(c->stream);
		if (c->dnn) c->cudnnDestroy(c->dnn);
		if (c->blas) c->cublasDestroy(c->blas);
		if (c->blas_room) c->MemFree(c->blas_room);
		if (c->module) c->ModuleUnload(c->module);
		if (c->stream) c->StreamDestroy(c->stream);
		current = NULL;
		c->CtxSetCurrent(NULL);
		c->DevicePrimaryCtxRelease(c->device);
	}
	free(c->kernels);
	// The libraries stay: closing a driver with threads of its own does not end well.
	free(c);
}

int rc_has_dnn(rc *c) { return c->dnn != NULL; }

void rc_describe(rc *c, char *text, size_t size) {
	int at = snprintf(text, size, "%s (compute capability %d.%d, CUDA %d.%d, cuBLAS %d", c->name, c->major, c->minor,
		c->driver / 1000, c->driver / 10 % 100, c->cublas_version);
	if (c->dnn && (size_t)at < size) at += snprintf(text + at, size - at, ", cuDNN %zu", c->cudnnGetVersion());
	if ((size_t)at < size) snprintf(text + at, size - at, ")");
}

#define AT(p) ((rc_address)(uintptr_t)(p))
#define DO(call, f) (rc_current(c) ? -1 : rc_driver_failed(c, call, f))

float *rc_alloc(rc *c, int64_t bytes) {
	rc_address p = 0;
	if (DO("cuMemAlloc", c->MemAlloc(&p, bytes))) return NULL;
	return (float *)(uintptr_t)p;
}

void rc_free(rc *c, void *p) { if (!rc_current(c)) c->MemFree(AT(p)); }

float *rc_alloc_host(rc *c, int64_t bytes) {
	void *p = NULL;
	if (DO("cuMemAllocHost", c->MemAllocHost(&p, bytes))) return NULL;
	memset(p, 0, bytes);
	return p;
}

void rc_free_host(rc *c, void *p) { if (!rc_current(c)) c->MemFreeHost(p); }

int rc_clear(rc *c, void *dst, int64_t n) { return DO("cuMemsetD8Async", c->MemsetD8Async(AT(dst), 0, n, c->stream)); }
int rc_up(rc *c, void *dst, const void *src, int64_t n) { return DO("cuMemcpyHtoDAsync", c->MemcpyHtoDAsync(AT(dst), src, n, c->stream)); }
int rc_down(rc *c, void *dst, const void *src, int64_t n) { return DO("cuMemcpyDtoHAsync", c->MemcpyDtoHAsync(dst, AT(src), n, c->stream)); }
int rc_copy(rc *c, void *dst, const void *src, int64_t n) { return DO("cuMemcpyDtoDAsync", c->MemcpyDtoDAsync(AT(dst), AT(src), n, c->stream)); }
int rc_sync(rc *c) { return DO("cuStreamSynchronize", c->StreamSynchronize(c->stream)); }

int rc_launch(rc *c, int k, int64_t x, int64_t y, int64_t z, int64_t t, const uint64_t *slots, int n) {
	void *params[32];
	for (int i = 0; i < n; i++) params[i] = (void *)&slots[i];
	if (rc_current(c)) return -1;
	int e = c->LaunchKernel(c->kernels[k], x, y, z, t, 1, 1, 0, c->stream, params, NULL);
	if (!e) return 0;
	char call[96];
	snprintf(call, sizeof call, "cuLaunchKernel of %s (%lld,%lld,%lld) x %lld", c->kernel_names[k], (long long)x, (long long)y, (long long)z, (long long)t);
	return rc_driver_failed(c, call, e);
}

// Row-major c = a b is column-major c' = b' a'.
int rc_gemm(rc *c, int ta, int tb, int m, int n, int k, const float *a, int lda, int64_t sa, const float *b, int ldb, int64_t sb,
	float beta, float *y, int ldc, int64_t sc, int count) {
	const float one = 1;
	if (rc_current(c)) return -1;
	if (count == 1) return blas_failed(c, "cublasSgemm", c->cublasSgemm(c->blas, tb, ta, n, m, k, &one, b, ldb, a, lda, &beta, y, ldc));
	return blas_failed(c, "cublasSgemmStridedBatched",
		c->cublasSgemmStridedBatched(c->blas, tb, ta, n, m, k, &one, b, ldb, sb, a, lda, sa, &beta, y, ldc, sc, count));
}

static __thread int mine; // whether this thread records

int rc_mine(void) { return mine; }

int rc_record(rc *c) {
	if (DO("cuStreamBeginCapture", c->StreamBeginCapture(c->stream, 2))) return -1; // relaxed: other threads do as they like
	mine = 1;
	return 0;
}

void *rc_recorded(rc *c) {
	handle graph = NULL, exec = NULL;
	mine = 0;
	if (DO("cuStreamEndCapture", c->StreamEndCapture(c->stream, &graph)) || !graph) return NULL;
	int e = DO("cuGraphInstantiate", c->GraphInstantiate(&exec, graph, 0));
	c->GraphDestroy(graph);
	return e ? NULL : exec;
}

int rc_replay(rc *c, void *record) { return DO("cuGraphLaunch", c->GraphLaunch(record, c->stream)); }
void rc_forget(rc *c, void *record) { if (!rc_current(c)) c->GraphExecDestroy(record); }
