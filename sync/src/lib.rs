//! Decides how an Application differs from its desired state and in what order to close the gap.
