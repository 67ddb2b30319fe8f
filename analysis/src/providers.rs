//! Ways to ask for values, one file each.

pub(crate) mod prometheus;
pub(crate) mod web;
