use sluice_crds::application::{OperationState, ResourceResult, SyncOperationResult};

use crate::key::ResourceKey;

/// Writes down what the operation did to a resource, in the place of what was there before.
pub(super) fn put(
    state: &mut OperationState,
    key: &ResourceKey,
    version: &str,
    status: &str,
    message: impl Into<String>,
) {
    let result = state.sync_result.get_or_insert_with(SyncOperationResult::default);
    let entry = ResourceResult {
        group: key.group.clone(),
        version: version.to_owned(),
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        status: Some(status.to_owned()),
        message: Some(message.into()),
        sync_phase: Some("Sync".to_owned()),
        ..ResourceResult::default()
    };
    let same = |r: &ResourceResult| {
        r.group == key.group
            && r.kind == key.kind
            && r.namespace == key.namespace
            && r.name == key.name
    };
    match result.resources.iter_mut().find(|r| same(r)) {
        Some(place) => *place = entry,
        None => result.resources.push(entry),
    }
}

/// Returns what the operation said when it wrote the resource; `None` if it has not.
pub(super) fn said<'a>(state: &'a OperationState, key: &ResourceKey) -> Option<&'a str> {
    let resources = state.sync_result.iter().flat_map(|result| &result.resources);
    let found = resources.into_iter().find(|r| {
        r.group == key.group
            && r.kind == key.kind
            && r.namespace == key.namespace
            && r.name == key.name
            && r.status.as_deref() == Some("Synced")
    })?;
    Some(found.message.as_deref().unwrap_or_default())
}
