//! What Git has to say about a Rollout that somebody changes by hand: who applies it, whether that is put back, and what is
//! held back.

use kube::Api;
use sluice_crds::application::QuarantineEntry;
use sluice_crds::labels;
use sluice_crds::rollout::Rollout;

use crate::application::Application;
use crate::connection::Connection;
use crate::failure::Failure;

/// The Application that applies a Rollout.
pub(crate) struct Owner {
    /// Its name.
    pub(crate) name: String,
    /// The Application; nothing if it is gone or the caller may not read it.
    pub(crate) application: Option<Application>,
}

/// Returns the Application that the Rollout's tracking id names.
pub(crate) async fn owner(connection: &Connection, rollout: &Rollout) -> Option<Owner> {
    let annotations = rollout.metadata.annotations.as_ref()?;
    let instance = annotations.get(labels::TRACKING_ID)?.split(':').next()?;
    // An Application outside of the control namespace has its namespace before its name.
    let (namespace, name) = match instance.split_once('_') {
        Some((namespace, name)) => (namespace, name),
        None => (connection.application_namespace.as_str(), instance),
    };
    let api: Api<Application> = Api::namespaced(connection.client.clone(), namespace);
    Some(Owner { name: name.to_owned(), application: api.get_opt(name).await.ok().flatten() })
}

impl Owner {
    /// Refuses a change that the Application would undo at once.
    ///
    /// # Errors
    /// It heals itself.
    pub(crate) fn refuse_overwritten(&self, rollout: &str) -> Result<(), Failure> {
        let app = &self.name;
        if !self.application.as_ref().is_some_and(|found| found.spec.self_heals()) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "rollout '{rollout}' is applied from Git by Application {app}, which heals itself: a change by hand would be put back"
        ))
        .hint(format!("push or revert a commit, or: kubectl sluice app rollback {app}")))
    }

    /// Refuses a Pod template that failed before and was not released.
    ///
    /// # Errors
    /// The template is in quarantine.
    pub(crate) fn refuse_held(&self, rollout: &str, hash: &str) -> Result<(), Failure> {
        let Some(entry) = self.held(rollout).find(|entry| entry.template_hash == hash) else {
            return Ok(());
        };
        let why = entry.message.as_deref().unwrap_or(&entry.reason);
        let app = &self.name;
        Err(Failure::new(format!("template {hash} of rollout '{rollout}' is held back: {why}"))
            .hint(format!("kubectl sluice quarantine release {app} {rollout}")))
    }

    /// Returns what is quarantined of a Rollout.
    pub(crate) fn held(&self, rollout: &str) -> impl Iterator<Item = &QuarantineEntry> {
        let status = self.application.iter().filter_map(|found| found.status.as_ref());
        let entries = status.filter_map(|s| s.sluice.as_ref()).flat_map(|s| &s.quarantine);
        entries.filter(move |entry| entry.kind == "Rollout" && entry.name == rollout)
    }

    /// Says that Git differs from now on.
    pub(crate) fn note(&self) {
        anstream::eprintln!("note: Application {} is OutOfSync until Git says the same", self.name);
    }
}
