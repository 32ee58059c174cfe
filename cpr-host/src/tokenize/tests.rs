//! What is written reads back as the text; a folder appears whole or not at all.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::{TokenPlan, TokenizeError, write};
use crate::data::{
    token_folder::{TRAIN, TokenMeta, VALIDATION},
    tokenizer::{TokenUnit, Tokenizer},
    tokens::{TokenFormat, Tokens},
};

const TEXT: &str = "Es war einmal ein König, der hatte drei Söhne. ✓\nDie Königin aber war tot.\n";

fn plan(folder: &TempDir, input: &str, unit: TokenUnit) -> TokenPlan {
    TokenPlan {
        inputs: vec![folder.path().join(input)],
        out: folder.path().join("out"),
        unit,
        format: TokenFormat::Raw,
        train_fraction: 0.75,
    }
}

fn read(out: &std::path::Path, name: &str) -> Vec<u16> {
    let mut tokens = Tokens::open(&out.join(name), TokenFormat::Detect, 1 << 16).unwrap();
    let mut all = vec![0; usize::try_from(tokens.count()).unwrap()];
    tokens.window(0, &mut all).unwrap();
    all
}

#[test]
fn every_unit_in_both_formats_reads_back() {
    for unit in [TokenUnit::Gpt2, TokenUnit::Characters, TokenUnit::Bytes] {
        for format in [TokenFormat::Raw, TokenFormat::LlmC] {
            let folder = tempfile::tempdir().unwrap();
            // Longer than a block.
            let text = TEXT.repeat(2000);
            fs::write(folder.path().join("a.txt"), &text).unwrap();
            let plan = TokenPlan { format, ..plan(&folder, "a.txt", unit) };
            let (meta, texts) = write(&plan).unwrap();
            assert_eq!((texts, meta.unit), (1, unit));
            assert_eq!(TokenMeta::of(&plan.out).unwrap().as_ref(), Some(&meta));
            let (train, validation) = (read(&plan.out, TRAIN), read(&plan.out, VALIDATION));
            assert_eq!(
                (train.len() as u64, validation.len() as u64),
                (meta.train, meta.validation)
            );
            let total = meta.train + meta.validation;
            assert_eq!(meta.train, total * 3 / 4);
            let tokenizer = Tokenizer::of(unit, meta.alphabet.as_deref().unwrap_or_default());
            assert_eq!(tokenizer.size(), meta.vocabulary);
            let whole = [tokenizer.decode(&train), tokenizer.decode(&validation)].concat();
            assert_eq!(whole, text.as_bytes());
            let after =
                String::from_utf8_lossy(&tokenizer.decode(&validation)).chars().count() as u64;
            // A cut within a character shows as one more.
            assert!(after - meta.validation_characters <= 1, "{after} {meta:?}");
            let header = if format == TokenFormat::LlmC { 1024 } else { 0 };
            let length = fs::metadata(plan.out.join(TRAIN)).unwrap().len();
            assert_eq!(length, header + 2 * meta.train);
            // Nothing is left beside them.
            assert_eq!(fs::read_dir(&plan.out).unwrap().count(), 3);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        }
    }
}

#[test]
fn the_files_of_a_folder_come_in_their_order_each_with_its_end() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("b.txt", "two"), ("a/z.txt", "one"), (".hidden", "no"), ("c", "three")] {
        let path = folder.path().join("texts").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let (meta, texts) = write(&plan(&folder, "texts", TokenUnit::Gpt2)).unwrap();
    assert_eq!(texts, 3);
    let out = folder.path().join("out");
    let all = [read(&out, TRAIN), read(&out, VALIDATION)].concat();
    let text = "one<|endoftext|>two<|endoftext|>three<|endoftext|>";
    assert_eq!(Tokenizer::of(TokenUnit::Gpt2, "").decode(&all), text.as_bytes());
    assert_eq!(all.iter().filter(|&&token| token == 50_256).count(), 3);
    assert_eq!(meta.validation_characters, 5, "of `three`, and of no mark");
}

#[test]
fn what_cannot_be_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    file("latin.txt", b"k\xf6nig");
    file("short.txt", b"a");
    file("empty.txt", b"");
    fs::create_dir(folder.path().join("none")).unwrap();
    let refused = |input: &str, unit| {
        let plan = plan(&folder, input, unit);
        let error = write(&plan).unwrap_err();
        assert!(!plan.out.exists(), "{input}");
        error
    };
    let message = refused("latin.txt", TokenUnit::Gpt2).to_string();
    assert!(message.contains("byte 1 is 246") && message.contains("--unit bytes"), "{message}");
    assert!(matches!(refused("short.txt", TokenUnit::Bytes), TokenizeError::Short { .. }));
    assert!(refused("empty.txt", TokenUnit::Bytes).to_string().contains("is empty"));
    assert!(matches!(refused("none", TokenUnit::Gpt2), TokenizeError::NoFiles { .. }));
    assert!(refused("missing.txt", TokenUnit::Gpt2).to_string().contains("missing.txt"));
    let kept: Vec<PathBuf> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 4, "{kept:?}");
    // What a kill left is no obstacle; what is there is never replaced.
    fs::create_dir(folder.path().join(".out.tmp")).unwrap();
    let plan = plan(&folder, "latin.txt", TokenUnit::Bytes);
    write(&plan).unwrap();
    assert!(matches!(write(&plan), Err(TokenizeError::Exists { .. })));
}
