/* Surface objects: handles are indices into the worker's table of surfaces. */
__global__ void surfaces(cudaSurfaceObject_t s, int *o, int x, int y, int z)
{
	o[0] = surf1Dread<int>(s, x * 4) + surf2Dread<unsigned char>(s, x, y) + surf3Dread<short>(s, x * 2, y, z);
	o[1] = surf1DLayeredread<int2>(s, x * 8, z).y + surf2DLayeredread<int4>(s, 16, 0, z).w;
	o[2] = surf2Dread<int>(s, x * 4, y, cudaBoundaryModeClamp) + surf2Dread<int>(s, x * 4, y, cudaBoundaryModeZero);
	surf1Dwrite((unsigned char)x, s, x);
	surf2Dwrite(make_int4(x, y, z, 1), s, x * 16, y);
	if (x > y)
		surf3Dwrite(make_longlong2(x, y), s, x * 16, y, z, cudaBoundaryModeClamp);
	surf2DLayeredwrite(make_uchar4(1, 2, 3, 4), s, x * 4, y, z);
	surfCubemapLayeredwrite(2.0f, s, x * 4, y, z);
}
