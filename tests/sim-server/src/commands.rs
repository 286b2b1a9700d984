//! Lines on stdin, for simulators that run as programs.

use std::io;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The lines of stdin as they come, until it ends.
pub fn commands() -> UnboundedReceiver<String> {
    let (lines, commands) = unbounded_channel();
    // Reading stdin blocks, and nothing can call it off: a thread that nobody waits for.
    std::thread::spawn(move || io::stdin().lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    commands
}
