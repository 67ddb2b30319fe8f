//! Decides how an Application differs from its desired state and in what order to close the gap.
//!
//! One function, as in the engine: a view in, a decision out. Start with [`ApplicationReconciler`], then [`hold`] (why a bad
//! commit is never applied again), [`compare`] and [`apply`] (whose field is whose), [`prune`] (what may be deleted).
#![deny(missing_docs)]

use std::collections::BTreeSet;

use sluice_crds::application::{ApplicationRecord, ApplicationStatus};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_engine::plan::{Decision, Reads, Reconciler, Violation};

pub mod action;
pub mod apply;
pub mod audit;
pub mod compare;
pub mod comparison;
pub mod conditions;
mod decide;
mod deletion;
mod draft;
mod foreign;
mod heal;
pub mod health;
pub mod hold;
pub mod key;
pub mod manifest;
mod namespace;
mod operation;
pub mod project;
pub mod prune;
mod source;
mod spec;
mod status;
pub mod track;
pub mod view;
pub mod waves;

pub use foreign::foreign_writer;
pub use source::{poll_interval, render_keys, revision_keys, target_keys};

/// Reconciles Applications.
#[derive(Debug)]
pub enum ApplicationReconciler {}

impl Reconciler for ApplicationReconciler {
    type Object = ApplicationRecord;
    type View = view::ApplicationView;
    type Status = ApplicationStatus;
    type Action = action::Action;
    type Task = view::Task;

    /// Returns the project, and the ConfigMap that keeps what is quarantined if the Application lives in the control
    /// namespace `argocd`; for another one use [`reads`].
    fn reads(object: &ApplicationRecord) -> Reads {
        reads(object, &view::SyncConfig::default())
    }

    fn decide(view: &view::ApplicationView) -> Decision<Self> {
        decide::decide(view)
    }

    fn audit(view: &view::ApplicationView, decision: &Decision<Self>) -> Vec<Violation> {
        audit::audit(view, decision)
    }
}

/// Compares live objects with what Git wants and may be applied, as a decision would: for `app diff`. Show differences through
/// [`compare::masked`].
///
/// # Errors
/// Returns what is missing in the view or wrong with the application, for people.
pub fn compare_view(view: &view::ApplicationView) -> Result<comparison::Comparison, String> {
    decide::compare_only(view)
}

/// Returns what a view of the application must contain whatever its source renders to: project and record.
pub fn reads(application: &ApplicationRecord, config: &view::SyncConfig) -> Reads {
    let namespace = config.control_namespace.as_str();
    let project = application.spec.project_name();
    Reads {
        objects: BTreeSet::from([
            ObjectRef::namespaced(Kind::APP_PROJECT, namespace, project),
            hold::record_object(application, config),
        ]),
    }
}

#[cfg(test)]
mod tests;
