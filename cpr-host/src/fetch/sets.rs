//! The data sets, where their authors keep them, and what they were published with.

use std::path::Path;

use super::Digest;

/// A data set; its name alone tells it from others.
#[derive(Debug)]
pub struct DataSet {
    /// What the command calls it.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Its files.
    pub archives: &'static [Archive],
    /// What trains on it, out of its folder.
    pub(super) used: fn(&Path) -> String,
}

/// A file to be downloaded.
#[derive(Debug)]
pub struct Archive {
    /// Where it is.
    pub url: &'static str,
    /// Its name.
    pub file: &'static str,
    /// Its length.
    pub bytes: u64,
    /// What it was published with.
    pub digest: Digest,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Itself.
    Plain,
    /// One file, compressed by gzip.
    Gzip([&'static str; 1]),
    /// A tar archive, compressed by gzip, with files of these names in some folder.
    TarGzip(&'static [&'static str]),
}

impl Content {
    /// The names of what is unpacked.
    #[must_use]
    pub const fn names(&self) -> &[&'static str] {
        match self {
            Self::Plain => &[],
            Self::Gzip(name) => name,
            Self::TarGzip(names) => names,
        }
    }
}

const CIFAR10: DataSet = DataSet {
    name: "cifar10",
    title: "CIFAR-10",
    archives: &[Archive {
        url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        file: "cifar-10-binary.tar.gz",
        bytes: 170_052_171,
        digest: Digest::Md5("c32a1d4ab5d03f1284b67883e8d87530"),
        content: Content::TarGzip(&[
            "batches.meta.txt",
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
            "test_batch.bin",
        ]),
    }],
    used: images,
};

const CIFAR100: DataSet = DataSet {
    name: "cifar100",
    title: "CIFAR-100",
    archives: &[Archive {
        url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        file: "cifar-100-binary.tar.gz",
        bytes: 168_513_733,
        digest: Digest::Md5("03b5dce01913d631647c71ecec9e9cb8"),
        content: Content::TarGzip(&[
            "coarse_label_names.txt",
            "fine_label_names.txt",
            "train.bin",
            "test.bin",
        ]),
    }],
    used: images,
};

/// One of the four files of a data set in MNIST's form.
macro_rules! idx {
    ($base:literal, $name:literal, $bytes:literal, $md5:literal) => {
        Archive {
            url: concat!($base, $name, ".gz"),
            file: concat!($name, ".gz"),
            bytes: $bytes,
            digest: Digest::Md5($md5),
            content: Content::Gzip([$name]),
        }
    };
}

/// Its authors' own site gives no files out any more; PyTorch keeps this copy of them.
const MNIST: DataSet = DataSet {
    name: "mnist",
    title: "MNIST",
    archives: &[
        idx!(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "train-images-idx3-ubyte",
            9_912_422,
            "f68b3c2dcbeaaa9fbdd348bbdeb94873"
        ),
        idx!(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "train-labels-idx1-ubyte",
            28_881,
            "d53e105ee54ea40749a09fcbcd1e9432"
        ),
        idx!(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "t10k-images-idx3-ubyte",
            1_648_877,
            "9fb629c4189551a2d022fa330f9573f3"
        ),
        idx!(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "t10k-labels-idx1-ubyte",
            4_542,
            "ec29112dd5afa0611ce80d1b7f02629c"
        ),
    ],
    used: images,
};

const FASHION_MNIST: DataSet = DataSet {
    name: "fashion-mnist",
    title: "Fashion-MNIST",
    archives: &[
        idx!(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "train-images-idx3-ubyte",
            26_421_880,
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d"
        ),
        idx!(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "train-labels-idx1-ubyte",
            29_515,
            "25c81989df183df01b3e8a0aad5dffbe"
        ),
        idx!(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "t10k-images-idx3-ubyte",
            4_422_102,
            "bef4ecab320f06d8554ea6380940ec79"
        ),
        idx!(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "t10k-labels-idx1-ubyte",
            5_148,
            "bb300cfdad3c16e7a12a480ee83cd310"
        ),
    ],
    used: images,
};

const TINY_SHAKESPEARE: DataSet = DataSet {
    name: "tinyshakespeare",
    title: "Tiny Shakespeare",
    archives: &[Archive {
        url: "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        file: "input.txt",
        bytes: 1_115_394,
        digest: Digest::Sha256("86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),
        content: Content::Plain,
    }],
    used: |folder| format!("cpr lm --data {}", folder.join("input.txt").display()),
};

fn images(folder: &Path) -> String {
    format!("cpr classify --data {0}, cpr-gpu cifar --data {0}", folder.display())
}

impl PartialEq for DataSet {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl DataSet {
    /// All of them.
    pub const ALL: [&'static Self; 5] =
        [&CIFAR10, &CIFAR100, &MNIST, &FASHION_MNIST, &TINY_SHAKESPEARE];

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|set| set.name == name)
    }

    /// The command that brings what a path names, where a folder of it is called after a data set, as the command
    /// itself calls it.
    #[must_use]
    pub fn command_for(path: &Path) -> Option<String> {
        path.ancestors().find_map(|folder| {
            let name = Self::named(folder.file_name()?.to_str()?)?.name;
            let out = match folder == Path::new("data").join(name) {
                true => String::new(),
                false => format!(" --out {}", folder.display()),
            };
            Some(format!("cpr fetch {name}{out}"))
        })
    }
}
