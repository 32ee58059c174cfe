//! The launches of the kernels, and the device memory that they read and write: all unsafe code of the crate. [`Fused`]
//! launches the step of an optimizer, [`run_layer`] a kernel of `nn::fused`.
//!
//! Every table, moment and master weight is a Candle tensor, owned here or by a variable that is held here, so that its
//! memory lives as long as a launch may use it. Everything runs on the device's one stream: launches see what was
//! written before them, and memory is freed behind the launches that read it.
#![allow(unsafe_code)]

use std::{collections::HashMap, fmt};

use candle_core::{
    CudaDevice, CudaStorage, DType, Device, Error, Result, Shape, Storage, Tensor,
    backend::BackendDevice as _,
    cuda_backend::{
        WrapErr,
        cudarc::driver::{CudaFunction, DevicePtr, LaunchConfig, PushKernelArg},
    },
};
use cpr_core::CHUNK;

const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/cpr.ptx"));
const MODULE: &str = concat!("cpr-gpu-", env!("CARGO_PKG_VERSION"));
const LAYERS_PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/layers.ptx"));
const LAYERS_MODULE: &str = concat!("cpr-gpu-layers-", env!("CARGO_PKG_VERSION"));

/// Threads of a block, chunks of a tile and parameters of a launch: BLOCK, TILE and WINDOW of kernels/.
pub(crate) const BLOCK: usize = 256;
const TILE: usize = 1024;
const WINDOW: usize = 400;
/// Blocks that correct: enough to fill any device, few enough to return at once.
const CORRECTING: usize = 4096;
/// Words of `Board`, `Window`, `Plan`, `Correction`, `Statistic` and `AmosState`.
const BOARD: usize = 16;
const CALL: usize = WINDOW + 10;
const PLAN: usize = 21;
const CORRECTION: usize = 4;
const STATISTIC: usize = 3;
pub(crate) const AMOS: usize = 2;
/// Words of `Words`, what a kernel of a layer takes.
const WORDS: usize = 12;
/// Words of the clock.
pub(crate) const CLOCK: usize = 11;
/// Base rules and how many moments they keep, in the order of `BaseKind`.
const BASES: [(&str, usize); 6] =
    [("sgd", 0), ("momentum", 1), ("adam", 2), ("amsgrad", 3), ("amos", 0), ("amos_momentum", 1)];
/// `ObservedKind`: what `observe` measures before a step.
const WEIGHTS: u64 = 0;
const GRADIENTS: u64 = 1;

/// One parameter on the device.
#[derive(Debug)]
pub(crate) struct Member {
    /// θ in the type of the step, f32 or f64: the variable, or its master weights.
    pub(crate) theta: Tensor,
    /// As many as the base rule has, like θ.
    pub(crate) moments: Vec<Tensor>,
    /// The variable, where that is bf16 or f16.
    pub(crate) low: Option<Tensor>,
    /// Index of its hyperparameters.
    pub(crate) set: usize,
    /// Its base rule, an index of `BASES`.
    pub(crate) base: usize,
    /// η, the scale that Amos expects it to have.
    pub(crate) eta: f64,
    /// Index of its constraint.
    pub(crate) record: Option<usize>,
    /// Whether a decay of AdaDecay's or after the base step, or `BeforeBase`, may act inside its step.
    pub(crate) full: bool,
    /// Whether its step asks what all of its gradient is like.
    pub(crate) observed: bool,
    /// Whether it is among the parameters whose ‖∇w‖/‖w‖ is averaged: then it is observed too.
    pub(crate) averaged: bool,
}

/// What one call does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) lr: f64,
    pub(crate) clip: Option<f64>,
    pub(crate) check: bool,
    /// Times every decay.
    pub(crate) decay: f64,
}

/// All parameters of one optimizer, and the tables of kernels/board.cuh.
pub(crate) struct Fused {
    device: CudaDevice,
    functions: HashMap<String, CudaFunction>,
    members: Vec<Member>,
    tables: Tables,
    windows: Vec<Span>,
    pieces: usize,
    tiles: usize,
    sets: usize,
    attempts: u64,
}

impl fmt::Debug for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fused").field("members", &self.members).finish_non_exhaustive()
    }
}

/// Device memory as words.
#[derive(Debug)]
struct Tables {
    tensors: Tensor,
    sets: Tensor,
    pieces: Tensor,
    tiles: Tensor,
    steps: Tensor,
    plans: Tensor,
    corrections: Tensor,
    records: Tensor,
    partials: Tensor,
    tops: Tensor,
    clock: Tensor,
    seen: Tensor,
    amos: Tensor,
}

/// The parameters of one launch, and the step kernels that they need.
#[derive(Debug)]
struct Span {
    first: usize,
    count: usize,
    first_piece: usize,
    pieces: usize,
    steps: Vec<String>,
    types: Vec<&'static str>,
    /// Types of the members that are observed, and of those of them that are averaged.
    observed: Vec<&'static str>,
    averaged: Vec<&'static str>,
}

impl Fused {
    /// # Errors
    /// Where arrays of a parameter differ in length, type or device or are not contiguous, and those of the device.
    pub(crate) fn new(
        device: &Device,
        members: Vec<Member>,
        sets: &[u64],
        set_count: usize,
        records: &[u64],
    ) -> Result<Self> {
        let (mut pieces, mut tiles) = (Vec::new(), Vec::new());
        let mut windows = Vec::new();
        for (first, window) in (0..).step_by(WINDOW).zip(members.chunks(WINDOW)) {
            let first_piece = pieces.len();
            let (mut steps, mut types) = (Vec::new(), Vec::new());
            let (mut observed, mut averaged) = (Vec::new(), Vec::new());
            for (index, member) in (first..).zip(window) {
                check(member)?;
                let chunks = member.theta.elem_count().div_ceil(CHUNK);
                pieces.extend((0..chunks).map(|chunk| word(index) | word(chunk) << 32));
                let own = tiles_of(member, chunks);
                tiles.extend((0..own).map(|tile| word(index) | word(tile) << 32));
                let kind = type_name(&member.theta);
                types.push(kind);
                observed.extend(member.observed.then_some(kind));
                averaged.extend(member.averaged.then_some(kind));
                let (base, _) =
                    BASES.get(member.base).ok_or_else(|| Error::msg("no such base rule"))?;
                steps.push(format!("step_{kind}_{base}"));
                if member.full {
                    steps.push(format!("full_{kind}_{base}"));
                }
            }
            steps.sort_unstable();
            steps.dedup();
            for types in [&mut types, &mut observed, &mut averaged] {
                types.sort_unstable();
                types.dedup();
            }
            let count = window.len();
            let pieces = pieces.len() - first_piece;
            windows.push(Span {
                first,
                count,
                first_piece,
                pieces,
                steps,
                types,
                observed,
                averaged,
            });
        }
        let count = members.len();
        let zeros = |words: usize| words_on(device, &vec![0; words.max(1)]);
        let tables = Tables {
            tensors: zeros(1)?,
            sets: words_on(device, sets)?,
            pieces: words_on(device, &pieces)?,
            tiles: words_on(device, &tiles)?,
            steps: zeros(count)?,
            plans: zeros(count * PLAN)?,
            corrections: zeros(count * CORRECTION)?,
            records: words_on(device, records)?,
            partials: zeros(pieces.len().max(count) * STATISTIC)?,
            tops: zeros(pieces.len().div_ceil(TILE).max(tiles.len()) * STATISTIC)?,
            clock: zeros(CLOCK)?,
            seen: zeros(count * STATISTIC)?,
            amos: zeros(count * AMOS)?,
        };
        let mut fused = Self {
            device: device.as_cuda_device()?.clone(),
            functions: HashMap::new(),
            members,
            tables,
            windows,
            pieces: pieces.len(),
            tiles: tiles.len(),
            sets: set_count,
            attempts: 0,
        };
        fused.load()?;
        fused.rebuild()?;
        let board = fused.board()?;
        fused.launch("prepare", 1, &board, Rest::Nothing)?;
        Ok(fused)
    }

    /// Loads the kernels that are needed.
    fn load(&mut self) -> Result<()> {
        let mut names: Vec<String> =
            ["prepare", "squares", "settle", "gather", "average", "begin", "tiles", "update"]
                .map(String::from)
                .into();
        for window in &self.windows {
            names.extend(window.steps.iter().cloned());
            for kind in &window.types {
                names.extend([format!("check_{kind}"), format!("correct_{kind}")]);
            }
            names.extend(window.observed.iter().map(|kind| format!("observe_{kind}")));
        }
        for name in names {
            let function = self.device.get_or_load_custom_func(&name, MODULE, PTX)?;
            self.functions.insert(name, function.into_cuda_function());
        }
        Ok(())
    }

    /// The table of parameters, from where they lie now.
    fn rebuild(&mut self) -> Result<()> {
        let mut words = Vec::new();
        let (mut first_piece, mut first_tile) = (0, 0);
        for member in &self.members {
            let elements = member.theta.elem_count();
            let mut moments = [0; 3];
            for (slot, moment) in moments.iter_mut().zip(&member.moments) {
                *slot = address(moment)?;
            }
            let (low, low_kind) = match &member.low {
                Some(low) => (address(low)?, half_kind(low.dtype())),
                None => (0, 0),
            };
            let pieces = elements.div_ceil(CHUNK);
            let record = member.record.map_or(0, |record| word(record) + 1);
            let wide = u64::from(member.theta.dtype() == DType::F64);
            words.extend([address(&member.theta)?, moments[0], moments[1], moments[2]]);
            words.extend([low, low_kind, wide, word(elements), word(member.set), record]);
            words.extend([word(first_piece), word(pieces), word(first_tile)]);
            words.push(member.eta.to_bits());
            first_piece += pieces;
            first_tile += tiles_of(member, pieces);
        }
        self.tables.tensors = words_on(&Device::Cuda(self.device.clone()), &words)?;
        Ok(())
    }

    fn board(&self) -> Result<[u64; BOARD]> {
        let tables = &self.tables;
        Ok([
            address(&tables.tensors)?,
            address(&tables.sets)?,
            address(&tables.pieces)?,
            address(&tables.tiles)?,
            address(&tables.steps)?,
            address(&tables.plans)?,
            address(&tables.corrections)?,
            address(&tables.records)?,
            address(&tables.partials)?,
            address(&tables.tops)?,
            address(&tables.clock)?,
            address(&tables.seen)?,
            address(&tables.amos)?,
            word(self.pieces),
            word(self.sets),
            word(self.members.len()),
        ])
    }

    /// Queues one step; nothing waits for the device. `gradients` are contiguous, one for each parameter.
    ///
    /// # Errors
    /// Where a gradient is not like its parameter, before anything is queued; and those of the device.
    pub(crate) fn step(&mut self, gradients: &[Option<&Tensor>], call: Call) -> Result<()> {
        if gradients.len() != self.members.len() {
            return Err(Error::msg("as many gradients as parameters are needed"));
        }
        let board = self.board()?;
        self.attempts += 1;
        let records = self.members.iter().filter(|member| member.record.is_some()).count();
        let mut settle = [0; CALL];
        settle[WINDOW + 3] = self.attempts;
        settle[WINDOW + 4] = call.lr.to_bits();
        settle[WINDOW + 5] = call.clip.unwrap_or(0.0).to_bits();
        settle[WINDOW + 6] = u64::from(call.check);
        settle[WINDOW + 7] = u64::from(call.clip.is_some());
        settle[WINDOW + 8] = call.decay.to_bits();
        let mut windows = Vec::with_capacity(self.windows.len());
        for span in &self.windows {
            let mut window = settle;
            window[WINDOW] = word(span.first);
            window[WINDOW + 1] = word(span.count);
            window[WINDOW + 2] = word(span.first_piece);
            let range = span.first..span.first + span.count;
            let given = gradients[range.clone()].iter().zip(&self.members[range]);
            for (slot, (gradient, member)) in window.iter_mut().zip(given) {
                if let Some(gradient) = gradient {
                    *slot = gradient_word(gradient, &member.theta)?;
                }
            }
            windows.push(window);
        }
        if call.check || call.clip.is_some() {
            for (span, window) in self.windows.iter().zip(&windows) {
                for kind in &span.types {
                    let name = format!("check_{kind}");
                    self.launch(&name, span.pieces, &board, Rest::Window(window))?;
                }
            }
        }
        if call.clip.is_some() {
            self.launch("squares", self.pieces.div_ceil(TILE), &board, Rest::Nothing)?;
        }
        self.launch("settle", 1, &board, Rest::Window(&settle))?;
        self.observe(WEIGHTS, &board, &mut settle, &mut windows)?;
        self.observe(GRADIENTS, &board, &mut settle, &mut windows)?;
        for (span, window) in self.windows.iter().zip(&windows) {
            // A launch holds at most WINDOW parameters, a block of `begin` steps BLOCK of them.
            self.launch("begin", span.count.div_ceil(BLOCK), &board, Rest::Window(window))?;
        }
        for (span, window) in self.windows.iter().zip(&windows) {
            for name in &span.steps {
                self.launch(name, span.pieces, &board, Rest::Window(window))?;
            }
        }
        if records > 0 {
            let attempt = Rest::Attempt(self.attempts);
            self.launch("tiles", self.tiles, &board, attempt)?;
            self.launch("update", records, &board, attempt)?;
            for kind in ["f32", "f64"] {
                let name = format!("correct_{kind}");
                if self.functions.contains_key(&name) {
                    self.launch(&name, self.pieces.min(CORRECTING), &board, attempt)?;
                }
            }
        }
        Ok(())
    }

    /// Queues what measures weights or gradients of the parameters whose rules ask for it; nothing where none does.
    fn observe(
        &self,
        kind: u64,
        board: &[u64; BOARD],
        call: &mut [u64; CALL],
        windows: &mut [[u64; CALL]],
    ) -> Result<()> {
        for (span, window) in self.windows.iter().zip(windows) {
            let types = if kind == WEIGHTS { &span.averaged } else { &span.observed };
            window[WINDOW + 9] = kind;
            for name in types {
                let name = format!("observe_{name}");
                self.launch(&name, span.pieces, board, Rest::Window(window))?;
            }
            if !types.is_empty() {
                self.launch("gather", span.count, board, Rest::Window(window))?;
            }
        }
        if self.windows.iter().any(|span| !span.averaged.is_empty()) {
            call[WINDOW + 9] = kind;
            self.launch("average", 1, board, Rest::Window(call))?;
        }
        Ok(())
    }

    fn launch(
        &self,
        name: &str,
        blocks: usize,
        board: &[u64; BOARD],
        rest: Rest<'_>,
    ) -> Result<()> {
        if blocks == 0 {
            return Ok(());
        }
        let function = self
            .functions
            .get(name)
            .ok_or_else(|| Error::msg(format!("the kernel {name} was not loaded")))?;
        let blocks = u32::try_from(blocks).map_err(Error::wrap)?;
        let threads = u32::try_from(BLOCK).map_err(Error::wrap)?;
        let config = LaunchConfig {
            grid_dim: (blocks, 1, 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes: 0,
        };
        let stream = self.device.cuda_stream();
        let mut launch = stream.launch_builder(function);
        launch.arg(board);
        match &rest {
            Rest::Nothing => {}
            Rest::Window(window) => {
                launch.arg(*window);
            }
            Rest::Attempt(attempt) => {
                launch.arg(attempt);
            }
        }
        // SAFETY: the arguments are the kernel's, by value: `Board` and `Window` are structs of these words. The
        // pointers in them are of tensors that `self` or the caller of `step` holds, in the lengths that `check` and
        // `gradient_word` proved and the table of parameters states, on this device; their memory is given back on the
        // same stream, behind this launch. Blocks touch their own chunk, parameter or constraint only; that of `average`
        // runs alone.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }

    /// The parameters.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Replaces master weights and moments of one parameter.
    ///
    /// # Errors
    /// As [`Fused::new`].
    pub(crate) fn replace(
        &mut self,
        index: usize,
        theta: Option<Tensor>,
        moments: Vec<Tensor>,
    ) -> Result<()> {
        let member = self.members.get_mut(index).ok_or_else(|| Error::msg("no such parameter"))?;
        let theta = theta.unwrap_or_else(|| member.theta.clone());
        let alike = theta.dtype() == member.theta.dtype()
            && theta.elem_count() == member.theta.elem_count()
            && moments.len() == member.moments.len();
        if !alike {
            return Err(Error::msg("the new arrays of a parameter are not like its old ones"));
        }
        let (old_theta, old_moments) = (
            std::mem::replace(&mut member.theta, theta),
            std::mem::replace(&mut member.moments, moments),
        );
        if let Err(error) = check(member) {
            (member.theta, member.moments) = (old_theta, old_moments);
            return Err(error);
        }
        self.rebuild()
    }

    /// Words of the clock; waits for the device.
    pub(crate) fn clock(&self) -> Result<Vec<u64>> {
        words_of(&self.tables.clock)
    }

    /// Replaces the clock.
    pub(crate) fn set_clock(&mut self, words: &[u64; CLOCK]) -> Result<()> {
        self.tables.clock = words_on(&Device::Cuda(self.device.clone()), words)?;
        Ok(())
    }

    /// t of every parameter; waits for the device.
    pub(crate) fn steps(&self) -> Result<Vec<u64>> {
        words_of(&self.tables.steps)
    }

    /// The constraints' records; waits for the device.
    pub(crate) fn records(&self) -> Result<Vec<u64>> {
        words_of(&self.tables.records)
    }

    /// v and b of every parameter, as Amos keeps them; waits for the device.
    pub(crate) fn amos(&self) -> Result<Vec<u64>> {
        words_of(&self.tables.amos)
    }

    /// Replaces v and b of every parameter.
    ///
    /// # Errors
    /// For another length.
    pub(crate) fn set_amos(&mut self, words: &[u64]) -> Result<()> {
        if self.tables.amos.elem_count() != words.len() {
            return Err(Error::msg("state of another length than the device's"));
        }
        self.tables.amos = words_on(&Device::Cuda(self.device.clone()), words)?;
        Ok(())
    }

    /// Replaces t of every parameter and the records, in the lengths that they have.
    ///
    /// # Errors
    /// For other lengths.
    pub(crate) fn set_state(&mut self, steps: &[u64], records: &[u64]) -> Result<()> {
        let lengths = (self.tables.steps.elem_count(), self.tables.records.elem_count());
        if lengths != (steps.len(), records.len()) {
            return Err(Error::msg("state of another length than the device's"));
        }
        let device = Device::Cuda(self.device.clone());
        self.tables.steps = words_on(&device, steps)?;
        self.tables.records = words_on(&device, records)?;
        Ok(())
    }
}

/// What a kernel takes beside the board.
#[derive(Clone, Copy)]
enum Rest<'a> {
    Nothing,
    Window(&'a [u64; CALL]),
    Attempt(u64),
}

/// Tiles of a parameter's chunks that are merged before its update: none where one tile holds them.
fn tiles_of(member: &Member, chunks: usize) -> usize {
    if member.record.is_some() && chunks > TILE { chunks.div_ceil(TILE) } else { 0 }
}

/// A count as a word: addresses have at most 64 bits.
fn word(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Words on the device; at least one, so that there is an address.
fn words_on(device: &Device, words: &[u64]) -> Result<Tensor> {
    let mut signed: Vec<i64> = words.iter().map(|word| word.cast_signed()).collect();
    if signed.is_empty() {
        signed.push(0);
    }
    let count = signed.len();
    Tensor::from_vec(signed, count, device)
}

fn words_of(tensor: &Tensor) -> Result<Vec<u64>> {
    Ok(tensor.to_vec1::<i64>()?.into_iter().map(i64::cast_unsigned).collect())
}

fn type_name(theta: &Tensor) -> &'static str {
    if theta.dtype() == DType::F64 { "f64" } else { "f32" }
}

/// `GradientKind` of a half type; 0 for the others.
fn half_kind(dtype: DType) -> u64 {
    match dtype {
        DType::BF16 => 1,
        DType::F16 => 2,
        _ => 0,
    }
}

/// Whether the arrays of a parameter are of one length and of the types that the kernels read.
fn check(member: &Member) -> Result<()> {
    let theta = &member.theta;
    let right = matches!(theta.dtype(), DType::F32 | DType::F64)
        && BASES.get(member.base).is_some_and(|(_, moments)| *moments == member.moments.len())
        && member.moments.iter().all(|moment| {
            moment.dtype() == theta.dtype() && moment.elem_count() == theta.elem_count()
        })
        && member.low.as_ref().is_none_or(|low| {
            half_kind(low.dtype()) != 0
                && low.elem_count() == theta.elem_count()
                && theta.dtype() == DType::F32
        });
    let contiguous = std::iter::once(theta)
        .chain(&member.moments)
        .chain(&member.low)
        .all(|tensor| tensor.layout().contiguous_offsets().is_some());
    if right && contiguous {
        Ok(())
    } else {
        Err(Error::msg("a parameter's weights and moments differ in length or type"))
    }
}

/// A number that no kernel follows: where an empty tensor lies.
const NOWHERE: u64 = 16;

/// Where the first element of a contiguous tensor lies on its device.
pub(crate) fn address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(Error::msg("a tensor is not on the CUDA device of its kernel"));
    };
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Err(Error::msg("a tensor is not contiguous"));
    };
    if start == end { Ok(NOWHERE) } else { address_in(storage, start) }
}

/// Where an element of a storage lies.
fn address_in(storage: &CudaStorage, start: usize) -> Result<u64> {
    let stream = storage.device.cuda_stream();
    macro_rules! of {
        ($type:ty) => {
            storage.as_cuda_slice::<$type>()?.slice(start..).device_ptr(&stream).0
        };
    }
    Ok(match candle_core::backend::BackendStorage::dtype(storage) {
        DType::F32 => of!(f32),
        DType::F64 => of!(f64),
        DType::BF16 => of!(half::bf16),
        DType::F16 => of!(half::f16),
        DType::U32 => of!(u32),
        DType::I64 => of!(i64),
        dtype => return Err(Error::msg(format!("no kernel reads {dtype:?}"))),
    })
}

/// Elements that nobody has written, and where they lie: a kernel has to write all of them.
pub(crate) fn fresh(
    device: &CudaDevice,
    dtype: DType,
    shape: &Shape,
) -> Result<(CudaStorage, u64)> {
    // SAFETY: floats and integers of the types that `address_in` takes have no invalid bits, and what is read before it
    // is written is an arbitrary number.
    let storage = unsafe { device.alloc_uninit(shape, dtype)? };
    let address = if shape.elem_count() == 0 { NOWHERE } else { address_in(&storage, 0)? };
    Ok((storage, address))
}

/// The same as a tensor.
pub(crate) fn empty(shape: &Shape, dtype: DType, device: &Device) -> Result<Tensor> {
    // SAFETY: as in `fresh`.
    unsafe { Tensor::empty(shape, dtype, device) }
}

/// Queues a kernel of kernels/layers.cu.
///
/// The caller vouches for `words`: they are what the kernel's comment asks for, their addresses are of tensors of this
/// device that hold as many elements as the counts beside them say, and blocks are as many as these elements take.
pub(crate) fn run_layer(
    device: &CudaDevice,
    name: &str,
    blocks: usize,
    words: &[u64],
) -> Result<()> {
    if blocks == 0 {
        return Ok(());
    }
    let mut all = [0; WORDS];
    for (slot, word) in all.iter_mut().zip(words) {
        *slot = *word;
    }
    let function = device.get_or_load_custom_func(name, LAYERS_MODULE, LAYERS_PTX)?;
    let function = function.into_cuda_function();
    let config = LaunchConfig {
        grid_dim: (u32::try_from(blocks).map_err(Error::wrap)?, 1, 1),
        block_dim: (u32::try_from(BLOCK).map_err(Error::wrap)?, 1, 1),
        shared_mem_bytes: 0,
    };
    let stream = device.cuda_stream();
    let mut launch = stream.launch_builder(&function);
    launch.arg(&all);
    // SAFETY: the argument is `Words`, by value; what it points to is the caller's promise above. Memory that candle
    // gives back is given back on the same stream, behind this launch.
    unsafe { launch.launch(config) }.w()?;
    Ok(())
}

/// A gradient as `Window` has it: its address, and its type above.
fn gradient_word(gradient: &Tensor, theta: &Tensor) -> Result<u64> {
    let kind = half_kind(gradient.dtype());
    let typed = gradient.dtype() == theta.dtype() || (kind != 0 && theta.dtype() == DType::F32);
    let placed = gradient.device().same_device(theta.device());
    if gradient.elem_count() != theta.elem_count() || !typed || !placed {
        return Err(Error::msg("a gradient is not like its parameter"));
    }
    Ok(address(gradient)? | kind << 60)
}
