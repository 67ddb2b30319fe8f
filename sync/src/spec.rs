//! Whether an Application's spec can be acted on at all; what cannot be is said, not dropped.

use chrono::Duration;
use sluice_crds::app_project::{AppProjectRecord, AppProjectSpec};
use sluice_engine::plan::{Wake, WakeReason};
use sluice_engine::view::Lookup;

use crate::conditions;
use crate::draft::Draft;
use crate::manifest::ManifestSet;
use crate::project::{self, Permission};
use crate::status;
use crate::view::ApplicationView;

/// Checks the spec and returns the project.
pub(crate) fn check<'a>(draft: &mut Draft<'a>) -> Option<&'a AppProjectRecord> {
    let view = draft.view;
    let mut problems = Vec::new();
    let spec = &view.application.spec;
    let sources = spec.effective_sources();
    if spec.source_hydrator.is_some() {
        problems.push("spec.sourceHydrator is not supported yet".to_owned());
    } else if sources.is_empty() {
        problems.push("spec.source is missing".to_owned());
    } else if sources.len() > 1 {
        problems.push(format!(
            "spec.sources has {} entries; more than one is not supported yet",
            sources.len()
        ));
    }
    for source in sources.iter().take(1) {
        if source.repo_url.is_empty() {
            problems.push("spec.source.repoURL is missing".to_owned());
        }
        let is_chart = source.is_chart() || source.is_oci();
        if is_chart {
            problems.push(
                "spec.source: Helm charts and OCI artifacts are not supported yet".to_owned(),
            );
        } else if source.path.is_none() {
            problems.push("spec.source.path is missing".to_owned());
        }
    }
    let destination = &spec.destination;
    let server = destination.server.as_deref().unwrap_or_default();
    let name = destination.name.as_deref().unwrap_or_default();
    if server.is_empty() == name.is_empty() {
        let text = "spec.destination needs exactly one of `server` and `name`";
        problems.push(format!("{text}; found server `{server}` and name `{name}`"));
    } else if !destination.is_in_cluster() {
        problems.push(format!(
            "spec.destination: cluster `{server}{name}` is not known; only the controller's own \
             (`https://kubernetes.default.svc` or `in-cluster`) is supported yet"
        ));
    }
    let project = match &view.project {
        Lookup::Unknown => {
            draft.report.waits(format!("reading AppProject {}", spec.project_name()), None);
            return None;
        }
        Lookup::Absent if spec.project_name() == project::DEFAULT => {
            draft.report.waits("creating AppProject default, which permits everything", None);
            draft.plan.then(vec![project::create_default(&view.config.control_namespace)]);
            // Several Applications may create it at once, and only one of them sees its own write: look again soon.
            let again = Wake { at: view.now + Duration::seconds(1), reason: WakeReason::Retry };
            draft.wake = Wake::earliest(draft.wake.take(), Some(again));
            return None;
        }
        Lookup::Absent | Lookup::NoKind => {
            problems.push(format!(
                "spec.project: AppProject `{}` does not exist in namespace `{}`",
                spec.project_name(),
                view.config.control_namespace
            ));
            None
        }
        Lookup::Present(project) => Some(&**project),
    };
    if let Some(project) = project {
        unverified(&project.spec, &mut problems);
    }
    not_acted_on(draft);
    if problems.is_empty() {
        return project;
    }
    reject(draft, problems);
    None
}

/// What a project demands and nobody checks yet must not pass for checked.
fn unverified(project: &AppProjectSpec, problems: &mut Vec<String>) {
    if !project.signature_keys.is_empty() || project.source_integrity.is_some() {
        problems.push(
            "the project demands signed commits (spec.signatureKeys or spec.sourceIntegrity), and signatures are not verified \
             yet: nothing is synced"
                .to_owned(),
        );
    }
    if project.permit_only_project_scoped_clusters == Some(true) {
        problems.push(
            "the project permits its own clusters only (spec.permitOnlyProjectScopedClusters), which is not supported yet"
                .to_owned(),
        );
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
        draft.conditions.add(conditions::INVALID_SPEC, problem);
    }
    status::unknown(draft, true);
    if let Some((_, state)) = crate::operation::current(draft.view) {
        let message = draft.conditions.text(conditions::INVALID_SPEC);
        crate::operation::fail(draft, state, &message);
    }
}

/// Accepted and not acted on: said in a condition.
fn not_acted_on(draft: &mut Draft<'_>) {
    let view = draft.view;
    let spec = &view.application.spec;
    let mut list = Vec::new();
    let rules = &spec.ignore_differences;
    if rules.iter().any(|rule| !rule.jq_path_expressions.is_empty()) {
        list.push("spec.ignoreDifferences[].jqPathExpressions: use jsonPointers");
    }
    if rules.iter().any(|rule| !rule.managed_fields_managers.is_empty()) {
        list.push("spec.ignoreDifferences[].managedFieldsManagers: use jsonPointers");
    }
    if !spec.notifications.is_empty() {
        list.push("spec.notifications");
    }
    let options = spec.sync_policy.as_ref().map_or(&[][..], |policy| &policy.sync_options);
    let has = |key: &str| sluice_crds::application::sync_option(options, key) == Some("true");
    if has("Replace") {
        list.push("sync option `Replace=true`: objects are applied server-side");
    }
    let selective_heal = spec.sync_policy.as_ref().is_some_and(|policy| policy.automated.is_none());
    if has("SelfHeal") && selective_heal {
        list.push("sync option `SelfHeal=true` without spec.syncPolicy.automated");
    }
    for what in list {
        draft.conditions.add(conditions::NOT_ACTED_ON, format!("not acted on: {what}"));
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
        draft.conditions.add(conditions::REPEATED_RESOURCE, text);
    }
}

/// Returns whether the application is synced by itself.
pub(crate) fn is_automated(view: &ApplicationView) -> bool {
    let policy = view.application.spec.sync_policy.as_ref();
    let automated = policy.and_then(|policy| policy.automated.as_ref());
    automated.is_some_and(|automated| automated.enabled != Some(false))
}

/// Returns whether live changes are undone.
pub(crate) fn self_heals(view: &ApplicationView) -> bool {
    let policy = view.application.spec.sync_policy.as_ref();
    is_automated(view)
        && policy.is_some_and(|policy| {
            policy.automated.as_ref().is_some_and(|a| a.self_heal == Some(true))
                || policy.option("SelfHeal") == Some("true")
        })
}
