//! Messages while a run is under way: one line each on stderr, for people or as JSON.
//!
//! Hides the tracing subscriber. Only this program's own messages are let through below the level of a warning,
//! whatever is asked for: libraries that log requests would log tokens with them. Deliberately has no log file and
//! never writes to stdout.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{PoisonError, RwLock};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::Colour;
use super::paint::{Paint, Tone};
use super::progress::Progress;
use crate::plan::file::json_line;
use crate::visible::visible;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// One line for people
    #[default]
    Text,
    /// One JSON object a line, with the run's id
    Json,
}

/// What is said, and how.
#[derive(Clone, Copy, Default)]
pub struct Voice {
    pub format: LogFormat,
    /// From 0: how much more than usual.
    pub verbose: u8,
    /// Errors alone.
    pub quiet: bool,
    pub colour: Colour,
}

/// What lines about progress are sent to.
pub const PROGRESS: &str = concat!(env!("CARGO_CRATE_NAME"), "::progress");

/// The run at work, for JSON lines. There is one log in a process, and one run at a time.
static RUN: RwLock<String> = RwLock::new(String::new());

/// From here on JSON lines carry this run's id; the empty one takes it away.
pub fn set_run(id: &str) {
    *RUN.write().unwrap_or_else(PoisonError::into_inner) = id.to_string();
}

/// Sends all messages of this process to stderr, beside the bars of `progress`. Once per process; a second call is an
/// error.
/// `tells_progress` has text say now and then how far a step has come, where no bars show it: cron would mail such lines.
pub fn start(voice: Voice, tells_progress: bool, progress: Progress) -> Result<(), TryInitError> {
    let lines = Lines {
        format: voice.format,
        paint: Paint { on: voice.format == LogFormat::Text && voice.colour.for_stderr() },
        progress,
    };
    let own = Targets::new()
        .with_default(LevelFilter::WARN)
        // Its doubts about a certificate come back as an error, which is told in words for people.
        .with_target("rustls_platform_verifier", LevelFilter::OFF)
        .with_target(env!("CARGO_CRATE_NAME"), level(voice))
        .with_target(PROGRESS, if tells_progress && !voice.quiet { LevelFilter::INFO } else { level(voice) });
    tracing_subscriber::registry().with(lines.with_filter(own)).try_init()
}

/// Text tells warnings only unless more is asked for, because cron mails every line; JSON is asked for by those who
/// collect logs, and starts one level lower.
fn level(voice: Voice) -> LevelFilter {
    let base = u8::from(voice.format == LogFormat::Json);
    match (voice.quiet, base.saturating_add(voice.verbose)) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, 3..) => LevelFilter::TRACE,
    }
}

/// Writes each event as one line.
struct Lines {
    format: LogFormat,
    paint: Paint,
    progress: Progress,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (now, level) = (Timestamp::now(), *event.metadata().level());
        let line = match self.format {
            LogFormat::Text => text_line(level, &fields, self.paint),
            LogFormat::Json => json_event(now, level, &RUN.read().unwrap_or_else(PoisonError::into_inner), fields),
        };
        // When stderr is gone there is nobody left to tell, and a log must not end a run.
        let _ = self.progress.write_beside(line.as_bytes());
    }
}

fn text_line(level: Level, fields: &Fields, paint: Paint) -> String {
    let mut line = match level {
        Level::ERROR => paint.text(Tone::Bad, "error: "),
        Level::WARN => paint.text(Tone::Update, "warning: "),
        _ => String::new(),
    };
    line.push_str(&visible(&fields.message));
    for (name, value) in &fields.others {
        let plain = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        // Writing to a String cannot fail.
        let _ = write!(line, " {name}={}", visible(&plain));
    }
    line.push('\n');
    line
}

fn json_event(now: Timestamp, level: Level, run: &str, fields: Fields) -> String {
    let level = level.as_str().to_lowercase();
    let object = JsonEvent { time: now, level, run, message: fields.message, others: fields.others };
    let mut line = Vec::new();
    // Texts and numbers can always be written.
    let _ = json_line(&object, &mut line);
    line.push(b'\n');
    String::from_utf8_lossy(&line).into_owned()
}

/// One line of the JSON log. The first four names are the same on every line.
#[derive(Serialize)]
struct JsonEvent<'a> {
    time: Timestamp,
    level: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    run: &'a str,
    message: String,
    #[serde(flatten)]
    others: BTreeMap<&'static str, Value>,
}

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    others: BTreeMap<&'static str, Value>,
}

impl Fields {
    fn take(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.others.insert(name, value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        Fields {
            message: "group \u{1b}[31mVPN\nerror: forged".to_string(),
            others: BTreeMap::from([("done", 3.into()), ("step", "use\u{202e}rs".into())]),
        }
    }

    #[test]
    fn a_message_is_one_line_without_terminal_control() {
        let line = text_line(Level::WARN, &fields(), Paint { on: false });
        assert_eq!(line, "warning: group \\u{1b}[31mVPN\\nerror: forged done=3 step=use\\u{202e}rs\n");
        let line = json_event(Timestamp::UNIX_EPOCH, Level::INFO, "r1", fields());
        assert_eq!(
            line,
            "{\"time\":\"1970-01-01T00:00:00Z\",\"level\":\"info\",\"run\":\"r1\",\
             \"message\":\"group \\u001b[31mVPN\\nerror: forged\",\"done\":3,\"step\":\"use\\u202ers\"}\n"
        );
    }

    #[test]
    fn a_quiet_night_is_quiet_and_libraries_stay_so() {
        let voice = |format, verbose, quiet| Voice { format, verbose, quiet, ..Voice::default() };
        assert_eq!(level(voice(LogFormat::Text, 0, false)), LevelFilter::WARN);
        assert_eq!(level(voice(LogFormat::Text, 1, false)), LevelFilter::INFO);
        assert_eq!(level(voice(LogFormat::Text, 9, false)), LevelFilter::TRACE);
        assert_eq!(level(voice(LogFormat::Json, 0, false)), LevelFilter::INFO);
        assert_eq!(level(voice(LogFormat::Json, 0, true)), LevelFilter::ERROR);
    }
}
