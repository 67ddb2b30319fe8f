//! What lies below the axis: what colours and forms mean, what people did, and the steps where their lane had no room for words.

use sluice_sim::simulate::{EventKind, Outcome, Timeline};

use super::lanes::has_experiment;
use super::{
    BAD, GOOD, INK, LEFT, LINE, MUTED, NEW, OLD_LINE, Picture, RIGHT, TRIAL, UNSURE, WIDTH, cut,
    escaped, f, length, wrapped,
};

/// A moment that is marked through all lanes.
pub(super) struct Mark {
    at: f64,
    color: &'static str,
    said: String,
}

/// Returns what people did, and how it ended.
pub(super) fn marks(timeline: &Timeline) -> Vec<Mark> {
    let users = timeline.events.iter().filter(|event| event.kind == EventKind::User).skip(1);
    let mut marks: Vec<Mark> = users
        .map(|event| {
            let is_person = !event.text.starts_with("a Pod ");
            let who = if is_person { "somebody " } else { "" };
            let said = cut(&format!("{who}{}", event.text), 60);
            Mark { at: event.at_seconds, color: UNSURE, said }
        })
        .collect();
    let end = match &timeline.outcome {
        Outcome::Promoted { at_seconds } => Some((*at_seconds, GOOD, "promoted")),
        Outcome::Aborted { at_seconds, .. } => Some((*at_seconds, BAD, "aborted")),
        Outcome::Paused { .. }
        | Outcome::Stuck { .. }
        | Outcome::Invalid { .. }
        | Outcome::NotInstalled { .. }
        | Outcome::Unfinished { .. }
        | Outcome::Violation { .. } => None,
    };
    marks.extend(end.map(|(at, color, said)| Mark { at, color, said: said.to_owned() }));
    marks
}

impl Picture {
    pub(super) fn marks(&mut self, marks: &[Mark], top: f64, bottom: f64) {
        for Mark { at, color, said } in marks {
            let x = self.x(*at);
            self.line(format_args!(
                r#"<path d="M{} {}V{}" stroke="{color}" stroke-dasharray="3 3"><title>{}</title></path>"#,
                f(x),
                f(top),
                f(bottom),
                escaped(said)
            ));
        }
    }

    pub(super) fn legend(&mut self, timeline: &Timeline, marks: &[Mark]) {
        self.colors(timeline);
        if timeline.analysis.iter().any(|run| !run.measurements.is_empty()) {
            self.forms();
        }
        if !marks.is_empty() {
            self.moments(marks);
        }
        if self.lacks_words {
            self.list(timeline);
        }
    }

    fn colors(&mut self, timeline: &Timeline) {
        let y = self.y;
        let mut entries = vec![(NEW, "new version"), (OLD_LINE, "former version")];
        if has_experiment(timeline) {
            entries.push((TRIAL, "experiment"));
        }
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
    }

    fn forms(&mut self) {
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

    fn moments(&mut self, marks: &[Mark]) {
        let mut x = LEFT;
        self.y += 20.0;
        for Mark { at, color, said } in marks {
            let text = format!("{} {said}", length(*at));
            let width = 7.0 * f64::from(u32::try_from(text.chars().count()).unwrap_or(u32::MAX));
            if x > LEFT && x + 17.0 + width > WIDTH - RIGHT {
                (x, self.y) = (LEFT, self.y + LINE);
            }
            let y = self.y;
            self.line(format_args!(
                r#"<path d="M{} {}v12" stroke="{color}" stroke-width="2" stroke-dasharray="3 2"/><text x="{}" y="{}" fill="{INK}">{}</text>"#,
                f(x + 5.0),
                f(y - 10.0),
                f(x + 17.0),
                f(y),
                escaped(&text)
            ));
            x += 17.0 + width + 20.0;
        }
    }

    fn list(&mut self, timeline: &Timeline) {
        // Spaces that do not break keep a step in one line.
        let steps = timeline.steps.iter().enumerate();
        let steps = steps
            .map(|(index, step)| format!("{} {}", index + 1, step.text).replace(' ', "\u{a0}"));
        let text = steps.collect::<Vec<_>>().join(" · ").replace(" · ", "\u{a0}· ");
        self.y += 4.0;
        for (number, line) in wrapped(&text, 112, 12).into_iter().enumerate() {
            self.y += LINE;
            if number == 0 {
                self.name(self.y, "Steps");
            }
            self.line(format_args!(
                r#"<text x="{}" y="{}" fill="{MUTED}">{}</text>"#,
                f(LEFT),
                f(self.y),
                escaped(&line)
            ));
        }
    }
}
