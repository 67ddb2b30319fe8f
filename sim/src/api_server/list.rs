//! Lists: selection, paging over a fixed version, presentation.

use std::sync::Arc;

use serde_json::{Value, json};

use super::ApiServer;
use super::failure::Failure;
use super::http::{Query, Target};
use super::resources::Resource;
use super::select::Selector;
use super::store::Key;
use super::table;

/// Where a paged list goes on: its version and the last key sent.
struct Continue {
    version: u64,
    namespace: String,
    name: String,
}

impl Continue {
    fn parse(token: &str) -> Option<Self> {
        let mut parts = token.split('~');
        let version = parts.next()?.parse().ok()?;
        Some(Self { version, namespace: parts.next()?.into(), name: parts.next()?.into() })
    }

    fn token(version: u64, key: &Key) -> String {
        format!("{version}~{}~{}", key.namespace, key.name)
    }
}

impl ApiServer {
    /// Returns the objects that a collection path and its selectors name.
    pub(crate) fn selected(
        &self,
        target: &Target,
        query: &Query,
    ) -> Result<Vec<(Key, Arc<Value>)>, Failure> {
        self.selected_at(target, query, self.store.version())
    }

    fn selected_at(
        &self,
        target: &Target,
        query: &Query,
        version: u64,
    ) -> Result<Vec<(Key, Arc<Value>)>, Failure> {
        let labels = Selector::parse(query.get("labelSelector").unwrap_or_default())?;
        let fields = Selector::parse(query.get("fieldSelector").unwrap_or_default())?;
        let all = self
            .store
            .list_at(version, &target.group, &target.plural, target.namespace.as_deref())
            .ok_or_else(|| Failure::expired(version, self.store.compacted()))?;
        let selects =
            |object: &Value| labels.matches_labels(object) && fields.matches_fields(object);
        Ok(all.into_iter().filter(|(_, object)| selects(object)).collect())
    }

    pub(crate) fn list(
        &self,
        resource: &Resource,
        target: &Target,
        query: &Query,
        as_table: bool,
    ) -> Result<Value, Failure> {
        let token = match query.get("continue").filter(|token| !token.is_empty()) {
            Some(token) => Some(
                Continue::parse(token)
                    .ok_or_else(|| Failure::bad_request("the continue token is malformed"))?,
            ),
            None => None,
        };
        let exact = query.get("resourceVersionMatch") == Some("Exact");
        let asked = query.number("resourceVersion").filter(|_| exact);
        let version = token.as_ref().map(|token| token.version).or(asked);
        let version = version.unwrap_or(self.store.version());
        let mut items = self.selected_at(target, query, version)?;
        if let Some(token) = &token {
            let last = (token.namespace.as_str(), token.name.as_str());
            items.retain(|(key, _)| (key.namespace.as_str(), key.name.as_str()) > last);
        }
        let limit = query.number("limit").filter(|limit| *limit > 0);
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let remaining = items.len().saturating_sub(limit);
        items.truncate(limit);
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if let (true, Some((last, _))) = (remaining > 0, items.last()) {
            metadata["continue"] = json!(Continue::token(version, last));
            metadata["remainingItemCount"] = json!(remaining);
        }
        let objects: Vec<&Value> = items.iter().map(|(_, object)| &**object).collect();
        let mut body = if as_table {
            table::table(resource, &objects, self.now)
        } else {
            let items = objects.into_iter().cloned().collect();
            self.list_body(resource, target, items)
        };
        body["metadata"] = metadata;
        Ok(body)
    }

    pub(crate) fn list_body(
        &self,
        resource: &Resource,
        target: &Target,
        items: Vec<Value>,
    ) -> Value {
        let api_version = resource.api_version(&target.version);
        let items: Vec<Value> = items
            .into_iter()
            .map(|mut item| {
                item["apiVersion"] = json!(api_version);
                item
            })
            .collect();
        json!({
            "kind": format!("{}List", resource.kind),
            "apiVersion": api_version,
            "metadata": { "resourceVersion": self.store.version().to_string() },
            "items": items,
        })
    }

    /// Returns an object in the version and form that was asked for.
    pub(crate) fn presented(
        &self,
        resource: &Resource,
        version: &str,
        object: &Value,
        as_table: bool,
    ) -> Value {
        if as_table {
            return table::table(resource, &[object], self.now);
        }
        let mut object = object.clone();
        object["apiVersion"] = json!(resource.api_version(version));
        object
    }
}
