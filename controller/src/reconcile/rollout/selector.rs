//! Label selectors as Kubernetes evaluates them.

use std::collections::BTreeMap;

use sluice_crds::rollout::{LabelSelector, LabelSelectorRequirement};

/// Returns whether the selector matches. One without requirements matches nothing here: a Rollout that selects everything
/// must not adopt everything.
pub(crate) fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let exact = selector.match_labels.as_ref();
    let further = selector.match_expressions.as_deref().unwrap_or_default();
    if exact.is_none_or(BTreeMap::is_empty) && further.is_empty() {
        return false;
    }
    exact.into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        && further.iter().all(|requirement| holds(requirement, labels))
}

fn holds(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let listed = || {
        let mut values = requirement.values.iter().flatten();
        value.is_some_and(|value| values.any(|wanted| wanted == value))
    };
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: serde_json::Value) -> bool {
        let selector = serde_json::from_value(selector).unwrap();
        let labels = [("app", "web"), ("tier", "front")];
        selects(&selector, &labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into())
    }

    #[test]
    fn selectors_match_as_in_kubernetes() {
        use serde_json::json;
        let one = |operator: &str, key: &str, values: &[&str]| {
            let requirement = json!({ "key": key, "operator": operator, "values": values });
            check(json!({ "matchExpressions": [requirement] }))
        };
        assert!(check(json!({ "matchLabels": { "app": "web" } })));
        assert!(!check(json!({ "matchLabels": { "app": "web", "x": "y" } })));
        assert!(one("In", "app", &["api", "web"]) && !one("In", "app", &["api"]));
        assert!(one("NotIn", "app", &["api"]) && one("NotIn", "absent", &["api"]));
        assert!(one("Exists", "tier", &[]) && !one("Exists", "absent", &[]));
        assert!(one("DoesNotExist", "absent", &[]) && !one("DoesNotExist", "app", &[]));
        assert!(!one("Near", "app", &["web"]));
    }

    #[test]
    fn an_empty_selector_adopts_nothing() {
        assert!(!check(serde_json::json!({})));
    }
}
