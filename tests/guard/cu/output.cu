/* printf, assert, trap, malloc and free. */
#include <cassert>
#include <cstdio>

__global__ void output(int *o, const char *s)
{
	char local[8] = { 'a', 'b', 0 };
	local[o[9] & 1] = 'z';
	printf("hello %d %s %f %s\n", o[0], "abc", 1.5, local);
	printf("plain\n");
	assert(o[1] != 3);
	if (o[2] == 9)
		__trap();
	if (o[2] == 10)
		__brkpt();
	int *p = (int *)malloc(16 + o[3]);
	p[0] = o[3];
	o[4] = p[0];
	free(p);
	printf("%*d %lld %c %%\n", o[7], o[5], (long long)o[6], 'x');
}

__global__ void objects(int **o, int n)
{
	o[threadIdx.x] = new int[n];
	delete[] o[n];
}
