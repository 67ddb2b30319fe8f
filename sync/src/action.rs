//! What a decision about an Application writes, besides its status.

use sluice_crds::object::Write;
use sluice_engine::plan::Lower;

use crate::key::ResourceKey;

/// One write, with what it is for.
#[derive(Clone, PartialEq, Debug)]
pub struct Action {
    /// What it does.
    pub verb: Verb,
    /// What it is about.
    pub key: ResourceKey,
    /// Commit that the content comes from; empty where there is none.
    pub commit: String,
    /// Why, in words.
    pub because: String,
    /// The write.
    pub write: Write,
}

/// What an action does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verb {
    /// Writes down what is quarantined and what was healthy.
    Record,
    /// Creates an object.
    Create,
    /// Applies an object.
    Apply,
    /// Changes an object by a JSON patch, because Git dropped fields that apply leaves alone.
    Patch,
    /// Puts the last healthy content in the place of what is quarantined.
    Restore,
    /// Deletes an object that Git does not want any more.
    Prune,
    /// Takes our finalizers off the Application.
    Finalize,
    /// Creates the project `default`, as Argo CD does at its first start.
    Project,
}

impl Verb {
    /// Returns the verb as a word, for traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Create => "create",
            Self::Apply => "apply",
            Self::Patch => "patch",
            Self::Restore => "restore",
            Self::Prune => "prune",
            Self::Finalize => "finalize",
            Self::Project => "project",
        }
    }

    /// Returns whether it changes an object of the application.
    pub fn is_mutation(self) -> bool {
        match self {
            Self::Record | Self::Finalize | Self::Project => false,
            Self::Create | Self::Apply | Self::Patch | Self::Restore | Self::Prune => true,
        }
    }
}

impl Lower for Action {
    fn lower(&self) -> Write {
        self.write.clone()
    }
}
