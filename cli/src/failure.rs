//! What a command says when it cannot do what was asked: what failed, on which object, and what helps.

use std::fmt::Write as _;

use sluice_crds::object::ObjectRef;

use crate::arguments::Dialect;

/// A failure with an optional hint.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// Returns a failure without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// Returns the failure with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns what a reply of the API server means for the object.
    pub fn of(object: &ObjectRef, verb: &str, error: &kube::Error) -> Self {
        let named = match (object.name.as_str(), &object.namespace) {
            ("*", Some(namespace)) => format!("{}s in namespace {namespace}", object.kind.kind),
            ("*", None) => format!("{}s", object.kind.kind),
            (_, _) => object.to_string(),
        };
        match error {
            kube::Error::Api(status) if status.code == 404 => {
                Self::new(format!("{named} not found"))
            }
            kube::Error::Api(status) if status.code == 403 => {
                Self::new(format!("you may not {verb} {named}: {}", status.message)).hint(format!(
                    "ask for the verb `{verb}` on resource `{}.{}`",
                    object.kind.plural, object.kind.group
                ))
            }
            kube::Error::Api(status) => {
                Self::new(format!("could not {verb} {named}: {}", status.message))
            }
            other => Self::new(format!("could not {verb} {named}: {}", chain(other)))
                .hint("is the API server reachable? see --context, --server, --kubeconfig"),
        }
    }

    /// Returns the text for the terminal; Argo's plugin begins with a capital.
    pub fn shown(&self, dialect: Dialect) -> String {
        let mut text = match dialect {
            Dialect::Argo => format!("Error: {}", self.message),
            Dialect::Sluice => format!("error: {}", self.message),
        };
        if let (Some(hint), Dialect::Sluice) = (&self.hint, dialect) {
            let _ = write!(text, "\nhint: {hint}");
        }
        text
    }
}

/// Returns an error with all that caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
