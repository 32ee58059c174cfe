//! `cpr bench step`: what an optimizer step costs on this machine, against AdamW and a plain loop over the same memory.
//!
//! All variants of a table run in one process on the same parameters and gradients. In every round each is timed beside
//! an AdamW of its own, once before and once after it in turns, so that the machine's other load meets both. A figure is
//! the median over the rounds; a ratio is the median of the pairs' ratios, with its interval at 95 % from order
//! statistics, which assumes nothing about the distribution. All work on the same memory, moments included: where the
//! system has put a buffer changes the time of a step by more than what is measured here.

mod interval;
mod neighbours;
mod shapes;
mod streams;
mod variant;

use std::{
    fmt::Write as _,
    io::{self, Write},
    time::Instant,
};

use cpr_core::all_finite;
use serde::Serialize;

pub use self::{interval::Interval, shapes::Shapes, variant::Variant};
use crate::{
    optim::{OptimError, Optimizer},
    pages::Buffer,
    parallel::Workers,
    param::{Grouping, LayoutError, ParamLayout},
};

/// Bytes that an f32 step of Adam must move a parameter: read θ, g, m, v; write θ, m, v.
const BYTES: f64 = 28.0;
/// Parameters that one timing covers at least: small models take several steps.
const LEAST: usize = 10_000_000;
/// The learning rate: small, so that hundreds of steps leave the weights where they are.
const LR: f64 = 1e-6;

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchPlan {
    /// The models whose shapes are measured, a table each.
    pub shapes: Vec<Shapes>,
    /// One variant alone in the process, or all of them interleaved.
    pub only: Option<Variant>,
    /// Rounds: pairs of each variant and AdamW.
    pub pairs: usize,
}

/// A measurement could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A variant could not be made for these shapes.
    #[error("{variant:?}: {source}")]
    Optimizer {
        /// The variant.
        variant: Variant,
        /// Why.
        source: OptimError,
    },
    /// Weights or their measure became NaN or infinite: constraints then rest, and what was timed is no step.
    #[error(
        "{variant:?}: the weights became NaN or infinite, so the times are void: please report it"
    )]
    NotFinite {
        /// The variant whose constraints saw it, else AdamW.
        variant: Variant,
    },
    /// The shapes of a model.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// One line of a table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The variant, or the plain loop.
    pub name: String,
    /// Median time of a step, in milliseconds.
    pub milliseconds: f64,
    /// Median time a parameter, in nanoseconds.
    pub ns_per_parameter: f64,
    /// 28 bytes a parameter over the median time, in 10⁹ bytes a second.
    pub gb_per_s: f64,
    /// Ratio to the AdamW beside it.
    pub ratio: Option<Interval>,
    /// Constraints with λ > 0 at the end, of all.
    pub active: Option<[usize; 2]>,
}

/// The measurements on one model's shapes.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// The model.
    pub shapes: Shapes,
    /// Elements of all parameters.
    pub parameters: usize,
    /// Threads.
    pub threads: usize,
    /// Rounds.
    pub pairs: usize,
    /// Nanoseconds in which a cache line went from one of two of the threads to the other and back, at best, before the first round
    /// and after the last; none for one thread.
    pub round_trip_ns: [Option<f64>; 2],
    /// The variants, AdamW first.
    pub rows: Vec<Row>,
}

/// Measures as planned; tables, or one JSON object a line, to `out`.
///
/// # Errors
/// [`BenchError`].
pub fn run(
    plan: &BenchPlan,
    workers: &Workers,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), BenchError> {
    for &shapes in &plan.shapes {
        let table = measure(plan, shapes, workers)?;
        if json {
            serde_json::to_writer(&mut *out, &table).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            write!(out, "{}", table.text())?;
        }
    }
    Ok(())
}

/// What is timed: an optimizer, or the plain loop.
enum Lane {
    Optimizer(Variant, Box<Optimizer<f32>>),
    Plain,
}

/// What all of them work on.
struct Memory {
    theta: Buffer<f32>,
    grads: Buffer<f32>,
    moments: [Buffer<f32>; 2],
}

impl Lane {
    /// Seconds a step, over `steps` of them.
    fn time(
        &mut self,
        workers: &Workers,
        Memory { theta, grads, moments }: &mut Memory,
        steps: usize,
    ) -> Result<f64, BenchError> {
        if let Self::Optimizer(_, optimizer) = self {
            optimizer.exchange_moments(moments);
        }
        let start = Instant::now();
        for _ in 0..steps {
            match self {
                Self::Optimizer(variant, optimizer) => {
                    let stepped = optimizer.step(workers, LR, theta, grads);
                    stepped
                        .map_err(|source| BenchError::Optimizer { variant: *variant, source })?;
                }
                Self::Plain => streams::step(workers, theta, grads, moments),
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        if let Self::Optimizer(_, optimizer) = self {
            optimizer.exchange_moments(moments);
        }
        Ok(seconds / count(steps))
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Optimizer(variant, _) => variant.title(),
            Self::Plain => "a plain loop over the same seven streams",
        }
    }

    const fn variant(&self) -> Option<Variant> {
        match self {
            Self::Optimizer(variant, _) => Some(*variant),
            Self::Plain => None,
        }
    }

    /// Whether a constraint did nothing on some step because R was not finite.
    fn has_rested(&self) -> bool {
        matches!(self, Self::Optimizer(_, optimizer) if optimizer.non_finite_statistic().is_some())
    }

    /// Constraints with λ > 0, of all.
    fn active(&self) -> Option<[usize; 2]> {
        let Self::Optimizer(_, optimizer) = self else { return None };
        let all = optimizer.reports().count();
        let on = optimizer.reports().filter(|(_, report)| report.is_active()).count();
        (all > 0).then_some([on, all])
    }
}

fn measure(plan: &BenchPlan, shapes: Shapes, workers: &Workers) -> Result<Table, BenchError> {
    let layout = ParamLayout::new(shapes.parameters())?;
    let mut memory = values(&layout);
    let variants = plan.only.map_or(Variant::ALL.to_vec(), |variant| vec![variant]);
    let mut lanes = Vec::new();
    for variant in variants {
        let optimizer = variant.optimizer(&layout, Grouping::default(), &mut memory.theta);
        let optimizer = optimizer.map_err(|source| BenchError::Optimizer { variant, source })?;
        lanes.push(Lane::Optimizer(variant, Box::new(optimizer)));
    }
    if plan.only.is_none() {
        lanes.push(Lane::Plain);
    }
    let Some((base, others)) = lanes.split_first_mut() else {
        return Err(BenchError::Output(io::Error::other("no variant to measure")));
    };

    let steps = LEAST.div_ceil(layout.len());
    let mut time = |lane: &mut Lane| lane.time(workers, &mut memory, steps);
    let started = neighbours::round_trip(workers);
    let mut base_seconds = Vec::new();
    let mut pairs = vec![Vec::new(); others.len()];
    // Round 0 warms up: pages, caches and the multipliers, of which none is 0 after a step that violates its bound.
    for round in 0..=plan.pairs {
        if others.is_empty() {
            base_seconds.push(time(base)?);
        }
        // Each beside an AdamW of its own, in turns before and after it: a machine's load changes within a round.
        for (other, pairs) in others.iter_mut().zip(&mut pairs) {
            let pair = if round % 2 == 0 {
                let first = time(base)?;
                [first, time(other)?]
            } else {
                let first = time(other)?;
                [time(base)?, first]
            };
            base_seconds.push(pair[0]);
            pairs.push(pair);
        }
    }

    let round_trip_ns = [started, neighbours::round_trip(workers)];
    let void = others.iter().find(|lane| lane.has_rested());
    if void.is_some() || base.has_rested() || !all_finite(&memory.theta) {
        let variant = void.and_then(Lane::variant).or(base.variant()).unwrap_or(Variant::AdamW);
        return Err(BenchError::NotFinite { variant });
    }

    let warm_ups = others.len().max(1);
    let mut rows =
        vec![row(base.title(), &base_seconds[warm_ups..], layout.len(), None, base.active())];
    for (other, pairs) in others.iter().zip(&pairs) {
        let of = |which: usize| pairs[1..].iter().map(|pair| pair[which]).collect::<Vec<_>>();
        let (bases, seconds) = (of(0), of(1));
        let ratio = Some(Interval::of_ratios(&seconds, &bases));
        rows.push(row(other.title(), &seconds, layout.len(), ratio, other.active()));
    }
    let (parameters, threads) = (layout.len(), workers.threads().get());
    Ok(Table { shapes, parameters, threads, pairs: plan.pairs, round_trip_ns, rows })
}

/// A count as a float, exact: no count here reaches 2³².
fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::NAN, f64::from)
}

fn row(
    name: &str,
    seconds: &[f64],
    parameters: usize,
    ratio: Option<Interval>,
    active: Option<[usize; 2]>,
) -> Row {
    let median = Interval::of(seconds).median;
    let nanoseconds = median * 1e9 / count(parameters);
    Row {
        name: name.to_owned(),
        milliseconds: median * 1e3,
        ns_per_parameter: nanoseconds,
        gb_per_s: BYTES / nanoseconds,
        ratio,
        active,
    }
}

/// Parameters of the size of trained weights and gradients a thousand times their learning rate's step: any values
/// will do that are neither zero nor subnormal, and that differ.
fn values(layout: &ParamLayout) -> Memory {
    // The fractional parts of multiples of the golden ratio fill (0, 1) evenly.
    let golden = 0x9e37_79b9_u32;
    let unit = |i: u32| f32::from_bits(0x3f80_0000 | (i.wrapping_mul(golden) >> 9)) - 1.5;
    let [mut theta, mut grads] = [Buffer::zeros(layout.len()), Buffer::zeros(layout.len())];
    for ((theta, grad), i) in theta.iter_mut().zip(grads.iter_mut()).zip(1_u32..) {
        *theta = 0.07 * unit(i);
        *grad = 0.03 * unit(i.rotate_left(7));
    }
    Memory { theta, grads, moments: [Buffer::zeros(layout.len()), Buffer::zeros(layout.len())] }
}

impl Table {
    /// The table as text, with a heading and a closing line.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}: {} parameters, {} threads, {} rounds\n{:<44} {:>9} {:>8} {:>7}  {:<24} active",
            self.shapes.title(),
            self.parameters,
            self.threads,
            self.pairs,
            "",
            "ms",
            "ns/param",
            "GB/s",
            "of AdamW (95 %)",
        );
        for row in &self.rows {
            let ratio = row.ratio.as_ref().map_or_else(String::new, |ratio| {
                format!("{:.3} ({:.3} to {:.3})", ratio.median, ratio.low, ratio.high)
            });
            let active = row.active.map_or_else(String::new, |[on, all]| format!("{on} of {all}"));
            let _ = writeln!(
                text,
                "{:<44} {:>9.3} {:>8.3} {:>7.1}  {ratio:<24} {active}",
                row.name, row.milliseconds, row.ns_per_parameter, row.gb_per_s,
            );
        }
        let _ = writeln!(
            text,
            "GB/s counts 28 bytes a parameter. Times are without the check for non-finite gradients, but for its row."
        );
        if self.threads > 1 {
            let told = |time: Option<f64>| {
                time.map_or(
                    "a time that was not found (they did not run together)".to_owned(),
                    |ns| format!("{ns:.0} ns"),
                )
            };
            let [before, after] = self.round_trip_ns.map(told);
            let _ = writeln!(
                text,
                "A cache line went from one thread to another and back in {before} before, in {after} after."
            );
        }
        if self.pairs < interval::ENOUGH {
            let _ = writeln!(
                text,
                "So few rounds make intervals of less than 95 %: take {} or more.",
                interval::ENOUGH
            );
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests;
