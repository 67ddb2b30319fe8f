//! What is wrong with an object, said before anything acts on it: every problem, each with its field, and what to do.
//!
//! The functions here need nothing but the object; [`references`] holds the rules that look at other objects, and [`schema`]
//! those that the API server checks itself. What is legal but unwise is [`crate::advice`]; what is legal but not acted on yet is
//! [`crate::supported`].
//!
//! Source: the validation of Argo Rollouts (`InvalidSpec`) and of Argo CD (`InvalidSpecError`). Argo reports the first problem,
//! here all are reported. Deliberately stricter than Argo: a canary step has exactly one type (Argo notices some pairs only),
//! headers of a mirror route are checked like its path.

use std::fmt;

mod analysis;
mod app_project;
mod application;
mod application_set;
mod canary;
mod experiment;
mod field_path;
mod object;
pub mod references;
mod rollout;
mod routing;
pub mod schema;
mod steps;

pub use analysis::{analysis_run, analysis_template, metrics};
pub use app_project::app_project;
pub use application::application;
pub use application_set::application_set;
pub use experiment::experiment;
pub use field_path::FieldPath;
pub use object::object;
pub use rollout::{has_template, rollout};

/// One thing that is wrong with an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Problem {
    /// The field.
    pub path: FieldPath,
    /// What is wrong: what is there and what was wanted. Lowercase, no full stop.
    pub message: String,
    /// What to do about it, where that is not plain.
    pub hint: Option<String>,
}

impl Problem {
    /// Returns a problem without a hint.
    pub fn new(path: FieldPath, message: impl Into<String>) -> Self {
        Self { path, message: message.into(), hint: None }
    }

    /// Returns the problem with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `spec.strategy.canary.steps[2].setWeight: 120 is not in 0..=100`, without the hint.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Collects problems under a path.
#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
}

impl Findings {
    fn add(&mut self, path: FieldPath, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    fn hint(&mut self, path: FieldPath, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem::new(path, message).hint(hint));
    }

    /// Reports a number below `least`.
    fn at_least(&mut self, path: FieldPath, value: Option<impl Into<i64>>, least: i64) {
        if let Some(value) = value.map(Into::into)
            && value < least
        {
            self.add(path, format!("{value} is below {least}"));
        }
    }

    /// Reports an empty or missing text.
    fn required(&mut self, path: FieldPath, value: &str) {
        if value.trim().is_empty() {
            self.add(path, "required");
        }
    }

    /// Reports a word that is not one of `words`.
    fn one_of(&mut self, path: FieldPath, value: Option<&str>, words: &[&str]) {
        if let Some(value) = value
            && !words.contains(&value)
        {
            self.add(path, format!("`{value}` is not one of {}", listed(words)));
        }
    }

    /// Reports a text that is no Go duration.
    fn duration(&mut self, path: FieldPath, value: Option<&str>) {
        if let Some(text) = value
            && let Err(error) = crate::duration::parse(text)
        {
            self.hint(path, error.to_string(), "write it as `30s`, `5m` or `1h30m`");
        }
    }

    /// Reports names that occur twice, at their second place.
    fn unique<'a>(&mut self, names: impl IntoIterator<Item = (FieldPath, &'a str)>) {
        let mut seen = std::collections::BTreeSet::new();
        for (path, name) in names {
            if !name.is_empty() && !seen.insert(name) {
                self.add(path, format!("`{name}` is used twice"));
            }
        }
    }
}

/// Returns `` `a`, `b` and `c` ``.
fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".into(),
        [only] => only.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

fn is_set(text: Option<&String>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
