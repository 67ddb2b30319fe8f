//! What users write and read: the eight `argoproj.io/v1alpha1` kinds, their validation, the constants around them, and how
//! any Kubernetes object is named, written and patched.
//!
//! Start with [`rollout`] and [`object`]. [`validate`] says what is wrong with an object, [`crd`] what the API server is told. There is no network, no clock and no environment here: a value of this crate is
//! plain data, and a [`object::Write`] says what would be sent without sending it.
#![deny(missing_docs)]

pub mod advice;
pub mod analysis;
pub mod app_project;
pub mod application;
pub mod application_set;
pub mod conditions;
pub mod crd;
pub mod duration;
pub mod experiment;
pub mod intstr;
pub mod labels;
pub mod named_query;
pub mod object;
pub mod rollout;
mod schema;
pub mod supported;
pub mod time;
pub mod validate;
pub mod yaml;
