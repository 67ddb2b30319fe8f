//! The demo: the product's main job, played on the bed with figures.

pub mod ear;
mod judge;
pub mod shop;
pub mod story;
pub mod timeline;
