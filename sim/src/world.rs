//! The API server, the controllers of the cluster, and virtual time, in one value.

use chrono::{DateTime, TimeDelta, Utc};

use crate::api_server::{ApiServer, Call, Reply};
use crate::workloads::{WorkloadConfig, Workloads};

/// A cluster. A clone is a snapshot; equal inputs at equal times make equal worlds.
#[derive(Clone, Debug)]
pub struct World {
    /// The API server.
    pub api: ApiServer,
    workloads: Workloads,
    now: DateTime<Utc>,
}

impl World {
    /// Returns a fresh cluster with Argo's kinds and Istio's installed.
    pub fn new(start: DateTime<Utc>, config: WorkloadConfig) -> Self {
        Self::with_server(ApiServer::new(start), start, config)
    }

    /// Returns a cluster around this server.
    pub fn with_server(api: ApiServer, start: DateTime<Utc>, config: WorkloadConfig) -> Self {
        let mut world = Self { api, workloads: Workloads::new(config), now: start };
        world.settle();
        world
    }

    /// Returns the time.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Returns when something will happen by itself.
    pub fn next_at(&self) -> Option<DateTime<Utc>> {
        self.workloads.next_at()
    }

    /// Lets the controllers of the cluster do what they have to do now.
    pub fn settle(&mut self) {
        self.workloads.settle(&mut self.api, self.now);
    }

    /// Moves time forward, through everything that happens on the way. Time never goes back.
    pub fn advance_to(&mut self, to: DateTime<Utc>) {
        while let Some(next) = self.next_at().filter(|next| *next <= to) {
            self.now = self.now.max(next);
            self.workloads.settle_at_deadline(&mut self.api, self.now);
        }
        self.now = self.now.max(to);
    }

    /// Moves time forward by a duration.
    pub fn advance(&mut self, by: TimeDelta) {
        self.advance_to(self.now + by);
    }

    /// Moves to the next event and returns its time; `None` if nothing is pending.
    pub fn step(&mut self) -> Option<DateTime<Utc>> {
        let next = self.next_at()?;
        self.advance_to(next);
        Some(next)
    }

    /// Answers a request at the present time, and lets the controllers react.
    pub fn handle(&mut self, call: &Call) -> Reply {
        let reply = self.api.handle(self.now, call);
        self.settle();
        reply
    }
}

#[cfg(test)]
mod tests;
