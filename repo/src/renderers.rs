//! Ways from files to objects, one file each.

pub(crate) mod directory;
pub(crate) mod kustomize;
