//! A played update as a picture: traffic, steps, Pods and analysis over time.
//!
//! The text is the same on every machine: plain arithmetic, one decimal, no measuring of fonts.

use std::fmt::{Display, Write as _};

use sluice_sim::simulate::{EventKind, Outcome, Sample, Timeline};

use super::text::{bare, length, summary};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 24.0;
const TRAFFIC: f64 = 140.0;
const PODS: f64 = 90.0;
const LANE: f64 = 22.0;
const GAP: f64 = 26.0;

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

/// Draws the picture.
pub(super) fn draw(timeline: &Timeline) -> String {
    let mut picture = Picture { out: String::new(), y: 84.0, end: span(timeline) };
    picture.traffic(timeline);
    if !timeline.steps.is_empty() {
        picture.steps(timeline);
    }
    picture.pods(timeline);
    picture.analysis(timeline);
    let bottom = picture.y;
    picture.axis(bottom);
    picture.marks(timeline, bottom);
    picture.y += 44.0;
    picture.legend(timeline);
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
    let _ = writeln!(text, "<title>{}: {}</title>", escaped(&title), escaped(&ending(timeline)));
    let _ = writeln!(text, r##"<rect width="100%" height="100%" fill="#ffffff"/>"##);
    text.push_str(&head(timeline, &title));
    text.push_str(&picture.out);
    text.push_str("</svg>\n");
    text
}

/// The shown time: some seconds at least, and a little room after the last thing.
fn span(timeline: &Timeline) -> f64 {
    (timeline.end_seconds * 1.02).max(5.0)
}

fn head(timeline: &Timeline, title: &str) -> String {
    let mut text = String::new();
    let line = format!("{} → {}; {}", timeline.before, timeline.after, summary(timeline));
    let (color, words) = (tone(&timeline.outcome), ending(timeline));
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
    let _ = writeln!(
        text,
        r#"<text x="24" y="66" font-weight="600" fill="{color}">{}</text>"#,
        escaped(&cut(&words, 120))
    );
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
}

impl Picture {
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

    fn traffic(&mut self, timeline: &Timeline) {
        let (top, bottom) = (self.y, self.y + TRAFFIC);
        self.name(top + 12.0, "Traffic");
        let width = WIDTH - LEFT - RIGHT;
        self.line(format_args!(
            r#"<rect x="{}" y="{}" width="{}" height="{}" fill="{OLD}"/>"#,
            f(LEFT),
            f(top),
            f(width),
            f(TRAFFIC)
        ));
        if !timeline.samples.is_empty() {
            let y = |sample: &Sample| bottom - TRAFFIC * f64::from(sample.weight) / 100.0;
            let path = self.stairs(&timeline.samples, y);
            self.line(format_args!(
                r#"<path d="{path}V{}H{}Z" fill="{NEW}"/>"#,
                f(bottom),
                f(LEFT)
            ));
        }
        for percent in [0.0, 50.0, 100.0] {
            let y = bottom - TRAFFIC * percent / 100.0;
            self.label(y + 4.0, &format!("{percent} %"));
            self.rule(y);
        }
        self.y = bottom + GAP;
    }

    fn steps(&mut self, timeline: &Timeline) {
        let top = self.y - 10.0;
        self.name(top + 15.0, "Steps");
        let total = timeline.steps.len();
        let mut begin: Option<(usize, f64)> = None;
        let mut spans: Vec<(usize, f64, f64)> = Vec::new();
        // After an abort the status begins with the first step again, but nobody is on the way.
        let step_of = |sample: &Sample| sample.step.filter(|_| sample.phase != "Degraded");
        let ends = timeline.samples.iter().skip(1);
        let ends = ends.map(|sample| (step_of(sample), sample.at_seconds));
        for (step, at) in ends.chain([(None, self.end)]) {
            let step = step.and_then(|step| usize::try_from(step).ok()).filter(|s| *s < total);
            if begin.map(|(known, _)| known) != step {
                spans.extend(begin.map(|(known, since)| (known, since, at)));
                begin = step.map(|step| (step, at));
            }
        }
        for (step, since, until) in spans {
            let (x, width) = (self.x(since), self.x(until) - self.x(since));
            let fill = if timeline.steps[step].waits_for_person { "#fde68a" } else { "#dbeafe" };
            self.line(format_args!(
                r##"<rect x="{}" y="{}" width="{}" height="{LANE}" fill="{fill}" stroke="#ffffff"/>"##,
                f(x),
                f(top),
                f(width.max(1.0))
            ));
            // About seven units for each character; the number alone if there is no more room.
            let words = format!("{} {}", step + 1, timeline.steps[step].text);
            let number = (step + 1).to_string();
            let room = |text: &str| {
                7.0 * f64::from(u32::try_from(text.chars().count()).unwrap_or(u32::MAX))
            };
            let shown = [words, number].into_iter().find(|text| room(text) + 6.0 <= width);
            if let Some(shown) = shown {
                self.line(format_args!(
                    r#"<text x="{}" y="{}" fill="{INK}">{}</text>"#,
                    f(x + 4.0),
                    f(top + 15.0),
                    escaped(&shown)
                ));
            }
        }
        self.y = top + LANE + GAP - 8.0;
    }

    fn pods(&mut self, timeline: &Timeline) {
        let (top, bottom) = (self.y, self.y + PODS);
        self.name(top + 12.0, "Pods");
        let sizes = timeline.samples.iter().flat_map(|sample| {
            [sample.new.wanted, sample.old.wanted, sample.new.available, sample.old.available]
        });
        let most = sizes.chain([timeline.replicas, 1]).max().unwrap_or(1);
        let y_of = |count: u32| bottom - PODS * f64::from(count) / f64::from(most);
        for count in [0, most] {
            self.label(y_of(count) + 4.0, &count.to_string());
            self.rule(y_of(count));
        }
        if !timeline.samples.is_empty() {
            let samples = &timeline.samples;
            let lines = [
                (self.stairs(samples, |s| y_of(s.old.wanted)), OLD_LINE, "1", "4 3"),
                (self.stairs(samples, |s| y_of(s.old.available)), OLD_LINE, "2.5", "none"),
                (self.stairs(samples, |s| y_of(s.new.wanted)), NEW, "1", "4 3"),
                (self.stairs(samples, |s| y_of(s.new.available)), NEW, "2.5", "none"),
            ];
            for (path, color, width, dash) in lines {
                self.line(format_args!(
                    r#"<path d="{path}" fill="none" stroke="{color}" stroke-width="{width}" stroke-dasharray="{dash}"/>"#
                ));
            }
        }
        self.y = bottom + GAP;
    }

    fn analysis(&mut self, timeline: &Timeline) {
        let mut names: Vec<&str> = Vec::new();
        for measurement in timeline.analysis.iter().flat_map(|run| &run.measurements) {
            if !names.contains(&measurement.metric.as_str()) {
                names.push(&measurement.metric);
            }
        }
        if names.is_empty() {
            return;
        }
        self.y -= 8.0;
        let first = self.y;
        for name in names {
            let middle = self.y + LANE / 2.0;
            self.label(middle + 4.0, name);
            let runs = timeline.analysis.iter();
            for run in runs.filter(|run| run.measurements.iter().any(|m| m.metric == name)) {
                let end = run.ended_seconds.unwrap_or(self.end);
                let (from, to) = (self.x(run.started_seconds), self.x(end));
                self.line(format_args!(
                    r##"<path d="M{} {}H{}" stroke="#94a3b8" stroke-width="2"/>"##,
                    f(from),
                    f(middle),
                    f(to)
                ));
                for measurement in run.measurements.iter().filter(|m| m.metric == name) {
                    let x = self.x(measurement.at_seconds);
                    let said = format!("{}: {}", measurement.value, measurement.phase);
                    self.dot(x, middle, &measurement.phase, &said);
                }
            }
            self.y += LANE;
        }
        self.name(first - 2.0, "Analysis");
        self.y += GAP - 12.0;
    }

    /// Phases differ in form as well as in colour.
    fn dot(&mut self, x: f64, y: f64, phase: &str, said: &str) {
        let (x0, x1, y0, y1) = (x - 4.5, x + 4.5, y - 4.5, y + 4.5);
        let said = escaped(said);
        let form = match phase {
            "Successful" => {
                format!(r#"<circle cx="{}" cy="{}" r="4" fill="{GOOD}">"#, f(x), f(y))
            }
            "Failed" => format!(
                r#"<path d="M{} {}L{} {}M{} {}L{} {}" stroke="{BAD}" stroke-width="3">"#,
                f(x0),
                f(y0),
                f(x1),
                f(y1),
                f(x0),
                f(y1),
                f(x1),
                f(y0)
            ),
            "Inconclusive" => format!(
                r#"<rect x="{}" y="{}" width="8" height="8" fill="{UNSURE}">"#,
                f(x - 4.0),
                f(y - 4.0)
            ),
            _ => format!(
                r#"<path d="M{} {}L{} {}L{} {}Z" fill="{WAIT}">"#,
                f(x),
                f(y0),
                f(x1),
                f(y1),
                f(x0),
                f(y1)
            ),
        };
        let name = form[1..].split(' ').next().unwrap_or("path").to_owned();
        self.line(format_args!("{form}<title>{said}</title></{name}>"));
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

    /// What people did, and how it ended.
    fn marks(&mut self, timeline: &Timeline, bottom: f64) {
        let users = timeline.events.iter().filter(|event| event.kind == EventKind::User).skip(1);
        let mut marks: Vec<(f64, &str, String)> =
            users.map(|event| (event.at_seconds, UNSURE, event.text.clone())).collect();
        match &timeline.outcome {
            Outcome::Promoted { at_seconds } => marks.push((*at_seconds, GOOD, "promoted".into())),
            Outcome::Aborted { at_seconds, .. } => marks.push((*at_seconds, BAD, "aborted".into())),
            Outcome::Paused { .. }
            | Outcome::Stuck { .. }
            | Outcome::Invalid { .. }
            | Outcome::NotInstalled { .. }
            | Outcome::Unfinished { .. }
            | Outcome::Violation { .. } => {}
        }
        for (at, color, said) in marks {
            let x = self.x(at);
            self.line(format_args!(
                r#"<path d="M{} 80V{}" stroke="{color}" stroke-dasharray="3 3"><title>{}</title></path>"#,
                f(x),
                f(bottom),
                escaped(&said)
            ));
        }
    }

    fn legend(&mut self, timeline: &Timeline) {
        let y = self.y;
        let entries = [(NEW, "new version"), (OLD_LINE, "former version")];
        let mut x = LEFT;
        for (color, text) in entries {
            self.line(format_args!(
                r#"<rect x="{}" y="{}" width="11" height="11" fill="{color}"/><text x="{}" y="{}" fill="{INK}">{text}</text>"#,
                f(x),
                f(y - 10.0),
                f(x + 17.0),
                f(y)
            ));
            x += 130.0;
        }
        self.line(format_args!(
            r#"<text x="{}" y="{}" fill="{MUTED}">Pods: solid is available, dashed is wanted</text>"#,
            f(x),
            f(y)
        ));
        if timeline.analysis.iter().any(|run| !run.measurements.is_empty()) {
            let forms = [
                ("Successful", "passes"),
                ("Failed", "fails"),
                ("Inconclusive", "inconclusive"),
                ("Error", "error"),
            ];
            let mut x = LEFT;
            self.y += 20.0;
            let y = self.y;
            for (phase, text) in forms {
                self.dot(x + 5.0, y - 4.5, phase, text);
                self.line(format_args!(
                    r#"<text x="{}" y="{}" fill="{INK}">{text}</text>"#,
                    f(x + 17.0),
                    f(y)
                ));
                x += 110.0;
            }
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
