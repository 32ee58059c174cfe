//! `cpr-gpu cifar`: residual networks on small images of a few classes.

mod augment;
mod config;
mod folder;
mod resize;

use candle_core::{D, DType, Device, Tensor};
use cpr_host::{
    config::{ConfigError, ExperimentConfig as _},
    data::{
        batches::Cursor,
        images::{ImageData, Images},
        scale::Scale,
    },
    experiment::{Experiment, Finish, Judge, Logits, Step, classify, fits, fits_text},
    model::{Outcome, mlp::Confusion},
    observe::Row,
    train::TrainError,
};
use serde_json::{Value, json};

pub use self::config::CifarConfig;
use self::{
    augment::{Augment, Batch, Loader},
    folder::Reading,
};
use super::{OnDevice, VarWeights, failed};
use crate::{
    model::{ResNet, Store},
    nn::{backward, cross_entropy},
};

/// Images of one pass of an evaluation.
const CHUNK: usize = 128;
/// By how much the last stage has divided the sides of an image.
const STRIDES: usize = 8;

/// Images, network, and the order in which the images come.
///
/// On a device the next batch is made by the worker threads while the device is at work on the passes of this one. What
/// a skipped step wrote into the running statistics of the batch norms is undone.
#[derive(Debug)]
pub struct Cifar {
    config: OnDevice<CifarConfig>,
    format: &'static str,
    classes: usize,
    loader: Loader,
    test: Images,
    device: Device,
    model: ResNet,
    weights: VarWeights,
}

/// Loss and predictions on some images.
struct Judged {
    outcome: Outcome,
    confusion: Confusion,
}

impl Cifar {
    /// The logits of the first `count` of some images, [count, classes] row by row; the network as it evaluates.
    fn logits_of(&self, images: &Images, count: usize) -> Result<Vec<Tensor>, TrainError> {
        let Self { model, device, loader, .. } = self;
        let chunk = |start: usize| {
            let end = count.min(start + CHUNK);
            let numbers: Vec<f32> =
                (start..end).flat_map(|index| numbers(images, index, loader.scale())).collect();
            let shape = (end - start, images.channels, images.height, images.width);
            let input = Tensor::from_vec(numbers, shape, device)?;
            Ok(model.forward(&input, false)?.detach())
        };
        let chunks = || (0..count).step_by(CHUNK).map(chunk).collect::<candle_core::Result<_>>();
        self.weights.workers().run(chunks).map_err(failed)
    }

    fn judge(&self, images: &Images, count: usize) -> Result<Judged, TrainError> {
        let classes = self.classes;
        let mut confusion = Confusion { classes, counts: vec![0; classes * classes] };
        let (mut loss, mut correct) = (0.0, 0);
        let labels = images.labels[..count].chunks(CHUNK);
        for (logits, labels) in self.logits_of(images, count)?.into_iter().zip(labels) {
            let judged = || {
                let targets = labels.iter().map(|&label| u32::from(label));
                let targets = Tensor::from_iter(targets, &self.device)?;
                // In f64 a good fit keeps its small loss.
                let mean = cross_entropy(&logits.to_dtype(DType::F64)?, &targets, 0.0)?;
                let predicted = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
                Ok::<_, candle_core::Error>((mean.to_scalar::<f64>()?, predicted))
            };
            let (mean, predicted) = judged().map_err(failed)?;
            // A chunk is far below 2⁵³.
            loss += mean * labels.len() as f64;
            for (&label, class) in labels.iter().zip(predicted) {
                let (label, class) = (usize::from(label), class as usize);
                confusion.counts[label * classes + class] += 1;
                correct += usize::from(label == class);
            }
        }
        Ok(Judged { outcome: Outcome { loss: loss / count as f64, correct, count }, confusion })
    }

    /// The fit of the training images, not augmented (as many of them as there are test images), and of the test images.
    fn judged(&self) -> Result<[Judged; 2], TrainError> {
        let (train, test) = (self.loader.images(), &self.test);
        Ok([self.judge(train, train.len().min(test.len()))?, self.judge(test, test.len())?])
    }
}

/// An image as the network takes it.
fn numbers<'a>(
    images: &'a Images,
    index: usize,
    scale: &'a Scale,
) -> impl Iterator<Item = f32> + 'a {
    let planes = images.image(index).chunks_exact(images.height * images.width);
    let planes = planes.zip(scale.channels());
    planes.flat_map(|(pixels, values)| pixels.iter().map(|&pixel| values[usize::from(pixel)]))
}

/// The images that a configuration names, as many and as large as it says.
fn data_of(
    config: &CifarConfig,
    workers: &cpr_host::parallel::Workers,
) -> Result<ImageData, TrainError> {
    let CifarConfig { data, train_images, test_images, image_size, .. } = config;
    if folder::is_there(data) {
        let reading = Reading { side: *image_size, counts: [*train_images, *test_images] };
        return Ok(folder::open(data, reading, workers)?);
    }
    let ImageData { format, classes, mut train, mut test } = ImageData::open(data)?;
    train.truncate(*train_images);
    test.truncate(*test_images);
    let [train, test] = [train, test].map(|images| resize::resized(images, *image_size));
    Ok(ImageData { format, classes, train, test })
}

/// What the images ask of a configuration.
fn fits_images(config: &CifarConfig, images: &Images) -> Result<(), ConfigError> {
    let Images { height, width, .. } = *images;
    if config.crop_padding >= height.min(width) {
        let limit = format!("it must be below the sides of the images, {height} x {width}");
        return Err(ConfigError::refused("crop_padding", config.crop_padding, &limit));
    }
    let smallest = match images.len() % config.batch {
        0 => config.batch,
        rest => rest,
    };
    // Batch norm needs two values a channel, also in the last stage.
    let values = smallest * height.div_ceil(STRIDES) * width.div_ceil(STRIDES);
    if values < 2 {
        let limit = format!(
            "the last batch of an epoch, of {} images, would be of one: it must leave another rest, or images be larger",
            images.len()
        );
        return Err(ConfigError::refused("batch", config.batch, &limit));
    }
    Ok(())
}

impl Experiment for Cifar {
    type Config = OnDevice<CifarConfig>;
    type Weights = VarWeights;

    const JUDGE: Judge = Judge { metric: "validation/accuracy", higher: true };

    fn new(config: OnDevice<CifarConfig>) -> Result<Self, TrainError> {
        config.check()?;
        let device = config.device.open().map_err(TrainError::other)?;
        let keys = &config.keys;
        let ImageData { format, classes, train, test } =
            data_of(keys, &VarWeights::workers_of(&keys.run)?)?;
        fits_images(keys, &train)?;
        let Some(network) = keys.network(train.channels, classes) else {
            return Err(failed(candle_core::Error::msg("there is no network of that depth")));
        };
        let seed = keys.run.seed;
        let store = Store::new(seed);
        let model = ResNet::new(network, &store.builder(DType::F32, &device)).map_err(failed)?;
        let weights = VarWeights::over(&keys.run, &keys.optim, &device, store.named())?;
        let scale = Scale::of(&train);
        let augment = Augment { seed, padding: keys.crop_padding, flip: keys.flip };
        let loader = Loader::new(train, scale, augment, keys.batch);
        Ok(Self { config, format, classes, loader, test, device, model, weights })
    }

    fn config(&self) -> &OnDevice<CifarConfig> {
        &self.config
    }

    fn weights(&self) -> &VarWeights {
        &self.weights
    }

    fn weights_mut(&mut self) -> &mut VarWeights {
        &mut self.weights
    }

    fn heading(&self) -> String {
        let train = self.loader.images();
        let Images { channels, height, width, .. } = train;
        let parameters: usize = self.weights.vars().iter().map(|var| var.elem_count()).sum();
        format!(
            "{} images of {channels} x {height} x {width} in {} classes: {} for training and {} for validation; \
             ResNet-{} of {parameters} parameters, {} steps, on {}",
            self.format,
            self.classes,
            train.len(),
            self.test.len(),
            self.config.keys.depth,
            self.total_steps(),
            self.weights.place(),
        )
    }

    fn steps_per_epoch(&self) -> u64 {
        self.loader.per_epoch()
    }

    fn step(&mut self, step: u64, lr: f64) -> Result<Step, TrainError> {
        let Self { config, loader, device, model, weights, .. } = self;
        let Batch { pixels, labels } = loader.take(step, weights.workers());
        let Images { channels, height, width, .. } = *loader.images();
        let running = weights.frozen()?;
        let passes = || {
            let images = Tensor::from_vec(pixels, (labels.len(), channels, height, width), device)?;
            let labels = Tensor::from_vec(labels, images.dim(0)?, device)?;
            let logits = model.forward(&images, true)?;
            let loss = cross_entropy(&logits, &labels, config.keys.label_smoothing)?;
            let grads = backward(&loss)?;
            Ok::<_, candle_core::Error>((loss, grads))
        };
        let (loss, grads) = weights.workers().run(passes).map_err(failed)?;
        loader.prepare(step + 1, weights.workers());
        let loss = loss.to_scalar::<f32>().map_err(failed)?;
        let outcome = weights.step(lr, loss.into(), &grads)?;
        if matches!(outcome, Step::BadGradient { .. } | Step::BadLoss { .. }) {
            weights.put_back(&running)?;
        }
        Ok(outcome)
    }

    fn evaluate(&mut self) -> Result<Vec<(String, f64)>, TrainError> {
        let [train, test] = self.judged()?;
        Ok(fits(train.outcome, test.outcome))
    }

    fn cursor(&self) -> Value {
        json!(self.loader.cursor())
    }

    fn seek(&mut self, cursor: &Value, _step: u64) -> bool {
        let cursor: Option<Cursor> = serde_json::from_value(cursor.clone()).ok();
        cursor.map(|cursor| self.loader.seek(cursor)).is_some()
    }

    fn finish(&mut self, rows: &[Row]) -> Result<Finish, TrainError> {
        let Judged { confusion, .. } = self.judge(&self.test, self.test.len())?;
        let plotted = self.weights.largest()?;
        classify::finish(self.format, rows, &confusion, plotted.as_deref())
    }

    fn evaluation(&mut self) -> Result<String, TrainError> {
        let [train, test] = self.judged()?;
        let fits = fits_text(train.outcome, test.outcome);
        Ok(format!("{fits}\n{}", classify::table(&test.confusion)))
    }

    /// Of the test images in their order, [images, classes].
    fn logits(&mut self) -> Result<Option<Logits>, TrainError> {
        let mut logits = Vec::new();
        for chunk in self.logits_of(&self.test, self.test.len())? {
            let chunk = chunk.flatten_all().and_then(|chunk| chunk.to_vec1::<f32>());
            logits.extend(chunk.map_err(failed)?);
        }
        Ok(Some((vec![self.test.len(), self.classes], logits)))
    }
}

#[cfg(test)]
mod tests;
