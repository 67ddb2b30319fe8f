use super::Feature;
use super::State::{Accepted, Refused, Works};

pub(super) const APP_PROJECT: &[Feature] = &[
    Feature {
        kind: "AppProject",
        state: Works,
        note: "checked before anything is applied",
        paths: &[
            "spec",
            "spec.sourceRepos",
            "spec.destinations.**",
            "spec.clusterResourceWhitelist.**",
            "spec.clusterResourceBlacklist.**",
            "spec.namespaceResourceWhitelist.**",
            "spec.namespaceResourceBlacklist.**",
        ],
    },
    Feature { kind: "AppProject", state: Works, note: "for people", paths: &["spec.description"] },
    Feature {
        kind: "AppProject",
        state: Accepted,
        note: "who may do what is decided by Kubernetes' own access control",
        paths: &["spec.roles.**", "status.**"],
    },
    Feature {
        kind: "AppProject",
        state: Refused,
        note: "not verified yet: no application of the project is synced while it is there",
        paths: &[
            "spec.signatureKeys.**",
            "spec.sourceIntegrity.**",
            "spec.permitOnlyProjectScopedClusters",
        ],
    },
    Feature {
        kind: "AppProject",
        state: Refused,
        note: "not evaluated yet: automated syncs wait while there are any; syncs by hand are not confined",
        paths: &["spec.syncWindows.**"],
    },
    Feature {
        kind: "AppProject",
        state: Accepted,
        note: "objects are applied with the controller's own rights",
        paths: &["spec.destinationServiceAccounts.**"],
    },
    Feature {
        kind: "AppProject",
        state: Accepted,
        note: "Applications live in the control namespace",
        paths: &["spec.sourceNamespaces"],
    },
    Feature {
        kind: "AppProject",
        state: Accepted,
        note: "orphans are not looked for",
        paths: &["spec.orphanedResources.**"],
    },
];

pub(super) const APPLICATION_SET: &[Feature] = &[Feature {
    kind: "ApplicationSet",
    state: Accepted,
    note: "no Application is made, changed or deleted",
    paths: &["spec.**", "status.**"],
}];

pub(super) const EXPERIMENT: &[Feature] = &[
    Feature { kind: "Experiment", state: Works, note: "", paths: &["spec.**", "status.**"] },
    Feature {
        kind: "Experiment",
        state: Works,
        note: "kept byte for byte, with fields that we do not know",
        paths: &["spec.templates[].template"],
    },
    Feature {
        kind: "Experiment",
        state: Works,
        note: "differs from Argo: one that is missing is waited for before any Pod starts",
        paths: &["spec.analyses[].templateName"],
    },
];
