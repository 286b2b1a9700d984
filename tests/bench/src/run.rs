//! One run of the program, watched from outside: wall time, the steps it logs, its peak memory, what it says it did.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sim::{Asked, CLIENT_SECRET};

/// Where the job finds its secret.
pub const SECRET_VARIABLE: &str = "BENCH_SECRET";

/// Divides every wait, so that the pace set by the tenant's quota does not show.
const TIME_FACTOR: &str = "10000";

/// How often the process's memory is looked at; what rose after the last look of all is missed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One run.
pub struct Run {
    pub name: &'static str,
    pub wall: Duration,
    /// By step, in the order they first ended.
    pub steps: Vec<Step>,
    pub peak_kb: u64,
    pub exit: i32,
    /// Changes done, by action.
    pub done: BTreeMap<String, u64>,
    pub asked: Asked,
}

/// A step of a run; several of one name are one.
pub struct Step {
    pub name: String,
    pub took: Duration,
    /// Peak memory of the process while it was under way.
    pub peak_kb: u64,
}

impl Run {
    /// Runs the job once, with waits shortened away.
    pub fn measure(name: &'static str, program: &Path, job: &Path, state: &Path) -> io::Result<Run> {
        Run::measure_at(TIME_FACTOR, name, program, job, state)
    }

    /// Runs the job once, with waits so many times shorter.
    pub fn measure_at(
        time_factor: &str,
        name: &'static str,
        program: &Path,
        job: &Path,
        state: &Path,
    ) -> io::Result<Run> {
        let began = Instant::now();
        let mut child = Command::new(program)
            .arg("run")
            .arg(job)
            .args(["--format", "json", "--log-format", "json"])
            .env(SECRET_VARIABLE, CLIENT_SECRET)
            .env("ENTRA_IMPORT_STATE", state)
            .env("ENTRA_IMPORT_TIME_FACTOR", time_factor)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::other(format!("cannot start {}: {error}", program.display())))?;
        let memory = Memory::of(child.id());
        let ended = AtomicBool::new(false);
        let (mut stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut steps = Vec::new();
        let mut text = String::new();
        let peak_kb = thread::scope(|scope| {
            let watch = scope.spawn(|| memory.watch(&ended));
            let printed = scope.spawn(|| stdout.as_mut().map_or(Ok(0), |stdout| stdout.read_to_string(&mut text)));
            let read = stderr.map_or(Ok(()), |stderr| read_log(stderr, &memory, &mut steps));
            ended.store(true, Ordering::Relaxed);
            let peak = watch.join().unwrap_or_default();
            printed.join().unwrap_or(Ok(0)).and(read).map(|()| peak)
        })?;
        let status = child.wait()?;
        let wall = began.elapsed();
        let outcome: Value = serde_json::from_str(&text)
            .map_err(|error| io::Error::other(format!("{name} ended with {status}, and {error}: {text}")))?;
        let peak_kb = steps.iter().map(|step: &Step| step.peak_kb).fold(peak_kb, u64::max);
        let done = outcome["totals"]["done"].as_object().into_iter().flatten();
        let done = done.map(|(action, count)| (action.clone(), count.as_u64().unwrap_or_default())).collect();
        let exit = status.code().unwrap_or(-1);
        Ok(Run { name, wall, steps, peak_kb, exit, done, asked: Asked::default() })
    }

    /// Records written to the target; what concerns the ledger alone is not one.
    pub fn written(&self) -> u64 {
        self.done.iter().filter(|(action, _)| !matches!(action.as_str(), "settle" | "forget")).map(|(_, n)| n).sum()
    }

    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }
}

/// Reads the log to its end; what is no step goes on to stderr.
fn read_log(log: impl Read, memory: &Memory, steps: &mut Vec<Step>) -> io::Result<()> {
    for line in BufReader::new(log).lines() {
        let line = line?;
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        let (Some(name), Some(took_ms)) = (event["step"].as_str(), event["took_ms"].as_u64()) else {
            eprintln!("{line}");
            continue;
        };
        let (took, peak_kb) = (Duration::from_millis(took_ms), memory.take_peak());
        match steps.iter_mut().find(|step| step.name == name) {
            Some(step) => {
                step.took += took;
                step.peak_kb = step.peak_kb.max(peak_kb);
            }
            None => steps.push(Step { name: name.to_string(), took, peak_kb }),
        }
    }
    Ok(())
}

/// The memory of a process, as Linux tells it.
pub struct Memory {
    process: String,
}

impl Memory {
    pub fn of(process: u32) -> Memory {
        Memory { process: format!("/proc/{process}") }
    }

    /// The highest peak seen until the run ended.
    pub fn watch(&self, ended: &AtomicBool) -> u64 {
        let mut peak = 0;
        while !ended.load(Ordering::Relaxed) {
            peak = peak.max(self.peak_kb());
            thread::sleep(LOOK_EVERY);
        }
        peak
    }

    /// Zero once the process is gone.
    fn peak_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("{}/status", self.process)).unwrap_or_default();
        kilobytes(&status, "VmHWM:").unwrap_or_default()
    }

    /// The peak since the last call: 5 in `clear_refs` sets it back to what is resident now
    /// (<https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html>).
    fn take_peak(&self) -> u64 {
        let peak = self.peak_kb();
        // A kernel that refuses leaves peaks that only grow.
        let _ = fs::write(format!("{}/clear_refs", self.process), "5");
        peak
    }
}

/// The number behind a name in the style of `/proc`.
pub fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
