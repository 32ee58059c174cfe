//! The step of an optimizer as launches: the tables of kernels/board.cuh, and the order of the kernels of cpr.cu.
//!
//! Every table, moment and master weight is a Candle tensor, owned here or by a variable that is held here, so that its
//! memory lives as long as a launch may use it. Everything runs on the device's one stream: launches see what was
//! written before them, and memory is freed behind the launches that read it.

use std::{collections::HashMap, fmt};

use candle_core::{
    CudaDevice, DType, Device, Error, Result, Tensor, cuda_backend::cudarc::driver::CudaFunction,
};
use cpr_core::CHUNK;

use super::member::{BASES, Member, TILE, check, gradient_word, half_kind, tiles_of, type_name};
use crate::kernel::{
    BLOCK, BOARD, CALL, Rest, STEPPERS, WINDOW, address, launch, load, multiprocessors, word,
    words_of, words_on,
};

/// Blocks that correct, for each multiprocessor: CORRECTING of kernels/, as many as it holds at once of f32; of f64 they take turns.
const CORRECTING: usize = 5;
/// Words of `Plan`, `Correction`, `Statistic` and `AmosState`.
const PLAN: usize = 22;
const CORRECTION: usize = 4;
const STATISTIC: usize = 3;
pub(super) const AMOS: usize = 2;
/// Words of the clock.
pub(super) const CLOCK: usize = 11;
/// `ObservedKind`: what `observe` measures before a step.
const WEIGHTS: u64 = 0;
const GRADIENTS: u64 = 1;

/// What one call does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) lr: f64,
    pub(super) clip: Option<f64>,
    pub(super) check: bool,
    /// Times every decay.
    pub(super) decay: f64,
}

/// All parameters of one optimizer, and the tables of kernels/board.cuh.
pub(super) struct Fused {
    device: CudaDevice,
    functions: HashMap<String, CudaFunction>,
    members: Vec<Member>,
    tables: Tables,
    windows: Vec<Span>,
    pieces: usize,
    tiles: usize,
    sets: usize,
    correcting: usize,
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
    pub(super) fn new(
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
        let device = device.as_cuda_device()?.clone();
        let mut fused = Self {
            correcting: CORRECTING * multiprocessors(&device)?,
            device,
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
            ["prepare", "squares", "settle", "gather", "average", "begin", "update"]
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
            let function = load(&self.device, &name)?;
            self.functions.insert(name, function);
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
    pub(super) fn step(&mut self, gradients: &[Option<&Tensor>], call: Call) -> Result<()> {
        if gradients.len() != self.members.len() {
            return Err(Error::msg("as many gradients as parameters are needed"));
        }
        let board = self.board()?;
        self.attempts += 1;
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
                let grid = (span.pieces, STEPPERS);
                self.launch_grid(name, grid, &board, Rest::Window(window))?;
            }
        }
        if self.tiles > 0 {
            let attempt = Rest::Attempt(self.attempts);
            self.launch("update", self.tiles, &board, attempt)?;
            for kind in ["f32", "f64"] {
                let name = format!("correct_{kind}");
                if self.functions.contains_key(&name) {
                    self.launch(&name, self.pieces.min(self.correcting), &board, attempt)?;
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
        self.launch_grid(name, (blocks, BLOCK), board, rest)
    }

    fn launch_grid(
        &self,
        name: &str,
        grid: (usize, usize),
        board: &[u64; BOARD],
        rest: Rest<'_>,
    ) -> Result<()> {
        if grid.0 == 0 {
            return Ok(());
        }
        let function = self
            .functions
            .get(name)
            .ok_or_else(|| Error::msg(format!("the kernel {name} was not loaded")))?;
        launch(&self.device, function, grid, board, rest)
    }

    /// The parameters.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Replaces master weights and moments of one parameter.
    ///
    /// # Errors
    /// As [`Fused::new`].
    pub(super) fn replace(
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
    pub(super) fn clock(&self) -> Result<Vec<u64>> {
        words_of(&self.tables.clock)
    }

    /// Replaces the clock.
    pub(super) fn set_clock(&mut self, words: &[u64; CLOCK]) -> Result<()> {
        self.tables.clock = words_on(&Device::Cuda(self.device.clone()), words)?;
        Ok(())
    }

    /// t of every parameter; waits for the device.
    pub(super) fn steps(&self) -> Result<Vec<u64>> {
        words_of(&self.tables.steps)
    }

    /// The constraints' records; waits for the device.
    pub(super) fn records(&self) -> Result<Vec<u64>> {
        words_of(&self.tables.records)
    }

    /// v and b of every parameter, as Amos keeps them; waits for the device.
    pub(super) fn amos(&self) -> Result<Vec<u64>> {
        words_of(&self.tables.amos)
    }

    /// Replaces v and b of every parameter.
    ///
    /// # Errors
    /// For another length.
    pub(super) fn set_amos(&mut self, words: &[u64]) -> Result<()> {
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
    pub(super) fn set_state(&mut self, steps: &[u64], records: &[u64]) -> Result<()> {
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
