use super::State::{Accepted, Refused, Works};
use super::{Feature, SyncOption};

const KIND: &str = "Application";

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
        note: "one Git repository: a folder of YAML and JSON, or a kustomization",
        paths: &[
            "spec.source",
            "spec.source.repoURL",
            "spec.source.path",
            "spec.source.targetRevision",
            "spec.source.name",
            "spec.source.directory",
            "spec.source.directory.recurse",
            "spec.source.directory.include",
            "spec.source.directory.exclude",
            "spec.source.directory.disableExtensionFilter",
        ],
    },
    Feature {
        kind: KIND,
        state: Works,
        note: "images also as objects with `name`, `newName`, `newTag`, `digest`",
        paths: &["spec.source.kustomize.**"],
    },
    Feature {
        kind: KIND,
        state: Refused,
        note: "nothing is rendered or synced while it is there",
        paths: &[
            "spec.source.kustomize.version",
            "spec.source.kustomize.commonAnnotationsEnvsubst",
            "spec.source.chart",
            "spec.source.ref",
            "spec.source.tagPrefix",
            "spec.source.helm.**",
            "spec.source.plugin.**",
            "spec.source.directory.jsonnet.**",
            "spec.sources.**",
            "spec.sourceHydrator.**",
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
        state: Accepted,
        note: "objects are applied server-side, without hooks and without force",
        paths: &["operation.sync.syncStrategy.**"],
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
