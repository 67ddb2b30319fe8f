//! What people hear of single writes, with Argo's reasons and words (`spec-rollouts` 8.3). Told as each write succeeds, so that
//! Events come in the order of what happened; transitions of the status are told by the status.

use sluice_crds::labels;

use super::action::Action;
use crate::plan::{Notice, Severity};

/// Returns the Events of an action that was carried out.
pub(super) fn of(action: &Action) -> Vec<Notice> {
    let name = &action.target().object.name;
    match action {
        Action::CreateReplicaSet { body, .. } => {
            let revision = body["metadata"]["annotations"][labels::REVISION].as_str();
            let revision = revision.map_or(String::new(), |n| format!(" (revision {n})"));
            one("NewReplicaSetCreated", format!("Created ReplicaSet {name}{revision}"))
        }
        Action::Scale { from, to, .. } => one(
            "ScalingReplicaSet",
            format!("Scaled {} ReplicaSet {name} from {from} to {to}", way(*from, *to)),
        ),
        Action::ScaleWorkload { from, to, .. } => one(
            "ScalingDeployment",
            format!("Scaled {} Deployment {name} from {from} to {to}", way(*from, *to)),
        ),
        Action::SelectPods { from, to, .. } => {
            let from = from.as_deref().unwrap_or_default();
            one(
                "SwitchService",
                format!("Switched selector for service '{name}' from '{from}' to '{to}'"),
            )
        }
        Action::ReleaseService { from, .. } => one(
            "SwitchService",
            format!("Switched selector for service '{name}' from '{from}' to ''"),
        ),
        Action::SelectSubsets { .. } => {
            one("UpdatedDestinationRule", format!("DestinationRule {name} updated"))
        }
        Action::Route { from, to, .. } => vec![
            normal(
                "Updated VirtualService",
                format!("VirtualService `{name}` set to desiredWeight '{to}'"),
            ),
            normal("TrafficWeightUpdated", format!("Traffic weight updated from {from} to {to}")),
        ],
        Action::Evict { .. } => one("PodEvicted", format!("Evicted Pod {name} for the restart")),
        Action::Touch { .. }
        | Action::SetReplicas { .. }
        | Action::AdoptReplicaSet { .. }
        | Action::SetMinReady { .. }
        | Action::SetPodMetadata { .. }
        | Action::LabelPod { .. }
        | Action::SetAffinity { .. }
        | Action::StartAnalysis { .. }
        | Action::StopAnalysis { .. }
        | Action::CreateService { .. }
        | Action::StartExperiment { .. }
        | Action::StopExperiment { .. }
        | Action::Annotate { .. }
        | Action::Delete { .. } => Vec::new(),
    }
}

fn way(from: u32, to: u32) -> &'static str {
    if to > from { "up" } else { "down" }
}

fn one(reason: &'static str, message: String) -> Vec<Notice> {
    vec![normal(reason, message)]
}

fn normal(reason: &'static str, message: String) -> Notice {
    Notice { severity: Severity::Normal, reason, message }
}
