/* Arithmetic of every type; slow paths of libdevice with their local tables. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

__global__ void doubles(double *o)
{
	o[0] = sqrt(o[1]) + sin(o[2]) + exp(o[5]) + pow(o[3], o[4]) + tgamma(o[6]) + o[7] / o[8] + fmod(o[9],
		o[10]) + erf(o[11]);
}

__global__ void floats(float *o)
{
	o[0] = sinf(o[1]) + __sinf(o[2]) + expf(o[3]) + logf(o[4]) + rsqrtf(o[5]) + tanhf(o[6]) + __fdividef(o[7],
		o[8]) + copysignf(o[9], o[10]);
	o[1] = __fmaf_rz(o[1], o[2], o[3]) + __frcp_rn(o[4]) + rintf(o[5]) + floorf(o[6]) + fminf(o[7], o[8]);
}

__global__ void halves(__half2 *h, __nv_bfloat162 *b, __half *s)
{
	h[0] = __hfma2(h[1], h[2], h[3]);
	b[0] = __hmul2(b[1], b[2]);
	s[0] = __hadd(s[1], __float2half(2.5f));
	s[1] = hexp(s[2]);
	atomicAdd(h + 4, h[5]);
}

__global__ void integers(long long *l, unsigned *u, int *i)
{
	l[0] = l[1] / l[2] + l[3] % l[4] + __mul64hi(l[5], l[6]) + __clzll(l[7]);
	u[0] = u[1] / u[2] + __umulhi(u[3], u[4]) + __dp4a(u[5], u[6], u[7]) + __vabsdiffu4(u[8], u[9]) + __usad(u[1],
		u[2], u[3]);
	i[0] = i[1] / 7 + i[2] % 10 + abs(i[3]) + max(i[4],
		i[5]) + (i[6] >> i[7]) + __float2int_rn(i[8]) + (int)(short)i[9];
	__uint128_t w = (__uint128_t)u[1] * l[1] * l[2];
	l[8] = (long long)(w >> 64);
}
