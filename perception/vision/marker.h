// A shim over OpenCV's aruco and calib3d modules, which gocv 0.31 has not or
// has in part.
#ifndef RAPPORT_VISION_MARKER_H
#define RAPPORT_VISION_MARKER_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// columns by rows squares of side square, m, with markers of side marker, m.
typedef struct {
	int dictionary; // OpenCV's number
	int columns, rows;
	double square, marker;
} vision_board;

// Each call returns 0, or fills msg (of len bytes, terminated) and returns -1.

// Finds markers in an image (h,w,3) BGR8: up to max ids, and four corners
// (x,y pairs, clockwise from the marker's top left) each.
int vision_markers(const unsigned char *bgr, int w, int h, int dictionary, int *ids, float *corners, int max, int *n,
                   char *msg, size_t len);

// Draws a marker of side pixels into grey (side,side).
int vision_marker_draw(int dictionary, int id, int side, unsigned char *grey, char *msg, size_t len);

// Finds the inner corners of a board: up to max ids and places.
int vision_board_find(const unsigned char *bgr, int w, int h, const vision_board *b, int *ids, float *corners, int max,
                      int *n, char *msg, size_t len);

// Draws a board into grey (h,w), which it fills.
int vision_board_draw(const vision_board *b, int w, int h, unsigned char *grey, char *msg, size_t len);

// Where the (columns-1)*(rows-1) inner corners are on the board, m, x,y,z each.
int vision_board_corners(const vision_board *b, float *xyz, char *msg, size_t len);

// Calibrates from views of counts[i] points each, places (x,y,z) and pixels
// (x,y) one after the other. k (fx,fy,cx,cy) and d (k1,k2,p1,p2,k3) come as a
// guess where guess is not 0. lens is how much of the lens is sought: 0 its one
// focal length, 1 also k1 and k2, 2 everything. turn and shift are, of each view, the places' pose in the
// camera: a rotation vector and a translation. rms is in pixels.
int vision_calibrate(const float *places, const float *pixels, const int *counts, int views, int w, int h, int guess,
                     int lens, double *k, double *d, double *turn, double *shift, double *rms, char *msg, size_t len);

// Finds the pose (turn, shift) in the camera of n places from their pixels.
int vision_pose(const float *places, const float *pixels, int n, const double *k, const double *d, double *turn,
                double *shift, char *msg, size_t len);

// Solves A_i X = X B_i for the camera X in the hand (Park and Martin 1994), from n poses of the
// hand (rotation by rows, translation) and of the target in the camera.
int vision_hand_eye(int n, const double *hand, const double *target, double *camera, char *msg, size_t len);

#ifdef __cplusplus
}
#endif

#endif
