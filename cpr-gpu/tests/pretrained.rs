//! A GPT-2 in Hugging Face's format beside transformers' logits of it, as scripts/hf_gpt2.py recorded them; and written
//! out again.
#![allow(
    clippy::unwrap_used,
    reason = "what a test and its tools need and do not get fails the test"
)]

use std::{collections::HashMap, fs, path::Path};

use candle_core::{DType, Device, Tensor};
use cpr_gpu::model::{
    Gpt2,
    gpt2::{Pretrained, write},
    over,
};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gpt2-tiny");

fn model(pretrained: &Pretrained) -> Gpt2 {
    let weights = pretrained.weights.iter().map(|(name, tensor)| (name.clone(), tensor.clone()));
    Gpt2::new(pretrained.config, &over(weights, DType::F32, &Device::Cpu)).unwrap()
}

#[test]
fn logits_are_those_of_transformers() {
    let pretrained = Pretrained::read(Path::new(TINY)).unwrap();
    let config = pretrained.config;
    assert_eq!((config.layers, config.width, config.heads), (2, 32, 4));
    assert_eq!((config.context, config.vocabulary, config.tied), (24, 64, true));
    let text = fs::read(format!("{TINY}/expected.json")).unwrap();
    let recorded: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let tokens: Vec<Vec<u32>> = serde_json::from_value(recorded["tokens"].clone()).unwrap();
    let expected: Vec<f32> = serde_json::from_value(recorded["logits"].clone()).unwrap();
    let tokens = Tensor::new(tokens, &Device::Cpu).unwrap();
    let logits = model(&pretrained).forward(&tokens, None).unwrap();
    let third = Tensor::arange_step(0_u32, 24, 3, &Device::Cpu).unwrap();
    let own = logits.index_select(&third, 1).unwrap().flatten_all().unwrap();
    let own = own.to_vec1::<f32>().unwrap();
    assert_eq!((own.len(), expected.len()), (2 * 8 * 64, 2 * 8 * 64));
    let (mut apart, mut largest) = (0.0_f32, 0.0_f32);
    for (own, expected) in own.iter().zip(&expected) {
        apart = apart.max((own - expected).abs());
        largest = largest.max(expected.abs());
    }
    eprintln!("logits up to {largest}, apart by {apart:e}");
    // Logits of a network that does something.
    assert!(largest > 1.0);
    assert!(apart < 1e-4 * largest, "{apart:e} of {largest}");
}

#[test]
fn written_and_read_again_it_is_the_same_under_any_of_the_names() {
    let pretrained = Pretrained::read(Path::new(TINY)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut weights: Vec<_> =
        pretrained.weights.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    weights.sort_by(|a, b| a.0.cmp(&b.0));
    write(folder.path(), pretrained.config, &weights).unwrap();
    let same = |again: &Pretrained| {
        assert_eq!(again.config, pretrained.config);
        assert_eq!(again.weights.len(), weights.len());
        for (name, tensor) in &weights {
            let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(values(&again.weights[name]), values(tensor), "{name}");
        }
    };
    same(&Pretrained::read(folder.path()).unwrap());
    // As OpenAI's weights are on the hub: no `transformer.`, and masks; and with the head that is tied.
    let mut hub: HashMap<String, Tensor> = weights
        .iter()
        .map(|(name, tensor)| (name.trim_start_matches("transformer.").to_owned(), tensor.clone()))
        .collect();
    let mask = Tensor::ones((1, 1, 24, 24), DType::F32, &Device::Cpu).unwrap();
    hub.insert("h.0.attn.bias".to_owned(), mask);
    hub.insert("lm_head.weight".to_owned(), hub["wte.weight"].clone());
    candle_core::safetensors::save(&hub, folder.path().join("model.safetensors")).unwrap();
    same(&Pretrained::read(folder.path()).unwrap());
}

#[test]
fn what_is_no_gpt2_is_refused_with_what_differs() {
    let pretrained = Pretrained::read(Path::new(TINY)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let refused = || Pretrained::read(&file).unwrap_err().to_string();
    assert!(refused().contains("model.safetensors"), "{}", refused());
    let save = |weights: &HashMap<String, Tensor>| candle_core::safetensors::save(weights, &file);
    let mut weights = pretrained.weights.clone();
    let bias = weights.remove("transformer.h.1.mlp.c_fc.bias").unwrap();
    save(&weights).unwrap();
    fs::copy(format!("{TINY}/config.json"), folder.path().join("config.json")).unwrap();
    assert!(refused().contains("no `transformer.h.1.mlp.c_fc.bias`"), "{}", refused());
    let short = bias.narrow(0, 0, 5).unwrap();
    weights.insert("transformer.h.1.mlp.c_fc.bias".to_owned(), short);
    save(&weights).unwrap();
    assert!(refused().contains("is [5], not [128]"), "{}", refused());
    let first = pretrained.weights.iter().filter(|(name, _)| !name.contains(".h.1."));
    save(&first.map(|(name, weight)| (name.clone(), weight.clone())).collect()).unwrap();
    assert!(refused().contains("n_layer is 2, not 1"), "{}", refused());
    save(&pretrained.weights).unwrap();
    let config = fs::read_to_string(format!("{TINY}/config.json")).unwrap();
    fs::write(folder.path().join("config.json"), config.replace("gelu_new", "relu")).unwrap();
    assert!(refused().contains("activation_function is \"relu\""), "{}", refused());
    let rotary = cpr_gpu::model::Gpt2Config { rotary: 0.5, ..pretrained.config };
    let message = write(folder.path(), rotary, &[]).unwrap_err().to_string();
    assert!(message.contains("rotary"), "{message}");
}
