//! Rows of padded planes, split into their even and odd elements: what tiles that lie side by side are loaded from, and what
//! their gradients are added to.

#![allow(clippy::needless_range_loop, reason = "an index is the same place of several arrays")]

use cpr_core::Real;

use crate::nn::{conv::patches::Geometry, element::Element};

/// Four rows of a padded plane, every second element together: row q of the plane at q mod 4.
#[derive(Debug)]
pub(super) struct Lines<T> {
    /// Elements 0, 2, … and 1, 3, … of each.
    halves: Vec<T>,
    /// Four sums of each: what column 0, 1, 2 and 3 of the tiles add. A zero before and after each.
    sums: Vec<T>,
    /// Distance of the halves, and of the sums.
    pub(super) length: usize,
}

impl<T: Element> Lines<T> {
    pub(super) fn new(g: Geometry) -> Self {
        let length = g.tile_columns() + 2;
        let zeros = |parts: usize| vec![<T as Real>::ZERO; 4 * parts * length];
        Self { halves: zeros(2), sums: zeros(4), length }
    }

    #[inline(always)]
    pub(super) fn halves(&self, row: usize) -> [&[T]; 2] {
        let (even, odd) =
            self.halves[row % 4 * 2 * self.length..][..2 * self.length].split_at(self.length);
        [even, odd]
    }

    /// Reads row `row` of a padded plane.
    #[inline(always)]
    pub(super) fn read(&mut self, g: Geometry, plane: &[T], row: usize) {
        let line = &mut self.halves[row % 4 * 2 * self.length..][..2 * self.length];
        match row.checked_sub(g.padding) {
            Some(row) if row < g.height => {
                let (even, odd) = line.split_at_mut(self.length);
                let row = &plane[row * g.width..][..g.width];
                let skipped = g.padding / 2;
                if g.padding.is_multiple_of(2) {
                    split(row, &mut even[skipped..], &mut odd[skipped..]);
                } else {
                    split(row, &mut odd[skipped..], &mut even[skipped + 1..]);
                }
            }
            _ => line.fill(<T as Real>::ZERO),
        }
    }

    #[inline(always)]
    pub(super) fn sums(&mut self, row: usize) -> &mut [T] {
        &mut self.sums[row % 4 * 4 * self.length..][..4 * self.length]
    }

    /// Adds the sums of a row of a padded plane to the plane.
    #[inline(always)]
    pub(super) fn add(&mut self, g: Geometry, plane: &mut [T], row: usize) {
        let Some(inside) = row.checked_sub(g.padding).filter(|&row| row < g.height) else { return };
        let length = self.length;
        let sums = self.sums(row);
        // Element 2j of the padded row is of column 0 of tile j and of column 2 of the tile before.
        let part = |column: usize, skipped: usize| {
            let (here, before) = (column * length + 1, (column + 2) * length);
            [&sums[here + skipped..], &sums[before + skipped..]]
        };
        let skipped = g.padding / 2;
        let (first, second) = if g.padding.is_multiple_of(2) {
            (part(0, skipped), part(1, skipped))
        } else {
            (part(1, skipped), part(0, skipped + 1))
        };
        add_halves(&mut plane[inside * g.width..][..g.width], first, second);
    }
}

/// Elements 0, 2, … and 1, 3, … of a row.
#[inline(always)]
fn split<T: Element>(row: &[T], even: &mut [T], odd: &mut [T]) {
    let (chunks, rest) = row.as_chunks::<16>();
    let mut halves = [[<T as Real>::ZERO; 8]; 2];
    for (index, chunk) in chunks.iter().enumerate() {
        for lane in 0..8 {
            halves[0][lane] = chunk[2 * lane];
            halves[1][lane] = chunk[2 * lane + 1];
        }
        even[8 * index..][..8].copy_from_slice(&halves[0]);
        odd[8 * index..][..8].copy_from_slice(&halves[1]);
    }
    let done = 8 * chunks.len();
    for (index, &x) in rest.iter().enumerate() {
        let half = if index % 2 == 0 { &mut *even } else { &mut *odd };
        half[done + index / 2] = x;
    }
}

/// Adds the sums of two halves, of two parts each, to the elements 0, 2, … and 1, 3, … of a row.
#[inline(always)]
fn add_halves<T: Element>(row: &mut [T], even: [&[T]; 2], odd: [&[T]; 2]) {
    let (chunks, rest) = row.as_chunks_mut::<16>();
    let done = 8 * chunks.len();
    for (index, chunk) in chunks.iter_mut().enumerate() {
        let mut sums = *chunk;
        let of = |part: &[T]| lanes::<T, 8>(&part[8 * index..]);
        let (even, odd) = ([of(even[0]), of(even[1])], [of(odd[0]), of(odd[1])]);
        for lane in 0..8 {
            sums[2 * lane] += even[0][lane] + even[1][lane];
            sums[2 * lane + 1] += odd[0][lane] + odd[1][lane];
        }
        *chunk = sums;
    }
    for (index, x) in rest.iter_mut().enumerate() {
        let [a, b] = if index % 2 == 0 { even } else { odd };
        *x += a[done + index / 2] + b[done + index / 2];
    }
}

/// The first N elements.
#[inline(always)]
pub(super) fn lanes<T: Element, const N: usize>(from: &[T]) -> [T; N] {
    let mut lanes = [<T as Real>::ZERO; N];
    lanes.copy_from_slice(&from[..N]);
    lanes
}
