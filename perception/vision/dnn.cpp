#include "dnn.h"

#include <opencv2/core.hpp>
#include <opencv2/dnn.hpp>

#include "guard.hpp"

struct vision_net {
	cv::dnn::Net net;
	cv::Mat out;
};

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
