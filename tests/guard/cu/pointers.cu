/* Function pointers and virtual functions: their addresses become numbers, calls become choices. */
typedef int (*operation)(int, int);
__device__ int add(int a, int b) { return a + b; }
__device__ int mul(int a, int b) { return a * b; }
__device__ int odd(int a, int b) { return a & 1 ? b : a - b; }
__device__ operation table[3] = { add, mul, odd };

struct shape {
	__device__ virtual int area(int k) { return k; }
	__device__ virtual ~shape() {}
};
struct square : shape {
	int side;
	__device__ square(int s) : side(s) {}
	__device__ int area(int k) override { return side * side + k; }
};

__global__ void pointers(int *o, int n)
{
	for (int i = 0; i < n; i++)
		o[i] = table[(o[i + 64] + i) % 3](o[i], i);
	operation f = n & 1 ? add : odd;
	o[n] = f(o[n + 1], 5);
}

__global__ void virtuals(int *o, int n)
{
	shape a;
	square b(n + 1);
	shape *p = o[0] & 1 ? &a : &b;
	shape *q = o[0] & 1 ? &b : &a;
	o[1] = p->area(n);
	o[2] = q->area(n + 1);
}
