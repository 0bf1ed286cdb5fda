#include "dnn.h"

#include <cstdio>
#include <exception>

#include <opencv2/core.hpp>
#include <opencv2/dnn.hpp>

struct vision_net {
	cv::dnn::Net net;
	cv::Mat out;
};

static int fail(char *msg, size_t len, const char *what) {
	std::snprintf(msg, len, "%s", what);
	for (char *p = msg; *p; p++)
		if (*p == '\n') *p = ' ';
	return -1;
}

// guarded calls f and turns whatever it throws into a message.
template <class F> static int guarded(char *msg, size_t len, F f) {
	try {
		return f();
	} catch (const cv::Exception &e) {
		return fail(msg, len, e.err.empty() ? e.what() : e.err.c_str());
	} catch (const std::exception &e) {
		return fail(msg, len, e.what());
	} catch (...) {
		return fail(msg, len, "unknown C++ exception");
	}
}

int vision_net_read(vision_net **net, const void *onnx, size_t size, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		cv::dnn::Net read = cv::dnn::readNetFromONNX(static_cast<const char *>(onnx), size);
		if (read.empty()) return fail(msg, len, "the graph has no layers");
		read.setPreferableBackend(cv::dnn::DNN_BACKEND_OPENCV);
		read.setPreferableTarget(cv::dnn::DNN_TARGET_CPU);
		*net = new vision_net{read, cv::Mat()};
		return 0;
	});
}

int vision_net_forward(vision_net *net, const float *blob, int n, int c, int h, int w, const char *output,
                       const float **data, size_t *rows, size_t *cols, char *msg, size_t len) {
	return guarded(msg, len, [&] {
		const int shape[] = {n, c, h, w};
		// setInput copies, so the header may point at the caller's memory.
		net->net.setInput(cv::Mat(4, shape, CV_32F, const_cast<float *>(blob)));
		net->out = net->net.forward(output).clone();
		if (net->out.empty() || net->out.type() != CV_32F) return fail(msg, len, "the output is not float32");
		*rows = net->out.size[0];
		*cols = net->out.total() / net->out.size[0];
		*data = net->out.ptr<float>();
		return 0;
	});
}

void vision_net_free(vision_net *net) { delete net; }

void vision_threads(int n) { cv::setNumThreads(n); }
