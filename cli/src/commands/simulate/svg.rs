//! A played update as a picture: traffic, steps, routes, Pods and analysis over time.
//!
//! The text is the same on every machine: plain arithmetic, one decimal, no measuring of fonts.

use std::fmt::{Display, Write as _};

use sluice_sim::simulate::{Outcome, Sample, Timeline};

use super::text::{bare, length, summary};

mod lanes;
mod legend;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 24.0;
const TRAFFIC: f64 = 140.0;
const PODS: f64 = 90.0;
const LANE: f64 = 22.0;
const GAP: f64 = 26.0;
const LINE: f64 = 17.0;

const INK: &str = "#0f172a";
const MUTED: &str = "#64748b";
const GRID: &str = "#e2e8f0";
const NEW: &str = "#2563eb";
const OLD: &str = "#cbd5e1";
const OLD_LINE: &str = "#64748b";
const GOOD: &str = "#15803d";
const BAD: &str = "#dc2626";
const WAIT: &str = "#b45309";
const UNSURE: &str = "#7c3aed";
const TRIAL: &str = "#0d9488";

/// Draws the picture.
pub(super) fn draw(timeline: &Timeline) -> String {
    let ending = ending(timeline);
    let shown = wrapped(&ending, 120, 2);
    let top = if shown.len() > 1 { 84.0 + LINE } else { 84.0 };
    let mut picture = Picture::new(top, span(timeline));
    picture.traffic(timeline);
    if timeline.steps.is_empty() {
        picture.phases(timeline);
    } else {
        picture.steps(timeline);
    }
    picture.routes(timeline);
    picture.pods(timeline);
    picture.analysis(timeline);
    let bottom = picture.y;
    picture.axis(bottom);
    let marks = legend::marks(timeline);
    picture.marks(&marks, top - 4.0, bottom);
    picture.y += 44.0;
    picture.legend(timeline, &marks);
    let height = picture.y + 12.0;
    let mut text = String::new();
    let _ = writeln!(
        text,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" width="{}" height="{}" role="img" font-family="system-ui, sans-serif" font-size="12">"#,
        f(WIDTH),
        f(height),
        f(WIDTH),
        f(height)
    );
    let title = format!("Rollout {}/{}", timeline.namespace, timeline.name);
    let _ = writeln!(text, "<title>{}: {}</title>", escaped(&title), escaped(&ending));
    let _ = writeln!(text, r##"<rect width="100%" height="100%" fill="#ffffff"/>"##);
    text.push_str(&head(timeline, &title, &shown));
    text.push_str(&picture.out);
    text.push_str("</svg>\n");
    text
}

/// The shown time: some seconds at least, and a little room after the last thing.
fn span(timeline: &Timeline) -> f64 {
    (timeline.end_seconds * 1.02).max(5.0)
}

fn head(timeline: &Timeline, title: &str, ending: &[String]) -> String {
    let mut text = String::new();
    let line = format!("{} → {}; {}", timeline.before, timeline.after, summary(timeline));
    let color = tone(&timeline.outcome);
    let _ = writeln!(
        text,
        r#"<text x="24" y="28" font-size="17" font-weight="600" fill="{INK}">{}</text>"#,
        escaped(title)
    );
    let _ = writeln!(
        text,
        r#"<text x="24" y="47" fill="{MUTED}">{}</text>"#,
        escaped(&cut(&line, 140))
    );
    let mut y = 66.0;
    for words in ending {
        let _ = writeln!(
            text,
            r#"<text x="24" y="{}" font-weight="600" fill="{color}">{}</text>"#,
            f(y),
            escaped(words)
        );
        y += LINE;
    }
    text
}

fn tone(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Promoted { .. } => GOOD,
        Outcome::Paused { .. } | Outcome::Unfinished { .. } => WAIT,
        Outcome::Aborted { .. }
        | Outcome::Stuck { .. }
        | Outcome::Invalid { .. }
        | Outcome::NotInstalled { .. }
        | Outcome::Violation { .. } => BAD,
    }
}

fn ending(timeline: &Timeline) -> String {
    match &timeline.outcome {
        Outcome::Promoted { at_seconds } => format!("promoted after {}", length(*at_seconds)),
        Outcome::Aborted { at_seconds, why } => {
            format!("aborted after {}: {}", length(*at_seconds), bare(why))
        }
        Outcome::Paused { at_seconds, why } => {
            format!("paused for ever since {}: {why}", length(*at_seconds))
        }
        Outcome::Stuck { why, .. } => format!("stuck: {why}"),
        Outcome::Invalid { .. } => "invalid: nothing of the Rollout is touched".to_owned(),
        Outcome::NotInstalled { why, .. } => {
            format!("the former version did not become healthy: {why}")
        }
        Outcome::Unfinished { why, .. } => format!("not finished: {why}"),
        Outcome::Violation { why } => format!("a bug of Sluice: {why}"),
    }
}

struct Picture {
    out: String,
    y: f64,
    end: f64,
    /// Whether there was no room for the words of a step.
    lacks_words: bool,
}

impl Picture {
    fn new(top: f64, end: f64) -> Self {
        Self { out: String::new(), y: top, end, lacks_words: false }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (seconds.max(0.0) / self.end).min(1.0)
    }

    fn line(&mut self, text: impl Display) {
        let _ = writeln!(self.out, "{text}");
    }

    fn label(&mut self, y: f64, text: &str) {
        let text = escaped(&cut(text, 21));
        self.line(format_args!(
            r#"<text x="{}" y="{}" text-anchor="end" fill="{MUTED}">{text}</text>"#,
            f(LEFT - 10.0),
            f(y)
        ));
    }

    fn name(&mut self, y: f64, text: &str) {
        self.line(format_args!(
            r#"<text x="24" y="{}" font-weight="600" fill="{INK}">{text}</text>"#,
            f(y)
        ));
    }

    fn rule(&mut self, y: f64) {
        let right = WIDTH - RIGHT;
        self.line(format_args!(
            r#"<path d="M{} {}H{}" stroke="{GRID}"/>"#,
            f(LEFT),
            f(y),
            f(right)
        ));
    }

    /// Returns the corners of a value over time, each held until the next.
    fn stairs(&self, samples: &[Sample], y: impl Fn(&Sample) -> f64) -> String {
        let mut path = String::new();
        for (index, sample) in samples.iter().enumerate() {
            let (x, y) = (self.x(sample.at_seconds), y(sample));
            let _ = match index {
                0 => write!(path, "M{} {}", f(x), f(y)),
                _ => write!(path, "H{}V{}", f(x), f(y)),
            };
        }
        let _ = write!(path, "H{}", f(WIDTH - RIGHT));
        path
    }

    fn axis(&mut self, y: f64) {
        self.rule(y);
        let step = tick(self.end);
        let mut at = 0.0;
        while at <= self.end {
            let x = self.x(at);
            self.line(format_args!(
                r#"<path d="M{} {}v5" stroke="{MUTED}"/><text x="{}" y="{}" text-anchor="middle" fill="{MUTED}">{}</text>"#,
                f(x),
                f(y),
                f(x),
                f(y + 18.0),
                length(at)
            ));
            at += step;
        }
    }
}

/// A round length of time that makes at most eight parts of the whole.
fn tick(end: f64) -> f64 {
    const ROUND: [f64; 17] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
        14400.0, 43200.0, 86400.0,
    ];
    let fits = |length: &&f64| end / **length <= 8.0;
    ROUND.iter().find(fits).copied().unwrap_or_else(|| (end / 8.0 / 86_400.0).ceil() * 86_400.0)
}

/// Writes a number with at most one decimal.
fn f(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Breaks text into lines of so many characters at most; the last line that there may be is cut.
fn wrapped(text: &str, width: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let fits = |line: &String| line.chars().count() + 1 + word.chars().count() <= width;
        let is_full = lines.len() == most;
        match lines.last_mut() {
            Some(line) if fits(line) || is_full => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| cut(line, width)).collect()
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Not allowed in XML, not even escaped.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
