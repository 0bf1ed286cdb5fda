#ifndef RAPPORT_CUDA_TABLE_H
#define RAPPORT_CUDA_TABLE_H

#include "driver.h"

typedef void *handle;

// The functions used, as CUDA's documentation declares them.
struct rc {
	void *libs[4];

	// CUDA driver API (docs.nvidia.com/cuda/cuda-driver-api)
	int (*Init)(unsigned);
	int (*DriverGetVersion)(int *);
	int (*DeviceGetCount)(int *);
	int (*DeviceGet)(int *, int);
	int (*DeviceGetName)(char *, int, int);
	int (*DeviceGetAttribute)(int *, int, int);
	int (*DevicePrimaryCtxRetain)(handle *, int);
	int (*DevicePrimaryCtxRelease)(int);
	int (*CtxSetCurrent)(handle);
	int (*StreamCreate)(handle *, unsigned);
	int (*StreamDestroy)(handle);
	int (*StreamSynchronize)(handle);
	int (*MemAlloc)(rc_address *, size_t);
	int (*MemFree)(rc_address);
	int (*MemAllocHost)(void **, size_t);
	int (*MemFreeHost)(void *);
	int (*MemcpyHtoDAsync)(rc_address, const void *, size_t, handle);
	int (*MemcpyDtoHAsync)(void *, rc_address, size_t, handle);
	int (*MemcpyDtoDAsync)(rc_address, rc_address, size_t, handle);
	int (*MemsetD8Async)(rc_address, unsigned char, size_t, handle);
	int (*ModuleLoadData)(handle *, const void *);
	int (*ModuleUnload)(handle);
	int (*ModuleGetFunction)(handle *, handle, const char *);
	int (*LaunchKernel)(handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, handle, void **, void **);
	int (*GetErrorName)(int, const char **);
	int (*GetErrorString)(int, const char **);
	int (*StreamBeginCapture)(handle, int);
	int (*StreamEndCapture)(handle, handle *);
	int (*GraphInstantiate)(handle *, handle, unsigned long long);
	int (*GraphLaunch)(handle, handle);
	int (*GraphExecDestroy)(handle);
	int (*GraphDestroy)(handle);

	// NVRTC (docs.nvidia.com/cuda/nvrtc)
	int (*nvrtcVersion)(int *, int *);
	int (*nvrtcCreateProgram)(handle *, const char *, const char *, int, const char *const *, const char *const *);
	int (*nvrtcCompileProgram)(handle, int, const char *const *);
	int (*nvrtcGetCUBINSize)(handle, size_t *);
	int (*nvrtcGetCUBIN)(handle, char *);
	int (*nvrtcGetProgramLogSize)(handle, size_t *);
	int (*nvrtcGetProgramLog)(handle, char *);
	int (*nvrtcDestroyProgram)(handle *);
	const char *(*nvrtcGetErrorString)(int);

	// cuBLAS (docs.nvidia.com/cuda/cublas)
	int (*cublasCreate)(handle *);
	int (*cublasDestroy)(handle);
	int (*cublasGetVersion)(handle, int *);
	int (*cublasSetStream)(handle, handle);
	int (*cublasSetMathMode)(handle, int);
	int (*cublasSetWorkspace)(handle, void *, size_t);
	int (*cublasSgemm)(handle, int, int, int, int, int, const float *, const float *, int, const float *, int, const float *, float *, int);
	int (*cublasSgemmStridedBatched)(handle, int, int, int, int, int, const float *, const float *, int, long long, const float *, int, long long,
		const float *, float *, int, long long, int);

	// cuDNN's legacy interface (docs.nvidia.com/deeplearning/cudnn), all NULL without it
	size_t (*cudnnGetVersion)(void);
	const char *(*cudnnGetErrorString)(int);
	int (*cudnnCreate)(handle *);
	int (*cudnnDestroy)(handle);
	int (*cudnnSetStream)(handle, handle);
	int (*cudnnCreateTensorDescriptor)(handle *);
	int (*cudnnDestroyTensorDescriptor)(handle);
	int (*cudnnSetTensor4dDescriptor)(handle, int, int, int, int, int, int);
	int (*cudnnCreateFilterDescriptor)(handle *);
	int (*cudnnDestroyFilterDescriptor)(handle);
	int (*cudnnSetFilter4dDescriptor)(handle, int, int, int, int, int, int);
	int (*cudnnCreateConvolutionDescriptor)(handle *);
	int (*cudnnDestroyConvolutionDescriptor)(handle);
	int (*cudnnSetConvolution2dDescriptor)(handle, int, int, int, int, int, int, int, int);
	int (*cudnnSetConvolutionMathType)(handle, int);
	int (*FindForward)(handle, handle, handle, handle, handle, int, int *, void *);
	int (*FindInput)(handle, handle, handle, handle, handle, int, int *, void *);
	int (*RoomForward)(handle, handle, handle, handle, handle, int, size_t *);
	int (*RoomInput)(handle, handle, handle, handle, handle, int, size_t *);
	int (*Forward)(handle, const void *, handle, const void *, handle, const void *, handle, int, void *, size_t, const void *, handle, void *);
	int (*Input)(handle, const void *, handle, const void *, handle, const void *, handle, int, void *, size_t, const void *, handle, void *);

	int device, major, minor, driver, cublas_version;
	char name[128];
	handle context, stream, module, blas, dnn;
	rc_address blas_room;
	handle *kernels;
	const char *const *kernel_names;
	int kernel_count;
	char failed[256];
};

int rc_current(rc *c);
int rc_driver_failed(rc *c, const char *call, int code);

#endif
