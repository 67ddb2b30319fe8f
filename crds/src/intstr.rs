//! Kubernetes' `IntOrString`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A number or a string, as Kubernetes' `intstr.IntOrString`. What a string means depends on the field.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A plain number.
    Int(i64),
    /// A string, such as `25%` or `{{args.count}}`.
    String(String),
}

impl IntOrString {
    /// Returns the value as a share of `total`, for fields where any string is a percentage with or without `%` (Argo's
    /// reading of `maxSurge` and `maxUnavailable`: `"25"` equals `"25%"`). `round_up` decides which way a fraction goes.
    /// Returns `None` for a string that is no number. Negative values count as 0.
    pub fn scaled(&self, total: u32, round_up: bool) -> Option<u32> {
        match self {
            Self::Int(n) => Some(u32::try_from((*n).max(0)).unwrap_or(u32::MAX)),
            Self::String(s) => {
                let percent: u64 = s.trim().trim_end_matches('%').parse().ok()?;
                let product = percent.checked_mul(u64::from(total))?;
                let value = if round_up { product.div_ceil(100) } else { product / 100 };
                u32::try_from(value).ok()
            }
        }
    }

    /// Returns the value as a whole number, also from an all-digit string; `None` otherwise.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::String(s) => s.trim().parse().ok(),
        }
    }
}

impl std::fmt::Display for IntOrString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(n) => write!(f, "{n}"),
            Self::String(s) => f.write_str(s),
        }
    }
}

impl JsonSchema for IntOrString {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IntOrString".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true })
    }
}
