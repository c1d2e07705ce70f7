"""Correlation matrices that have been published, to be typed in, and statistics of them."""

import numpy as np

from aefast import SufficientStatistics

# Twenty-four psychological tests of 145 children of grades seven and eight (Holzinger & Swineford
# 1939, Grant-White school): Harman (1976), Modern factor analysis, p. 124; R's Harman74.cor.
TWENTY_FOUR_TESTS = """
VisualPerception Cubes PaperFormBoard Flags
GeneralInformation PargraphComprehension SentenceCompletion WordClassification
WordMeaning Addition Code CountingDots
StraightCurvedCapitals WordRecognition NumberRecognition FigureRecognition
ObjectNumber NumberFigure FigureWord Deduction
NumericalPuzzles ProblemReasoning SeriesCompletion ArithmeticProblems
""".split()
N_CHILDREN = 145
_TWENTY_FOUR = """
318
403 317
468 230 305
321 285 247 227
335 234 268 327 622
304 157 223 335 656 722
332 157 382 391 578 527 619
326 195 184 325 723 714 685 532
116 57 -75 99 311 203 246 285 170
308 150 91 110 344 353 232 300 280 484
314 145 140 160 215 95 181 271 113 585 428
489 239 321 327 344 309 345 395 280 408 535 512
125 103 177 66 280 292 236 252 260 172 350 131 195
238 131 65 127 229 251 172 175 248 154 240 173 139 370
414 272 263 322 187 291 180 296 242 124 314 119 281 412 325
176 5 177 187 208 273 228 255 274 289 362 278 194 341 345 324
368 255 211 251 263 167 159 250 208 317 350 349 323 201 334 344 448
270 112 312 137 190 251 226 274 274 190 290 110 263 206 192 258 324 358
365 292 297 339 398 435 451 427 446 173 202 246 241 302 272 388 262 301 167
369 306 165 349 318 263 314 362 266 405 399 355 425 183 232 348 173 357 331 413
413 232 250 380 441 386 396 357 483 160 304 193 279 243 246 283 273 317 342 463 374
474 348 383 335 435 431 405 501 504 262 251 350 382 242 256 360 287 272 303 509 451 503
282 211 203 248 420 433 437 388 424 531 412 414 358 304 165 262 326 405 374 366 448 375 434
"""  # thousandths, below the diagonal

# Six tests of ability and intelligence, 112 persons, covariances divided by n − 1: Bartholomew &
# Knott (1990), Latent variable analysis and factor analysis; R's ability.cov.
SIX_TESTS = ["general", "picture", "blocks", "maze", "reading", "vocab"]
N_PERSONS = 112
_SIX = """
24641
5991 6700
33520 18137 149831
6023 1782 19424 12711
20755 4936 31430 4757 52604
29701 7204 50753 9075 66762 135292
"""  # thousandths

# Five socio-economic figures of twelve census tracts: Harman (1976), p. 14; psych's Harman.5.
FIVE_FIGURES = np.array(
    [
        [5700, 12.8, 2500, 270, 25000],
        [1000, 10.9, 600, 10, 10000],
        [3400, 8.8, 1000, 10, 9000],
        [3800, 13.6, 1700, 140, 25000],
        [4000, 12.8, 1600, 140, 25000],
        [8200, 8.3, 2600, 60, 12000],
        [1200, 11.4, 400, 10, 16000],
        [9100, 11.5, 3300, 60, 14000],
        [9900, 12.5, 3400, 180, 18000],
        [9600, 13.7, 3600, 390, 25000],
        [9600, 9.6, 3300, 80, 12000],
        [9400, 11.4, 4000, 100, 13000],
    ]
)


def twenty_four_tests():
    """Return the correlation matrix (24, 24)."""
    rows = [line.split() for line in _TWENTY_FOUR.strip().splitlines()]
    return _symmetric([[], *rows]) + np.eye(24)


def six_tests():
    """Return the covariance matrix (6, 6)."""
    covariance = _symmetric([line.split() for line in _SIX.strip().splitlines()])
    covariance[np.diag_indices(6)] /= 2
    return covariance


def _symmetric(rows):
    """Return L + Lᵀ, in units, of a lower triangle L in thousandths."""
    L = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        L[i, : len(row)] = [int(entry) / 1000 for entry in row]
    return L + L.T


def statistics(matrix, n):
    """Return statistics of n rows whose covariance, divided by n − 1, is the matrix."""
    return SufficientStatistics.from_covariance(matrix, n)
