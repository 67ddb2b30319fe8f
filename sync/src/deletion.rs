//! Deletion of an Application with a finalizer: its objects go first, the highest wave before the others (`spec-sync` 2.9).

use std::collections::BTreeSet;

use serde_json::json;
use sluice_crds::labels::MANAGER_SYNC;
use sluice_crds::object::{Change, Kind, Preconditions, Propagation, Write};
use sluice_engine::view::Lookup;

use crate::action::{Action, Verb};
use crate::apply;
use crate::comparison::option_is;
use crate::conditions;
use crate::draft::Draft;
use crate::key::ResourceKey;
use crate::manifest::wave_of;
use crate::track;
use crate::view::LiveObject;

const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";

/// Returns whether a finalizer is Argo CD's, and so ours to take off.
fn is_ours(finalizer: &str) -> bool {
    finalizer == FINALIZER
        || finalizer.starts_with(&format!("{FINALIZER}/"))
        || finalizer.starts_with("pre-delete-finalizer.argocd.argoproj.io")
        || finalizer.starts_with("post-delete-finalizer.argocd.argoproj.io")
}

/// Decides for an Application that is being deleted.
pub(crate) fn decide(draft: &mut Draft<'_>) {
    let view = draft.view;
    let application = &view.application;
    let finalizers = &application.meta.finalizers;
    if !finalizers.iter().any(|finalizer| is_ours(finalizer)) {
        return;
    }
    let Lookup::Present(tracked) = &view.tracked else {
        draft.report.waits("reading the cluster", None);
        return;
    };
    let cascades = finalizers.iter().any(|f| f.starts_with(FINALIZER));
    let instance = track::instance(application, &view.config.control_namespace);
    let options =
        application.spec.sync_policy.as_ref().map_or(&[][..], |policy| &policy.sync_options);
    let mut left: Vec<&LiveObject> = Vec::new();
    if cascades {
        left.extend(tracked.iter().map(|live| &**live).filter(|live| {
            track::tracked_by(&live.body, &live.key()) == Some(&instance)
                && !option_is(&live.body, options, "Delete", "false")
                && crate::key::annotation(&live.body, "helm.sh/resource-policy") != Some("keep")
                && live.meta.uid != application.meta.uid
        }));
    }
    if left.is_empty() {
        draft.plan.then(vec![finalize(draft)]);
        return;
    }
    if left.iter().any(|live| live.meta.deletion_timestamp.is_some()) {
        draft.report.waits(format!("deletion of {} objects", left.len()), None);
        return;
    }
    let confirm: Vec<String> = left
        .iter()
        .filter(|live| option_is(&live.body, options, "Delete", "confirm") && !is_confirmed(draft))
        .map(|live| live.key().to_string())
        .collect();
    if !confirm.is_empty() {
        let message = format!(
            "deletion waits for the annotation `{}` with the present time: {}",
            crate::prune::DELETION_APPROVED,
            confirm.join(", ")
        );
        draft.conditions.add(conditions::DELETION_ERROR, message.clone());
        draft.report.waits_for_person(message, "approve, or take the finalizer off");
        return;
    }
    let last: BTreeSet<i64> = left.iter().map(|live| wave_of(&live.body)).collect();
    let wave = last.last().copied().unwrap_or(0);
    let is_background = finalizers.iter().any(|f| f == &format!("{FINALIZER}/background"));
    let propagation = if is_background { Propagation::Background } else { Propagation::Foreground };
    let stage = left
        .iter()
        .filter(|live| wave_of(&live.body) == wave)
        .map(|live| Action {
            verb: Verb::Prune,
            key: live.key(),
            commit: String::new(),
            because: "the Application is being deleted".to_owned(),
            write: apply::delete(live, propagation),
        })
        .collect();
    draft.plan.then(stage);
}

fn is_confirmed(draft: &Draft<'_>) -> bool {
    let meta = &draft.view.application.meta;
    let approved = meta.annotations.get(crate::prune::DELETION_APPROVED);
    let approved = approved.and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    match (approved, meta.deletion_timestamp) {
        (Some(approved), Some(asked)) => approved.with_timezone(&chrono::Utc) >= asked.at(),
        (_, _) => false,
    }
}

fn finalize(draft: &Draft<'_>) -> Action {
    let meta = &draft.view.application.meta;
    let kept: Vec<&String> = meta.finalizers.iter().filter(|f| !is_ours(f)).collect();
    let object = meta.object(Kind::APPLICATION);
    Action {
        verb: Verb::Finalize,
        key: ResourceKey::of(&object),
        commit: String::new(),
        because: "nothing of it is left".to_owned(),
        write: Write {
            object,
            preconditions: Preconditions::of(meta),
            manager: MANAGER_SYNC.into(),
            change: Change::MergePatch { body: json!({ "metadata": { "finalizers": kept } }) },
        },
    }
}
