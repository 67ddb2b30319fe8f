//! In which order objects are applied and pruned: by wave, then by kind.
//!
//! A plan holds the earliest unfinished wave only; the next view shows whether that wave is healthy (`spec-sync` 4.4).

use crate::key::ResourceKey;

const ORDER: &[&str] = &[
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
];

/// Kinds of `argoproj.io` that name objects of kinds which are not in [`ORDER`]: routes, templates.
const LAST: &[&str] = &["Rollout", "Experiment", "AnalysisRun"];

/// Returns the place of a kind in the order in which objects are created: Argo CD's, and after it the kinds that are not in
/// it. Rollouts come after those: Argo CD creates them beside the VirtualServices and AnalysisTemplates that they name, so that
/// a new Rollout begins with `InvalidSpec`.
pub fn rank(key: &ResourceKey) -> usize {
    if key.group == "argoproj.io" && LAST.contains(&key.kind.as_str()) {
        return ORDER.len() + 1;
    }
    ORDER.iter().position(|kind| *kind == key.kind).unwrap_or(ORDER.len())
}

/// Returns in which wave an object is pruned: the waves of what is pruned, mirrored. `waves` are those, sorted.
pub fn mirrored(wave: i64, waves: &[i64]) -> i64 {
    match waves.iter().position(|w| *w == wave) {
        Some(place) => waves[waves.len() - 1 - place],
        None => wave,
    }
}

#[cfg(test)]
mod tests {
    use super::mirrored;

    #[test]
    fn what_was_created_first_is_pruned_last() {
        let waves = [-1, 0, 5];
        assert_eq!(waves.map(|wave| mirrored(wave, &waves)), [5, 0, -1]);
        assert_eq!(mirrored(3, &[3]), 3);
    }
}
