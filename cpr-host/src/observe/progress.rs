//! What the person who waits sees.

use std::{
    io::{IsTerminal, Stderr, Write, stderr},
    time::Duration,
};

use super::{Clock, Monotonic, Observe, ObserveError, Row};

/// Shortest time between two pictures of the line on a terminal, in seconds.
const REDRAW: f64 = 0.1;

/// Shortest time between two plain lines, in seconds, and as a part of the time since the start:
/// a log gets its first lines soon and does not fill up over a day.
const PLAIN: (f64, f64) = (1.0, 0.05);

/// Width in columns of a terminal that does not tell.
const WIDTH: usize = 80;

/// How progress is shown.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// One line that is rewritten in place, cut to the width that the function gives in columns.
    Terminal(fn() -> usize),
    /// Lines that stay, for logs and pipes.
    Plain,
}

/// Shows how far the run is, its loss and accuracies, its pace, and the time that is left.
///
/// On a terminal the line is redrawn at most ten times a second and cleared at the end. Elsewhere
/// an evaluation becomes a line when it is the first, the last, the first past another tenth of the
/// steps, or when a second and a twentieth of the running time have passed since the line before.
///
/// Scalars are found by name: those that end in `/accuracy` are shown in percent, beside the first
/// that ends in `/loss`; where no accuracy is measured, every loss is shown.
///
/// Progress is a courtesy: when it cannot be written (a closed pipe), it falls silent and the run
/// goes on.
#[derive(Debug)]
pub struct Progress<W: Write, C: Clock = Monotonic> {
    out: W,
    style: Style,
    clock: C,
    /// Steps of the whole run, and of those the ones that were taken before this process began.
    total: u64,
    first: u64,
    step: u64,
    metrics: String,
    /// When something was last written, in seconds.
    written: Option<f64>,
    /// Tenths of the run that a plain line has told of.
    tenths: u64,
    /// Whether the newest row is not on a plain line yet.
    pending: bool,
    /// Whether there is a line to clear on the terminal.
    drawn: bool,
    silent: bool,
}

impl Progress<Stderr> {
    /// Progress on standard error: the rewritten line where that is a terminal, plain lines
    /// elsewhere.
    ///
    /// `total` is the number of steps of the whole run, `first` the number of those that are taken
    /// already (0 unless the run is resumed); the clock starts now.
    #[must_use]
    pub fn stderr(total: u64, first: u64) -> Self {
        #[cfg(feature = "cli")]
        let width =
            || terminal_size::terminal_size_of(stderr()).map_or(WIDTH, |(width, _)| width.0.into());
        #[cfg(not(feature = "cli"))]
        let width = || WIDTH;
        let style = if stderr().is_terminal() { Style::Terminal(width) } else { Style::Plain };
        Self::new(stderr(), style, Monotonic::new(), total, first)
    }
}

impl<W: Write, C: Clock> Progress<W, C> {
    /// Progress on any writer. `clock` has to stand at 0 when the steps begin; `total` and `first`
    /// are as for [`Progress::stderr`].
    #[must_use]
    pub fn new(out: W, style: Style, clock: C, total: u64, first: u64) -> Self {
        let tenths = tenths(first, total);
        Self {
            out,
            style,
            clock,
            total,
            first,
            step: first,
            metrics: String::new(),
            written: None,
            tenths,
            pending: false,
            drawn: false,
            silent: false,
        }
    }

    /// The line without an end: step, metrics, pace and time left, in ASCII so that bytes are columns.
    fn text(&self, now: f64) -> String {
        let mut text = format!("step {}/{}{}", self.step, self.total, self.metrics);
        // Steps are far below 2⁵³, so both casts are exact.
        let taken = self.step.saturating_sub(self.first) as f64;
        if taken > 0.0 && now > 0.0 {
            let pace = taken / now;
            let left = self.total.saturating_sub(self.step) as f64 / pace;
            text.push_str(&format!("  {} steps/s", significant(pace)));
            text.push_str(&format!("  ETA {}", clock_face(left)));
        }
        text
    }

    fn draw(&mut self, now: f64, width: usize) {
        let mut text = self.text(now);
        // The last column stays free: some terminals wrap as soon as it is written.
        text.truncate(width.saturating_sub(1));
        self.write(now, &format!("\r{text}\x1b[K"));
        self.drawn = true;
    }

    fn print(&mut self, now: f64) {
        let text = self.text(now);
        self.write(now, &format!("{text}\n"));
        self.tenths = tenths(self.step, self.total);
        self.pending = false;
    }

    fn write(&mut self, now: f64, text: &str) {
        if !self.silent {
            let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
            self.silent = written.is_err();
        }
        self.written = Some(now);
    }

    fn waited(&self, now: f64, seconds: f64) -> bool {
        self.written.is_none_or(|written| now - written >= seconds)
    }

    fn clear(&mut self) {
        if self.drawn {
            let now = self.clock.seconds();
            self.write(now, "\r\x1b[K");
            self.drawn = false;
        }
    }
}

impl<W: Write, C: Clock> Observe for Progress<W, C> {
    fn record(&mut self, row: &Row) -> Result<(), ObserveError> {
        self.step = row.step;
        self.metrics = metrics(row);
        self.pending = true;
        let now = self.clock.seconds();
        match self.style {
            Style::Terminal(width) => {
                if self.waited(now, REDRAW) {
                    self.draw(now, width());
                }
            }
            Style::Plain => {
                let tenth = tenths(self.step, self.total) > self.tenths;
                if tenth || self.waited(now, PLAIN.0.max(PLAIN.1 * now)) {
                    self.print(now);
                }
            }
        }
        Ok(())
    }

    fn advance(&mut self, step: u64) -> Result<(), ObserveError> {
        self.step = step;
        if let Style::Terminal(width) = self.style {
            let now = self.clock.seconds();
            if self.waited(now, REDRAW) {
                self.draw(now, width());
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ObserveError> {
        match self.style {
            Style::Terminal(_) => self.clear(),
            Style::Plain if self.pending => self.print(self.clock.seconds()),
            Style::Plain => {}
        }
        Ok(())
    }
}

impl<W: Write, C: Clock> Drop for Progress<W, C> {
    /// Clears the line of a run that ended with an error, so that its message starts on an empty one.
    fn drop(&mut self) {
        self.clear();
    }
}

/// Finished tenths of a run of `total` steps.
fn tenths(step: u64, total: u64) -> u64 {
    // In 128 bits the product cannot overflow, and a tenth of steps fits in 64 again.
    u64::try_from(u128::from(step) * 10 / u128::from(total.max(1))).unwrap_or(u64::MAX)
}

/// The metrics of a row that are worth a place on one line, each with two blanks before it.
fn metrics(row: &Row) -> String {
    let ending = |ending: &'static str| {
        row.scalars
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_suffix(ending)?, (*value)?)))
    };
    let mut text = String::new();
    if ending("/accuracy").next().is_none() {
        for (name, loss) in ending("/loss") {
            text.push_str(&format!("  {} loss {}", ascii(name), significant(loss)));
        }
        return text;
    }
    if let Some((_, loss)) = ending("/loss").next() {
        text.push_str(&format!("  loss {}", significant(loss)));
    }
    for (name, accuracy) in ending("/accuracy") {
        // Cut, not rounded: 100.0% is shown for nothing less. The nudge undoes the rounding of
        // the product.
        let percent = (accuracy * 1000.0 + 1e-9).floor() / 10.0;
        text.push_str(&format!("  {} {percent:.1}%", ascii(name)));
    }
    text
}

/// A name with everything that would upset a terminal's columns replaced.
fn ascii(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// A number in about four digits.
fn significant(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-3..1e6).contains(&magnitude) {
        format!("{value:.2e}")
    } else if magnitude >= 1000.0 {
        format!("{value:.0}")
    } else if magnitude >= 100.0 {
        format!("{value:.1}")
    } else if magnitude >= 10.0 {
        format!("{value:.2}")
    } else if magnitude >= 1.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.4}")
    }
}

/// Seconds as `m:ss` or `h:mm:ss`; rounded up, since 0:00 should mean done.
fn clock_face(seconds: f64) -> String {
    let Ok(left) = Duration::try_from_secs_f64(seconds.ceil()) else {
        return "--:--".to_owned();
    };
    let left = left.as_secs();
    let (hours, minutes, seconds) = (left / 3600, left / 60 % 60, left % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}
