//! From the points of a series to what is worth drawing.

use super::{layout::Frame, ruler::Ruler};

/// Columns a unit in which a long series is thinned: two, for screens finer than the figure.
const COLUMNS: f64 = 2.0;

/// Farthest from the frame that a coordinate reaches, in units; nothing that far is seen.
const FARTHEST: f64 = 1e5;

/// The lines of a series: each gap in the data begins a new one.
///
/// Points that an axis cannot show (not above 0 on a logarithmic one) are left out without a gap;
/// values that are not finite make one. Of the points of a column only the first, lowest, highest
/// and last are kept, which cover the same pixels.
pub(super) fn lines(
    points: &[(f64, f64)],
    x: &Ruler,
    y: &Ruler,
    frame: &Frame,
) -> Vec<Vec<(f64, f64)>> {
    points
        .split(|(x, y)| !(x.is_finite() && y.is_finite()))
        .map(|run| {
            let placed: Vec<_> = run
                .iter()
                .filter_map(|(px, py)| Some((frame.x(x.at(*px)?), frame.y(y.at(*py)?))))
                .map(|(px, py)| (px.clamp(-FARTHEST, FARTHEST), py.clamp(-FARTHEST, FARTHEST)))
                .collect();
            thinned(&placed)
        })
        .filter(|line| !line.is_empty())
        .collect()
}

fn thinned(line: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let column = |point: &(f64, f64)| (point.0 * COLUMNS).floor();
    let mut kept = Vec::new();
    for group in line.chunk_by(|a, b| column(a) == column(b)) {
        if group.len() <= 4 {
            kept.extend_from_slice(group);
            continue;
        }
        let (mut low, mut high) = (0, 0);
        for (index, point) in group.iter().enumerate() {
            if point.1 < group[low].1 {
                low = index;
            }
            if point.1 > group[high].1 {
                high = index;
            }
        }
        let mut indices = [0, low.min(high), low.max(high), group.len() - 1].to_vec();
        indices.dedup();
        kept.extend(indices.into_iter().map(|index| group[index]));
    }
    kept
}
