//! `lint FILE…`: everything that is wrong with manifests, without a cluster.

use std::borrow::Cow;
use std::io::Read as _;
use std::process::ExitCode;

use serde::Deserialize as _;
use serde_json::Value;
use sluice_crds::advice;
use sluice_crds::application::ApplicationSpec;
use sluice_crds::object::{Meta, ObjectRef};
use sluice_crds::rollout::RolloutSpec;
use sluice_crds::supported::{self, State};
use sluice_crds::validate::references::{Found, Lookup};
use sluice_crds::validate::{self, FieldPath, Problem};
use sluice_crds::yaml::{self, Document};

use crate::arguments::{Dialect, LintArguments};
use crate::failure::Failure;

/// Runs the command. Exits with 1 if there is an error; warnings alone do not fail.
pub(crate) fn run(lint: &LintArguments, dialect: Dialect) -> Result<ExitCode, Failure> {
    let names: Vec<&String> = lint.filename.iter().chain(&lint.files).collect();
    if names.is_empty() {
        return Err(Failure::new("lint: no file named").hint("kubectl sluice lint rollout.yaml"));
    }
    let mut files = Vec::new();
    for name in names {
        files.push((name.clone(), read(name)?));
    }
    let findings = check(&files);
    for finding in &findings {
        anstream::println!("{}", finding.shown());
    }
    let errors = findings.iter().filter(|f| f.is_error).count();
    if !findings.is_empty() {
        anstream::println!("{}", sum(errors, findings.len() - errors));
    } else if dialect == Dialect::Sluice {
        anstream::println!("nothing to find");
    }
    Ok(if errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read(name: &str) -> Result<String, Failure> {
    if name == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|e| Failure::new(format!("standard input: {e}")))?;
        return Ok(text);
    }
    std::fs::read_to_string(name).map_err(|e| Failure::new(format!("{name}: {e}")))
}

fn sum(errors: usize, warnings: usize) -> String {
    let count = |n: usize, word: &str| match n {
        1 => format!("1 {word}"),
        n => format!("{n} {word}s"),
    };
    match (errors, warnings) {
        (errors, 0) => count(errors, "error"),
        (0, warnings) => count(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}

/// One line of the output.
#[derive(Debug)]
struct Finding {
    place: String,
    text: String,
    hint: Option<String>,
    is_error: bool,
}

impl Finding {
    fn of(file: &str, document: &Document, problem: &Problem, is_error: bool) -> Self {
        let place = match document.place(&problem.path) {
            Some(place) => format!("{file}:{place}"),
            None => file.to_owned(),
        };
        let text = problem.to_string();
        Self { place, text, hint: problem.hint.clone(), is_error }
    }

    fn shown(&self) -> String {
        let kind = if self.is_error { "" } else { "warning: " };
        let mut text = format!("{}  {kind}{}", self.place, self.text);
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\n    hint: {hint}"));
        }
        text
    }
}

/// Checks files together: what one names may be in another.
fn check(files: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut documents = Vec::new();
    for (file, text) in files {
        match yaml::load(text) {
            Ok(found) => documents.extend(found.into_iter().map(|document| (file, document))),
            Err(error) => findings.push(Finding {
                place: error.place.map_or(file.clone(), |place| format!("{file}:{place}")),
                text: error.message,
                hint: None,
                is_error: true,
            }),
        }
    }
    let known = Known(documents.iter().map(|(_, document)| &document.value).collect());
    for (file, document) in &documents {
        let kind = document.value["kind"].as_str().unwrap_or_default();
        let api_version = document.value["apiVersion"].as_str().unwrap_or_default();
        if api_version != "argoproj.io/v1alpha1" {
            continue;
        }
        let Some(mut problems) = validate::object(&document.value) else {
            let path = FieldPath::root().field("kind");
            let problem = Problem::new(path, format!("`{kind}` is no kind of {api_version}"));
            findings.push(Finding::of(file, document, &problem, true));
            continue;
        };
        let advice = if problems.is_empty() { advise(kind, &document.value) } else { Vec::new() };
        problems.extend(references(kind, &document.value, &known));
        findings.extend(advice.iter().map(|p| Finding::of(file, document, p, false)));
        findings.extend(problems.iter().map(|p| Finding::of(file, document, p, true)));
        for (state, problem) in supported::not_acted_on(kind, &document.value) {
            let is_error = match state {
                State::Works => continue,
                State::Accepted => false,
                State::Refused => true,
            };
            findings.push(Finding::of(file, document, &problem, is_error));
        }
    }
    findings
}

/// What is wrong with a Rollout in view of the other objects of the same files.
fn references(kind: &str, object: &Value, known: &Known<'_>) -> Vec<Problem> {
    if kind != "Rollout" {
        return Vec::new();
    }
    let meta = Meta::deserialize(&object["metadata"]);
    let spec = RolloutSpec::deserialize(&object["spec"]);
    match (meta, spec) {
        (Ok(meta), Ok(spec)) => validate::references::rollout(&meta, &spec, known),
        // What cannot be read is reported by the rules of the object itself.
        (Err(_), _) | (_, Err(_)) => Vec::new(),
    }
}

/// What is legal but unwise.
fn advise(kind: &str, object: &Value) -> Vec<Problem> {
    let spec = &object["spec"];
    match kind {
        "Rollout" => RolloutSpec::deserialize(spec).map(|s| advice::rollout(&s)),
        "Application" => ApplicationSpec::deserialize(spec).map(|s| advice::application(&s)),
        _ => return Vec::new(),
    }
    .unwrap_or_default()
}

/// The objects of the same files. What is not among them is unknown, not absent.
struct Known<'a>(Vec<&'a Value>);

impl Lookup for Known<'_> {
    fn find(&self, object: &ObjectRef) -> Found<'_> {
        let found = self.0.iter().find(|value| {
            let group = value["apiVersion"].as_str().unwrap_or_default();
            let group = group.split_once('/').map_or("", |(group, _)| group);
            let namespace = value["metadata"]["namespace"].as_str();
            group == object.kind.group
                && value["kind"] == *object.kind.kind
                && value["metadata"]["name"] == object.name.as_str()
                && (namespace.is_none() || namespace == object.namespace.as_deref())
        });
        match found {
            Some(value) => Found::Present(Cow::Borrowed(value)),
            None => Found::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lint(text: &str) -> String {
        let findings = check(&[("rollout.yaml".to_owned(), text.to_owned())]);
        findings.iter().map(Finding::shown).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_problem_is_named_with_line_column_and_field() {
        insta::assert_snapshot!(lint(include_str!("../../tests/fixtures/bad-rollout.yaml")));
    }

    #[test]
    fn the_manifests_of_the_demo_are_clean() {
        let read = |text: &str| text.to_owned();
        let files = [
            ("rollout.yaml".to_owned(), read(include_str!("../../../e2e/demo/shop/rollout.yaml"))),
            (
                "services.yaml".to_owned(),
                read(include_str!("../../../e2e/demo/shop/services.yaml")),
            ),
            ("traffic.yaml".to_owned(), read(include_str!("../../../e2e/demo/shop/traffic.yaml"))),
            (
                "analysis.yaml".to_owned(),
                read(include_str!("../../../e2e/demo/shop/analysis.yaml")),
            ),
            (
                "application.yaml".to_owned(),
                read(include_str!("../../../e2e/demo/application.yaml")),
            ),
        ];
        let findings = check(&files);
        assert!(findings.is_empty(), "{findings:#?}");
    }

    #[test]
    fn what_is_no_yaml_is_an_error_with_its_place() {
        let text = lint("a: [1\nb: 2\n");
        assert!(text.starts_with("rollout.yaml:"), "{text}");
    }
}
