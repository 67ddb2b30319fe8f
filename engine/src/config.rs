//! The knobs that decisions read. Parsed once by the controller; plain data here.

use chrono::Duration;

use crate::fence::FenceRules;

/// Configuration of the rollout engine.
#[derive(Clone, PartialEq, Debug)]
pub struct EngineConfig {
    /// Time between a switch of what a destination resolves to, and weight on it. Default 1 s.
    pub switch_confirmation: Duration,
    /// Time between weight leaving a set and capacity leaving it. Default 5 s.
    pub route_confirmation: Duration,
    /// How long a metrics server may be out of reach before that counts as an error. Default 10 min.
    pub outage_budget: Duration,
    /// Parts of the fence that are on. [`FenceRules::ALL`] except in the explorer, which shows that each is needed.
    pub fence: FenceRules,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            switch_confirmation: Duration::seconds(1),
            route_confirmation: Duration::seconds(5),
            outage_budget: Duration::minutes(10),
            fence: FenceRules::ALL,
        }
    }
}
