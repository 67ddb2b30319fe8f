//! The documents tell the truth: their examples pass `lint`, their blocks are these examples, and their pictures and transcripts
//! are what `simulate` says.
//!
//! `UPDATE_GOLDENS=1` writes them anew.
#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SLUICE: &str = env!("CARGO_BIN_EXE_kubectl-sluice");

/// Pages with the examples that they show, below `docs/` and `docs/examples/`.
const EXAMPLES: &[(&str, &str)] = &[
    ("strategies/canary-istio.md", "canary-istio"),
    ("strategies/canary-basic.md", "canary-basic"),
    ("strategies/blue-green.md", "blue-green"),
    ("strategies/common.md", "dynamic-stable-scale"),
    ("strategies/common.md", "ping-pong"),
    ("steps/set-weight.md", "set-weight"),
    ("steps/pause.md", "pause"),
    ("steps/set-canary-scale.md", "set-canary-scale"),
    ("steps/set-header-route.md", "set-header-route"),
    ("steps/set-mirror-route.md", "set-mirror-route"),
    ("steps/analysis.md", "analysis-step"),
    ("steps/analysis.md", "analysis-background"),
    ("steps/experiment.md", "experiment"),
    ("simulate.md", "checkout"),
    ("workload-ref.md", "workload-ref"),
];

/// Pictures, with the page that shows each, and the words after `simulate` that draw it, said in `docs/examples/`.
const PICTURES: &[(&str, &str, &str)] = &[
    ("canary-istio", "strategies/canary-istio.md", "canary-istio.yaml --pods ready=10s"),
    (
        "canary-istio-fails",
        "strategies/canary-istio.md",
        "canary-istio.yaml --pods ready=10s --metrics errors-at-2m.csv",
    ),
    ("canary-basic", "strategies/canary-basic.md", "canary-basic.yaml --pods ready=10s"),
    (
        "canary-basic-aborts",
        "strategies/canary-basic.md",
        "canary-basic.yaml --pods ready=10s --at 2m=abort",
    ),
    ("blue-green", "strategies/blue-green.md", "blue-green.yaml --pods ready=10s --promote=1m"),
    (
        "blue-green-fails",
        "strategies/blue-green.md",
        "blue-green.yaml --pods ready=10s --promote=1m --metrics errors-at-2m.csv",
    ),
    (
        "dynamic-stable-scale",
        "strategies/common.md",
        "dynamic-stable-scale.yaml --pods ready=10s --at 2m=abort",
    ),
    ("ping-pong", "strategies/common.md", "ping-pong.yaml --pods ready=10s"),
    ("set-weight", "steps/set-weight.md", "set-weight.yaml --pods ready=10s"),
    ("pause", "steps/pause.md", "pause.yaml --pods ready=10s --promote=1m"),
    ("set-canary-scale", "steps/set-canary-scale.md", "set-canary-scale.yaml --pods ready=10s"),
    ("set-header-route", "steps/set-header-route.md", "set-header-route.yaml --pods ready=10s"),
    (
        "set-header-route-aborts",
        "steps/set-header-route.md",
        "set-header-route.yaml --pods ready=10s --at 90s=abort",
    ),
    ("set-mirror-route", "steps/set-mirror-route.md", "set-mirror-route.yaml --pods ready=10s"),
    ("analysis-step", "steps/analysis.md", "analysis-step.yaml --pods ready=10s"),
    (
        "analysis-background",
        "steps/analysis.md",
        "analysis-background.yaml --pods ready=10s --metrics errors-at-2m.csv",
    ),
    (
        "analysis-outage",
        "steps/analysis.md",
        "analysis-step.yaml --pods ready=10s --metrics outage.csv",
    ),
    ("experiment", "steps/experiment.md", "experiment.yaml --pods ready=10s"),
    ("workload-ref", "workload-ref.md", "workload-ref.yaml --pods ready=10s"),
    ("simulate-checkout", "simulate.md", "checkout.yaml --promote=1m"),
    ("simulate-checkout-fails", "simulate.md", "checkout.yaml --metrics fail"),
];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn is_updated() -> bool {
    std::env::var_os("UPDATE_GOLDENS").is_some()
}

/// Says words to the plugin, in `docs/examples/`.
fn said(words: &[&str]) -> Output {
    let mut command = Command::new(SLUICE);
    command.args(words).current_dir(docs().join("examples")).env("NO_COLOR", "1").output().unwrap()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of the files of a folder that end so, without the end.
fn names(folder: &str, end: &str) -> BTreeSet<String> {
    let files = fs::read_dir(docs().join(folder)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(end).map(str::to_owned)).collect()
}

#[test]
fn every_example_is_shown_and_passes_lint() {
    let listed: BTreeSet<String> = EXAMPLES.iter().map(|(_, name)| (*name).to_owned()).collect();
    assert_eq!(names("examples", ".yaml"), listed, "docs/examples and the list of this test");
    for name in listed {
        let output = said(&["lint", &format!("{name}.yaml")]);
        let findings = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{name}.yaml: {findings}");
    }
}

/// The block of a page that follows the link to an example: where its text begins and ends.
fn block(page: &str, name: &str) -> Option<std::ops::Range<usize>> {
    let after = page.find(&format!("examples/{name}.yaml)"))?;
    let begin = after + page[after..].find("```yaml\n")? + "```yaml\n".len();
    let end = begin + page[begin..].find("```\n")?;
    Some(begin..end)
}

#[test]
fn blocks_of_pages_are_the_examples() {
    for (page, name) in EXAMPLES {
        let path = docs().join(page);
        let mut shown = text(&path);
        let example = text(&docs().join(format!("examples/{name}.yaml")));
        let place = block(&shown, name)
            .unwrap_or_else(|| panic!("{page}: no `yaml` block behind a link to {name}.yaml"));
        if is_updated() {
            shown.replace_range(place, &example);
            fs::write(&path, shown).unwrap();
        } else {
            assert_eq!(shown[place], example, "{page} does not show {name}.yaml as it is");
        }
    }
}

#[test]
fn pictures_of_pages_are_what_is_simulated() {
    for (name, page, words) in PICTURES {
        let shown = text(&docs().join(page));
        let link = format!("pictures/{name}.svg)");
        assert!(shown.contains(&link), "{page} does not show {name}.svg");
        let all: Vec<&str> =
            ["simulate", "-o", "svg"].into_iter().chain(words.split(' ')).collect();
        let output = said(&all);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{words}: {errors}");
        let drawn = String::from_utf8(output.stdout).unwrap();
        let path = docs().join(format!("pictures/{name}.svg"));
        if is_updated() {
            fs::write(&path, drawn).unwrap();
        } else {
            assert_eq!(text(&path), drawn, "{name}.svg is not what `simulate {words}` draws");
        }
    }
}

const CONSOLE: &str = "```console\n$ kubectl sluice simulate ";

#[test]
fn transcripts_of_pages_are_what_is_simulated() {
    for page in ["simulate.md"] {
        let path = docs().join(page);
        let shown = text(&path);
        let mut parts = shown.split(CONSOLE);
        let mut anew = parts.next().unwrap().to_owned();
        for part in parts {
            let (words, rest) = part.split_once('\n').unwrap();
            let (_, rest) = rest.split_once("```\n").unwrap();
            let all: Vec<&str> = ["simulate"].into_iter().chain(words.split(' ')).collect();
            let said = String::from_utf8(said(&all).stdout).unwrap();
            anew.push_str(&format!("{CONSOLE}{words}\n{said}```\n{rest}"));
        }
        assert_ne!(anew.matches(CONSOLE).count(), 0, "{page} has no transcript");
        if is_updated() {
            fs::write(&path, anew).unwrap();
        } else {
            assert_eq!(shown, anew, "a transcript of {page} is not what `simulate` says");
        }
    }
}

#[test]
fn every_page_is_in_the_list_of_documents() {
    let list = text(&docs().join("README.md"));
    for folder in ["strategies", "steps"] {
        for name in names(folder, ".md") {
            let link = format!("]({folder}/{name}.md)");
            assert!(list.contains(&link), "docs/README.md does not name {folder}/{name}.md");
        }
    }
}

/// Texts of the links of a page that lead to files of the repository, without what is behind `#`.
fn links(page: &str) -> Vec<String> {
    let parts = page.split("](").skip(1).filter_map(|part| part.split_once(')'));
    let targets = parts.map(|(target, _)| target.split('#').next().unwrap_or_default());
    let ours = targets.filter(|target| !target.is_empty() && !target.contains("://"));
    ours.map(str::to_owned).collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    for folder in ["", "strategies", "steps", "transcripts"] {
        for name in names(folder, ".md") {
            let folder = docs().join(folder);
            for link in links(&text(&folder.join(format!("{name}.md")))) {
                assert!(folder.join(&link).exists(), "{name}.md: {link} leads nowhere");
            }
        }
    }
}
