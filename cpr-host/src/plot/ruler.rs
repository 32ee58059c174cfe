//! Range and ticks of an axis.

use super::{Axis, Scale};

/// Magnitudes past this are as good as infinite: their differences would overflow.
const LARGEST: f64 = 1e300;

/// Whether a range that fits the data ends at it or leaves room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Ends at the data.
    Tight,
    /// Ends at ticks, or at a margin on a logarithmic axis.
    Roomy,
}

/// The text at a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// A number written out.
    Plain(String),
    /// `<factor>10^<exponent>`; the factor carries its multiplication sign.
    Power { factor: String, exponent: i32 },
}

/// A labelled tick.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    /// Place on the axis, 0 at its start and 1 at its end.
    pub(crate) at: f64,
    pub(crate) label: Label,
}

/// An axis with its range settled.
#[derive(Clone, Debug)]
pub(crate) struct Ruler {
    scale: Scale,
    /// Ends of the range; of log10 of it on a logarithmic axis.
    low: f64,
    high: f64,
    pub(crate) ticks: Vec<Tick>,
    /// Places of ticks without a label.
    pub(crate) minor: Vec<f64>,
}

/// A value that can be drawn on an axis.
pub(crate) fn is_drawable(scale: Scale, value: f64) -> bool {
    value.abs() <= LARGEST && (scale == Scale::Linear || value > 0.0)
}

/// Whole multiple of a power of ten: `count · 10^exponent`.
#[derive(Clone, Copy)]
struct Decimal {
    count: i64,
    exponent: i32,
}

impl Decimal {
    fn value(self) -> f64 {
        // Counts are below 2⁵³: a tick is at most 10¹³ steps from 0.
        self.count as f64 * power_of_ten(self.exponent)
    }
}

impl Ruler {
    /// The ruler of an axis for data between the two values of `data`, about `wanted` ticks long.
    pub(crate) fn new(axis: &Axis, data: Option<(f64, f64)>, fit: Fit, wanted: usize) -> Self {
        let usable = |&(low, high): &(f64, f64)| {
            low < high
                && is_drawable(axis.scale, low)
                && is_drawable(axis.scale, high)
                && match axis.scale {
                    Scale::Linear => is_wide(low, high),
                    Scale::Log => libm::log10(high) - libm::log10(low) > 1e-9,
                }
        };
        match (axis.range.filter(usable), axis.scale) {
            (Some((low, high)), Scale::Linear) => Self::linear(low, high, Fit::Tight, wanted),
            (Some((low, high)), Scale::Log) => {
                Self::log(libm::log10(low), libm::log10(high), wanted)
            }
            (None, Scale::Linear) => {
                let (low, high) = data.map_or((0.0, 1.0), widened);
                Self::linear(low, high, fit, wanted)
            }
            (None, Scale::Log) => {
                let (low, high) = data.unwrap_or((1.0, 10.0));
                let (mut low, mut high) = (libm::log10(low), libm::log10(high));
                if high - low < 0.05 {
                    (low, high) = (low - 0.1, high + 0.1);
                } else if fit == Fit::Roomy {
                    let margin = 0.05 * (high - low);
                    (low, high) = (low - margin, high + margin);
                }
                Self::log(low, high, wanted)
            }
        }
    }

    /// Place of a value on the axis, 0 at its start and 1 at its end; `None` if it cannot be drawn.
    pub(crate) fn at(&self, value: f64) -> Option<f64> {
        is_drawable(self.scale, value).then(|| match self.scale {
            Scale::Linear => self.fraction(value),
            Scale::Log => self.fraction(libm::log10(value)),
        })
    }

    fn fraction(&self, position: f64) -> f64 {
        (position - self.low) / (self.high - self.low)
    }

    fn linear(low: f64, high: f64, fit: Fit, wanted: usize) -> Self {
        let step = step(high - low, wanted);
        let (low, high) = match fit {
            Fit::Tight => (low, high),
            Fit::Roomy => {
                let size = step.value();
                ((low / size + 1e-9).floor() * size, (high / size - 1e-9).ceil() * size)
            }
        };
        let values = multiples(step, low, high);
        let notation = Notation::of(&values);
        let mut ruler = Self { scale: Scale::Linear, low, high, ticks: vec![], minor: vec![] };
        ruler.ticks = values
            .into_iter()
            .map(|value| Tick { at: ruler.fraction(value.value()), label: notation.label(value) })
            .collect();
        ruler
    }

    /// `low` and `high` are log10 of the range.
    fn log(low: f64, high: f64, wanted: usize) -> Self {
        let mut ruler = Self { scale: Scale::Log, low, high, ticks: vec![], minor: vec![] };
        // Exponents are between −324 and 308.
        let (first, last) = (low.floor() as i32, high.ceil() as i32);
        let inside = |at: &f64| (-1e-9..=1.0 + 1e-9).contains(at);
        let select = |factors: &[i64], every: i32| -> Vec<(f64, Decimal)> {
            (first..=last)
                .filter(|exponent| exponent % every == 0)
                .flat_map(|exponent| factors.iter().map(move |&count| Decimal { count, exponent }))
                .map(|value| {
                    let log = libm::log10(value.count as f64) + f64::from(value.exponent);
                    (ruler.fraction(log), value)
                })
                .filter(|(at, _)| inside(at))
                .collect()
        };
        let decades = select(&[1], 1).len();
        let every = decades.div_ceil(wanted.max(1) + 2).max(1) as i32;
        let mut chosen = select(&[1], every);
        if decades < 3 {
            chosen = select(&[1, 2, 5], 1);
        }
        if chosen.len() < 3 {
            // Less than a decade: round numbers, unevenly spaced.
            let (low, high) = (power(low), power(high));
            chosen = multiples(step(high - low, wanted), low, high)
                .into_iter()
                .filter(|value| value.count > 0)
                .map(|value| (ruler.fraction(libm::log10(value.value())), value))
                .filter(|(at, _)| inside(at))
                .collect();
        }
        ruler.minor = if every == 1 {
            select(&[2, 3, 4, 5, 6, 7, 8, 9], 1).into_iter().map(|(at, _)| at).collect()
        } else {
            select(&[1], 1).into_iter().map(|(at, _)| at).collect()
        };
        let notation = Notation::of(&chosen.iter().map(|(_, value)| *value).collect::<Vec<_>>());
        ruler.ticks = chosen
            .into_iter()
            .map(|(at, value)| Tick { at, label: notation.label(value) })
            .collect();
        ruler
    }
}

/// Whether a range is wide enough for ticks that doubles can tell apart.
fn is_wide(low: f64, high: f64) -> bool {
    high - low > (1e-12 * low.abs().max(high.abs())).max(1e-290)
}

/// A range around values that hardly differ.
fn widened((low, high): (f64, f64)) -> (f64, f64) {
    let magnitude = low.abs().max(high.abs());
    if is_wide(low, high) {
        (low, high)
    } else if magnitude <= 1e-289 {
        (0.0, 1.0)
    } else {
        (low - 0.1 * magnitude, high + 0.1 * magnitude)
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is `wanted` times in `span` or less.
fn step(span: f64, wanted: usize) -> Decimal {
    let raw = span / wanted.max(1) as f64 * (1.0 - 1e-9);
    let exponent = libm::log10(raw).floor() as i32;
    let mantissa = raw / power_of_ten(exponent);
    match [1, 2, 5].into_iter().find(|&count| f64::from(count) >= mantissa) {
        Some(count) => Decimal { count: i64::from(count), exponent },
        None => Decimal { count: 1, exponent: exponent + 1 },
    }
}

/// The multiples of `step` between `low` and `high`.
fn multiples(step: Decimal, low: f64, high: f64) -> Vec<Decimal> {
    let size = step.value();
    let (first, last) = ((low / size - 1e-9).ceil() as i64, (high / size + 1e-9).floor() as i64);
    (first..=last).map(|times| Decimal { count: times * step.count, ..step }).collect()
}

/// How the numbers of one axis are written, the same for all of them.
#[derive(Clone, Copy)]
enum Notation {
    /// In units of 10^exponent with a letter behind.
    Unit { exponent: i32, letter: &'static str },
    /// As multiples of this power of ten.
    Scientific { exponent: i32 },
    /// Each as its own power of ten.
    Powers,
}

impl Notation {
    fn of(values: &[Decimal]) -> Self {
        let largest = values.iter().map(|value| value.value().abs()).fold(0.0, f64::max);
        let smallest = values
            .iter()
            .map(|value| value.value().abs())
            .filter(|value| *value > 0.0)
            .fold(f64::INFINITY, f64::min);
        if largest == 0.0 {
            return Self::Unit { exponent: 0, letter: "" };
        }
        // The nudge keeps exact powers, whose computed value can be one bit low, in their decade.
        let magnitude = largest * (1.0 + 1e-9);
        let powers = values.iter().all(|value| value.count == 1) && values.len() > 1;
        let written_out = 0.9e-3..1.1e9;
        if powers && !(written_out.contains(&smallest) && written_out.contains(&largest)) {
            return Self::Powers;
        }
        let exponent = libm::log10(magnitude).floor() as i32;
        match magnitude {
            _ if !(1e-3..1.1e9).contains(&magnitude) => Self::Scientific { exponent },
            _ if magnitude >= 1e6 && !powers => Self::Unit { exponent: 6, letter: "M" },
            _ if magnitude >= 1e4 && !powers => Self::Unit { exponent: 3, letter: "k" },
            _ if magnitude >= 1e4 => Self::Unit { exponent: 3, letter: "" },
            _ => Self::Unit { exponent: 0, letter: "" },
        }
    }

    fn label(self, value: Decimal) -> Label {
        let minus = |text: String| text.replace('-', "\u{2212}");
        let in_unit = |exponent: i32| {
            let decimals = usize::try_from(exponent - value.exponent).unwrap_or(0);
            let number = value.count as f64 * power_of_ten(value.exponent - exponent);
            minus(format!("{number:.decimals$}"))
        };
        match self {
            _ if value.count == 0 => Label::Plain("0".to_owned()),
            // A logarithmic axis over thousands: 1, 10, 100, 1k, 10k, …
            Self::Unit { exponent: 3, letter: "" } => {
                let (unit, letter) = match value.exponent {
                    ..3 => (0, ""),
                    3..6 => (3, "k"),
                    _ => (6, "M"),
                };
                Label::Plain(in_unit(unit) + letter)
            }
            Self::Unit { exponent, letter } => Label::Plain(in_unit(exponent) + letter),
            Self::Scientific { exponent } => {
                Label::Power { factor: format!("{}\u{00b7}", in_unit(exponent)), exponent }
            }
            Self::Powers => Label::Power { factor: String::new(), exponent: value.exponent },
        }
    }
}

/// 10^`exponent` for any real exponent.
fn power(exponent: f64) -> f64 {
    libm::pow(10.0, exponent)
}

/// 10^`exponent`; exact where the power is an integer that a double holds.
fn power_of_ten(exponent: i32) -> f64 {
    power(f64::from(exponent))
}
