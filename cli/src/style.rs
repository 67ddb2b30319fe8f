//! Glyphs and colours: a state is a glyph, a word and a colour, never colour alone.

use std::fmt::Display;

use anstream::{AutoStream, ColorChoice};

use crate::arguments::LookArguments;

/// How to draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Style {
    pub(crate) color: bool,
    pub(crate) ascii: bool,
}

/// A meaning that a colour may support.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    Good,
    Busy,
    Waiting,
    Bad,
    Quiet,
}

impl Style {
    /// Returns how to draw on standard output: without colours where nobody sees them or nobody wants them (`--no-color`,
    /// NO_COLOR, `TERM=dumb`, no terminal).
    pub(crate) fn of(look: LookArguments) -> Self {
        let is_wanted = AutoStream::choice(&std::io::stdout()) != ColorChoice::Never;
        Self { color: is_wanted && !look.no_color, ascii: look.ascii }
    }

    /// Returns the text in the tone's colour.
    pub(crate) fn paint(self, tone: Tone, text: impl Display) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Busy => "34",
            Tone::Waiting => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
        };
        let text = text.to_string();
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
    }

    /// Returns glyph and word of an AnalysisRun's phase: `Running` is work in progress there, not a good end.
    pub(crate) fn run_state(self, word: &str) -> (String, Tone) {
        match word {
            "Running" => (format!("{} {word}", if self.ascii { "o" } else { "◌" }), Tone::Busy),
            _ => self.state(word),
        }
    }

    /// Returns glyph and word of a phase or Pod state.
    pub(crate) fn state(self, word: &str) -> (String, Tone) {
        let (glyph, plain, tone) = match word {
            "Healthy" | "Running" | "Successful" | "Completed" | "Synced" | "Succeeded" => {
                ("✔", "+", Tone::Good)
            }
            "Progressing" | "Syncing" => ("◌", "o", Tone::Busy),
            "Pending" | "ContainerCreating" | "PodInitializing" => ("◷", ".", Tone::Busy),
            "Paused" | "Suspended" => ("॥", "=", Tone::Waiting),
            "Degraded" | "Failed" | "CrashLoopBackOff" | "ErrImagePull" | "ImagePullBackOff"
            | "InvalidImageName" | "OOMKilled" | "Evicted" | "SyncFailed" => ("✖", "x", Tone::Bad),
            "Error" | "ReplicaFailure" | "OutOfSync" => ("⚠", "!", Tone::Waiting),
            "ScaledDown" | "Terminating" => ("•", "-", Tone::Quiet),
            _ if is_one_of(word, &["Signal:", "ExitCode:"]) || word.ends_with("Error") => {
                ("✖", "x", Tone::Bad)
            }
            _ if word.starts_with("Init:") && word.ends_with("BackOff") => ("✖", "x", Tone::Bad),
            _ if word.starts_with("Init:") => ("◌", "o", Tone::Busy),
            _ => ("?", "?", Tone::Waiting),
        };
        (format!("{} {word}", if self.ascii { plain } else { glyph }), tone)
    }
}

fn is_one_of(word: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| word.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_a_glyph_a_word_and_a_tone() {
        let style = Style { color: false, ascii: false };
        for (word, shown, tone) in [
            ("Healthy", "✔ Healthy", Tone::Good),
            ("Init:0/1", "◌ Init:0/1", Tone::Busy),
            ("Init:Error", "✖ Init:Error", Tone::Bad),
            ("Init:CrashLoopBackOff", "✖ Init:CrashLoopBackOff", Tone::Bad),
            ("ExitCode:1", "✖ ExitCode:1", Tone::Bad),
            ("CreateContainerConfigError", "✖ CreateContainerConfigError", Tone::Bad),
            ("Error", "⚠ Error", Tone::Waiting),
            ("Whatever", "? Whatever", Tone::Waiting),
        ] {
            assert_eq!(style.state(word), (shown.to_owned(), tone));
            assert!(Style { ascii: true, ..style }.state(word).0.is_ascii());
        }
    }
}
