"""Writes recorded.txt beside it (needs mpmath): python3 recorded.py > recorded.txt"""

import random
import struct

from mpmath import mp, mpf, floor, log
mp.prec = 400
random.seed(1)
exponents = [0.1, 0.2, 0.3, 0.8, 1.2, 1.7, 1.8, 1.9999999999999998, 2.5, 3.0, 3.7, 6.0, 17.3, 64.0]
bits = lambda v: "%016x" % struct.unpack("<Q", struct.pack("<d", v))[0]
value = lambda b: struct.unpack("<d", struct.pack("<Q", b))[0]
def magnitudes(a, count):
    # Near 1, results that are subnormal or near overflow, any bits at all, subnormal numbers.
    for i in range(count):
        kind = i % 5
        if kind == 0: yield random.uniform(0.5, 2)
        elif kind == 1: yield float(mpf(2) ** (random.uniform(-1080, -1000) / mpf(a)))
        elif kind == 2: yield float(mpf(2) ** (random.uniform(1000, 1023.9) / mpf(a)))
        elif kind == 3: yield value(random.randrange(1, 0x7ff0000000000000))
        else: yield value(random.randrange(1, 1 << random.randrange(1, 53)))
for a in exponents:
    for x in magnitudes(a, 30):
        exact = mpf(x) ** mpf(a)
        if x == 0 or x == float("inf") or not mpf(2) ** -1080 < exact < mpf(2) ** 1023.9: continue
        # The distance from the nearest f64, in its spacing.
        near = mpf(int(floor(exact / mpf(2) ** -1074 + 0.5))) * mpf(2) ** -1074 if exact < mpf(2)**-1022 else mpf(float(exact))
        spacing = mpf(2) ** max(int(floor(log(exact, 2))) - 52, -1074)
        print(bits(a), bits(x), bits(float(near)), "%.5f" % float((exact - near) / spacing))
