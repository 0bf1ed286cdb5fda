// A shim over libjpeg-turbo that decodes into memory of the caller, for frames
// that are decoded again and again. gocv copies both ways.
#ifndef RAPPORT_VISION_JPEG_H
#define RAPPORT_VISION_JPEG_H

#include <stddef.h>

// vision_jpeg decodes size bytes into w*h BGR pixels at dst. It returns 0, or
// fills msg (of len bytes, terminated; may be NULL) and returns -1. What
// differs from w by h is refused before a pixel is decoded.
int vision_jpeg(const unsigned char *data, size_t size, unsigned char *dst, int w, int h, char *msg, size_t len);

#endif
