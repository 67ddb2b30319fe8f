use serde_json::Value;

use super::Health;
use crate::key::text;

fn has_address(live: &Value) -> bool {
    let addresses = live.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    addresses.is_some_and(|addresses| !addresses.is_empty())
}

pub(super) fn service(live: &Value) -> Health {
    if text(live, "/spec/type") == Some("LoadBalancer") && !has_address(live) {
        return Health::progressing("Waiting for an address of the load balancer");
    }
    Health::healthy()
}

pub(super) fn ingress(live: &Value) -> Health {
    if has_address(live) {
        Health::healthy()
    } else {
        Health::progressing("Waiting for an address of the load balancer")
    }
}
