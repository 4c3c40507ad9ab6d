/* png.h - writes an 8-bit RGB PNG with stored (uncompressed) deflate blocks: no library needed. */
#ifndef EXAMPLES_PNG_H
#define EXAMPLES_PNG_H
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

static inline uint32_t png_crc(const unsigned char *p, size_t n)
{
	uint32_t c = ~0u;
	for (size_t i = 0; i < n; i++) {
		c ^= p[i];
		for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
	}
	return ~c;
}

static inline void png_u32(std::vector<unsigned char> &v, uint32_t x)
{
	for (int s = 24; s >= 0; s -= 8) v.push_back((unsigned char)(x >> s));
}

static inline bool png_chunk(FILE *f, const char *type, const std::vector<unsigned char> &body)
{
	std::vector<unsigned char> c;
	png_u32(c, (uint32_t)body.size());
	c.insert(c.end(), type, type + 4);
	c.insert(c.end(), body.begin(), body.end());
	png_u32(c, png_crc(c.data() + 4, c.size() - 4));
	return fwrite(c.data(), 1, c.size(), f) == c.size();
}

static inline bool png_write_rgb(const char *path, const unsigned char *rgb, int w, int h)
{
	std::vector<unsigned char> raw, z = { 0x78, 1 }, head;
	for (int y = 0; y < h; y++) {
		raw.push_back(0);
		raw.insert(raw.end(), rgb + (size_t)y * w * 3, rgb + (size_t)(y + 1) * w * 3);
	}
	uint32_t a = 1, b = 0;
	for (unsigned char c : raw) { a = (a + c) % 65521; b = (b + a) % 65521; }
	for (size_t i = 0; i < raw.size(); i += 65535) {
		size_t n = raw.size() - i < 65535 ? raw.size() - i : 65535;
		z.push_back(i + n == raw.size());
		z.push_back(n & 255); z.push_back(n >> 8); z.push_back(~n & 255); z.push_back((~n >> 8) & 255);
		z.insert(z.end(), raw.begin() + i, raw.begin() + i + n);
	}
	png_u32(z, b << 16 | a);
	png_u32(head, w);
	png_u32(head, h);
	for (unsigned char c : { 8, 2, 0, 0, 0 }) head.push_back(c);
	FILE *f = fopen(path, "wb");
	if (!f) return false;
	static const unsigned char sig[8] = { 0x89, 'P', 'N', 'G', 13, 10, 26, 10 };
	bool ok = fwrite(sig, 1, 8, f) == 8 && png_chunk(f, "IHDR", head) && png_chunk(f, "IDAT", z) &&
		  png_chunk(f, "IEND", {});
	return fclose(f) == 0 && ok;
}
#endif
