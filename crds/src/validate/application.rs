use super::{FieldPath, Findings, Problem, is_set};
use crate::application::{
    ApplicationDestination, ApplicationSource, ApplicationSpec, HelmSource, KustomizeImage,
    KustomizeSource, RetryStrategy,
};

/// Shortest allowed `refreshInterval`.
const LEAST_REFRESH: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

/// Returns everything that is wrong with an Application's spec by itself.
pub fn application(spec: &ApplicationSpec) -> Vec<Problem> {
    let path = FieldPath::spec();
    let mut findings = Findings::default();
    destination(&path.field("destination"), &spec.destination, &mut findings);
    sources(&path, spec, &mut findings);
    findings.at_least(path.field("revisionHistoryLimit"), spec.revision_history_limit, 0);
    if let Some(retry) = spec.sync_policy.as_ref().and_then(|policy| policy.retry.as_ref()) {
        check_retry(&path.field("syncPolicy.retry"), retry, &mut findings);
    }
    for (index, rule) in spec.ignore_differences.iter().enumerate() {
        ignore_rule(&path.field("ignoreDifferences").index(index), rule, &mut findings);
    }
    ours(&path, spec, &mut findings);
    findings.problems
}

fn destination(path: &FieldPath, destination: &ApplicationDestination, findings: &mut Findings) {
    match (is_set(destination.server.as_ref()), is_set(destination.name.as_ref())) {
        (true, true) => findings.hint(
            path.clone(),
            "both `server` and `name` are set",
            "keep one of them: they might mean different clusters",
        ),
        (false, false) => findings.hint(
            path.clone(),
            "neither `server` nor `name` is set",
            "write `server: https://kubernetes.default.svc` for the controller's own cluster",
        ),
        _ => {}
    }
}

fn sources(path: &FieldPath, spec: &ApplicationSpec, findings: &mut Findings) {
    if let Some(hydrator) = &spec.source_hydrator {
        let path = path.field("sourceHydrator");
        findings.required(path.field("drySource.repoURL"), &hydrator.dry_source.repo_url);
        findings
            .required(path.field("syncSource.targetBranch"), &hydrator.sync_source.target_branch);
        relative(&path.field("drySource.path"), Some(&hydrator.dry_source.path), findings);
        relative(&path.field("syncSource.path"), Some(&hydrator.sync_source.path), findings);
        return;
    }
    if spec.sources.is_empty() {
        match &spec.source {
            Some(source) => check_source(&path.field("source"), source, findings),
            None => findings.add(path.field("source"), "required: one of `source` and `sources`"),
        }
        return;
    }
    let path = path.field("sources");
    for (index, source) in spec.sources.iter().enumerate() {
        check_source(&path.index(index), source, findings);
    }
    let names = spec.sources.iter().enumerate();
    findings.unique(names.map(|(index, source)| {
        (path.index(index).field("ref"), source.reference.as_deref().unwrap_or_default())
    }));
}

fn check_source(path: &FieldPath, source: &ApplicationSource, findings: &mut Findings) {
    findings.required(path.field("repoURL"), &source.repo_url);
    let tools = [
        source.helm.is_some(),
        source.kustomize.is_some(),
        source.directory.is_some(),
        source.plugin.is_some(),
    ];
    if tools.into_iter().filter(|is_set| *is_set).count() > 1 {
        findings.add(
            path.clone(),
            "at most one of `helm`, `kustomize`, `directory` and `plugin` may be set",
        );
    }
    let reference = source.reference.as_deref().unwrap_or_default();
    if !source.is_chart()
        && !source.is_oci()
        && !is_set(source.path.as_ref())
        && reference.is_empty()
    {
        findings.hint(
            path.field("path"),
            "a Git source needs `path` or `ref`",
            "write `path: .` for the root of the repository",
        );
    }
    if !reference.is_empty() {
        if source.is_chart() {
            findings.add(path.field("ref"), "a chart cannot be referred to");
        }
        if !reference.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            findings.add(
                path.field("ref"),
                format!("`{reference}` has other signs than a-z, A-Z, 0-9, `_` and `-`"),
            );
        }
    }
    relative(&path.field("path"), source.path.as_deref(), findings);
    if let Some(helm) = &source.helm {
        check_helm(&path.field("helm"), helm, findings);
    }
    if let Some(kustomize) = &source.kustomize {
        check_kustomize(&path.field("kustomize"), kustomize, findings);
    }
}

/// A folder outside of the repository could be anybody's.
fn relative(path: &FieldPath, folder: Option<&str>, findings: &mut Findings) {
    let Some(folder) = folder else { return };
    if folder.starts_with('/') {
        findings.add(path.clone(), format!("`{folder}` is not relative to the repository"));
    } else if folder.split('/').any(|part| part == "..") {
        findings.add(path.clone(), format!("`{folder}` leaves the repository"));
    }
}

fn check_helm(path: &FieldPath, helm: &HelmSource, findings: &mut Findings) {
    findings.one_of(
        path.field("version"),
        helm.version.as_deref().filter(|v| !v.is_empty()),
        &["v3"],
    );
    for (index, parameter) in helm.parameters.iter().enumerate() {
        findings.required(path.field("parameters").index(index).field("name"), &parameter.name);
    }
    for (index, parameter) in helm.file_parameters.iter().enumerate() {
        let path = path.field("fileParameters").index(index);
        findings.required(path.field("name"), &parameter.name);
        findings.required(path.field("path"), &parameter.path);
    }
}

fn check_kustomize(path: &FieldPath, kustomize: &KustomizeSource, findings: &mut Findings) {
    for (index, image) in kustomize.images.iter().enumerate() {
        let path = path.field("images").index(index);
        match image {
            KustomizeImage::Text(text) => findings.required(path, text),
            KustomizeImage::Parts(parts) => findings.required(path.field("name"), &parts.name),
            KustomizeImage::Other(value) => findings.hint(
                path,
                format!("`{value}` is neither `[name=]new[:tag|@digest]` nor an object of texts"),
                "put tags that look like numbers into quotes: `newTag: \"1.10\"`",
            ),
        }
    }
    for (index, replica) in kustomize.replicas.iter().enumerate() {
        let path = path.field("replicas").index(index);
        findings.required(path.field("name"), &replica.name);
        if replica.count.as_int().is_none_or(|count| count < 0) {
            findings
                .add(path.field("count"), format!("`{}` is no number of replicas", replica.count));
        }
    }
    for (index, patch) in kustomize.patches.iter().enumerate() {
        if is_set(patch.path.as_ref()) == is_set(patch.patch.as_ref()) {
            let path = path.field("patches").index(index);
            findings.add(path, "exactly one of `path` and `patch` must be set");
        }
    }
    for (index, component) in kustomize.components.iter().enumerate() {
        if component.starts_with('/') {
            let path = path.field("components").index(index);
            findings.add(path, format!("`{component}` is not relative to the kustomization"));
        }
    }
}

fn check_retry(path: &FieldPath, retry: &RetryStrategy, findings: &mut Findings) {
    let Some(backoff) = &retry.backoff else { return };
    let path = path.field("backoff");
    for (name, value) in [("duration", &backoff.duration), ("maxDuration", &backoff.max_duration)] {
        if let Some(text) = value.as_deref().filter(|text| !text.is_empty())
            && let Err(error) = crate::duration::parse_or_seconds(text)
        {
            findings.hint(path.field(name), error.to_string(), "write seconds, or `30s`, `5m`");
        }
    }
    findings.at_least(path.field("factor"), backoff.factor, 1);
}

fn ignore_rule(
    path: &FieldPath,
    rule: &crate::application::ResourceIgnoreDifferences,
    findings: &mut Findings,
) {
    findings.required(path.field("kind"), &rule.kind);
    for (index, pointer) in rule.json_pointers.iter().enumerate() {
        if !pointer.starts_with('/') {
            findings.hint(
                path.field("jsonPointers").index(index),
                format!("`{pointer}` is no JSON pointer"),
                "begin it with `/`, such as `/spec/replicas`",
            );
        }
    }
}

/// The fields that Argo does not have.
fn ours(path: &FieldPath, spec: &ApplicationSpec, findings: &mut Findings) {
    if let Some(text) = spec.refresh_interval.as_deref() {
        let path = path.field("refreshInterval");
        findings.duration(path.clone(), Some(text));
        if crate::duration::parse(text).is_ok_and(|interval| interval < LEAST_REFRESH) {
            findings.add(path, format!("`{text}` is below 1s"));
        }
    }
    for (index, notification) in spec.notifications.iter().enumerate() {
        let path = path.field("notifications").index(index);
        findings.required(path.field("name"), &notification.name);
        if notification.event().is_none_or(str::is_empty) {
            findings.hint(
                path.field("on"),
                "required",
                "say what to tell about, such as `\"on\": OutOfSync`",
            );
        }
    }
    for (index, resource) in spec.health.iter().flat_map(|health| &health.resources).enumerate() {
        let path = path.field("health.resources").index(index);
        findings.required(path.field("name"), &resource.name);
        findings.required(path.field("kind"), &resource.kind);
        findings.duration(path.field("timeout"), resource.timeout.as_deref());
        let words = ["Progressing", "Degraded", "Missing", "Suspended", "Unknown"];
        findings.one_of(path.field("healthLevel"), resource.health_level.as_deref(), &words);
    }
    if let Some(rollback) = &spec.rollback {
        let words = ["rollout", "application", "hold"];
        findings.one_of(path.field("rollback.scope"), rollback.scope.as_deref(), &words);
    }
}
