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
	cv::Mat back, status, err, response;
	std::vector<std::vector<float>> skins; // how likely each bin is the thing's, 0..1
	std::vector<cv::Mat> masked;           // the newest image, as each skin sees it
	std::vector<bool> fresh;
};

// Colours are told by the shares of blue and red, which dimmer light leaves, in
// 32 bins each; dark pixels have none.
static const int kBins = 32;

static int bin(const unsigned char *p) {
	const int sum = p[0] + p[1] + p[2];
	if (sum < 40) return kBins * kBins;
	return (p[0] * kBins / (sum + 1)) * kBins + p[2] * kBins / (sum + 1);
}

// seen is the newest image as skin has it.
static const cv::Mat &seen(vision_flow *f, int skin) {
	if (skin < 0) return f->bgr;
	cv::Mat &m = f->masked.at(skin);
	if (f->fresh[skin]) return m;
	const std::vector<float> &likely = f->skins[skin];
	m.create(f->bgr.size(), CV_8UC3);
	for (int y = 0; y < m.rows; y++) {
		const unsigned char *from = f->bgr.ptr(y);
		unsigned char *to = m.ptr(y);
		for (int x = 0; x < m.cols; x++, from += 3, to += 3) {
			const float l = likely[bin(from)];
			for (int k = 0; k < 3; k++) to[k] = static_cast<unsigned char>(l * from[k]);
		}
	}
	f->fresh[skin] = true;
	return m;
}

int vision_flow_skin(vision_flow *f, const float *points, int n, float radius, int *skin, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		*skin = -1;
		cv::Mat mask = cv::Mat::zeros(f->bgr.size(), CV_8U);
		std::vector<cv::Point> all, hull;
		for (int i = 0; i < n; i++) all.push_back(cv::Point(cvRound(points[2 * i]), cvRound(points[2 * i + 1])));
		cv::convexHull(all, hull);
		if (hull.size() > 2 && cv::contourArea(hull) > 2 * radius * radius) {
			cv::fillConvexPoly(mask, hull, 255);
		} else {
			for (const cv::Point &p : all) cv::circle(mask, p, cvRound(radius), 255, cv::FILLED);
		}
		std::vector<float> in(kBins * kBins + 1), out(in.size());
		float ins = 0, outs = 0;
		for (int y = 0; y < mask.rows; y++)
			for (int x = 0; x < mask.cols; x++) {
				const int b = bin(f->bgr.ptr(y) + 3 * x);
				if (mask.at<unsigned char>(y, x)) in[b]++, ins++;
				else out[b]++, outs++;
			}
		if (ins == 0 || outs == 0) return 0;
		// Neighbouring bins count a little, as light changes.
		std::vector<float> soft(in.size());
		for (int i = 0; i < kBins; i++)
			for (int j = 0; j < kBins; j++) {
				float s = 0;
				for (int u = -1; u <= 1; u++)
					for (int v = -1; v <= 1; v++)
						if (i + u >= 0 && i + u < kBins && j + v >= 0 && j + v < kBins) s += in[(i + u) * kBins + j + v] * (u || v ? 0.25f : 1);
				soft[i * kBins + j] = s;
			}
		soft[kBins * kBins] = in[kBins * kBins];
		std::vector<float> likely(in.size());
		float own = 0, other = 0;
		for (size_t b = 0; b < in.size(); b++) {
			const float a = soft[b] / ins, c = out[b] / outs;
			likely[b] = a > 0 ? a / (a + 2 * c) : 0;
			own += likely[b] * in[b] / ins, other += likely[b] * c;
		}
		if (own < 0.5f || other > 0.15f) return 0;
		*skin = f->skins.size();
		f->skins.push_back(likely);
		f->masked.push_back(cv::Mat());
		f->fresh.push_back(false);
		return 0;
	});
}

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
		f->fresh.assign(f->fresh.size(), false);
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

int vision_flow_cut(vision_flow *f, int skin, float x, float y, int side, unsigned char *patch, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		cv::Mat out(side, side, CV_8UC3, patch);
		cv::getRectSubPix(seen(f, skin), cv::Size(side, side), cv::Point2f(x, y), out);
		return 0;
	});
}

// crest is where the parabola through three values at -1, 0 and 1 is highest.
static float crest(float a, float b, float c) {
	const float d = a - 2 * b + c;
	return d < 0 ? std::max(-0.5f, std::min(0.5f, 0.5f * (a - c) / d)) : 0;
}

int vision_flow_match(vision_flow *f, int skin, const unsigned char *patch, int side, float x, float y, int reach,
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
		cv::matchTemplate(seen(f, skin)(cv::Rect(x0, y0, x1 - x0, y1 - y0)), t, f->response, cv::TM_CCOEFF_NORMED);
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
