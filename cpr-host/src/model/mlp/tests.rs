use super::*;

struct Points {
    inputs: Vec<Vec<f64>>,
    labels: Vec<usize>,
}

impl Points {
    fn new(count: usize, width: usize, classes: usize) -> Self {
        let mut random = Random::new(3, Stream::Split, 0);
        let mut input = || {
            let mut input = vec![0.0; width];
            random.fill_normal(1.0, &mut input);
            input
        };
        let inputs = (0..count).map(|_| input()).collect();
        Self { inputs, labels: (0..count).map(|index| (7 * index + index / 3) % classes).collect() }
    }
}

impl<T: Exp> Examples<T> for Points {
    fn count(&self) -> usize {
        self.labels.len()
    }
    fn label(&self, index: usize) -> usize {
        self.labels[index]
    }
    fn input(&self, index: usize, out: &mut [T]) {
        for (out, &x) in out.iter_mut().zip(&self.inputs[index]) {
            *out = T::from_f64(x);
        }
    }
}

fn params(model: &Mlp<f64>) -> Vec<f64> {
    let mut params = model.init(1);
    // Biases that are not 0, so that they take part.
    for param in model.layout().params().iter().filter(|param| param.kind == ParamKind::Bias) {
        Random::new(5, Stream::Init, 0).fill_normal(0.1, &mut params[param.range.clone()]);
    }
    params
}

/// The loss of the formula, one example at a time.
fn naive(widths: &[usize], params: &[f64], points: &Points) -> f64 {
    let mut total = 0.0;
    for (input, &label) in points.inputs.iter().zip(&points.labels) {
        let mut x = input.clone();
        let mut at = 0;
        for (index, pair) in widths.windows(2).enumerate() {
            let weights = &params[at..][..pair[0] * pair[1]];
            let biases = &params[at + weights.len()..][..pair[1]];
            at += weights.len() + pair[1];
            let sum = |row: &[f64]| row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>();
            let y = weights.chunks_exact(pair[0]).zip(biases).map(|(row, bias)| sum(row) + bias);
            let last = index + 2 == widths.len();
            x = y.map(|y: f64| if last { y } else { y.max(0.0) }).collect();
        }
        total += x.iter().map(|x| libm::exp(*x)).sum::<f64>().ln() - x[label];
    }
    total / points.labels.len() as f64
}

#[test]
fn losses_and_gradients_agree_with_the_formula_and_with_differences() {
    for widths in [vec![5, 7, 6, 3], vec![4, 2], vec![3, 9, 2]] {
        let mut model = Mlp::<f64>::new(&widths).unwrap();
        let mut params = params(&model);
        // More than one tile, and a short one.
        let points = Points::new(TILE + 11, widths[0], *widths.last().unwrap());
        let workers = Workers::inline();
        let mut grads = vec![f64::NAN; params.len()];
        let outcome = model.loss_and_grad(&workers, &params, &points, &mut grads).unwrap();
        let (evaluated, confusion) = model.evaluate(&workers, &params, &points).unwrap();
        assert!((outcome.loss - naive(&widths, &params, &points)).abs() < 1e-12);
        assert_eq!((outcome.correct, outcome.count), (evaluated.correct, evaluated.count));
        assert!((outcome.loss - evaluated.loss).abs() < 1e-14);
        let diagonal = (0..confusion.classes).map(|c| confusion.counts[c * confusion.classes + c]);
        assert_eq!(diagonal.sum::<u64>(), outcome.correct as u64);
        assert_eq!(confusion.counts.iter().sum::<u64>(), points.labels.len() as u64);
        for index in 0..params.len() {
            let value = params[index];
            let mut at = |h: f64| {
                params[index] = value + h;
                naive(&widths, &params, &points)
            };
            let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
            params[index] = value;
            let error = (grads[index] - difference).abs();
            assert!(error < 1e-7, "{widths:?} {index}: {} {difference}", grads[index]);
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let mut model = Mlp::<f32>::new(&[40, 300, 10]).unwrap();
    let params = model.init(2);
    let points = Points::new(200, 40, 10);
    let mut run = |threads: usize| {
        let workers = Workers::new(threads.try_into().unwrap()).unwrap();
        let mut grads = vec![0.0; params.len()];
        let trained = model.loss_and_grad(&workers, &params, &points, &mut grads).unwrap();
        (trained, model.evaluate(&workers, &params, &points).unwrap(), grads)
    };
    assert!(run(1) == run(3));
}

#[test]
fn what_does_not_fit_is_refused() {
    assert_eq!(Mlp::<f32>::new(&[3]).unwrap_err(), MlpError::Widths { given: 1 });
    assert!(matches!(Mlp::<f32>::new(&[3, 0, 2]), Err(MlpError::Layout(_))));
    let mut model = Mlp::<f64>::new(&[2, 3]).unwrap();
    let (params, workers) = (model.init(1), Workers::inline());
    let points = Points { inputs: vec![vec![0.0; 2]], labels: vec![3] };
    let refused = model.evaluate(&workers, &params, &points).unwrap_err();
    assert_eq!(refused, MlpError::Label { given: 3, classes: 3 });
    let refused = model.evaluate(&workers, &params[1..], &points).unwrap_err();
    assert!(matches!(refused, MlpError::Length { given: 8, expected: 9, .. }));
    let none = Points { inputs: Vec::new(), labels: Vec::new() };
    let mut grads = vec![1.0; 9];
    assert!(model.loss_and_grad(&workers, &params, &none, &mut grads).unwrap().loss.is_nan());
    assert_eq!(grads, [0.0; 9]);
}
