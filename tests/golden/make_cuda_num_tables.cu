// Writes tests/golden/num_tables_cuda.txt with the host conversions of CUDA's own headers; no GPU is needed:
//   nvcc -o /tmp/t make_cuda_num_tables.cu && /tmp/t > num_tables_cuda.txt
// Each line: <conversion> <f32 bits>:<code> ..., over special values, all midpoints of the format and their neighbours.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp4.h>
#include <cuda_fp6.h>
#include <cuda_fp8.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

static uint32_t bits_of(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}
static float float_of(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}

static std::vector<float> inputs(std::vector<float> const& magnitudes) {
  std::vector<float> out = {0.0f,
                            INFINITY,
                            3.4028234663852886e38f,
                            1.401298464324817e-45f,
                            1.1754943508222875e-38f,
                            5.877471754111438e-39f};
  for (size_t i = 0; i + 1 < magnitudes.size(); ++i) {
    float const middle = (magnitudes[i] + magnitudes[i + 1]) / 2;
    for (float f : {magnitudes[i], std::nextafter(middle, 0.0f), middle, std::nextafter(middle, INFINITY)})
      out.push_back(f);
  }
  float const top = magnitudes.back(), step = top - magnitudes[magnitudes.size() - 2];
  for (float f :
       {top, top + step / 4, top + step / 2, std::nextafter(top + step / 2, INFINITY), top + step, top * 4})
    out.push_back(f);
  size_t const count = out.size();
  for (size_t i = 0; i < count; ++i) out.push_back(-out[i]);
  for (uint32_t nan : {0x7fc00000u, 0x7f800001u, 0xffffffffu}) out.push_back(float_of(nan));
  return out;
}

template <class F>
static void line(char const* name, std::vector<float> const& in, F&& convert) {
  printf("%s", name);
  for (float f : in) printf(" %08x:%x", bits_of(f), static_cast<unsigned>(convert(f)));
  printf("\n");
}

template <class Decode>
static std::vector<float> magnitudes(int count, Decode&& decode) {
  std::vector<float> out;
  for (int code = 0; code < count; ++code) out.push_back(decode(code));
  return out;
}

static float half_value(__half_raw raw) { return __half2float(__half(raw)); }

int main() {
  auto const e4m3 = magnitudes(0x7f, [](int c) { return half_value(__nv_cvt_fp8_to_halfraw(c, __NV_E4M3)); });
  auto const e5m2 = magnitudes(0x7c, [](int c) { return half_value(__nv_cvt_fp8_to_halfraw(c, __NV_E5M2)); });
  auto const e3m2 = magnitudes(0x20, [](int c) { return half_value(__nv_cvt_fp6_to_halfraw(c, __NV_E3M2)); });
  auto const e2m3 = magnitudes(0x20, [](int c) { return half_value(__nv_cvt_fp6_to_halfraw(c, __NV_E2M3)); });
  auto const e2m1 = magnitudes(0x8, [](int c) { return half_value(__nv_cvt_fp4_to_halfraw(c, __NV_E2M1)); });
  line("e4m3.satfinite", inputs(e4m3),
       [](float f) { return __nv_cvt_float_to_fp8(f, __NV_SATFINITE, __NV_E4M3); });
  line("e4m3", inputs(e4m3), [](float f) { return __nv_cvt_float_to_fp8(f, __NV_NOSAT, __NV_E4M3); });
  line("e5m2.satfinite", inputs(e5m2),
       [](float f) { return __nv_cvt_float_to_fp8(f, __NV_SATFINITE, __NV_E5M2); });
  line("e5m2", inputs(e5m2), [](float f) { return __nv_cvt_float_to_fp8(f, __NV_NOSAT, __NV_E5M2); });
  line("e3m2.satfinite", inputs(e3m2),
       [](float f) { return __nv_cvt_float_to_fp6(f, __NV_E3M2, cudaRoundNearest); });
  line("e2m3.satfinite", inputs(e2m3),
       [](float f) { return __nv_cvt_float_to_fp6(f, __NV_E2M3, cudaRoundNearest); });
  line("e2m1.satfinite", inputs(e2m1),
       [](float f) { return __nv_cvt_float_to_fp4(f, __NV_E2M1, cudaRoundNearest); });

  std::vector<float> powers;
  for (int e = -149; e <= 127; ++e) powers.push_back(std::ldexp(1.0f, e));
  auto scales = inputs(powers);
  scales.erase(scales.begin() + scales.size() / 2 + 60,
               scales.end() - 3);  // the sign is ignored: a few negative ones do
  line("ue8m0.rz.satfinite", scales,
       [](float f) { return __nv_cvt_float_to_e8m0(f, __NV_SATFINITE, cudaRoundZero); });
  line("ue8m0.rp.satfinite", scales,
       [](float f) { return __nv_cvt_float_to_e8m0(f, __NV_SATFINITE, cudaRoundPosInf); });
  line("ue8m0.rz", scales, [](float f) { return __nv_cvt_float_to_e8m0(f, __NV_NOSAT, cudaRoundZero); });
  line("ue8m0.rp", scales, [](float f) { return __nv_cvt_float_to_e8m0(f, __NV_NOSAT, cudaRoundPosInf); });

  std::mt19937 random(7);
  std::vector<float> wide(scales.end() - 63, scales.end());
  for (int i = 0; i < 300; ++i) {
    uint32_t const exponent = 127 - 30 + random() % 50, tail = random() % 3;
    uint32_t const fraction = random() & 0x7fffff;
    // a third each: anything, a tie of f16, a tie of bf16
    uint32_t const shaped = tail == 0   ? fraction
                            : tail == 1 ? (fraction & 0x7fe000) | 0x1000
                                        : (fraction & 0x7f0000) | 0x8000;
    wide.push_back(float_of((random() & 1) << 31 | exponent << 23 | shaped));
  }
  for (uint32_t u : {0x477fefffu, 0x477ff000u, 0x477fe000u, 0x7f7f7fffu, 0x7f7f8000u, 0x33000000u,
                     0x33000001u, 0x00008000u, 0x00008001u}) {
    wide.push_back(float_of(u));
  }
  line("bf16.rn", wide, [](float f) { return __bfloat16_as_ushort(__float2bfloat16_rn(f)); });
  line("bf16.rz", wide, [](float f) { return __bfloat16_as_ushort(__float2bfloat16_rz(f)); });
  line("bf16.rp", wide, [](float f) { return __bfloat16_as_ushort(__float2bfloat16_ru(f)); });
  line("bf16.rm", wide, [](float f) { return __bfloat16_as_ushort(__float2bfloat16_rd(f)); });
  line("f16.rn", wide, [](float f) { return __half_as_ushort(__float2half_rn(f)); });
  line("f16.rz", wide, [](float f) { return __half_as_ushort(__float2half_rz(f)); });
  line("f16.rp", wide, [](float f) { return __half_as_ushort(__float2half_ru(f)); });
  line("f16.rm", wide, [](float f) { return __half_as_ushort(__float2half_rd(f)); });
  return 0;
}
