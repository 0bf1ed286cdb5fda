// A shim over cv::dnn that turns C++ exceptions into messages. gocv lets them
// escape into Go, which ends the process on any corrupt file.
#ifndef RAPPORT_VISION_DNN_H
#define RAPPORT_VISION_DNN_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vision_net vision_net;

// Each call returns 0, or fills msg (of len bytes, terminated) and returns -1.
int vision_net_read(vision_net **net, const void *onnx, size_t size, char *msg, size_t len);

// Runs n images of c*h*w floats. The result stays the net's until the next
// call: *data holds *rows rows of *cols floats.
int vision_net_forward(vision_net *net, const float *blob, int n, int c, int h, int w, const char *output,
                       const float **data, size_t *rows, size_t *cols, char *msg, size_t len);

void vision_net_free(vision_net *net);

void vision_threads(int n);

#ifdef __cplusplus
}
#endif

#endif
