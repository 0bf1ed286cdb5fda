// A shim over OpenCV's video and imgproc modules that follows points from one
// image to the next, keeping its images and pyramids between calls: gocv
// copies the image and builds both pyramids again in every call.
#ifndef RAPPORT_VISION_TRACK_H
#define RAPPORT_VISION_TRACK_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vision_flow vision_flow;

// levels above the image; window is the odd side of the square compared.
vision_flow *vision_flow_new(int window, int levels);
void vision_flow_free(vision_flow *f);

// Each call returns 0, or fills msg (of len bytes, terminated) and returns -1.

// Takes the next image (h,w,3) BGR8. The one before stays for follow.
int vision_flow_next(vision_flow *f, const unsigned char *bgr, int w, int h, char *msg, size_t len);

// Follows n points (x,y pairs, pixels) from the image before into the newest.
// to comes as a guess. back is how far each lands from where it came from when
// followed back, or -1 where it was not found.
int vision_flow_follow(vision_flow *f, const float *from, float *to, float *back, int n, char *msg, size_t len);

// Learns the colours of a thing in the newest image: of the pixels in the hull
// of n points (x,y pairs), or within radius of one where they span no area,
// against those of the rest of the image. *skin is the number by which cut and
// match then see all else as black, or -1 where the colours tell nothing.
int vision_flow_skin(vision_flow *f, const float *points, int n, float radius, int *skin, char *msg, size_t len);

// Cuts a square of side pixels around (x,y) of the newest image, between
// pixels by linear interpolation, beyond the edge as the edge is.
int vision_flow_cut(vision_flow *f, int skin, float x, float y, int side, unsigned char *patch, char *msg, size_t len);

// Finds the patch (side,side,3) in the newest image around (x,y), its centre
// within reach pixels of there: where, and the normalised correlation (-1..1).
// rival is the best correlation farther than half a side from there, or -1.
int vision_flow_match(vision_flow *f, int skin, const unsigned char *patch, int side, float x, float y, int reach,
                      float *atx, float *aty, float *score, float *rival, char *msg, size_t len);

#ifdef __cplusplus
}
#endif

#endif
