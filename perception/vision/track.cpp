#include "track.h"

#include <cmath>
#include <vector>

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/video/tracking.hpp>

#include "guard.hpp"

struct vision_flow {
	cv::Size window;
	int levels;
	cv::Mat bgr, grey;
	std::vector<cv::Mat> before, now;
	cv::Mat back, status, err, response, view;
};

vision_flow *vision_flow_new(int window, int levels) {
	vision_flow *f = new (std::nothrow) vision_flow;
	if (f) f->window = cv::Size(window, window), f->levels = levels;
	return f;
}

void vision_flow_free(vision_flow *f) { delete f; }

int vision_flow_next(vision_flow *f, const unsigned char *bgr, int w, int h, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		// The image is copied: Go's memory is the caller's again after this.
		cv::Mat(h, w, CV_8UC3, const_cast<unsigned char *>(bgr)).copyTo(f->bgr);
		cv::cvtColor(f->bgr, f->grey, cv::COLOR_BGR2GRAY);
		std::swap(f->before, f->now);
		cv::buildOpticalFlowPyramid(f->grey, f->now, f->window, f->levels);
		return 0;
	});
}

int vision_flow_follow(vision_flow *f, const float *from, float *to, float *back, int n, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		if (f->before.empty() || f->now.empty()) return fail(msg, len, "follow before two images");
		if (f->before[0].size() != f->now[0].size()) return fail(msg, len, "the image has changed its size");
		const cv::TermCriteria stop(cv::TermCriteria::COUNT + cv::TermCriteria::EPS, 20, 0.01);
		cv::Mat a(n, 1, CV_32FC2, const_cast<float *>(from)), b(n, 1, CV_32FC2, to);
		cv::calcOpticalFlowPyrLK(f->before, f->now, a, b, f->status, f->err, f->window, f->levels, stop,
		                         cv::OPTFLOW_USE_INITIAL_FLOW, 1e-4);
		std::vector<unsigned char> found(f->status.begin<unsigned char>(), f->status.end<unsigned char>());
		a.copyTo(f->back);
		cv::calcOpticalFlowPyrLK(f->now, f->before, b, f->back, f->status, f->err, f->window, f->levels, stop,
		                         cv::OPTFLOW_USE_INITIAL_FLOW, 1e-4);
		for (int i = 0; i < n; i++) {
			const cv::Point2f d = f->back.at<cv::Point2f>(i) - a.at<cv::Point2f>(i);
			back[i] = found[i] && f->status.at<unsigned char>(i) ? std::hypot(d.x, d.y) : -1;
		}
		return 0;
	});
}

int vision_flow_cut(vision_flow *f, float x, float y, int side, unsigned char *patch, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		cv::Mat out(side, side, CV_8UC3, patch);
		cv::getRectSubPix(f->bgr, cv::Size(side, side), cv::Point2f(x, y), out);
		return 0;
	});
}

// crest is where the parabola through three values at -1, 0 and 1 is highest.
static float crest(float a, float b, float c) {
	const float d = a - 2 * b + c;
	return d < 0 ? std::max(-0.5f, std::min(0.5f, 0.5f * (a - c) / d)) : 0;
}

int vision_flow_match(vision_flow *f, const unsigned char *patch, int side, float x, float y, int reach,
                      float *atx, float *aty, float *score, float *rival, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		*score = *rival = -1;
		// One pixel more all round, so that the best has neighbours.
		const int half = side / 2, r = reach + 1;
		const int cx = cvRound(x), cy = cvRound(y);
		const int x0 = std::max(0, cx - r - half), y0 = std::max(0, cy - r - half);
		const int x1 = std::min(f->bgr.cols, cx + r + half + 1), y1 = std::min(f->bgr.rows, cy + r + half + 1);
		if (x1 - x0 < side || y1 - y0 < side) return 0;
		const cv::Mat t(side, side, CV_8UC3, const_cast<unsigned char *>(patch));
		cv::matchTemplate(f->bgr(cv::Rect(x0, y0, x1 - x0, y1 - y0)), t, f->response, cv::TM_CCOEFF_NORMED);
		cv::Mat &m = f->response;
		// A patch or a ground without contrast has no correlation.
		for (int i = 0; i < m.rows; i++)
			for (int j = 0; j < m.cols; j++) {
				float &v = m.at<float>(i, j);
				if (!(v >= -1.001f && v <= 1.001f)) v = -1;
			}
		double best;
		cv::Point at;
		cv::minMaxLoc(m, nullptr, &best, nullptr, &at);
		float dx = 0, dy = 0;
		if (at.x > 0 && at.x < m.cols - 1) dx = crest(m.at<float>(at.y, at.x - 1), m.at<float>(at), m.at<float>(at.y, at.x + 1));
		if (at.y > 0 && at.y < m.rows - 1) dy = crest(m.at<float>(at.y - 1, at.x), m.at<float>(at), m.at<float>(at.y + 1, at.x));
		*atx = x0 + at.x + half + dx, *aty = y0 + at.y + half + dy, *score = best;
		const int away = std::max(2, half);
		for (int i = 0; i < m.rows; i++)
			for (int j = 0; j < m.cols; j++)
				if (std::abs(i - at.y) > away || std::abs(j - at.x) > away) *rival = std::max(*rival, m.at<float>(i, j));
		return 0;
	});
}
