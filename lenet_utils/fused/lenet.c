/* One training step of LeNet in one call: forward, backward, stochastic gradient descent.

   The images of a batch lie side by side. A `lanes` is a vector register
   full of floats: the same number (a pixel, a unit of some layer) of LANES
   images. So the batch is the innermost axis of every array:

       PyTorch: X[image][y][x]      here: X[y][x], each entry a `lanes`

       image 0:  a0 b0 c0 d0 ...    X[0][0] = | a0 a1 a2 a3 ... |  pixel a
       image 1:  a1 b1 c1 d1 ...    X[0][1] = | b0 b1 b2 b3 ... |  pixel b
       image 2:  a2 b2 c2 d2 ...    X[0][2] = | c0 c1 c2 c3 ... |  pixel c
       ...                                      |  |  |  +- lane 3: image 3
                                                |  |  +- lane 2: image 2 ...

   Every image does the same arithmetic with the same weight at the same
   time: `sum += w * X[y][x]` is one instruction for all of them, and there
   is no edge, no rest and no shuffling of lanes, whatever the sizes of the
   maps are. So the code below reads as if it were for a single image.

   The threads share the batch out. Each takes its images LANES at a time: forward, loss, backward, gradients added to
   its own sums. When all are done, the threads' sums are added, and the weights take one step.

   What bounds the speed is the multiply-adds, 1.13 million a step and image: 416,520 forward, as many again for the
   gradients of the weights, as many for those of the inputs, but for the 117,600 of the first layer, whose inputs are
   pixels. A core can start one or two of them, LANES wide, in every cycle, if their operands are in registers. Hence
   the tiles: each loop nest keeps a tile of sums in registers and uses every number that it loads several times.

   The order below: numbers and memory, exp and the sigmoid, forward, the loss, backward, threads, what Python calls. */

#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

#if defined(__AVX512F__) || defined(__aarch64__) /* 32 vector registers: larger tiles */
enum { CHANNELS_1 = 3, WIDTH_1 = 7, CHANNELS_2 = 4, WIDTH_2 = 5, OUTPUTS = 12, ROWS = 6, WIDTH = 4, GRADIENTS_1 = 3 };
#else /* 16 */
enum { CHANNELS_1 = 3, WIDTH_1 = 4, CHANNELS_2 = 2, WIDTH_2 = 5, OUTPUTS = 6, ROWS = 3, WIDTH = 4, GRADIENTS_1 = 2 };
#endif

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));

enum {
    C1 = 6, C2 = 16, K = 5,                          /* channels of the convolutions; their kernels are K x K */
    SIDE = 28, PADDED = 32, P1 = 14, S2 = 10, P2 = 5,  /* sides of the feature maps */
    F0 = C2 * P2 * P2, F1 = 120, F2 = 84, F3 = 10,   /* features that go into and out of the linear layers */
    THREADS = 64,                                    /* at most */
    PIXELS = SIDE * SIDE,
};
#define VECTORS(n) (((n) + LANES - 1) / LANES)       /* how many hold n floats */

/* The weights (and, in the same shapes, their gradients) as PyTorch has them: output first. */
typedef struct {
    float w1[C1][K][K], b1[C1], w2[C2][C1][K][K], b2[C2];
    float w3[F1][F0], b3[F1], w4[F2][F1], b4[F2], w5[F3][F2], b5[F3];
} network;

/* Where the ten parameters lie. They are PyTorch's own tensors, each in a place of its own. */
typedef struct {
    float *w1, *b1, *w2, *b2, *w3, *b3, *w4, *b4, *w5, *b5;
} parameters;

static const int SIZES[10] = {C1 * K * K, C1, C2 * C1 * K * K, C2, F1 * F0, F1, F2 * F1, F2, F3 * F2, F3};

typedef struct {
    const void *images;    /* [...][28][28], floats from 0 to 1 or bytes from 0 to 255 */
    const int64_t *rows;   /* [count]: which of the images; NULL: the first ones */
    const int64_t *labels; /* [count], each from 0 to 9; NULL: no training, only logits */
    float *logits;         /* [count][10], or NULL */
    int64_t count;
    int32_t bytes, last_sigmoid;
} batch;

/* All that one thread needs. s: after the sigmoid; p: after the pooling; `d`: the derivative of the loss by what stands
   behind the d. */
typedef struct {
    lanes image[PADDED][PADDED]; /* with two rows and columns of zeros around */
    lanes s1[C1][SIDE][SIDE], p1[C1][P1][P1], s2[C2][S2][S2], p2[F0], h1[F1], h2[F2], z[F3];
    lanes dp1[C1][P1][P1], dp2[F0], dh1[F1], dh2[F2], dz[F3], row[GRADIENTS_1][2][SIDE];
    lanes turned[LANES][VECTORS(F0)]; /* the inputs of a linear layer with the features innermost */
    /* sums of gradients: of the convolutions in every lane apart, of the linear layers as they are */
    lanes dw1[C1][K][K], db1[C1], dw2[C2][C1][K][K], db2[C2], db3[F1], db4[F2], db5[F3];
    lanes dw3[F1 * VECTORS(F0)], dw4[F2 * VECTORS(F1)], dw5[F3 * VECTORS(F2)]; /* rows filled up to whole vectors */
    network gradient; /* the same, lanes added up */
    double loss;      /* sum over the images */
    int64_t correct, first, end; /* images of the batch that this thread takes */
    const parameters *at;
    const batch *of;
} worker;

/* ---- exp and the sigmoid ---- */

/* a where the comparison `which` holds (all bits 1), else b. */
INLINE lanes choose(ints which, lanes a, lanes b) { return (lanes)((which & (ints)a) | (~which & (ints)b)); }

/* e^x within 2e-7, relative. x = n ln 2 + r with a whole n: e^x = 2^n e^r, and e^r is a polynomial, since |r| < 0.35.
   Limited to what floats hold, by comparisons that let NaN through. */
INLINE lanes exponential(lanes x)
{
    const lanes low = (lanes){0} - 87.0f, high = (lanes){0} + 88.0f;
    const float to_whole = 12582912.0f; /* 1.5 * 2^23: floats beside it are 1 apart, so adding it rounds */
    x = choose(x < low, low, x);
    x = choose(x > high, high, x);
    lanes shifted = x * 1.44269504f + to_whole;
    lanes n = shifted - to_whole;
    lanes r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f; /* ln 2 in two parts: the first has so few digits that n times it is exact */
    lanes e = r * 8.290270147e-3f + 4.189816060e-2f;
    e = e * r + 1.666763816e-1f;
    e = e * r + 4.999914783e-1f;
    e = e * r + 9.999997063e-1f;
    e = e * r + 1.0f;
    lanes scaled = (lanes)((ints)e + ((ints)shifted << 23)); /* n more in the exponent's bits: times 2^n */
    return choose(x == x, scaled, x); /* NaN has bits, too, that would become a number's */
}

INLINE lanes sigmoid(lanes x) { return 1.0f / (1.0f + exponential(-x)); }

INLINE float sum_of(lanes v)
{
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

/* ---- forward ---- */

/* The images first, first + 1, ... of the batch, one in each lane. Lanes without an image hold zeros. */
static void load_images(const batch *of, int64_t first, int64_t end, lanes image[PADDED][PADDED])
{
    for (int y = 0; y < SIDE; y++) {
        float (*row)[LANES] = (float (*)[LANES])&image[y + 2][2];
        for (int i = 0; i < LANES; i++) {
            float pixels[SIDE] = {0};
            if (first + i < end) {
                int64_t start = (of->rows ? of->rows[first + i] : first + i) * PIXELS + y * SIDE;
                const uint8_t *bytes = (const uint8_t *)of->images + start;
                const float *floats = (const float *)of->images + start;
                if (of->bytes)
                    for (int x = 0; x < SIDE; x++) pixels[x] = bytes[x] / 255.0f;
                else
                    for (int x = 0; x < SIDE; x++) pixels[x] = floats[x];
            }
            for (int x = 0; x < SIDE; x++) row[x][i] = pixels[x];
        }
    }
}

/* s1 = sigmoid(conv(image)): a tile of CHANNELS_1 channels x WIDTH_1 columns in registers. */
static void convolve_1(const parameters *at, const lanes image[PADDED][PADDED], lanes s1[C1][SIDE][SIDE])
{
    const float (*w)[K][K] = (const float (*)[K][K])at->w1;
    for (int y = 0; y < SIDE; y++)
        for (int c0 = 0; c0 < C1; c0 += CHANNELS_1)
            for (int x0 = 0; x0 < SIDE; x0 += WIDTH_1) {
                lanes sum[CHANNELS_1][WIDTH_1];
                UNROLL for (int c = 0; c < CHANNELS_1; c++)
                    UNROLL for (int x = 0; x < WIDTH_1; x++) sum[c][x] = (lanes){0} + at->b1[c0 + c];
                for (int ky = 0; ky < K; ky++)
                    UNROLL for (int kx = 0; kx < K; kx++)
                        UNROLL for (int c = 0; c < CHANNELS_1; c++)
                            UNROLL for (int x = 0; x < WIDTH_1; x++)
                                sum[c][x] += w[c0 + c][ky][kx] * image[y + ky][x0 + x + kx];
                UNROLL for (int c = 0; c < CHANNELS_1; c++)
                    UNROLL for (int x = 0; x < WIDTH_1; x++) s1[c0 + c][y][x0 + x] = sigmoid(sum[c][x]);
            }
}

static void pool_1(const lanes s1[C1][SIDE][SIDE], lanes p1[C1][P1][P1])
{
    for (int c = 0; c < C1; c++)
        for (int y = 0; y < P1; y++)
            for (int x = 0; x < P1; x++) {
                const lanes *upper = &s1[c][2 * y][2 * x], *lower = &s1[c][2 * y + 1][2 * x];
                p1[c][y][x] = (upper[0] + upper[1] + lower[0] + lower[1]) * 0.25f;
            }
}

/* s2 = sigmoid(conv(p1)): a tile of CHANNELS_2 channels x half a row in registers. */
static void convolve_2(const parameters *at, const lanes p1[C1][P1][P1], lanes s2[C2][S2][S2])
{
    const float (*w)[C1][K][K] = (const float (*)[C1][K][K])at->w2;
    for (int y = 0; y < S2; y++)
        for (int c0 = 0; c0 < C2; c0 += CHANNELS_2)
            for (int x0 = 0; x0 < S2; x0 += WIDTH_2) {
                lanes sum[CHANNELS_2][WIDTH_2];
                UNROLL for (int c = 0; c < CHANNELS_2; c++)
                    UNROLL for (int x = 0; x < WIDTH_2; x++) sum[c][x] = (lanes){0} + at->b2[c0 + c];
                for (int from = 0; from < C1; from++)
                    for (int ky = 0; ky < K; ky++)
                        UNROLL for (int kx = 0; kx < K; kx++)
                            UNROLL for (int c = 0; c < CHANNELS_2; c++)
                                UNROLL for (int x = 0; x < WIDTH_2; x++)
                                    sum[c][x] += w[c0 + c][from][ky][kx] * p1[from][y + ky][x0 + x + kx];
                UNROLL for (int c = 0; c < CHANNELS_2; c++)
                    UNROLL for (int x = 0; x < WIDTH_2; x++) s2[c0 + c][y][x0 + x] = sigmoid(sum[c][x]);
            }
}

/* Pools, and flattens: (c, y, x) becomes feature (c * 5 + y) * 5 + x. */
static void pool_2(const lanes s2[C2][S2][S2], lanes p2[F0])
{
    for (int c = 0; c < C2; c++)
        for (int y = 0; y < P2; y++)
            for (int x = 0; x < P2; x++) {
                const lanes *upper = &s2[c][2 * y][2 * x], *lower = &s2[c][2 * y + 1][2 * x];
                p2[(c * P2 + y) * P2 + x] = (upper[0] + upper[1] + lower[0] + lower[1]) * 0.25f;
            }
}

/* out[j] = bias[j] + sum over k of w[j * step_j + k * step_k] * in[k], for `rows` of the j in registers. */
INLINE void multiply_rows(int rows, int j, const float *w, int step_j, int step_k, int features, const float *bias,
                          const lanes in[], lanes out[])
{
    lanes sum[OUTPUTS];
    UNROLL for (int r = 0; r < rows; r++) sum[r] = (lanes){0} + (bias ? bias[j + r] : 0);
    for (int k = 0; k < features; k++)
        UNROLL for (int r = 0; r < rows; r++) sum[r] += w[(j + r) * step_j + k * step_k] * in[k];
    UNROLL for (int r = 0; r < rows; r++) out[j + r] = sum[r];
}

/* For a linear layer forward (steps: a row of weights, 1), and for its inputs' gradients (steps: 1, a row). */
INLINE void multiply(int outputs, const float *w, int step_j, int step_k, int features, const float *bias,
                     const lanes in[], lanes out[])
{
    const int tiled = outputs / OUTPUTS * OUTPUTS;
    for (int j = 0; j < tiled; j += OUTPUTS) multiply_rows(OUTPUTS, j, w, step_j, step_k, features, bias, in, out);
    for (int j = tiled; j < outputs; j++) multiply_rows(1, j, w, step_j, step_k, features, bias, in, out);
}

static void activate(int features, lanes h[])
{
    for (int i = 0; i < features; i++) h[i] = sigmoid(h[i]);
}

/* The LANES images from `first` on. */
static void forward(worker *my, int64_t first)
{
    const parameters *at = my->at;
    load_images(my->of, first, my->end, my->image);
    convolve_1(at, my->image, my->s1);
    pool_1(my->s1, my->p1);
    convolve_2(at, my->p1, my->s2);
    pool_2(my->s2, my->p2);
    multiply(F1, at->w3, F0, 1, F0, at->b3, my->p2, my->h1);
    activate(F1, my->h1);
    multiply(F2, at->w4, F1, 1, F1, at->b4, my->h1, my->h2);
    if (my->of->last_sigmoid) activate(F2, my->h2);
    multiply(F3, at->w5, F2, 1, F2, at->b5, my->h2, my->z);
}

/* ---- the loss ---- */

/* dz = (softmax(z) - 1 at the label) / number of images of the batch; 0 in lanes without an image, which makes
   all gradients that follow 0 there. Adds to the sums of loss and of right answers. */
static void cross_entropy(worker *my, int64_t first)
{
    lanes highest = my->z[0], total = {0};
    for (int j = 1; j < F3; j++) highest = choose(my->z[j] > highest, my->z[j], highest);
    for (int j = 0; j < F3; j++) total += my->dz[j] = exponential(my->z[j] - highest);
    for (int j = 0; j < F3; j++) my->dz[j] /= total * (float)my->of->count;
    for (int i = 0; i < LANES; i++) {
        if (first + i >= my->end) {
            for (int j = 0; j < F3; j++) my->dz[j][i] = 0;
            continue;
        }
        int label = (int)my->of->labels[first + i], answer = 0;
        my->dz[label][i] -= 1.0f / (float)my->of->count;
        my->loss += highest[i] - my->z[label][i] + logf(total[i]);
        while (answer < F3 - 1 && !(my->z[answer][i] >= highest[i])) answer++;
        my->correct += answer == label;
    }
}

/* ---- backward ---- */

/* turned[image][feature] = in[feature][image]. */
static void turn(int features, const lanes in[], lanes turned[LANES][VECTORS(F0)])
{
    float (*to)[VECTORS(F0) * LANES] = (float (*)[VECTORS(F0) * LANES])turned;
    for (int i = 0; i < features; i++)
        for (int n = 0; n < LANES; n++) to[n][i] = in[i][n];
    for (int n = 0; n < LANES; n++)
        for (int i = features; i < VECTORS(features) * LANES; i++) to[n][i] = 0;
}

/* dw[j][i] += sum over the images of dout[j] * in[i], for `rows` of the j and `width` vectors of the i in registers. */
INLINE void outer_tile(int rows, int width, int j, int i, int vectors, const lanes dout[],
                       const lanes turned[LANES][VECTORS(F0)], lanes *dw)
{
    lanes sum[ROWS][WIDTH];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < width; v++) sum[r][v] = dw[(j + r) * vectors + i + v];
    for (int n = 0; n < LANES; n++)
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int v = 0; v < width; v++) sum[r][v] += ((const float *)&dout[j + r])[n] * turned[n][i + v];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < width; v++) dw[(j + r) * vectors + i + v] = sum[r][v];
}

INLINE void outer_rows(int rows, int j, int vectors, const lanes dout[], const lanes turned[LANES][VECTORS(F0)],
                       lanes *dw)
{
    const int tiled = vectors / WIDTH * WIDTH;
    for (int i = 0; i < tiled; i += WIDTH) outer_tile(rows, WIDTH, j, i, vectors, dout, turned, dw);
    for (int i = tiled; i < vectors; i++) outer_tile(rows, 1, j, i, vectors, dout, turned, dw);
}

/* The gradients of a linear layer's weights and biases. */
static void linear_gradient(int outputs, int features, const lanes dout[], const lanes in[],
                            lanes turned[LANES][VECTORS(F0)], lanes *dw, lanes *db)
{
    const int tiled = outputs / ROWS * ROWS;
    turn(features, in, turned);
    for (int j = 0; j < tiled; j += ROWS) outer_rows(ROWS, j, VECTORS(features), dout, turned, dw);
    for (int j = tiled; j < outputs; j++) outer_rows(1, j, VECTORS(features), dout, turned, dw);
    for (int j = 0; j < outputs; j++) db[j] += dout[j];
}

/* Through the sigmoid: its derivative is h (1 - h). */
static void backward_sigmoid(int features, const lanes h[], lanes dh[])
{
    for (int i = 0; i < features; i++) dh[i] *= h[i] * (1.0f - h[i]);
}

/* Through the pooling and the sigmoid, in place: s2 becomes the derivative by what went into the sigmoid. */
static void backward_pool_2(const lanes dp2[F0], lanes s2[C2][S2][S2], lanes db2[C2])
{
    for (int c = 0; c < C2; c++) {
        lanes sum = {0};
        for (int y = 0; y < S2; y++)
            for (int x = 0; x < S2; x++) {
                lanes s = s2[c][y][x], d = dp2[(c * P2 + y / 2) * P2 + x / 2] * 0.25f;
                sum += s2[c][y][x] = d * (s * (1.0f - s));
            }
        db2[c] += sum;
    }
}

/* dw2[c][from][ky][kx] += sum over y, x of ds2[c][y][x] * p1[from][y + ky][x + kx]: a tile of CHANNELS_2 x K sums. */
static void gradient_2(const lanes ds2[C2][S2][S2], const lanes p1[C1][P1][P1], lanes dw2[C2][C1][K][K])
{
    for (int c0 = 0; c0 < C2; c0 += CHANNELS_2)
        for (int from = 0; from < C1; from++)
            for (int ky = 0; ky < K; ky++) {
                lanes sum[CHANNELS_2][K];
                UNROLL for (int c = 0; c < CHANNELS_2; c++)
                    UNROLL for (int kx = 0; kx < K; kx++) sum[c][kx] = dw2[c0 + c][from][ky][kx];
                for (int y = 0; y < S2; y++)
                    UNROLL for (int x = 0; x < S2; x++)
                        UNROLL for (int c = 0; c < CHANNELS_2; c++)
                            UNROLL for (int kx = 0; kx < K; kx++)
                                sum[c][kx] += ds2[c0 + c][y][x] * p1[from][y + ky][x + kx];
                UNROLL for (int c = 0; c < CHANNELS_2; c++)
                    UNROLL for (int kx = 0; kx < K; kx++) dw2[c0 + c][from][ky][kx] = sum[c][kx];
            }
}

/* dp1[to][y + ky][x + kx] = sum over c, y, x of w2[c][to][ky][kx] * ds2[c][y][x]: a row of 14 sums in registers. */
static void backward_2(const parameters *at, const lanes ds2[C2][S2][S2], lanes dp1[C1][P1][P1])
{
    const float (*w)[C1][K][K] = (const float (*)[C1][K][K])at->w2;
    for (int y = 0; y < P1; y++)
        for (int to = 0; to < C1; to++) {
            lanes sum[P1];
            int first = y - S2 + 1 > 0 ? y - S2 + 1 : 0, last = y < K - 1 ? y : K - 1; /* rows of the kernel in reach */
            UNROLL for (int x = 0; x < P1; x++) sum[x] = (lanes){0};
            for (int c = 0; c < C2; c++)
                for (int ky = first; ky <= last; ky++)
                    UNROLL for (int kx = 0; kx < K; kx++)
                        UNROLL for (int x = 0; x < S2; x++) sum[x + kx] += w[c][to][ky][kx] * ds2[c][y - ky][x];
            UNROLL for (int x = 0; x < P1; x++) dp1[to][y][x] = sum[x];
        }
}

/* Through the first pooling and sigmoid, two rows at a time, which stay in the nearest cache, and on to
   dw1[c][ky][kx] += sum over y, x of ds1[c][y][x] * image[y + ky][x + kx]: a tile of CHANNELS_1 x K sums. */
static void gradient_1(const lanes dp1[C1][P1][P1], const lanes s1[C1][SIDE][SIDE],
                       const lanes image[PADDED][PADDED], lanes row[GRADIENTS_1][2][SIDE], lanes dw1[C1][K][K],
                       lanes db1[C1])
{
    for (int c0 = 0; c0 < C1; c0 += GRADIENTS_1)
        for (int y0 = 0; y0 < SIDE; y0 += 2) {
            for (int c = 0; c < GRADIENTS_1; c++) {
                lanes sum = {0};
                for (int y = 0; y < 2; y++)
                    for (int x = 0; x < SIDE; x++) {
                        lanes s = s1[c0 + c][y0 + y][x], d = dp1[c0 + c][y0 / 2][x / 2] * 0.25f;
                        sum += row[c][y][x] = d * (s * (1.0f - s));
                    }
                db1[c0 + c] += sum;
            }
            for (int ky = 0; ky < K; ky++) {
                lanes sum[GRADIENTS_1][K];
                UNROLL for (int c = 0; c < GRADIENTS_1; c++)
                    UNROLL for (int kx = 0; kx < K; kx++) sum[c][kx] = dw1[c0 + c][ky][kx];
                for (int y = 0; y < 2; y++)
                    for (int x0 = 0; x0 < SIDE; x0 += 7)
                        UNROLL for (int x = 0; x < 7; x++)
                            UNROLL for (int c = 0; c < GRADIENTS_1; c++)
                                UNROLL for (int kx = 0; kx < K; kx++)
                                    sum[c][kx] += row[c][y][x0 + x] * image[y0 + y + ky][x0 + x + kx];
                UNROLL for (int c = 0; c < GRADIENTS_1; c++)
                    UNROLL for (int kx = 0; kx < K; kx++) dw1[c0 + c][ky][kx] = sum[c][kx];
            }
        }
}

static void backward(worker *my)
{
    const parameters *at = my->at;
    linear_gradient(F3, F2, my->dz, my->h2, my->turned, my->dw5, my->db5);
    multiply(F2, at->w5, 1, F2, F3, NULL, my->dz, my->dh2);
    if (my->of->last_sigmoid) backward_sigmoid(F2, my->h2, my->dh2);
    linear_gradient(F2, F1, my->dh2, my->h1, my->turned, my->dw4, my->db4);
    multiply(F1, at->w4, 1, F1, F2, NULL, my->dh2, my->dh1);
    backward_sigmoid(F1, my->h1, my->dh1);
    linear_gradient(F1, F0, my->dh1, my->p2, my->turned, my->dw3, my->db3);
    multiply(F0, at->w3, 1, F0, F1, NULL, my->dh1, my->dp2);
    backward_pool_2(my->dp2, my->s2, my->db2);
    gradient_2(my->s2, my->p1, my->dw2);
    backward_2(at, my->s2, my->dp1);
    gradient_1(my->dp1, my->s1, my->image, my->row, my->dw1, my->db1);
}

/* ---- threads ---- */

/* to[i] = the sum of the lanes of from[i] */
static void add_lanes(int count, const lanes *from, float *to)
{
    for (int i = 0; i < count; i++) to[i] = sum_of(from[i]);
}

static void copy_rows(int rows, int columns, const lanes *from, float *to)
{
    for (int j = 0; j < rows; j++)
        memcpy(&to[j * columns], &from[j * VECTORS(columns)], columns * sizeof(float));
}

static void add_up(worker *my)
{
    network *g = &my->gradient;
    add_lanes(C1 * K * K, (lanes *)my->dw1, (float *)g->w1);
    add_lanes(C1, my->db1, g->b1);
    add_lanes(C2 * C1 * K * K, (lanes *)my->dw2, (float *)g->w2);
    add_lanes(C2, my->db2, g->b2);
    copy_rows(F1, F0, my->dw3, (float *)g->w3);
    add_lanes(F1, my->db3, g->b3);
    copy_rows(F2, F1, my->dw4, (float *)g->w4);
    add_lanes(F2, my->db4, g->b4);
    copy_rows(F3, F2, my->dw5, (float *)g->w5);
    add_lanes(F3, my->db5, g->b5);
}

static void write_logits(const worker *my, int64_t first)
{
    for (int i = 0; i < LANES && first + i < my->end; i++)
        for (int j = 0; j < F3; j++) my->of->logits[(first + i) * F3 + j] = my->z[j][i];
}

static void *work(void *argument)
{
    worker *my = argument;
    memset(my->dw1, 0, (char *)&my->gradient - (char *)my->dw1); /* all sums of gradients */
    my->loss = my->correct = 0;
    memset(my->image, 0, sizeof my->image);
    for (int64_t first = my->first; first < my->end; first += LANES) {
        forward(my, first);
        if (my->of->logits) write_logits(my, first);
        if (!my->of->labels) continue;
        cross_entropy(my, first);
        backward(my);
    }
    if (my->of->labels) add_up(my);
    return NULL;
}

/* Shares the images out in blocks of LANES and waits until all is done. A thread lives for one call: starting one costs
   some 20 of the 3,000 microseconds of a step, and none is left behind, asleep or spinning. */
static void run(const parameters *at, const batch *of, int threads, worker *workers)
{
    pthread_t started[THREADS];
    int64_t blocks = (of->count + LANES - 1) / LANES;
    int running[THREADS] = {0};
    for (int t = 0; t < threads; t++) {
        workers[t].at = at;
        workers[t].of = of;
        workers[t].first = blocks * t / threads * LANES;
        workers[t].end = t == threads - 1 ? of->count : blocks * (t + 1) / threads * LANES;
    }
    for (int t = 1; t < threads; t++) running[t] = !pthread_create(&started[t], NULL, work, &workers[t]);
    work(&workers[0]);
    for (int t = 1; t < threads; t++)
        if (running[t])
            pthread_join(started[t], NULL);
        else
            work(&workers[t]); /* the system gives no more threads: then this one does it */
}

/* ---- what Python calls ---- */

int64_t lenet_bytes_per_thread(void) { return sizeof(worker); }
int64_t lenet_gradient_offset(void) { return offsetof(worker, gradient); }
int64_t lenet_lanes(void) { return LANES; }
int64_t lenet_most_threads(void) { return THREADS; }

/* For the tests, which look at it alone. */
void lenet_sigmoid(const float *x, float *y, int64_t count)
{
    for (int64_t i = 0; i < count; i++) y[i] = sigmoid((lanes){0} + x[i])[0];
}

/* The logits of a batch, [count][10]. */
void lenet_forward(const parameters *at, const batch *of, int32_t threads, worker *workers)
{
    run(at, of, threads, workers);
}

/* One step. Writes the mean loss and the number of right answers. The batch's gradients stay in workers[0].gradient. */
void lenet_step(const parameters *at, const batch *of, int32_t threads, worker *workers, float lr, double *loss,
                int64_t *correct)
{
    run(at, of, threads, workers);
    float *gradient = (float *)&workers[0].gradient;
    for (int t = 1; t < threads; t++) {
        const float *other = (const float *)&workers[t].gradient;
        for (size_t i = 0; i < sizeof(network) / sizeof(float); i++) gradient[i] += other[i];
    }
    *loss = *correct = 0;
    for (int t = 0; t < threads; t++) {
        *loss += workers[t].loss / of->count;
        *correct += workers[t].correct;
    }
    float *const *weights = (float *const *)at; /* ten pointers, in the order of the gradients */
    for (int p = 0; p < 10; p++)
        for (int i = 0; i < SIZES[p]; i++) weights[p][i] -= lr * *gradient++;
}
