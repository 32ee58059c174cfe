use std::{cell::Cell, fs, rc::Rc};

use tempfile::tempdir;

use super::*;

/// A clock that a test moves.
#[derive(Clone, Debug, Default)]
struct Hand(Rc<Cell<f64>>);

impl Clock for Hand {
    fn seconds(&self) -> f64 {
        self.0.get()
    }
}

fn row(step: u64) -> Row {
    Row::new(step)
        .with("train/loss", 1.0 / step as f64)
        .with("validation/accuracy", 0.25)
        .with("kappa/layers.0.attn.in_proj_weight", (step > 2).then_some(1e-7))
}

#[test]
fn jsonl_keeps_order_and_bits_and_has_no_number_for_what_is_none() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let mut file = Jsonl::create(&path).unwrap();
    let values = [f64::NAN, f64::INFINITY, -0.0, 0.1 + 0.2, 5e-324, f64::MAX, 1e16];
    let row = values.iter().enumerate().fold(Row::new(7), |row, (index, value)| {
        row.with(format!("{}\"\n{index}", ["b", "a"][index % 2]), *value)
    });
    file.record(&row.with("none", None)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(r#"{"step":7,"b\"\n0":null,"a\"\n1":null,"b\"\n2":-0.0,"#), "{text}");
    assert!(text.ends_with(",\"none\":null}\n"), "{text}");
    assert_eq!(file.position(), text.len() as u64);

    let back = read_jsonl(&path, LastLine::Whole).unwrap();
    assert_eq!(back[0].scalars[1].0, "a\"\n1");
    for (value, (_, read)) in values.iter().zip(&back[0].scalars) {
        let expected = value.is_finite().then_some(value.to_bits());
        assert_eq!(read.map(f64::to_bits), expected);
    }
}

#[test]
fn csv_quotes_names_and_tells_nan_infinity_and_none_apart() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let mut file = Csv::create(&path).unwrap();
    let values = [Some(0.1), None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)];
    let names = ["plain", "a,b", "say \"x\"", "two\nlines", "r/w"];
    let row =
        names.iter().zip(values).fold(Row::new(1), |row, (name, value)| row.with(*name, value));
    file.record(&row).unwrap();
    file.record(&Row { step: 2, ..row }).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let header = "step,plain,\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",r/w\n";
    assert_eq!(text, format!("{header}1,0.1,,nan,inf,-inf\n2,0.1,,nan,inf,-inf\n"));
    assert_eq!(file.position(), text.len() as u64);
}

/// The frames of a TFRecord file, with every checksum compared.
fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (length, tail) = rest.split_at(8);
        let (length_crc, tail) = tail.split_at(4);
        assert_eq!(length_crc, tfevents::masked_crc32c(length).to_le_bytes());
        let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        let (record, tail) = tail.split_at(length);
        let (record_crc, tail) = tail.split_at(4);
        assert_eq!(record_crc, tfevents::masked_crc32c(record).to_le_bytes());
        frames.push(record);
        rest = tail;
    }
    frames
}

/// Field number and content (the number of a varint as eight bytes) of a protocol buffer.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                fields.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (content, rest) = bytes.split_at(length);
        fields.push((key >> 3, content.to_vec()));
        bytes = rest;
    }
    fields
}

#[test]
fn tfevents_are_framed_events() {
    assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283);
    // TensorFlow's masking of that value, worked out from its definition: rotate right by 15, add 0xa282ead8.
    assert_eq!(tfevents::masked_crc32c(b"123456789"), 0xC78A_B0E5);

    let folder = tempdir().unwrap();
    let path = folder.path().join(tfevents::FILE);
    let clock = Hand::default();
    clock.0.set(1.5e9);
    let mut file = TfEvents::create(&path, clock).unwrap();
    file.record(&row(300)).unwrap();
    file.record(&row(1)).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(file.position(), bytes.len() as u64);

    let frames = frames(&bytes);
    assert_eq!(frames.len(), 3);
    let time = 1.5e9_f64.to_le_bytes().to_vec();
    assert_eq!(fields(frames[0]), [(1, time.clone()), (3, b"brain.Event:2".to_vec())]);
    let event = fields(frames[1]);
    assert_eq!(event[0], (1, time));
    assert_eq!(event[1], (2, 300_u64.to_le_bytes().to_vec()));
    assert_eq!(event[2].0, 5);
    let values: Vec<_> = fields(&event[2].1).iter().map(|(_, value)| fields(value)).collect();
    assert_eq!(values.len(), 3);
    assert_eq!(values[2][0], (1, b"kappa/layers.0.attn.in_proj_weight".to_vec()));
    assert_eq!(values[2][1], (2, 1e-7_f32.to_le_bytes().to_vec()));
    // κ is not defined yet at step 1: no value at all.
    assert_eq!(fields(&fields(frames[2])[2].1).len(), 2);
}

#[test]
fn an_interrupted_run_leaves_the_bytes_of_one_that_was_not() {
    let folder = tempdir().unwrap();
    let (whole, resumed) = (folder.path().join("whole"), folder.path().join("resumed"));
    fs::create_dir(&whole).unwrap();
    fs::create_dir(&resumed).unwrap();
    let mut observers = Observers::create_in(&whole).unwrap();
    (1..=6).for_each(|step| observers.record(&row(step)).unwrap());
    observers.finish().unwrap();

    let mut observers = Observers::create_in(&resumed).unwrap();
    (1..=3).for_each(|step| observers.record(&row(step)).unwrap());
    let positions = observers.sync().unwrap();
    (4..=5).for_each(|step| observers.record(&row(step)).unwrap());
    drop(observers);
    for file in [jsonl::FILE, csv::FILE, tfevents::FILE, timing::FILE] {
        let path = resumed.join(file);
        let mut torn = fs::read(&path).unwrap();
        let shorter = |at: &Position| at.file == file && at.length < torn.len() as u64;
        // A checkpoint that knew the length of what the clock said would not be the same in every run.
        assert_eq!(positions.iter().any(shorter), file != timing::FILE);
        torn.extend_from_slice(b"{\"step\":6,\"tra");
        fs::write(&path, torn).unwrap();
    }
    let mut observers = Observers::open_in(&resumed, &positions, 3).unwrap();
    (4..=6).for_each(|step| observers.record(&row(step)).unwrap());
    observers.finish().unwrap();
    for file in [jsonl::FILE, csv::FILE] {
        assert_eq!(fs::read(whole.join(file)).unwrap(), fs::read(resumed.join(file)).unwrap());
    }
    assert_eq!(frames(&fs::read(resumed.join(tfevents::FILE)).unwrap()).len(), 7);
    let steps = |path: &Path| {
        let rows = read_jsonl(path, LastLine::Whole).unwrap();
        rows.iter().map(|row| row.step).collect::<Vec<_>>()
    };
    assert_eq!(steps(&resumed.join(timing::FILE)), [1, 2, 3, 4, 5, 6]);
    let error = Observers::open_in(&resumed, &positions[..2], 3).unwrap_err();
    assert!(matches!(error, ObserveError::NoPosition { .. }), "{error}");
}

#[test]
fn a_cut_that_cannot_be_right_is_refused_and_changes_nothing() {
    let folder = tempdir().unwrap();
    for name in ["metrics.jsonl", "metrics.csv"] {
        let path = folder.path().join(name);
        let open = |length| match name {
            "metrics.csv" => Csv::open_at(&path, length).map(|file| file.position()),
            _ => Jsonl::open_at(&path, length).map(|file| file.position()),
        };
        assert!(matches!(open(0), Err(ObserveError::Io { action: "open", .. })));
        let mut file: Box<dyn Observe> = match name {
            "metrics.csv" => Box::new(Csv::create(&path).unwrap()),
            _ => Box::new(Jsonl::create(&path).unwrap()),
        };
        file.record(&row(1)).unwrap();
        let before = fs::read(&path).unwrap();
        let length = before.len() as u64;
        let error = open(length + 1).unwrap_err();
        assert!(matches!(error, ObserveError::Shorter { recorded, .. } if recorded == length + 1));
        assert!(error.to_string().contains("resume from an earlier checkpoint"), "{error}");
        assert!(matches!(open(length - 1), Err(ObserveError::NotALineEnd { .. })));
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(open(length).unwrap(), length);
        assert!(matches!(Jsonl::create(&path), Err(ObserveError::Exists { .. })));
    }
    let path = folder.path().join(tfevents::FILE);
    let length = TfEvents::create(&path, Hand::default()).unwrap().position();
    let error = TfEvents::open_at(&path, length + 1, Hand::default()).unwrap_err();
    assert!(matches!(error, ObserveError::Shorter { .. }), "{error}");
}

#[test]
fn the_first_row_fixes_the_columns_also_over_a_resume() {
    let folder = tempdir().unwrap();
    let (jsonl, csv) = (folder.path().join("a.jsonl"), folder.path().join("a.csv"));
    let other = Row::new(2).with("other", 1.0);
    let mut files: [Box<dyn Observe>; 2] =
        [Box::new(Jsonl::create(&jsonl).unwrap()), Box::new(Csv::create(&csv).unwrap())];
    for file in &mut files {
        let twice = Row::new(1).with("a", 1.0).with("a", 1.0);
        assert!(matches!(file.record(&twice), Err(ObserveError::Duplicate { .. })));
        let step = Row::new(1).with("step", 1.0);
        assert!(matches!(file.record(&step), Err(ObserveError::Duplicate { .. })));
        file.record(&row(1)).unwrap();
        assert!(matches!(file.record(&other), Err(ObserveError::Columns { step: 2, .. })));
    }
    let length = |path| fs::metadata(path).unwrap().len();
    let mut files: [Box<dyn Observe>; 2] = [
        Box::new(Jsonl::open_at(&jsonl, length(&jsonl)).unwrap()),
        Box::new(Csv::open_at(&csv, length(&csv)).unwrap()),
    ];
    for file in &mut files {
        let error = file.record(&other).unwrap_err();
        assert!(error.to_string().contains("train/loss"), "{error}");
    }
}

#[test]
fn a_csv_refuses_other_columns_after_a_resume_again_and_again() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let mut file = Csv::create(&path).unwrap();
    file.record(&row(1)).unwrap();
    let mut file = Csv::open_at(&path, file.position()).unwrap();
    let other = Row::new(2).with("other", 1.0);
    for _ in 0..2 {
        assert!(matches!(file.record(&other), Err(ObserveError::Columns { .. })));
    }
    file.record(&row(2)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
}

#[test]
fn a_torn_last_line_is_left_out_only_on_request() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let whole = "{\"step\":1,\"a\":2.0}\n";
    // The third is a line that only lacks its end: its last digits may be missing.
    for torn in ["{\"st", "{\"step\":2,\"a\":3", "{\"step\":2,\"a\":3.0}"] {
        fs::write(&path, format!("{whole}{torn}")).unwrap();
        let error = read_jsonl(&path, LastLine::Whole).unwrap_err();
        assert!(matches!(error, ObserveError::Malformed { line: 2, .. }), "{error}");
        let rows = read_jsonl(&path, LastLine::MayBeTorn).unwrap();
        assert_eq!(rows, [Row::new(1).with("a", 2.0)]);
    }
    for bad in ["[1]", "{\"a\":1}", "{\"step\":1.5}", "{\"step\":1,\"a\":\"x\"}"] {
        fs::write(&path, format!("{bad}\n{whole}")).unwrap();
        let error = read_jsonl(&path, LastLine::MayBeTorn).unwrap_err();
        assert!(matches!(error, ObserveError::Malformed { line: 1, .. }), "{error}");
    }
}

#[test]
fn timing_counts_on_over_a_resume() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("timing.jsonl");
    let clock = Hand::default();
    let mut file = Timing::create(&path, clock.clone()).unwrap();
    for (seconds, step) in [(0.5, 10), (2.5, 50), (4.5, 90)] {
        clock.0.set(seconds);
        file.record(&row(step)).unwrap();
    }
    let clock = Hand::default();
    let mut file = Timing::open_at(&path, 89, clock.clone()).unwrap();
    clock.0.set(1.0);
    file.record(&row(90)).unwrap();
    let expected = "{\"step\":10,\"elapsed_s\":0.5,\"steps_per_s\":null}\n\
                    {\"step\":50,\"elapsed_s\":2.5,\"steps_per_s\":20.0}\n\
                    {\"step\":90,\"elapsed_s\":3.5,\"steps_per_s\":null}\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

fn evaluation(step: u64) -> Row {
    Row::new(step)
        .with("train/loss", 0.0123)
        .with("train/accuracy", 0.9999)
        .with("validation/loss", 1.0)
        .with("validation/accuracy", 0.451)
}

#[test]
fn the_terminal_line_is_rewritten_cut_to_the_width_and_cleared() {
    let clock = Hand::default();
    let mut out = Vec::new();
    let style = Style::Terminal(|| 40);
    let mut progress = Progress::new(&mut out, style, clock.clone(), 1000, 0);
    for step in 1..=100 {
        clock.0.set(step as f64 * 0.01);
        progress.advance(step).unwrap();
    }
    clock.0.set(1.2);
    progress.record(&evaluation(100)).unwrap();
    progress.finish().unwrap();
    drop(progress);
    let text = String::from_utf8(out).unwrap();
    let pictures: Vec<_> = text.split('\r').skip(1).collect();
    // One second of steps at ten pictures a second, the row, the clearing.
    assert!((10..=13).contains(&pictures.len()), "{pictures:?}");
    assert_eq!(pictures[0], "step 1/1000  100.0 steps/s  ETA 0:10\x1b[K");
    assert!(pictures.iter().all(|picture| picture.strip_suffix("\x1b[K").unwrap().len() < 40));
    assert_eq!(pictures[pictures.len() - 2], "step 100/1000  loss 0.0123  train 99.9%\x1b[K");
    assert_eq!(pictures[pictures.len() - 1], "\x1b[K");
    assert!(!text.contains('\n'));
}

#[test]
fn plain_lines_are_thinned_but_tell_of_every_tenth_and_of_the_end() {
    let clock = Hand::default();
    let mut out = Vec::new();
    let mut progress = Progress::new(&mut out, Style::Plain, clock.clone(), 1000, 0);
    for step in (10..=1000).step_by(10) {
        clock.0.set(step as f64 * 1e-4);
        progress.advance(step).unwrap();
        progress.record(&evaluation(step)).unwrap();
    }
    progress.finish().unwrap();
    drop(progress);
    let text = String::from_utf8(out).unwrap();
    let steps: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let tenths = (1..=10).map(|tenth| format!("{}/1000", tenth * 100));
    assert_eq!(steps, ["10/1000".to_owned()].into_iter().chain(tenths).collect::<Vec<_>>());
    let last =
        "step 1000/1000  loss 0.0123  train 99.9%  validation 45.1%  10000 steps/s  ETA 0:00";
    assert_eq!(text.lines().last(), Some(last));

    // A slow run: a line a second at first, one in twenty seconds after 400.
    let mut out = Vec::new();
    let mut progress = Progress::new(&mut out, Style::Plain, clock.clone(), 1_000_000, 0);
    for step in 1..=4000 {
        clock.0.set(step as f64 * 0.1);
        progress.record(&Row::new(step).with("train/loss", 4.0)).unwrap();
    }
    progress.finish().unwrap();
    drop(progress);
    let text = String::from_utf8(out).unwrap();
    assert!((50..120).contains(&text.lines().count()), "{}", text.lines().count());
    assert!(text.lines().nth(1).unwrap().starts_with("step 11/1000000  train loss 4.000  10"));
    assert!(text.lines().last().unwrap().starts_with("step 4000/"));
    assert!(text.lines().last().unwrap().ends_with("ETA 27:40:00"));
}

#[test]
fn a_resumed_run_is_timed_by_its_own_steps_and_a_closed_pipe_does_not_end_it() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let clock = Hand::default();
    clock.0.set(2.0);
    let mut progress = Progress::new(Closed, Style::Plain, clock.clone(), 10, 0);
    progress.record(&evaluation(5)).unwrap();
    progress.finish().unwrap();

    let mut out = Vec::new();
    let mut progress = Progress::new(&mut out, Style::Plain, clock, 1000, 900);
    progress.record(&evaluation(920)).unwrap();
    drop(progress);
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with("  10.00 steps/s  ETA 0:08\n"), "{text}");
}
