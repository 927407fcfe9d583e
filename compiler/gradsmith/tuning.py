"""The numbers that depend on the machine: one table, with how each was measured.

In: nothing. Out: `Tuning`, which `compile(tuning=...)` takes and which travels with the target to whatever writes code.
Guarantee: no value changes a result beyond rounding, and none is read from anywhere else. The measurements were taken
on two cores of an AMD EPYC (Zen 3, AVX2; where it is said, Zen 5, AVX-512), gcc 12; the scripts that repeat them stand
in `benchmarks/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from .errors import SpecError

__all__ = ["Tuning"]


#: What the kernels' texts have functions for.
_CHOICES: Mapping[str, tuple[int, ...]] = {
    "tile_rows": (4, 6, 8), "tile_rows_512": (4, 6, 8), "slope_channels": (4, 8), "slope_channels_512": (4, 8),
}  # fmt: skip

#: The least and the most of what registers hold.
_LIMITS: Mapping[str, tuple[int, int]] = {"tile_vectors": (1, 8), "lane_places": (4, 16), "lane_places_512": (4, 16)}


@dataclass(frozen=True)
class Tuning:
    """The constants of generated code that a machine decides.

    Each is a positive integer; leave one out to keep what was measured.

    >>> import gradsmith as gs
    >>> gs.Tuning(stack_work=1024).stack_work
    1024
    """

    #: Numbers of workspace that a call from Python keeps on the C stack; more lie on the heap, which costs an
    #: allocation (about 60 ns) a call. 32 KiB of doubles is safe on threads with the smallest usual stacks.
    stack_work: int = 4096
    #: Numbers that a call touches (inputs, outputs, workspace) from which on it lets other Python threads run:
    #: giving the lock back and taking it again costs some 50 ns, reading so many numbers some 5,000.
    release_gil: int = 16384
    #: Lines of C that one function may have; a longer body is cut into parts. Up to there, gcc -O2 takes at most
    #: twice as long for a line as in short functions, and whole bodies keep more values in registers.
    longest_body: int = 2000
    #: Lines of such a part. gcc -O2 took 586 us for each of 19,338 statements at 100 lines, 840 at 200, 753 at 400 and
    #: 1,224 at 800 (clang 300, 331, 317, 443; processors shared with ten others), and values that cross a cut are
    #: stored and loaded: 18,720, 16,591, 15,335 and 14,496 of them.
    part_lines: int = 200
    #: Lines of parts that are compiled in one run of the compiler; runs go side by side (10,000 take gcc -O2 160 MB,
    #: and -O1 130).
    unit_lines: int = 10_000
    #: Arguments (leaves of pytrees, of which an array is one) of one function; more are an error. A C function of 5,000
    #: parameters alone takes gcc 0.5 s and clang 0.6 s, of 20,000 1.1 s and 3.5 s, of 60,000 6.1 s and 27 s; to read
    #: so many numbers one by one from Python takes longer than most of what is done with them.
    most_arguments: int = 20_000
    #: Elements of one array that straight-line code takes apart; longer arrays are refused there. No matter of speed:
    #: it bounds the text, a line or more for each of them.
    straight_elements: int = 20_000
    #: Elements of every array that a function computes, up to which it becomes straight-line code in C, too. An arm of
    #: 3 x 3 matrices takes 0.41 of the time of its loops, a quaternion's rotation 0.56, products of 2, 3 and 4 rows and
    #: columns 0.36, 0.75 and 1.19, sums of 8, 16 and 32 squares 0.98, 1.23 and 2.14, Rosenbrock's function of 4, 8 and
    #: 16 numbers 0.90, 0.76 and 1.64. Where there are vector kernels, `vector_elements` is the limit: with 6 sines,
    #: straight lines take 1.93 times as long.
    unroll_elements: int = 9
    #: Operations of such a function. Zen 5, straight lines / loops (the least of 40 by turns on a busy machine): with 3
    #: x 3 rotations of 305, 1,115, 2,330, 4,760 and 9,620 operations 0.64, 0.60, 0.65, 0.61 and 0.62, with steps of
    #: three numbers of 1,010, 4,202 and 16,802 0.77, 0.66 and 0.82, of cross products of 415, 815, 1,615 and 3,215
    #: 0.95, 1.04, 0.79 and 0.64, but with chains of 8 numbers beside each other of 621, 1,221, 2,421 and 4,821 1.03,
    #: 1.20, 1.44 and 1.87, as these are vectors. Compilers take as long for either, up to 4,000.
    unroll_statements: int = 1_000
    #: Values that straight-line code may hold at a time before its statements are put into an order that holds fewer:
    #: AVX2 has 16 registers. Batches of 5,000 points with 4, 8, 12, 16, 24, 32 and 1,000 (never): Rosenbrock's function
    #: (n = 10) took 8.96, 8.92, 8.86, 8.98, 8.90, 9.23 and 9.46 ns a point, the arm 36.8 to 37.2 and 38.4, bundle
    #: adjustment 24.6 to 24.9 and 26.6, three others the same with all (the least of 200 by turns).
    registers: int = 16
    #: Equal steps in a row from which on straight-line code gives way to a loop. Zen 5, value and gradient by loops /
    #: straight lines (the least of 50 by turns on a busy machine): Rosenbrock's function in 7, 15, 23, 31 and 127 steps
    #: 1.10, 0.81, 0.68, 0.57 and 0.21, exp and tanh in 7, 15, 31 and 63 0.90, 0.85, 0.62 and 0.42, sums of 32, 64 and
    #: 128 squares 1.0, 0.79 and 0.54, a recurrence of 16, 32, 64 and 128 sines 0.96, 0.97, 0.95 and 0.93 ...
    roll_steps: int = 16
    #: ... and the operations of the primal that they hold together: those had 67, 139, 211, 283 and 1,147, 73, 153, 313
    #: and 633, 96, 192 and 384, and 66, 130, 258 and 514.
    roll_operations: int = 128
    #: Most points that a batch function takes at a time. From 32 to 256, Rosenbrock's gradient (n = 10) took the same
    #: 5.1 to 5.6 ns a point; the seed expression 8.4 with 32 and 7.1 with 128.
    batch_points: int = 128
    #: Bytes of a block's arguments and results, for which fewer points are taken at a time, and of whatever else such a
    #: function keeps on the C stack: the smallest usual stacks have 128 KiB, of which compilers take up to 20 for what
    #: they put aside. A network of 104 numbers a point in rows takes 60, 63 and 65 ns with blocks of 64, 128 and 256
    #: points where all is in the caches, and on Zen 5 25, 21.4, 20.2 and 19.2 with 16, 32, 64 and 128. Points of which
    #: eight would take more are computed one by one. Zen 5, eight at a time / one by one, ns a point (the least of 41
    #: by turns): gradients of 900 squares 1,838 / 335 in structures and 1,454 / 1,510 in rows, of 900 exp 5,119 / 602
    #: and 6,843 / 1,921, of 450 squares 588 / 688 in rows.
    batch_bytes: int = 110_592
    #: Bytes of results from which on a batch function stores them past the caches, and asks for the lines that later
    #: blocks read: half of the last cache (32 MiB), where arguments lie as well. The network at 100,000 points takes
    #: 240 ns without either, 190 with the first and 150 with both, bundle adjustment 82, 58 and 60; on two cores of
    #: Zen 5 (AVX-512) 102 and 26 without and, by the blocks of `stream_lines`, 35 to 41 and 13 to 15, ...
    stream_bytes: int = 16_777_216
    #: ... and numbers of a point (rows) from which on that is done: a CPU follows few rows by itself, and then stores
    #: cost nothing beside the reads. Without / with: 4.7 / 7.4 ns for 5 rows, 9.8 / 14.0 for 21, 85 / 57 for 49, 240 /
    #: 147 for 104 (decision 41; medians by turns on a busy machine). Zen 5 gains from 15 on (a million points): 1.41 /
    #: 1.80 for 5, 7.4 / 8.1 for 11, 10.0 / 9.2 for 15, 5.4 / 4.3 for 21 (decision 49). 32 serves both.
    stream_rows: int = 32
    #: Lines of arguments that such a block reads, and asks for, at most: a CPU has so many requests under way, and
    #: while it waits for a place among them, nothing is computed. Zen 5, medians by turns on a busy machine: the
    #: network (54 lines for 8 points) with 108, 216, 432 and 864 lines a block 37, 48, 62 and 63 ns, bundle adjustment
    #: (17) with 34, 68, 136 and 272 14.4, 12.8, 12.2 and 13.5. As code of AVX2 there, by blocks of 128 points / so: 72
    #: / 51, and 29 / 29.
    stream_lines: int = 128
    #: Rows of arguments up to which the first cache is to have these lines; those of more may meet in few of its places
    #: and drive each other out. Zen 5, first / second cache: the network (54 rows) with 100,000 points 30 / 30, 100,003
    #: 40 / 38, 100,480 61 / 34, 102,400 70 / 43, 131,072 92 / 48; bundle adjustment (17 rows) 14.4 / 15.2, 13.3 / 14.0,
    #: and with 131,072 13.4 / 14.3. The network as code of AVX2 with 131,072 points 84 / 55.
    near_rows: int = 24
    #: Points that such blocks go through together, as one share of a thread: rows of results begin and end anywhere in
    #: a line of memory, and only there parts of lines are stored. Zen 5, 100,003 points with 256, 512, 2,048, 8,192 and
    #: 32,768 (the least of 25 by turns on a busy machine): the network 46.1, 42.5, 40.7, 41.2 and 41.2 ns, bundle
    #: adjustment 16.3, 14.8, 13.2, 13.8 and 13.5.
    stream_run: int = 2_048
    #: Points from which on a short first block ends where lines do in most rows: vectors of 64 bytes lie in two
    #: lines each otherwise. Zen 5, without / with, rows 16 bytes behind a line, medians by turns on a busy machine:
    #: Rosenbrock's function (n = 10) with 4,096 points 1.56 / 1.82, 16,384 2.23 / 2.00, 100,000 2.53 / 2.31; the
    #: network 44 / 37; as code of AVX2 3.2 / 2.9 and 52 / 50, and Black-Scholes 17 / 15.
    head_points: int = 16_384
    #: Statements of one point, beyond which a batch function is not one vectorised loop but calls the function of one
    #: point: not for the time of a call, but of the C compiler. Zen 5, 4-h-1 networks of shared weights, vectorised /
    #: one by one (the least of 40 by turns on a busy machine): 342 statements take 0.42 of the time, 1,380, 2,072,
    #: 2,764 and 4,148 0.65 to 0.67, and 8,300 0.87; gcc takes 1.0 s, 3.0, 4.8, 7.8, 17.0 and 22.7, and 0.7 for one
    #: point's. Recurrences whose gradient is no longer stay straight lines for it (48 and 130 sines: 0.09 of a loop's
    #: time).
    batch_statements: int = 2_000
    # The following are of products of matrices, by benchmarks/contractions.py and the sizes named.
    #: Products of numbers from which on tiles compute a product of matrices; with less it is written out, if a sum has
    #: at most 16 terms, and else a loop. By AVX2 on Zen 5, 8 x 8 in double takes 24 ns by tiles and 34 written out (by
    #: AVX-512 16 and 16); 7 x 7 12 and 21 (20 by AVX2), and 78 by loops.
    matmul_least: int = 512
    #: Terms of a sum up to which longer products are written out, too, where rows have less than 64 bytes (16 at most).
    #: Zen 5, written out / by tiles, 64 rows, AVX-512 and AVX2: in double with 4 terms and 3 columns 0.56 and 0.72, 8
    #: and 3 0.7 and 0.9, 8 and 6 0.91 and 0.82, 12 and 3 0.73 and 1.16, 16 and 4 0.96 and 0.99; in float 8 and 3 0.7
    #: and 0.5, 12 and 6 0.77 and 1.1, 16 and 6 0.86 and 1.34 (the least of 25 by turns).
    narrow_terms: int = 8
    #: The same of a matrix and a vector, for sums along rows of at least 8 numbers (8 x 8: 9 ns by the kernel, 25 by
    #: loops). Sums of rows need four times as many products (16 x 16: 26 ns, 21 by loops; 4 x 64: 26 ns, 39 by loops).
    matvec_least: int = 64
    #: Rows, and vector registers a row, of the tile that stays in registers: 12 of AVX2's 16 registers are sums, which
    #: is 97 % of the peak where all is in the first cache; 4 rows of 3 spill with gcc (64 %). NEON (which takes twice
    #: the registers, of 32) has enough sums in flight as well.
    tile_rows: int = 6
    tile_vectors: int = 2
    #: Rows of that tile with AVX-512, which has 32 registers. On a Zen 5 (peak 124 GFLOP/s in double, 248 in float),
    #: 6 x 2, 8 x 2 and 8 x 3 do 102, 117 and 109 for 32 x 32 in double and 211, 236 and 171 in float; 112, 116 and 112
    #: for 256 x 256; 91, 94 and 98, and 191, 200 and 194, for 512 x 512.
    tile_rows_512: int = 8
    #: Bytes of the right factor from which on its columns are packed into panels: with 80 KB nothing is gained, with
    #: 128 KB a fifth.
    pack_right: int = 100_000
    #: Bytes of the left factor from which on its rows are packed as well: with 512 KB nothing is gained, with 2 MB the
    #: half. A quarter of it counts if that factor is transposed.
    pack_left: int = 1_000_000
    #: Rows, columns and depth of the blocks of packed products: a panel 256 deep takes half of the first cache (32 KB),
    #: 96 rows of that depth 40 % of the second (512 KB). From 48 to 192 rows and 192 to 384 deep, times of 512 x 512
    #: matrices differ by less than the scatter.
    block_rows: int = 96
    block_columns: int = 1024
    block_depth: int = 256
    #: Rows of A up to which an element of `A Bᵀ` is the product of two rows, and B is not packed. GFLOP/s by rows /
    #: by tiles, with B of 256 x 256: 18.7 / 12 with 4 rows in double and 36 / 18 in float, 15 / 19 and 38 / 28 with 6,
    #: 19 / 19 and 31 / 28 with 8, 20 / 30 and 34 / 41 with 12.
    rows_by_vectors: int = 4
    #: Rows of each factor of `A Bᵀ` up to which its elements are sums in registers, with nothing packed (of a stack, up
    #: to `narrow_columns` where they fill tiles), ...
    dot_rows: int = 10
    #: ... and bytes that these rows have at least. Time by sums / by panels with 128 and 256 doubles a row: 0.27 and
    #: 0.16 for 5 x 5, 0.64 and 0.52 for 8 x 8, 0.46 and 0.37 for 10 x 10, 0.75 and 0.66 for 13 x 13, 1.2 and 1.1 for
    #: 16 x 16; of floats 0.22 and 0.13, 0.52 and 0.35, 0.40 and 0.27, 0.77 and 0.55, 1.2 and 0.9 (Zen 5, AVX-512). By
    #: AVX2 there, 8, 10 and 13 rows take 1.3, 0.9, 1.1 and 1.2, 0.6, 1.0 in double, 0.8, 0.6, 0.8 and 0.6, 0.6, 0.8.
    dot_bytes: int = 512
    #: Bytes of a product from which on it and the loops that read its elements go through blocks of rows together: at
    #: 256 KB two layers take 0.7 of the time, a layer alone 0.96 to 1.01, at 2 MB 0.57 to 0.63, and 0.80 to 0.99 ...
    product_least: int = 262_144
    #: ... and bytes that such a block of it has at most: with 12, 24, 48, 96, 192 and 384 KB, a layer of 4096 x 32 x 64
    #: with bias and ReLU takes 434, 434, 412, 412, 429 and 468 us, and 546 by passes.
    product_bytes: int = 98_304
    #: The same of the results of some pictures of a convolution. With 96, 384 KB and by passes (decision 66), bias and
    #: ReLU of 32 x 28 x 28 with 8 filters of 3 x 3 take 45.0, 43.2 and 47.7 us in double, 21.5, 21.3 and 21.6 in float,
    #: 64 x 28 x 28 with 32 of 5 x 5 (147 KB a picture in double) 738, 564 and 733, and 348, 351 and 358.
    picture_bytes: int = 262_144
    #: Columns at most of matrices whose rows go innermost in memory, where vectors of columns would have a sixth of
    #: their lanes empty. Mixtures with 20 and 26 columns take 0.82 and 0.98 in double, 0.54 and 0.86 in
    #: float, by AVX2 0.94 and 0.98, 0.80 and 0.84; with 16 columns, which fill vectors, 1.16 in double.
    narrow_columns: int = 32
    #: Bytes of a stack of products, or of a factor, from which on its matrices are computed one after the other, each
    #: with all that is done with it while the first cache has it (see `lower.members`), ...
    stack_least: int = 65_536
    #: ... bytes that one matrix of it and of its factors have together at most, ...
    stack_most: int = 98_304
    #: ... and bytes of a row of one of them at least. Mixtures of 1000 points, in blocks with points in rows, take
    #: 0.92 and 0.75 of the time so (d = 10, k = 25, double and float; 1.00 and 0.94 by AVX2), with rows of 20 or 30
    #: numbers 0.95 to 1.07. With d = 64 and k = 100 matrices have 91 KB: 0.96 in double (1.02 by AVX2), 1.01 and 1.02
    #: in float, and four fifths of the memory (Zen 5, medians of ratios by turns on a busy machine).
    stack_row: int = 512
    #: Bytes of the arrays between products of matrices from which on a chain of them is computed in blocks of rows, and
    #: that those of a block take together, if these are at least `blocked_rows`. A Gaussian mixture with 6 MB of them
    #: takes 661 us with 250 KB, 649 with 500 KB, 736 with 1 MB, 756 with 2 MB and 950 without blocks (d = 10 in
    #: benchmarks/arrays.py, the least of 266 by turns; the second cache has 512 KB). On Zen 5 it takes 366 with 250 KB
    #: and with 500 KB (and by AVX2 371 and 374), and 250 KB are what code by hand keeps. A block of float32 has as many
    #: numbers as one of float64: with 125 KB it takes 249.7 us there, and 250.4 with 250 KB (by AVX2 325 and 324).
    blocked_bytes: int = 250_000
    #: Least rows of a block: what is added up over all rows is read and written once a block. With 154 MB in between
    #: and 3.3 MB added up (d = 64), blocks of 50, 100 and 125 rows take 83, 89 and 91 ms, hand-written code 80 (much
    #: other work beside). On Zen 5, 50 and 100 rows take 25 and 28 ms, and 12 and 17 MB of memory.
    blocked_rows: int = 48
    #: Bytes of a row at least where the rows lie innermost in memory (narrow matrices, see `passes.innermost`), as sums
    #: of a block end with those within vectors, and the first cache holds a member of a stack. 1024 points with d = 10
    #: and k = 25 in blocks of 64, 128, 256 and 512 take 177, 167, 182 and 234 us in double, 175, 103, 91 and 98 in
    #: float, by AVX2 304, 295, 309 and 360, 207, 160, 158 and 161 (C alone, Zen 5, the least of 3 by turns).
    blocked_lanes: int = 1_024
    #: Results of one channel of a convolution that are computed beside each other, over the ends of rows, where rows
    #: fill vectors badly; 64 at least. Pictures of 12 x 12 with 64, 128, 256 and 512: 3.7, 3.5, 3.3, 3.3 us in double,
    #: 2.6, 2.6, 2.4, 2.4 in float with AVX-512, 6.2 and 3.2 with all as code of AVX2; larger ones differ less.
    flat_results: int = 128
    #: Channels whose slopes by the weights are added up together, at 3 places: 4 or 8. Sums of 8 are 24 registers, AVX2
    #: has 16: with 4 / 8, 28 x 28 x 8 takes 31.9 / 42.3 us in double and 17.5 / 22.8 in float ...
    slope_channels: int = 4
    #: ... and with AVX-512, which has 32: 17.9 / 17.2 and 9.5 / 8.9; 12 x 12 6.6 / 6.0 and 4.6 / 4.1 (Zen 5, the least
    #: of 120 by turns on a busy machine, value and slope).
    slope_channels_512: int = 8
    #: Bytes that each filter has of what a slope by the weights adds up at a time: a tile reads those of 8 filters (4
    #: without AVX-512) again and again. On Zen 5 with 4, 8, 16, 32 and 64 KB, and all: 32 of 8 x 28 x 28 with 16
    #: filters take 0.85, 0.90, 0.87, 0.86, 0.87 and 1.19 ms, 16 of 3 x 64 x 64 with 32 of 5 x 5 5.1, 5.3, 5.1, 5.1,
    #: 5.0 and 22.7, in float32 2.1, 2.3, 2.1, 2.2, 2.2 and 3.7 (by turns, the least CPU time on a busy machine).
    taps_bytes: int = 32_768
    #: Places of a convolution that meet two vectors of channels at a time, in registers, 4 to 16: sums of 6 are 12 of
    #: AVX2's 16 registers. GFLOP/s with 4, 6, 7 and 8: 120, 136, 75 and 85 of 139, in double as if vectors had 64 bytes
    #: (64 channels of 3 x 3 taps, Zen 5, the least of 60 on a quiet machine) ...
    lane_places: int = 6
    #: ... and with AVX-512, which has 32: 4, 6, 8, 10, 12 and 14 take 120, 136, 137, 138, 138 and 137 of 139 in double,
    #: 246, 276, 272, 270, 271 and 272 in float, and of one vector, where places are pairs, 70, 97, 118, 127, 134, 132.
    lane_places_512: int = 14
    #: Taps that take as long as storing what such a tile has, for which it is transposed. Time by lanes / with
    #: neighbouring results in vectors, of rows that fill these: 64 taps 1.05, 72 1.0, 75 1.12, 144 1.06, 576 0.87 in
    #: double, 1.05, 1.35 (of one vector), 1.13, 1.1 and 0.86 in float (as above).
    lane_taps: int = 16
    #: Bytes of such weights that meet all places by turns: what stays in the second cache.
    lane_bytes: int = 524_288
    #: Bytes of the pictures, and of their results or slopes, whose places or edges are computed together. Shares of the
    #: peak with 512 KB, 2 and 8 MB: slopes of 8 x 128 x 16 x 16 with 128 filters of 3 x 3 0.70, 0.77 and 0.77 in
    #: double, 0.76, 0.77 and 0.79 in float, of 32 x 32 x 14 x 14 with 32 of 5 x 5 0.72, 0.75 and 0.76, 0.74, 0.78 and
    #: 0.78 (as above).
    lane_pictures: int = 2_097_152
    #: Per cent of the time of a vector of taps along rows that a vector of filters takes, in a slope by the weights: so
    #: that these go into vectors if they fill as many of the lanes. Time of the slope by that of vectors along rows
    #: (Zen 5, AVX-512, the least of 40 by turns), 8 of 16 x 28 x 28 with 3 x 3: 3, 4, 7, 10, 12, 20 and 24 filters
    #: 1.31, 1.15, 0.79, 0.93, 0.85, 0.82 and 0.69 in double, in float 1.60, 1.45, 0.95, 1.09, 1.01, 1.17 and 1.02; 16
    #: of 14 x 14 with 6 and 11 0.92 and 0.92, in float 0.94 and 0.91.
    slope_lanes: int = 65
    #: Bytes of a block of the result's slope that is turned, so that filters are innermost, and read by all tiles. With
    #: 16, 64, 256 and 1,024 KB, Zen 5: 4 of 64 x 56 x 56 with 64 filters 8.4, 7.0, 6.9 and 6.8 ms, 32 of 16 x 14 x 14
    #: with 32 of 5 x 5 708, 649, 635 and 633 us, 4 of 128 x 16 x 16 with 128 2.6, 2.0, 1.9 and 1.8 ms, in float alike.
    slope_bytes: int = 262_144

    #: Elements of an array from which on its exp, log, sin … are our vector kernels: four doubles are one vector, whose
    #: kernel takes about as long as two calls of the C library (benchmarks/vector_functions.py).
    vector_elements: int = 4
    #: Elements of a row from which on all that needs no other row is done in one loop over rows. Gradients of layer
    #: norm and of a softmax of 8,192 numbers, by rows / by passes: with rows of 4 in 59 / 43 and 95 / 76 us, of 8 in
    #: 41 / 39 and 92 / 80, of 16 in 33 / 35 and 78 / 78, of 32 in 29 / 33 and 71 / 83 (the least of 400 by turns).
    row_elements: int = 16
    #: Bytes of a matrix A from which on `A x` and `d A` are computed for blocks of rows by turns, so that A is read
    #: once. Least squares by blocks / by passes, in double: 0.8 / 0.8 us at 64 x 64 (32 KB), 2.2 / 2.6 at 128 x 128,
    #: 103 / 123 at 512 x 1024 (the best tenth of 500 by turns, as below).
    block_least: int = 65_536
    #: Bytes of the rows of such a block (but 4 rows at least): what the first cache holds. 1000 x 500 took 90 us with
    #: 16 KB, 87 with 32, 101 with 64 and more, and 119 by passes; 512 x 1024 took 103 with 32 and 110 with 64.
    block_bytes: int = 32_768
    #: Bytes of 4 rows, beyond which there are no blocks, as no cache near the core holds them: 64 x 8192 took 130 us by
    #: blocks of 256 KB, and 135 by passes; 64 x 32768 from 609 to 619, and 655, in much scatter.
    block_most: int = 524_288

    #: Strands of a sum that does little but add, which would wait for each addition: of 1,000 doubles in 1, 2 and 4 a
    #: sum took 349, 238 and 196 ns with its call from Python, a dot product 363, 254 and 246, a maximum 609, 443, 375.
    sum_strands: int = 4
    #: Doubles that each of two strands has at least, and of four twice as many (of float32, as many bytes). Sums with
    #: 1, 2 and 4 strands, ns with AVX2 / AVX-512 (Zen 5): 64 doubles 15, 12, 12 / 13, 12, 15, 128 23, 16, 14 / 17, 14,
    #: 16, 256 39, 24, 18 / 25, 18, 18, 256 of float32 25, 18, 18 / 21, 19, 24; layer norm with such rows 0.96 with 2.
    strand_elements: int = 32
    #: Additions and products, for each sum, of a loop that waits for its additions; with more it has one strand. 1,024
    #: doubles with 1 / 4 strands, ns with AVX2 and AVX-512 (Zen 5): with 2 operations an element 210 / 130 and 150 /
    #: 130, with 4 210 / 160 and 160 / 150, with 5 220 / 180 and no gain (the least of 5,000 by turns).
    strand_operations: int = 4

    #: Bytes of a row from which on a loop that adds it up has partial sums, if they fill it. Time with / without them,
    #: gcc 12 (Zen 5, AVX-512 and AVX2, the least of 60 by turns on a busy machine): layer norm with rows of 16, 64, 256
    #: and 4,096: 0.48, 0.71, 0.83 and 0.99, with AVX2 0.76, 0.91, 0.92 and 0.96 in float, 0.71, 0.91, 0.94 and 1.00,
    #: with AVX2 1.02, 0.96, 0.99 and 0.97 in double; softmax 0.64, 0.79, 0.92 and 1.00, with AVX2 0.67, 0.94, 0.97 and
    #: 0.99 in float, 0.77, 0.92, 0.99 and 0.99, with AVX2 1.01, 1.08, 1.00 and 1.00 in double.
    partial_bytes: int = 64

    #: Rows, at most, that a sum over rows of light terms adds up in registers before it is stored, in equal strips. A
    #: mixture (d = 10, k = 25, 1000 points) with 1, 4, 8 and 16 takes 134, 125, 125 and 122 us in double, 73, 71, 70
    #: and 70 in float, by AVX2 251, 241, 238 and 239, 126, 121, 120 and 122 (C alone, Zen 5, medians by turns).
    strip_rows: int = 8

    #: Bytes of a line of the cache: arrays of a workspace begin at multiples of it, or the largest part of an array
    #: that is put together does. The heat equation of `benchmarks/arrays.py` takes 26.2 us without (130 doubles an
    #: array, most stores in two lines), and 19.0 us so.
    line_bytes: int = 64
    #: Lines of an array from which on that is done; a shorter one may begin anywhere. The heat equation with 2, 8 and
    #: 1,000 (never): 60 cells 8.8, 10.0 and 10.0 us, 100 11.3, 11.3 and 12.6, 256 28.3, 28.4 and 33.5; with 1 to 4
    #: lines (10 to 34 cells) it makes no difference (the least of 360 by turns).
    line_least: int = 2
    #: Additions and products that take as long as storing a number: what takes no more of them, at all the places where
    #: other loops read it, is computed there again. A vector of Zen 3 is stored in a cycle, in which two are added.
    recompute_operations: int = 2
    #: Additions and products, in all, that may be done again for each element, so that a sum is added up in the loop
    #: that writes a gradient, and nothing is stored in between. With 3 and 4, the gradients of two chains of neighbours
    #: took 0.86, 0.9, 0.78 and 0.7 of the time with 16, 100, 1,000 and 10,000 numbers; with 8 it was 0.9 to 1.3.
    along_operations: int = 4
    # The following are of code for several threads (`threads="openmp"`). In CPU time of one
    # thread, a product of 512 x 512 takes 8.4 ms with it and 9.5 without, a batch of 100,000 points 385 and 384 us.
    #: Elements of a loop from which on threads share it. In 1 / 2 threads (the least of 2,400 by turns, others beside):
    #: 2 x + y of 4,096 elements 2.0 / 1.7 us, 8,192 3.2 / 3.6, 16,384 5.8 / 4.3, 32,768 12.1 / 9.1; a dot product
    #: 1.8 / 2.0, 3.2 / 3.1, 4.7 / 3.6, 9.5 / 6.3; exp 8.6 / 5.0, 16.1 / 8.8, 31.5 / 17.1, 65.0 / 35.3. To start threads
    #: and wait for them costs 0.8 us where they are awake, and 8 where they sleep (`OMP_WAIT_POLICY=passive`, or after
    #: some ms without work): then nothing here gained, exp of 65,536 neither.
    thread_elements: int = 16_384
    #: Shares at most into which a loop is cut that adds something up, whatever the number of threads. With 4, 16, 64
    #: and 256 in 2 threads, a sum of a million sin(x)^2 took 1.37, 1.43, 1.34 and 1.45 ms, a dot product of 100,000
    #: 13.2, 14.1, 13.5 and 13.4 us, a softmax of 1,000 rows of 300 359, 365, 369 and 362.
    thread_shares: int = 64
    #: Elements of such a share at least, lest what is around it takes long, and of what one thread takes at a time of a
    #: loop that becomes vectors (rounded up to whole ones). Zen 5, in 2 threads (the least of 200 by turns on a busy
    #: machine) with 64, 256, 1,024, 4,096 and 16,384: 20,000 sin(x)^2 7.6, 7.5, 7.5, 8.5 and 11.0 us, 200,000 63.0,
    #: 62.9, 62.8, 63.4 and 70.6, 20,000 x exp(x) 5.6, 5.6, 5.5, 6.3 and 7.9; in one thread the same with all.
    thread_share: int = 1_024
    #: Such shares at most of a sum of rows, each of which has sums of all columns. With 2, 4, 16 and 64 in 2 threads,
    #: us: 1000 x 1000 sines 296, 296, 299, 309, 4096 x 64 79, 79, 80, 81, 512 x 256 39.8, 39.7, 41.0, 41.5.
    thread_sums: int = 16
    #: Products of numbers from which on threads share a product of matrices: 25 us and less.
    thread_products: int = 262_144
    #: The same of a convolution, and of each of its slopes. One picture of 8 x 28 x 28 with 8 filters (389,376), value
    #: and gradients in 1 / 2 threads: 35 / 27 us in double and 24 / 26 in float, by code for one thread 32 and 20.
    thread_windows: int = 524_288
    #: Threads at most that copy the taps of such a slope at a time, each of which has a line of them for itself. With
    #: 1, 4, 16 and 64 in 2 threads (Zen 5, the least of 150 by turns): 32 of 8 x 28 x 28 with 16 filters 799, 725, 731
    #: and 729 us, 4 of 16 x 16 x 16 with 64 243, 227, 228 and 231, 64 x 12 x 12 with 64 149 with each; in one thread
    #: the same with all.
    thread_lines: int = 16
    #: Numbers that are added to a row at a run-time place, from which on threads have rows: each looks at all places.
    #: 20,000 rows of 16 take 0.97 of the time in two threads, of 64 0.72, and 4,096 of 256 0.61.
    thread_row: int = 32
    #: Rows of a product's result that one thread takes at a time. Zen 5, in 2 threads (the least of 500 by turns on a
    #: busy machine) with 8, 16, 24, 32 and 64: 256 x 256 275, 299, 296, 298 and 354 us, 128 x 128 59, 60, 64, 58 and
    #: 58; 64 x 784 by 784 x 128 238, 254, 256, 159 and 136 (the last is one thread's: a product that should stay with
    #: one); in one thread the same with all.
    thread_rows: int = 24
    #: Columns of a sum of rows that one thread takes at a time. In one thread, 1000 x 1000 doubles took 230, 191, 164
    #: and 144 us with 64, 128, 256 and 512, and 122 with all.
    thread_columns: int = 512

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SpecError(f"Tuning({field.name}={value!r}): give a positive integer")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                known = f"{', '.join(map(str, choices[:-1]))} or {choices[-1]}"
                raise SpecError(f"Tuning({name}={getattr(self, name)}): choose {known}")
        for name, (least, most) in _LIMITS.items():
            if not least <= getattr(self, name) <= most:
                raise SpecError(f"Tuning({name}={getattr(self, name)}): give {least} to {most}")
        if self.flat_results < 64:  # two rows that are shorter than a vector, with what lies between them
            raise SpecError(f"Tuning(flat_results={self.flat_results}): give 64 or more")
