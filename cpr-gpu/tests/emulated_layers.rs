//! The source of the layers' CUDA kernels, compiled as C++ and run on the CPU, against the layers' CPU path: outputs and
//! all gradients, in f32 and with bf16 tensors.
//!
//! Like tests/emulated.rs it cannot show what only a GPU has; tests/cuda_layers.rs runs the same comparison there.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test by panicking")]

#[path = "emulated/compile.rs"]
mod compile;

use std::{
    io::{BufReader, BufWriter, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use candle_core::{DType, Device, Result, Tensor, Var};
use cpr_gpu::nn::{
    BatchNorm, BatchNormConfig, Conv, Draw, Gelu, Rotary, conv2d, cross_entropy, dropout,
    embedding, gelu, layer_norm, relu, softmax,
};
use half::bf16;

/// In the order of KERNELS of layers.cpp; those of two types first, f32 and bf16 side by side.
const TYPED: [&str; 15] = [
    "softmax_forward",
    "softmax_backward",
    "dropout",
    "entropy_forward",
    "entropy_backward",
    "norm_forward",
    "norm_backward",
    "norm_columns",
    "columns",
    "bias",
    "split",
    "join",
    "activation_forward",
    "activation_backward",
    "embedding_backward",
];
const SINGLE: [&str; 6] =
    ["patches", "images", "batch_sums", "batch_forward", "batch_gradient_sums", "batch_backward"];

/// The type of a kernel's tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    F32,
    Bf16,
}

impl Type {
    /// As the type holds it.
    fn round(self, value: f32) -> f32 {
        if self == Self::Bf16 { bf16::from_f32(value).to_f32() } else { value }
    }

    /// How far an output may lie from the CPU's, of the largest one.
    const fn tolerance(self) -> f32 {
        match self {
            Self::F32 => 3e-6,
            // Half a unit in the last of 8 bits.
            Self::Bf16 => 4.1e-3,
        }
    }
}

/// What a word of a kernel is.
#[derive(Clone, Debug)]
enum Word<'a> {
    /// A tensor of the kernel's type.
    In(&'a [f32]),
    /// One of f32, whatever the kernel's type.
    Wide(&'a [f32]),
    Ids(&'a [u32]),
    /// An output of that many elements, of the kernel's type.
    Out(usize),
    WideOut(usize),
    Number(u64),
    Real(f64),
}
use Word::{Ids, In, Number, Out, Real, Wide, WideOut};

/// The running program.
struct Emulator {
    _child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
    type_: Type,
}

impl Emulator {
    /// None where there is no compiler, with a message.
    fn start(type_: Type) -> Option<Self> {
        static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
        let program = PROGRAM.get_or_init(|| compile::program("layers", &[])).as_ref()?;
        let mut child =
            Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = BufWriter::new(child.stdin.take().unwrap());
        let output = BufReader::new(child.stdout.take().unwrap());
        Some(Self { _child: child, input, output, type_ })
    }

    fn put(&mut self, words: &[u64]) {
        for word in words {
            self.input.write_all(&word.to_le_bytes()).unwrap();
        }
    }

    /// The outputs of a kernel, in the order of its words.
    fn run(&mut self, kernel: &str, blocks: usize, words: &[Word<'_>]) -> Vec<Vec<f32>> {
        let bf16 = usize::from(self.type_ == Type::Bf16);
        let number = TYPED.iter().position(|name| *name == kernel).map(|at| 2 * at + bf16);
        let single =
            || SINGLE.iter().position(|name| *name == kernel).map(|at| 2 * TYPED.len() + at);
        let number = number.or_else(single).unwrap();
        let buffers: Vec<(Vec<u8>, Option<bool>)> = words
            .iter()
            .filter_map(|word| {
                let own = |values: &[f32], narrow: bool| -> Vec<u8> {
                    let one = |value: &f32| match narrow {
                        true => bf16::from_f32(*value).to_bits().to_le_bytes().to_vec(),
                        false => value.to_bits().to_le_bytes().to_vec(),
                    };
                    values.iter().flat_map(one).collect()
                };
                let narrow = self.type_ == Type::Bf16;
                // What a kernel does not write stays NaN.
                let nothing = |count: usize| vec![f32::NAN; count];
                Some(match word {
                    In(values) => (own(values, narrow), None),
                    Wide(values) => (own(values, false), None),
                    Ids(ids) => (ids.iter().flat_map(|id| id.to_le_bytes()).collect(), None),
                    Out(count) => (own(&nothing(*count), narrow), Some(narrow)),
                    WideOut(count) => (own(&nothing(*count), false), Some(false)),
                    Number(_) | Real(_) => return None,
                })
            })
            .collect();
        self.put(&[number as u64, blocks as u64, buffers.len() as u64]);
        for (bytes, _) in &buffers {
            self.put(&[bytes.len() as u64]);
            self.input.write_all(bytes).unwrap();
        }
        let mut next = 0;
        for slot in 0..12 {
            let value = match words.get(slot) {
                None => [0, 0],
                Some(Number(number)) => [0, *number],
                Some(Real(real)) => [0, real.to_bits()],
                Some(_) => {
                    next += 1;
                    [1, next - 1]
                }
            };
            self.put(&value);
        }
        self.input.flush().unwrap();
        let mut outputs = Vec::new();
        for (bytes, output) in buffers {
            let mut answer = vec![0; bytes.len()];
            self.output.read_exact(&mut answer).unwrap();
            match output {
                None => assert_eq!(answer, bytes, "{kernel} writes into what it reads"),
                Some(true) => {
                    let pairs = answer.chunks_exact(2);
                    outputs
                        .push(pairs.map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect());
                }
                Some(false) => {
                    let quads = answer.chunks_exact(4);
                    let values = quads.map(|b| f32::from_le_bytes(b.try_into().unwrap()));
                    outputs.push(values.collect());
                }
            }
        }
        outputs
    }

    /// Numbers around 0 as the kernel's type holds them, other ones for each stream.
    fn noise(&self, stream: u32, count: usize) -> Vec<f32> {
        let mut state = stream.wrapping_mul(0x9e37_79b9) | 1;
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [.., low, high] = state.to_le_bytes();
            values.push(self.type_.round(f32::from(i16::from_le_bytes([low, high])) / 12_000.0));
        }
        values
    }

    fn near(&self, found: &[f32], expected: &Tensor, what: &str) {
        self.near_after(1.0, found, expected, what);
    }

    /// After so many roundings to the kernel's type.
    fn near_after(&self, roundings: f32, found: &[f32], expected: &Tensor, what: &str) {
        let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(found.len(), expected.len(), "{what}");
        let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let limit = roundings * self.type_.tolerance() * largest;
        for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
            assert!((a - b).abs() <= limit, "{what}: element {i} is {a}, not {b}");
        }
    }
}

fn var(values: &[f32], shape: &[usize]) -> Var {
    Var::from_slice(values, shape, &Device::Cpu).unwrap()
}

/// The output of a layer, and the gradients of its arguments for that of the output.
fn passes(
    arguments: &[&Var],
    grad: &[f32],
    layer: impl Fn() -> Result<Tensor>,
) -> (Tensor, Vec<Tensor>) {
    let y = layer().unwrap();
    let grad = Tensor::from_slice(grad, y.shape(), &Device::Cpu).unwrap();
    let grads = (&y * grad).unwrap().sum_all().unwrap().backward().unwrap();
    (y.clone(), arguments.iter().map(|x| grads.get(x.as_tensor()).unwrap().clone()).collect())
}

/// Runs a test for both types.
fn each(test: impl Fn(&mut Emulator)) {
    for type_ in [Type::F32, Type::Bf16] {
        if let Some(mut emulator) = Emulator::start(type_) {
            test(&mut emulator);
        }
    }
}

#[test]
fn causal_softmax() {
    each(|emulator| {
        for length in [1, 7, 300] {
            let rows = 2 * length;
            let (x, g) = (emulator.noise(1, rows * length), emulator.noise(2, rows * length));
            let scores = var(&x, &[2, length, length]);
            let factor = 0.7;
            let future: Vec<f32> = (0..length * length)
                .map(|at| if at % length > at / length { f32::NEG_INFINITY } else { 0.0 })
                .collect();
            let future = Tensor::from_vec(future, (length, length), &Device::Cpu).unwrap();
            let (y, grads) = passes(&[&scores], &g, || {
                softmax(&(scores.as_tensor() * factor)?.broadcast_add(&future)?)
            });
            let size = Number(length as u64);
            let words = [In(&x), Out(x.len()), size.clone(), Real(factor)];
            let [found] = &emulator.run("softmax_forward", rows, &words)[..] else { panic!() };
            emulator.near(found, &y, "probabilities");
            let words = [In(found), In(&g), Out(x.len()), size, Real(factor)];
            let [found] = &emulator.run("softmax_backward", rows, &words)[..] else { panic!() };
            emulator.near(found, &grads[0], "scores' gradient");
        }
    });
}

/// Elements of a part of the layer's mask.
const PART: usize = 4096;

/// The CPU's generator is another one's work (`rand_chacha`): masks must be equal.
#[test]
fn dropout_has_the_masks_of_the_cpu() {
    each(|emulator| {
        let draw = Draw { seed: 0x1234_5678_9abc_def0, step: 0x0fed_cba9_8765_4321 };
        let (p, layer) = (0.3, 7);
        let below = (p * f64::from(2_u32).powi(32)).floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 0..2³²")]
        let below = below as u64;
        let key = [draw.seed, 3, draw.step, u64::from(layer) << 32].map(Number);
        // Whole parts, an end within one, and rows whose lines of bf16 begin between two multiples of 16 bytes.
        for (count, part) in
            [(1, PART), (15, PART), (4096, PART), (9001, PART), (350, 100), (300, 32)]
        {
            let mut x = emulator.noise(3, count);
            for zero in x.iter_mut().skip(64).take(50) {
                *zero = 0.0;
            }
            // Among zeros that are not alone: kept it stays what it is, dropped it is 0.
            for negative in x.iter_mut().skip(66).step_by(3).take(4) {
                *negative = -0.0;
            }
            let counts = [count as u64, part as u64, below].map(Number);
            let scale = [Real(1.0 / (1.0 - p))];
            let words = [&[In(&x), Out(count)][..], &counts, &scale, &key].concat();
            let blocks = (count.div_ceil(part) * part.div_ceil(16)).div_ceil(256);
            let [found] = &emulator.run("dropout", blocks, &words)[..] else { panic!() };
            // The layer has parts of one length; the mask of a shorter part is the beginning of that of a longer one.
            let mut apart = Vec::new();
            for row in x.chunks(part) {
                apart.extend(row.iter().copied().chain(std::iter::repeat_n(1.0, PART - row.len())));
            }
            let y = dropout(var(&apart, &[apart.len()]).as_tensor(), p, draw, layer).unwrap();
            let y = y.to_vec1::<f32>().unwrap();
            let rows = y.chunks(PART).zip(x.chunks(part)).flat_map(|(y, x)| &y[..x.len()]);
            let expected: Vec<f32> = rows.copied().collect();
            emulator.near(found, &var(&expected, &[count]), "what is left");
            let dropped = |values: &[f32]| {
                let zero = |x: &f32| (*x == 0.0, *x == 0.0 && x.is_sign_negative());
                values.iter().map(zero).collect::<Vec<_>>()
            };
            assert_eq!(dropped(found), dropped(&expected), "{count} elements in parts of {part}");
        }
    });
}

#[test]
fn entropy() {
    each(|emulator| {
        let (rows, classes) = (5, 700);
        let x = emulator.noise(4, rows * classes);
        let labels = [0, 699, 31, 7, 256];
        let ids = Tensor::new(&labels, &Device::Cpu).unwrap();
        for smoothing in [0.0, 0.2] {
            let logits = var(&x, &[rows, classes]);
            let (y, grads) =
                passes(&[&logits], &[1.0], || cross_entropy(logits.as_tensor(), &ids, smoothing));
            let size = [Number(classes as u64), Real(smoothing)];
            let words = [&[In(&x), Ids(&labels), WideOut(rows)][..], &size].concat();
            let [losses] = &emulator.run("entropy_forward", rows, &words)[..] else { panic!() };
            let mean = losses.iter().sum::<f32>() / 5.0;
            assert!((mean - y.to_scalar::<f32>().unwrap()).abs() < 1e-5, "{mean} {y}");
            let share = [0.2; 5];
            let words = [&[In(&x), Ids(&labels), Wide(&share), Out(x.len())][..], &size].concat();
            let [found] = &emulator.run("entropy_backward", rows, &words)[..] else { panic!() };
            emulator.near(found, &grads[0], "logits' gradient");
        }
        let words = [In(&x), Ids(&[700; 5]), WideOut(rows), Number(700), Real(0.0)];
        let [losses] = &emulator.run("entropy_forward", rows, &words)[..] else { panic!() };
        assert!(losses.iter().all(|loss| loss.is_nan()), "a label that is no class");
    });
}

#[test]
fn layer_normalisation() {
    each(|emulator| {
        let (rows, columns, eps) = (70, 300, 1e-5);
        let (x, g) = (emulator.noise(5, rows * columns), emulator.noise(6, rows * columns));
        let (weight, bias) = (emulator.noise(7, columns), emulator.noise(8, columns));
        let [a, b, c] =
            [var(&x, &[rows, columns]), var(&weight, &[columns]), var(&bias, &[columns])];
        let (y, grads) = passes(&[&a, &b, &c], &g, || layer_norm(&a, &b, Some(&c), eps));
        let size = [Number(columns as u64), Real(eps)];
        let words = [&[In(&x), In(&weight), In(&bias), Out(x.len())][..], &size].concat();
        let [found] = &emulator.run("norm_forward", rows, &words)[..] else { panic!() };
        emulator.near(found, &y, "y");
        let words =
            [&[In(&x), In(&weight), In(&g), Out(x.len()), WideOut(2 * rows)][..], &size].concat();
        let [dx, statistics] = &emulator.run("norm_backward", rows, &words)[..] else { panic!() };
        emulator.near(dx, &grads[0], "x's gradient");
        let chunks = rows.div_ceil(64);
        let count = 2 * chunks * columns;
        let words = [
            In(&x),
            In(&g),
            Wide(statistics),
            WideOut(count),
            Number(rows as u64),
            Number(columns as u64),
        ];
        let [sums] = &emulator.run("norm_columns", chunks, &words)[..] else { panic!() };
        let sums = Tensor::from_slice(sums, (chunks, 2, columns), &Device::Cpu).unwrap();
        let sums = sums.sum(0).unwrap();
        for (row, expected) in [(0, &grads[1]), (1, &grads[2])] {
            let found = sums.get(row).unwrap().to_vec1::<f32>().unwrap();
            emulator.near(&found, expected, "parameters' gradient");
        }
        let words = [In(&g), WideOut(count / 2), Number(rows as u64), Number(columns as u64)];
        let [sums] = &emulator.run("columns", chunks, &words)[..] else { panic!() };
        let sums = Tensor::from_slice(sums, (chunks, columns), &Device::Cpu).unwrap();
        emulator.near(
            &sums.sum(0).unwrap().to_vec1::<f32>().unwrap(),
            &grads[2],
            "bias's gradient",
        );
        let words =
            [In(&x), In(&bias), Out(x.len()), Number(x.len() as u64), Number(columns as u64)];
        let [found] = &emulator.run("bias", x.len().div_ceil(1024), &words)[..] else { panic!() };
        emulator.near(found, &a.broadcast_add(&c).unwrap(), "x + bias");
    });
}

#[test]
fn activations() {
    each(|emulator| {
        let count = 3000;
        let (x, g) = (emulator.noise(9, count), emulator.noise(10, count));
        let a = var(&x, &[count]);
        let blocks = count.div_ceil(1024);
        let counts = |kind| [Number(3000), Number(kind)];
        for kind in 0..2 {
            let (y, grads) = passes(&[&a], &g, || match kind {
                0 => gelu(&a, Gelu::Tanh),
                _ => relu(&a),
            });
            let words = [&[In(&x), Out(count)][..], &counts(kind)].concat();
            let [found] = &emulator.run("activation_forward", blocks, &words)[..] else { panic!() };
            emulator.near(found, &y, "y");
            let words = [&[In(&x), In(&g), Out(count)][..], &counts(kind)].concat();
            let found = emulator.run("activation_backward", blocks, &words);
            emulator.near(&found[0], &grads[0], "x's gradient");
        }
    });
}

#[test]
fn heads_and_their_rotary_positions() {
    each(|emulator| {
        let [batch, length, heads, size] = [2, 150, 3, 12];
        let Rotary { dims, base } = Rotary::fraction(0.7, size).unwrap();
        let count = 3 * batch * length * heads * size;
        let x = emulator.noise(11, count);
        // By the definition, in f64.
        let expected = (0..count).map(|i| {
            let (at, position, head) = (i % size, i / size % length, i / (size * length) % heads);
            let (part, sequence) = (i / (count / 3), i / (size * length * heads) % batch);
            let of = |at: usize| {
                let place = ((sequence * length + position) * 3 + part) * heads + head;
                f64::from(x[place * size + at])
            };
            let turned = if at >= dims || part == 2 {
                of(at)
            } else {
                let (pair, first) = (at % (dims / 2), at < dims / 2);
                let [pair, dims_, position] = [pair, dims, position].map(|n| n as f64);
                let (sin, cos) = (position * base.powf(-2.0 * pair / dims_)).sin_cos();
                let other = if first { -of(at + dims / 2) } else { of(at - dims / 2) };
                of(at) * cos + other * sin
            };
            #[expect(clippy::cast_possible_truncation, reason = "the layer's own type")]
            let turned = turned as f32;
            turned
        });
        let expected = Tensor::from_vec(expected.collect(), count, &Device::Cpu).unwrap();
        let sizes = [batch, length, heads, size, dims].map(|size| Number(size as u64));
        let sizes = [&sizes[..], &[Real(base)]].concat();
        let blocks = count.div_ceil(256);
        let words = [&[In(&x), Out(count)][..], &sizes].concat();
        let [parts] = &emulator.run("split", blocks, &words)[..] else { panic!() };
        emulator.near(parts, &expected, "queries, keys and values");
        let third = count / 3;
        let [q, k, v] = [&parts[..third], &parts[third..2 * third], &parts[2 * third..]];
        let words = [&[In(q), In(k), In(v), Out(count)][..], &sizes].concat();
        let back = &emulator.run("join", blocks, &words)[0];
        let given = Tensor::new(x.as_slice(), &Device::Cpu).unwrap();
        emulator.near_after(2.0, back, &given, "the way back");
    });
}

#[test]
fn embeddings() {
    each(|emulator| {
        let (rows, columns) = (11, 300);
        let table = emulator.noise(12, rows * columns);
        let ids: Vec<u32> = (0..600).map(|i| (i * i + 3 * i) % 10).collect();
        let g = emulator.noise(13, ids.len() * columns);
        let a = var(&table, &[rows, columns]);
        let places = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap();
        let (_, grads) = passes(&[&a], &g, || embedding(&a, &places));
        let counts = [Number(ids.len() as u64), Number(columns as u64)];
        let words = [&[Ids(&ids), In(&g), Out(table.len())][..], &counts].concat();
        let found = emulator.run("embedding_backward", rows, &words);
        emulator.near(&found[0], &grads[0], "table's gradient");
    });
}

#[test]
fn convolutions() {
    let Some(mut emulator) = Emulator::start(Type::F32) else { return };
    for (kernel, stride, padding, height, width) in
        [(3, 1, 1, 8, 8), (3, 2, 1, 9, 6), (1, 2, 0, 7, 8), (5, 3, 2, 11, 10)]
    {
        let (images, inputs, outputs) = (3, 4, 5);
        let conv = Conv { stride, padding };
        let patch = inputs * kernel * kernel;
        let x = emulator.noise(14, images * inputs * height * width);
        let weight = emulator.noise(15, outputs * patch);
        let a = var(&x, &[images, inputs, height, width]);
        let b = var(&weight, &[outputs, inputs, kernel, kernel]);
        let y = conv2d(&a, &b, conv).unwrap();
        let (down, right) = (y.dims()[2], y.dims()[3]);
        let g = emulator.noise(16, y.elem_count());
        let (y, grads) = passes(&[&a, &b], &g, || conv2d(&a, &b, conv));
        let pair = |low: usize, high: usize| Number(low as u64 | (high as u64) << 32);
        let geometry = [
            pair(inputs, images),
            pair(height, width),
            pair(kernel, kernel),
            pair(down, right),
            pair(stride, padding),
        ];
        let places = images * down * right;
        let words = [&[In(&x), Out(patch * places)][..], &geometry].concat();
        let found = emulator.run("patches", patch * places.div_ceil(1024), &words);
        let patches = Tensor::from_slice(&found[0], (patch, places), &Device::Cpu).unwrap();
        let matrix = b.reshape((outputs, patch)).unwrap();
        let product = matrix.matmul(&patches).unwrap().reshape((outputs, images, down, right));
        let product = product.unwrap().transpose(0, 1).unwrap().flatten_all().unwrap();
        emulator.near(&product.to_vec1().unwrap(), &y, "y");
        let g = Tensor::from_slice(&g, y.shape(), &Device::Cpu).unwrap();
        let g =
            g.transpose(0, 1).unwrap().contiguous().unwrap().reshape((outputs, places)).unwrap();
        let back = matrix.t().unwrap().matmul(&g).unwrap();
        let back = back.flatten_all().unwrap().to_vec1().unwrap();
        let words = [&[In(&back), Out(x.len())][..], &geometry].concat();
        let found = emulator.run("images", x.len().div_ceil(256), &words);
        emulator.near(&found[0], &grads[0], "images' gradient");
    }
}

#[test]
fn batch_normalisation() {
    let Some(mut emulator) = Emulator::start(Type::F32) else { return };
    let (images, channels, plane) = (4, 3, 150);
    let config = BatchNormConfig::default();
    let (x, g) = (emulator.noise(17, 1800), emulator.noise(18, 1800));
    let map = candle_nn::VarMap::new();
    let variables = candle_nn::VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let norm = BatchNorm::new(channels, config, &variables).unwrap();
    let data = map.data().lock().unwrap();
    let (weight, bias) = (emulator.noise(19, channels), emulator.noise(20, channels));
    for (name, values) in [("weight", &weight), ("bias", &bias)] {
        data[name].set(&Tensor::new(values.as_slice(), &Device::Cpu).unwrap()).unwrap();
    }
    let a = var(&x, &[images, channels, plane]);
    let (y, grads) = passes(&[&a, &data["weight"], &data["bias"]], &g, || {
        candle_nn::ModuleT::forward_t(&norm, &a, true)
    });
    for slices in [1, 2, 5] {
        let sizes = [images, channels, plane, slices].map(|size| Number(size as u64));
        let eps = [Real(config.eps)];
        let blocks = channels * slices;
        // Of f64, carried as pairs of words.
        let sums = WideOut(4 * blocks);
        let words = [&[In(&x), sums.clone()][..], &sizes].concat();
        let [parts] = &emulator.run("batch_sums", blocks, &words)[..] else { panic!() };
        let given = [In(&x), In(&weight), In(&bias), Out(1800), Out(2 * channels), Wide(parts)];
        let words = [&given[..], &sizes, &eps].concat();
        let [found, moments] = &emulator.run("batch_forward", blocks, &words)[..] else { panic!() };
        emulator.near(found, &y, "y");
        let words = [&[In(&x), In(&g), In(moments), sums][..], &sizes, &eps].concat();
        let [parts] = &emulator.run("batch_gradient_sums", blocks, &words)[..] else { panic!() };
        let given = [In(&x), In(&weight), In(&g), In(moments), Wide(parts)];
        let words = [&given[..], &[Out(1800), Out(2 * channels)], &sizes, &eps].concat();
        let [dx, own] = &emulator.run("batch_backward", blocks, &words)[..] else { panic!() };
        emulator.near(dx, &grads[0], "x's gradient");
        emulator.near(&own[..channels], &grads[1], "weight's gradient");
        emulator.near(&own[channels..], &grads[2], "bias's gradient");
    }
}
