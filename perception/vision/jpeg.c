#include "jpeg.h"

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

struct trouble {
	struct jpeg_error_mgr mgr; // first, so that libjpeg's pointer is ours
	jmp_buf out;
	char text[JMSG_LENGTH_MAX];
};

static void leave(j_common_ptr c) {
	struct trouble *t = (struct trouble *)c->err;
	c->err->format_message(c, t->text);
	longjmp(t->out, 1);
}

// A warning says that pixels were made up, which is an error here.
static void warn(j_common_ptr c, int level) {
	if (level < 0) leave(c);
}

int vision_jpeg(const unsigned char *data, size_t size, unsigned char *dst, int w, int h, char *msg, size_t len) {
	struct trouble t;
	struct jpeg_decompress_struct c;
	c.err = jpeg_std_error(&t.mgr);
	t.mgr.error_exit = leave;
	t.mgr.emit_message = warn;
	if (setjmp(t.out)) {
		if (msg) snprintf(msg, len, "%s", t.text);
		jpeg_destroy_decompress(&c);
		return -1;
	}
	jpeg_create_decompress(&c);
	jpeg_mem_src(&c, data, size);
	jpeg_read_header(&c, TRUE);
	if (c.image_width != (unsigned)w || c.image_height != (unsigned)h) {
		snprintf(t.text, sizeof t.text, "it is %ux%u", c.image_width, c.image_height);
		longjmp(t.out, 1);
	}
	c.out_color_space = JCS_EXT_BGR;
	jpeg_start_decompress(&c);
	while (c.output_scanline < c.output_height) {
		JSAMPROW row = dst + (size_t)3 * w * c.output_scanline;
		jpeg_read_scanlines(&c, &row, 1);
	}
	jpeg_finish_decompress(&c);
	jpeg_destroy_decompress(&c);
	return 0;
}
