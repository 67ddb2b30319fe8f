//! The two little languages inside our YAML: expr conditions and argument templates.
