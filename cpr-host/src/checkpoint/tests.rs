mod atomic;
mod damage;
mod folder;

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{TensorView, serialize};
use serde_json::json;

use super::format::HEADER_START;
use super::*;

pub(super) const WEIGHT: [f32; 6] = [1.0, -0.0, f32::MIN_POSITIVE / 4.0, f32::MAX, -1.5, 3.25];
pub(super) const BIAS: [f64; 2] = [std::f64::consts::PI, -1e-310];
const RECORD: [u8; 5] = [1, 0, 255, 7, 9];

pub(super) fn meta(step: u64) -> Meta {
    Meta {
        step,
        config: "# κ\nlr = 1e-3\n[data]\npath = \"a\\\\b\"\n".to_owned(),
        cursor: json!({"zeta": 1, "alpha": [u64::MAX, 0.1, "\u{7f}\"\\"], "mid": null}),
        optimizer: Some(OptimizerMeta {
            name: "adamcpr".to_owned(),
            hyperparameters: json!({"lr": 1e-3, "beta2": 0.98}),
        }),
        best: Some(Best { step: 3, metric: "loss".to_owned(), value: 0.1 + 0.2 }),
        files: [("metrics.jsonl".to_owned(), 1 << 40), ("metrics.csv".to_owned(), 0)].into(),
        non_finite: NonFinite { steps: 1, in_a_row: 2 },
        ..Meta::new("modular")
    }
}

/// Every dtype, a scalar, an empty tensor and every kind of name.
pub(super) fn sample(step: u64) -> CheckpointWriter<'static> {
    CheckpointWriter::new(meta(step))
        .tensor("layers.0.w", &[2, 3], &WEIGHT)
        .tensor("bias", &[2], &BIAS)
        .tensor("scale \"é\"/x", &[], &[0.5_f32])
        .tensor("empty", &[0, 4], &[] as &[f32; 0])
        .moment("layers.0.w", "exp_avg", &WEIGHT)
        .moment("bias", "exp_avg", &BIAS)
        .moment("scale \"é\"/x", "exp_avg_sq", &[0.25_f32])
        .constraint("layers.0.w", &RECORD)
}

fn bytes(writer: &CheckpointWriter<'_>) -> Vec<u8> {
    writer.to_bytes("sample").unwrap()
}

fn read(bytes: &[u8]) -> Checkpoint {
    Checkpoint::from_bytes("sample", bytes).unwrap()
}

#[test]
fn every_bit_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    sample(7).write(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes(&sample(7)));

    let Checkpoint { meta: found, mut tensors } = Checkpoint::read(&path).unwrap();
    assert_eq!(found, meta(7));
    let keys: Vec<_> = found.cursor.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["zeta", "alpha", "mid"]);

    let names: Vec<_> = tensors.parameters().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["bias", "empty", "layers.0.w", "scale \"é\"/x"]);
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(tensors.take_f32("layers.0.w", &[2, 3]).unwrap()), WEIGHT.map(f32::to_bits));
    assert_eq!(bits(tensors.take_moment("layers.0.w", "exp_avg", &[2, 3]).unwrap()).len(), 6);
    assert_eq!(tensors.take_f64("bias", &[2]).unwrap(), BIAS);
    assert_eq!(tensors.take_moment::<f64>("bias", "exp_avg", &[2]).unwrap(), BIAS);
    assert_eq!(tensors.take_f32("scale \"é\"/x", &[]).unwrap(), [0.5]);
    assert!(tensors.contains_moment("scale \"é\"/x", "exp_avg_sq"));
    assert_eq!(tensors.take_moment::<f32>("scale \"é\"/x", "exp_avg_sq", &[]).unwrap(), [0.25]);
    assert!(tensors.take_f32("empty", &[0, 4]).unwrap().is_empty());
    assert!(tensors.contains_constraint("layers.0.w") && !tensors.contains_constraint("bias"));
    assert_eq!(tensors.take_constraint("layers.0.w").unwrap(), RECORD);
    assert!(tensors.finish(Policy::Strict).unwrap().is_complete());
}

#[test]
fn not_a_number_keeps_its_payload() {
    let odd = [f32::from_bits(0x7fc0_1234), f32::from_bits(0xffff_ffff), f32::NEG_INFINITY];
    let file = bytes(&CheckpointWriter::new(meta(1)).tensor("w", &[3], &odd));
    let back = read(&file).tensors.take_f32("w", &[3]).unwrap();
    assert!(back.iter().zip(odd).all(|(a, b)| a.to_bits() == b.to_bits()));
}

/// More than one block of conversion, and an odd rest.
#[test]
fn long_tensors_come_back() {
    let single: Vec<f32> = (0..200_003).map(f32::from_bits).collect();
    let double: Vec<f64> = single.iter().map(|&x| f64::from(x) * 1.5).collect();
    let byte: Vec<u8> = (0..=255).cycle().take(600_001).collect();
    let writer = CheckpointWriter::new(meta(1))
        .tensor("single", &[single.len()], &single)
        .tensor("double", &[double.len()], &double)
        .tensor("byte", &[byte.len()], &byte);
    let mut tensors = read(&bytes(&writer)).tensors;
    assert!(tensors.take_f32("single", &[single.len()]).unwrap() == single);
    assert!(tensors.take_f64("double", &[double.len()]).unwrap() == double);
    assert!(tensors.take::<u8>("byte", &[byte.len()]).unwrap() == byte);
}

#[test]
fn the_order_of_the_calls_does_not_show() {
    let shuffled = CheckpointWriter::new(meta(7))
        .constraint("layers.0.w", &RECORD)
        .moment("scale \"é\"/x", "exp_avg_sq", &[0.25_f32])
        .moment("bias", "exp_avg", &BIAS)
        .moment("layers.0.w", "exp_avg", &WEIGHT)
        .tensor("empty", &[0, 4], &[] as &[f32; 0])
        .tensor("scale \"é\"/x", &[], &[0.5_f32])
        .tensor("bias", &[2], &BIAS)
        .tensor("layers.0.w", &[2, 3], &WEIGHT);
    assert_eq!(bytes(&shuffled), bytes(&sample(7)));
}

/// The crate of the format's authors writes the same bytes, and reads what we write.
#[test]
fn the_safetensors_crate_agrees() {
    let file = bytes(&sample(7));
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let metadata: HashMap<_, _> = header.metadata().clone().unwrap();
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["cpr"]);

    let theirs = SafeTensors::deserialize(&file).unwrap();
    let views: Vec<(String, TensorView<'_>)> = theirs.tensors();
    assert_eq!(views.len(), 8);
    assert_eq!(serialize(views, Some(metadata)).unwrap(), file);

    for (name, tensor) in read(&file).tensors.iter() {
        let view = theirs.tensor(name).unwrap();
        assert_eq!(
            (view.dtype(), view.shape()),
            (tensor.signature.dtype, &*tensor.signature.shape)
        );
        assert_eq!(view.data(), tensor.bytes, "{name}");
    }
}

/// The bytes of version 1 are promised: whoever changes them raises the version.
#[test]
fn the_format_is_frozen() {
    let writer = CheckpointWriter::new(Meta { step: 3, ..Meta::new("k") })
        .tensor("w", &[2], &[1.0_f32, -2.0])
        .constraint("w", &[9]);
    let header = concat!(
        r#"{"__metadata__":{"cpr":"{\"format\":1,\"checksum\":\"CHECKSUM\",\"meta\":{"#,
        r#"\"kind\":\"k\",\"step\":3,\"config\":\"\",\"schedule\":null,\"cursor\":null,"#,
        r#"\"random\":null,\"optimizer\":null,\"best\":null,\"files\":{},\"non_finite\":"#,
        r#"{\"steps\":0,\"in_a_row\":0}}}"},"#,
        r#""w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"#,
        r#""constraint/w":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}}"#,
    );
    let whole = |checksum: &str| {
        let mut header = header.replace("CHECKSUM", checksum).into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.extend([0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 9]);
        file
    };
    // Computed bit by bit, by a program that shares nothing with this one.
    assert_eq!(bytes(&writer), whole("b77eb4c3"));
    assert!(header.starts_with(HEADER_START));
    assert!(HEADER_START.contains(&format!("{FORMAT_VERSION},")));
}

#[test]
fn the_writer_refuses_what_could_not_be_read() {
    let one = [1.0_f32];
    let new = || CheckpointWriter::new(Meta::new("test"));
    let with = |meta: Meta| CheckpointWriter::new(meta);
    let mut deep = json!(1);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    let best = Some(Best { step: 0, metric: "loss".to_owned(), value: f64::NAN });
    let long = "x".repeat(MAX_DOCUMENT_BYTES);
    let long_name = "n".repeat(MAX_HEADER_BYTES as usize);
    let cases = [
        (new().tensor("", &[1], &one), "must not be empty"),
        (new().tensor("__metadata__", &[1], &one), "is no name"),
        (new().tensor("optimizer/a/b", &[1], &one), "is no name"),
        (new().tensor("constraint/a", &[1], &one), "is no name"),
        (new().tensor("a", &[2], &one), "`a` has 1 elements, and its shape is [2]"),
        (new().tensor("a", &[usize::MAX, 2], &one), "has 1 elements"),
        (new().tensor("a", &[1; MAX_RANK + 1], &one), "17 dimensions"),
        (new().tensor("a", &[1], &one).tensor("a", &[1], &one), "`a` stands twice"),
        (new().tensor("a", &[1], &one).tensor("a", &[], &[1.0_f64]).constraint("a", &[]), "twice"),
        (new().moment("a", "m", &one), "has no parameter `a`"),
        (new().tensor("a", &[1], &one).moment("a", "", &one), "name of a moment"),
        (new().tensor("a", &[1], &one).moment("a", "m/n", &one), "name of a moment"),
        (new().tensor("a", &[1], &one).moment("a", "m", &[1.0_f64]), "is F64[1]"),
        (new().tensor("a", &[1], &one).moment("a", "m", &[1.0_f32; 2]), "is F32[2]"),
        (new().slots("a", "s", &[1.0]), "has no parameter `a`"),
        (new().tensor("a", &[1], &one).slots("a", "s/t", &[1.0]), "name of a moment"),
        (new().tensor("a", &[1], &one).moment("a", "m", &one).slots("a", "m", &[1.0]), "twice"),
        (new().constraint("a", &[]), "has no parameter `a`"),
        (with(Meta { config: long, ..Meta::new("test") }), "put what is long into a tensor"),
        (with(Meta { cursor: deep, ..Meta::new("test") }), "nested"),
        (with(Meta { best, ..Meta::new("test") }), "must be finite"),
        (new().tensor(long_name, &[1], &one), "shorter names"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refused.safetensors");
    for (writer, message) in cases {
        let error = writer.write(&path).unwrap_err().to_string();
        assert!(error.contains(message), "{error:.300} lacks {message}");
        assert!(error.contains("refused.safetensors"), "{error:.300}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let mut tensors = read(&bytes(&sample(7))).tensors;
    let missing = tensors.take_f32("head", &[2]).unwrap_err();
    assert!(matches!(missing, CheckpointError::Missing { .. }), "{missing}");
    let shape = tensors.take_f32("layers.0.w", &[3, 2]).unwrap_err().to_string();
    assert!(shape.contains("`layers.0.w` of sample is F32 [2, 3], and F32 [3, 2]"), "{shape}");
    let dtype = tensors.take_f32("bias", &[2]).unwrap_err().to_string();
    assert!(dtype.contains("is F64 [2], and F32 [2]"), "{dtype}");
    tensors.take_f32("empty", &[0, 4]).unwrap();
    assert_eq!(
        tensors.discard_optimizer(),
        [
            "constraint/layers.0.w",
            "optimizer/bias/exp_avg",
            "optimizer/layers.0.w/exp_avg",
            "optimizer/scale \"é\"/x/exp_avg_sq",
        ]
    );
    let error = tensors.finish(Policy::Strict).unwrap_err().to_string();
    assert!(
        error.contains(
            "missing in the file: `head`; only in the file: `scale \"é\"/x`; different: \
             `layers.0.w` (F32 [2, 3] in the file, F32 [3, 2] asked for), `bias` (F64 [2] in the \
             file, F32 [2] asked for)"
        ),
        "{error}"
    );
}

#[test]
fn what_does_not_fit_is_told_from_the_fewest_on_and_weights_before_their_state() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let binding = Binding {
        missing: names(&["constraint/w", "optimizer/w/exp_avg", "w"]),
        extra: names(&["constraint/v", "v"]),
        ..Binding::default()
    };
    assert_eq!(
        binding.to_string(),
        "only in the file: `v`, `constraint/v`; missing in the file: `w`, `constraint/w`, \
         `optimizer/w/exp_avg`"
    );
    assert!(binding.is_of_parameters());
    let state = names(&["constraint/w", "optimizer/w/exp_avg"]);
    assert!(!Binding { missing: state, ..Binding::default() }.is_of_parameters());
}

#[test]
fn partial_loading_reports_and_goes_on() {
    let mut tensors = read(&bytes(&sample(7))).tensors;
    tensors.take_f64("bias", &[2]).unwrap();
    assert!(tensors.take_f64("bias", &[2]).is_err(), "a tensor can be taken once");
    let binding = tensors.finish(Policy::Partial).unwrap();
    assert_eq!((binding.missing, binding.extra.len()), (vec!["bias".to_owned()], 7));
    assert_eq!(Binding::default().to_string(), "everything fits");

    let many = Binding { extra: (0..40).map(|i| i.to_string()).collect(), ..Binding::default() };
    assert!(many.to_string().ends_with("`15` and 24 more"), "{many}");
}

#[test]
fn a_constraint_record_must_be_bytes() {
    let foreign = [("constraint/w", TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap())];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign.safetensors");
    std::fs::write(&path, serialize(foreign, None).unwrap()).unwrap();
    let error = read_weights(&path).unwrap().take_constraint("w").unwrap_err();
    assert!(matches!(error, CheckpointError::Different { .. }), "{error}");
}

#[test]
fn a_foreign_file_gives_its_weights_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign.safetensors");
    let metadata = Some(HashMap::from([("format".to_owned(), "pt".to_owned())]));
    let half = TensorView::new(Dtype::BF16, vec![1, 3], &[1, 2, 3, 4, 5, 6]).unwrap();
    let single = TensorView::new(Dtype::F32, vec![1], &[0, 0, 0x80, 0x3f]).unwrap();
    let file = serialize([("half", half), ("single", single)], metadata).unwrap();
    std::fs::write(&path, file).unwrap();

    let error = Checkpoint::read(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::NotCheckpoint { .. }), "{error}");
    assert!(error.to_string().contains("is not a CPR checkpoint"), "{error}");

    let mut tensors = read_weights(&path).unwrap();
    assert_eq!(tensors.take_f32("single", &[1]).unwrap(), [1.0]);
    let half = tensors.take_raw("half").unwrap();
    assert_eq!(half.signature.to_string(), "BF16 [1, 3]");
    assert_eq!(half.bytes, [1, 2, 3, 4, 5, 6]);

    sample(7).write(&path).unwrap();
    let names: Vec<_> = read_weights(&path).unwrap().iter().map(|(n, _)| n.to_owned()).collect();
    assert_eq!(names, ["bias", "empty", "layers.0.w", "scale \"é\"/x"]);
}
