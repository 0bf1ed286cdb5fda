#include "marker.h"

#include <vector>

#include <opencv2/aruco.hpp>
#include <opencv2/aruco/charuco.hpp>
#include <opencv2/calib3d.hpp>
#include <opencv2/imgproc.hpp>

#include "guard.hpp"

namespace {

cv::Ptr<cv::aruco::DetectorParameters> params() {
	cv::Ptr<cv::aruco::DetectorParameters> p = cv::aruco::DetectorParameters::create();
	p->cornerRefinementMethod = cv::aruco::CORNER_REFINE_SUBPIX;
	p->cornerRefinementWinSize = 4;
	return p;
}

cv::Ptr<cv::aruco::CharucoBoard> board(const vision_board *b) {
	return cv::aruco::CharucoBoard::create(b->columns, b->rows, b->square, b->marker,
	                                       cv::aruco::getPredefinedDictionary(b->dictionary));
}

cv::Mat image(const unsigned char *bgr, int w, int h) {
	return cv::Mat(h, w, CV_8UC3, const_cast<unsigned char *>(bgr));
}

cv::Mat intrinsics(const double *k) {
	return (cv::Mat_<double>(3, 3) << k[0], 0, k[2], 0, k[1], k[3], 0, 0, 1);
}

} // namespace

int vision_markers(const unsigned char *bgr, int w, int h, int dictionary, int *ids, float *corners, int max, int *n,
                   char *msg, size_t len) {
	return guarded(msg, len, [&] {
		std::vector<std::vector<cv::Point2f>> found;
		std::vector<int> names;
		cv::aruco::detectMarkers(image(bgr, w, h), cv::aruco::getPredefinedDictionary(dictionary), found, names, params());
		*n = std::min<int>(max, names.size());
		for (int i = 0; i < *n; i++) {
			ids[i] = names[i];
			for (int k = 0; k < 4; k++) corners[8 * i + 2 * k] = found[i][k].x, corners[8 * i + 2 * k + 1] = found[i][k].y;
		}
		return 0;
	});
}

int vision_marker_draw(int dictionary, int id, int side, unsigned char *grey, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		cv::Ptr<cv::aruco::Dictionary> d = cv::aruco::getPredefinedDictionary(dictionary);
		if (id < 0 || id >= d->bytesList.rows) return fail(msg, len, "the dictionary has no marker of that number");
		cv::Mat out;
		cv::aruco::drawMarker(d, id, side, out);
		out.copyTo(cv::Mat(side, side, CV_8U, grey));
		return 0;
	});
}

int vision_board_find(const unsigned char *bgr, int w, int h, const vision_board *b, int *ids, float *corners, int max,
                      int *n, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		*n = 0;
		std::vector<std::vector<cv::Point2f>> found;
		std::vector<int> names;
		cv::Mat img = image(bgr, w, h);
		cv::aruco::detectMarkers(img, cv::aruco::getPredefinedDictionary(b->dictionary), found, names, params());
		if (names.empty()) return 0;
		std::vector<cv::Point2f> at;
		std::vector<int> which;
		cv::aruco::interpolateCornersCharuco(found, names, img, board(b), at, which);
		if (which.empty()) return 0;
		// OpenCV 4.6 leaves its corners half a pixel off; the saddle points between
		// four squares are found to hundredths, in windows well inside the squares.
		float side = 1e9;
		for (const std::vector<cv::Point2f> &m : found)
			for (int k = 0; k < 4; k++) side = std::min<float>(side, cv::norm(m[k] - m[(k + 1) % 4]));
		const int win = std::max(2, std::min(5, static_cast<int>(side * (b->square / b->marker) / 4)));
		cv::Mat grey;
		cv::cvtColor(img, grey, cv::COLOR_BGR2GRAY);
		cv::cornerSubPix(grey, at, cv::Size(win, win), cv::Size(-1, -1),
		                 cv::TermCriteria(cv::TermCriteria::COUNT + cv::TermCriteria::EPS, 50, 0.001));
		*n = std::min<int>(max, which.size());
		for (int i = 0; i < *n; i++) ids[i] = which[i], corners[2 * i] = at[i].x, corners[2 * i + 1] = at[i].y;
		return 0;
	});
}

int vision_board_draw(const vision_board *b, int w, int h, unsigned char *grey, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		cv::Mat out;
		board(b)->draw(cv::Size(w, h), out);
		out.copyTo(cv::Mat(h, w, CV_8U, grey));
		return 0;
	});
}

int vision_board_corners(const vision_board *b, float *xyz, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		const cv::Ptr<cv::aruco::CharucoBoard> made = board(b);
		for (const cv::Point3f &p : made->chessboardCorners) *xyz++ = p.x, *xyz++ = p.y, *xyz++ = p.z;
		return 0;
	});
}

int vision_calibrate(const float *places, const float *pixels, const int *counts, int views, int w, int h, int guess,
                     int lens, double *k, double *d, double *turn, double *shift, double *rms, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		std::vector<std::vector<cv::Point3f>> object;
		std::vector<std::vector<cv::Point2f>> seen;
		for (int v = 0; v < views; v++) {
			object.emplace_back();
			seen.emplace_back();
			for (int i = 0; i < counts[v]; i++, places += 3, pixels += 2) {
				object.back().emplace_back(places[0], places[1], places[2]);
				seen.back().emplace_back(pixels[0], pixels[1]);
			}
		}
		int flags = guess ? cv::CALIB_USE_INTRINSIC_GUESS : 0;
		if (lens < 1) flags |= cv::CALIB_FIX_PRINCIPAL_POINT | cv::CALIB_FIX_ASPECT_RATIO | cv::CALIB_FIX_K1 | cv::CALIB_FIX_K2;
		if (lens < 2) flags |= cv::CALIB_ZERO_TANGENT_DIST | cv::CALIB_FIX_K3;
		cv::Mat kk = intrinsics(k), dd(1, 5, CV_64F, d);
		std::vector<cv::Mat> r, t;
		cv::Mat dist = dd.clone();
		*rms = cv::calibrateCamera(object, seen, cv::Size(w, h), kk, dist, r, t, flags,
		                           cv::TermCriteria(cv::TermCriteria::COUNT + cv::TermCriteria::EPS, 100, 1e-10));
		k[0] = kk.at<double>(0, 0), k[1] = kk.at<double>(1, 1), k[2] = kk.at<double>(0, 2), k[3] = kk.at<double>(1, 2);
		for (int i = 0; i < 5; i++) d[i] = dist.at<double>(i);
		for (int v = 0; v < views; v++)
			for (int i = 0; i < 3; i++) turn[3 * v + i] = r[v].at<double>(i), shift[3 * v + i] = t[v].at<double>(i);
		return 0;
	});
}

int vision_pose(const float *places, const float *pixels, int n, const double *k, const double *d, double *turn,
                double *shift, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		cv::Mat p(n, 1, CV_32FC3, const_cast<float *>(places)), q(n, 1, CV_32FC2, const_cast<float *>(pixels));
		cv::Mat dist(1, 5, CV_64F, const_cast<double *>(d)), r, t;
		// SQPnP (Terzakis and Lourakis 2020) takes planes and solids alike.
		if (!cv::solvePnP(p, q, intrinsics(k), dist, r, t, false, cv::SOLVEPNP_SQPNP)) return fail(msg, len, "no pose fits");
		cv::solvePnPRefineLM(p, q, intrinsics(k), dist, r, t);
		for (int i = 0; i < 3; i++) turn[i] = r.at<double>(i), shift[i] = t.at<double>(i);
		return 0;
	});
}

int vision_hand_eye(int n, const double *hand, const double *target, double *camera, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		std::vector<cv::Mat> ra, ta, rb, tb;
		for (int i = 0; i < n; i++, hand += 12, target += 12) {
			ra.push_back(cv::Mat(3, 3, CV_64F, const_cast<double *>(hand)).clone());
			ta.push_back(cv::Mat(3, 1, CV_64F, const_cast<double *>(hand + 9)).clone());
			rb.push_back(cv::Mat(3, 3, CV_64F, const_cast<double *>(target)).clone());
			tb.push_back(cv::Mat(3, 1, CV_64F, const_cast<double *>(target + 9)).clone());
		}
		cv::Mat r, t;
		cv::calibrateHandEye(ra, ta, rb, tb, r, t, cv::CALIB_HAND_EYE_PARK);
		for (int i = 0; i < 9; i++) camera[i] = r.at<double>(i / 3, i % 3);
		for (int i = 0; i < 3; i++) camera[9 + i] = t.at<double>(i);
		return 0;
	});
}
