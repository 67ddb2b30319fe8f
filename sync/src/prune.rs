//! What may be deleted, and what has to wait for a person (G1–G3).
//!
//! Only an object that carries our tracking id about itself, that Git does not want at the commit that was rendered without
//! an error, is deleted, and only in the incarnation and version that was seen. When most of an application would go at once
//! (a wrong path, an emptied repository), the deletion waits for the annotation [`APPROVED`].

use chrono::{DateTime, Utc};
use sluice_crds::application::{ApplicationRecord, Operation, sync_option as shared_option};
use sluice_crds::object::Propagation;

use crate::comparison::{Comparison, Extra};
use crate::manifest::sync_option;

/// Annotation of an Application: the commit at which a mass prune is approved, in full or its first 7 or more characters.
pub const APPROVED: &str = "sluice.dev/prune-approved";
/// Annotation of an Application: instant at which deletions that want a confirmation were confirmed (Argo CD).
pub const DELETION_APPROVED: &str = "argocd.argoproj.io/deletion-approved";
/// From so many objects on, and if more than half go, a prune waits for approval.
pub const MASS: usize = 10;

/// Whether an object that is not wanted any more is deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is deleted.
    Prune,
    /// It stays; why.
    Skip(String),
    /// It stays until somebody approves; what is to be done.
    Await(String),
    /// Its deletion has begun.
    Going,
}

/// What verdicts depend on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The application.
    pub application: &'a ApplicationRecord,
    /// The operation that prunes.
    pub operation: &'a Operation,
    /// When it was asked for.
    pub started_at: Option<DateTime<Utc>>,
    /// Commit that the comparison was made with.
    pub commit: &'a str,
}

impl Request<'_> {
    /// Returns the options that count: the operation's, else the application's.
    pub fn options(&self) -> &[String] {
        let own = self.operation.sync.as_ref().map(|sync| sync.sync_options.as_slice());
        match own {
            Some(options) if !options.is_empty() => options,
            Some(_) | None => self
                .application
                .spec
                .sync_policy
                .as_ref()
                .map_or(&[], |p| p.sync_options.as_slice()),
        }
    }

    /// Returns what happens to dependents of what is deleted: `PrunePropagationPolicy`, by default foreground.
    pub fn propagation(&self) -> Propagation {
        match shared_option(self.options(), "PrunePropagationPolicy") {
            Some("background") => Propagation::Background,
            Some("orphan") => Propagation::Orphan,
            Some(_) | None => Propagation::Foreground,
        }
    }

    /// Returns the verdict on one object.
    pub fn verdict(&self, comparison: &Comparison, extra: &Extra) -> Verdict {
        if extra.live.meta.deletion_timestamp.is_some() {
            return Verdict::Going;
        }
        let own = sync_option(&extra.live.body, "Prune");
        match own.or(shared_option(self.options(), "Prune")) {
            Some("false") => return Verdict::Skip("ignored (no prune)".to_owned()),
            Some("confirm") if !self.is_confirmed() => {
                return Verdict::Await(format!(
                    "waiting for pruning confirmation: set the annotation `{DELETION_APPROVED}` to the present time"
                ));
            }
            Some(_) | None => {}
        }
        if self.operation.sync.as_ref().and_then(|sync| sync.prune) != Some(true) {
            return Verdict::Skip("ignored (requires pruning)".to_owned());
        }
        match mass_prune(comparison) {
            Some(why) if !is_approved(self.application, self.commit) => {
                Verdict::Await(format!("{why}: {}", approval(self.commit)))
            }
            Some(_) | None => Verdict::Prune,
        }
    }

    fn is_confirmed(&self) -> bool {
        let approved = self.application.meta.annotations.get(DELETION_APPROVED);
        let approved = approved.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        match (approved, self.started_at) {
            (Some(approved), Some(started)) => approved.with_timezone(&Utc) >= started,
            (_, _) => false,
        }
    }
}

/// Returns why a prune is so large that it waits for approval (G2): everything would go, or more than half of at least ten.
pub fn mass_prune(comparison: &Comparison) -> Option<String> {
    let gone = comparison.extras.len();
    let all = comparison.tracked.max(gone);
    let everything = gone > 0 && comparison.items.is_empty();
    let most = gone >= MASS && gone * 2 > all;
    (everything || most).then(|| format!("{gone} of {all} objects would be deleted"))
}

/// Returns whether somebody approved a mass prune at the commit.
pub fn is_approved(application: &ApplicationRecord, commit: &str) -> bool {
    let approved = application.meta.annotations.get(APPROVED).map(|text| text.trim());
    approved.is_some_and(|approved| approved.len() >= 7 && commit.starts_with(approved))
}

/// Returns what to do to approve.
pub fn approval(commit: &str) -> String {
    format!(
        "check the source, or approve it with the annotation `{APPROVED}: {commit}` on the Application"
    )
}
