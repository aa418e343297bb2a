#!/usr/bin/env python3
"""Prints the CUDA program that measured tests/golden/hopper_{mma,cvt}.bin on a Hopper GPU.

python3 make_hopper_probe.py > probe.cu
nvcc -std=c++17 -gencode=arch=compute_90a,code=sm_90a -o probe probe.cu && ./probe OUTPUT_FOLDER
"""

SOURCE = r"""
// Measures tensor-core and conversion results on a Hopper GPU, for tests/unit/num/hopper_test.cpp:
//   nvcc -std=c++17 -gencode=arch=compute_90a,code=sm_90a -o probe probe_hopper.cu && ./probe OUTPUT_FOLDER
// writes hopper_mma.bin: per kind a 32-byte name, a count, and per MMA the registers of A [32 lanes][4], B [32][2], C [32][4]
// and the result D [32][4]; and hopper_cvt.bin: a count n, inputs x [n] and y [n], then per instruction its text in 160 bytes (%0 = f(%1, %2)) and
// its results [n]. All words are 32 bits. The committed files were written on an H200 with CUDA 13.0.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>
using u32 = uint32_t;
using u64 = uint64_t;
struct In {
  u32 a[32][4];
  u32 b[32][2];
  u32 c[32][4];
};
struct Out {
  u32 d[32][4];
};
#define K4(NAME, OP, NA, NB, NC, ASM)                                                                   \
  __global__ void NAME(In const* in, Out* out) {                                                        \
    In const& I = in[blockIdx.x];                                                                       \
    int l = threadIdx.x;                                                                                \
    u32 a0 = I.a[l][0], a1 = I.a[l][1], a2 = I.a[l][2], a3 = I.a[l][3], b0 = I.b[l][0], b1 = I.b[l][1], \
        c0 = I.c[l][0], c1 = I.c[l][1], c2 = I.c[l][2], c3 = I.c[l][3], d0 = 0, d1 = 0, d2 = 0, d3 = 0; \
    ASM;                                                                                                \
    u32* d = out[blockIdx.x].d[l];                                                                      \
    d[0] = d0;                                                                                          \
    d[1] = d1;                                                                                          \
    d[2] = d2;                                                                                          \
    d[3] = d3;                                                                                          \
  }
#define A4B2C4(OP)                                                          \
  asm volatile(OP " {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%10,%11,%12,%13};" \
               : "=r"(d0), "=r"(d1), "=r"(d2), "=r"(d3)                     \
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "r"(c0), "r"(c1), "r"(c2), "r"(c3))
#define A2B1C4(OP)                                              \
  asm volatile(OP " {%0,%1,%2,%3},{%4,%5},{%6},{%7,%8,%9,%10};" \
               : "=r"(d0), "=r"(d1), "=r"(d2), "=r"(d3)         \
               : "r"(a0), "r"(a1), "r"(b0), "r"(c0), "r"(c1), "r"(c2), "r"(c3))
#define A4B2C2(OP)                                          \
  asm volatile(OP " {%0,%1},{%2,%3,%4,%5},{%6,%7},{%8,%9};" \
               : "=r"(d0), "=r"(d1)                         \
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "r"(c0), "r"(c1))
#define A2B1C2(OP)                                 \
  asm volatile(OP " {%0,%1},{%2,%3},{%4},{%5,%6};" \
               : "=r"(d0), "=r"(d1)                \
               : "r"(a0), "r"(a1), "r"(b0), "r"(c0), "r"(c1))
#define M "mma.sync.aligned."
#define LIST(X)                                                         \
  X(f16_k16_f32, A4B2C4(M "m16n8k16.row.col.f32.f16.f16.f32"))          \
  X(f16_k8_f32, A2B1C4(M "m16n8k8.row.col.f32.f16.f16.f32"))            \
  X(bf16_k16_f32, A4B2C4(M "m16n8k16.row.col.f32.bf16.bf16.f32"))       \
  X(bf16_k8_f32, A2B1C4(M "m16n8k8.row.col.f32.bf16.bf16.f32"))         \
  X(tf32_k8_f32, A4B2C4(M "m16n8k8.row.col.f32.tf32.tf32.f32"))         \
  X(tf32_k4_f32, A2B1C4(M "m16n8k4.row.col.f32.tf32.tf32.f32"))         \
  X(f16_k16_f16, A4B2C2(M "m16n8k16.row.col.f16.f16.f16.f16"))          \
  X(f16_k8_f16, A2B1C2(M "m16n8k8.row.col.f16.f16.f16.f16"))            \
  X(e4m3_k32_f32, A4B2C4(M "m16n8k32.row.col.f32.e4m3.e4m3.f32"))       \
  X(e5m2_k32_f32, A4B2C4(M "m16n8k32.row.col.f32.e5m2.e5m2.f32"))       \
  X(mix_k32_f32, A4B2C4(M "m16n8k32.row.col.f32.e4m3.e5m2.f32"))        \
  X(e4m3_k16_f32, A2B1C4(M "m16n8k16.row.col.f32.e4m3.e4m3.f32"))       \
  X(e5m2_k16_f32, A2B1C4(M "m16n8k16.row.col.f32.e5m2.e5m2.f32"))       \
  X(e4m3_k32_f16, A4B2C2(M "m16n8k32.row.col.f16.e4m3.e4m3.f16"))       \
  X(e4m3_k16_f16, A2B1C2(M "m16n8k16.row.col.f16.e4m3.e4m3.f16"))       \
  X(s8_k32, A4B2C4(M "m16n8k32.row.col.s32.s8.s8.s32"))                 \
  X(s8u8_k32_sat, A4B2C4(M "m16n8k32.row.col.satfinite.s32.s8.u8.s32")) \
  X(u8_k16, A2B1C4(M "m16n8k16.row.col.s32.u8.u8.s32"))
#define DEF(N, A) K4(N, 0, 0, 0, 0, A)
LIST(DEF)

// cvt: each op gets x,y (u32) and yields one u32
#define CVTS(X)                                                                                       \
  X(bf16_rn, "{.reg .b16 h; cvt.rn.bf16.f32 h, %1; cvt.u32.u16 %0, h;}")                              \
  X(bf16_rz, "{.reg .b16 h; cvt.rz.bf16.f32 h, %1; cvt.u32.u16 %0, h;}")                              \
  X(bf16_rn_relu, "{.reg .b16 h; cvt.rn.relu.bf16.f32 h, %1; cvt.u32.u16 %0, h;}")                    \
  X(bf16_rz_relu, "{.reg .b16 h; cvt.rz.relu.bf16.f32 h, %1; cvt.u32.u16 %0, h;}")                    \
  X(bf16x2_rn, "cvt.rn.bf16x2.f32 %0, %1, %2;")                                                       \
  X(bf16x2_rn_relu, "cvt.rn.relu.bf16x2.f32 %0, %1, %2;")                                             \
  X(bf16x2_rn_sat, "cvt.rn.satfinite.bf16x2.f32 %0, %1, %2;")                                         \
  X(f16_rn, "{.reg .b16 h; cvt.rn.f16.f32 h, %1; cvt.u32.u16 %0, h;}")                                \
  X(f16_rz, "{.reg .b16 h; cvt.rz.f16.f32 h, %1; cvt.u32.u16 %0, h;}")                                \
  X(f16_rm, "{.reg .b16 h; cvt.rm.f16.f32 h, %1; cvt.u32.u16 %0, h;}")                                \
  X(f16_rp, "{.reg .b16 h; cvt.rp.f16.f32 h, %1; cvt.u32.u16 %0, h;}")                                \
  X(f16_rn_ftz, "{.reg .b16 h; cvt.rn.ftz.f16.f32 h, %1; cvt.u32.u16 %0, h;}")                        \
  X(f16_rn_sat, "{.reg .b16 h; cvt.rn.sat.f16.f32 h, %1; cvt.u32.u16 %0, h;}")                        \
  X(f16_rn_satfin, "{.reg .b16 h; cvt.rn.satfinite.f16.f32 h, %1; cvt.u32.u16 %0, h;}")               \
  X(f16_rn_relu, "{.reg .b16 h; cvt.rn.relu.f16.f32 h, %1; cvt.u32.u16 %0, h;}")                      \
  X(f16x2_rz, "cvt.rz.f16x2.f32 %0, %1, %2;")                                                         \
  X(f16x2_rn_relu_sat, "cvt.rn.relu.satfinite.f16x2.f32 %0, %1, %2;")                                 \
  X(tf32_rna, "cvt.rna.tf32.f32 %0, %1;")                                                             \
  X(tf32_rna_sat, "cvt.rna.satfinite.tf32.f32 %0, %1;")                                               \
  X(tf32_rn, "cvt.rn.tf32.f32 %0, %1;")                                                               \
  X(tf32_rz_relu, "cvt.rz.relu.tf32.f32 %0, %1;")                                                     \
  X(e4m3x2, "{.reg .b16 h; cvt.rn.satfinite.e4m3x2.f32 h, %1, %2; cvt.u32.u16 %0, h;}")               \
  X(e4m3x2_relu, "{.reg .b16 h; cvt.rn.satfinite.relu.e4m3x2.f32 h, %1, %2; cvt.u32.u16 %0, h;}")     \
  X(e5m2x2, "{.reg .b16 h; cvt.rn.satfinite.e5m2x2.f32 h, %1, %2; cvt.u32.u16 %0, h;}")               \
  X(e4m3x2_f16x2, "{.reg .b16 h; cvt.rn.satfinite.e4m3x2.f16x2 h, %1; cvt.u32.u16 %0, h;}")           \
  X(e5m2x2_f16x2_relu, "{.reg .b16 h; cvt.rn.satfinite.relu.e5m2x2.f16x2 h, %1; cvt.u32.u16 %0, h;}") \
  X(f16x2_e4m3x2, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rn.f16x2.e4m3x2 %0, h;}")                     \
  X(f16x2_e5m2x2, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rn.f16x2.e5m2x2 %0, h;}")                     \
  X(f16x2_e5m2x2_relu, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rn.relu.f16x2.e5m2x2 %0, h;}")           \
  X(f32_f16, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.f32.f16 %0, h;}")                                  \
  X(f32_f16_ftz, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.ftz.f32.f16 %0, h;}")                          \
  X(f32_bf16, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.f32.bf16 %0, h;}")                                \
  X(f32_bf16_ftz, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.ftz.f32.bf16 %0, h;}")                        \
  X(bf16_f16, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rn.bf16.f16 h, h; cvt.u32.u16 %0, h;}")           \
  X(f16_bf16, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rn.f16.bf16 h, h; cvt.u32.u16 %0, h;}")           \
  X(f16_f16_rni, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rni.f16.f16 h, h; cvt.u32.u16 %0, h;}")        \
  X(bf16_bf16_rzi, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rzi.bf16.bf16 h, h; cvt.u32.u16 %0, h;}")    \
  X(f16_f16_rpi, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rpi.f16.f16 h, h; cvt.u32.u16 %0, h;}")        \
  X(f16_f16_sat, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.sat.f16.f16 h, h; cvt.u32.u16 %0, h;}")        \
  X(s32_f16_rzi, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rzi.s32.f16 %0, h;}")                          \
  X(u32_f16_rni, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rni.u32.f16 %0, h;}")                          \
  X(s16_f16_rni, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rni.s16.f16 h, h; cvt.u32.u16 %0, h;}")        \
  X(u8_f16_rzi, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rzi.u8.f16 %0, h;}")                            \
  X(s8_f16_rzi, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rzi.s8.f16 %0, h;}")                            \
  X(s32_bf16_rzi, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rzi.s32.bf16 %0, h;}")                        \
  X(u32_bf16_rpi, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rpi.u32.bf16 %0, h;}")                        \
  X(s16_bf16_rmi, "{.reg .b16 h; cvt.u16.u32 h, %1; cvt.rmi.s16.bf16 h, h; cvt.u32.u16 %0, h;}")      \
  X(f16_s32, "{.reg .b16 h; cvt.rn.f16.s32 h, %1; cvt.u32.u16 %0, h;}")                               \
  X(f16_u32_rz, "{.reg .b16 h; cvt.rz.f16.u32 h, %1; cvt.u32.u16 %0, h;}")                            \
  X(bf16_s32, "{.reg .b16 h; cvt.rn.bf16.s32 h, %1; cvt.u32.u16 %0, h;}")                             \
  X(bf16_u32_rp, "{.reg .b16 h; cvt.rp.bf16.u32 h, %1; cvt.u32.u16 %0, h;}")                          \
  X(f16_s8, "{.reg .b16 h; cvt.rn.f16.s8 h, %1; cvt.u32.u16 %0, h;}")                                 \
  X(add_f16x2, "add.rn.f16x2 %0, %1, %2;")                                                            \
  X(mul_f16x2, "mul.rn.f16x2 %0, %1, %2;")                                                            \
  X(add_ftz_f16x2, "add.rn.ftz.f16x2 %0, %1, %2;")                                                    \
  X(add_sat_f16x2, "add.rn.sat.f16x2 %0, %1, %2;")                                                    \
  X(add_bf16x2, "add.rn.bf16x2 %0, %1, %2;")                                                          \
  X(mul_bf16x2, "mul.rn.bf16x2 %0, %1, %2;")                                                          \
  X(fma_f16x2, "fma.rn.f16x2 %0, %1, %2, %1;")                                                        \
  X(fma_relu_f16x2, "fma.rn.relu.f16x2 %0, %1, %2, %1;")                                              \
  X(fma_bf16x2, "fma.rn.bf16x2 %0, %1, %2, %2;")                                                      \
  X(fma_relu_bf16x2, "fma.rn.relu.bf16x2 %0, %1, %2, %2;")                                            \
  X(add_f32_rz, "add.rz.f32 %0, %1, %2;")                                                             \
  X(mul_f32_rp, "mul.rp.f32 %0, %1, %2;")                                                             \
  X(fma_f32_rm, "fma.rm.f32 %0, %1, %2, %2;")                                                         \
  X(fma_f32_rn_ftz_sat, "fma.rn.ftz.sat.f32 %0, %1, %2, %1;")
#define DEFC(N, S)                                                   \
  __global__ void c_##N(u32 const* x, u32 const* y, u32* z, int n) { \
    int i = blockIdx.x * 256 + threadIdx.x;                          \
    if (i < n) {                                                     \
      u32 r = 0;                                                     \
      asm volatile(S : "=r"(r) : "r"(x[i]), "r"(y[i]));              \
      z[i] = r;                                                      \
    }                                                                \
  }
CVTS(DEFC)

static std::mt19937_64 rng(12345);
static u32 rnd(u32 n) { return (u32)(rng() % n); }
// element by bit width / exponent bits / frac bits
static u32 element(int eb, int fb, int mode) {
  u32 emask = (1u << eb) - 1;
  int bias = (int)(emask >> 1);
  u32 sign = rnd(2), frac = rnd(1u << fb);
  int e;
  switch (mode) {
    case 0: e = (int)rnd(emask + 1); break;  // anything, specials too
    case 1: e = bias - 2 + (int)rnd(5); break;
    case 2:
      if (rnd(3) == 0) return rnd(2) ? 0 : sign << (eb + fb);
      e = (int)rnd(emask);
      break;                                                                   // wide, zeros
    case 3: e = (int)rnd(emask > 4 ? emask / 4 + 1 : 2); break;                // tiny
    case 4: e = (int)(emask - 1 - rnd(emask > 4 ? emask / 8 + 1 : 2)); break;  // huge
    case 5:
      if (rnd(4) != 0) return sign << (eb + fb);
      e = (int)rnd(emask);
      break;  // mostly zeros
    case 6:
      if (rnd(12) == 0) {
        e = (int)emask;
        frac = rnd(2) ? 0 : frac;
      } else
        e = bias - 1 + (int)rnd(3);
      break;                              // few specials
    default: e = bias / 2 + (int)rnd(3);  // around half of min range
  }
  return sign << (eb + fb) | ((u32)e << fb) | frac;
}
static const int kOrder[8] = {2, 3, 5, 6, 0, 1, 4, 7};
int main(int argc, char** argv) {
  const int T = 480, kKept = 4;  // all run, the first of a shuffled order are kept
  std::string dir = argv[1];
  std::vector<In> in(T);
  std::vector<Out> out(T);
  In* di;
  Out* dout;
  cudaMalloc(&di, T * sizeof(In));
  cudaMalloc(&dout, T * sizeof(Out));
  FILE* f = fopen((dir + "/hopper_mma.bin").c_str(), "wb");
  auto run = [&](const char* name, void (*k)(In const*, Out*)) {
    std::string s = name;
    int eba = 0, fba = 0, ebb = 0, fbb = 0, width = 0;
    bool integer = false;
    if (s.rfind("f16", 0) == 0) {
      eba = ebb = 5;
      fba = fbb = 10;
      width = 16;
    } else if (s.rfind("bf16", 0) == 0) {
      eba = ebb = 8;
      fba = fbb = 7;
      width = 16;
    } else if (s.rfind("tf32", 0) == 0) {
      eba = ebb = 8;
      fba = fbb = 23;
      width = 32;
    } else if (s.rfind("e4m3", 0) == 0) {
      eba = ebb = 4;
      fba = fbb = 3;
      width = 8;
    } else if (s.rfind("e5m2", 0) == 0) {
      eba = ebb = 5;
      fba = fbb = 2;
      width = 8;
    } else if (s.rfind("mix", 0) == 0) {
      eba = 4;
      fba = 3;
      ebb = 5;
      fbb = 2;
      width = 8;
    } else
      integer = true;
    bool c16 = s.size() > 4 && s.substr(s.size() - 4) == "_f16";
    for (int t = 0; t < T; t++) {
      int mode = kOrder[t % 8], cm = (t * 3) % 8;
      for (int l = 0; l < 32; l++) {
        auto word = [&](int eb, int fb) {
          if (integer) return (u32)rng();
          u32 w = 0;
          for (int i = 0; i < 32 / width; i++) w |= element(eb, fb, mode) << (i * width);
          return w;
        };
        for (int r = 0; r < 4; r++) in[t].a[l][r] = word(eba, fba);
        for (int r = 0; r < 2; r++) in[t].b[l][r] = word(ebb, fbb);
        for (int r = 0; r < 4; r++) {
          u32 c;
          if (integer)
            c = rnd(3) ? (u32)rng() : 0x7ffffff0u - rnd(100000);
          else if (c16)
            c = cm == 7 ? 0 : element(5, 10, cm) | element(5, 10, cm) << 16;
          else {
            c = cm == 7 ? 0 : element(8, 23, cm == 1 || cm == 6 ? cm : cm);
            if (cm == 2 || cm == 5) {  // near products
              u32 e = 127 - 40 + rnd(80);
              if (rnd(4)) c = (rnd(2) << 31) | (e << 23) | rnd(1 << 23);
            }
          }
          in[t].c[l][r] = c;
        }
      }
    }
    cudaMemcpy(di, in.data(), T * sizeof(In), cudaMemcpyHostToDevice);
    k<<<T, 32>>>(di, dout);
    cudaError_t e = cudaMemcpy(out.data(), dout, T * sizeof(Out), cudaMemcpyDeviceToHost);
    if (e) {
      printf("%s: %s\n", name, cudaGetErrorString(e));
    }
    char nm[32] = {0};
    strncpy(nm, name, 31);
    fwrite(nm, 1, 32, f);
    u32 n = kKept;
    fwrite(&n, 4, 1, f);
    for (int t = 0; t < kKept; t++) {
      fwrite(&in[t], sizeof(In), 1, f);
      fwrite(&out[t], sizeof(Out), 1, f);
    }
  };
#define RUN(N, A) run(#N, N);
  LIST(RUN) fclose(f);
  f = fopen((dir + "/hopper_cvt.bin").c_str(), "wb");
  const int N = 512;
  std::vector<u32> x(N), y(N), z(N);
  for (int i = 0; i < N; i++) {
    for (auto* p : {&x[i], &y[i]}) {
      u32 m = rnd(8);
      u32 v;
      if (m == 0)
        v = (u32)rng();
      else if (m == 1)
        v = element(8, 23, rnd(8));
      else if (m == 2)
        v = element(5, 10, rnd(8)) | element(5, 10, rnd(8)) << 16;
      else if (m == 3)
        v = element(8, 7, rnd(8)) | element(8, 7, rnd(8)) << 16;
      else if (m == 4)
        v = (rnd(2) << 31) | ((127 - 16 + rnd(34)) << 23) |
            (rnd(2) ? rnd(1 << 23) : (rnd(1024) << 13 | (rnd(3) == 0 ? 0x1000 : rnd(2))));
      else if (m == 5)
        v = (rnd(2) << 31) | ((127 - 16 + rnd(34)) << 23) | (rnd(256) << 16 | (rnd(2) ? 0x8000 : 0));
      else if (m == 6)
        v = (rnd(2) << 31) | ((127 - 20 + rnd(34)) << 23) | (rnd(16) << 20 | (rnd(2) ? 0x80000 : 0)) | rnd(2);
      else
        v = rnd(2) ? rnd(70000) : (u32) - (int)rnd(70000);
      *p = v;
    }
  }
  for (int i = 0; i < 128; i++) {
    x[i] = i | ((255 - i) << 8);
  }
  u32 sp[] = {0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001,
              0x7f7fffff, 0xff7fffff, 1,          0x80000001, 0x00400000, 0x47800000, 0x477fe000,
              0x477ff000, 0x477fefff, 0x43e00000, 0x43e80000, 0x43e7ffff, 0x47600000, 0x47700000,
              0x7fff,     0x7e00,     0x7c01,     0xfc01,     0x7f81,     0xff81,     0x7fc0};
  for (int i = 0; i < (int)(sizeof(sp) / 4); i++) {
    x[200 + i] = sp[i];
    y[200 + i] = sp[(i * 7 + 3) % (sizeof(sp) / 4)];
  }
  u32 *dx, *dy, *dz;
  cudaMalloc(&dx, N * 4);
  cudaMalloc(&dy, N * 4);
  cudaMalloc(&dz, N * 4);
  cudaMemcpy(dx, x.data(), N * 4, cudaMemcpyHostToDevice);
  cudaMemcpy(dy, y.data(), N * 4, cudaMemcpyHostToDevice);
  u32 n = N;
  fwrite(&n, 4, 1, f);
  fwrite(x.data(), 4, N, f);
  fwrite(y.data(), 4, N, f);
  auto runc = [&](const char* name, void (*k)(u32 const*, u32 const*, u32*, int)) {
    k<<<N / 256, 256>>>(dx, dy, dz, N);
    cudaError_t e = cudaMemcpy(z.data(), dz, N * 4, cudaMemcpyDeviceToHost);
    if (e) printf("%s %s\n", name, cudaGetErrorString(e));
    char nm[160] = {0};
    strncpy(nm, name, 159);
    fwrite(nm, 1, 160, f);
    fwrite(z.data(), 4, N, f);
  };
#define RUNC(Nm, S) runc(S, c_##Nm);
  CVTS(RUNC) fclose(f);
  cudaDeviceProp p;
  cudaGetDeviceProperties(&p, 0);
  printf("done on %s\n", p.name);
}
"""
print(SOURCE)
