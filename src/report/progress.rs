//! How far a long step has come: bars on a terminal, log lines now and then without one.
//!
//! Hides which of the two it is, and keeps log lines and bars from writing over each other. Cheap to clone, safe to
//! use from any thread; callers report pages or batches, not single records. Deliberately never on stdout.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::log::{LogFormat, Voice};
use crate::visible::visible;

/// Without a terminal, a step that goes on is told this often: often enough to see that it lives, seldom enough that
/// a run of an hour stays readable.
const BETWEEN_LINES: Duration = Duration::from_secs(30);

/// Tells how far each of several steps has come. Steps have names ("users", "apply User") and may run at once.
#[derive(Clone, Default)]
pub struct Progress {
    bars: Option<MultiProgress>,
    steps: Arc<Mutex<HashMap<String, Step>>>,
    /// Milliseconds that the source had everything wait.
    throttled_ms: Arc<AtomicU64>,
}

impl crate::source::Progress for Progress {
    fn at(&self, collection: crate::record::Collection, done: u64, total: Option<u64>) {
        Progress::at(self, collection.name(), done, total);
    }

    fn throttled(&self, so_far: Duration) {
        let so_far_ms = u64::try_from(so_far.as_millis()).unwrap_or(u64::MAX);
        self.throttled_ms.store(so_far_ms, Relaxed);
    }
}

/// One step under way.
struct Step {
    bar: Option<ProgressBar>,
    total: Option<u64>,
    done: u64,
    began: Instant,
    told: Instant,
}

impl Progress {
    /// Bars when stderr is a terminal and messages are text, log lines otherwise.
    pub fn new(voice: Voice) -> Progress {
        let bars = voice.format == LogFormat::Text && !voice.quiet && io::stderr().is_terminal();
        let bars = bars.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Progress { bars, ..Progress::default() }
    }

    /// Nothing at all, for callers that have nobody to tell.
    pub fn hidden() -> Progress {
        let hidden = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        Progress { bars: Some(hidden), ..Progress::default() }
    }

    /// A step begins; `total` where it is known beforehand. Beginning it again starts it anew.
    pub fn start(&self, name: &str, total: Option<u64>) {
        let now = Instant::now();
        let bar = self.bars.as_ref().map(|bars| bars.add(bar(name, total)));
        if let Some(replaced) =
            self.steps().insert(name.to_string(), Step { bar, total, done: 0, began: now, told: now })
        {
            replaced.clear();
        }
        tracing::debug!(step = name, total, "begins");
    }

    /// `n` more are done. A step that was not started is started without a total.
    pub fn advance(&self, name: &str, n: u64) {
        if !self.steps().contains_key(name) {
            self.start(name, None);
        }
        let mut steps = self.steps();
        let Some(step) = steps.get_mut(name) else { return };
        step.done += n;
        let throttled_s = self.throttled_ms.load(Relaxed) / 1000;
        match &step.bar {
            Some(bar) => {
                bar.inc(n);
                if throttled_s > 0 {
                    bar.set_message(format!("throttled for {throttled_s} s"));
                }
            }
            None if step.told.elapsed() >= BETWEEN_LINES => {
                step.told = Instant::now();
                let (done, total) = (step.done, step.total);
                let speed = speed(done, total, step.began.elapsed());
                // The lock is not held while a line is written: a slow reader of stderr must not slow the others.
                drop(steps);
                tracing::info!(
                    target: super::log::PROGRESS,
                    step = name,
                    done,
                    total,
                    per_s = speed.per_s,
                    left_s = speed.left_s,
                    throttled_s,
                    "goes on"
                );
            }
            None => {}
        }
    }

    /// The step is over; `words` say with what result, for people.
    pub fn finish(&self, name: &str, words: &str) {
        let step = self.steps().remove(name);
        let (done, took_s) = step.as_ref().map_or((0, 0.0), |step| (step.done, step.began.elapsed().as_secs_f64()));
        if let Some(step) = step {
            step.clear();
        }
        tracing::info!(step = name, done, took_s = (took_s * 10.0).round() / 10.0, "{words}");
    }

    /// Writes to stderr with the bars out of the way.
    pub fn write_beside(&self, bytes: &[u8]) -> io::Result<()> {
        let write = || io::stderr().lock().write_all(bytes);
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Takes all bars away: before data goes to a terminal, and at the end.
    pub fn clear(&self) {
        self.steps().drain().for_each(|(_, step)| step.clear());
    }

    fn at(&self, name: &str, done: u64, total: Option<u64>) {
        let known = self.steps().get_mut(name).map(|step| {
            step.learn(total);
            step.done
        });
        if known.is_none() {
            self.start(name, total);
        }
        self.advance(name, done.saturating_sub(known.unwrap_or_default()));
    }

    fn steps(&self) -> MutexGuard<'_, HashMap<String, Step>> {
        // The map is whole after every operation, so a panic elsewhere does not spoil it.
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Step {
    /// Takes a total that was not known when the step began.
    fn learn(&mut self, total: Option<u64>) {
        if let (None, Some(total)) = (self.total, total) {
            self.total = Some(total);
            if let Some(bar) = &self.bar {
                bar.set_length(total);
                bar.set_style(style(self.total));
            }
        }
    }

    fn clear(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How fast a step goes, and how long it will go on.
#[derive(Debug, PartialEq)]
struct Speed {
    per_s: u64,
    left_s: Option<u64>,
}

fn speed(done: u64, total: Option<u64>, took: Duration) -> Speed {
    let per_s = done as f64 / took.as_secs_f64().max(0.001);
    let left_s = total.filter(|_| done > 0).map(|total| (total.saturating_sub(done) as f64 / per_s).ceil() as u64);
    Speed { per_s: per_s.round() as u64, left_s }
}

fn style(total: Option<u64>) -> ProgressStyle {
    let template = match total {
        Some(_) => "{prefix:20} {bar:30} {human_pos}/{human_len} {rate} {eta} {msg}",
        None => "{prefix:20} {spinner} {human_pos} {rate} {elapsed} {msg}",
    };
    // Both templates are fixed; were one wrong, the default style would still tell the numbers.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // Nobody wants to know the thousandths of a record.
    style.with_key("rate", |state: &ProgressState, to: &mut dyn fmt::Write| {
        let _ = write!(to, "{}/s", HumanCount(state.per_sec().round() as u64));
    })
}

fn bar(name: &str, total: Option<u64>) -> ProgressBar {
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::new_spinner(),
    };
    bar.with_style(style(total)).with_prefix(visible(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_and_what_is_left() {
        let second = Duration::from_secs(1);
        assert_eq!(speed(100, Some(1_000), 2 * second), Speed { per_s: 50, left_s: Some(18) });
        assert_eq!(speed(100, None, 2 * second), Speed { per_s: 50, left_s: None });
        assert_eq!(speed(0, Some(10), second), Speed { per_s: 0, left_s: None });
        assert_eq!(speed(1_000, Some(900), Duration::ZERO).left_s, Some(0), "a total that was too small");
    }

    #[test]
    fn steps_run_side_by_side_and_leave_nothing_behind() {
        for progress in [Progress::hidden(), Progress::default()] {
            progress.start("users", Some(400));
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..100).for_each(|_| progress.advance("users", 1)));
                }
            });
            progress.advance("groups", 7);
            let done = |name: &str| progress.steps().get(name).map(|step| step.done);
            assert_eq!((done("users"), done("groups")), (Some(400), Some(7)));
            progress.start("users", None);
            assert_eq!(done("users"), Some(0), "begun anew");
            progress.finish("users", "400 read");
            progress.finish("never begun", "nothing");
            assert_eq!(done("users"), None);
            progress.clear();
            assert!(progress.steps().is_empty());
        }
    }

    #[test]
    fn a_total_may_be_learnt_on_the_way() {
        for progress in [Progress::hidden(), Progress::default()] {
            let seen = |done, total| {
                progress.at("users", done, total);
                let steps = progress.steps();
                let step = &steps["users"];
                (step.done, step.total, step.bar.as_ref().map(|bar| bar.length()))
            };
            let bars = progress.bars.is_some();
            assert_eq!(seen(1, None), (1, None, bars.then_some(None)));
            assert_eq!(seen(5, Some(10)), (5, Some(10), bars.then_some(Some(10))));
            assert_eq!(seen(7, None), (7, Some(10), bars.then_some(Some(10))), "and is not forgotten");
        }
    }
}
