//! Services that the Rollout managed and names no longer: they are given back.
//!
//! Such a Service goes on selecting one revision, and would lose its Pods when that revision ends. So the hash in its selector and
//! our annotation are removed, and it selects all Pods that its user's selector matches.
//!
//! **Differences from Argo** (`spec-rollouts` 2.5). Nothing is written when a Rollout is *deleted*: Services and routes go on
//! serving whatever Pods remain, as after `--cascade=orphan`. And a Service is given back only if that leaves it with Pods to
//! serve: if the rest of its selector is not empty, matches the Pod template, and some Pod of the Rollout is available.

use std::sync::Arc;

use sluice_crds::labels::POD_TEMPLATE_HASH;

use super::action::{Action, Target};
use crate::view::{RolloutView, ServiceRecord};

/// Returns the Services that are to be given back now.
pub(crate) fn due(view: &RolloutView) -> impl Iterator<Item = &Arc<ServiceRecord>> {
    let uid = &view.rollout.meta.uid;
    let mut sets = view.replica_sets.iter().filter(|rs| rs.meta.is_owned_by(uid));
    let serves = sets.any(|rs| rs.available() > 0);
    view.former_services.iter().filter(move |service| {
        let stays = service.meta.deletion_timestamp.is_none();
        serves && stays && service.hash().is_some() && has_pods_without_hash(view, service)
    })
}

fn has_pods_without_hash(view: &RolloutView, service: &ServiceRecord) -> bool {
    let template = view.rollout.spec.template.as_ref();
    let labels = template.and_then(|template| template.pointer("/metadata/labels"));
    let mut rest = service.selector.iter().filter(|(key, _)| *key != POD_TEMPLATE_HASH).peekable();
    rest.peek().is_some()
        && rest.all(|(key, value)| {
            labels.and_then(|labels| labels.get(key)).and_then(|label| label.as_str())
                == Some(value)
        })
}

/// Returns the writes that give them back.
pub(crate) fn releases(view: &RolloutView) -> Vec<Action> {
    due(view)
        .map(|service| Action::ReleaseService {
            target: Target::of(view, service.object(), &service.meta),
            from: service.hash().unwrap_or_default().to_owned(),
        })
        .collect()
}
