/* Sums over one piece of a matrix, for explorer/pyramid/sums/compiled.py.

   The same numbers, bit for bit, as those that kernel.py and sheet.py come to with numpy: what is
   added up, and in which order, is told there. Nothing here depends on how many numbers the processor takes at
   once, so a compiler may use whatever it has, but must not fuse a product with a sum: build with
   -ffp-contract=off. No Python is needed to build it. */

#include <fenv.h>
#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0
#error "sums in single precision must not be made in another one"
#endif
#ifdef __FAST_MATH__
#error "sums must be made in the order that is written"
#endif

#if defined(__GNUC__) && defined(__x86_64__) && defined(__linux__) && !defined(PLAIN)
#define BEST_OF_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define BEST_OF_PROCESSOR
#endif
#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

enum {
    BLOCK = 64,    /* columns worked on at once */
    STRIP = 64,    /* rows of a strip, as SIDE in grid.py */
    RUNNING = 256, /* running sums of a row, as in kernel.py */
    MOST = 8192,   /* columns of a piece, as in bands.py */
    WIDEST = 1024  /* columns of a tile */
};
enum { SQUARE, VALUE, SIZE, SUMS };
enum { FLOAT32, BFLOAT16, FLOAT16 };
enum { CANNOT, ADDED, DOES_NOT_FIT };

static const int32_t WITHOUT_SIGN = 0x7fffffff;

INLINE int bytes_of(int kind) { return kind == FLOAT32 ? 4 : 2; }

/* A number that begins at any address. */
INLINE float decode(int kind, const char *from)
{
    uint32_t bits;
    uint16_t half;
    float number;

    if (kind == FLOAT32) {
        memcpy(&number, from, sizeof number);
        return number;
    }
    memcpy(&half, from, sizeof half);
    bits = (uint32_t)half << 16;
    if (kind == FLOAT16) {
        /* The exponent is 112 too small, also for subnormal numbers; 31 means not finite. */
        uint32_t h = half, lost = (h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0;
        bits = (h & 0x7fff) << 13;
        memcpy(&number, &bits, sizeof number);
        number *= 0x1p112f;
        memcpy(&bits, &number, sizeof bits);
        bits |= lost | (h & 0x8000) << 16;
    }
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* A whole block of numbers: what is missing at the end is 0, which changes no sum. */
INLINE const char *whole(const char *from, ptrdiff_t nbytes, ptrdiff_t block, char *padded)
{
    if (nbytes >= block)
        return from;
    memset(padded, 0, (size_t)block);
    memcpy(padded, from, (size_t)nbytes);
    return padded;
}

/* Sums over the columns of a strip. */
typedef struct {
    float *sum[SUMS];
    int32_t *top;
} Columns;

/* Add a block of two rows to the sums of its columns, and to the running sums of its rows. */
INLINE void add(int kind, const char *restrict first, const char *restrict second,
                float *restrict square, float *restrict value, float *restrict size,
                int32_t *restrict top, float (*restrict running)[SUMS][RUNNING],
                int32_t *restrict best)
{
    int32_t best_a = 0, best_b = 0;

    for (int c = 0; c < BLOCK; c++) {
        const float a = decode(kind, first + c * bytes_of(kind));
        const float b = decode(kind, second + c * bytes_of(kind));
        float size_a, size_b, square_a = a * a, square_b = b * b;
        int32_t bits_a, bits_b;

        memcpy(&bits_a, &a, sizeof bits_a);
        memcpy(&bits_b, &b, sizeof bits_b);
        bits_a &= WITHOUT_SIGN;
        bits_b &= WITHOUT_SIGN;
        memcpy(&size_a, &bits_a, sizeof size_a);
        memcpy(&size_b, &bits_b, sizeof size_b);

        square[c] = (square[c] + square_a) + square_b;
        value[c] = (value[c] + a) + b;
        size[c] = (size[c] + size_a) + size_b;
        if (running) {
            running[0][SQUARE][c] += square_a;
            running[0][VALUE][c] += a;
            running[0][SIZE][c] += size_a;
            running[1][SQUARE][c] += square_b;
            running[1][VALUE][c] += b;
            running[1][SIZE][c] += size_b;
        }
        best_a = best_a > bits_a ? best_a : bits_a;
        best_b = best_b > bits_b ? best_b : bits_b;
        int32_t larger = bits_a > bits_b ? bits_a : bits_b;
        top[c] = top[c] > larger ? top[c] : larger;
    }
    best[0] = best_a;
    best[1] = best_b;
}

/* What running sums come to, folded in halves; those from `used` on are 0. */
INLINE float folded(float *sums, int used)
{
    for (int half = used / 2; half; half /= 2)
        for (int c = 0; c < half; c++)
            sums[c] += sums[c + half];
    return sums[0];
}

/* What is read, and memory to work in. */
typedef struct {
    const char *first;    /* number in the first row and column */
    ptrdiff_t stride;     /* bytes from row to row */
    ptrdiff_t rows;       /* of whole strips, or fewer than one has */
    ptrdiff_t columns;    /* at most MOST */
    ptrdiff_t row;        /* where the first of them stands in the sheet */
    ptrdiff_t column;
    float *over_columns;  /* (strips, SUMS, columns up to a multiple of BLOCK) */
    int32_t *top;         /* (strips, the same): bits of the largest |w| */
    float *over_rows;     /* (SUMS, rows) */
    int32_t *row_top;     /* (rows) */
    int32_t *tiles;       /* (pairs of rows, tiles) */
} Piece;

/* Where the sums go: the arrays of a sheet in sheet.py. */
typedef struct {
    double *sums;         /* (SUMS + 1, strips, across) */
    double *peak;         /* (strips, across) */
    double *tile_peak;    /* (pairs of rows, across) */
    double *over_rows;    /* (SUMS + 1, rows), or none */
    double *over_columns; /* (SUMS + 1, columns), or none */
    ptrdiff_t strips, across, rows, columns;
    ptrdiff_t width;      /* columns of a tile, a multiple of BLOCK, at most WIDEST */
} Sheet;

INLINE ptrdiff_t parts(ptrdiff_t whole, ptrdiff_t part) { return (whole + part - 1) / part; }
INLINE ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
INLINE double larger(double a, double b) { return a > b ? a : b; }
INLINE double number(int32_t bits)
{
    float found;
    memcpy(&found, &bits, sizeof found);
    return found;
}

/* Two rows of a strip, or one beside a row of 0. */
INLINE void add_rows(int kind, int lines, const Piece *piece, ptrdiff_t width, ptrdiff_t row,
                     int lone, const Columns *to)
{
    static const char nothing[BLOCK * sizeof(float)];
    const ptrdiff_t across = parts(piece->columns, width), block = BLOCK * bytes_of(kind);
    const ptrdiff_t nbytes = piece->columns * bytes_of(kind);
    const char *from = piece->first + row * piece->stride;
    char a[BLOCK * sizeof(float)], b[BLOCK * sizeof(float)];
    float running[2][SUMS][RUNNING];
    int32_t highest[2] = {0, 0}, *tiles = piece->tiles + row / 2 * across;
    int used = RUNNING;

    memset(tiles, 0, (size_t)across * sizeof *tiles);
    while (used > BLOCK && used / 2 >= piece->columns)
        used /= 2;
    for (int k = 0; lines && k < 2 * SUMS; k++)
        memset(running[k / SUMS][k % SUMS], 0, (size_t)used * sizeof(float));
    for (ptrdiff_t c = 0; c < piece->columns; c += BLOCK) {
        const ptrdiff_t at = c * bytes_of(kind);
        const char *first = whole(from + at, nbytes - at, block, a), *second = nothing;
        float(*sums)[SUMS][RUNNING] = NULL;
        int32_t best[2], *tile = &tiles[c / width];

        if (!lone)
            second = whole(from + piece->stride + at, nbytes - at, block, b);
        if (lines)
            sums = (float(*)[SUMS][RUNNING])&running[0][0][c % RUNNING];
        add(kind, first, second, to->sum[SQUARE] + c, to->sum[VALUE] + c, to->sum[SIZE] + c,
            to->top + c, sums, best);
        for (int k = 0; k < 2; k++) {
            highest[k] = highest[k] > best[k] ? highest[k] : best[k];
            *tile = *tile > best[k] ? *tile : best[k];
        }
    }
    for (int k = 0; lines && k < 2 - lone; k++) {
        for (int sum = 0; sum < SUMS; sum++)
            piece->over_rows[sum * piece->rows + row + k] = folded(running[k][sum], used);
        piece->row_top[row + k] = highest[k];
    }
}

INLINE Columns columns_of(const Piece *piece, ptrdiff_t strip)
{
    const ptrdiff_t padded = parts(piece->columns, BLOCK) * BLOCK;
    Columns found = {.top = piece->top + strip * padded};

    for (int sum = 0; sum < SUMS; sum++)
        found.sum[sum] = piece->over_columns + (strip * SUMS + sum) * padded;
    return found;
}

INLINE void sum_up(int kind, int lines, const Piece *piece, ptrdiff_t width)
{
    const ptrdiff_t padded = parts(piece->columns, BLOCK) * BLOCK;

    for (ptrdiff_t strip = 0; strip < parts(piece->rows, STRIP); strip++) {
        const ptrdiff_t stop = least((strip + 1) * STRIP, piece->rows);
        const Columns to = columns_of(piece, strip);

        memset(to.top, 0, (size_t)padded * sizeof *to.top);
        memset(to.sum[0], 0, (size_t)padded * SUMS * sizeof *to.sum[0]);
        for (ptrdiff_t row = strip * STRIP; row < stop; row += 2)
            add_rows(kind, lines, piece, width, row, row + 1 == stop, &to);
    }
}

/* The larger of 0 and the largest |w| is what decides; also false for what is not finite. */
static int fits(const Piece *piece, double lowest, double highest)
{
    const ptrdiff_t count = parts(piece->rows, STRIP) * parts(piece->columns, BLOCK) * BLOCK;
    int32_t top = 0;
    double size;

    for (ptrdiff_t c = 0; c < count; c++)
        top = top > piece->top[c] ? top : piece->top[c];
    size = number(top);
    return size == 0 || (lowest < size && size < highest);
}

/* What a block comes to: its columns folded in halves. */
INLINE double block(const float *sums, ptrdiff_t count, ptrdiff_t width)
{
    double part[WIDEST];

    for (ptrdiff_t c = 0; c < count; c++)
        part[c] = sums[c];
    for (ptrdiff_t c = count; c < width; c++)
        part[c] = 0;
    for (ptrdiff_t half = width / 2; half; half /= 2)
        for (ptrdiff_t c = 0; c < half; c++)
            part[c] += part[c + half];
    return part[0];
}

/* Add a strip of a piece to the blocks and columns of a sheet. */
INLINE void spread_strip(const Piece *piece, const Sheet *sheet, ptrdiff_t strip)
{
    const ptrdiff_t plane = sheet->strips * sheet->across;
    const ptrdiff_t place = (piece->row / STRIP + strip) * sheet->across
                            + piece->column / sheet->width;
    const Columns from = columns_of(piece, strip);

    for (ptrdiff_t c = 0, at = place; c < piece->columns; c += sheet->width, at++) {
        const ptrdiff_t count = least(piece->columns - c, sheet->width);
        int32_t top = 0;

        for (int sum = 0; sum < SUMS; sum++)
            sheet->sums[sum * plane + at] = block(from.sum[sum] + c, count, sheet->width);
        for (ptrdiff_t k = c; k < c + count; k++)
            top = top > from.top[k] ? top : from.top[k];
        sheet->sums[SUMS * plane + at] = sheet->peak[at] = number(top);
    }
    for (int sum = 0; sheet->over_columns && sum < SUMS; sum++) {
        double *restrict to = sheet->over_columns + sum * sheet->columns + piece->column;
        for (ptrdiff_t c = 0; c < piece->columns; c++)
            to[c] += from.sum[sum][c];
    }
    if (sheet->over_columns) {
        double *restrict to = sheet->over_columns + SUMS * sheet->columns + piece->column;
        for (ptrdiff_t c = 0; c < piece->columns; c++)
            to[c] = larger(to[c], number(from.top[c]));
    }
}

/* Add a piece that was summed up to a sheet. */
INLINE void spread(const Piece *piece, const Sheet *sheet)
{
    const ptrdiff_t across = parts(piece->columns, sheet->width);

    for (ptrdiff_t strip = 0; strip < parts(piece->rows, STRIP); strip++)
        spread_strip(piece, sheet, strip);
    for (ptrdiff_t pair = 0; pair < parts(piece->rows, 2); pair++) {
        double *to = sheet->tile_peak + (piece->row / 2 + pair) * sheet->across
                     + piece->column / sheet->width;
        for (ptrdiff_t tile = 0; tile < across; tile++)
            to[tile] = number(piece->tiles[pair * across + tile]);
    }
    for (int sum = 0; sheet->over_rows && sum < SUMS; sum++)
        for (ptrdiff_t row = 0; row < piece->rows; row++)
            sheet->over_rows[sum * sheet->rows + piece->row + row]
                += piece->over_rows[sum * piece->rows + row];
    for (ptrdiff_t row = 0; sheet->over_rows && row < piece->rows; row++) {
        double *to = &sheet->over_rows[SUMS * sheet->rows + piece->row + row];
        *to = larger(*to, number(piece->row_top[row]));
    }
}

/* Inlined, so that all of it is made once for each kind of numbers and of processor. */
INLINE int add_piece(int kind, const Piece *piece, const Sheet *sheet, const double *range)
{
    if (sheet->over_rows)
        sum_up(kind, 1, piece, sheet->width);
    else
        sum_up(kind, 0, piece, sheet->width);
    if (!fits(piece, range[0], range[1]))
        return DOES_NOT_FIT;
    spread(piece, sheet);
    return ADDED;
}

#define OF_KIND(name, kind)                                                                        \
    BEST_OF_PROCESSOR static int name(const Piece *piece, const Sheet *sheet, const double *range) \
    {                                                                                              \
        return add_piece(kind, piece, sheet, range);                                               \
    }
OF_KIND(add_float32, FLOAT32)
OF_KIND(add_bfloat16, BFLOAT16)
OF_KIND(add_float16, FLOAT16)

/* Marks the source that this was built from. */
#ifndef SOURCE
#define SOURCE ""
#endif
const char *neuronaut_sums_source(void) { return SOURCE; }

static int add_kind(int kind, const Piece *piece, const Sheet *sheet, const double *range)
{
    if (kind == FLOAT32)
        return add_float32(piece, sheet, range);
    if (kind == BFLOAT16)
        return add_bfloat16(piece, sheet, range);
    if (kind == FLOAT16)
        return add_float16(piece, sheet, range);
    return CANNOT;
}

/* Add a piece of numbers of a kind to a sheet, if the largest |w| is 0 or within a range. */
int neuronaut_add(int kind, const Piece *piece, const Sheet *sheet, const double *range)
{
    fenv_t before;
    int outcome;

    if (sheet->width < BLOCK || sheet->width % BLOCK || sheet->width > WIDEST)
        return CANNOT;
    if (piece->columns > MOST || piece->row < 0 || piece->column < 0
        || parts(piece->row + piece->rows, STRIP) > sheet->strips
        || parts(piece->column + piece->columns, sheet->width) > sheet->across)
        return CANNOT;
    /* Some libraries have a whole process take the smallest numbers for 0. */
    fegetenv(&before);
    fesetenv(FE_DFL_ENV);
    outcome = add_kind(kind, piece, sheet, range);
    fesetenv(&before);
    return outcome;
}
