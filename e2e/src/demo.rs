//! The demo: the product's main job, played on the bed with figures.

pub mod ear;
pub mod shop;
pub mod story;
pub mod timeline;
