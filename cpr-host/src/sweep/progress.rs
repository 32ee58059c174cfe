//! What the person who waits for a sweep sees.

use std::{
    fs::File,
    io::{IsTerminal as _, Read as _, Seek as _, SeekFrom, Write, stderr},
    path::Path,
    time::{Duration, Instant},
};

use super::{
    PlannedRun,
    execute::{AtWork, Ended, Watch},
};

/// Shortest time between two pictures on a terminal.
const REDRAW: Duration = Duration::from_millis(250);
/// Bytes at the end of metrics.jsonl in which the last line is looked for.
const TAIL: u64 = 1 << 16;

/// One table: on a terminal rewritten in place, elsewhere a line for every run that ends.
///
/// Progress is a courtesy: where it cannot be written, it falls silent and the sweep goes on.
#[derive(Debug)]
pub struct Progress<W: Write> {
    out: W,
    /// Columns of the terminal; `None` for plain lines.
    terminal: Option<usize>,
    total: usize,
    jobs: usize,
    ended: usize,
    failed: usize,
    /// Runs that ended here, and the time that they took together.
    here: (u32, Duration),
    drawn: usize,
    last: Option<Instant>,
}

impl Progress<std::io::Stderr> {
    /// On standard error, for that many runs, `jobs` at a time.
    #[must_use]
    pub fn stderr(total: usize, jobs: usize) -> Self {
        let width = || terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        let terminal = stderr().is_terminal().then(width);
        Self::new(stderr(), terminal, total, jobs)
    }
}

impl<W: Write> Progress<W> {
    /// On `out`: a table for a terminal that is so many columns wide, plain lines for none.
    pub fn new(out: W, terminal: Option<usize>, total: usize, jobs: usize) -> Self {
        let here = (0, Duration::ZERO);
        Self { out, terminal, total, jobs, ended: 0, failed: 0, here, drawn: 0, last: None }
    }

    /// Takes the table off the terminal.
    fn clear(&mut self) {
        if self.drawn > 0 {
            let _ = write!(self.out, "\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    /// The time that is left, guessed from the runs that ended here.
    fn left(&self) -> Option<Duration> {
        let (count, time) = self.here;
        let each = time.checked_div(count)?;
        let rounds = (self.total - self.ended).div_ceil(self.jobs.max(1));
        Some(each * u32::try_from(rounds).ok()?)
    }
}

impl<W: Write> Watch for Progress<W> {
    fn ended(&mut self, run: &PlannedRun, how: &Ended) {
        let text = match how {
            Ended::Before => {
                self.ended += 1;
                return;
            }
            Ended::Done(time) => {
                self.ended += 1;
                self.here = (self.here.0 + 1, self.here.1 + *time);
                format!("done in {}", duration(*time))
            }
            Ended::Failed(message) => {
                self.ended += 1;
                self.failed += 1;
                format!("FAILED: {message}")
            }
            Ended::FailedBefore(message) => {
                self.ended += 1;
                self.failed += 1;
                format!("failed before (--retry starts it over): {message}")
            }
            Ended::Stopped => "stopped, its state saved".to_owned(),
        };
        self.clear();
        let _ = writeln!(self.out, "[{}/{}] {} {text}", self.ended, self.total, run.name);
        self.last = None;
    }

    fn look(&mut self, at_work: &[AtWork<'_>], waiting: usize) {
        let Some(width) = self.terminal else { return };
        if self.last.is_some_and(|last| last.elapsed() < REDRAW) {
            return;
        }
        self.last = Some(Instant::now());
        let mut lines = vec![format!(
            "{} of {} runs ended, {} failed, {} at work, {waiting} waiting{}",
            self.ended,
            self.total,
            self.failed,
            at_work.len(),
            self.left().map_or_else(String::new, |left| format!(", about {} left", duration(left)))
        )];
        let longest = at_work.iter().map(|at| at.run.name.len()).max().unwrap_or(0);
        for at in at_work {
            let step = last_step(&at.folder.join("metrics.jsonl"));
            let step = step.map_or_else(|| "starting".to_owned(), |step| format!("step {step}"));
            lines.push(format!("  {:<longest$}  {step}", at.run.name));
        }
        self.clear();
        for line in &lines {
            let cut: String = line.chars().take(width.saturating_sub(1).max(1)).collect();
            let _ = writeln!(self.out, "{cut}");
        }
        self.drawn = lines.len();
    }

    fn finish(&mut self) {
        self.clear();
        let _ = self.out.flush();
    }
}

/// The step of the last whole line of a metrics file.
fn last_step(path: &Path) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let end = bytes.iter().rposition(|&byte| byte == b'\n')?;
    let begin = bytes[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let row: serde_json::Value = serde_json::from_slice(&bytes[begin..end]).ok()?;
    row.get("step")?.as_u64()
}

/// Seconds, minutes or hours, for people.
pub(super) fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => {
            format!("{:.1} s", seconds as f64 + f64::from(time.subsec_millis()) / 1e3)
        }
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
