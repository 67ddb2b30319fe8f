//! The rollout engine.

pub mod template_hash;
