// How the shims turn C++ exceptions into messages.
#ifndef RAPPORT_VISION_GUARD_HPP
#define RAPPORT_VISION_GUARD_HPP

#include <cstdio>
#include <exception>

#include <opencv2/core.hpp>

static inline int fail(char *msg, size_t len, const char *what) {
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

#endif
