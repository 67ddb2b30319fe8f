//! The `eviction` subresource of Pods: a deletion that PodDisruptionBudgets may forbid.
//!
//! The budget is computed from the Pods as they are; a real API server takes it from the status that the disruption controller
//! writes, a moment later.

use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::failure::Failure;
use super::http::{Call, Query, Target};
use super::mutate::{DeleteOptions, text};
use super::resources::Resource;
use super::{ApiServer, Reply, key, parsed};

impl ApiServer {
    pub(crate) fn on_eviction(
        &mut self,
        call: &Call,
        resource: &Resource,
        target: &Target,
        query: &Query,
    ) -> Result<Reply, Failure> {
        if call.method != "POST" || resource.kind != "Pod" {
            return Err(Failure::no_such_path());
        }
        let body = parsed(call)?;
        let key = key(target);
        let pod = self.store.get(&key).ok_or_else(|| Failure::not_found(resource, &key.name))?;
        let pod = std::sync::Arc::clone(&pod.value);
        if is_ready(&pod) && pod["metadata"]["deletionTimestamp"].is_null() {
            self.budgets_allow(&pod)?;
        }
        let options = DeleteOptions::parse(&body["deleteOptions"]);
        let writer = self.writer(call, target, query);
        self.delete(&writer, resource, &key, &options)?;
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
        });
        Ok(Reply::Json { code: 201, body })
    }

    fn budgets_allow(&self, pod: &Value) -> Result<(), Failure> {
        let namespace = text(pod, "/metadata/namespace");
        let budgets = self.store.list("policy", "poddisruptionbudgets", Some(namespace));
        let all = self.objects(&Kind::POD, Some(namespace));
        for (_, budget) in budgets {
            let selector = &budget["spec"]["selector"]["matchLabels"];
            let selected = |pod: &Value| {
                let pairs = selector.as_object().into_iter().flatten();
                pairs.into_iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value)
            };
            if !selected(pod) {
                continue;
            }
            let pods: Vec<_> = all.iter().filter(|pod| selected(pod)).collect();
            let leaving = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
            let healthy = pods.iter().filter(|pod| is_ready(pod) && !leaving(pod)).count();
            let needed = needed(budget, pods.iter().filter(|pod| !leaving(pod)).count());
            if healthy <= needed {
                return Err(forbidden(text(budget, "/metadata/name"), needed, healthy));
            }
        }
        Ok(())
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// How many Pods of `expected` the budget keeps.
fn needed(budget: &Value, expected: usize) -> usize {
    let share = |value: &Value| match value {
        Value::String(text) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or(0);
            (expected * percent).div_ceil(100)
        }
        value => value.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
    };
    let spec = &budget["spec"];
    if spec["minAvailable"].is_null() {
        expected.saturating_sub(share(&spec["maxUnavailable"]))
    } else {
        share(&spec["minAvailable"])
    }
}

fn forbidden(name: &str, needed: usize, healthy: usize) -> Failure {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let why = format!(
        "The disruption budget {name} needs {needed} healthy pods and has {healthy} currently"
    );
    let mut failure = Failure::new(429, "TooManyRequests", message);
    failure.details = json!({ "causes": [{ "reason": "DisruptionBudget", "message": why }] });
    failure
}
