use super::*;

fn batches(examples: usize, size: usize, seed: u64) -> Batches {
    Batches::new(examples.try_into().unwrap(), size.try_into().unwrap(), seed)
}

fn epoch(batches: &mut Batches) -> Vec<usize> {
    (0..batches.per_epoch()).flat_map(|_| batches.next_batch().to_vec()).collect()
}

#[test]
fn an_epoch_has_every_example_once_and_keeps_the_short_batch() {
    let mut batches = batches(3830, 512, 1);
    assert_eq!(batches.per_epoch(), 8);
    let lengths: Vec<usize> = (0..8).map(|_| batches.next_batch().len()).collect();
    assert_eq!(lengths, [512, 512, 512, 512, 512, 512, 512, 246]);
    let mut indices = epoch(&mut batches);
    indices.sort_unstable();
    assert!(indices.into_iter().eq(0..3830));
}

#[test]
fn the_order_is_a_function_of_seed_and_epoch() {
    let mut first = batches(100, 7, 1);
    let [zeroth, next] = [epoch(&mut first), epoch(&mut first)];
    assert_ne!(zeroth, next);
    assert_ne!(zeroth, epoch(&mut batches(100, 7, 2)));
    let mut other_size = batches(100, 9, 1);
    assert_eq!(zeroth, epoch(&mut other_size), "the batch size cuts the order, no more");
    let mut late = batches(100, 7, 1);
    late.seek(Cursor { epoch: 1, batch: 0 });
    assert_eq!(next, epoch(&mut late));
}

#[test]
fn a_run_goes_on_where_its_cursor_stands() {
    let mut whole = batches(50, 8, 3);
    for _ in 0..40 {
        let mut resumed = batches(50, 8, 3);
        resumed.seek(whole.cursor());
        assert_eq!(resumed.cursor(), whole.cursor());
        assert_eq!(resumed.next_batch(), whole.next_batch());
        assert_eq!(resumed.next_batch(), whole.clone().next_batch());
    }
}

#[test]
fn a_cursor_beyond_the_epoch_counts_on() {
    let mut batches = batches(10, 4, 0);
    batches.seek(Cursor { epoch: 2, batch: 7 });
    assert_eq!(batches.cursor(), Cursor { epoch: 4, batch: 1 });
}

#[test]
fn a_batch_larger_than_the_data_is_the_whole_epoch() {
    let mut batches = batches(3, 512, 0);
    assert_eq!(batches.next_batch().len(), 3);
    assert_eq!(batches.cursor(), Cursor { epoch: 1, batch: 0 });
}
