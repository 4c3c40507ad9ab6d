/* Texture objects: handles are indices into the worker's table. */
__global__ void sample(cudaTextureObject_t t, float *o, float x, float y)
{
	o[0] = tex2D<float>(t, x, y) + tex1Dfetch<float>(t, (int)x);
	float4 v = tex3D<float4>(t, x, y, 0.5f);
	o[1] = v.x + v.w + tex2DLod<float>(t, x, y, 1.0f) + tex2DLayered<float>(t, x, y, 2);
}
