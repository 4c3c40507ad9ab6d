/* heat2d - an explicit solver for the 2-D heat equation, as an ordinary CUDA Runtime program.
 *
 *   heat2d INPUT PREFIX
 *
 * INPUT: text, first line `nx ny steps alpha` (cells, cells, time steps, alpha*dt/h^2 < 0.25), then one hot disc per
 * line: `x y radius temperature` in cells. The rim is held at 0. Writes PREFIX.f32 (nx*ny floats, row by row) and
 * PREFIX.png. Checks itself: a sample of rows against the same arithmetic on the CPU for a short run, the maximum
 * principle and monotone loss of heat for the whole run. Where a ledger service is present its gate signs the result;
 * elsewhere the program says so and goes on.
 */
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>
#include <cuda_runtime.h>
#include "../../adapters/ledger/ledger.cuh"
#include "png.h"

#define CUDA(call) do { cudaError_t e_ = (call); if (e_ != cudaSuccess) { \
	fprintf(stderr, "heat2d: %s: %s\n", #call, cudaGetErrorString(e_)); exit(2); } } while (0)

constexpr int TX = 32, TY = 8;

__global__ void step(const float *in, float *out, int nx, int ny, float a)
{
	__shared__ float t[TY + 2][TX + 2];
	int x = blockIdx.x * TX + threadIdx.x, y = blockIdx.y * TY + threadIdx.y;
	int lx = threadIdx.x + 1, ly = threadIdx.y + 1;
	bool inside = x < nx && y < ny;
	float c = inside ? in[y * nx + x] : 0.f;

	t[ly][lx] = c;
	if (threadIdx.x == 0) t[ly][0] = inside && x > 0 ? in[y * nx + x - 1] : 0.f;
	if (threadIdx.x == TX - 1) t[ly][TX + 1] = inside && x + 1 < nx ? in[y * nx + x + 1] : 0.f;
	if (threadIdx.y == 0) t[0][lx] = inside && y > 0 ? in[(y - 1) * nx + x] : 0.f;
	if (threadIdx.y == TY - 1) t[TY + 1][lx] = inside && y + 1 < ny ? in[(y + 1) * nx + x] : 0.f;
	__syncthreads();
	if (!inside) return;
	if (x == 0 || y == 0 || x == nx - 1 || y == ny - 1) { out[y * nx + x] = 0.f; return; }
	out[y * nx + x] = c + a * (t[ly][lx - 1] + t[ly][lx + 1] + t[ly - 1][lx] + t[ly + 1][lx] - 4.f * c);
}

/* Total heat and hottest cell; one block per 1024 cells. */
__global__ void summary(const float *in, int n, double *heat, int *max_bits)
{
	__shared__ double sum[256];
	__shared__ float top[256];
	double s = 0;
	float m = 0;
	for (int i = blockIdx.x * 1024 + threadIdx.x; i < min(n, (int)(blockIdx.x + 1) * 1024); i += 256) {
		s += in[i];
		m = fmaxf(m, in[i]);
	}
	sum[threadIdx.x] = s;
	top[threadIdx.x] = m;
	for (int k = 128; k > 0; k >>= 1) {
		__syncthreads();
		if (threadIdx.x < k) {
			sum[threadIdx.x] += sum[threadIdx.x + k];
			top[threadIdx.x] = fmaxf(top[threadIdx.x], top[threadIdx.x + k]);
		}
	}
	if (threadIdx.x == 0) {
		atomicAdd(heat, sum[0]);
		atomicMax(max_bits, __float_as_int(top[0]));
	}
}

/* The protected service signs the field: its key never reaches this program. */
__global__ void sign(const float *field, unsigned bytes, unsigned char *tag, int *status)
{
	*status = ledger_sign(field, bytes, tag);
}

static void cpu_step(const std::vector<float> &in, std::vector<float> &out, int nx, int ny, float a)
{
	for (int y = 0; y < ny; y++) for (int x = 0; x < nx; x++) {
		int i = y * nx + x;
		if (x == 0 || y == 0 || x == nx - 1 || y == ny - 1) { out[i] = 0.f; continue; }
		out[i] = in[i] + a * (in[i - 1] + in[i + 1] + in[i - nx] + in[i + nx] - 4.f * in[i]);
	}
}

struct problem { int nx, ny, steps; float a; std::vector<float> field; };

static problem read_problem(const char *path)
{
	problem p;
	FILE *f = fopen(path, "r");
	if (!f || fscanf(f, "%d %d %d %f", &p.nx, &p.ny, &p.steps, &p.a) != 4 || p.nx < 3 || p.ny < 3 || p.nx > 16384 ||
	    p.ny > 16384 || p.steps < 1 || !(p.a > 0 && p.a < 0.25f)) {
		fprintf(stderr, "heat2d: %s: expected `nx ny steps alpha`, 3 <= nx,ny <= 16384, 0 < alpha < 0.25\n",
			path);
		exit(2);
	}
	p.field.assign((size_t)p.nx * p.ny, 0.f);
	float cx, cy, r, temp;
	while (fscanf(f, "%f %f %f %f", &cx, &cy, &r, &temp) == 4)
		for (int y = 1; y < p.ny - 1; y++) for (int x = 1; x < p.nx - 1; x++)
			if ((x - cx) * (x - cx) + (y - cy) * (y - cy) <= r * r) p.field[(size_t)y * p.nx + x] = temp;
	fclose(f);
	return p;
}

struct totals { double heat; float top; };

static totals summarize(const float *d, int n, double *d_heat, int *d_top)
{
	totals t;
	CUDA(cudaMemset(d_heat, 0, sizeof *d_heat));
	CUDA(cudaMemset(d_top, 0, sizeof *d_top));
	summary<<<(n + 1023) / 1024, 256>>>(d, n, d_heat, d_top);
	CUDA(cudaGetLastError());
	CUDA(cudaMemcpy(&t.heat, d_heat, sizeof t.heat, cudaMemcpyDeviceToHost));
	CUDA(cudaMemcpy(&t.top, d_top, sizeof t.top, cudaMemcpyDeviceToHost));
	return t;
}

static void write_field(const char *prefix, const problem &p, const std::vector<float> &field, float top)
{
	std::string raw = std::string(prefix) + ".f32", png = std::string(prefix) + ".png";
	FILE *f = fopen(raw.c_str(), "wb");
	if (!f || fwrite(field.data(), sizeof(float), field.size(), f) != field.size() || fclose(f)) {
		perror(raw.c_str());
		exit(2);
	}
	std::vector<unsigned char> rgb(field.size() * 3);
	for (size_t i = 0; i < field.size(); i++) {
		float v = top > 0 ? sqrtf(field[i] / top) : 0.f; /* square root: faint heat stays visible */
		rgb[3 * i] = (unsigned char)(255 * fminf(1.f, v * 1.8f));
		rgb[3 * i + 1] = (unsigned char)(255 * fminf(1.f, fmaxf(0.f, v * 2.f - .7f)));
		rgb[3 * i + 2] =
			(unsigned char)(255 * fmaxf(0.f, fminf(1.f, .25f + v * 1.5f) - fminf(1.f, v * 1.9f) * .8f));
	}
	if (!png_write_rgb(png.c_str(), rgb.data(), p.nx, p.ny)) { perror(png.c_str()); exit(2); }
}

int main(int argc, char **argv)
{
	if (argc != 3) { fprintf(stderr, "usage: heat2d INPUT PREFIX\n"); return 2; }
	problem p = read_problem(argv[1]);
	size_t n = p.field.size(), bytes = n * sizeof(float);
	const int check_steps = p.steps < 20 ? p.steps : 20;
	float *d[2];
	double *d_heat;
	int *d_top;
	CUDA(cudaMalloc(&d[0], bytes));
	CUDA(cudaMalloc(&d[1], bytes));
	CUDA(cudaMalloc(&d_heat, sizeof *d_heat));
	CUDA(cudaMalloc(&d_top, sizeof *d_top));
	CUDA(cudaMemcpy(d[0], p.field.data(), bytes, cudaMemcpyHostToDevice));
	totals start = summarize(d[0], (int)n, d_heat, d_top);

	dim3 block(TX, TY), grid((p.nx + TX - 1) / TX, (p.ny + TY - 1) / TY);
	std::vector<float> got(n), ref = p.field, tmp(n);
	cudaEvent_t t0, t1;
	CUDA(cudaEventCreate(&t0));
	CUDA(cudaEventCreate(&t1));
	CUDA(cudaEventRecord(t0));
	for (int s = 0; s < p.steps; s++) {
		step<<<grid, block>>>(d[s & 1], d[~s & 1], p.nx, p.ny, p.a);
		if (s + 1 != check_steps) continue;
		CUDA(cudaMemcpy(got.data(), d[~s & 1], bytes, cudaMemcpyDeviceToHost));
		for (int k = 0; k < check_steps; k++) { cpu_step(ref, tmp, p.nx, p.ny, p.a); ref.swap(tmp); }
		for (size_t i = 0; i < n; i++)
			if (!(fabsf(got[i] - ref[i]) <= 1e-4f * fmaxf(1.f, fabsf(ref[i])))) {
				fprintf(stderr, "heat2d: cell %zu after %d steps: %g, CPU %g\n", i, check_steps,
					got[i], ref[i]);
				return 1;
			}
	}
	CUDA(cudaEventRecord(t1));
	CUDA(cudaEventSynchronize(t1));
	float ms;
	CUDA(cudaEventElapsedTime(&ms, t0, t1));
	float *result = d[p.steps & 1];
	totals end = summarize(result, (int)n, d_heat, d_top);
	if (!(end.top <= start.top && end.heat <= start.heat * (1 + 1e-6) && end.heat > 0)) {
		fprintf(stderr, "heat2d: heat %g -> %g, hottest %g -> %g: impossible\n", start.heat, end.heat,
			start.top, end.top);
		return 1;
	}

	unsigned char *d_tag, tag[16];
	int *d_status, status;
	CUDA(cudaMalloc(&d_tag, sizeof tag));
	CUDA(cudaMalloc(&d_status, sizeof status));
	sign<<<1, 1>>>(result, (unsigned)(bytes < 4096 ? bytes : 4096), d_tag, d_status);
	CUDA(cudaMemcpy(&status, d_status, sizeof status, cudaMemcpyDeviceToHost));
	CUDA(cudaMemcpy(tag, d_tag, sizeof tag, cudaMemcpyDeviceToHost));
	CUDA(cudaMemcpy(got.data(), result, bytes, cudaMemcpyDeviceToHost));
	write_field(argv[2], p, got, end.top);

	printf("heat2d: %d x %d cells, %d steps, %.1f ms; heat %.6g -> %.6g, hottest %.4g -> %.4g\n", p.nx, p.ny,
	       p.steps, ms, start.heat, end.heat, start.top, end.top);
	if (status == LEDGER_ABSENT) {
		printf("heat2d: no ledger here, result not signed\n");
	} else if (status == 0) {
		printf("heat2d: signed by the ledger: ");
		for (unsigned char c : tag) printf("%02x", c);
		printf("\n");
	} else {
		fprintf(stderr, "heat2d: the ledger refused: %d\n", status);
		return 1;
	}
	for (void *q : { (void *)d[0], (void *)d[1], (void *)d_heat, (void *)d_top, (void *)d_tag, (void *)d_status })
		CUDA(cudaFree(q));
	printf("heat2d: ok\n");
	return 0;
}
