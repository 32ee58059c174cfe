//! The runs of a sweep, side by side, each a child process.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    num::NonZeroUsize,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use toml::Value;

use super::{PlannedRun, State, Status, SweepError, SweepFolder};
use crate::signals::INTERRUPTED;

/// From one look at the children to the next.
const LOOK: Duration = Duration::from_millis(10);
/// From one look at a run that another process works on to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Parameters up to which runs are trained side by side on one thread each: a step of such a model is too short for
/// threads to share, and several of them fit the memory.
const SIDE_BY_SIDE: u64 = 10_000_000;
/// Bytes at the end of a log in which its last error is looked for.
const TAIL: u64 = 1 << 16;

/// How many runs at a time, and how many threads each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Runs at a time, at least 1.
    pub jobs: usize,
    /// Threads of each, at least 1.
    pub threads: usize,
}

impl Pace {
    /// The pace for these runs on that many cores, where it is not `given`: one thread each and as many runs as cores
    /// for models of up to 10⁷ parameters, else one run at a time on all cores.
    #[must_use]
    pub fn of(
        runs: &[PlannedRun],
        cores: usize,
        jobs: Option<usize>,
        threads: Option<usize>,
    ) -> Self {
        let largest = runs.iter().filter_map(|run| run.parameters).max();
        let cores = cores.max(1);
        let (jobs, threads) = match (jobs, threads) {
            (Some(jobs), Some(threads)) => (jobs, threads),
            (Some(jobs), None) => (jobs, cores / jobs.max(1)),
            (None, Some(threads)) => (cores / threads.max(1), threads),
            (None, None) if largest.is_none_or(|count| count <= SIDE_BY_SIDE) => (cores, 1),
            (None, None) => (1, cores),
        };
        Self { jobs: jobs.max(1), threads: threads.max(1) }
    }

    /// The cores of this machine.
    #[must_use]
    pub fn cores() -> usize {
        std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
    }
}

/// What a sweep tells while it runs.
pub trait Watch {
    /// A run has ended, or was found at its end before anything started.
    fn ended(&mut self, run: &PlannedRun, how: &Ended);
    /// Called now and then, with the runs that are at work.
    fn look(&mut self, at_work: &[AtWork<'_>], waiting: usize);
    /// Nothing is at work any more.
    fn finish(&mut self);
}

/// How a run came to its end in this sweep.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It was done before.
    Before,
    /// It is done, after this time.
    Done(Duration),
    /// It failed.
    Failed(String),
    /// It had failed before, and is not tried again.
    FailedBefore(String),
    /// It was stopped and can go on.
    Stopped,
}

/// A run that is at work.
#[derive(Clone, Copy, Debug)]
pub struct AtWork<'a> {
    /// The run.
    pub run: &'a PlannedRun,
    /// Its folder.
    pub folder: &'a Path,
}

/// How the runs of this process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Done, before or now.
    pub done: usize,
    /// Failed, before or now.
    pub failed: usize,
    /// Neither: the sweep was stopped.
    pub left: usize,
}

/// A child with its run; what is left of it when an error ends the sweep is asked to stop, and waited for.
struct Running<'a> {
    run: &'a PlannedRun,
    folder: PathBuf,
    child: Child,
    began: Instant,
    log_from: u64,
}

impl Running<'_> {
    /// Asks the child to save its state and to end.
    fn ask_to_stop(&self) {
        // One that has ended is asked nothing: it is not waited for yet, so its number is still its own.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.ask_to_stop();
            let _ = self.child.wait();
        }
    }
}

/// What became of an attempt to start a run.
enum Start<'a> {
    Running(Running<'a>),
    Ended(Ended),
    Busy,
}

/// Trains the runs, in order, `pace.jobs` at a time, each as a child of `program`; what is done is skipped, what has
/// begun goes on. With `retry` runs that have failed start over. After `stop` is set the children save their state.
///
/// # Errors
/// [`SweepError`] for the sweep's own files and for a program that does not start; the failure of a run is none.
pub fn execute(
    folder: &SweepFolder,
    experiment: &str,
    runs: &[&PlannedRun],
    program: &Path,
    (pace, retry): (Pace, bool),
    stop: &AtomicBool,
    watch: &mut dyn Watch,
) -> Result<Tally, SweepError> {
    let mut tally = Tally::default();
    let mut queue: VecDeque<&PlannedRun> = runs.iter().copied().collect();
    let mut busy: Vec<&PlannedRun> = Vec::new();
    let mut running: Vec<Running<'_>> = Vec::new();
    let (mut looked, mut asked) = (Instant::now(), false);
    loop {
        while running.len() < pace.jobs && !stop.load(Ordering::Relaxed) {
            let Some(run) = queue.pop_front() else { break };
            match start(folder, experiment, run, program, pace.threads, retry)? {
                Start::Running(started) => running.push(started),
                Start::Ended(how) => count(&mut tally, run, &how, watch),
                Start::Busy => busy.push(run),
            }
        }
        let mut index = 0;
        while index < running.len() {
            let ended = running[index].child.try_wait();
            match ended.map_err(SweepError::io("wait for", running[index].folder.clone()))? {
                None => index += 1,
                Some(status) => {
                    let ended = running.swap_remove(index);
                    let how = end(folder, &ended, status)?;
                    count(&mut tally, ended.run, &how, watch);
                }
            }
        }
        if stop.load(Ordering::Relaxed) {
            if !asked {
                running.iter().for_each(Running::ask_to_stop);
                asked = true;
            }
            if running.is_empty() {
                tally.left += queue.len() + busy.len();
                break;
            }
        } else if running.is_empty() && queue.is_empty() {
            if busy.is_empty() {
                break;
            }
            // All that is left is at work in another process: it may end, or be killed.
            sleep(LOOK_AGAIN);
            queue.extend(busy.drain(..));
            continue;
        }
        let at_work: Vec<_> =
            running.iter().map(|at| AtWork { run: at.run, folder: &at.folder }).collect();
        watch.look(&at_work, queue.len() + busy.len());
        if looked.elapsed() > LOOK_AGAIN {
            queue.extend(busy.drain(..));
            looked = Instant::now();
        }
        sleep(LOOK);
    }
    watch.finish();
    Ok(tally)
}

fn count(tally: &mut Tally, run: &PlannedRun, how: &Ended, watch: &mut dyn Watch) {
    match how {
        Ended::Before | Ended::Done(_) => tally.done += 1,
        Ended::Failed(_) | Ended::FailedBefore(_) => tally.failed += 1,
        Ended::Stopped => tally.left += 1,
    }
    watch.ended(run, how);
}

fn start<'a>(
    folder: &SweepFolder,
    experiment: &str,
    run: &'a PlannedRun,
    program: &Path,
    threads: usize,
    retry: bool,
) -> Result<Start<'a>, SweepError> {
    let Some(claim) = folder.claim(&run.name)? else { return Ok(Start::Busy) };
    let mut state = folder.standing(&run.name);
    if retry && matches!(state, State::Failed(_)) {
        folder.set_status(&run.name, None)?;
        state = folder.standing(&run.name);
    }
    let path = folder.run(&run.name);
    let arguments = match state {
        State::Done => return Ok(Start::Ended(Ended::Before)),
        State::Failed(message) => return Ok(Start::Ended(Ended::FailedBefore(message))),
        // Of a run that is claimed nobody says so.
        State::Busy => return Ok(Start::Busy),
        State::Begun => {
            let mut arguments = vec!["resume".into(), path.clone().into_os_string()];
            // Which is of the process, so that the run's own configuration does not hold it.
            if let Some(Value::String(device)) = run.keys.get("device") {
                arguments.extend(["--device".into(), device.into()]);
            }
            arguments
        }
        State::New => {
            folder.clear(&run.name)?;
            folder.write_config(run)?;
            vec![
                experiment.into(),
                "--config".into(),
                folder.config(&run.name).into_os_string(),
                "--out".into(),
                folder.path().into(),
                "--name".into(),
                run.name.clone().into(),
            ]
        }
    };
    let log = folder.log(&run.name);
    let open = || OpenOptions::new().create(true).append(true).open(&log);
    let (out, err) =
        open().and_then(|out| Ok((out, open()?))).map_err(SweepError::io("open", &log))?;
    let log_from = out.metadata().map_err(SweepError::io("look at", &log))?.len();
    let child = Command::new(program)
        .args(arguments)
        .args(["--threads", &threads.to_string()])
        // Nothing to read, but the claim: it lives as long as the child.
        .stdin(claim)
        .stdout(out)
        .stderr(err)
        // A group of its own: Ctrl-C reaches the sweep alone, which asks each child once.
        .process_group(0)
        .spawn()
        .map_err(|source| SweepError::Start { program: program.to_owned(), source })?;
    let began = Instant::now();
    Ok(Start::Running(Running { run, folder: path, child, began, log_from }))
}

/// Records how a child ended.
fn end(folder: &SweepFolder, ended: &Running<'_>, status: ExitStatus) -> Result<Ended, SweepError> {
    let name = &ended.run.name;
    if status.success() && ended.folder.join("summary.json").is_file() {
        folder.set_status(name, Some(&Status::Done))?;
        return Ok(Ended::Done(ended.began.elapsed()));
    }
    if status.code() == Some(i32::from(INTERRUPTED)) {
        return Ok(Ended::Stopped);
    }
    let log = folder.log(name);
    let signal = status.signal();
    let message = match signal {
        // Of a run that a signal ended the log knows nothing.
        Some(9) => {
            "killed by signal 9, as where memory runs out: fewer --jobs need less".to_owned()
        }
        Some(signal) => format!("killed by signal {signal}; what it said is in {}", log.display()),
        None => last_error(&log, ended.log_from).unwrap_or_else(|| {
            format!("ended with {status}; what it said is in {}", log.display())
        }),
    };
    folder.set_status(name, Some(&Status::Failed { message: message.clone(), signal }))?;
    Ok(Ended::Failed(message))
}

/// The last `error: ` or panic that a child said.
fn last_error(log: &Path, from: u64) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = fs::metadata(log).ok()?.len();
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL)))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text
        .lines()
        .rev()
        .find(|line| line.starts_with("error: ") || line.contains("panicked at"))?;
    Some(line.strip_prefix("error: ").unwrap_or(line).to_owned())
}
