//! The two little languages inside our YAML: `expr` conditions and `{{args.x}}` templates.
//!
//! Start with [`expr::Condition`] and [`legacy::substitute`]. There is no clock, no environment and no IO here: the instant
//! that `now()` answers is an argument, and every evaluation has a budget, because the texts come from tenants.
#![deny(missing_docs)]

pub mod expr;
pub mod legacy;
pub mod value;

pub use expr::{Condition, ExprError};
pub use value::Value;
