use serde_json::Value;

use super::State::{Accepted, Refused, Works};
use super::{Feature, State, SyncOption};
use crate::application::{ApplicationSpec, IN_CLUSTER_NAME, IN_CLUSTER_SERVER};
use crate::validate::{FieldPath, Problem};

const KIND: &str = "Application";
const NOTHING: &str = "not supported yet: nothing is rendered or synced while it is there";

pub(super) const FEATURES: &[Feature] = &[
    Feature {
        kind: KIND,
        state: Works,
        note: "",
        paths: &[
            "spec",
            "spec.project",
            "spec.destination.**",
            "spec.revisionHistoryLimit",
            "spec.syncPolicy",
            "spec.syncPolicy.automated.**",
            "spec.syncPolicy.retry.**",
            "spec.syncPolicy.managedNamespaceMetadata.**",
            "spec.ignoreDifferences",
            "spec.ignoreDifferences[].group",
            "spec.ignoreDifferences[].kind",
            "spec.ignoreDifferences[].name",
            "spec.ignoreDifferences[].namespace",
            "spec.ignoreDifferences[].jsonPointers",
        ],
    },
    Feature {
        kind: KIND,
        state: Works,
        note: "each option has its own row under \"Sync options\"",
        paths: &["spec.syncPolicy.syncOptions", "operation.sync.syncOptions"],
    },
    Feature {
        kind: KIND,
        state: Works,
        note: "for people",
        paths: &["spec.info.**", "spec.syncPolicy.info.**"],
    },
    Feature {
        kind: KIND,
        state: Works,
        note: "Argo has no such field",
        paths: &[
            "spec.refreshInterval",
            "spec.rollback",
            "spec.rollback.enabled",
            "spec.rollback.onHealthFailure",
            "spec.rollback.scope",
            "spec.health.**",
        ],
    },
    Feature {
        kind: KIND,
        state: Works,
        note: "one Git repository: a folder of YAML and JSON, or a kustomization; of `sources` one entry",
        paths: &[
            "spec.source",
            "spec.sources",
            "spec.source.repoURL",
            "spec.sources[].repoURL",
            "spec.source.path",
            "spec.sources[].path",
            "spec.source.targetRevision",
            "spec.sources[].targetRevision",
            "spec.source.name",
            "spec.sources[].name",
            "spec.source.directory",
            "spec.sources[].directory",
            "spec.source.directory.recurse",
            "spec.sources[].directory.recurse",
            "spec.source.directory.include",
            "spec.sources[].directory.include",
            "spec.source.directory.exclude",
            "spec.sources[].directory.exclude",
            "spec.source.directory.disableExtensionFilter",
            "spec.sources[].directory.disableExtensionFilter",
        ],
    },
    Feature {
        kind: KIND,
        state: Works,
        note: "images also as objects with `name`, `newName`, `newTag`, `digest`",
        paths: &["spec.source.kustomize.**", "spec.sources[].kustomize.**"],
    },
    Feature {
        kind: KIND,
        state: Accepted,
        note: "charts inside of a kustomization are refused, and nothing else reads it",
        paths: &[
            "spec.source.kustomize.kubeVersion",
            "spec.sources[].kustomize.kubeVersion",
            "spec.source.kustomize.apiVersions",
            "spec.sources[].kustomize.apiVersions",
        ],
    },
    Feature {
        kind: KIND,
        state: Accepted,
        note: "there is no other source that could use it",
        paths: &["spec.source.ref", "spec.sources[].ref"],
    },
    Feature {
        kind: KIND,
        state: Refused,
        note: NOTHING,
        paths: &[
            "spec.sourceHydrator.**",
            "spec.source.kustomize.version",
            "spec.sources[].kustomize.version",
            "spec.source.kustomize.commonAnnotationsEnvsubst",
            "spec.sources[].kustomize.commonAnnotationsEnvsubst",
            "spec.source.chart",
            "spec.sources[].chart",
            "spec.source.tagPrefix",
            "spec.sources[].tagPrefix",
            "spec.source.helm.**",
            "spec.sources[].helm.**",
            "spec.source.plugin.**",
            "spec.sources[].plugin.**",
            "spec.source.directory.jsonnet.**",
            "spec.sources[].directory.jsonnet.**",
        ],
    },
    Feature {
        kind: KIND,
        state: Accepted,
        note: "use `jsonPointers`",
        paths: &[
            "spec.ignoreDifferences[].jqPathExpressions",
            "spec.ignoreDifferences[].managedFieldsManagers",
        ],
    },
    Feature {
        kind: KIND,
        state: Accepted,
        note: "nobody is told yet",
        paths: &["spec.notifications.**"],
    },
    Feature {
        kind: KIND,
        state: Accepted,
        note: "a revision that failed is never tried again by itself",
        paths: &["spec.rollback.maxRetries"],
    },
    Feature {
        kind: KIND,
        state: Works,
        note: "",
        paths: &[
            "operation",
            "operation.initiatedBy.**",
            "operation.info.**",
            "operation.retry.**",
            "operation.sync",
            "operation.sync.revision",
            "operation.sync.prune",
            "operation.sync.dryRun",
            "operation.sync.resources.**",
            "operation.sync.autoHealAttemptsCount",
            "operation.sync.source.**",
        ],
    },
    Feature {
        kind: KIND,
        state: Works,
        note: "objects are applied server-side; hooks are named in a condition, not run",
        paths: &[
            "operation.sync.syncStrategy",
            "operation.sync.syncStrategy.apply",
            "operation.sync.syncStrategy.hook",
        ],
    },
    Feature {
        kind: KIND,
        state: Accepted,
        note: "objects are never deleted and created anew",
        paths: &[
            "operation.sync.syncStrategy.apply.force",
            "operation.sync.syncStrategy.hook.force",
        ],
    },
    Feature {
        kind: KIND,
        state: Refused,
        note: "the operation fails and says so",
        paths: &[
            "operation.sync.revisions",
            "operation.sync.sources.**",
            "operation.sync.manifests",
        ],
    },
    Feature { kind: KIND, state: Works, note: "", paths: &["status.**"] },
    Feature {
        kind: KIND,
        state: Accepted,
        note: "not written",
        paths: &[
            "status.sourceHydrator.**",
            "status.sourceTypes",
            "status.observedAt",
            "status.resourceHealthSource",
        ],
    },
];

/// Sync options of the application, of an operation, or of a resource (annotation `argocd.argoproj.io/sync-options`).
pub static SYNC_OPTIONS: &[SyncOption] = &[
    option("CreateNamespace", &["true", "false"], Works, ""),
    option("Prune", &["true", "false", "confirm"], Works, ""),
    option("PruneLast", &["true", "false"], Works, ""),
    option("PrunePropagationPolicy", &["foreground", "background", "orphan"], Works, ""),
    option("FailOnSharedResource", &["true", "false"], Works, ""),
    option("SelfHeal", &["true"], Works, "as `automated.selfHeal: true`; Argo ignores it"),
    option("ServerSideApply", &["true"], Works, "always on"),
    option("ServerSideApply", &["false"], Accepted, "objects are always applied server-side"),
    option(
        "RespectIgnoreDifferences",
        &["true", "false"],
        Works,
        "default `true`; Argo's is `false`",
    ),
    option("Delete", &["true", "false", "confirm"], Works, ""),
    option("Validate", &["true"], Works, ""),
    option("Validate", &["false"], Accepted, "the API server always validates"),
    option("SkipDryRunOnMissingResource", &["true", "false"], Accepted, "there is no dry run"),
    option("ApplyOutOfSyncOnly", &["true"], Accepted, "all objects are applied"),
    option("ApplyOutOfSyncOnly", &["false"], Works, ""),
    option("Replace", &["false"], Works, ""),
    option("Replace", &["true"], Accepted, "objects are applied, never replaced"),
    option("Force", &["false"], Works, ""),
    option("Force", &["true"], Accepted, "objects are never deleted and created anew"),
    option(
        "ClientSideApplyMigration",
        &["true", "false"],
        Accepted,
        "other managers' fields are left to them",
    ),
];

const fn option(
    key: &'static str,
    values: &'static [&'static str],
    state: super::State,
    note: &'static str,
) -> SyncOption {
    SyncOption { key, values, state, note }
}

/// What no field by itself tells: sources and clusters that are asked for by a value, and fields that need another one.
pub(super) fn in_context(object: &Value, found: &mut Vec<(State, Problem)>) {
    let Ok(spec) = <ApplicationSpec as serde::Deserialize>::deserialize(&object["spec"]) else {
        return;
    };
    let path = FieldPath::spec();
    if spec.sources.len() > 1 {
        let text = format!("{} entries: refused", spec.sources.len());
        found.push((Refused, Problem::new(path.field("sources"), text).hint(NOTHING)));
    }
    for (index, source) in spec.effective_sources().iter().enumerate() {
        let path = match spec.sources.len() {
            0 => path.field("source"),
            _ => path.field("sources").index(index),
        };
        if source.is_oci() {
            let text = format!("`{}` is an OCI artifact: refused", source.repo_url);
            found.push((Refused, Problem::new(path.field("repoURL"), text).hint(NOTHING)));
        }
        let has = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        if has(&source.reference) && !has(&source.path) && !source.is_chart() {
            let text = "missing: a source that is only referred to renders nothing";
            let problem = Problem::new(path.field("path"), text);
            found.push((Refused, problem.hint("write `path: .` for the root of the repository")));
        }
    }
    let destination = &spec.destination;
    let (server, name) = (destination.server.as_deref(), destination.name.as_deref());
    for (field, text) in [("server", server), ("name", name)] {
        let Some(text) = text.filter(|text| !text.is_empty() && !destination.is_in_cluster())
        else {
            continue;
        };
        let hint = format!(
            "only the controller's own cluster is supported yet: `server: {IN_CLUSTER_SERVER}` or `name: {IN_CLUSTER_NAME}`"
        );
        let problem = Problem::new(
            path.field("destination").field(field),
            format!("cluster `{text}` is not known"),
        );
        found.push((Refused, problem.hint(hint)));
    }
    let policy = spec.sync_policy.as_ref();
    if policy.is_some_and(|p| p.automated.is_none() && p.option("SelfHeal") == Some("true")) {
        let path = path.field("syncPolicy.syncOptions");
        let problem = Problem::new(path, "`SelfHeal=true`: accepted, not acted on yet");
        found.push((Accepted, problem.hint("set spec.syncPolicy.automated, too")));
    }
}
