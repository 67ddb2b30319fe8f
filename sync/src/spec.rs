//! Whether an Application's spec can be acted on at all; what cannot be is said, not dropped. The rules are those of
//! [`validate`] and [`supported`], which `lint` reads as well.

use serde_json::{Value, json};
use sluice_crds::app_project::{AppProjectRecord, AppProjectSpec};
use sluice_crds::supported::{self, State};
use sluice_crds::validate::{self, FieldPath, Problem};
use sluice_engine::view::Lookup;

use crate::conditions;
use crate::draft::Draft;
use crate::manifest::ManifestSet;
use crate::project::{self, Permission};
use crate::status;

/// Without these there is nothing to sync, or nowhere to. A wrong field elsewhere is left out of account, and said.
const ESSENTIAL: [&str; 2] = ["spec.source", "spec.destination"];
/// Refused for automated syncs only: see [`windows`].
const WINDOWS: &str = "spec.syncWindows";

/// Checks the spec and returns the project.
pub(crate) fn check<'a>(draft: &mut Draft<'a>) -> Option<&'a AppProjectRecord> {
    let view = draft.view;
    let mut problems = own_problems(draft);
    let project = match &view.project {
        Lookup::Unknown => {
            let name = view.application.spec.project_name();
            draft.report.waits(format!("reading AppProject {name}"), None);
            return None;
        }
        Lookup::Absent if view.application.spec.project_name() == project::DEFAULT => {
            draft.report.waits("creating AppProject default, which permits everything", None);
            draft.plan.then(vec![project::create_default(&view.config.control_namespace)]);
            return None;
        }
        Lookup::Absent | Lookup::NoKind => {
            problems.push(format!(
                "spec.project: AppProject `{}` does not exist in namespace `{}`; create it, or correct the name",
                view.application.spec.project_name(),
                view.config.control_namespace
            ));
            None
        }
        Lookup::Present(project) => Some(&**project),
    };
    if let Some(project) = project {
        problems.extend(project_problems(draft, project));
    }
    if problems.is_empty() {
        return project;
    }
    reject(draft, problems);
    None
}

/// Returns what makes the spec impossible to act on; the rest becomes conditions.
fn own_problems(draft: &mut Draft<'_>) -> Vec<String> {
    let spec = &draft.view.application.spec;
    let is_essential =
        |problem: &Problem| ESSENTIAL.iter().any(|path| problem.path.as_str().starts_with(path));
    let mut fatal = Vec::new();
    for problem in validate::application(spec) {
        if is_essential(&problem) {
            fatal.push(said(&problem));
        } else {
            let text = format!("{}; left out of account", said(&problem));
            draft.conditions.add(conditions::INVALID_SPEC_WARNING, text);
        }
    }
    let asked = asked_in_vain(draft, "Application", "", spec);
    fatal.extend(asked.into_iter().map(|(_, text)| text));
    fatal
}

/// Returns what the project demands and nobody checks yet: it must not pass for checked.
fn project_problems(draft: &mut Draft<'_>, project: &AppProjectRecord) -> Vec<String> {
    let name = &project.meta.name;
    let whose = format!("AppProject {name}: ");
    for problem in validate::app_project(name, &project.spec) {
        let text = format!("{whose}{}; left out of account", said(&problem));
        draft.conditions.add(conditions::INVALID_SPEC_WARNING, text);
    }
    let mut fatal = Vec::new();
    for (path, text) in asked_in_vain(draft, "AppProject", &whose, &project.spec) {
        if path.as_str().starts_with(WINDOWS) {
            draft.conditions.add(conditions::NOT_ACTED_ON, text);
        } else {
            fatal.push(text);
        }
    }
    fatal
}

/// Returns what is refused; what is merely not acted on becomes a condition.
fn asked_in_vain(
    draft: &mut Draft<'_>,
    kind: &str,
    whose: &str,
    spec: &impl serde::Serialize,
) -> Vec<(FieldPath, String)> {
    let spec: Value = serde_json::to_value(spec).expect("a spec has only string keys");
    let mut refused = Vec::new();
    for (state, problem) in supported::not_acted_on(kind, &json!({ "spec": spec })) {
        let text = format!("{whose}{}", said(&problem));
        match state {
            State::Works => {}
            State::Accepted => draft.conditions.add(conditions::NOT_ACTED_ON, text),
            State::Refused => refused.push((problem.path, text)),
        }
    }
    refused
}

fn said(problem: &Problem) -> String {
    match &problem.hint {
        Some(hint) => format!("{problem}; {hint}"),
        None => problem.to_string(),
    }
}

/// Returns why automated sync has to wait: windows are not evaluated yet, and a denied sync must not happen.
pub(crate) fn windows(project: &AppProjectSpec) -> Option<&'static str> {
    (!project.sync_windows.is_empty()).then_some(
        "the project has spec.syncWindows, which are not evaluated yet: automated sync waits; sync by hand",
    )
}

/// Checks that the project permits source and destination.
pub(crate) fn permits(draft: &mut Draft<'_>, permission: &Permission<'_>) -> Option<()> {
    let spec = &draft.view.application.spec;
    let mut problems = Vec::new();
    for source in spec.effective_sources() {
        problems.extend(permission.source(&source.repo_url).err());
    }
    if let Some(namespace) = spec.destination.namespace.as_deref() {
        problems.extend(permission.namespace(namespace).err());
    }
    if problems.is_empty() {
        return Some(());
    }
    reject(draft, problems);
    None
}

fn reject(draft: &mut Draft<'_>, problems: Vec<String>) {
    for problem in problems {
        draft.report.problem(&problem, "correct the Application or its project");
        draft.conditions.add(conditions::INVALID_SPEC_ERROR, problem);
    }
    status::unknown(draft, true);
    if let Some((_, state)) = crate::operation::current(draft.view) {
        let message = draft.conditions.text(conditions::INVALID_SPEC_ERROR);
        crate::operation::fail(draft, state, &message);
    }
}

/// Says which hooks are not run, and which keys were rendered twice.
pub(crate) fn hooks(draft: &mut Draft<'_>, set: &ManifestSet) {
    for (key, hook) in set.hooks.iter().filter(|(_, hook)| hook.trim() != "Skip") {
        let text = format!(
            "not acted on: {key} is a hook (`{hook}`); hooks are not run yet, and it is not applied"
        );
        draft.conditions.add(conditions::NOT_ACTED_ON, text);
    }
    for key in &set.repeated {
        let text = format!("{key} appears more than once in the source; the last one counts");
        draft.conditions.add(conditions::REPEATED_RESOURCE_WARNING, text);
    }
}
