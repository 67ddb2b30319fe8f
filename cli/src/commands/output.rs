//! `-o json|yaml|name`: objects as they are.

use kube::ResourceExt;
use serde::Serialize;
use serde_json::json;

use crate::arguments::{Output, PlainOutput};
use crate::failure::Failure;

/// Prints one object.
pub(crate) fn one<K>(object: &K, kind: &str, output: Output) -> Result<(), Failure>
where
    K: Serialize + ResourceExt,
{
    match output {
        Output::Json => plain(object, PlainOutput::Json),
        Output::Yaml => plain(object, PlainOutput::Yaml),
        Output::Name | Output::Wide => {
            anstream::println!("{kind}.argoproj.io/{}", object.name_any());
            Ok(())
        }
    }
}

/// Prints objects as kubectl prints several: as a list, or a name on each line.
pub(crate) fn many<K>(objects: &[K], kind: &str, output: Output) -> Result<(), Failure>
where
    K: Serialize + ResourceExt,
{
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    match output {
        Output::Json => plain(&list, PlainOutput::Json),
        Output::Yaml => plain(&list, PlainOutput::Yaml),
        Output::Name | Output::Wide => {
            objects.iter().try_for_each(|object| one(object, kind, output))
        }
    }
}

/// Prints anything.
pub(crate) fn plain(value: &impl Serialize, output: PlainOutput) -> Result<(), Failure> {
    let broken = |e: &dyn std::fmt::Display| Failure::new(format!("could not be written: {e}"));
    let text = match output {
        PlainOutput::Json => serde_json::to_string_pretty(value).map_err(|e| broken(&e))?,
        PlainOutput::Yaml => serde_saphyr::to_string(value).map_err(|e| broken(&e))?,
    };
    anstream::println!("{}", text.trim_end());
    Ok(())
}
