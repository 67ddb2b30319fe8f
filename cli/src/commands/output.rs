//! `-o json|yaml|name`.

use kube::ResourceExt;
use serde::Serialize;

use crate::arguments::Output;
use crate::failure::Failure;

/// Prints one object as it is.
pub(crate) fn print<K>(object: &K, plural_name: &str, output: Output) -> Result<(), Failure>
where
    K: Serialize + ResourceExt,
{
    let broken = |e: &dyn std::fmt::Display| Failure::new(format!("could not be written: {e}"));
    let text = match output {
        Output::Json => serde_json::to_string_pretty(object).map_err(|e| broken(&e))?,
        Output::Yaml => serde_saphyr::to_string(object).map_err(|e| broken(&e))?,
        Output::Name => format!("{plural_name}.argoproj.io/{}", object.name_any()),
    };
    anstream::println!("{}", text.trim_end());
    Ok(())
}
