//! Writes what is generated from the types of this crate: the CustomResourceDefinitions in `crds/yaml`.

use std::path::Path;

use sluice_crds::crd::{DEFINITIONS, to_yaml};

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    std::fs::create_dir_all(&folder)?;
    for definition in &DEFINITIONS {
        std::fs::write(
            folder.join(format!("{}.yaml", definition.kind.plural)),
            to_yaml(&definition.crd()),
        )?;
    }
    Ok(())
}
