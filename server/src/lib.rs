//! HTTP face of the controller: metrics and health, over a LiveState trait that it defines.
