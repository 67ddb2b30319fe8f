//! The real controller against sim's API server, in virtual time: what it asks for, in which order, and how little.
#![expect(clippy::unwrap_used, reason = "what a helper of a test cannot do fails the test")]

mod shell {
    mod abort;
    mod analysis;
    mod application;
    mod canary;
    mod experiments;
    pub(crate) mod fakes;
    mod idle;
    pub(crate) mod stage;
    mod survival;
    mod wakes;
    mod workload;
}
