//! placeholder until numerics lands
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BiasCorrection {
    beta: f64,
}
impl BiasCorrection {
    pub(crate) fn new(beta: f64) -> Self {
        Self { beta }
    }
    pub(crate) fn at(&self, t: u64) -> f64 {
        1.0 - libm::pow(self.beta, crate::real::count_as_f64(t))
    }
}
