//! The parameters of known models, by shape.

use clap::ValueEnum;
use serde::Serialize;

use crate::param::ParamKind;

/// A model whose parameters' shapes are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Shapes {
    /// GPT-2 small: 124.4 million parameters in 148 tensors, tied head
    Gpt2,
    /// ResNet18 for 32×32 images and 100 classes: 11.2 million in 62 tensors
    Resnet18,
    /// The modular-addition transformer: 227 thousand in 9 tensors
    Modular,
}

type Parameter = (String, Vec<usize>, ParamKind);

impl Shapes {
    /// All of them, the largest first.
    pub const ALL: [Self; 3] = [Self::Gpt2, Self::Resnet18, Self::Modular];

    /// The name of the model.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Gpt2 => "GPT-2 small",
            Self::Resnet18 => "ResNet18",
            Self::Modular => "modular addition",
        }
    }

    /// Name, shape and kind of every parameter.
    pub(super) fn parameters(self) -> Vec<Parameter> {
        match self {
            Self::Gpt2 => gpt2(),
            Self::Resnet18 => resnet18(),
            Self::Modular => modular(),
        }
    }
}

fn gpt2() -> Vec<Parameter> {
    use ParamKind::{Bias, Embedding, Matrix, Norm};
    let width = 768;
    let mut all = vec![
        ("wte".to_owned(), vec![50_257, width], Embedding),
        ("wpe".to_owned(), vec![1024, width], Embedding),
    ];
    for layer in 0..12 {
        let block = [
            ("ln_1.weight", vec![width], Norm),
            ("ln_1.bias", vec![width], Norm),
            ("attn.c_attn.weight", vec![width, 3 * width], Matrix),
            ("attn.c_attn.bias", vec![3 * width], Bias),
            ("attn.c_proj.weight", vec![width, width], Matrix),
            ("attn.c_proj.bias", vec![width], Bias),
            ("ln_2.weight", vec![width], Norm),
            ("ln_2.bias", vec![width], Norm),
            ("mlp.c_fc.weight", vec![width, 4 * width], Matrix),
            ("mlp.c_fc.bias", vec![4 * width], Bias),
            ("mlp.c_proj.weight", vec![4 * width, width], Matrix),
            ("mlp.c_proj.bias", vec![width], Bias),
        ];
        all.extend(block.map(|(name, shape, kind)| (format!("h.{layer}.{name}"), shape, kind)));
    }
    all.push(("ln_f.weight".to_owned(), vec![width], Norm));
    all.push(("ln_f.bias".to_owned(), vec![width], Norm));
    all
}

fn resnet18() -> Vec<Parameter> {
    use ParamKind::{Bias, Matrix, Norm};
    fn convolution(all: &mut Vec<Parameter>, name: &str, [out, from, side]: [usize; 3]) {
        all.push((format!("{name}.weight"), vec![out, from, side, side], Matrix));
        all.push((format!("{name}.bn.weight"), vec![out], Norm));
        all.push((format!("{name}.bn.bias"), vec![out], Norm));
    }
    let mut all = Vec::new();
    convolution(&mut all, "stem", [64, 3, 3]);
    let mut from = 64;
    for (stage, out) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let name = format!("stage.{stage}.{block}");
            convolution(&mut all, &format!("{name}.conv1"), [out, from, 3]);
            convolution(&mut all, &format!("{name}.conv2"), [out, out, 3]);
            if from != out {
                convolution(&mut all, &format!("{name}.shortcut"), [out, from, 1]);
            }
            from = out;
        }
    }
    all.push(("head.weight".to_owned(), vec![100, 512], Matrix));
    all.push(("head.bias".to_owned(), vec![100], Bias));
    all
}

fn modular() -> Vec<Parameter> {
    use ParamKind::{Bias, Embedding, Matrix};
    let all = [
        ("token", vec![114, 128], Embedding),
        ("position", vec![3, 128], Embedding),
        ("attn.in_proj_weight", vec![384, 128], Matrix),
        ("attn.out_proj.weight", vec![128, 128], Matrix),
        ("mlp.0.weight", vec![512, 128], Matrix),
        ("mlp.0.bias", vec![512], Bias),
        ("mlp.2.weight", vec![128, 512], Matrix),
        ("mlp.2.bias", vec![128], Bias),
        ("head.weight", vec![114, 128], Matrix),
    ];
    all.map(|(name, shape, kind)| (name.to_owned(), shape, kind)).to_vec()
}
