//! `lint FILE…`: everything that is wrong with manifests, without a cluster.

use std::borrow::Cow;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize as _;
use serde_json::Value;
use sluice_crds::advice;
use sluice_crds::application::ApplicationSpec;
use sluice_crds::crd::DEFINITIONS;
use sluice_crds::object::{Meta, ObjectRef};
use sluice_crds::rollout::RolloutSpec;
use sluice_crds::supported::{self, State};
use sluice_crds::validate::references::{Found, Lookup};
use sluice_crds::validate::{self, FieldPath, Problem};
use sluice_crds::yaml::{self, Document};
use sluice_lang::{Condition, legacy};

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
        for path in below(Path::new(name))? {
            let name = path.display().to_string();
            let text = read(&name)?;
            files.push((name, text));
        }
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

/// Returns the file, or the manifests of the folder and of those in it, sorted.
pub(super) fn below(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |e: std::io::Error| Failure::new(format!("{}: {e}", path.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let inner = entry.map_err(failed)?.path();
        let extension = inner.extension().and_then(|e| e.to_str());
        // Links may lead anywhere, also back.
        if inner.is_symlink() {
            continue;
        }
        if inner.is_dir() || matches!(extension, Some("yaml" | "yml" | "json")) {
            found.extend(below(&inner)?);
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn read(name: &str) -> Result<String, Failure> {
    if name == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|e| Failure::new(format!("standard input: {e}")))?;
        return Ok(text);
    }
    let failed = |e: &dyn std::fmt::Display| Failure::new(format!("{name}: {e}"));
    let bytes = std::fs::read(name).map_err(|e| failed(&e))?;
    String::from_utf8(bytes).map_err(|e| failed(&format!("not UTF-8: {}", e.utf8_error())))
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

/// Returns what is wrong with files, and what is only unwise or not acted on: errors, warnings.
pub(super) fn findings(files: &[(String, String)]) -> (Vec<String>, Vec<String>) {
    let (errors, warnings): (Vec<_>, Vec<_>) = check(files).into_iter().partition(|f| f.is_error);
    let shown = |findings: Vec<Finding>| findings.iter().map(Finding::shown).collect();
    (shown(errors), shown(warnings))
}

/// One line of the output.
#[derive(Debug)]
struct Finding {
    place: String,
    /// Where a file has several: which object.
    object: Option<String>,
    text: String,
    hint: Option<String>,
    is_error: bool,
}

impl Finding {
    fn of(source: &Source<'_>, problem: &Problem, is_error: bool) -> Self {
        let Source { file, document, has_others } = source;
        let place = match document.place(&problem.path) {
            Some(place) => format!("{file}:{place}"),
            None => (*file).to_owned(),
        };
        let object = has_others.then(|| named(&document.value));
        Self { place, object, text: problem.to_string(), hint: problem.hint.clone(), is_error }
    }

    fn shown(&self) -> String {
        let kind = if self.is_error { "" } else { "warning: " };
        let object = self.object.as_ref().map_or_else(String::new, |object| format!("{object}  "));
        let mut text = format!("{}  {kind}{object}{}", self.place, self.text);
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\n    hint: {hint}"));
        }
        text
    }
}

/// `Rollout shop/checkout`.
fn named(object: &Value) -> String {
    let word = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let kind = word("/kind").unwrap_or("object");
    match (word("/metadata/namespace"), word("/metadata/name").unwrap_or("without name")) {
        (Some(namespace), name) => format!("{kind} {namespace}/{name}"),
        (None, name) => format!("{kind} {name}"),
    }
}

/// A document, and the file that it is in.
struct Source<'a> {
    file: &'a str,
    document: Document,
    has_others: bool,
}

/// Checks files together: what one names may be in another.
fn check(files: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    for (file, text) in files {
        match yaml::load(text) {
            Ok(found) if found.is_empty() => findings.push(Finding {
                place: file.clone(),
                object: None,
                text: "there is no object in it".to_owned(),
                hint: None,
                is_error: false,
            }),
            Ok(found) => {
                let has_others = found.len() > 1;
                let source = |document| Source { file, document, has_others };
                sources.extend(found.into_iter().map(source));
            }
            Err(error) => findings.push(Finding {
                place: error.place.map_or(file.clone(), |place| format!("{file}:{place}")),
                object: None,
                text: format!("not YAML: {}", error.message),
                hint: None,
                is_error: true,
            }),
        }
    }
    let known = Known(sources.iter().map(|source| &source.document.value).collect());
    for source in &sources {
        check_one(source, &known, &mut findings);
    }
    findings
}

fn check_one(source: &Source<'_>, known: &Known<'_>, findings: &mut Vec<Finding>) {
    let object = &source.document.value;
    let kind = object["kind"].as_str().unwrap_or_default();
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    // A kustomization may leave out its kind.
    let is_kustomization =
        Path::new(source.file).file_stem().is_some_and(|s| s.eq_ignore_ascii_case("kustomization"));
    if is_kustomization {
        return;
    }
    if let Some(problem) = no_object(object) {
        findings.push(Finding::of(source, &problem, true));
        return;
    }
    if api_version.split('/').next() != Some("argoproj.io") {
        return;
    }
    let Some(mut problems) = validate::object(object) else {
        let path = FieldPath::root().field("kind");
        let problem = Problem::new(path, format!("`{kind}` is no kind of {api_version}"));
        findings.push(Finding::of(source, &problem.hint(kinds()), true));
        return;
    };
    let advice = if problems.is_empty() { advise(kind, object) } else { Vec::new() };
    problems.extend(references(kind, object, known));
    problems.extend(conditions(object));
    findings.extend(advice.iter().map(|p| Finding::of(source, p, false)));
    findings.extend(problems.iter().map(|p| Finding::of(source, p, true)));
    for (state, problem) in supported::not_acted_on(kind, object) {
        let is_error = match state {
            State::Works => continue,
            State::Accepted => false,
            State::Refused => true,
        };
        findings.push(Finding::of(source, &problem, is_error));
    }
}

/// Text that is YAML, but no object of Kubernetes.
fn no_object(object: &Value) -> Option<Problem> {
    let root = FieldPath::root();
    if !object.is_object() {
        let kind = match object {
            Value::Array(_) => "a list",
            _ => "a plain value",
        };
        let problem = Problem::new(root.field("kind"), format!("required: the document is {kind}"));
        return Some(problem.hint("separate objects with `---`"));
    }
    ["apiVersion", "kind"].into_iter().find(|field| !object[*field].is_string()).map(|field| {
        Problem::new(root.field(field), "required")
            .hint("every object begins with `apiVersion` and `kind`")
    })
}

fn kinds() -> String {
    let kinds: Vec<&str> = DEFINITIONS.iter().map(|d| d.kind.kind.as_ref()).collect();
    format!("there are {}", kinds.join(", "))
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

/// Conditions of metrics that nobody can evaluate. Arguments may be any text; here they are numbers.
fn conditions(object: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let metrics = object["spec"]["metrics"].as_array();
    for (index, metric) in metrics.into_iter().flatten().enumerate() {
        for field in ["successCondition", "failureCondition"] {
            let Some(text) = metric[field].as_str() else { continue };
            let path = FieldPath::spec().field("metrics").index(index).field(field);
            let any = |tag: &str| tag.starts_with("args.").then(|| "1".to_owned());
            let said = match legacy::substitute_text(text, field, &any) {
                Err(error) => error.to_string(),
                Ok(filled) => match Condition::compile(&filled) {
                    Ok(_) => continue,
                    Err(error) => format!("`{text}` is no condition: {error}"),
                },
            };
            problems.push(Problem::new(path, said).hint("write it as `result[0] < 0.01`"));
        }
    }
    problems
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
    fn every_kind_of_bad_input_names_its_place_and_what_to_do() {
        let rollout = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\n";
        let cases = [
            ("no YAML", "a: [1\nb: 2\n".to_owned()),
            ("a tab", "a:\n\tb: 1\n".to_owned()),
            ("a key twice", "kind: A\nkind: B\n".to_owned()),
            ("NaN", "apiVersion: v1\nkind: A\nspec: {a: .nan}\n".to_owned()),
            ("a list", "- a\n- b\n".to_owned()),
            ("no kind", "apiVersion: argoproj.io/v1alpha1\nmetadata: {name: a}\n".to_owned()),
            ("another kind", "apiVersion: argoproj.io/v1alpha1\nkind: Rolout\n".to_owned()),
            ("another version", "apiVersion: argoproj.io/v1\nkind: Rollout\nmetadata: {name: a}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}, strategy: {canary: {}}}\n".to_owned()),
            ("nothing in it", rollout.to_owned()),
            ("an unknown field", format!("{rollout}spec:\n  strateggy: {{}}\n")),
            ("a wrong type", format!("{rollout}spec:\n  replicas: many\n")),
            ("a weight", format!("{rollout}spec:\n  strategy:\n    canary:\n      steps:\n        - setWeight: -1\n        - setWeight: 10\n          pause: {{}}\n")),
            ("conditions", "apiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: a}\nspec:\n  args: [{name: limit}]\n  metrics:\n    - name: a\n      successCondition: result[0] <<< 1\n      failureCondition: result[0] > {{args.limit}}\n      provider: {web: {url: 'http://a'}}\n    - name: b\n      successCondition: result < {{args.limit\n      provider: {web: {url: 'http://a'}}\n".to_owned()),
            ("two strategies", format!("{rollout}spec:\n  strategy: {{canary: {{}}, blueGreen: {{activeService: a}}}}\n")),
        ];
        let mut text = String::new();
        for (what, yaml) in cases {
            text.push_str(&format!("# {what}\n{}\n", lint(&yaml)));
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn an_application_says_what_is_not_done_for_it() {
        let text = lint(
            "
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: shop}
spec:
  destination: {name: east, namespace: shop}
  source:
    repoURL: oci://registry.example.com/shop
    path: .
    kustomize: {kubeVersion: '1.36'}
  syncPolicy: {syncOptions: [Replace=true]}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: shop}
spec:
  orphanedResources: {warn: true}
  signatureKeys: [{keyID: A}]
  syncWindows: [{kind: deny, schedule: '* * *', duration: 1h, applications: ['*']}]
",
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_folder_is_its_manifests() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        for name in ["b.yaml", "inner/a.json", "notes.md", "inner/c.yml"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = below(folder.path()).unwrap();
        let names: Vec<_> = found.iter().map(|p| p.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(names, ["b.yaml", "inner/a.json", "inner/c.yml"].map(Path::new));
    }
}
