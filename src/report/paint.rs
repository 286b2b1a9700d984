//! Colour, by what a piece of text means.
//!
//! Hides which colour that is. Deliberately does not ask where it is allowed: [`super::Colour`] says so.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

/// What a piece of text means, for colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    Strong,
    Good,
    Update,
    Adopt,
    Bad,
    Quiet,
}

/// Puts colour on text, or does not.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    pub on: bool,
}

impl Paint {
    /// The text in its colour.
    pub fn text(self, tone: Tone, text: impl Display) -> String {
        if !self.on {
            return text.to_string();
        }
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        let style = match tone {
            Tone::Strong => Style::new().bold(),
            Tone::Good => colour(AnsiColor::Green),
            Tone::Update => colour(AnsiColor::Yellow),
            Tone::Adopt => colour(AnsiColor::Cyan),
            Tone::Bad => colour(AnsiColor::Red).bold(),
            Tone::Quiet => Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }
}
