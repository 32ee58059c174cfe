//! Checkpoints and other safetensors files.

use std::{fs, path::PathBuf, process, sync::atomic::AtomicU64, sync::atomic::Ordering};

use cpr_host::checkpoint::{
    Checkpoint, CheckpointError, CheckpointWriter, Dtype, Element, Policy, Tensor, Tensors,
    read_weights,
};

/// How the header of a checkpoint begins; eight digits of the checksum follow (docs/CHECKPOINT.md).
const START: &[u8] = br#"{"__metadata__":{"cpr":"{\"format\":1,\"checksum\":\""#;
const DIGITS: usize = 8;

/// Any bytes as a file, in one of three forms by the first byte: as they are; as what follows the checksum's digits
/// in a header, with its length, and the payload; as the header and the payload of a file of other origin. Length
/// and checksum are made right in the last two, or nothing would come past them.
///
/// Laws: an error that says something, or tensors that are taken by what they say of themselves, all of them; the
/// metadata, and the tensors that can be written, read back as they were.
pub fn checkpoint(data: &[u8]) {
    let (form, data) = data.split_first().map_or((0, data), |(&form, rest)| (form % 3, rest));
    match form {
        0 => file(data),
        1 => {
            let (tail, payload) = cut(data);
            let header = [START, &[b'0'; DIGITS], tail].concat();
            let mut bytes = framed(&header, payload);
            let checksum = crc32c::crc32c(&bytes);
            let at = 8 + START.len();
            bytes[at..at + DIGITS].copy_from_slice(format!("{checksum:08x}").as_bytes());
            file(&bytes);
        }
        _ => {
            let (header, payload) = cut(data);
            file(&framed(header, payload));
        }
    }
}

/// A u16 that says how long the first part is, that part, and the rest.
fn cut(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return (&[], data) };
    rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()))
}

fn framed(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length, header, payload].concat()
}

fn file(bytes: &[u8]) {
    if let Some(Checkpoint { meta, tensors }) =
        kept(Checkpoint::from_bytes("fuzzed.safetensors", bytes))
    {
        let writer = CheckpointWriter::new(meta.clone());
        let written = writer.to_bytes("written").expect("metadata that was read can be written");
        let again = Checkpoint::from_bytes("written", &written).expect("what was written");
        assert_eq!(again.meta, meta);
        take_all(tensors);
    }
    // One file a process and thread: the replays run side by side.
    let path = scratch();
    fs::write(&path, bytes).expect("the temporary folder can be written");
    let weights = kept(read_weights(&path));
    fs::remove_file(&path).expect("it was there");
    if let Some(weights) = weights {
        take_all(weights);
    }
}

fn scratch() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("cpr-fuzz-{}-{count}", process::id()))
}

fn kept<T>(read: Result<T, CheckpointError>) -> Option<T> {
    read.map_err(|error| assert!(!error.to_string().is_empty())).ok()
}

/// Takes every tensor out by what it says of itself.
fn take_all(mut tensors: Tensors) {
    let described: Vec<(String, Tensor)> =
        tensors.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    for (name, tensor) in &described {
        let shape = &tensor.signature.shape;
        match tensor.signature.dtype {
            Dtype::F32 => take::<f32>(&mut tensors, name, tensor, 4),
            Dtype::F64 => take::<f64>(&mut tensors, name, tensor, 8),
            Dtype::U8 => take::<u8>(&mut tensors, name, tensor, 1),
            _ => assert!(tensors.take::<f32>(name, shape).is_err(), "{name}: another dtype"),
        }
        assert!(!tensors.contains(name));
    }
    let others = described
        .iter()
        .any(|(_, tensor)| !matches!(tensor.signature.dtype, Dtype::F32 | Dtype::F64 | Dtype::U8));
    assert_eq!(tensors.finish(Policy::Strict).is_err(), others);
}

fn take<T: Element>(tensors: &mut Tensors, name: &str, tensor: &Tensor, width: usize) {
    let elements: Vec<T> = tensors.take(name, &tensor.signature.shape).expect("as it says");
    assert_eq!(elements.len() * width, tensor.bytes.len(), "{name}");
}
