use std::fmt;

/// Path of a field from its object, as Kubernetes writes it: `spec.strategy.canary.steps[2].setWeight`,
/// `metadata.annotations[a/b]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct FieldPath(String);

impl FieldPath {
    /// Returns the path of the whole object.
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns the path of `spec`.
    pub fn spec() -> Self {
        Self("spec".into())
    }

    /// Returns the path of a field, or of several one below the other: `a.b`.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.into()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// Returns the path of an element of a list, counted from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// Returns the path of the value of a map's key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "object" } else { &self.0 })
    }
}
