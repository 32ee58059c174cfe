//! Residual networks for small images, under torchvision's names.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder, init::DEFAULT_KAIMING_NORMAL, init::FanInOut};

use crate::nn::{BatchNorm, BatchNormConfig, Conv, Weights, linear, relu};

/// How many blocks the four stages have, and of which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// One basic block a stage: a small twin of the others.
    D10,
    /// Basic blocks 2, 2, 2, 2.
    D18,
    /// Basic blocks 3, 4, 6, 3.
    D34,
    /// Bottlenecks 3, 4, 6, 3.
    D50,
    /// Bottlenecks 3, 4, 23, 3.
    D101,
    /// Bottlenecks 3, 8, 36, 3.
    D152,
}

impl Depth {
    /// The one of so many layers.
    #[must_use]
    pub const fn of(layers: usize) -> Option<Self> {
        Some(match layers {
            10 => Self::D10,
            18 => Self::D18,
            34 => Self::D34,
            50 => Self::D50,
            101 => Self::D101,
            152 => Self::D152,
            _ => return None,
        })
    }

    const fn blocks(self) -> [usize; 4] {
        match self {
            Self::D10 => [1, 1, 1, 1],
            Self::D18 => [2, 2, 2, 2],
            Self::D34 | Self::D50 => [3, 4, 6, 3],
            Self::D101 => [3, 4, 23, 3],
            Self::D152 => [3, 8, 36, 3],
        }
    }

    /// Whether its blocks are bottlenecks, whose outputs have four times the channels of their stage.
    const fn is_bottleneck(self) -> bool {
        matches!(self, Self::D50 | Self::D101 | Self::D152)
    }
}

/// Sizes of a [`ResNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResNetConfig {
    /// Blocks.
    pub depth: Depth,
    /// Number of classes.
    pub classes: usize,
    /// Channels of the first stage, doubled in each of the next; 64 in the source.
    pub width: usize,
    /// Channels of an image.
    pub channels: usize,
}

impl ResNetConfig {
    /// Width 64, images of 3 channels.
    pub const fn new(depth: Depth, classes: usize) -> Self {
        Self { depth, classes, width: 64, channels: 3 }
    }
}

/// A residual network for images of 32×32: a 3×3 stem of stride 1 without max pooling, four stages of which the last
/// three halve the image, the mean over the image, and a linear classifier.
///
/// Names are torchvision's (`layer1.0.conv1.weight`, `layer2.0.downsample.1.running_var`, `fc.bias`, …), so that its
/// checkpoints fit where the stem does. Images of any size from 1×1 on are taken. Convolutions start with Kaiming's
/// normal values over the outputs, the classifier with uniform values up to 1/√inputs.
///
/// Source: He et al., "Deep Residual Learning for Image Recognition", 2016; the stride of a bottleneck is at its 3×3
/// convolution, as in torchvision.
#[derive(Clone, Debug)]
pub struct ResNet {
    stem: Unit,
    blocks: Vec<Block>,
    weight: Tensor,
    bias: Tensor,
}

/// A convolution without bias, and its batch norm.
#[derive(Clone, Debug)]
struct Unit {
    weight: Tensor,
    conv: Conv,
    norm: BatchNorm,
}

#[derive(Clone, Debug)]
struct Block {
    units: Vec<Unit>,
    /// What brings the input to the shape of the output.
    downsample: Option<Unit>,
}

/// Outputs, inputs and side of a kernel.
#[derive(Clone, Copy)]
struct Kernel(usize, usize, usize);

impl Unit {
    fn new(
        Kernel(outputs, inputs, side): Kernel,
        stride: usize,
        weight: &VarBuilder<'_>,
        norm: &VarBuilder<'_>,
    ) -> Result<Self> {
        let Init::Kaiming { dist, non_linearity, .. } = DEFAULT_KAIMING_NORMAL else {
            return Err(candle_core::Error::msg("candle's Kaiming initialisation is another one"));
        };
        let init = Init::Kaiming { dist, fan: FanInOut::FanOut, non_linearity };
        Ok(Self {
            weight: weight.get_with_hints((outputs, inputs, side, side), "weight", init)?,
            conv: Conv { stride, padding: side / 2 },
            norm: BatchNorm::new(outputs, BatchNormConfig::default(), norm)?,
        })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.norm.after_conv2d(x, &self.weight, self.conv, train)
    }
}

impl Block {
    fn new(
        bottleneck: bool,
        [inputs, channels]: [usize; 2],
        stride: usize,
        variables: &VarBuilder<'_>,
    ) -> Result<Self> {
        let kernels = if bottleneck {
            vec![
                (Kernel(channels, inputs, 1), 1),
                (Kernel(channels, channels, 3), stride),
                (Kernel(4 * channels, channels, 1), 1),
            ]
        } else {
            vec![(Kernel(channels, inputs, 3), stride), (Kernel(channels, channels, 3), 1)]
        };
        let outputs = if bottleneck { 4 * channels } else { channels };
        let units = kernels.into_iter().enumerate().map(|(index, (kernel, stride))| {
            let [conv, norm] = ["conv", "bn"].map(|name| format!("{name}{}", index + 1));
            Unit::new(kernel, stride, &variables.pp(conv), &variables.pp(norm))
        });
        let units = units.collect::<Result<Vec<_>>>()?;
        let downsample = if stride != 1 || inputs != outputs {
            let variables = variables.pp("downsample");
            let kernel = Kernel(outputs, inputs, 1);
            Some(Unit::new(kernel, stride, &variables.pp("0"), &variables.pp("1"))?)
        } else {
            None
        };
        Ok(Self { units, downsample })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut y = x.clone();
        for (index, unit) in self.units.iter().enumerate() {
            y = unit.forward(&y, train)?;
            if index + 1 < self.units.len() {
                y = relu(&y)?;
            }
        }
        let shortcut = match &self.downsample {
            Some(unit) => unit.forward(x, train)?,
            None => x.clone(),
        };
        relu(&(y + shortcut)?)
    }
}

impl ResNet {
    /// The network with its parameters from `variables`.
    ///
    /// # Errors
    /// Those of the variables; sizes of 0.
    pub fn new(config: ResNetConfig, variables: &VarBuilder<'_>) -> Result<Self> {
        let ResNetConfig { depth, classes, width, channels } = config;
        if width == 0 || channels == 0 || classes == 0 {
            return Err(candle_core::Error::msg(format!(
                "resnet: {config:?} has a size of 0; width, channels and classes are at least 1"
            )));
        }
        let stem =
            Unit::new(Kernel(width, channels, 3), 1, &variables.pp("conv1"), &variables.pp("bn1"))?;
        let mut blocks = Vec::new();
        let mut inputs = width;
        for (stage, count) in depth.blocks().into_iter().enumerate() {
            let channels = width << stage;
            let variables = variables.pp(format!("layer{}", stage + 1));
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let variables = variables.pp(index);
                blocks.push(Block::new(
                    depth.is_bottleneck(),
                    [inputs, channels],
                    stride,
                    &variables,
                )?);
                inputs = if depth.is_bottleneck() { 4 * channels } else { channels };
            }
        }
        let bound = 1.0 / f64::from(u32::try_from(inputs).unwrap_or(u32::MAX)).sqrt();
        let init = Init::Uniform { lo: -bound, up: bound };
        let head = variables.pp("fc");
        Ok(Self {
            stem,
            blocks,
            weight: head.get_with_hints((classes, inputs), "weight", init)?,
            bias: head.get_with_hints(classes, "bias", init)?,
        })
    }

    /// The logits (N, classes) of images (N, channels, H, W); in training batch norm takes the batch's statistics.
    ///
    /// # Errors
    /// For images of another number of channels, or a batch of one 1×1 image in training.
    pub fn forward(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = relu(&self.stem.forward(images, train)?)?;
        for block in &self.blocks {
            x = block.forward(&x, train)?;
        }
        let features = x.flatten_from(2)?.mean(2)?;
        linear(&features, &self.weight, Some(&self.bias), Weights::OutIn)
    }
}
