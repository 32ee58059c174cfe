//! How many weights of a checkpoint are exactly zero, and the checkpoint without them.

use std::{fmt::Write, io, path::Path};

use safetensors::{Dtype, SafeTensorError, tensor::TensorView};

use crate::{
    checkpoint::{Checkpoint, CheckpointError, CheckpointWriter, Meta},
    run_folder::replace,
    store::Disk,
};

/// Why a checkpoint could not be made sparse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SparsifyError {
    /// It does not read, or the dense one cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The file of compressed rows cannot be made.
    #[error("the compressed rows: {0}")]
    Format(#[from] SafeTensorError),
    /// The file of compressed rows cannot be written.
    #[error("cannot write {}: {source}: give a path in a folder that can be written", path.display())]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// One parameter.
#[derive(Clone, Debug, PartialEq)]
struct Weights {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// The weights of a checkpoint, the small ones set to zero.
#[derive(Clone, Debug)]
pub struct Sparse {
    meta: Meta,
    weights: Vec<Weights>,
}

impl Sparse {
    /// The weights of a checkpoint; those of matrices whose magnitude is at most `below` become zero (0 changes
    /// nothing, and neither do vectors: biases and normalizations).
    ///
    /// # Errors
    /// [`CheckpointError::Different`] for weights that are not in single precision.
    pub fn new(checkpoint: Checkpoint, below: f32) -> Result<Self, CheckpointError> {
        let Checkpoint { meta, mut tensors } = checkpoint;
        let names: Vec<(String, Vec<usize>)> = tensors
            .parameters()
            .map(|(name, tensor)| (name.to_owned(), tensor.signature.shape.clone()))
            .collect();
        let mut weights = Vec::with_capacity(names.len());
        for (name, shape) in names {
            let mut values = tensors.take_f32(&name, &shape)?;
            if shape.len() > 1 {
                values.iter_mut().filter(|x| x.abs() <= below).for_each(|x| *x = 0.0);
            }
            weights.push(Weights { name, shape, values });
        }
        Ok(Self { meta, weights })
    }

    /// Elements that are exactly 0, and all, of each parameter and of all; bytes dense and as compressed rows.
    #[must_use]
    pub fn table(&self) -> String {
        let width = self.weights.iter().map(|weights| weights.name.len()).max().unwrap_or(0).max(9);
        let mut text = format!(
            "{:<width$}  {:>12}  {:>12}  {:>9}  {:>12}  {:>12}\n",
            "parameter", "elements", "zeros", "share", "bytes", "as CSR"
        );
        let mut line = |name: &str, [all, zeros, dense, csr]: [usize; 4]| {
            let share = if all == 0 { 0.0 } else { 100.0 * zeros as f64 / all as f64 };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{name:<width$}  {all:>12}  {zeros:>12}  {share:>7.3} %  {dense:>12}  {csr:>12}"
            );
        };
        let mut total = [0; 4];
        for weights in &self.weights {
            let zeros = weights.values.iter().filter(|&&x| x == 0.0).count();
            let all = weights.values.len();
            let csr = match weights.rows() {
                Some((rows, _)) => 8 * (rows + 1) + 12 * (all - zeros),
                None => 4 * all,
            };
            let counts = [all, zeros, 4 * all, csr];
            line(&weights.name, counts);
            total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        }
        line("all", total);
        text
    }

    /// Writes the weights as a checkpoint, zeros and all; its moments and constraints are not among them.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn write_dense(&self, path: &Path) -> Result<(), CheckpointError> {
        let Meta { step, config, cursor, kind, .. } = self.meta.clone();
        let mut writer = CheckpointWriter::new(Meta { step, config, cursor, ..Meta::new(kind) });
        for Weights { name, shape, values } in &self.weights {
            writer = writer.tensor(name, shape, &**values);
        }
        writer.write(path)
    }

    /// Writes the matrices as compressed sparse rows, as `torch.sparse_csr_tensor` takes them: `NAME.crow_indices`
    /// [rows + 1] and `NAME.col_indices` [non-zeros] in I64, `NAME.values` [non-zeros] in F32. A tensor of more
    /// dimensions has the rows of its first; vectors stay dense under their own name. The metadata entry `csr_shapes`
    /// is a JSON object of the shapes by name.
    ///
    /// # Errors
    /// [`SparsifyError::Write`] where the system refuses.
    pub fn write_csr(&self, path: &Path) -> Result<(), SparsifyError> {
        let mut stored: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        let mut shapes = serde_json::Map::new();
        for weights in &self.weights {
            let Weights { name, shape, values } = weights;
            let Some((_, columns)) = weights.rows() else {
                let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                stored.push((name.clone(), Dtype::F32, shape.clone(), bytes));
                continue;
            };
            let (mut starts, mut places, mut kept) = (vec![0_i64], Vec::new(), Vec::new());
            for row in values.chunks_exact(columns) {
                for (column, &x) in (0_i64..).zip(row) {
                    if x != 0.0 {
                        places.push(column);
                        kept.push(x);
                    }
                }
                // A slice is shorter than 2⁶³.
                starts.push(i64::try_from(kept.len()).unwrap_or(i64::MAX));
            }
            let bytes = |indices: &[i64]| indices.iter().flat_map(|i| i.to_le_bytes()).collect();
            let count = kept.len();
            let at = |part: &str| format!("{name}.{part}");
            stored.push((at("crow_indices"), Dtype::I64, vec![starts.len()], bytes(&starts)));
            stored.push((at("col_indices"), Dtype::I64, vec![count], bytes(&places)));
            let values = kept.iter().flat_map(|x: &f32| x.to_le_bytes()).collect();
            stored.push((at("values"), Dtype::F32, vec![count], values));
            shapes.insert(name.clone(), shape.clone().into());
        }
        let mut views = Vec::with_capacity(stored.len());
        for (name, dtype, shape, bytes) in &stored {
            views.push((name, TensorView::new(*dtype, shape.clone(), bytes)?));
        }
        let shapes = serde_json::Value::Object(shapes).to_string();
        let metadata = [("csr_shapes".to_owned(), shapes)].into();
        let bytes = safetensors::serialize(views, Some(metadata))?;
        replace(&mut Disk, path, &bytes)
            .map_err(|source| SparsifyError::Write { path: path.to_owned(), source })
    }
}

impl Weights {
    /// Rows and columns of a matrix; none of a vector.
    fn rows(&self) -> Option<(usize, usize)> {
        let (&rows, rest) = self.shape.split_first()?;
        let columns: usize = rest.iter().product();
        (!rest.is_empty() && columns > 0).then_some((rows, columns))
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn zeros_are_counted_and_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let weight = [0.0_f32, 2.0, -0.01, 0.0, 0.0, 0.0, 3.0, 0.0, -4.0];
        CheckpointWriter::new(Meta { step: 5, ..Meta::new("lm") })
            .tensor("w", &[3, 3], &weight)
            .tensor("b", &[2], &[0.0_f32, 0.001])
            .write(at("whole"))
            .unwrap();
        let read = || Checkpoint::read(at("whole")).unwrap();
        let table = Sparse::new(read(), 0.0).unwrap().table();
        let cells = |table: &str, name: &str| {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
            line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(cells(&table, "w"), ["9", "5", "55.556", "%", "36", "80"]);
        assert_eq!(cells(&table, "all"), ["11", "6", "54.545", "%", "44", "88"]);

        let sparse = Sparse::new(read(), 0.01).unwrap();
        sparse.write_dense(&at("dense")).unwrap();
        let Checkpoint { meta, mut tensors } = Checkpoint::read(at("dense")).unwrap();
        assert_eq!((meta.step, meta.kind.as_str()), (5, "lm"));
        let dense = tensors.take_f32("w", &[3, 3]).unwrap();
        assert_eq!(dense, [0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, -4.0]);
        assert_eq!(tensors.take_f32("b", &[2]).unwrap(), [0.0, 0.001]);

        sparse.write_csr(&at("csr")).unwrap();
        let bytes = std::fs::read(at("csr")).unwrap();
        let csr = SafeTensors::deserialize(&bytes).unwrap();
        let indices = |name: &str| -> Vec<i64> {
            let bytes = csr.tensor(name).unwrap().data().as_chunks().0.to_vec();
            bytes.into_iter().map(i64::from_le_bytes).collect()
        };
        assert_eq!(indices("w.crow_indices"), [0, 1, 1, 3]);
        assert_eq!(indices("w.col_indices"), [1, 0, 2]);
        let values: Vec<f32> = csr
            .tensor("w.values")
            .unwrap()
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        assert_eq!(values, [2.0, 3.0, -4.0]);
        assert_eq!(csr.tensor("b").unwrap().shape(), [2]);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["csr_shapes"], "{\"w\":[3,3]}");
    }
}
