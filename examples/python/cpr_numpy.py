"""AdamCPR on NumPy arrays through the C API: least squares under a bound. Argument: path of the shared library."""
import ctypes, sys
import numpy as np

cpr = ctypes.CDLL(sys.argv[1])

class Config(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint32) for n in "regularizer bound adaptive order step_rule guard scale_by_lr smoothed".split()] + [
        ("parameter", ctypes.c_double), ("mu", ctypes.c_double), ("kappa", ctypes.c_double),
        ("steps", ctypes.c_uint64), ("burn_in", ctypes.c_uint64), ("smoothing", ctypes.c_double)]

class Report(ctypes.Structure):
    _fields_ = [("step", ctypes.c_uint64), ("elements", ctypes.c_uint64), ("value", ctypes.c_double), ("kappa", ctypes.c_double),
        ("kappa_set_at", ctypes.c_uint64), ("lambda_", ctypes.c_double), ("active_steps", ctypes.c_uint64), ("guarded", ctypes.c_uint64),
        ("non_finite", ctypes.c_uint64), ("kappa_is_set", ctypes.c_uint32), ("is_active", ctypes.c_uint32)]

class Shard(ctypes.Structure):
    _fields_ = [(n, ctypes.c_void_p) for n in ("theta", "grad", "m", "v")] + [("len", ctypes.c_size_t)]
    def __init__(self, *arrays):
        super().__init__(*(a.ctypes.data for a in arrays), arrays[0].size)

def check(status):
    text = ctypes.c_char_p()
    if status != 0 and cpr.cpr_status_text(status, ctypes.byref(text)) == 0:
        raise RuntimeError(text.value.decode())

x = np.random.default_rng(0).normal(size=(64, 20)).astype(np.float32)
y = x @ np.linspace(-2, 2, 20, dtype=np.float32)
theta, m, v = np.full(20, 0.5, np.float32), np.zeros(20, np.float32), np.zeros(20, np.float32)
config, report, adam, constraint = Config(), Report(), (ctypes.c_double * 5)(), ctypes.create_string_buffer(148)
check(cpr.cpr_config_default(0, ctypes.c_double(0), ctypes.byref(config)))  # l2
check(cpr.cpr_adam_default(adam))
config.kappa = 4.0  # times R at the start
check(cpr.cpr_constraint_start_f32(ctypes.byref(config), theta.ctypes, ctypes.c_size_t(20), constraint))
for t in range(1, 2001):
    grad = x.T @ (x @ theta - y) / 64
    lr = ctypes.c_double(0.01)
    check(cpr.cpr_adam_step_f32(constraint, adam, ctypes.c_uint64(t), lr, ctypes.byref(Shard(theta, grad, m, v))))
check(cpr.cpr_constraint_report(constraint, ctypes.byref(report)))
print(f"R {report.value:.2f}, kappa {report.kappa:.2f}, lambda {report.lambda_:.3f}, loss {np.mean((x @ theta - y) ** 2) / 2:.2f}")
