//! Damaged and hostile files: each is refused with its own error, and nothing panics.

use std::fs;
use std::mem::discriminant;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

fn open(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::from_bytes("damaged", bytes)
}

/// A file with this header, padded, and this many bytes of payload.
fn file(header: &str, payload: usize) -> Vec<u8> {
    let mut header = header.as_bytes().to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.resize(file.len() + payload, 0);
    file
}

/// A file that is sound but for its document: the checksum is made to match.
fn with_document(document: &str) -> Vec<u8> {
    let header = |document: &str| {
        let text = serde_json::to_string(document).unwrap();
        file(&format!(r#"{{"__metadata__":{{"cpr":{text}}}}}"#), 0)
    };
    let checksum = format!("{:08x}", crc32c::crc32c(&header(document)));
    header(&document.replacen("00000000", &checksum, 1))
}

#[test]
fn truncation_at_every_byte_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.safetensors");
    let whole = bytes(&sample(7));
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        for error in [Checkpoint::read(&path).unwrap_err(), read_weights(&path).unwrap_err()] {
            assert!(matches!(error, CheckpointError::Length { .. }), "{length}: {error}");
            assert!(error.to_string().contains("cut short") && error.is_damage(), "{error}");
        }
    }
    let error = open(&[&*whole, &[0]].concat()).unwrap_err();
    assert!(error.to_string().contains("appended to"), "{error}");
}

#[test]
fn every_flipped_bit_is_found() {
    let mut whole = bytes(&sample(7));
    assert!(open(&whole).is_ok());
    for byte in 0..whole.len() {
        for bit in 0..8 {
            whole[byte] ^= 1 << bit;
            assert!(open(&whole).is_err(), "bit {bit} of byte {byte}");
            whole[byte] ^= 1 << bit;
        }
    }
}

#[test]
fn each_lie_has_its_own_error() {
    let tensor = |rest: &str| format!(r#"{{"a":{rest}}}"#);
    let two = |a: &str, b: &str| {
        let entry = |o: &str| format!(r#"{{"dtype":"U8","shape":[2],"data_offsets":{o}}}"#);
        format!(r#"{{"a":{},"b":{}}}"#, entry(a), entry(b))
    };
    let a = r#"{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#;
    let long_shape = format!(
        r#"{{"dtype":"U8","shape":[{}],"data_offsets":[0,1]}}"#,
        ["1"; MAX_RANK + 1].join(",")
    );
    let document =
        |rest: &str| with_document(&format!(r#"{{"format":1,"checksum":"00000000"{rest}}}"#));
    let whole_meta = serde_json::to_string(&Meta::new("k")).unwrap();
    let unknown = whole_meta.replacen("{\"kind\"", "{\"kinder\":1,\"kind\"", 1);
    let long = format!(",\"meta\":\"{}\"", "x".repeat(MAX_DOCUMENT_BYTES));

    let huge = |claim: u64| [&claim.to_le_bytes()[..], b"{}      "].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty file", vec![], "is 0 bytes long, but 8"),
        ("2^63 bytes of header", huge(1 << 63), "claims a header of 9223372036854775808 bytes"),
        ("2^64 - 1 bytes of header", huge(u64::MAX), "claims a header of 18446744073709551615"),
        ("just too long", huge(MAX_HEADER_BYTES + 1), "claims a header of 8388609"),
        ("longest header, no bytes", huge(MAX_HEADER_BYTES), "16 bytes long, but 8388616"),
        ("no JSON", file("{\"a\"", 0), "cannot be read: EOF"),
        ("no object", file("[]", 0), "expected an object with an entry for each tensor"),
        ("not UTF-8", [&8_u64.to_le_bytes()[..], b"{\"\xff\":0} "].concat(), "cannot be read"),
        ("no such dtype", file(&tensor(&a.replace("U8", "F7")), 2), "unknown variant `F7`"),
        ("negative", file(&tensor(&a.replace("[0,2]", "[-2,0]")), 2), "integer `-2`"),
        ("no shape", file(&tensor(r#"{"dtype":"U8","data_offsets":[0,2]}"#), 2), "missing field"),
        ("rank", file(&tensor(&long_shape), 1), "an array of at most 16 lengths"),
        ("twice", file(&format!(r#"{{"a":{a},"a":{a}}}"#), 2), "`a` stands twice"),
        ("escaped twice", file(&format!(r#"{{"a":{a},"\u0061":{a}}}"#), 2), "`a` stands twice"),
        ("metadata twice", file(r#"{"__metadata__":{},"__metadata__":{}}"#, 0), "duplicate field"),
        ("cpr twice", file(r#"{"__metadata__":{"cpr":"","cpr":""}}"#, 0), "duplicate field `cpr`"),
        ("cpr no string", file(r#"{"__metadata__":{"cpr":1}}"#, 0), "expected a string"),
        ("same bytes", file(&two("[0,2]", "[0,2]"), 2), "they overlap"),
        ("overlap", file(&two("[0,2]", "[1,3]"), 3), "`b` of damaged claims bytes 1..3"),
        ("gap", file(&two("[0,2]", "[3,5]"), 5), "gaps are not allowed"),
        ("late start", file(&tensor(&a.replace("[0,2]", "[1,3]")), 3), "gaps are not allowed"),
        ("backwards", file(&two("[2,0]", "[0,2]"), 2), "they run backwards"),
        ("wrong size", file(&tensor(&a.replace("U8", "F64")), 2), "F64 [2] takes 16 bytes"),
        ("half bytes", file(&tensor(&a.replace("U8", "F4").replace("[2]", "[3]")), 2), "no whole"),
        (
            "overflow",
            file(&tensor(&a.replace("[2]", "[4294967296,4294967296,4294967296]")), 2),
            "no whole number of bytes below 2⁶¹",
        ),
        (
            "out of range",
            file(
                &tensor(
                    r#"{"dtype":"U8","shape":[1152921504606846976],"data_offsets":[0,1152921504606846976]}"#,
                ),
                2,
            ),
            "cut short",
        ),
        (
            "2^64 - 1",
            file(
                &tensor(
                    r#"{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}"#,
                ),
                2,
            ),
            "18446744073709551615 of the payload",
        ),
        ("no cpr entry", file(&tensor(a), 2), "is not a CPR checkpoint"),
        ("not ours", file(r#"{"__metadata__":{"cpr":"hello"}}"#, 0), "metadata of damaged"),
        ("version 2", with_document(r#"{"format":2,"sum":"00000000"}"#), "has format version 2"),
        ("version 0", with_document(r#"{"format":0,"checksum":"00000000"}"#), "format version 0"),
        ("spaced", with_document(r#"{"format": 1,"checksum":"00000000"}"#), "another tool"),
        ("no meta", document(""), "missing field `meta`"),
        ("unknown field", document(&format!(",\"meta\":{unknown}")), "unknown field `kinder`"),
        ("field beside", document(&format!(",\"meta\":{whole_meta},\"x\":1")), "unknown field `x`"),
        ("long document", document(&long), "at most 262144 are read"),
        (
            "a digit in upper case",
            with_document(&format!(r#"{{"format":1,"checksum":"0000000A","meta":{whole_meta}}}"#)),
            "is damaged: its checksum is",
        ),
    ];
    assert!(open(&document(&format!(",\"meta\":{whole_meta}"))).is_ok(), "the frame is sound");
    for (title, bytes, message) in &cases {
        let error = open(bytes).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(message), "{title}: {text:.400} lacks {message:?}");
        assert!(text.contains("damaged"), "{title}: no path in {text:.400}");
    }
    let kinds: Vec<_> =
        cases.iter().map(|(_, bytes, _)| discriminant(&open(bytes).unwrap_err())).collect();
    let distinct = (0..kinds.len()).filter(|&i| !kinds[..i].contains(&kinds[i])).count();
    assert_eq!(
        distinct, 9,
        "length, header length, header, duplicate, offsets, not ours, version, meta, checksum"
    );
}

/// Tools differ in what they reject; whatever we take, the format's own crate takes too.
#[test]
fn nothing_is_taken_that_the_crate_refuses() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let header = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"F16","shape":[1,1],"data_offsets":[2,4]}}"#;
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = file(header, 4);
        for _ in 0..=random.next_u32() % 3 {
            let at = 8 + random.next_u32() as usize % header.len();
            bytes[at] = b"0123456789[]{}\",: abFU"[random.next_u32() as usize % 22];
        }
        match open(&bytes) {
            Err(CheckpointError::NotCheckpoint { .. }) => {
                taken += 1;
                assert!(SafeTensors::deserialize(&bytes).is_ok(), "{bytes:?}");
            }
            Ok(_) => panic!("no checksum, and yet a checkpoint"),
            Err(_) => refused += 1,
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} {refused}");
}

#[test]
fn arbitrary_bytes_never_panic() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let whole = bytes(&sample(7));
    for round in 0..30_000 {
        let mut bytes = match round % 3 {
            // Noise, with a header length that is plausible half of the time.
            0 => {
                let mut noise = vec![0; random.next_u32() as usize % 300];
                random.fill_bytes(&mut noise);
                if round % 2 == 0 && noise.len() > 8 {
                    let length = u64::from(random.next_u32()) % noise.len() as u64;
                    noise[..8].copy_from_slice(&length.to_le_bytes());
                }
                noise
            }
            // A sound file with some bytes exchanged.
            _ => whole.clone(),
        };
        if round % 3 != 0 {
            for _ in 0..=random.next_u32() % 8 {
                let at = random.next_u32() as usize % bytes.len();
                bytes[at] = random.next_u32() as u8;
            }
        }
        if round % 3 == 2 {
            // Past the checksum, so that the metadata's reader is met too.
            let at = 8 + HEADER_START.len();
            bytes[at..at + 8].copy_from_slice(b"00000000");
            let checksum = format!("{:08x}", crc32c::crc32c(&bytes));
            bytes[at..at + 8].copy_from_slice(checksum.as_bytes());
        }
        if let Ok(Checkpoint { mut tensors, .. }) = open(&bytes) {
            let _ = tensors.take_f32("layers.0.w", &[2, 3]);
            let _ = tensors.take_constraint("layers.0.w");
            let _ = tensors.finish(Policy::Partial).unwrap().to_string();
        }
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = Checkpoint::read(folder.path()).unwrap_err();
    assert!(matches!(error, CheckpointError::NotAFile { .. }), "{error}");
    let error = Checkpoint::read(folder.path().join("none")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read ") && error.contains("check the path"), "{error}");
}
