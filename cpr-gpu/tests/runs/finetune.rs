//! Runs of `cpr-gpu finetune` on a tiny GPT-2 in Hugging Face's format.

use std::{fs, path::Path};

use candle_core::{DType, Device, Tensor};
use cpr_gpu::model::{Gpt2, gpt2::Pretrained, over};

use super::{Place, assert_same, same_but_best};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gpt2-tiny");

/// The command of a tiny run. A token of the tiny model is a number below 64.
fn finetune(flags: &str) -> String {
    let kind = if flags.contains("--steps") { "" } else { "--steps 20" };
    format!(
        "finetune --model {TINY} --data text.txt --unit characters --rank 3 --alpha 6 --context 12 --batch 4 \
         --warmup 2 --eval-every 5 --eval-sequences 6 --checkpoint-every 7 --schedule constant --lr 1e-2 --threads 1 \
         --name run {kind} {flags}"
    )
}

fn place() -> Place {
    let place = Place::new();
    let text: String = (0..300).map(|i| ["ab", "cab ", "bad ", "dab"][i * i % 4]).collect();
    fs::write(place.path().join("text.txt"), text).unwrap();
    place
}

#[test]
fn stopped_and_resumed_it_leaves_the_same_bytes() {
    for kind in
        ["", "--accumulate 2 --targets c_attn --kappa-init warm-start=9 --adaptive on-release"]
    {
        let whole = place();
        let said = whole.cpr_gpu(&finetune(kind));
        assert!(said.contains("c_attn.lora_B.weight"), "{said}");
        assert_eq!(said.contains("c_fc.lora_A"), kind.is_empty(), "{said}");
        let part = place();
        part.cpr_gpu(&finetune(&format!("{kind} --steps 10")));
        part.cpr_gpu("resume runs/finetune/run --steps 20 --threads 2");
        let [whole, part] = [&whole, &part].map(|place| place.path().join("runs/finetune/run"));
        assert_same(&whole, &part, kind, same_but_best());
    }
}

#[test]
fn merged_it_is_the_same_network_in_the_same_format() {
    let place = place();
    place.cpr_gpu(&finetune(""));
    let evaluated = place.cpr_gpu("eval runs/finetune/run");
    place.cpr_gpu("merge runs/finetune/run --out merged");
    let base = Pretrained::read(Path::new(TINY)).unwrap();
    let merged = Pretrained::read(&place.path().join("merged")).unwrap();
    assert_eq!(merged.config, base.config);
    for (name, weight) in &base.weights {
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let changed = values(weight) != values(&merged.weights[name]);
        let is_target =
            ["c_attn.weight", "c_proj.weight", "c_fc.weight"].iter().any(|t| name.ends_with(t));
        assert_eq!(changed, is_target, "{name}");
    }
    // Trained further from the merged folder, it begins with the loss that the run ended with.
    let line = finetune("").replace(TINY, "merged").replace("--name run", "--name again --dry-run");
    let said = place.cpr_gpu(&line);
    assert!(said.contains("numbers added"), "{said}");
    let line = finetune("--steps 3")
        .replace(TINY, "merged")
        .replace("--name run", "--name again --lr 1e-12");
    let line = line.replace("--lr 1e-2 ", "");
    place.cpr_gpu(&line);
    let again = place.cpr_gpu("eval runs/finetune/again");
    let loss = |said: &str| {
        let line = said.lines().find(|line| line.starts_with("validation")).unwrap().to_owned();
        line.split_whitespace().nth(2).unwrap().parse::<f64>().unwrap()
    };
    let (ended, begun) = (loss(&evaluated), loss(&again));
    assert!((ended - begun).abs() < 1e-5 * ended, "{ended} and {begun}");
    // It has learned: untouched, this model is worse than a guess among 64.
    let weights = base.weights.into_iter();
    let model = Gpt2::new(base.config, &over(weights, DType::F32, &Device::Cpu)).unwrap();
    let tokens = Tensor::new(&[[0_u32, 1, 2, 1, 0]], &Device::Cpu).unwrap();
    let start = model.loss(&tokens, &tokens, None).unwrap().to_scalar::<f32>().unwrap();
    assert!(ended < f64::from(start), "{ended} {start}");
    let message = place.error("merge runs/finetune/run --out merged", 1);
    assert!(message.contains("merged"), "{message}");
}

#[test]
fn what_does_not_fit_is_refused_with_what_to_do() {
    let place = place();
    for (flags, status, part) in [
        ("--vocabulary 65", 1, "the model knows 64 tokens"),
        ("--targets c_attn,wte", 2, "some of c_attn, c_proj, c_fc"),
        ("--rank 0", 2, "1 to 16384"),
        ("--kappa-init dependent=0.9", 1, "lora_B"),
    ] {
        let message = place.error(&finetune(flags), status);
        assert!(message.contains(part), "{flags}: {message}");
    }
    let message = place.error(&finetune("").replace("--context 12", "--context 30"), 1);
    assert!(message.contains("made for 24 tokens"), "{message}");
    let message = place.error(&finetune("").replace(TINY, "none"), 1);
    assert!(message.contains("none") && message.contains("Hugging Face"), "{message}");
}

#[test]
fn a_sweep_looks_for_text_and_model_before_its_first_run() {
    let place = place();
    let study = |data: &str, model: &str| {
        format!(
            "experiment = \"finetune\"\nout = \"study\"\nseeds = 2\ngroup = [{{ name = \"a\" }}]\n[set]\n\
             data = \"{data}\"\nmodel = \"{model}\"\nsteps = 2\nwarmup = 1\n"
        )
    };
    place.refused(&study("none.txt", TINY), &["cannot read none.txt: ", "`data` of 2 of the runs"]);
    fs::create_dir(place.path().join("folder")).unwrap();
    let parts =
        ["cannot read folder/model.safetensors: ", "Hugging Face", "`model` of 2 of the runs"];
    place.refused(&study("text.txt", "folder"), &parts);
}

#[test]
fn additions_of_another_form_are_refused_by_the_settings_that_differ() {
    let place = place();
    place.cpr_gpu(&finetune("--steps 3"));
    let line = finetune("--steps 3 --from runs/finetune/run --targets c_attn,c_proj");
    let line = line.replace("--rank 3", "--rank 2").replace("--name run", "--name next");
    let message = place.error(&line, 1);
    for part in [
        "`rank` is 3 in the checkpoint and 2 in the configuration",
        "`targets` is c_attn,c_proj,c_fc in the checkpoint and c_attn,c_proj in the configuration",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("lora_A"), "{message}");
}
