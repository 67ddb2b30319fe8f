//! Glyphs and colours: a state is a glyph, a word and a colour, never colour alone.

use std::fmt::Display;

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
    /// Returns the text in the tone's colour. `anstream` drops the codes where the terminal has no colours.
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
            | "SyncFailed" => ("✖", "x", Tone::Bad),
            "Error" | "ReplicaFailure" | "OutOfSync" => ("⚠", "!", Tone::Waiting),
            "ScaledDown" | "Terminating" => ("•", "-", Tone::Quiet),
            _ => ("?", "?", Tone::Waiting),
        };
        (format!("{} {word}", if self.ascii { plain } else { glyph }), tone)
    }
}
