//! The simulator as a process, and its control line.

use std::io::{self, BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::Sizes;

/// What the job signs in with.
pub const CLIENT_ID: &str = "a2d1f6c8-4b8e-4c0e-9d5f-1f0b7c3e5a90";
pub const CLIENT_SECRET: &str = "bench";

/// Every right there is to read with: gaps are not what is measured.
const ROLES: &str = "Directory.Read.All,Device.Read.All,Member.Read.Hidden";

/// A running simulator; it ends when this is dropped, because its stdin does.
pub struct Sim {
    pub address: String,
    child: Child,
    commands: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What the simulator was asked for during one run.
#[derive(Clone, Copy, Default)]
pub struct Asked {
    /// To Graph; tokens are not counted.
    pub requests: u64,
    pub units: u64,
    pub bytes: u64,
    pub in_flight: u64,
    /// Refused with 429.
    pub throttled: u64,
}

impl Sim {
    /// Starts one with `more` arguments.
    pub fn start(program: &Path, sizes: &Sizes, more: &[&str]) -> io::Result<Sim> {
        let mut command = Command::new(program);
        command
            .args(["--control", "--roles", ROLES, "--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET])
            .arg(format!("--users={}", sizes.users))
            .arg(format!("--groups={}", sizes.groups))
            .arg(format!("--memberships={}", sizes.memberships))
            .arg(format!("--devices={}", sizes.devices))
            .arg(format!("--large-percent={}", sizes.large_percent))
            .args(more);
        Sim::of(command, "graph-sim: ")
    }

    /// Starts a simulated Assets with `more` arguments.
    pub fn assets(program: &Path, more: &[&str]) -> io::Result<Sim> {
        let mut command = Command::new(program);
        command.args(["--control", "--token", CLIENT_SECRET]).args(more);
        Sim::of(command, "jsm-sim: ")
    }

    /// Starts a simulator, which prints its address behind a name.
    fn of(mut command: Command, name: &str) -> io::Result<Sim> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|error| io::Error::other(format!("cannot start {command:?}: {error}")))?;
        let commands = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("the simulator has no stdout"))?;
        let mut sim = Sim { address: String::new(), child, commands, answers: BufReader::new(stdout).lines() };
        let ready = sim.answer()?;
        let address = ready.strip_prefix(name).ok_or_else(|| io::Error::other(ready.clone()))?;
        sim.address = address.to_string();
        Ok(sim)
    }

    /// What was asked for since the last time this was called.
    pub fn counters(&mut self) -> io::Result<Asked> {
        let counters = self.ask("counters")?;
        let number = |name: &str| counters[name].as_u64().unwrap_or_default();
        Ok(Asked {
            requests: number("graph"),
            units: number("units"),
            bytes: number("bytes"),
            in_flight: number("peak_in_flight"),
            throttled: number("throttled"),
        })
    }

    /// Lets a night pass; returns how many changes it brought.
    pub fn night(&mut self, share: f64) -> io::Result<u64> {
        let answer = self.ask(&format!("night {share}"))?;
        answer["changes"].as_u64().ok_or_else(|| io::Error::other(answer.to_string()))
    }

    pub fn ask(&mut self, command: &str) -> io::Result<Value> {
        if let Some(commands) = &mut self.commands {
            writeln!(commands, "{command}")?;
        }
        Ok(serde_json::from_str(&self.answer()?)?)
    }

    fn answer(&mut self) -> io::Result<String> {
        self.answers.next().unwrap_or_else(|| Err(io::Error::other("the simulator ended")))
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        drop(self.commands.take());
        // It ends by itself now; how it ended does not matter any more.
        let _ = self.child.wait();
    }
}
