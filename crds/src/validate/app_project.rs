use super::{FieldPath, Findings, Problem, is_set};
use crate::app_project::{AppProjectSpec, ProjectRole, SyncWindow};

/// Longest description of a project or window, in characters.
const LONGEST_DESCRIPTION: usize = 255;
/// What policies of a project's roles may be about.
const RESOURCES: [&str; 6] =
    ["applications", "applicationsets", "repositories", "clusters", "logs", "exec"];

/// Returns everything that is wrong with the spec of the AppProject called `name` by itself.
pub fn app_project(name: &str, spec: &AppProjectSpec) -> Vec<Problem> {
    let path = FieldPath::spec();
    let mut findings = Findings::default();
    description(&path.field("description"), spec.description.as_deref(), &mut findings);
    for (index, repo) in spec.source_repos.iter().enumerate() {
        no_denial_of_all(&path.field("sourceRepos").index(index), repo, &mut findings);
    }
    for (index, destination) in spec.destinations.iter().enumerate() {
        let path = path.field("destinations").index(index);
        for (name, glob) in [
            ("server", &destination.server),
            ("name", &destination.name),
            ("namespace", &destination.namespace),
        ] {
            no_denial_of_all(&path.field(name), glob.as_deref().unwrap_or_default(), &mut findings);
        }
        if !is_set(destination.server.as_ref()) && !is_set(destination.name.as_ref()) {
            findings.hint(
                path,
                "neither `server` nor `name` is set",
                "write `server: '*'` for any cluster",
            );
        }
    }
    let roles = spec.roles.iter().enumerate();
    let roles_path = path.field("roles");
    findings.unique(
        roles.map(|(index, role)| (roles_path.index(index).field("name"), role.name.as_str())),
    );
    for (index, role) in spec.roles.iter().enumerate() {
        check_role(&roles_path.index(index), name, role, &mut findings);
    }
    for (index, window) in spec.sync_windows.iter().enumerate() {
        check_window(&path.field("syncWindows").index(index), window, &mut findings);
    }
    for (index, key) in spec.signature_keys.iter().enumerate() {
        findings.required(path.field("signatureKeys").index(index).field("keyID"), &key.key_id);
    }
    let policies =
        spec.source_integrity.iter().flat_map(|rules| &rules.git).flat_map(|git| &git.policies);
    for (index, policy) in policies.enumerate() {
        let path = path.field("sourceIntegrity.git.policies").index(index).field("gpg.mode");
        let mode = policy.gpg.as_ref().map(|gpg| gpg.mode.as_str());
        findings.one_of(path, mode, &["none", "head", "strict"]);
    }
    for (index, account) in spec.destination_service_accounts.iter().enumerate() {
        let path = path.field("destinationServiceAccounts").index(index);
        findings.required(path.field("server"), &account.server);
        findings.required(path.field("defaultServiceAccount"), &account.default_service_account);
        if account.default_service_account.contains(['*', '!', ' ']) {
            findings.add(
                path.field("defaultServiceAccount"),
                format!("`{}` is no name of a service account", account.default_service_account),
            );
        }
    }
    findings.problems
}

fn description(path: &FieldPath, text: Option<&str>, findings: &mut Findings) {
    let length = text.map_or(0, |text| text.chars().count());
    if length > LONGEST_DESCRIPTION {
        findings.add(
            path.clone(),
            format!("has {length} characters, at most {LONGEST_DESCRIPTION} are allowed"),
        );
    }
}

fn no_denial_of_all(path: &FieldPath, glob: &str, findings: &mut Findings) {
    if glob == "!*" {
        findings.hint(path.clone(), "`!*` denies everything", "leave the list empty for that");
    }
}

fn check_role(path: &FieldPath, project: &str, role: &ProjectRole, findings: &mut Findings) {
    let name = &role.name;
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let ends = [name.bytes().next(), name.bytes().last()];
    if !name.bytes().all(is_inner)
        || !ends.iter().all(|b| b.is_some_and(|b| b.is_ascii_alphanumeric()))
    {
        findings.add(
            path.field("name"),
            format!("`{name}` is no name of letters, digits, `-` and `_`"),
        );
    }
    for (index, line) in role.policies.iter().enumerate() {
        if let Err(wanted) = policy(project, name, line) {
            findings.hint(
                path.field("policies").index(index),
                format!("`{line}`: {wanted}"),
                format!("write `p, proj:{project}:{name}, applications, sync, {project}/*, allow`"),
            );
        }
    }
}

/// Returns what is wanted of a policy line that is wrong.
fn policy(project: &str, role: &str, line: &str) -> Result<(), String> {
    let parts: Vec<&str> = line.split(',').map(str::trim).collect();
    let [kind, subject, resource, action, object, effect] = parts.as_slice() else {
        return Err(format!("six parts are wanted, there are {}", parts.len()));
    };
    let subject_wanted = format!("proj:{project}:{role}");
    if *kind != "p" || *subject != subject_wanted {
        return Err(format!("it must begin with `p, {subject_wanted}`"));
    }
    if !RESOURCES.contains(resource) {
        return Err(format!("`{resource}` is not one of {}", super::listed(&RESOURCES)));
    }
    if action.is_empty() {
        return Err("the action is empty".into());
    }
    if !object.starts_with(&format!("{project}/")) {
        return Err(format!("the object must begin with `{project}/`"));
    }
    if !["allow", "deny"].contains(effect) {
        return Err(format!("`{effect}` is neither `allow` nor `deny`"));
    }
    Ok(())
}

fn check_window(path: &FieldPath, window: &SyncWindow, findings: &mut Findings) {
    findings.one_of(path.field("kind"), Some(&window.kind), &["allow", "deny"]);
    let parts = window.schedule.split_whitespace().count();
    if parts != 5 && !window.schedule.starts_with('@') {
        findings.hint(
            path.field("schedule"),
            format!("`{}` has {parts} fields, a cron schedule has 5", window.schedule),
            "write minute, hour, day, month, weekday: `0 22 * * *`",
        );
    }
    findings.duration(path.field("duration"), Some(&window.duration));
    if window.applications.is_empty() && window.namespaces.is_empty() && window.clusters.is_empty()
    {
        findings.hint(
            path.clone(),
            "is about nothing: `applications`, `namespaces` and `clusters` are all empty",
            "write `applications: ['*']` for all",
        );
    }
    description(&path.field("description"), window.description.as_deref(), findings);
}
