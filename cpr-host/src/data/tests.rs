use std::fs;

use super::{
    DataError,
    cifar::{self, Cifar},
    idx,
    images::ImageData,
    tokens::{TokenFormat, Tokens},
};

/// An IDX file of these sizes and that many bytes after its header.
fn idx_file(magic: u32, sizes: &[u32], bytes: usize) -> Vec<u8> {
    let mut file: Vec<u8> =
        [magic].iter().chain(sizes).flat_map(|number| number.to_be_bytes()).collect();
    file.extend((0..bytes).map(|at| (at % 10) as u8));
    file
}

/// llm.c's header and that many tokens after it.
fn llm_file(numbers: [u32; 3], tokens: u16) -> Vec<u8> {
    let mut file: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    file.resize(1024, 0);
    file.extend((0..tokens).flat_map(u16::to_le_bytes));
    file
}

/// Which reader.
enum As {
    Images,
    Labels,
    Cifar(Cifar),
    Tokens(TokenFormat),
}
use As::{Images, Labels};

/// Title, how it is read, the bytes, what the message says.
fn bad() -> Vec<(&'static str, As, Vec<u8>, &'static str)> {
    let (raw, llm) = (As::Tokens(TokenFormat::Raw), As::Tokens(TokenFormat::LlmC));
    let detect = || As::Tokens(TokenFormat::Detect);
    let huge = [u32::MAX; 3];
    let mut label = vec![0; 2 * 3073];
    label[3073] = 10;
    let mut coarse = vec![0; 3074];
    coarse[0] = 20;
    let mut fine = vec![0; 3074];
    fine[1] = 100;
    vec![
        ("empty images", Images, vec![], "is empty: download or make it again"),
        ("labels as images", Images, idx_file(0x801, &[3], 3), "holds labels: the names are mixed"),
        ("a wrong type", Images, idx_file(0xd03, &[1, 1, 1], 4), "magic number is 3331, not 2051"),
        ("an archive", Images, idx_file(0x1f8b_0808, &[1], 9), "unpack it with gunzip"),
        ("a cut magic number", Images, vec![0, 0, 8], "the header of an IDX file of images alone"),
        ("a cut header", Images, idx_file(0x803, &[2, 2], 0), "alone takes 16: download"),
        (
            "short images",
            Images,
            idx_file(0x803, &[2, 2, 2], 7),
            "2 images of 2 x 2, which take 24",
        ),
        ("long images", Images, idx_file(0x803, &[2, 2, 2], 9), "bytes, and its header says"),
        ("no rows", Images, idx_file(0x803, &[2, 0, 2], 0), "number of rows is 0, not at least 1"),
        ("huge images", Images, idx_file(0x803, &huge, 9), "4294967295 images of 4294967295 x"),
        ("empty labels", Labels, vec![], "is empty"),
        ("images as labels", Labels, idx_file(0x803, &[1, 1, 1], 1), "holds images: the names are"),
        (
            "short labels",
            Labels,
            idx_file(0x801, &[5], 4),
            "its header says 5 labels, which take 13",
        ),
        ("long labels", Labels, idx_file(0x801, &[5], 6), "has 14 bytes, and"),
        ("no labels", Labels, idx_file(0x801, &[0], 0), "number of items is 0"),
        ("an empty CIFAR-10", As::Cifar(Cifar::Ten), vec![], "is empty"),
        (
            "a short CIFAR-10",
            As::Cifar(Cifar::Ten),
            vec![0; 3072],
            "a record of CIFAR-10 takes 3073",
        ),
        ("a long CIFAR-10", As::Cifar(Cifar::Ten), vec![0; 3075], "3075 bytes, and a record"),
        ("CIFAR-100 as 10", As::Cifar(Cifar::Ten), vec![0; 2 * 3074], "it fits CIFAR-100: name"),
        ("CIFAR-10 as 100", As::Cifar(Cifar::Hundred), vec![0; 3073], "it fits CIFAR-10: name"),
        ("a label of 10", As::Cifar(Cifar::Ten), label, "label 1 is 10, and the highest is 9"),
        ("a coarse label of 20", As::Cifar(Cifar::Hundred), coarse, "coarse label 0 is 20, and"),
        (
            "a label of 100",
            As::Cifar(Cifar::Hundred),
            fine,
            "label 0 is 100, and the highest is 99",
        ),
        ("no tokens", detect(), vec![], "is empty: make it again from its text"),
        ("half a token", raw, vec![1, 0, 2], "there is half a token at its end"),
        ("raw as llm.c", llm, vec![1, 0, 2, 0, 3, 0], "tokens without a header is nanoGPT's"),
        ("another version", detect(), llm_file([20_240_520, 2, 5], 5), "version is 2, not 1"),
        ("Llama 3", detect(), llm_file([20_240_801, 7, 5], 5), "holds tokens of 4 bytes"),
        ("a count of 0", detect(), llm_file([20_240_520, 1, 0], 0), "count is 0, not at least 1"),
        ("short tokens", detect(), llm_file([20_240_520, 1, 6], 5), "6 tokens, which take 1036"),
        ("long tokens", detect(), llm_file([20_240_520, 1, 4], 5), "4 tokens, which take 1032"),
        (
            "a cut header",
            detect(),
            llm_file([20_240_520, 1, 4], 0)[..900].to_vec(),
            "alone takes 1024",
        ),
    ]
}

#[test]
fn bad_files_each_with_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.bin");
    let mut wrong = Vec::new();
    for (title, form, bytes, message) in bad() {
        fs::write(&path, &bytes).unwrap();
        let length = bytes.len() as u64;
        let error = match form {
            Images => idx::read_images(&path, &*bytes, length).map(drop),
            Labels => idx::read_labels(&path, &*bytes, length).map(drop),
            As::Cifar(kind) => cifar::images(&[&path], kind).map(drop),
            As::Tokens(format) => Tokens::open(&path, format, 1 << 16).map(drop),
        };
        let error = error.expect_err(title).to_string();
        if !(error.contains(message) && error.contains("data.bin")) || error.contains('\n') {
            wrong.push(format!("{title}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let nowhere = cifar::images(&[folder.path().join("nowhere")], Cifar::Ten).unwrap_err();
    assert!(nowhere.to_string().contains("give the path of the data"), "{nowhere}");
    fs::write(folder.path().join("packed.gz"), []).unwrap();
    let packed = Tokens::open(&folder.path().join("packed"), TokenFormat::Raw, 9).unwrap_err();
    assert!(packed.to_string().contains("packed.gz beside it"), "{packed}");
}

#[test]
fn folders_are_known_by_the_names_of_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let open = || ImageData::open(folder.path());
    let refusal = || open().unwrap_err().to_string();
    assert!(refusal().contains("holds no data set: put train-images-idx3-ubyte"), "{}", refusal());

    write("train.bin", &[[19, 99].as_slice(), &[7; 3072], &[0, 5], &[8; 3072]].concat());
    assert!(refusal().contains("test.bin"), "{}", refusal());
    write("test.bin", &[[1, 2].as_slice(), &[9; 3072]].concat());
    let data = open().unwrap();
    assert_eq!((data.format, data.classes, &*data.train.labels), ("CIFAR-100", 100, &[99, 5][..]));
    assert_eq!((data.train.image(1), data.test.len()), (&[8; 3072][..], 1));

    write("data_batch_1.bin", &[[3].as_slice(), &[7; 3072]].concat());
    write("data_batch_3.bin", &[[4].as_slice(), &[8; 3072]].concat());
    write("test_batch.bin", &[[9].as_slice(), &[9; 3072]].concat());
    let data = open().unwrap();
    assert_eq!((data.format, data.classes, &*data.train.labels), ("CIFAR-10", 10, &[3, 4][..]));

    write("train-images-idx3-ubyte", &idx_file(0x803, &[5, 2, 3], 30));
    write("train-labels-idx1-ubyte", &idx_file(0x801, &[4], 4));
    assert!(
        refusal().contains("holds 5 images") && refusal().contains("4 labels"),
        "{}",
        refusal()
    );
    write("train-labels-idx1-ubyte", &idx_file(0x801, &[5], 5));
    write("t10k-images-idx3-ubyte", &idx_file(0x803, &[2, 3, 2], 12));
    write("t10k-labels-idx1-ubyte", &idx_file(0x801, &[2], 2));
    assert!(refusal().contains("images of 2 x 3"), "{}", refusal());
    write("t10k-images-idx3-ubyte", &idx_file(0x803, &[2, 2, 3], 12));
    let data = open().unwrap();
    assert_eq!(
        (data.classes, data.train.size(), data.train.image(1)),
        (5, 6, &[6, 7, 8, 9, 0, 1][..])
    );
}

#[test]
fn windows_of_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.bin");
    let raw: Vec<u8> = (0..1000_u16).flat_map(u16::to_le_bytes).collect();
    for (bytes, format) in
        [(raw, TokenFormat::Raw), (llm_file([20_240_520, 1, 1000], 1000), TokenFormat::LlmC)]
    {
        fs::write(&path, &bytes).unwrap();
        for format in [format, TokenFormat::Detect] {
            let mut tokens = Tokens::open(&path, format, 990).unwrap();
            assert_eq!(tokens.count(), 1000);
            let mut window = [0; 3];
            tokens.window(17, &mut window).unwrap();
            assert_eq!(window, [17, 18, 19]);
            let beyond = tokens.window(988, &mut window).unwrap_err().to_string();
            assert!(beyond.contains("token 990 is 990, and the highest is 989"), "{beyond}");
            let over = tokens.window(998, &mut window).unwrap_err();
            assert!(matches!(over, DataError::Length { .. }), "{over}");
        }
    }
}
