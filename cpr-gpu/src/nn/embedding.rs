//! Rows of a table.

use candle_core::{Result, Tensor};

/// The rows of `table` (rows, columns) that `ids` name: (places) of u32 to (places, columns).
///
/// The gradient of a row is the sum over its places in their order. On CUDA it has a kernel of its own in f32 and bf16 for
/// up to 4096 columns, where candle adds place after place.
///
/// # Errors
/// For an id that is no row; on CUDA, where nobody waits for the device, candle's kernel asserts it, which ends the program.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if super::fused::takes_embedding(table) {
        return super::fused::embedding(table, ids);
    }
    table.index_select(ids, 0)
}
