//! Images of a few classes: a perceptron of any widths.

use std::{fmt::Write as _, num::NonZeroUsize};

use serde_json::{Value, json};

use super::{Experiment, Finish, FlatWeights, Judge, Step, plotted};
use crate::{
    config::{ClassifyConfig, ExperimentConfig as _},
    data::{
        batches::{Batches, Cursor},
        images::{ImageData, Images},
        scale::Scale,
    },
    model::{
        Outcome,
        mlp::{Confusion, Examples, Mlp},
    },
    observe::Row,
    plot::curves,
    summary::Summary,
    train::TrainError,
};

/// Of more classes than these the table shows the pairs that are confused most.
const WHOLE_TABLE: usize = 20;
/// How many of those.
const PAIRS: usize = 10;

/// Images, model, and the order in which the images come.
#[derive(Debug)]
pub struct Classify {
    config: ClassifyConfig,
    data: ImageData,
    scale: Scale,
    model: Mlp<f32>,
    weights: FlatWeights,
    batches: Batches,
    indices: Vec<usize>,
}

/// Some images as examples.
struct Scaled<'a> {
    images: &'a Images,
    scale: &'a Scale,
    /// Which images; all of the first `count` without.
    indices: Option<&'a [usize]>,
    count: usize,
}

impl Scaled<'_> {
    fn place(&self, index: usize) -> usize {
        self.indices.map_or(index, |indices| indices[index])
    }
}

impl Examples<f32> for Scaled<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn label(&self, index: usize) -> usize {
        self.images.labels[self.place(index)].into()
    }

    fn input(&self, index: usize, out: &mut [f32]) {
        let pixels = self.images.image(self.place(index));
        let plane = self.images.height * self.images.width;
        let planes = pixels.chunks_exact(plane).zip(out.chunks_exact_mut(plane));
        for ((pixels, out), values) in planes.zip(self.scale.channels()) {
            out.iter_mut().zip(pixels).for_each(|(x, &pixel)| *x = values[usize::from(pixel)]);
        }
    }
}

impl Classify {
    /// The fit of the training images (as many of them as there are test images) and of the test images, and what of
    /// these was taken for what.
    fn outcomes(&mut self) -> Result<([Outcome; 2], Confusion), TrainError> {
        let Self { data, scale, model, weights, .. } = self;
        let FlatWeights { workers, theta, .. } = &*weights;
        let mut of = |images: &Images, count| {
            let images = Scaled { images, scale, indices: None, count };
            model.evaluate(workers, theta, &images)
        };
        let (train, _) = of(&data.train, data.train.len().min(data.test.len()))?;
        let (test, confusion) = of(&data.test, data.test.len())?;
        Ok(([train, test], confusion))
    }
}

impl Experiment for Classify {
    type Config = ClassifyConfig;
    type Weights = FlatWeights;

    const JUDGE: Judge = Judge { metric: "validation/accuracy", higher: true };

    fn new(config: ClassifyConfig) -> Result<Self, TrainError> {
        config.check()?;
        let mut data = ImageData::open(&config.data)?;
        let images = &mut data.train;
        images.truncate(config.train_images);
        let scale = Scale::of(images);
        let mut widths = vec![images.size()];
        widths.extend(&config.hidden.0);
        widths.push(data.classes);
        let model = Mlp::new(&widths)?;
        let seed = config.run.seed;
        let (layout, theta) = (model.layout().clone(), model.init(seed));
        let weights = FlatWeights::new(&config.run, &config.optim, layout, &theta)?;
        let at_least_one = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        let batches =
            Batches::new(at_least_one(data.train.len()), at_least_one(config.batch), seed);
        Ok(Self { config, data, scale, model, weights, batches, indices: Vec::new() })
    }

    fn config(&self) -> &ClassifyConfig {
        &self.config
    }

    fn weights(&self) -> &FlatWeights {
        &self.weights
    }

    fn weights_mut(&mut self) -> &mut FlatWeights {
        &mut self.weights
    }

    fn heading(&self) -> String {
        let Images { channels, height, width, .. } = self.data.train;
        format!(
            "{} images of {channels} x {height} x {width} in {} classes: {} for training and {} for validation, \
             {} steps, {} threads",
            self.data.format,
            self.data.classes,
            self.data.train.len(),
            self.data.test.len(),
            self.total_steps(),
            self.weights.workers.threads(),
        )
    }

    fn steps_per_epoch(&self) -> u64 {
        self.batches.per_epoch()
    }

    fn step(&mut self, _step: u64, lr: f64) -> Result<Step, TrainError> {
        self.indices.clear();
        self.indices.extend_from_slice(self.batches.next_batch());
        let batch = Scaled {
            images: &self.data.train,
            scale: &self.scale,
            indices: Some(&self.indices),
            count: self.indices.len(),
        };
        let FlatWeights { workers, theta, grads, .. } = &mut self.weights;
        let loss = self.model.loss_and_grad(workers, theta, &batch, grads)?.loss;
        self.weights.step(lr, loss)
    }

    fn evaluate(&mut self) -> Result<Vec<(String, f64)>, TrainError> {
        let ([train, validation], _) = self.outcomes()?;
        Ok(super::fits(train, validation))
    }

    fn cursor(&self) -> Value {
        json!(self.batches.cursor())
    }

    fn seek(&mut self, cursor: &Value, _step: u64) -> bool {
        let cursor: Option<Cursor> = serde_json::from_value(cursor.clone()).ok();
        cursor.map(|cursor| self.batches.seek(cursor)).is_some()
    }

    fn finish(&mut self, rows: &[Row]) -> Result<Finish, TrainError> {
        let (_, confusion) = self.outcomes()?;
        finish(self.data.format, rows, &confusion, plotted(&self.weights)?.as_deref())
    }

    fn evaluation(&mut self) -> Result<String, TrainError> {
        let ([train, validation], confusion) = self.outcomes()?;
        Ok(format!("{}\n{}", super::fits_text(train, validation), table(&confusion)))
    }
}

/// Summary and figure of a run on images of this format, with these metrics, and with what was taken for what in the
/// end; the figure shows R, κ and λ of the parameter `plotted`, where there is one.
///
/// # Errors
/// [`TrainError`]: rows without the columns that are drawn.
pub fn finish(
    format: &str,
    rows: &[Row],
    confusion: &Confusion,
    plotted: Option<&str>,
) -> Result<Finish, TrainError> {
    let summary = Summary::of(rows);
    let mut json = json!(summary);
    json["confusion"] = confusion.counts.chunks(confusion.classes).collect();
    let upper = curves::Upper {
        axis: "accuracy (%)",
        factor: 100.0,
        columns: &[("train", "train/accuracy"), ("validation", "validation/accuracy")],
    };
    let figure = curves::figure(&format!("{format}: accuracy"), rows, upper, plotted)?;
    let table = format!("{}\n{}", summary.table(), table(confusion));
    Ok(Finish { json: format!("{json:#}\n"), table, figure })
}

/// What was taken for what in the validation images: a row for each label, or the pairs confused most.
#[must_use]
pub fn table(confusion: &Confusion) -> String {
    let Confusion { classes, counts } = confusion;
    let mut text = String::new();
    // Writing to a string cannot fail.
    if *classes <= WHOLE_TABLE {
        let _ = write!(text, "{:<12}", "predicted");
        for class in 0..*classes {
            let _ = write!(text, "{class:>7}");
        }
        text.push('\n');
        for (label, row) in counts.chunks(*classes).enumerate() {
            let _ = write!(text, "{:<12}", format!("label {label}"));
            for count in row {
                let _ = write!(text, "{count:>7}");
            }
            text.push('\n');
        }
        return text;
    }
    let mut pairs: Vec<(u64, usize)> = (counts.iter().copied().enumerate())
        .filter(|(at, count)| at / classes != at % classes && *count > 0)
        .map(|(at, count)| (count, at))
        .collect();
    pairs.sort_by_key(|&(count, at)| (std::cmp::Reverse(count), at));
    let _ = writeln!(text, "confused most: label as class, times");
    for (count, at) in pairs.into_iter().take(PAIRS) {
        let _ = writeln!(text, "{:>6} as {:>3} {count:>7}", at / classes, at % classes);
    }
    text
}
