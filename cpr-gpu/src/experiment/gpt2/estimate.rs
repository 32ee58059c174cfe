//! What a run would take, before anything is made: parameters, groups, memory.

use std::{fmt::Write as _, io::Write};

use cpr_host::{
    commands::CommandError,
    config::ExperimentConfig as _,
    param::{Grouping, ParamLayout},
    train::TrainError,
};

use super::Gpt2Keys;
use crate::{
    experiment::{Corpus, OnDevice, SpecParams, corpus, failed},
    model::{Gpt2, Gpt2Config, declared, layout},
    optim::Params as _,
};

const FLOAT: u64 = 4;

/// Writes the groups of the parameters and an estimate of the memory; makes neither weights nor a run. The data is opened
/// only where the size of the vocabulary does not follow from the keys alone.
///
/// # Errors
/// [`CommandError`].
#[expect(
    clippy::result_large_err,
    reason = "the host's error, made once, at the end of the program"
)]
pub fn dry_run(config: &OnDevice<Gpt2Keys>, out: &mut dyn Write) -> Result<(), CommandError> {
    let keys = &config.keys;
    let vocabulary = vocabulary(keys)?;
    let model = keys.model(vocabulary);
    let declared = declared(|variables| Gpt2::new(model, variables)).map_err(failed)?;
    let layout = layout(&declared).map_err(TrainError::other)?;
    let grouping = Grouping { embeddings: keys.optim.constraint.regularize_embeddings };
    let Gpt2Config { width, layers, heads, context, .. } = model;
    writeln!(
        out,
        "GPT-2 {width}/{layers}/{heads} (width/layers/heads), context {context}, {vocabulary} tokens\n{}, seed {}\n",
        config.summary(),
        config.run().seed
    )?;
    writeln!(out, "{}", grouping.table(&layout))?;
    write!(out, "{}", memory(keys, model, &layout)?)?;
    Ok(())
}

fn vocabulary(keys: &Gpt2Keys) -> Result<usize, TrainError> {
    if let Some(vocabulary) = keys.corpus.vocabulary {
        return Ok(vocabulary);
    }
    if let Some(size) = corpus::size(&keys.corpus) {
        return Ok(size);
    }
    let mut own = keys.corpus.clone();
    Corpus::open(&mut own, keys.context)?;
    Ok(own.vocabulary.unwrap_or_default())
}

/// Bytes of each part, as a table.
fn memory(keys: &Gpt2Keys, model: Gpt2Config, layout: &ParamLayout) -> Result<String, TrainError> {
    let elements = layout.len() as u64;
    let base = SpecParams::new(&keys.optim)?.base(None).map_err(TrainError::other)?;
    let moments = base.moments().len() as u64;
    let copies = if keys.corpus.accumulate > 1 { 2 } else { 1 };
    let sequences = keys.corpus.sequences();
    let activations = activations(model, sequences, keys.recompute);
    // Candle adds to a sum of zeros: the sum, what is added and the outcome are there at once.
    let logits = (sequences * model.context * model.vocabulary) as u64;
    let largest = layout.params().iter().map(|param| param.range.len() as u64).max();
    let sums = 2 * logits.max(largest.unwrap_or_default());
    let parts = [
        ("weights", elements * FLOAT),
        ("gradients", copies * elements * FLOAT),
        ("moments of the optimizer", moments * elements * FLOAT),
        ("activations", activations * FLOAT),
        ("sums of gradients", sums * FLOAT),
    ];
    let mut text = format!("{elements} parameters\n");
    let total: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
    for (name, bytes) in parts.into_iter().chain([("together", total)]) {
        // Memory is far below 2⁵³ bytes, and writing to a string cannot fail.
        let _ = writeln!(text, "{name:<26}{:>10.3} GiB", bytes as f64 / (1_u64 << 30) as f64);
    }
    let _ = writeln!(
        text,
        "activations: f32 on the CPU, {} x {} tokens a pass; on CUDA layers are composed of more operations and take more",
        keys.corpus.sequences(),
        model.context
    );
    Ok(text)
}

/// Numbers that the graph of a pass holds at its largest.
///
/// Of each token a block keeps the outputs of its operations, in units of the width: two normalisations 1 each, qkv 3,
/// attention 1, projection 1, the map into the MLP 4, GELU 4, the map out of it 1, two sums 1 each, and 1 for each of two
/// dropouts; the head keeps its normalisation 1, and the logits and their gradient. Recomputed, a block keeps its
/// input, and one block at a time all of the above.
fn activations(model: Gpt2Config, sequences: usize, recompute: bool) -> u64 {
    let Gpt2Config { layers, width, context, vocabulary, rotary, dropout, .. } = model;
    let [layers, width, vocabulary] = [layers, width, vocabulary].map(|size| size as u64);
    let dropouts = if dropout > 0.0 { 2 } else { 0 };
    let block = (18 + dropouts) * width;
    let blocks = if recompute { block + layers * width } else { layers * block };
    let embedding = (1 + u64::from(rotary == 0.0) + dropouts / 2) * width;
    let head = width + 2 * vocabulary;
    (sequences * context) as u64 * (embedding + blocks + head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Size;

    #[test]
    fn the_largest_is_told_without_being_made() {
        let keys = Gpt2Keys { size: Size::Xl, ..Gpt2Keys::default() };
        let config = OnDevice { keys, ..OnDevice::default() };
        let mut out = Vec::new();
        dry_run(&config, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        // wte, and 36 blocks of 12·1600² with their vectors.
        let parameters = 50_257 * 1600 + 36 * (12 * 1600 * 1600 + 11 * 1600 + 2 * 1600) + 2 * 1600;
        assert!(text.contains(&format!("\n{parameters} parameters\n")), "{text}");
        assert!(text.contains("transformer.h.35.mlp.c_proj.weight"), "{text}");
        assert!(text.contains("moments of the optimizer"), "{text}");
    }

    #[test]
    fn recomputed_activations_are_fewer() {
        let whole = activations(Gpt2Config::s(), 8, false);
        let recomputed = activations(Gpt2Config::s(), 8, true);
        let tokens = 8 * 1024;
        assert_eq!(whole - recomputed, tokens * 768 * (11 * 20 - 12));
    }
}
